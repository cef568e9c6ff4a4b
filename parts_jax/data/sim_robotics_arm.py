"""`sim_robotics_arm`: simulated clips in the manner of the Robotics Arm set, as a TFDS builder.

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
from parts_jax.simulate import parallel, robot_arm, robot_arm_world

SPLITS = ("train", "validation", "test")  # their positions are part of the seed of every clip
CLIPS_PER_TASK = 8


@dataclasses.dataclass
class SimRoboticsArmConfig(tfds.core.BuilderConfig):
    """A variant of `sim_robotics_arm`.

    Attributes:
        world: the simulated world.
        num_clips: clips of each split, in the order of `SPLITS`.
        seed: seed of the variant; variants that share it and differ in resolution alone have the
            same clips.
        num_workers: processes that simulate; 0: one for each core.
    """

    world: robot_arm_world.WorldSettings = robot_arm.SMALL
    num_clips: tuple[int, int, int] = (4000, 256, 256)
    seed: int = 0
    num_workers: int = 0


class SimRoboticsArm(tfds.core.GeneratorBasedBuilder):
    """An arm that stacks three cubes in a basket, with actions and instance masks, at 10 Hz.

    An example has
        video: T strings, PNG of uint8 [H,W,3];
        segmentation: T strings, PNG of uint8 [H,W], 0 for background, 1..5 the `objects`;
        actions: float32 [T,7], taken after each frame, as in `robot_arm.simulate_clip`;
        objects: 5 texts: "red cube", "green cube", "blue cube", a distractor such as
            "yellow ball", and "robot arm";
        location: float32 [T,4,3], centres of the first four objects, in metres;
        gripper: float32 [T,8], place, orientation and opening of the gripper;
        id: text, such as "train-00012".
    The position of an example in its split is the number of its clip.
    """

    name = "sim_robotics_arm"
    VERSION = tfds.core.Version("1.0.0")  # to be raised whenever the clips change
    # TFDS finds this path by itself, but with a package that it needs and does not declare.
    code_path = tfds.core.Path(__file__)
    BUILDER_CONFIGS = [
        SimRoboticsArmConfig(name="small", world=robot_arm.SMALL,
                             description="64x64, 25 frames of episodes of grasping and stacking."),
        SimRoboticsArmConfig(name="tiny", world=robot_arm.TINY, num_clips=(16, 8, 8),
                             num_workers=1,
                             description="16x16, 8 frames: for tests and a first try."),
    ]

    def _info(self) -> tfds.core.DatasetInfo:
        num_frames = self.builder_config.world.num_frames
        return tfds.core.DatasetInfo(
            builder=self,
            description="Simulated clips in the manner of the Robotics Arm set.",
            features=episodes.features(
                has_masks=True, has_actions=True,
                objects=tfds.features.Sequence(tfds.features.Text()),
                location=tfds.features.Tensor(shape=(num_frames, 4, 3), dtype=np.float32),
                gripper=tfds.features.Tensor(shape=(num_frames, 8), dtype=np.float32)),
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


def simulate_clips(world: robot_arm_world.WorldSettings, seed: int, split: str, num_clips: int,
                   num_workers: int = 0) -> Iterator[dict]:
    """Yields the examples of clips 0, 1, ... in order, simulated in several processes.

    Args:
        world: the world.
        seed: seed of the variant.
        split: one of `SPLITS`.
        num_clips: how many.
        num_workers: processes; 0: one for each core that this process may use; 1: none but this.
    """
    tasks = ((world, seed, split, range(first, min(first + CLIPS_PER_TASK, num_clips)))
             for first in range(0, num_clips, CLIPS_PER_TASK))
    return itertools.chain.from_iterable(
        parallel.ordered_map(simulate_range, tasks, num_workers))


def simulate_range(world: robot_arm_world.WorldSettings, seed: int, split: str,
                   clips: range) -> list[dict]:
    """The examples of some clips of a split."""
    examples = []
    for clip in clips:
        simulated = robot_arm.simulate_clip(world, (seed, SPLITS.index(split), clip))
        objects = [f"{item.colour} {item.shape}" for item in simulated["objects"]]
        name = f"{split}-{clip:05d}"
        examples.append(episodes.encode(
            f"The simulated clip {name}", simulated["video"], id=name, resolution=world.resolution,
            segmentation=simulated["segmentation"], actions=simulated["actions"],
            objects=[*objects, "robot arm"], location=simulated["location"],
            gripper=simulated["gripper"]))
    return examples
