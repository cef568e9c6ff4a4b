"""The whole model: what sees what, what is free at call time, and its gradient by naive ways."""

import functools
from typing import Any, NamedTuple
from unittest import mock

import chex
import jax
import jax.numpy as jnp
import ml_collections
import numpy as np
import pytest

from configs import parts_clevrer
from parts_jax import models
from parts_jax.api import inference
from parts_jax.equations import refinement, truncation
from parts_jax.equations.notation import PixelMixture
from parts_jax.models import contract, schedules
from parts_jax.models.contract import Clip
from parts_jax.models.parts import family

B, T, K, S = 2, 6, 3, 8


def tiny_config(**changes) -> ml_collections.ConfigDict:
    """The demo's model, narrow; keys of `changes` are dotted."""
    config = parts_clevrer.get_config("demo")
    config.update_from_flattened_dict({
        "model.num_slots": K, "model.slot_size": 4, "train.unroll": 1,
        "model.decoder.channels": (8, 8), "model.encoder.channels": (4,),
        "model.encoder.output_size": 8, "model.attention.size": 8, "model.attention.mlp": (8,),
        "model.transition.width": 8, "model.transition.mlp_width": 8,
        "model.transition.lstm_size": 8, "model.transition.num_heads": 2} | changes)
    return config


PAPER_LIKE = {"model.encoder.use_likelihood": True, "model.decoder.kernel_size": 3,
              "model.decoder.colour": "full", "data.action_size": 2,
              "model.transition.residual": False}
VARIANTS = [{}, PAPER_LIKE,  # and the alternatives, in one program to compile
            {"model.decoder.colour": "shaded", "model.num_refinements": 2,
             "model.transition.normalise": True, "model.attention.top_down": False,
             "model.decoder.examples_at_once": 1}]


class Output(NamedTuple):
    """Of a clip: the loss, the first stage decoded, the refined posterior, and what is left."""

    loss: Any
    recon: Any
    masks: Any
    means: Any
    posterior: Any
    attention: Any
    state: Any


@functools.cache
def build(changes=()):
    config = tiny_config(**dict(changes))
    model = models.create(config)
    return config, model, jax.jit(model.init)(jax.random.key(0))


def inputs_for(config, num_slots=K, seed=0, size=S):
    rng = np.random.default_rng(seed)
    video = rng.uniform(size=(B, T, size, size, 3)).astype(np.float32)
    actions = rng.normal(size=(B, T, config.data.action_size)).astype(np.float32)
    noise = rng.normal(
        size=(B, T, config.model.num_refinements, num_slots, config.model.slot_size))
    return video, actions, noise.astype(np.float32)


@functools.cache
def compiled(changes):
    _, model, _ = build(changes)

    def output(params, state, clip):
        loss, step = model.loss(params, state, clip, None)
        view = inference.decode(model, params, step.latents["predicted"], clip.video.shape[2:4])
        return Output(loss, view.recon, view.masks, view.slots, step.latents["refined"].posterior,
                      step.maps["attention"], step.state)
    return jax.jit(output)


def run(changes, inputs, state=None) -> Output:
    changes = tuple(changes.items())
    _, model, params = build(changes)
    if state is None:
        state = model.start(B, inputs[2].shape[3])
    return compiled(changes)(params, state, Clip(*inputs))


@pytest.mark.parametrize("changes", VARIANTS)
def test_permuting_slots_permutes_everything(changes):
    config, _, _ = build(tuple(changes.items()))
    video, actions, noise = inputs_for(config)
    order = np.asarray([2, 0, 1])
    plain = run(changes, (video, actions, noise))
    permuted = run(changes, (video, actions, noise[:, :, :, order]))
    take = lambda a, axis: jnp.take(a, order, axis=axis)
    np.testing.assert_allclose(permuted.masks, take(plain.masks, 2), atol=2e-4)
    np.testing.assert_allclose(permuted.means, take(plain.means, 2), atol=2e-4)
    np.testing.assert_allclose(permuted.attention, take(plain.attention, 2), atol=2e-4)
    np.testing.assert_allclose(permuted.posterior.mean, take(plain.posterior.mean, 2), atol=5e-4)
    np.testing.assert_allclose(permuted.recon, plain.recon, atol=2e-4)
    np.testing.assert_allclose(permuted.loss, plain.loss, rtol=1e-4)
    assert np.abs(plain.masks[:, -1, 0] - plain.masks[:, -1, 1]).max() > 1e-3  # slots do differ


