"""IODINE on sequences: one frame an iteration, what is carried, weights, the clamp."""

import functools

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from configs import iodine_tetrominoes
from parts_jax import models
from parts_jax.models.contract import Clip
from parts_jax.runs import config_rules

B, T, K, D, S = 2, 4, 3, 3, 8
TINY = {"model.num_slots": K, "model.slot_size": D, "model.num_iterations": 1,
        "model.sequential": True, "data.num_frames": T, "model.decoder.channels": (4,),
        "model.refiner.channels": (4,), "model.refiner.mlp": (5,), "model.refiner.lstm_size": 4,
        "train.pixels": (1,), "train.encoder_pooling": (1,), "model.beta_warmup_steps": 0,
        "model.beta_warmup_start": 1.0}
CLAMPED = {"model.clamp": 0.01}


def config_of(changes):
    config = iodine_tetrominoes.get_config("tiny")
    config.update_from_flattened_dict(TINY | changes)
    config_rules.check(config, None)
    return config


def shapes_of(changes):
    return jax.eval_shape(models.create(config_of(changes)).init, jax.random.key(0))


@functools.cache
def build(changes=()):
    model, rng = models.create(config_of(dict(changes))), np.random.default_rng(1)
    return model, jax.tree.map(
        lambda p: (rng.normal(size=p.shape) * 0.4).astype(np.float32), shapes_of(dict(changes)))


@functools.cache
def compiled(changes):
    return jax.jit(build(changes)[0].loss)


def clip_of():
    rng = np.random.default_rng(0)
    return Clip(rng.uniform(size=(B, T, S, S, 3)).astype(np.float32),
                np.zeros((B, T, 0), np.float32),
                rng.normal(size=(B, T, 1, K, D)).astype(np.float32))


def part_of(clip, first, last):
    return Clip(*(array[:, first:last] for array in clip[:3]))


def run(changes, clip, state=None, step=None):
    changes = tuple(changes.items())
    model, params = build(changes)
    return compiled(changes)(params, model.start(B, None) if state is None else state, clip, step)


def test_frame_by_frame_is_the_same_as_all_in_one_go():
    clip = clip_of()
    loss, whole = run({}, clip)
    state, losses, steps = None, [], []
    for t in range(T):
        of_frame, step = run({}, part_of(clip, t, t + 1), state)
        state = step.state
        losses.append(of_frame)
        steps.append(step)
    np.testing.assert_allclose(np.mean(losses), loss, rtol=1e-5)
    chex.assert_trees_all_close(state, whole.state, rtol=1e-4, atol=1e-4)
    joined = jax.tree.map(lambda *a: np.concatenate(a, axis=1),
                          *[(step.latents, step.metrics, step.views) for step in steps])
    chex.assert_trees_all_close(
        joined, jax.device_get((whole.latents, whole.metrics, whole.views)), rtol=1e-3, atol=1e-3)
    np.testing.assert_array_equal(state.frame, T)


def test_a_prediction_does_not_see_its_frame_nor_a_refinement_later_ones():
    clip = clip_of()
    changed = clip.video.copy()
    changed[:, 2:] = 1 - changed[:, 2:]
    a, b = (run({}, clip._replace(video=video))[1] for video in (clip.video, changed))
    of = lambda step, stage: np.asarray(step.latents[stage].posterior.mean)
    np.testing.assert_array_equal(of(a, "predicted")[:, :3], of(b, "predicted")[:, :3])
    np.testing.assert_array_equal(a.views["predicted"].masks[:, :3],
                                  b.views["predicted"].masks[:, :3])
    np.testing.assert_array_equal(of(a, "refined")[:, :2], of(b, "refined")[:, :2])
    assert np.abs(of(a, "refined")[:, 2] - of(b, "refined")[:, 2]).max() > 1e-3
    # The posterior that saw a frame is the prediction of the next, and the mean stands for it.
    np.testing.assert_array_equal(of(a, "refined")[:, :-1], of(a, "predicted")[:, 1:])
    np.testing.assert_array_equal(a.latents["refined"].z, of(a, "refined"))


def test_the_weight_of_a_frame_is_how_many_were_seen():
    """t / (T - 1): nothing is known of the first; and a second part goes on where one ended."""
    clip = clip_of()
    loss, whole = run({}, clip)
    each = np.float64(whole.metrics["neg_elbo"]).mean(0)
    np.testing.assert_allclose(loss, np.mean(np.arange(T) / (T - 1) * each), rtol=1e-5)
    first, step = run({}, part_of(clip, 0, 1))
    assert first == 0
    second, _ = run({}, part_of(clip, 1, 2), step.state)
    np.testing.assert_allclose(second, each[1] / (T - 1), rtol=1e-5)


def test_before_the_first_frame_no_state_is_read_but_how_many_were_seen():
    clip = part_of(clip_of(), 0, 1)
    model, params = build()
    start = model.start(B, None)
    chex.assert_trees_all_equal(start, jax.tree.map(jnp.zeros_like, start))
    other = start._replace(posterior=jax.tree.map(lambda a: a + 7, start.posterior))
    steps = [run({}, clip, state)[1] for state in (start, other)]
    chex.assert_trees_all_equal(*[step.latents for step in steps])
    q = steps[0].latents["predicted"].posterior
    np.testing.assert_array_equal(q.mean, np.broadcast_to(params["start_mean"], q.mean.shape))


def moved(step):
    """How far lambda's mean was refined at every frame."""
    posteriors = [step.latents[stage].posterior.mean for stage in ("refined", "predicted")]
    return np.abs(posteriors[0] - posteriors[1])


def test_the_clamp_is_for_use_alone():
    """Parameters are the same, and so is training; without a step, no update is above it."""
    clip, bound = clip_of(), CLAMPED["model.clamp"]
    free, _ = run({}, clip, step=3)
    trained, step = run(CLAMPED, clip, step=3)
    np.testing.assert_allclose(trained, free, rtol=1e-6)
    assert moved(step).max() > 3 * bound
    in_use = run(CLAMPED, clip)[1]
    assert moved(in_use).max() == pytest.approx(bound, rel=1e-3)


def test_every_parameter_learns_and_so_does_the_start():
    """Though the first frame, which alone is explained by the start itself, has no weight."""
    model, params = build()
    gradient = jax.jit(jax.grad(
        lambda p: model.loss(p, model.start(B, None), clip_of(), 0)[0]))(params)
    for path, leaf in jax.tree_util.tree_leaves_with_path(gradient):
        assert np.isfinite(leaf).all() and np.abs(leaf).max() > 0, jax.tree_util.keystr(path)
    assert np.abs(gradient["start_mean"]).max() > 1e-3


@pytest.mark.parametrize("changes", [
    {}, {"model.refiner.head": "gated", "model.refiner.lstm_size": 0}])
def test_an_image_models_parameters_are_those_of_a_sequential_one(changes):
    images = changes | {"model.sequential": False, "model.num_iterations": 2, "data.num_frames": 1}
    assert shapes_of(images) == shapes_of(changes)
    model = models.create(config_of(changes))
    assert model.num_iterations is None and model.stages == ("predicted", "refined")
    assert (model.start(B, 5).memory == ()) == ("model.refiner.lstm_size" in changes)
    # Such a model runs by them: nothing but shapes is asked, as the one above has been run.
    loss, step = jax.eval_shape(model.loss, shapes_of(images), model.start(B, None), clip_of(),
                                None)
    assert loss.shape == () and jax.tree.map(jnp.shape, step.state) == jax.tree.map(
        jnp.shape, model.start(B, None))
