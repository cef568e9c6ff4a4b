"""The ELBO (7), its once-taken gradient, refinement (3), truncation against independent oracles."""

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats
from scipy.special import softmax

from parts_jax.equations import refinement
from parts_jax.equations.notation import Gaussian, InferenceState, PixelMixture

B, K, D, S, SIGMA, OFFSET, BETA = 2, 3, 4, 4, 0.3, -1.0, 0.7


def decode(params, z):
    """A small decoder: anything differentiable will do."""
    h = jnp.tanh(jnp.einsum("bkd,dn->bkn", z, params["w"])).reshape(B, K, S, S, 4)
    return PixelMixture(h[..., :3], params["scale"] * h[..., 3])


def problem(dtype=np.float32, seed=0):
    rng = np.random.default_rng(seed)
    params = {"w": rng.normal(size=(D, S * S * 4)).astype(dtype), "scale": np.asarray(2.0, dtype)}
    parameters = Gaussian(*(rng.normal(size=(2, B, K, D)) * 0.5).astype(dtype))
    x = rng.uniform(size=(B, S, S, 3)).astype(dtype)
    noise = rng.normal(size=(B, K, D)).astype(dtype)
    return params, parameters, x, noise


def negative_elbo_by_loops(params, parameters, x, noise):
    """Equation (7) with numpy and scipy alone, in float64."""
    total = 0.0
    mixture = decode({k: np.asarray(v) for k, v in params.items()}, np.asarray(
        parameters.mean + np.exp(parameters.log_std + OFFSET) * noise))
    means, logits = np.asarray(mixture.means), np.asarray(mixture.mask_logits)
    for b in range(B):
        for i in range(S):
            for j in range(S):
                m = softmax(logits[b, :, i, j])
                p = sum(m[k] * np.prod(stats.norm.pdf(x[b, i, j], means[b, k, i, j], SIGMA))
                        for k in range(K))
                total -= np.log(p)
        for k in range(K):
            for d in range(D):
                mu, log_s = parameters.mean[b, k, d], parameters.log_std[b, k, d] + OFFSET
                total += BETA * 0.5 * (mu**2 + np.exp(2 * log_s) - 1 - 2 * log_s)
    return total


def test_loss_is_minus_the_elbo():
    params, parameters, x, noise = problem()
    objective = refinement.make_objective(decode, SIGMA, OFFSET)
    score = refinement.score(objective, params, parameters, x, noise, BETA)
    np.testing.assert_allclose(
        score.loss, negative_elbo_by_loops(params, parameters, x, noise), rtol=1e-4)


def test_inner_gradient_equals_finite_differences_in_float64():
    with jax.enable_x64(True):
        params, parameters, x, noise = problem(np.float64)
        objective = refinement.make_objective(decode, SIGMA, OFFSET)
        score = refinement.score(objective, params, parameters, x, noise, BETA)
        h = 1e-6
        for name in ("mean", "log_std"):
            expected = np.zeros((B, K, D))
            for at in np.ndindex(B, K, D):
                step = np.zeros((B, K, D))
                step[at] = h
                up, down = (negative_elbo_by_loops(
                    params, parameters.replace(**{name: getattr(parameters, name) + sign * step}),
                    x, noise) for sign in (1, -1))
                expected[at] = (up - down) / (2 * h)
            np.testing.assert_allclose(
                getattr(score.gradient, name), expected, rtol=1e-6, atol=1e-6)


def test_gradients_of_the_loss_equal_naive_differentiation():
    with jax.enable_x64(True):
        params, parameters, x, noise = problem(np.float64)
        objective = refinement.make_objective(decode, SIGMA, OFFSET)

        def loss(params, parameters, score_by):
            return 0.37 * score_by(objective, params, parameters, x, noise, BETA).loss

        take = jax.grad(loss, argnums=(0, 1))
        once, naive = (take(params, parameters, score_by)
                       for score_by in (refinement.score, refinement.score_naively))
        chex.assert_trees_all_close(once, naive, rtol=1e-9)


def test_only_the_loss_carries_gradients():
    params, parameters, x, noise = problem()
    objective = refinement.make_objective(decode, SIGMA, OFFSET)

    def everything_else(params, parameters):
        score = refinement.score(objective, params, parameters, x, noise, BETA)
        return sum(jnp.sum(leaf) for leaf in jax.tree.leaves(score.replace(loss=0.0)))

    gradients = jax.grad(everything_else, argnums=(0, 1))(params, parameters)
    chex.assert_trees_all_equal(gradients, jax.tree.map(jnp.zeros_like, gradients))


