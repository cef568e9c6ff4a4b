"""The pixel mixture, equation (2), against loops over pixels, and where it could break."""

import jax
import jax.numpy as jnp
import numpy as np
from scipy import stats
from scipy.special import softmax

from parts_jax.equations import pixel_mixture
from parts_jax.equations.notation import PixelMixture

K, H, W, SIGMA = 3, 2, 4, 0.2


def random_frame(seed=0):
    rng = np.random.default_rng(seed)
    mixture = PixelMixture(rng.normal(size=(K, H, W, 3)), rng.normal(size=(K, H, W)) * 3)
    return mixture, rng.uniform(size=(H, W, 3))


def test_log_prob_equals_scipy_pixel_by_pixel():
    mixture, x = random_frame()
    expected, share = np.zeros((H, W)), np.zeros((K, H, W))
    for i in range(H):
        for j in range(W):
            m = softmax(mixture.mask_logits[:, i, j])
            parts = [m[k] * np.prod(stats.norm.pdf(x[i, j], mixture.means[k, i, j], SIGMA))
                     for k in range(K)]
            expected[i, j] = np.log(np.sum(parts))
            share[:, i, j] = parts / np.sum(parts)
    np.testing.assert_allclose(pixel_mixture.log_prob(mixture, x, SIGMA), expected, rtol=1e-4)
    np.testing.assert_allclose(
        pixel_mixture.responsibilities(mixture, x, SIGMA), share, rtol=1e-3, atol=1e-7)


def test_the_density_integrates_to_one():
    rng = np.random.default_rng(1)
    mixture = PixelMixture(rng.uniform(0.3, 0.7, size=(K, 1, 1, 3)), rng.normal(size=(K, 1, 1)))
    axis = np.linspace(-0.7, 1.7, 49)
    grid = np.stack(np.meshgrid(axis, axis, axis, indexing="ij"), -1).reshape(-1, 1, 1, 3)
    density = jnp.exp(jax.vmap(lambda x: pixel_mixture.log_prob(mixture, x, 0.15))(grid))
    np.testing.assert_allclose(jnp.sum(density) * (axis[1] - axis[0]) ** 3, 1.0, rtol=1e-3)


def test_finite_where_linear_space_gives_log_of_zero():
    """Far pixels and saturated masks: exp underflows, log 0 and 0 log 0 lurk."""
    logits = jnp.asarray([300.0, -300.0, 0.0])[:, None, None] * jnp.ones((K, H, W))
    mixture = PixelMixture(jnp.full((K, H, W, 3), 50.0), logits)
    x = jnp.zeros((H, W, 3))

    def total(mixture):
        return jnp.sum(pixel_mixture.log_prob(mixture, x, 0.05))

    value, gradient = jax.value_and_grad(total)(mixture)
    assert np.isfinite(value)
    assert all(np.isfinite(g).all() for g in jax.tree.leaves(gradient))
    assert np.isfinite(pixel_mixture.responsibilities(mixture, x, 0.05)).all()


def test_masks_sum_to_one_over_slots_and_mean_is_their_mixture():
    mixture, _ = random_frame(2)
    masks = pixel_mixture.masks(mixture)
    np.testing.assert_allclose(masks.sum(0), 1.0, rtol=1e-5)
    expected = sum(masks[k][..., None] * mixture.means[k] for k in range(K))
    np.testing.assert_allclose(pixel_mixture.mean(mixture), expected, rtol=1e-4, atol=1e-6)
