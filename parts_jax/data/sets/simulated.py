"""What the builders of simulated sets share: splits, seeds and the pool of processes.

The clips are simulated on first use. Every clip depends on (seed, split, clip) alone, so the
examples are the same whatever the number of processes.
"""

import dataclasses
import itertools
from collections.abc import Callable, Iterator
from typing import Any

import tensorflow_datasets as tfds
import tqdm

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
