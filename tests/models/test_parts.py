"""The whole model: what sees what, what is free at call time, and its gradient by naive ways."""

import functools
from unittest import mock

import chex
import jax
import jax.numpy as jnp
import ml_collections
import numpy as np
import pytest

from configs import parts_clevrer
from parts_jax import inference, models
from parts_jax.models import parts

B, T, K, S = 2, 6, 3, 8


def tiny_config(**changes) -> ml_collections.ConfigDict:
    """The demo's model, narrow; keys of `changes` are dotted."""
    config = parts_clevrer.get_config("demo")
    config.update_from_flattened_dict({
        "train.unroll": 1, "model.num_slots": K, "model.slot_size": 4,
        "model.decoder.channels": (8, 8), "model.encoder.channels": (4,),
        "model.encoder.output_size": 8, "model.attention.size": 8, "model.attention.mlp": (8,),
        "model.transition.width": 8, "model.transition.mlp_width": 8,
        "model.transition.lstm_size": 8, "model.transition.num_heads": 2} | changes)
    return config


PAPER_LIKE = {"model.encoder.use_likelihood": True, "model.decoder.kernel_size": 3,
              "model.decoder.colour": "full", "data.action_size": 2,
              "model.transition.residual": False}
VARIANTS = [{}, PAPER_LIKE, {"model.decoder.colour": "shaded", "model.num_refinements": 2},
            {"model.attention.top_down": False, "model.decoder.examples_at_once": 1}]


@functools.cache
def build(changes=()):
    config = tiny_config(**dict(changes))
    model = models.create(config)
    params = jax.jit(functools.partial(models.initial_parameters, config, model))(jax.random.key(0))
    return config, model, params


def inputs_for(config, num_slots=K, seed=0, size=S):
    rng = np.random.default_rng(seed)
    video = rng.uniform(size=(B, T, size, size, 3)).astype(np.float32)
    actions = rng.normal(size=(B, T, config.data.action_size)).astype(np.float32)
    c = config.model
    noise = rng.normal(size=(B, T, c.num_refinements, num_slots, c.slot_size))
    return video, actions, noise.astype(np.float32)


def run(changes, inputs, **kwargs):
    config, model, params = build(tuple(changes.items()))
    return jax.jit(functools.partial(model.apply, **kwargs))({"params": params}, *inputs)


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
    a, b = (run(PAPER_LIKE, (video, parts.previous_actions(jnp.asarray(x)), noise))
            for x in (actions, changed))
    np.testing.assert_array_equal(a.masks[:, :3], b.masks[:, :3])
    assert np.abs(a.masks[:, 3] - b.masks[:, 3]).max() > 1e-5
    np.testing.assert_array_equal(parts.previous_actions(jnp.asarray(actions))[:, 0], 0)


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
    second = run({}, (video[:, 4:], actions[:, 4:], noise[:, 4:], first.state))
    np.testing.assert_allclose(second.masks, whole.masks[:, 4:], atol=1e-5)
    chex.assert_trees_all_close(second.state, whole.state, atol=1e-5)


def test_before_the_first_frame_all_state_is_zero():
    _, model, params = build()
    state = model.apply({"params": params}, 2, method="initial_state")
    assert len(jax.tree.leaves(state)) == 4
    chex.assert_trees_all_equal(state, jax.tree.map(jnp.zeros_like, state))


def loss_of(model, params, inputs):
    return model.apply({"params": params}, *inputs, keep_pictures=False).loss


@pytest.mark.parametrize("changes", VARIANTS)
def test_gradient_equals_naive_differentiation_through_two_chunks(changes):
    """Every parameter, T = 6 with a cut at 4, in float64: once-differentiated, chunked or not."""
    with jax.enable_x64(True):
        config, model, params = build(tuple(changes.items()))
        to_double = lambda tree: jax.tree.map(lambda a: jnp.asarray(a, jnp.float64), tree)
        params, inputs = to_double(params), to_double(inputs_for(config))
        once = jax.jit(jax.grad(lambda p: loss_of(model, p, inputs)))(params)
        with mock.patch.object(inference, "score", inference.score_naively):
            naive = jax.jit(jax.grad(lambda p: loss_of(model, p, inputs)))(params)
        chex.assert_trees_all_close(once, naive, rtol=1e-5, atol=1e-9)

        def chunk_loss(params, state, chunk):
            chunk = jax.tree.map(parts.batch_first, chunk)
            output = model.apply({"params": params}, *chunk, state, keep_pictures=False)
            return output.loss * chunk[0].shape[1] / T, (output.state, output.metrics["mse"].T)

        start = to_double(model.initial_state(B))
        chunked = jax.jit(inference.chunked_value_and_grad(chunk_loss, config.train.truncation))
        (_, _, mse), gradients = chunked(params, start, jax.tree.map(parts.time_first, inputs))
        assert mse.shape == (T, B)
        chex.assert_trees_all_close(gradients, naive, rtol=1e-5, atol=1e-9)
        assert all(np.abs(g).max() > 0 for g in jax.tree.leaves(once))


def test_noise_of_an_example_depends_on_its_key_alone():
    keys = jax.random.split(jax.random.key(0), 4)
    noise = parts.make_noise(keys, T, 1, K, 4)
    np.testing.assert_array_equal(noise[1:2], parts.make_noise(keys[1:2], T, 1, K, 4))
    assert np.abs(noise[0] - noise[1]).max() > 0.1


def test_slots_are_not_layer_normalised_across_each_other():
    """Trap: a norm over [K, D] lets a slot's values depend on all others' and fixes K."""
    config, model, params = build()
    video, actions, noise = inputs_for(config, num_slots=1)
    alone = run({}, (video[:, :1], actions[:, :1], noise[:, :1]))
    twins = run({}, (video[:, :1], actions[:, :1], np.repeat(noise[:, :1], 2, axis=3)))
    np.testing.assert_allclose(twins.means[:, :, 0], alone.means[:, :, 0], atol=1e-5)
    np.testing.assert_allclose(twins.means[:, :, 1], alone.means[:, :, 0], atol=1e-5)
