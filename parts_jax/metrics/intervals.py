"""Intervals of any metric's mean over sequences, on the host, in float64."""

from collections.abc import Mapping

import numpy as np

LEVEL = 0.95          # of intervals
NUM_RESAMPLES = 2000
RESAMPLES_AT_ONCE = 100  # so that 10,000 sequences need 8 MB


def confidence_interval(values: np.ndarray, level: float = LEVEL, seed: int = 0) -> np.ndarray:
    """Percentile bootstrap interval of the mean over sequences.

    Args:
      values: [N, ...], a row a sequence.
      level: share of resampled means that lie inside.
      seed: of the 2,000 resamples.

    Returns:
      float64 [..., 2], least and greatest.

    Raises:
      ValueError: there are fewer than two sequences, or values are not finite.
    """
    values = np.asarray(values, np.float64)
    if len(values) < 2 or not np.isfinite(values).all():
        raise ValueError("An interval needs finite values of two sequences or more; got "
                         f"{len(values)} sequences, {np.isfinite(values).mean():.0%} finite.")
    count, mean, rng = len(values), values.mean(0), np.random.default_rng(seed)
    deviations = (values - mean).reshape(count, -1)
    # How often each sequence is drawn says all: a resampled mean is a product of matrices.
    means = np.concatenate([
        rng.multinomial(count, np.full(count, 1 / count), RESAMPLES_AT_ONCE) @ deviations / count
        for _ in range(NUM_RESAMPLES // RESAMPLES_AT_ONCE)])
    limits = np.quantile(means, [(1 - level) / 2, (1 + level) / 2], axis=0)
    return np.moveaxis(mean + limits.reshape(2, *mean.shape), 0, -1)


def confidence_intervals(scores: Mapping[str, np.ndarray]) -> dict[str, np.ndarray | None]:
    """`confidence_interval` of every metric, from the same resamples of sequences.

    Args:
      scores: [N, ...] each, a row a sequence.

    Returns:
      float64 [..., 2] each; None where values are not finite, or N is below 2.
    """
    fine = {name: values for name, values in scores.items()
            if len(values) >= 2 and np.isfinite(values).all()}
    result = dict.fromkeys(scores)
    if fine:
        columns = [values.reshape(len(values), -1) for values in fine.values()]
        interval = confidence_interval(np.concatenate(columns, axis=1))
        ends = np.cumsum([column.shape[1] for column in columns])
        for (name, values), part in zip(fine.items(), np.split(interval, ends[:-1]), strict=True):
            result[name] = part.reshape(*values.shape[1:], 2)
    return result


def means(clips: Mapping[str, np.ndarray]) -> dict[str, float]:
    """The mean over clips of each metric."""
    return {name: float(values.mean()) for name, values in clips.items()}
