"""Intervals that cover, that agree with scipy's, and of many metrics at once; and of ratios."""

import time

import numpy as np
import pytest
from scipy import stats

from parts_jax.metrics import intervals, table


def test_an_interval_covers_the_mean_as_often_as_it_says():
    rng = np.random.default_rng(2)
    samples = rng.normal(5, 2, (40, 200))  # 200 experiments of 40 sequences
    interval = intervals.confidence_interval(samples)
    assert interval.shape == (200, 2)
    covered = ((interval[:, 0] < 5) & (5 < interval[:, 1])).mean()
    assert 0.88 < covered < 0.98
    np.testing.assert_allclose(np.diff(interval).mean(), 2 * 1.96 * 2 / np.sqrt(40), rtol=0.1)
    np.testing.assert_array_equal(interval, intervals.confidence_interval(samples))
    np.testing.assert_array_equal(intervals.confidence_interval(np.ones((3, 2))), 1)
    for bad in (np.ones((1, 2)), np.array([[1.0], [np.inf]])):
        with pytest.raises(ValueError, match="finite values of two sequences or more"):
            intervals.confidence_interval(bad)


def test_an_interval_is_that_of_scipys_bootstrap():
    """Another random stream: the two agree within the noise of 2,000 resamples."""
    values = np.random.default_rng(3).gamma(0.5, 1e-3, (60, 4)) + 100  # skewed, far from 0
    found = intervals.confidence_interval(values)
    expected = stats.bootstrap((values,), np.mean, axis=0, n_resamples=20_000, batch=500,
                               method="percentile", random_state=0).confidence_interval
    width = np.diff(found)[:, 0]
    np.testing.assert_allclose(found[:, 0], expected.low, rtol=0, atol=0.08 * width.max())
    np.testing.assert_allclose(found[:, 1], expected.high, rtol=0, atol=0.08 * width.max())
    narrower = intervals.confidence_interval(values, level=0.5)
    assert (found[:, 0] < narrower[:, 0]).all() and (narrower[:, 1] < found[:, 1]).all()


def test_intervals_of_many_metrics_are_those_of_each_alone_and_cheap():
    rng = np.random.default_rng(4)
    scores = {f"metric_{i}": rng.random(256) for i in range(30)}
    scores |= {"by_step": rng.random((256, 5)), "infinite": np.full(256, np.inf)}
    start = time.process_time()
    found = intervals.confidence_intervals(scores)
    assert time.process_time() - start < 1
    assert list(found) == list(scores) and found["infinite"] is None
    assert found["by_step"].shape == (5, 2) and found["metric_0"].shape == (2,)
    for name in ("metric_0", "metric_29", "by_step"):
        np.testing.assert_allclose(found[name], intervals.confidence_interval(scores[name]),
                                   rtol=1e-12)
    assert intervals.confidence_intervals({"a": np.ones(1), "b": np.ones((1, 3))}) == {
        "a": None, "b": None}


def ratio(values: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """A sum over a sum, as a precision of a whole set: [N, ..., 2] and [R, N] -> [R, ...]."""
    with np.errstate(invalid="ignore"):
        return np.divide(*(np.tensordot(counts, values[..., i], 1) for i in range(2)))


RATIO = table.Metric("ratio", 1, reduce=ratio)


def found_and_all(rng, *shape: int) -> np.ndarray:
    """How many of how many were found, [*shape, 2]."""
    number = rng.integers(1, 9, shape)
    return np.stack([rng.binomial(number, 0.7), number], axis=-1).astype(np.float64)


def test_a_summary_of_means_is_what_numpy_says_bit_for_bit():
    rng = np.random.default_rng(5)
    examples = {"mse": rng.random(37), "psnr": rng.random((37, 3)), "nan": np.full(37, np.nan)}
    found = intervals.summarise(examples)
    ends = intervals.confidence_intervals(examples)
    assert list(found) == list(examples) and found["nan"].interval is None
    for name in ("mse", "psnr"):
        values, summary = examples[name], found[name]
        columns = values.reshape(37, -1).T
        np.testing.assert_array_equal(summary.interval, ends[name])
        np.testing.assert_array_equal(np.ravel(summary.median), list(map(np.median, columns)))
        np.testing.assert_array_equal(summary.value, values.mean(0))
        np.testing.assert_array_equal(summary.standard_error, values.std(0) / np.sqrt(37))
    assert found["mse"].value == examples["mse"].mean()


def test_intervals_of_means_are_those_of_the_version_before():
    """The same resamples and the same product of matrices, written out."""
    values = np.random.default_rng(6).random((50, 4))
    rng, deviations = np.random.default_rng(0), values - values.mean(0)
    means = np.concatenate([rng.multinomial(50, np.full(50, 1 / 50), 100) @ deviations / 50
                            for _ in range(20)])
    expected = values.mean(0) + np.quantile(means, [(1 - 0.95) / 2, (1 + 0.95) / 2], axis=0)
    np.testing.assert_array_equal(intervals.confidence_interval(values), expected.T)


def test_a_ratio_of_sums_is_that_of_all_sequences_and_its_interval_is_scipys():
    values = found_and_all(np.random.default_rng(7), 80)
    found = intervals.summarise({"ratio": values, "mse": values[:, 0]}, (RATIO,))
    summary = found["ratio"]
    assert summary.value == values[:, 0].sum() / values[:, 1].sum()
    assert summary.value != (values[:, 0] / values[:, 1]).mean()
    assert summary.median == np.median(values[:, 0] / values[:, 1])
    expected = stats.bootstrap(
        (values[:, 0], values[:, 1]), lambda a, b, axis=-1: a.sum(axis) / b.sum(axis), paired=True,
        n_resamples=20_000, method="percentile", random_state=0)
    low, high = expected.confidence_interval
    np.testing.assert_allclose(summary.interval, [low, high], rtol=0, atol=0.06 * (high - low))
    np.testing.assert_allclose(summary.standard_error, expected.standard_error, rtol=0.06)
    assert found["mse"].value == values[:, 0].mean() and found["mse"].interval is not None


def test_a_mean_as_a_reduction_has_the_interval_of_the_mean():
    """By the same resamples, at every stage and horizon; the standard error is a bootstrap's."""
    values = np.random.default_rng(8).random((30, 3))
    mean = table.Metric("own", reduce=lambda values, counts: counts @ values / len(values))
    found = intervals.summarise({"own_refined": values, "other": values}, (mean,))
    for part in range(4):
        np.testing.assert_allclose(found["own_refined"][part], found["other"][part], rtol=0.06)
    np.testing.assert_allclose(found["own_refined"].interval, found["other"].interval, rtol=1e-12)
    assert found["own_refined"].interval.shape == (3, 2)


def test_where_a_ratio_is_no_number_there_is_no_interval():
    """One sequence; or one of two that has nothing to find, which a resample may draw twice."""
    some = found_and_all(np.random.default_rng(9), 1, 2)
    one = intervals.summarise({"ratio": some}, (RATIO,))["ratio"]
    np.testing.assert_array_equal(one.value, some[0, :, 0] / some[0, :, 1])
    assert one.interval is None and np.isnan(one.standard_error).all()
    two = intervals.summarise({"ratio": np.array([[2.0, 4.0], [0.0, 0.0]])}, (RATIO,))["ratio"]
    assert two.value == 0.5 and np.isnan(two.median) and two.interval is None
