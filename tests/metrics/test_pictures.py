"""Metrics of pictures against loops and textbook values."""

import itertools
import math

import numpy as np
import pytest

from parts_jax.metrics import pictures

B, S, H, W = 2, 3, 14, 16


@pytest.fixture
def frames() -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    true = rng.random((B, S, H, W, 3))
    return true, np.clip(true + rng.normal(0, 0.2, true.shape), 0, 1)


def ssim_by_loops(x: np.ndarray, y: np.ndarray) -> float:
    """The formula, window by window: [H, W] each."""
    weight = np.array([[math.exp(-(i * i + j * j) / (2 * 1.5**2)) for j in range(-5, 6)]
                       for i in range(-5, 6)])
    weight /= weight.sum()
    total, count = 0.0, 0
    for top, left in itertools.product(range(x.shape[0] - 10), range(x.shape[1] - 10)):
        a, b = x[top:top + 11, left:left + 11], y[top:top + 11, left:left + 11]
        mean_a, mean_b = (weight * a).sum(), (weight * b).sum()
        var_a, var_b = (weight * (a - mean_a)**2).sum(), (weight * (b - mean_b)**2).sum()
        covariance = (weight * (a - mean_a) * (b - mean_b)).sum()
        total += ((2 * mean_a * mean_b + 0.01**2) * (2 * covariance + 0.03**2)
                  / ((mean_a**2 + mean_b**2 + 0.01**2) * (var_a + var_b + 0.03**2)))
        count += 1
    return total / count


def test_ssim_is_the_formula(frames):
    true, predicted = frames
    found = pictures.ssim(true, predicted)
    assert found.shape == (B, S)
    for at in np.ndindex(B, S):
        expected = np.mean([ssim_by_loops(true[at][..., c], predicted[at][..., c])
                            for c in range(3)])
        assert found[at] == pytest.approx(expected, abs=1e-10)
    np.testing.assert_allclose(pictures.ssim(true, true), 1)
    with pytest.raises(ValueError, match="11x11 pixels or more; got 14x10"):
        pictures.ssim(true[..., :10, :], true[..., :10, :])


def test_mse_and_psnr(frames):
    true, predicted = frames
    found = pictures.picture_metrics(true, predicted)
    expected = [[np.mean([(a - b)**2 for a, b in zip(true[i, t].flat, predicted[i, t].flat,
                                                    strict=True)]) for t in range(S)]
                for i in range(B)]
    np.testing.assert_allclose(found["mse"], expected)
    tenth = pictures.picture_metrics(np.zeros((1, 1, 11, 11, 3)),
                                     np.full((1, 1, 11, 11, 3), 0.1))
    assert tenth["psnr"].item() == pytest.approx(20) and found["psnr"].shape == (B, S)
    assert pictures.psnr(true, true).tolist() == [[100.0] * S] * B
    with pytest.raises(ValueError, match="they must be the same"):
        pictures.picture_metrics(true, predicted[:, :2])
    small = pictures.picture_metrics(true[:, :, :10], predicted[:, :, :10])
    assert set(found) == {"mse", "psnr", "ssim"} and set(small) == {"mse", "psnr"}
