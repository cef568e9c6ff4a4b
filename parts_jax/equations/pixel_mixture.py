"""The pixel mixture likelihood, equation (2), in log space throughout."""

import jax
import jax.numpy as jnp

from parts_jax.equations.notation import PixelMixture

LOG_2PI = 1.8378770664093453


def masks(mixture: PixelMixture) -> jax.Array:
    """m_k = Softmax(mask logits)_k, the right half of equation (1).

    Args:
      mixture: logits [..., K, H, W].

    Returns:
      Masks that sum to 1 over K, [..., K, H, W].
    """
    return jax.nn.softmax(mixture.mask_logits, axis=-3)


def component_log_prob(mixture: PixelMixture, x: jax.Array, sigma_x: float) -> jax.Array:
    """log m_k + log N(x_i | C_k, sigma_x), the summands of equation (2).

    Each pixel is one three-vector: its colours share one mixing weight.

    Args:
      mixture: means [..., K, H, W, 3], logits [..., K, H, W].
      x: frame in [0, 1], [..., H, W, 3].
      sigma_x: standard deviation of the likelihood, in units of the frame.

    Returns:
      [..., K, H, W].
    """
    log_m = jax.nn.log_softmax(mixture.mask_logits, axis=-3)
    squares = jnp.sum(jnp.square(x[..., None, :, :, :] - mixture.means), axis=-1)
    channels = mixture.means.shape[-1]
    log_normal = -0.5 * squares / sigma_x**2 - channels * (jnp.log(sigma_x) + 0.5 * LOG_2PI)
    return log_m + log_normal


def log_prob(mixture: PixelMixture, x: jax.Array, sigma_x: float) -> jax.Array:
    """log p(x_i | z) = log sum_k m_k N(x_i | C_k, sigma_x), equation (2) per pixel.

    Args:
      mixture: means [..., K, H, W, 3], logits [..., K, H, W].
      x: frame in [0, 1], [..., H, W, 3].
      sigma_x: standard deviation of the likelihood.

    Returns:
      The log-likelihood image in nats, [..., H, W].
    """
    return jax.nn.logsumexp(component_log_prob(mixture, x, sigma_x), axis=-3)


def responsibilities(mixture: PixelMixture, x: jax.Array, sigma_x: float) -> jax.Array:
    """p(k | x_i, z): which slot explains the pixel, by Bayes' rule from equation (2).

    Args:
      mixture: means [..., K, H, W, 3], logits [..., K, H, W].
      x: frame in [0, 1], [..., H, W, 3].
      sigma_x: standard deviation of the likelihood.

    Returns:
      Weights that sum to 1 over K, [..., K, H, W].
    """
    return jax.nn.softmax(component_log_prob(mixture, x, sigma_x), axis=-3)


def mean(mixture: PixelMixture) -> jax.Array:
    """E[x | z] = sum_k m_k C_k, the reconstruction.

    Args:
      mixture: means [..., K, H, W, 3], logits [..., K, H, W].

    Returns:
      [..., H, W, 3].
    """
    return jnp.sum(masks(mixture)[..., None] * mixture.means, axis=-4)
