"""What the refinement network is given: `a` of equation (4).

The paper says that it mirrors IODINE's list; the authors' code, which is followed here, has that
list without p(x | z_{i != k}), and the likelihood as its logarithm. Images are had from equation
(6) by hand: mask and mean of a slot enter nothing of the loss but the likelihood and the entropy.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from parts_jax.equations import component_likelihood
from parts_jax.equations.notation import PixelMixture
from parts_jax.networks import broadcast_decoder, layers

# exp of more has a square that float32 does not hold: the gradient by a mask of nearly nothing.
GREATEST_LOG_RATIO = 40.0
MASK_GRADIENTS = ("mask", "logits")
MASK_POSTERIORS = ("bayes", "softmax_of_likelihood")


class Likelihood(NamedTuple):
    """p(x_i | mu_k): form and scale, see `component_likelihood.component_log_density`."""

    form: str
    scale: float


class Images(NamedTuple):
    """In the order of the network's channels; [B, K, H, W, .] each.

    Attributes:
      image: x_t, 3.
      means: mu_k, 3.
      mask: m_k, 1.
      mask_logits: 1.
      means_gradient: of the loss by mu_k, 3; no gradient goes through it.
      mask_gradient: of the loss by m_k, or by its logit, 1; no gradient goes through it.
      mask_posterior: which component explains the pixel, 1.
      log_likelihood: log p(x_i | z), 1; no gradient goes through it.
      coordinates: x, y, 2.
    """

    image: jax.Array
    means: jax.Array
    mask: jax.Array
    mask_logits: jax.Array
    means_gradient: jax.Array
    mask_gradient: jax.Array
    mask_posterior: jax.Array
    log_likelihood: jax.Array
    coordinates: jax.Array


NORMALISED = ("means_gradient", "mask_gradient", "log_likelihood")


def images(mixture: PixelMixture, x: jax.Array, likelihood: Likelihood, entropy: float,
           loss_scale: float, mask_posterior: str, mask_gradient: str = "mask",
           corners: bool = False, place: jax.Array | None = None) -> Images:
    """Of a frame that was decoded.

    Args:
      mixture: the decoded frame, means [B, K, H, W, 3], logits [B, K, H, W].
      x: the frame in [0, 1], [B, H, W, 3].
      likelihood: of a pixel under one component.
      entropy: weight of the masks' entropy, whose gradient is part of that by the masks.
      loss_scale: of the loss whose gradients are taken; small ones would drown in the epsilon of
        the layer norm that follows.
      mask_posterior: "bayes": p(k | x_i, mu), all slots being as likely before; or, as in the
        authors' code, "softmax_of_likelihood": exp(p_k) over its sum, p_k the likelihood as a share
        of its greatest value.
      mask_gradient: by the "mask" after its softmax, as in the paper; or by its "logits", which is
        bounded: the other is without bounds where a mask is nearly 0 on what its slot explains, and
        layer normalisation leaves nothing of the other pixels then.
      corners: coordinates are -1 and 1 at the outermost pixels; else at their outer edges.
      place: where in its block a pixel is, of a subset of pixels, [B, 2]; None: all pixels.
    """
    log_density = component_likelihood.component_log_density(
        mixture, x, likelihood.scale, likelihood.form)  # [B, K, H, W, S]
    log_masks = jax.nn.log_softmax(mixture.mask_logits, axis=-3)[..., None]
    log_joint = log_masks + log_density
    log_prob = jax.nn.logsumexp(log_joint, axis=-4, keepdims=True)
    total = lambda image: jnp.sum(image, axis=-1, keepdims=True)  # over S
    of_means = -jnp.exp(log_joint - log_prob) * component_likelihood.component_log_density_gradient(
        mixture, x, likelihood.scale, likelihood.form)
    ratio = jnp.exp(jnp.minimum(log_density - log_prob, GREATEST_LOG_RATIO))
    masks = jnp.exp(log_masks)
    if mask_gradient == "mask":
        of_masks = -total(ratio) - entropy * (log_masks + 1)
    else:
        of_entropy = log_masks - jnp.sum(masks * log_masks, axis=-4, keepdims=True)
        of_masks = -total(jnp.exp(log_joint - log_prob) - masks) - entropy * masks * of_entropy
    if mask_posterior == "bayes":
        explains = jnp.mean(jax.nn.softmax(log_density, axis=-4), axis=-1, keepdims=True)
    else:
        peak = _greatest_log_density(likelihood, log_density.dtype)
        explains = jax.nn.softmax(jnp.exp(total(log_density - peak)), axis=-4)
    stop, shape = jax.lax.stop_gradient, mixture.mask_logits.shape
    spread = lambda image: jnp.broadcast_to(image, (*shape, image.shape[-1]))
    return Images(
        image=spread(x[:, None]), means=mixture.means, mask=masks,
        mask_logits=mixture.mask_logits[..., None], means_gradient=stop(loss_scale * of_means),
        mask_gradient=stop(loss_scale * of_masks), mask_posterior=explains,
        log_likelihood=spread(stop(total(log_prob))),
        coordinates=spread(_coordinates(x, corners, place)))


def without_gradients(given: Images) -> Images:
    """Of a frame that is predicted: the gradients by means and masks are zero (section 3.2.3)."""
    return given._replace(means_gradient=jnp.zeros_like(given.means_gradient),
                          mask_gradient=jnp.zeros_like(given.mask_gradient))


def _greatest_log_density(likelihood: Likelihood, dtype: jnp.dtype) -> jax.Array:
    """log p(x_i | mu_k) where x_i is mu_k, [1, 1, 1, 1, S]."""
    black = jnp.zeros((1, 1, 1, 3), dtype)
    return component_likelihood.component_log_density(
        PixelMixture(black[:, None], black[..., 0][:, None]), black, likelihood.scale,
        likelihood.form)


def _coordinates(x: jax.Array, corners: bool, place: jax.Array | None) -> jax.Array:
    """x, y of each pixel, [1 or B, 1, H, W, 2]."""
    size = x.shape[1:3]
    grid = (broadcast_decoder.corner_grid(*size) if corners
            else layers.coordinates(*size, place=place)[..., :2])
    return jnp.asarray(grid[None, None] if place is None else grid[:, None], x.dtype)
