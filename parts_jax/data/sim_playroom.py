"""`sim_playroom`: simulated clips in the manner of the Playroom, as a TFDS builder.

The clips are simulated on first use by a pool of processes. Every clip depends on (seed, split,
clip) alone, so the examples are the same whatever the number of processes.
"""

import dataclasses
import itertools
from collections.abc import Iterator

import numpy as np
import tensorflow_datasets as tfds
import tqdm

from parts_jax.data import episodes
from parts_jax.simulate import parallel, playroom

SPLITS = ("train", "validation", "test")  # their positions are part of the seed of every clip
CLIPS_PER_TASK = 4


@dataclasses.dataclass
class SimPlayroomConfig(tfds.core.BuilderConfig):
    """A variant of `sim_playroom`.

    Attributes:
        world: the simulated world.
        num_clips: clips of each split, in the order of `SPLITS`.
        seed: seed of the variant.
        num_workers: processes that simulate; 0: one for each core.
    """

    world: playroom.PlayroomSettings = playroom.SMALL
    num_clips: tuple[int, int, int] = (4000, 256, 256)
    seed: int = 0
    num_workers: int = 0


class SimPlayroom(tfds.core.GeneratorBasedBuilder):
    """An agent walks and looks about in a child's room, with its actions and instance masks.

    An example has
        video: T strings, PNG of uint8 [H,W,3];
        segmentation: T strings, PNG of uint8 [H,W], 0 for floor, walls and ceiling, 1..N the
            furniture and the toys;
        actions: float32 [T,4] in [-1,1]: strafe right, move forward, look right, look up;
            actions[t] is taken between frame t and t+1 (`parts_jax.simulate.playroom_agent`);
        poses: float32 [T,4], the camera's x and y in metres, yaw and pitch in radians;
        location: float32 [T,N,3], centres of mass of the objects in metres, in order of the ids;
        objects: N texts such as "red duck";
        id: text, such as "train-00012".
    The position of an example in its split is the number of its clip.
    """

    name = "sim_playroom"
    VERSION = tfds.core.Version("1.0.0")  # to be raised whenever the clips change
    MIRRORED_ACTIONS = (0, 2)  # in a mirrored video, strafing and looking sideways turn their sign
    # TFDS finds this path by itself, but with a package that it needs and does not declare.
    code_path = tfds.core.Path(__file__)
    BUILDER_CONFIGS = [
        SimPlayroomConfig(name="small", world=playroom.SMALL,
                          description="64x64, 25 frames, 5-7 objects in view on average."),
        SimPlayroomConfig(name="tiny", world=playroom.TINY, num_clips=(16, 8, 8), num_workers=1,
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
        return {split: self._generate_examples(split) for split in SPLITS}

    def _generate_examples(self, split: str) -> Iterator[tuple[int, dict]]:
        config = self.builder_config
        num_clips = config.num_clips[SPLITS.index(split)]
        clips = simulate_clips(config.world, config.seed, split, num_clips, config.num_workers)
        progress = tqdm.tqdm(clips, total=num_clips, unit=" clips", mininterval=1.0,
                             desc=f"Simulating {self.name}/{config.name}, {split}")
        yield from enumerate(progress)


def simulate_clips(world: playroom.PlayroomSettings, seed: int, split: str, num_clips: int,
                   num_workers: int = 0) -> Iterator[dict]:
    """Yields clips 0, 1, ... in order, encoded for the builder, simulated in several processes.

    Args:
        world: the world.
        seed: seed of the variant; clip i has the seed (seed, position of the split, i).
        split: one of `SPLITS`.
        num_clips: how many.
        num_workers: processes; 0: one for each core that this process may use; 1: none but this.
    """
    tasks = ((world, seed, split, range(first, min(first + CLIPS_PER_TASK, num_clips)))
             for first in range(0, num_clips, CLIPS_PER_TASK))
    return itertools.chain.from_iterable(
        parallel.ordered_map(simulate_range, tasks, num_workers))


def simulate_range(world: playroom.PlayroomSettings, seed: int, split: str,
                   clips: range) -> list[dict]:
    """The examples of some clips."""
    examples = []
    for clip in clips:
        simulated = playroom.simulate_clip(world, (seed, SPLITS.index(split), clip))
        examples.append(episodes.encode(
            "The simulated clip", simulated["video"], id=f"{split}-{clip:05d}",
            resolution=world.resolution, segmentation=simulated["segmentation"],
            actions=simulated["actions"], poses=simulated["poses"].astype(np.float32),
            location=simulated["location"],
            objects=[f"{item.colours[0]} {item.name.replace('_', ' ')}"
                     for item in simulated["objects"]]))
    return examples
