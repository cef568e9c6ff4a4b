"""The 2D-LSTM's loss of a cell, and the gradients that its refiner sees, by loops and autodiff."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.stats

from parts_jax.equations.notation import Gaussian, PixelMixture
from parts_jax.models.grid_lstm import inputs, objective

B, K, D = 2, 3, 4


def close(found, expected):
    np.testing.assert_allclose(found, expected, 1e-4, 1e-5)


def mixture_of(rng):
    return PixelMixture(rng.uniform(size=(B, K, 2, 3, 3)).astype(np.float32),
                        rng.normal(size=(B, K, 2, 3)).astype(np.float32))


@pytest.mark.parametrize("entropy", [0.0, 0.7])
def test_the_loss_of_a_cell_by_loops(entropy):
    """(3), (6), (7): per-channel mixture; entropy is added, so that it is made small."""
    rng = np.random.default_rng(0)
    mixture, x = mixture_of(rng), rng.uniform(size=(B, 2, 3, 3)).astype(np.float32)
    lambda_, prior = (Gaussian(*rng.normal(size=(2, B, K, D)).astype(np.float32))
                      for _ in range(2))
    loss = objective.make_objective(lambda params, z, h: mixture, "gaussian_per_channel",
                                    objective.Spread(0.1), entropy, 3.0)
    noise = objective.Noise(np.zeros((B, K, D), np.float32), np.zeros(B, bool))
    value, _ = loss(None, lambda_, objective.Context(prior, None, None),
                    (x, noise, jnp.asarray([0.5, 0.4])))
    expected, masks = 0.0, np.exp(mixture.mask_logits)
    masks /= masks.sum(1, keepdims=True)
    for b in range(B):
        for y, u, c in np.ndindex(2, 3, 3):
            expected -= np.log(sum(
                masks[b, k, y, u] * scipy.stats.norm.pdf(
                    x[b, y, u, c], mixture.means[b, k, y, u, c], 0.4) for k in range(K)))
        for k, d in np.ndindex(K, D):
            q, p = (lambda_.mean[b, k, d], 0.5 * lambda_.log_std[b, k, d] + 0.1), (
                prior.mean[b, k, d], prior.log_std[b, k, d])
            expected += 0.5 * (p[1] - q[1] + (np.exp(2 * q[1]) + (q[0] - p[0]) ** 2) / (
                2 * np.exp(2 * p[1])) - 0.5)
    expected += entropy * scipy.stats.entropy(masks, axis=1).sum()
    np.testing.assert_allclose(value, 3.0 * expected, rtol=1e-5)


def test_sigma_of_the_posterior_has_bounds():
    """exp overflows where refinement runs away; within them it is that of the authors' code."""
    log_variance = np.asarray([-300.0, -2.0, 0.4, 3.0, 300.0], np.float32)
    q = objective.posterior(Gaussian(np.ones(5), log_variance), objective.Spread(-0.1, 1.0))
    close(q.log_std, [-5.0, -1.1, 0.1, 1.0, 1.0])
    close(q.mean, np.ones(5))


def test_forms_of_the_prior():
    outputs = Gaussian(jnp.array([1.0]), jnp.array([0.3]))
    assert objective.prior_of(outputs, "log_std") == outputs
    found = objective.prior_of(outputs, "softplus_log_variance")
    np.testing.assert_allclose(2 * found.log_std, np.log1p(np.exp([0.3])), rtol=1e-6)


@pytest.mark.parametrize("form", ["gaussian_per_channel", "logistic"])
def test_gradients_that_the_refiner_sees_are_those_of_the_loss(form):
    rng = np.random.default_rng(0)
    mixture, x = mixture_of(rng), rng.uniform(size=(B, 2, 3, 3)).astype(np.float32)
    likelihood, entropy = inputs.Likelihood(form, 0.4), 0.3

    def loss(means, masks):
        logits = jnp.log(masks)  # of masks that need not sum to 1
        density = inputs.component_likelihood.component_log_density(
            PixelMixture(means, logits), x, 0.4, form)
        log_prob = jax.nn.logsumexp(logits[..., None] + density, axis=1)
        return 2.0 * (-jnp.sum(log_prob) - entropy * jnp.sum(masks * logits))

    of_means, of_masks = jax.grad(loss, (0, 1))(mixture.means, jax.nn.softmax(
        mixture.mask_logits, axis=1))
    images = inputs.images(mixture, x, likelihood, entropy, 2.0, "bayes")
    close(images.means_gradient, of_means)
    close(images.mask_gradient[..., 0], of_masks)
    of_logits = jax.grad(lambda logits: loss(mixture.means, jax.nn.softmax(logits, axis=1)))(
        mixture.mask_logits)
    by_logits = inputs.images(mixture, x, likelihood, entropy, 2.0, "bayes", "logits")
    close(by_logits.mask_gradient[..., 0], of_logits)
    seen = inputs.without_gradients(images)
    assert not seen.means_gradient.any() and not seen.mask_gradient.any()
    close(seen.image, images.image)
