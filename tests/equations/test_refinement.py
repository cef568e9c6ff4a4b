"""The ELBO (7), its once-taken gradient, and refinement (3) against independent oracles."""

import functools

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats
from scipy.special import softmax

from parts_jax.equations import pixel_mixture, refinement
from parts_jax.equations.notation import Gaussian, PixelMixture

B, K, D, S, SIGMA, OFFSET, BETA = 2, 3, 4, 4, 0.3, -1.0, 0.7


def decode(params, z):
    """A small decoder: anything differentiable will do."""
    h = jnp.tanh(jnp.einsum("bkd,dn->bkn", z, params["w"])).reshape(-1, K, S, S, 4)
    return PixelMixture(h[..., :3], params["scale"] * h[..., 3])


def problem(dtype=np.float32, seed=0):
    rng = np.random.default_rng(seed)
    params = {"w": rng.normal(size=(D, S * S * 4)).astype(dtype), "scale": np.asarray(2.0, dtype)}
    lambda_ = Gaussian(*(rng.normal(size=(2, B, K, D)) * 0.5).astype(dtype))
    x = rng.uniform(size=(B, S, S, 3)).astype(dtype)
    noise = rng.normal(size=(B, K, D)).astype(dtype)
    return params, lambda_, x, noise


def negative_elbo_by_loops(params, lambda_, x, noise):
    """Equation (7) with numpy and scipy alone, in float64."""
    total = 0.0
    mixture = decode({k: np.asarray(v) for k, v in params.items()}, np.asarray(
        lambda_.mean + np.exp(lambda_.log_std + OFFSET) * noise))
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
                mu, log_s = lambda_.mean[b, k, d], lambda_.log_std[b, k, d] + OFFSET
                total += BETA * 0.5 * (mu**2 + np.exp(2 * log_s) - 1 - 2 * log_s)
    return total


def test_loss_is_minus_the_elbo():
    params, lambda_, x, noise = problem()
    objective = refinement.make_objective(decode, SIGMA, OFFSET)
    score = refinement.score(objective, params, lambda_, x, noise, BETA)
    np.testing.assert_allclose(
        score.loss, negative_elbo_by_loops(params, lambda_, x, noise), rtol=1e-4)


def test_inner_gradient_equals_finite_differences_in_float64():
    with jax.enable_x64(True):
        params, lambda_, x, noise = problem(np.float64)
        objective = refinement.make_objective(decode, SIGMA, OFFSET)
        score = refinement.score(objective, params, lambda_, x, noise, BETA)
        h = 1e-6
        for name in ("mean", "log_std"):
            expected = np.zeros((B, K, D))
            for at in np.ndindex(B, K, D):
                step = np.zeros((B, K, D))
                step[at] = h
                up, down = (negative_elbo_by_loops(
                    params, lambda_.replace(**{name: getattr(lambda_, name) + sign * step}),
                    x, noise) for sign in (1, -1))
                expected[at] = (up - down) / (2 * h)
            np.testing.assert_allclose(
                getattr(score.gradient, name), expected, rtol=1e-6, atol=1e-6)


def test_gradients_of_the_loss_equal_naive_differentiation():
    with jax.enable_x64(True):
        params, lambda_, x, noise = problem(np.float64)
        objective = refinement.make_objective(decode, SIGMA, OFFSET)

        def loss(params, lambda_, score_by):
            return 0.37 * score_by(objective, params, lambda_, x, noise, BETA).loss

        take = jax.grad(loss, argnums=(0, 1))
        once, naive = (take(params, lambda_, score_by)
                       for score_by in (refinement.score, refinement.score_naively))
        chex.assert_trees_all_close(once, naive, rtol=1e-9)


def test_only_the_loss_carries_gradients():
    params, lambda_, x, noise = problem()
    objective = refinement.make_objective(decode, SIGMA, OFFSET)

    def everything_else(params, lambda_):
        score = refinement.score(objective, params, lambda_, x, noise, BETA)
        return sum(jnp.sum(leaf) for leaf in jax.tree.leaves(score.replace(loss=0.0)))

    gradients = jax.grad(everything_else, argnums=(0, 1))(params, lambda_)
    chex.assert_trees_all_equal(gradients, jax.tree.map(jnp.zeros_like, gradients))


