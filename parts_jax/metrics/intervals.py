"""What is said of many sequences: mean, median, standard error, interval; on the host, in float64.

A metric is the mean over sequences, or what its `reduce` makes of all of them, as with an average
precision, which no single sequence has. Intervals are percentile bootstraps over sequences.
"""

from collections.abc import Iterable, Iterator, Mapping
from typing import NamedTuple

import numpy as np

from parts_jax.metrics import table

LEVEL = 0.95          # of intervals
NUM_RESAMPLES = 2000
RESAMPLES_AT_ONCE = 100  # so that 10,000 sequences need 8 MB


class Summary(NamedTuple):
    """What is said of a metric; shapes are those of one sequence, float64.

    Attributes:
      value: the mean over sequences, or what `reduce` makes of them, [...].
      median: over sequences, [...]; of a metric with `reduce`, that of each sequence alone, and nan
        where it has no number of some sequence.
      standard_error: of `value`, [...]; of a metric with `reduce`, by the bootstrap, and nan where
        there is no interval.
      interval: of `value`, least and greatest, [..., 2]; None where values are not finite, or there
        are fewer than two sequences.
    """

    value: np.ndarray
    median: np.ndarray
    standard_error: np.ndarray
    interval: np.ndarray | None


def summarise(examples: Mapping[str, np.ndarray],
              metrics: Iterable[table.Metric] = table.TABLE) -> dict[str, Summary]:
    """Says of every metric what many sequences together give.

    Args:
      examples: by name, at any stage: [N, ...], a row a sequence.
      metrics: that say how each is reduced; one that is not among them is a mean.

    Returns:
      A summary of each, in the same order.
    """
    found = {name: table.find(name, metrics) for name in examples}
    reduces = {name: metric.reduce for name, metric in found.items() if metric and metric.reduce}
    intervals = confidence_intervals(
        {name: values for name, values in examples.items() if name not in reduces})
    return {name: _reduced(values, reduces[name]) if name in reduces else Summary(
        values.mean(0), np.median(values, axis=0), np.std(values, axis=0) / np.sqrt(len(values)),
        intervals[name]) for name, values in examples.items()}


def values(examples: Mapping[str, np.ndarray],
           metrics: Iterable[table.Metric] = table.TABLE) -> dict[str, float]:
    """The value alone of every metric of `summarise`, without its bootstrap.

    Args:
      examples: by name, at any stage: [N], a number a sequence.
      metrics: as for `summarise`.
    """
    found = {name: table.find(name, metrics) for name in examples}
    return {name: float(each.mean() if not found[name] or found[name].reduce is None
                        else found[name].reduce(each, np.ones((1, len(each))))[0])
            for name, each in examples.items()}


def by_sequence(examples: Mapping[str, np.ndarray],
                metrics: Iterable[table.Metric] = table.TABLE) -> dict[str, np.ndarray]:
    """The value of each sequence alone, which of a mean is what it is, [N, ...].

    Args:
      examples, metrics: as for `summarise`.
    """
    found = {name: table.find(name, metrics) for name in examples}
    return {name: values if not found[name] or found[name].reduce is None
            else _alone(values, found[name].reduce) for name, values in examples.items()}


def _alone(values: np.ndarray, reduce: table.Reduce) -> np.ndarray:
    return np.concatenate([reduce(values[i:i + 1], np.ones((1, 1))) for i in range(len(values))])


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
    count, mean = len(values), values.mean(0)
    deviations = (values - mean).reshape(count, -1)
    # How often each sequence is drawn says all: a resampled mean is a product of matrices.
    means = np.concatenate([draws @ deviations / count for draws in _resamples(count, seed)])
    limits = np.quantile(means, _ends(level), axis=0)
    return np.moveaxis(mean + limits.reshape(2, *mean.shape), 0, -1)


def confidence_intervals(examples: Mapping[str, np.ndarray]) -> dict[str, np.ndarray | None]:
    """`confidence_interval` of every metric, from the same resamples of sequences.

    Args:
      examples: [N, ...] each, a row a sequence.

    Returns:
      float64 [..., 2] each; None where values are not finite, or N is below 2.
    """
    fine = {name: values for name, values in examples.items()
            if len(values) >= 2 and np.isfinite(values).all()}
    result = dict.fromkeys(examples)
    if fine:
        columns = [values.reshape(len(values), -1) for values in fine.values()]
        interval = confidence_interval(np.concatenate(columns, axis=1))
        ends = np.cumsum([column.shape[1] for column in columns])
        for (name, values), part in zip(fine.items(), np.split(interval, ends[:-1]), strict=True):
            result[name] = part.reshape(*values.shape[1:], 2)
    return result


def _reduced(values: np.ndarray, reduce: table.Reduce) -> Summary:
    """The summary of a metric that is a number of all sequences, from the resamples of means."""
    value = np.asarray(reduce(values, np.ones((1, len(values))))[0], np.float64)
    alone = _alone(values, reduce)
    nothing, fine = np.full(value.shape, np.nan), len(values) >= 2
    if fine:
        resampled = np.concatenate([reduce(values, draws)
                                    for draws in _resamples(len(values), seed=0)])
        fine = bool(np.isfinite(resampled).all())
    if not fine:
        return Summary(value, np.median(alone, axis=0), nothing, None)
    interval = np.moveaxis(np.quantile(resampled, _ends(LEVEL), axis=0), 0, -1)
    return Summary(value, np.median(alone, axis=0), resampled.std(0), interval)


def _resamples(count: int, seed: int) -> Iterator[np.ndarray]:
    """How often each of `count` sequences is drawn: 2,000 rows in all, [RESAMPLES_AT_ONCE, N]."""
    rng = np.random.default_rng(seed)
    for _ in range(NUM_RESAMPLES // RESAMPLES_AT_ONCE):
        yield rng.multinomial(count, np.full(count, 1 / count), RESAMPLES_AT_ONCE)


def _ends(level: float) -> list[float]:
    return [(1 - level) / 2, (1 + level) / 2]