def test_each_example_gets_the_gradient_of_its_own_loss():
    params, parameters, x, noise = problem()
    objective = refinement.make_objective(decode, SIGMA, OFFSET)
    whole = refinement.score(objective, params, parameters, x, noise, BETA).gradient
    changed = np.stack([x[0], 0 * x[1]])
    other = refinement.score(objective, params, parameters, changed, noise, BETA).gradient
    np.testing.assert_array_equal(whole.mean[0], other.mean[0])
    assert np.abs(whole.mean[1] - other.mean[1]).max() > 1e-3


def test_standardise_and_normalise():
    image = np.random.default_rng(0).normal(3, 5, size=(2, 8, 8)).astype(np.float32)
    result = np.asarray(refinement.standardise(image))
    np.testing.assert_allclose(result.mean((1, 2)), 0, atol=1e-5)
    np.testing.assert_allclose(result.std((1, 2)), 1, rtol=1e-4)
    # gradients of any scale come out alike, and a zero gradient stays finite
    vector = image[:, 0]
    np.testing.assert_allclose(
        refinement.normalise(vector), refinement.normalise(vector * 1e3), rtol=1e-4)
    np.testing.assert_array_equal(refinement.normalise(jnp.zeros((2, 4))), 0)


def test_refinement_adds_and_action_is_joined_to_every_slot():
    _, parameters, _, _ = problem()
    update = Gaussian(jnp.ones((B, K, D)), jnp.full((B, K, D), 2.0))
    refined = refinement.refine(parameters, update)
    np.testing.assert_allclose(refined.mean, parameters.mean + 1)
    np.testing.assert_allclose(refined.log_std, parameters.log_std + 2)
    action = jnp.arange(B * 2.0).reshape(B, 2)
    s = refinement.refinement_inputs(parameters, update, action)
    assert s.shape == (B, K, 4 * D + 2)
    for k in range(K):
        np.testing.assert_array_equal(s[:, k, -2:], action)


def recurrent_chunk_loss(params, state, inputs):
    """A recurrence whose gradient through time can be followed by hand."""
    def step(h, x):
        h = jnp.tanh(params["w"] * h + x)
        return h, jnp.square(h)
    h, losses = jax.lax.scan(step, state, inputs)
    return jnp.sum(losses), (h, {"loss": losses})


@pytest.mark.parametrize("num_frames", [3, 4, 6, 8, 9])
@pytest.mark.parametrize("unroll", [False, True])
def test_chunks_equal_one_scan_with_stopped_gradients(num_frames, unroll):
    params, start = {"w": jnp.asarray(0.8)}, jnp.asarray(0.3)
    xs = jnp.asarray(np.random.default_rng(0).normal(size=num_frames).astype(np.float32))

    def whole(params):
        def step(h, inputs):
            t, x = inputs
            h = refinement.truncate(h, t, 4)
            h = jnp.tanh(params["w"] * h + x)
            return h, jnp.square(h)
        h, losses = jax.lax.scan(step, start, (jnp.arange(num_frames), xs))
        return jnp.sum(losses), (h, {"loss": losses})

    (loss, (state, metrics)), gradients = jax.value_and_grad(whole, has_aux=True)(params)
    chunked = refinement.chunked_value_and_grad(recurrent_chunk_loss, 4, unroll)
    chex.assert_trees_all_close(chunked(params, start, xs), ((loss, state, metrics), gradients),
                                rtol=1e-5)
    if num_frames > 4:  # and the cut is real: the uncut gradient is another
        uncut = jax.grad(lambda p: recurrent_chunk_loss(p, start, xs)[0])(params)
        assert abs(float(uncut["w"] - gradients["w"])) > 1e-3


def test_truncate_cuts_every_fourth_frame():
    zeros = Gaussian(jnp.ones((1, 1, 1)), jnp.ones((1, 1, 1)))

    def through(scale, t):
        state = InferenceState(jax.tree.map(lambda a: a * scale, zeros), scale * jnp.ones(2))
        return sum(jnp.sum(leaf) for leaf in jax.tree.leaves(refinement.truncate(state, t, 4)))

    carried = [bool(jax.grad(through)(1.0, t)) for t in range(9)]
    assert carried == [False, True, True, True, False, True, True, True, False]