def test_each_example_gets_the_gradient_of_its_own_loss():
    params, lambda_, x, noise = problem()
    objective = refinement.make_objective(decode, SIGMA, OFFSET)
    whole = refinement.score(objective, params, lambda_, x, noise, BETA).gradient
    changed = np.stack([x[0], 0 * x[1]])
    other = refinement.score(objective, params, lambda_, changed, noise, BETA).gradient
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
    _, lambda_, _, _ = problem()
    update = Gaussian(jnp.ones((B, K, D)), jnp.full((B, K, D), 2.0))
    refined = refinement.refine(lambda_, update)
    np.testing.assert_allclose(refined.mean, lambda_.mean + 1)
    np.testing.assert_allclose(refined.log_std, lambda_.log_std + 2)
    action = jnp.arange(B * 2.0).reshape(B, 2)
    s = refinement.refinement_inputs(lambda_, update, action)
    assert s.shape == (B, K, 4 * D + 2)
    for k in range(K):
        np.testing.assert_array_equal(s[:, k, -2:], action)


def test_a_prior_other_than_the_standard_normal_is_learned_through_the_kl():
    """N(0, I) given as a prior changes nothing; another gets its gradient, once and naively."""
    with jax.enable_x64(True):
        params, lambda_, x, noise = problem(np.float64)
        objective = refinement.make_objective(decode, SIGMA, OFFSET)
        zeros = jax.tree.map(np.zeros_like, lambda_)
        plain = refinement.score(objective, params, lambda_, x, noise, BETA)
        given = refinement.score(objective, params, lambda_, x, noise, BETA, prior=zeros)
        chex.assert_trees_all_close(plain, given, rtol=1e-12)
        prior = jax.tree.map(lambda a: 0.3 * a[::-1] - 0.1, lambda_)

        def loss(score_by, params, lambda_, prior):
            return 0.37 * score_by(objective, params, lambda_, x, noise, BETA, 1, prior).loss

        once, naive = (jax.grad(functools.partial(loss, score_by), argnums=(0, 1, 2))(
            params, lambda_, prior) for score_by in (refinement.score, refinement.score_naively))
        chex.assert_trees_all_close(once, naive, rtol=1e-9)
        assert all(np.abs(g).max() > 1e-3 for g in jax.tree.leaves(once[2]))


@pytest.mark.parametrize("examples_at_once", [0, 1])
def test_lambda_may_be_a_pair_whose_second_part_is_added_to_the_mixture(examples_at_once):
    """So IODINE has the gradients of lambda, means and mask logits from one pass."""
    params, lambda_, x, noise = problem()
    plain = refinement.make_objective(decode, SIGMA, OFFSET)

    def objective(decoder_params, pair, prior, inputs):
        def decode_and_add(params, z):
            return jax.tree.map(jnp.add, decode(params, z), pair[1])
        return refinement.make_objective(decode_and_add, SIGMA, OFFSET)(
            decoder_params, pair[0], prior, inputs)

    zeros = jax.tree.map(jnp.zeros_like, decode(params, lambda_.mean))
    once, naive = (score_by(objective, params, (lambda_, zeros), x, noise, BETA, examples_at_once)
                   for score_by in (refinement.score, refinement.score_naively))
    chex.assert_trees_all_close(once, naive, rtol=1e-4, atol=1e-4)
    alone = refinement.score(plain, params, lambda_, x, noise, BETA)
    np.testing.assert_allclose(once.gradient[0].mean, alone.gradient.mean, rtol=1e-4, atol=1e-4)
    # by hand: the gradient of a mean is minus its responsibility times (x - mean) / sigma^2
    share = pixel_mixture.responsibilities(once.mixture, x, SIGMA)[..., None]
    expected = -share * (x[:, None] - once.mixture.means) / SIGMA**2
    np.testing.assert_allclose(once.gradient[1].means, expected, rtol=1e-3, atol=1e-3)
