"""Metrics of pictures, in float32 in a compiled program, against loops and scipy in float64."""

import itertools
import math
import pathlib

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image
from scipy import ndimage

from parts_jax.devices import sharding
from parts_jax.metrics import pictures
from tests.metrics import picture_oracle

ROOT = pathlib.Path(__file__).parent.parent.parent
B, S, H, W = 2, 3, 14, 16

measure = jax.jit(pictures.picture_metrics)


@pytest.fixture
def frames() -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    true = rng.random((B, S, H, W, 3), np.float32)
    return true, np.clip(true + np.float32(rng.normal(0, 0.2, true.shape)), 0, 1)


def ssim_by_loops(x: np.ndarray, y: np.ndarray) -> float:
    """The formula, window by window: [H, W] each."""
    x, y = x.astype(np.float64), y.astype(np.float64)
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
    found = measure(true, predicted)["ssim"]
    assert found.shape == (B, S)
    for at in np.ndindex(B, S):
        expected = np.mean([ssim_by_loops(true[at][..., c], predicted[at][..., c])
                            for c in range(3)])
        assert found[at] == pytest.approx(expected, abs=1e-6)
        by_scipy = picture_oracle.ssim(np.float64(true[at]), np.float64(predicted[at]))
        assert by_scipy == pytest.approx(expected, abs=1e-10)
    with pytest.raises(ValueError, match="11x11 pixels or more; got 14x10"):
        pictures.ssim(true[..., :10, :], true[..., :10, :])


def test_mse_and_psnr(frames):
    true, predicted = frames
    found = measure(true, predicted)
    expected = [[np.mean([(float(a) - float(b))**2 for a, b in zip(
        true[i, t].flat, predicted[i, t].flat, strict=True)]) for t in range(S)] for i in range(B)]
    np.testing.assert_allclose(found["mse"], expected, rtol=1e-6)
    tenth = measure(np.zeros((1, 1, 11, 11, 3)), np.full((1, 1, 11, 11, 3), 0.1))
    assert tenth["psnr"].item() == pytest.approx(20, abs=1e-6) and found["psnr"].shape == (B, S)
    assert measure(true, true)["psnr"].tolist() == [[100.0] * S] * B
    with pytest.raises(ValueError, match="they must be the same"):
        pictures.picture_metrics(true, predicted[:, :2])
    small = measure(true[:, :, :10], predicted[:, :, :10])
    assert set(found) == {"mse", "psnr", "ssim"} and set(small) == {"mse", "psnr"}


def test_decibels_are_right_at_every_error():
    """From far below what float32 can tell apart in a picture to colours that are all wrong."""
    errors = np.float32(10.0 ** np.random.default_rng(1).uniform(-10, 0, 20_000))
    found = np.asarray(jax.jit(pictures.psnr)(errors), np.float64)
    expected = -10 * np.log10(errors.astype(np.float64))
    np.testing.assert_allclose(found, expected, rtol=0, atol=6e-6)
    assert abs((found - expected).mean()) < 5e-7
    special = np.asarray([0.0, 1e-12, np.nan, np.inf], np.float32)
    for array in (special, jnp.asarray(special), special.astype(np.float64)):
        found = pictures.psnr(array)
        assert isinstance(found, type(array)) and found.dtype == array.dtype
        np.testing.assert_array_equal(found, [100, 100, np.nan, -np.inf])
    np.testing.assert_allclose(pictures.psnr(errors.astype(np.float64)), expected, rtol=1e-14)


def rendered_frames(num_clips: int = 60, size: int = 64) -> np.ndarray:
    """Cut out of the contact sheets in docs/: float64 [num_clips, 1, size, size, 3]."""
    rng, cut = np.random.default_rng(2), []
    for name in ("sim_clevrer", "sim_playroom", "sim_robotics_arm"):
        sheet = np.asarray(Image.open(ROOT / "docs" / f"{name}.png").convert("RGB"))
        for _ in range(num_clips // 3):
            top, left = (rng.integers(0, length - size) for length in sheet.shape[:2])
            cut.append(sheet[top:top + size, left:left + size])
    return np.stack(cut)[:, None] / 255


@pytest.mark.parametrize("kind", ["blurred", "moved", "noisy", "flat"])
def test_float32_is_enough(kind):
    """Means over clips agree with float64 within 1e-6, each clip within 1e-5: dB, too."""
    true = np.float32(rendered_frames())
    predicted = np.float32({
        "blurred": ndimage.gaussian_filter(true, (0, 0, 1, 1, 0)),
        "moved": np.roll(true, 1, axis=2),
        "noisy": np.clip(true + np.random.default_rng(3).normal(0, 0.05, true.shape), 0, 1),
        "flat": np.broadcast_to(true.mean((2, 3), keepdims=True), true.shape)}[kind])
    found, expected = measure(true, predicted), picture_oracle.picture_metrics(true, predicted)
    for name, values in expected.items():
        error = np.asarray(found[name], np.float64) - values
        assert np.abs(error).max() < 1e-5 and abs(error.mean()) < 1e-6, name
    assert np.ptp(expected["ssim"]) > 0.05


@pytest.mark.parametrize("level", [0.0, 0.004, 0.5, 1.0])
def test_equal_and_flat_frames_score_one(level):
    """Where E[x^2] - E[x]^2 would be all rounding."""
    flat = np.full((1, 1, 20, 24, 3), level, np.float32)
    half = flat.copy()
    half[..., 12:, :] = 1 - level
    for image in (flat, half, np.float32(rendered_frames(3))):
        found = measure(image, image)
        np.testing.assert_allclose(found["ssim"], 1, rtol=0, atol=1e-6)
        assert not np.any(found["mse"])
    brighter = flat * np.float32(0.9) + np.float32(0.05)
    found = measure(flat, brighter)["ssim"].item()
    expected = picture_oracle.picture_metrics(flat, brighter)["ssim"].item()
    assert found == pytest.approx(expected, abs=1e-6)


def test_it_runs_on_the_devices_within_a_program(frames):
    """Each device scores its share; the frames stay where they are."""
    mesh = sharding.make_mesh(jax.devices()[:2])
    scores = sharding.data_parallel(lambda batch: pictures.picture_metrics(*batch), mesh,
                                    (True,), True)(sharding.split_batch(frames, mesh))
    for name, values in measure(*frames).items():
        assert scores[name].dtype == jnp.float32
        np.testing.assert_allclose(scores[name], values, rtol=1e-6)
