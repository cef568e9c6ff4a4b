"""What the builders of simulated sets share: splits, features, seeds and the pool of processes.

The clips are simulated on first use. Every clip depends on (seed, split, clip) alone, so the
examples are the same whatever the number of processes.
"""

import dataclasses
import itertools
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import tensorflow_datasets as tfds
import tqdm

from parts_jax.data import episodes
from parts_jax.data.sets.splits import SPLITS
from parts_jax.simulate import parallel

CLIPS_PER_TASK = 4

# (world, (seed, position of the split, clip), id) -> the example of a clip. A function of a module:
# processes import it by name.
MakeExample = Callable[[Any, tuple[int, int, int], str], dict]


@dataclasses.dataclass
class SimulatedConfig(tfds.core.BuilderConfig):
    """A variant of a simulated set.

    Attributes:
      world: the settings of the simulated world, with `num_frames`.
      num_clips: clips of each split, in the order of `SPLITS`.
      seed: seed of the variant; variants that share it and differ in resolution alone have the
        same clips.
      num_workers: processes that simulate; 0: one for each core.
    """

    world: Any = None
    num_clips: tuple[int, int, int] = (4000, 256, 256)
    seed: int = 0
    num_workers: int = 0


class SimulatedBuilder(tfds.core.GeneratorBasedBuilder, skip_registration=True):
    """A builder of a simulated set: episodes with masks and with what they were drawn from.

    A set has, beside what TFDS asks for, ABOUT, its description; `factors`; `_generate_examples`,
    with `with_progress`; and, where its factors are numbers that stand for words, `words`.
    """

    ABOUT = ""
    ACTION_SIZE = 0
    # TFDS finds this path by itself, but with a package that it needs and does not declare.
    code_path = tfds.core.Path(__file__)

    def factors(self) -> dict[str, Any]:
        """The features beside those that every set has, by their names."""
        raise NotImplementedError

    def words(self) -> dict[str, Any] | None:
        """What the numbers of factors stand for, by the factors' names; None: they are numbers."""
        return None

    def _info(self) -> tfds.core.DatasetInfo:
        return self.info_of(episodes.features(
            has_masks=True, has_actions=self.ACTION_SIZE > 0,
            objects=tfds.features.Sequence(tfds.features.Text()), **self.factors()))

    def info_of(self, features: tfds.features.FeaturesDict) -> tfds.core.DatasetInfo:
        """With the words, where they are not read from the files of a set that is there."""
        words = self.words()
        if words is not None:
            there = (self.data_path / "features.json").exists()
            words = tfds.core.MetadataDict({} if there else words)
        return tfds.core.DatasetInfo(builder=self, description=self.ABOUT, features=features,
                                     metadata=words, disable_shuffling=True)

    def _split_generators(self, dl_manager: tfds.download.DownloadManager) -> dict:
        return {split: self._generate_examples(split) for split in SPLITS}


def numbers(*shape: int | None, dtype: Any = np.float32) -> tfds.features.Tensor:
    """A feature: an array."""
    return tfds.features.Tensor(shape=shape, dtype=dtype)


def with_progress(make_example: MakeExample, family: str, config: SimulatedConfig,
                  split: str) -> Iterator[tuple[int, dict]]:
    """Yields (clip, example): the position of an example in its split is its clip's number."""
    num_clips = config.num_clips[SPLITS.index(split)]
    clips = simulate_clips(make_example, config.world, config.seed, split, num_clips,
                           config.num_workers)
    yield from enumerate(tqdm.tqdm(clips, total=num_clips, unit=" clips", mininterval=1.0,
                                   desc=f"Simulating {family}/{config.name}, {split}"))


def simulate_clips(make_example: MakeExample, world: Any, seed: int, split: str, num_clips: int,
                   num_workers: int = 0) -> Iterator[dict]:
    """Yields the examples of clips 0, 1, ... in order, simulated in several processes.

    Args:
      make_example: simulates and encodes one.
      world: the settings of the world.
      seed: seed of the variant; clip i has the seed (seed, position of the split, i).
      split: one of `SPLITS`.
      num_clips: how many.
      num_workers: processes; 0: one for each core that this process may use; 1: none but this.
    """
    tasks = ((make_example, world, seed, split,
              range(first, min(first + CLIPS_PER_TASK, num_clips)))
             for first in range(0, num_clips, CLIPS_PER_TASK))
    return itertools.chain.from_iterable(
        parallel.ordered_map(simulate_range, tasks, num_workers))


def simulate_range(make_example: MakeExample, world: Any, seed: int, split: str,
                   clips: range) -> list[dict]:
    """The examples of some clips of a split."""
    return [make_example(world, (seed, SPLITS.index(split), clip), f"{split}-{clip:05d}")
            for clip in clips]
