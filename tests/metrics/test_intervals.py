"""Intervals that cover, that agree with scipy's, and of many metrics at once."""

import time

import numpy as np
import pytest
from scipy import stats

from parts_jax.metrics import intervals


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
