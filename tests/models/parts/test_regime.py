"""The regime of section 4.2: frames after the burn-in are predicted and scored, and never seen.

The same by hand, frame by frame: of a frame that is not seen nothing but its loss is made, and the
gradient is what JAX makes of it all.
"""

import functools

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from parts_jax import train
from parts_jax.equations import refinement, truncation
from parts_jax.equations.notation import InferenceState
from parts_jax.models.contract import Clip
from parts_jax.models.parts import family
from parts_jax.models.parts.model import Networks
from parts_jax.networks.functions import Function
from tests.models.parts import test_parts

B, T, TRUNCATION = test_parts.B, 4, 2
BURN_IN, ROLLOUT = 1, 2  # so the state's gradient is cut within the roll-out


def loss_by_hand(config, params, clip, seen) -> jax.Array:
    """(1/T) sum_t L_t, mean over examples; seen: T of bool."""
    parts = family.build(config)
    networks = Networks(*(
        Function(getattr(parts, name), params[name]) if name in params else None
        for name in Networks._fields))
    size = clip.video.shape[2:4]
    beta = config.model.beta * size[0] * size[1] / config.model.beta_pixels
    objective = refinement.make_objective(
        lambda decoder_params, z: networks.decoder.with_params(decoder_params)(z, size),
        config.model.sigma_x, config.model.log_std_offset)
    state = jax.tree.map(lambda a: a.astype(clip.video.dtype), parts.initial_state(B))
    total = 0.0
    for t in range(T):
        x, action = clip.video[:, t], clip.actions[:, t]
        if t % config.train.truncation == 0:
            state = jax.lax.stop_gradient(state)
        lambda_, hidden = parts.predict(networks.transition, state, action)
        given = x, clip.noise[:, t, 0], beta
        if seen[t]:
            score = refinement.score_naively(objective, networks.decoder.params, lambda_, *given)
            update, _ = parts.attend(
                networks, lambda_, score, x, action, networks.encoder(2 * x - 1))
            total, lambda_ = total + score.loss, refinement.refine(lambda_, update)
        else:
            total += objective(networks.decoder.params, lambda_, None, given)[0]
        state = InferenceState(lambda_, hidden)
    return total / (B * T)


@pytest.fixture(scope="module")
def as_trained():
    """Config, parameters, a clip, and what a step of training makes of it: chunk by chunk.

    With actions, in float64. The function returns loss, metrics [B, T], and gradients.
    """
    with jax.enable_x64(True):
        config, model, params = test_parts.build((
            ("data.action_size", 2), ("train.truncation", TRUNCATION)))
        to_double = lambda tree: jax.tree.map(lambda a: jnp.asarray(a, jnp.float64), tree)
        clip = Clip(*(to_double(a[:, :T]) for a in test_parts.inputs_for(config)))

        def chunk_loss(params, state, chunk):
            loss, step = model.loss(params, state, chunk, None)
            return loss * chunk.video.shape[1] / T, (step.state, step.metrics)

        @jax.jit
        def take(params, clip):
            start = to_double(model.start(B, None))
            (loss, _, metrics), gradients = truncation.truncated_value_and_grad(
                chunk_loss, config.train.truncation)(params, start, clip)
            return loss, metrics, gradients

        yield config, to_double(params), clip, take


def seen_after(burn_in):
    keys = jax.random.split(jax.random.key(0), B)
    return np.asarray(train.frames_seen(keys, T, (burn_in, burn_in), ROLLOUT))


def test_its_gradient_equals_naive_differentiation(as_trained):
    """Of every parameter."""
    config, params, clip, take = as_trained
    seen = seen_after(BURN_IN)
    np.testing.assert_array_equal(seen, [[1, 0, 0, 1]] * B)
    by_hand = functools.partial(loss_by_hand, config, clip=clip, seen=seen[0].tolist())
    expected, naive = jax.jit(jax.value_and_grad(by_hand))(params)
    loss, _, gradients = take(params, clip._replace(seen=seen))
    np.testing.assert_allclose(loss, expected, rtol=1e-9)
    chex.assert_trees_all_close(gradients, naive, rtol=1e-5, atol=1e-9)
    assert all(np.abs(g).max() > 0 for g in jax.tree.leaves(gradients))


def test_a_burn_in_as_long_as_the_clip_gives_the_segmentation_regimes_numbers_exactly(as_trained):
    """Loss, metrics and gradients, bit for bit; a shorter one gives others."""
    _, params, clip, take = as_trained
    whole = take(params, clip._replace(seen=seen_after(T)))
    chex.assert_trees_all_equal(whole, take(params, clip))
    assert take(params, clip._replace(seen=seen_after(BURN_IN)))[0] != whole[0]
