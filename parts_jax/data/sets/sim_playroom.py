"""`sim_playroom`: simulated clips in the manner of the Playroom, as a TFDS builder."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import tensorflow_datasets as tfds

from parts_jax.data import episodes
from parts_jax.data.sets import simulated
from parts_jax.data.sets.simulated import numbers
from parts_jax.simulate.playroom import simulation


class SimPlayroom(simulated.SimulatedBuilder):
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
    ABOUT = "Simulated clips in the manner of the Playroom."
    ACTION_SIZE = 4
    MIRRORED_ACTIONS = (0, 2)  # in a mirrored video, strafing and looking sideways turn their sign
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

    def factors(self) -> dict[str, Any]:
        num_frames = self.builder_config.world.num_frames
        return dict(poses=numbers(num_frames, 4), location=numbers(num_frames, None, 3))

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