@pytest.mark.parametrize("changes", VARIANTS)
def test_batch_members_do_not_see_each_other(changes):
    config, _, _ = build(tuple(changes.items()))
    video, actions, noise = inputs_for(config)
    changed = video.copy()
    changed[1] = 1 - changed[1]
    a, b = run(changes, (video, actions, noise)), run(changes, (changed, actions, noise))
    ours, theirs = (jax.tree.leaves((out.masks, out.posterior)) for out in (a, b))
    for x, y in zip(ours, theirs, strict=True):
        np.testing.assert_allclose(x[0], y[0], atol=1e-5)
    assert np.abs(a.posterior.mean[1] - b.posterior.mean[1]).max() > 1e-3


@pytest.mark.parametrize("changes", VARIANTS)
def test_a_frame_does_not_see_later_frames_nor_prediction_its_own(changes):
    config, _, _ = build(tuple(changes.items()))
    video, actions, noise = inputs_for(config)
    changed = video.copy()
    changed[:, 3:] = 1 - changed[:, 3:]
    a, b = run(changes, (video, actions, noise)), run(changes, (changed, actions, noise))
    np.testing.assert_array_equal(a.posterior.mean[:, :3], b.posterior.mean[:, :3])
    np.testing.assert_array_equal(a.masks[:, :4], b.masks[:, :4])  # before frame 3 is seen
    assert np.abs(a.masks[:, 4] - b.masks[:, 4]).max() > 1e-5


def test_actions_are_seen_one_frame_later():
    config, _, _ = build(tuple(PAPER_LIKE.items()))
    video, actions, noise = inputs_for(config)
    changed = actions.copy()
    changed[:, 2] += 1
    a, b = (run(PAPER_LIKE, (video, contract.previous_actions(jnp.asarray(x)), noise))
            for x in (actions, changed))
    np.testing.assert_array_equal(a.masks[:, :3], b.masks[:, :3])
    assert np.abs(a.masks[:, 3] - b.masks[:, 3]).max() > 1e-5
    np.testing.assert_array_equal(contract.previous_actions(jnp.asarray(actions))[:, 0], 0)


@pytest.mark.parametrize("num_slots,size", [(1, 8), (5, 8), (3, 12)])
def test_slots_and_resolution_are_free_at_call_time(num_slots, size):
    config, _, _ = build()
    output = run({}, inputs_for(config, num_slots, size=size))
    assert output.masks.shape == (B, T, num_slots, size, size)
    assert np.isfinite(output.loss)
    np.testing.assert_allclose(output.masks.sum(2), 1, rtol=1e-5)
    np.testing.assert_allclose(output.attention.sum(2), 1, rtol=1e-5)


def test_going_on_from_a_state_equals_one_long_clip():
    config, _, _ = build()
    video, actions, noise = inputs_for(config)
    whole = run({}, (video, actions, noise))
    first = run({}, (video[:, :4], actions[:, :4], noise[:, :4]))
    second = run({}, (video[:, 4:], actions[:, 4:], noise[:, 4:]), first.state)
    np.testing.assert_allclose(second.masks, whole.masks[:, 4:], atol=1e-5)
    chex.assert_trees_all_close(second.state, whole.state, atol=1e-5)


def test_before_the_first_frame_all_state_is_zero():
    _, model, _ = build()
    state = model.start(2, None)
    assert len(jax.tree.leaves(state)) == 4
    chex.assert_trees_all_equal(state, jax.tree.map(jnp.zeros_like, state))


def loss_of(model, params, clip):
    """Of the whole clip in one piece, from zero state; the model cuts its gradients itself."""
    start = jax.tree.map(lambda a: a.astype(clip.video.dtype), model.start(B, None))
    return model.loss(params, start, clip, None)[0]


