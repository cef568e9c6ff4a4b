"""`sim_robotics_arm`: simulated clips in the manner of the Robotics Arm, as a TFDS builder."""

from collections.abc import Iterator
from typing import Any

import tensorflow_datasets as tfds

from parts_jax.data import episodes
from parts_jax.data.sets import simulated
from parts_jax.data.sets.simulated import numbers
from parts_jax.simulate.robot_arm import simulation
from parts_jax.simulate.robot_arm.world import WorldSettings


class SimRoboticsArm(simulated.SimulatedBuilder):
    """An arm that stacks three cubes in a basket, with actions and instance masks, at 10 Hz.

    An example has
      video: T strings, PNG of uint8 [H, W, 3];
      segmentation: T strings, PNG of uint8 [H, W], 0 for background, 1..N the `objects`;
      actions: float32 [T, 7], taken after each frame, as in
        `parts_jax.simulate.robot_arm.simulation`;
      objects: N texts: "red cube", "green cube", "blue cube", in some variants a distractor such
        as "yellow ball", and "robot arm";
      location: float32 [T, N - 1, 3], centres of the objects but the arm, in metres;
      gripper: float32 [T, 8], place, orientation and opening of the gripper;
      id: text, such as "train-00012".
    The position of an example in its split is the number of its clip.
    """

    name = "sim_robotics_arm"
    VERSION = tfds.core.Version("1.0.0")  # to be raised whenever the clips change
    ABOUT = "Simulated clips in the manner of the Robotics Arm set."
    ACTION_SIZE = 7
    BUILDER_CONFIGS = [
        simulated.SimulatedConfig(
            name="small", world=simulation.SMALL,
            description="64x64, 25 frames of episodes of grasping and stacking."),
        simulated.SimulatedConfig(
            name="demo", world=simulation.DEMO, num_clips=(1500, 128, 256),
            description="32x32, 24 frames, a near view of three large cubes on a bare floor."),
        simulated.SimulatedConfig(
            name="demo_64", world=simulation.DEMO_64, num_clips=(1200, 128, 128),
            description="The clips of demo at 64x64."),
        simulated.SimulatedConfig(
            name="tiny", world=simulation.TINY, num_clips=(16, 8, 8), num_workers=1,
            description="16x16, 8 frames: for tests and a first try."),
    ]

    def factors(self) -> dict[str, Any]:
        world = self.builder_config.world
        num_frames, num_items = world.num_frames, 3 + world.has_distractor
        return dict(location=numbers(num_frames, num_items, 3), gripper=numbers(num_frames, 8))

    def _generate_examples(self, split: str) -> Iterator[tuple[int, dict]]:
        return simulated.with_progress(make_example, self.name, self.builder_config, split)


def make_example(world: WorldSettings, seed: tuple[int, int, int], id: str) -> dict:
    """The example of a clip."""
    clip = simulation.simulate_clip(world, seed)
    return episodes.encode(
        f"The simulated clip {id}", clip["video"], id=id, resolution=world.resolution,
        segmentation=clip["segmentation"], actions=clip["actions"], location=clip["location"],
        gripper=clip["gripper"],
        objects=[*(f"{item.colour} {item.shape}" for item in clip["objects"]), "robot arm"])
