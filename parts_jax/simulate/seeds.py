"""What is drawn for a clip follows from the numbers that name it, and from nothing else."""

from collections.abc import Sequence

import numpy as np


def generator(seed: Sequence[int]) -> np.random.Generator:
    """The random numbers of a clip; those of another seed are independent of them.

    Args:
      seed: non-negative integers that name the clip, such as (seed, split, clip).
    """
    return np.random.default_rng(np.random.SeedSequence([int(part) for part in seed]))
