"""Likelihoods of a pixel under one component, of which IODINE and its relatives mix K by masks.

PARTS' own, equation (2), is `pixel_mixture`; these are the forms in which its relatives differ. The
last axis S is 1 where a pixel's channels share one mixing weight, 3 where each is mixed by itself.
"""

import jax
import jax.numpy as jnp

from parts_jax.equations.notation import PixelMixture
from parts_jax.equations.pixel_mixture import LOG_2PI

LIKELIHOODS = ("gaussian", "gaussian_per_channel", "logistic")


def component_log_density(mixture: PixelMixture, x: jax.Array, scale: float,
                          likelihood: str) -> jax.Array:
    """log p(x_i | mu_k), the density inside of IODINE's equation (1), without the mask.

    Args:
      mixture: means [..., K, H, W, 3].
      x: image in [0, 1], [..., H, W, 3].
      scale: sigma_x of a Gaussian, or s of a logistic density, in units of the image.
      likelihood: "gaussian": the paper's, of a pixel's colour as one vector;
        "gaussian_per_channel": each channel is mixed by itself; "logistic": heavier tails, as the
        authors' code has it, of the colour as one vector.

    Returns:
      [..., K, H, W, S].
    """
    u = (x[..., None, :, :, :] - mixture.means) / scale
    if likelihood == "logistic":
        log_density = -jnp.abs(u) - 2 * jax.nn.softplus(-jnp.abs(u)) - jnp.log(scale)
    else:
        log_density = -0.5 * jnp.square(u) - jnp.log(scale) - 0.5 * LOG_2PI
    if likelihood == "gaussian_per_channel":
        return log_density
    return jnp.sum(log_density, axis=-1, keepdims=True)


def component_log_density_gradient(mixture: PixelMixture, x: jax.Array, scale: float,
                                   likelihood: str) -> jax.Array:
    """nabla_{mu_k} log p(x_i | mu_k), as `component_log_density` has it: [..., K, H, W, 3]."""
    u = (x[..., None, :, :, :] - mixture.means) / scale
    return (jnp.tanh(u / 2) if likelihood == "logistic" else u) / scale


def log_prob(mixture: PixelMixture, log_density: jax.Array) -> jax.Array:
    """log p(x_i | z) = sum_s log sum_k m_ik p(x_is | mu_k), IODINE's equation (1) per pixel.

    Args:
      mixture: mask logits [..., K, H, W].
      log_density: of `component_log_density`, [..., K, H, W, S].

    Returns:
      In nats, [..., H, W].
    """
    log_masks = jax.nn.log_softmax(mixture.mask_logits, axis=-3)
    return jnp.sum(jax.nn.logsumexp(log_masks[..., None] + log_density, axis=-4), axis=-1)


def responsibilities(mixture: PixelMixture, log_density: jax.Array) -> jax.Array:
    """p(k | x_i, z): which slot explains the pixel, by Bayes' rule from IODINE's equation (1).

    Args:
      mixture: mask logits [..., K, H, W].
      log_density: of `component_log_density`, [..., K, H, W, S].

    Returns:
      Sums to 1 over K, [..., K, H, W]; the mean over channels that are mixed each by itself.
    """
    log_masks = jax.nn.log_softmax(mixture.mask_logits, axis=-3)
    return jnp.mean(jax.nn.softmax(log_masks[..., None] + log_density, axis=-4), axis=-1)
