"""`sim_playroom`: simulated clips in the manner of the Playroom, as a TFDS builder."""

from collections.abc import Iterator

import numpy as np
import tensorflow_datasets as tfds

from parts_jax.data import episodes
from parts_jax.data.sets import simulated, splits
from parts_jax.simulate.playroom import simulation


class SimPlayroom(tfds.core.GeneratorBasedBuilder):
    """An agent walks and looks about in a child's room, with its actions and instance masks.

    An example has
      video: T strings, PNG of uint8 [H, W, 3];
      segmentation: T strings, PNG of uint8 [H, W], 0 for floor, walls and ceiling, 1..N the
        furniture and the toys;
      actions: float32 [T, 4] in [-1, 1]: strafe right, move forward, look right, look up;
        actions[t] is taken between frame t and t+1 (`parts_jax.simulate.playroom.agent`);
      poses: float32 [T, 4], the camera's x and y in metres, yaw and pitch in radians;
      location: float32 [T, N, 3], centres of mass of the objects in metres, in order of the ids;
      objects: N texts such as "red duck";
      id: text, such as "train-00012".
    The position of an example in its split is the number of its clip.
    """

    name = "sim_playroom"
    VERSION = tfds.core.Version("1.0.0")  # to be raised whenever the clips change
    ACTION_SIZE = 4
    MIRRORED_ACTIONS = (0, 2)  # in a mirrored video, strafing and looking sideways turn their sign
    # TFDS finds this path by itself, but with a package that it needs and does not declare.
    code_path = tfds.core.Path(__file__)
    BUILDER_CONFIGS = [
        simulated.SimulatedConfig(
            name="small", world=simulation.SMALL,
            description="64x64, 25 frames, 5-7 objects in view on average."),
        simulated.SimulatedConfig(
            name="demo", world=simulation.DEMO, num_clips=(1500, 128, 256),
            description="32x32, 24 frames, three or four large toys in a bare room."),
        simulated.SimulatedConfig(
            name="demo_64", world=simulation.DEMO_64, num_clips=(1200, 128, 128),
            description="The clips of demo at 64x64."),
        simulated.SimulatedConfig(
            name="tiny", world=simulation.TINY, num_clips=(16, 8, 8), num_workers=1,
            description="16x16, 6 frames: for tests and a first try."),
    ]

    def _info(self) -> tfds.core.DatasetInfo:
        num_frames = self.builder_config.world.num_frames
        return tfds.core.DatasetInfo(
            builder=self,
            description="Simulated clips in the manner of the Playroom.",
            features=episodes.features(
                has_masks=True, has_actions=True,
                poses=tfds.features.Tensor(shape=(num_frames, 4), dtype=np.float32),
                location=tfds.features.Tensor(shape=(num_frames, None, 3), dtype=np.float32),
                objects=tfds.features.Sequence(tfds.features.Text())),
            disable_shuffling=True)

    def _split_generators(self, dl_manager: tfds.download.DownloadManager) -> dict:
        return {split: self._generate_examples(split) for split in splits.SPLITS}

    def _generate_examples(self, split: str) -> Iterator[tuple[int, dict]]:
        return simulated.with_progress(make_example, self.name, self.builder_config, split)


def make_example(world: simulation.PlayroomSettings, seed: tuple[int, int, int],
                 id: str) -> dict:
    """The example of a clip."""
    clip = simulation.simulate_clip(world, seed)
    return episodes.encode(
        f"The simulated clip {id}", clip["video"], id=id, resolution=world.resolution,
        segmentation=clip["segmentation"], actions=clip["actions"],
        poses=clip["poses"].astype(np.float32), location=clip["location"],
        objects=[f"{item.colours[0]} {item.name.replace('_', ' ')}" for item in clip["objects"]])
