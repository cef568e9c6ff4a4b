"""`sim_clevrer`: simulated clips in the manner of CLEVRER, as a TFDS builder without TensorFlow.

The clips are simulated on first use by a pool of processes. Every clip depends on (seed, split,
clip) alone, so the examples are the same whatever the number of processes.
"""

import dataclasses
import itertools
from collections.abc import Iterator

import numpy as np
import tensorflow_datasets as tfds
import tqdm

from parts_jax.data import frames
from parts_jax.simulate import collisions, parallel, worlds

SPLITS = ("train", "validation", "test")  # their positions are part of the seed of every clip
CLIPS_PER_TASK = 8


@dataclasses.dataclass
class SimClevrerConfig(tfds.core.BuilderConfig):
    """A variant of `sim_clevrer`.

    Attributes:
        world: the simulated world.
        num_clips: clips of each split, in the order of `SPLITS`.
        seed: seed of the variant; variants that share it and differ in resolution alone have the
            same clips.
        num_workers: processes that simulate; 0: one for each core.
        annotates_collisions: whether examples have `collisions`.
    """

    world: worlds.WorldSettings = worlds.DEMO
    num_clips: tuple[int, int, int] = (3000, 256, 256)
    seed: int = 0
    num_workers: int = 0
    annotates_collisions: bool = False


class SimClevrer(tfds.core.GeneratorBasedBuilder):
    """Spheres, boxes and cylinders that collide, with instance masks.

    An example has
        video: T strings, PNG of uint8 [H,W,3];
        segmentation: T strings, PNG of uint8 [H,W], 0 for background, 1..N the objects;
        location: float32 [T,N,3], centres of the objects in world units, in the order of the ids;
        objects: N texts such as "red rubber sphere";
        collisions: int32 [C,3], only in some variants: frame, id and greater id of two objects that
            began to touch since the frame before;
        id: text, such as "train-00012".
    The position of an example in its split is the number of its clip.
    """

    name = "sim_clevrer"
    # A version is raised whenever the clips change: here, or for some variants below.
    VERSION = tfds.core.Version("1.0.0")
    RELEASE_NOTES = {
        "1.0.0": "Hard shadows, rubber; objects slide.",
        "1.1.0": "small, full, large: the look of CLEVRER; objects roll and tumble; in every clip "
                 "objects collide, and one enters or leaves; collisions are annotated.",
    }
    # TFDS finds this path by itself, but with a package that it needs and does not declare.
    code_path = tfds.core.Path(__file__)
    BUILDER_CONFIGS = [
        SimClevrerConfig(name="demo", world=worlds.DEMO,
                         description="32x32, 8 frames, 2-3 large objects of saturated colours."),
        SimClevrerConfig(name="demo_64", world=worlds.DEMO_64,
                         description="The clips of demo at 64x64."),
        SimClevrerConfig(name="small", world=worlds.SMALL, num_clips=(4000, 256, 256),
                         version="1.1.0", annotates_collisions=True,
                         description="64x64, 24 frames, 3-5 objects that enter and leave."),
        SimClevrerConfig(name="full", world=worlds.FULL, num_clips=(10000, 500, 500),
                         version="1.1.0", annotates_collisions=True,
                         description="64x64, 32 frames, 3-6 objects that enter and leave."),
        SimClevrerConfig(name="large", world=worlds.LARGE, num_clips=(8, 4, 4),
                         version="1.1.0", annotates_collisions=True,
                         description="The clips of small at 320x480: to be looked at."),
        SimClevrerConfig(name="tiny", world=worlds.TINY, num_clips=(16, 8, 8), num_workers=1,
                         description="16x16, 6 frames, 2 objects: for tests and a first try."),
    ]

    def _info(self) -> tfds.core.DatasetInfo:
        num_frames = self.builder_config.world.num_frames
        encoded = tfds.features.Tensor(shape=(), dtype=np.object_)
        features = {
            "video": tfds.features.Sequence(encoded, length=num_frames),
            "segmentation": tfds.features.Sequence(encoded, length=num_frames),
            "location": tfds.features.Tensor(shape=(num_frames, None, 3), dtype=np.float32),
            "objects": tfds.features.Sequence(tfds.features.Text()),
            "id": tfds.features.Text(),
        }
        if self.builder_config.annotates_collisions:
            features["collisions"] = tfds.features.Tensor(shape=(None, 3), dtype=np.int32)
        return tfds.core.DatasetInfo(
            builder=self,
            description="Simulated clips in the manner of CLEVRER.",
            features=tfds.features.FeaturesDict(features),
            disable_shuffling=True)

    def _split_generators(self, dl_manager: tfds.download.DownloadManager) -> dict:
        return {split: self._generate_examples(split) for split in SPLITS}

    def _generate_examples(self, split: str) -> Iterator[tuple[int, dict]]:
        config = self.builder_config
        index = SPLITS.index(split)
        clips = simulate_clips(config.world, (config.seed, index), config.num_clips[index],
                               config.num_workers)
        progress = tqdm.tqdm(clips, total=config.num_clips[index], unit=" clips", mininterval=1.0,
                             desc=f"Simulating {self.name}/{config.name}, {split}")
        for clip, example in enumerate(progress):
            example["id"] = f"{split}-{clip:05d}"
            yield clip, {name: example[name] for name in self.info.features}


def simulate_clips(world: worlds.WorldSettings, seed: tuple[int, ...], num_clips: int,
                   num_workers: int = 0) -> Iterator[dict]:
    """Yields clips 0, 1, ... in order, encoded for the builder, simulated in several processes.

    Args:
        world: the world.
        seed: seed of the split; clip i has the seed (*seed, i).
        num_clips: how many.
        num_workers: processes; 0: one for each core that this process may use; 1: none but this.
    """
    tasks = ((world, seed, range(first, min(first + CLIPS_PER_TASK, num_clips)))
             for first in range(0, num_clips, CLIPS_PER_TASK))
    return itertools.chain.from_iterable(
        parallel.ordered_map(simulate_range, tasks, num_workers))


def simulate_range(world: worlds.WorldSettings, seed: tuple[int, ...],
                   clips: range) -> list[dict]:
    """The examples of some clips, without their ids."""
    examples = []
    for clip in clips:
        simulated = collisions.simulate_clip(world, (*seed, clip))
        examples.append({
            "video": frames.encode(simulated["video"]),
            "segmentation": frames.encode(simulated["segmentation"]),
            "location": simulated["location"],
            "objects": [f"{item.colour} {item.material} {item.shape}"
                        for item in simulated["objects"]],
            "collisions": simulated["collisions"],
        })
    return examples
