"""The Gaussian against closed forms and Monte Carlo."""

import jax
import jax.numpy as jnp
import numpy as np
from scipy import stats

from parts_jax.equations import gaussian
from parts_jax.equations.notation import Gaussian


def random_gaussian(seed, shape):
    rng = np.random.default_rng(seed)
    return Gaussian(rng.normal(size=shape), rng.normal(size=shape) * 0.5)


def test_kl_equals_numpy_loop():
    q = random_gaussian(0, (2, 3, 4))
    expected = np.zeros((2, 3))
    for b in range(2):
        for k in range(3):
            for d in range(4):
                mu, sigma = q.mean[b, k, d], np.exp(q.log_std[b, k, d])
                expected[b, k] += -np.log(sigma) + (sigma**2 + mu**2) / 2 - 0.5
    np.testing.assert_allclose(gaussian.kl_to_standard_normal(q), expected, rtol=1e-5)


def test_kl_is_the_expected_log_ratio():
    q = Gaussian(jnp.full((1, 1), 0.7), jnp.full((1, 1), -0.4))
    z = gaussian.sample(q, jax.random.normal(jax.random.key(0), (200_000, 1)))
    log_q = -0.5 * ((z - 0.7) / jnp.exp(-0.4)) ** 2 + 0.4
    log_p = -0.5 * z**2
    np.testing.assert_allclose(
        jnp.mean(log_q - log_p), gaussian.kl_to_standard_normal(q)[0], atol=0.01)


def test_kl_is_zero_only_at_the_prior():
    zero = Gaussian(jnp.zeros((1, 5)), jnp.zeros((1, 5)))
    np.testing.assert_array_equal(gaussian.kl_to_standard_normal(zero), 0)
    assert gaussian.kl_to_standard_normal(random_gaussian(1, (1, 5))) > 0


def test_sample_has_the_mean_and_deviation():
    q = Gaussian(jnp.full((1, 1), 2.0), jnp.full((1, 1), np.log(0.3)))
    z = gaussian.sample(q, jax.random.normal(jax.random.key(1), (100_000, 1)))
    np.testing.assert_allclose(z.mean(), 2.0, atol=0.01)
    np.testing.assert_allclose(z.std(), 0.3, atol=0.01)


def test_parameters_are_offset_and_clipped():
    q = gaussian.from_parameters(
        Gaussian(jnp.zeros(4), jnp.asarray([0.0, 1.0, -9.0, 9.0])), -2.0)
    np.testing.assert_allclose(q.log_std, [-2, -1, -5, 3])


def test_kl_of_two_gaussians_against_scipy_integrals_and_the_standard_normal():
    q, p = random_gaussian(3, (4, 5)), random_gaussian(4, (4, 5))
    expected = np.zeros(4)
    for row in range(4):
        for d in range(5):
            a = stats.norm(float(q.mean[row, d]), float(np.exp(q.log_std[row, d])))
            b = stats.norm(float(p.mean[row, d]), float(np.exp(p.log_std[row, d])))
            expected[row] += a.expect(lambda z, a=a, b=b: a.logpdf(z) - b.logpdf(z))
    np.testing.assert_allclose(gaussian.kl(q, p), expected, rtol=1e-4)
    standard = jax.tree.map(jnp.zeros_like, q)
    np.testing.assert_allclose(
        gaussian.kl(q, standard), gaussian.kl_to_standard_normal(q), rtol=1e-5)
    np.testing.assert_allclose(gaussian.kl(q, q), 0, atol=1e-6)
