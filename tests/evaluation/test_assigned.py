"""Scores of assigned pixels against numpy: each frame, each stage, by Bayes' rule in a loop."""

import jax
import numpy as np
import pytest

from configs import parts_clevrer
from parts_jax import models
from parts_jax.devices import sharding
from parts_jax.evaluation import by_clip, stages
from parts_jax.metrics import segmentation

B, T, S = 2, 4, 16


@pytest.fixture(scope="module")
def evaluated(tiny):
    """Config, batch, and what evaluation keeps of it; masks are no near ties."""
    config = parts_clevrer.get_config("demo")
    config.update_from_flattened_dict(tiny)
    model, rng = models.create(config), np.random.default_rng(0)
    params = jax.tree.map(
        lambda p: np.asarray(p) + 0.3 * rng.normal(size=p.shape).astype(np.float32),
        jax.jit(model.init)(jax.random.key(0)))
    batch = {"video": rng.integers(0, 256, (B, T, S, S, 3), np.uint8),
             "segmentation": rng.integers(0, 3, (B, T, S, S), np.uint8),
             "index": np.arange(B, dtype=np.int32), "valid": np.ones(B, bool)}
    evaluator = stages.compile_stages(config, model, sharding.make_mesh(jax.devices()[:1]))
    output = evaluator.infer(params, batch)
    views = {stage: jax.tree.map(np.asarray, evaluator.show(params, latents, output["video"]))
             for stage, latents in output["latents"].items()}
    return config, batch, jax.tree.map(np.asarray, output), views


def assigned_by_hand(view, video: np.ndarray, sigma: float) -> np.ndarray:
    """argmax over k of log m_k + log N(x | C_k, sigma), pixel by pixel: [B, T, H, W]."""
    ids = np.zeros(video.shape[:-1], int)
    for b, t, i, j in np.ndindex(ids.shape):
        distance = np.square(video[b, t, i, j] / 255 - np.float64(view.slots[b, t, :, i, j]))
        log_mask = np.log(np.float64(view.masks[b, t, :, i, j]))
        ids[b, t, i, j] = np.argmax(log_mask - distance.sum(-1) / (2 * sigma**2))
    return ids


def test_pixels_of_each_stage_are_assigned_and_scored(evaluated):
    config, batch, output, views = evaluated
    found = by_clip.metrics_of_clips(output, ("predicted", "refined"))
    for stage, suffix in (("predicted", "_predicted_assigned"), ("refined", "_assigned")):
        ids = assigned_by_hand(views[stage], batch["video"], config.model.sigma_x)
        judged = output["judged"][stage]
        assert (judged["assigned"] != ids).mean() < 2e-3  # near ties
        assert (judged["assigned"] != judged["ids"]).mean() > 0.01
        assert judged["assigned"].dtype == judged["ids"].dtype
        scores = segmentation.segmentation_metrics(batch["segmentation"], judged["assigned"])
        del scores["empty_foreground"]
        for name, values in scores.items():
            np.testing.assert_array_equal(found[f"{name}{suffix}"], values, err_msg=name)
    assert sum(name.endswith("_assigned") for name in found) == 16
    assert not any(name.startswith("mse") and "assigned" in name for name in found)


def test_without_true_masks_nothing_is_scored_of_them(evaluated):
    _, _, output, _ = evaluated
    without = {name: value for name, value in output.items() if name != "segmentation"}
    assert not [name for name in by_clip.metrics_of_clips(without, ("predicted", "refined"))
                if "assigned" in name]