@pytest.mark.parametrize("changes", VARIANTS)
def test_gradient_equals_naive_differentiation_through_two_chunks(changes):
    """Every parameter, T = 6 with a cut at 4, in float64: once-differentiated, chunked or not."""
    with jax.enable_x64(True):
        config, model, params = build(tuple(changes.items()))
        to_double = lambda tree: jax.tree.map(lambda a: jnp.asarray(a, jnp.float64), tree)
        params, clip = to_double(params), Clip(*to_double(inputs_for(config)))
        once = jax.jit(jax.grad(lambda p: loss_of(model, p, clip)))(params)
        with mock.patch.object(refinement, "score", refinement.score_naively):
            naive = jax.jit(jax.grad(lambda p: loss_of(model, p, clip)))(params)
        chex.assert_trees_all_close(once, naive, rtol=1e-5, atol=1e-9)

        def chunk_loss(params, state, chunk):
            loss, step = model.loss(params, state, chunk, None)
            return loss * chunk.video.shape[1] / T, (step.state, step.metrics["mse"])

        start = to_double(model.start(B, None))
        chunked = jax.jit(truncation.truncated_value_and_grad(
            chunk_loss, config.train.truncation))
        (_, _, mse), gradients = chunked(params, start, clip)
        assert mse.shape == (B, T)
        chex.assert_trees_all_close(gradients, naive, rtol=1e-5, atol=1e-9)
        assert all(np.abs(g).max() > 0 for g in jax.tree.leaves(once))


def test_noise_of_an_example_depends_on_its_key_alone_and_a_longer_clip_begins_alike():
    _, model, _ = build()
    keys = jax.random.split(jax.random.key(0), 4)
    noise = model.noise(keys, T, K)
    np.testing.assert_array_equal(noise[1:2], model.noise(keys[1:2], T, K))
    np.testing.assert_array_equal(noise[:, :4], model.noise(keys, 4, K))
    assert np.abs(noise[0] - noise[1]).max() > 0.1


def test_beta_changes_with_the_step_in_training_alone():
    """Warm-up from .02 and, in the second stage, a scale of .3; without a step, beta itself."""
    config, model, params = build((
        ("schedule.steps", (4_000, 2_800)), ("model.beta_scale", (1.0, 0.3))))
    clip = Clip(*inputs_for(config))
    state = model.start(B, None)

    def at(step):
        _, out = jax.jit(model.loss)(params, state, clip, step)
        return (out.metrics["neg_elbo"] - out.metrics["nll"]) / out.metrics["kl"]

    full = config.model.beta * S * S / config.model.beta_pixels
    for step, scale in ((None, 1.0), (0, 0.02), (250, 0.51), (500, 1.0), (4000, 0.3)):
        np.testing.assert_allclose(at(step), full * scale, rtol=2e-2, err_msg=str(step))
    schedule = schedules.beta_scale(config)
    assert float(schedule(0)) == pytest.approx(0.02) and float(schedule(5000)) == pytest.approx(0.3)


def test_responsibilities_of_a_view_are_those_of_the_mixture():
    config, model, params = build()
    video, _, _ = inputs_for(config)
    z = np.random.default_rng(3).normal(size=(B, K, config.model.slot_size)).astype(np.float32)
    mixture = family.build(config).apply({"params": params}, z, (S, S), method="decode")
    view = contract.View(None, jax.nn.softmax(mixture.mask_logits, axis=1), mixture.means)
    found = model.assign(view, video[:, 0])
    sigma, expected = config.model.sigma_x, np.zeros((B, K, S, S))
    means, masks = np.float64(mixture.means), np.float64(view.masks)
    for b, k, i, j in np.ndindex(expected.shape):
        distance = np.square(video[b, 0, i, j] - means[b, k, i, j]).sum()
        expected[b, k, i, j] = np.log(masks[b, k, i, j]) - distance / (2 * sigma**2)
    expected = np.exp(expected - expected.max(1, keepdims=True))
    np.testing.assert_allclose(found, expected / expected.sum(1, keepdims=True), atol=2e-3)
    assert 0.05 < (np.asarray(found).max(1) > 0.99).mean() < 1 and isinstance(mixture, PixelMixture)


def test_slots_are_not_layer_normalised_across_each_other():
    """Trap: a norm over [K, D] lets a slot's values depend on all others' and fixes K."""
    config, model, params = build()
    video, actions, noise = inputs_for(config, num_slots=1)
    alone = run({}, (video[:, :1], actions[:, :1], noise[:, :1]))
    twins = run({}, (video[:, :1], actions[:, :1], np.repeat(noise[:, :1], 2, axis=3)))
    np.testing.assert_allclose(twins.means[:, :, 0], alone.means[:, :, 0], atol=1e-5)
    np.testing.assert_allclose(twins.means[:, :, 1], alone.means[:, :, 0], atol=1e-5)
