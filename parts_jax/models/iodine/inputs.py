"""What IODINE's refinement network is given: the table of the paper's appendix B.

The images are had from equation (1) by hand: mask and mean of a slot enter nothing else of the
loss. Only the gradient by lambda takes a backward pass through the decoder.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from parts_jax.equations import component_likelihood
from parts_jax.equations.notation import PixelMixture
from parts_jax.networks import layers

# exp of more has a square that float32 does not hold: the gradient by a mask of nearly nothing.
GREATEST_LOG_RATIO = 40.0


class Input(NamedTuple):
    """A row of the table.

    Attributes:
      formula: as the paper writes it; L is the loss, minus the ELBO.
      channels: of an image [B, K, H, W, channels], or numbers of a vector [B, K, .]: 2 D.
      layer_norm: LN of the table: it is layer-normalised by itself.
      stop_gradient: SG of the table: no gradient goes through it.
    """

    formula: str
    channels: int | str
    layer_norm: bool = False
    stop_gradient: bool = False


INPUTS = {
    "image": Input("x", 3),
    "means": Input("mu^(t)", 3),
    "mask": Input("m_k^(t)", 1),
    "mask_logits": Input("hat m_k^(t)", 1),
    "means_gradient": Input("nabla_{mu_k} L^(t)", 3, layer_norm=True, stop_gradient=True),
    "mask_gradient": Input("nabla_{m_k} L^(t)", 1, layer_norm=True, stop_gradient=True),
    "mask_posterior": Input("p(m_k^(t) | x, mu^(t))", 1),
    "likelihood": Input("p(x | z^(t))", 1, layer_norm=True, stop_gradient=True),
    "leave_one_out": Input("p(x | z_{i != k}^(t))", 1, layer_norm=True, stop_gradient=True),
    "coordinates": Input("x, y", 2),
    "posterior": Input("lambda_k", "2 D"),
    "posterior_gradient": Input("nabla_{lambda_k} L^(t)", "2 D", layer_norm=True,
                                stop_gradient=True),
}
VECTORS = ("posterior", "posterior_gradient")
IMAGES = tuple(name for name in INPUTS if name not in VECTORS)
MASK_GRADIENTS = ("mask", "logits")
LIKELIHOOD_FORMS = ("probability", "log")


def image_inputs(mixture: PixelMixture, x: jax.Array, sigma_x: float, likelihood: str = "gaussian",
                 mask_gradient: str = "mask", form: str = "probability",
                 place: jax.Array | None = None,
                 slots: jax.Array | None = None) -> dict[str, jax.Array]:
    """The images of the table, of an image that was decoded.

    The mask posterior is which component explains the pixel, all being as likely before, as in the
    authors' code. Without slot k the masks of the others are divided by their sum, 1 - m_k; without
    the only slot there is nothing, and the image is of zeros.

    Args:
      mixture: the decoded image, means [B, K, H, W, 3], logits [B, K, H, W].
      x: the image in [0, 1], [B, H, W, 3].
      sigma_x: scale of the likelihood.
      likelihood: its form, one of `component_likelihood.LIKELIHOODS`.
      mask_gradient: by the "mask" after its softmax, as in the paper, or by its "logits", as in
        the authors' code.
      form: both likelihoods as "probability", the paper's; or as in the authors' code, "log": the
        likelihood's logarithm, and how much of it is lost without slot k, log p(x | z) -
        log p(x | z_{i != k}).
      place: where in its block a pixel is, of a subset of pixels, [B, 2]; None: all pixels.
      slots: which of them are not left out, bool [B, K]; None: all are there.

    Returns:
      By the names of IMAGES, [B, K, H, W, channels] each. No gradient goes through those for which
      the table says so.
    """
    log_density = component_likelihood.component_log_density(mixture, x, sigma_x, likelihood)
    there = None if slots is None else slots[..., None, None, None]
    log_masks = jax.nn.log_softmax(mixture.mask_logits, axis=-3)[..., None]
    masks = jnp.exp(log_masks)
    log_joint = log_masks + log_density  # [B, K, H, W, S]
    log_prob = jax.nn.logsumexp(log_joint, axis=-4, keepdims=True)
    responsibilities = jnp.exp(log_joint - log_prob)
    log_ratio = jnp.minimum(log_density - log_prob, GREATEST_LOG_RATIO)
    total = lambda image: jnp.sum(image, axis=-1, keepdims=True)  # over S
    of_means = component_likelihood.component_log_density_gradient(
        mixture, x, sigma_x, likelihood)
    of_all, leave_one_out = _likelihoods(log_joint, log_masks, total(log_prob), form)
    images = dict(
        image=x[:, None], means=mixture.means, mask=masks,
        mask_logits=mixture.mask_logits[..., None],
        means_gradient=-responsibilities * of_means,
        mask_gradient=-total(jnp.exp(log_ratio) if mask_gradient == "mask"
                             else responsibilities - masks),
        mask_posterior=jnp.mean(jax.nn.softmax(log_density, axis=-4, where=there), axis=-1,
                                keepdims=True),
        likelihood=of_all, leave_one_out=leave_one_out, coordinates=_coordinates(x, place))
    shape = mixture.mask_logits.shape
    images = {name: jnp.broadcast_to(image, (*shape, image.shape[-1]))
              for name, image in images.items()}
    return {name: jax.lax.stop_gradient(image) if INPUTS[name].stop_gradient else image
            for name, image in images.items()}


def _likelihoods(log_joint: jax.Array, log_masks: jax.Array, log_prob: jax.Array,
                 form: str) -> tuple[jax.Array, jax.Array]:
    """With and without each slot, [B, 1, H, W, 1] and [B, K or 1, H, W, 1]: see `image_inputs`."""
    likelihood = log_prob if form == "log" else jnp.exp(log_prob)
    if log_masks.shape[-4] == 1:
        return likelihood, jnp.zeros_like(likelihood)
    without = jnp.sum(_log_sum_without_each(log_joint) - _log_sum_without_each(log_masks), axis=-1,
                      keepdims=True)
    return likelihood, log_prob - without if form == "log" else jnp.exp(without)


def _log_sum_without_each(logs: jax.Array) -> jax.Array:
    """log sum_{i != k} exp(logs_i) for every k: [B, K, H, W, S] -> the same.

    The sum of all less one's own share of it loses all digits where the share is nearly 1, which is
    so wherever a slot explains a pixel well: for the greatest, the others are summed themselves.
    """
    greatest = jnp.argmax(logs, axis=-4, keepdims=True)
    is_greatest = greatest == jax.lax.broadcasted_iota(greatest.dtype, logs.shape, logs.ndim - 4)
    of_greatest = jax.nn.logsumexp(jnp.where(is_greatest, -jnp.inf, logs), axis=-4, keepdims=True)
    whole = jax.nn.logsumexp(logs, axis=-4, keepdims=True)
    return jnp.where(is_greatest, of_greatest, whole + jnp.log1p(-jnp.exp(logs - whole)))


def _coordinates(x: jax.Array, place: jax.Array | None) -> jax.Array:
    """x, y of each pixel in [-1, 1], [1 or B, 1, H, W, 2]."""
    grid = layers.coordinates(*x.shape[1:3], place=place)[..., :2]
    return jnp.asarray(grid[None, None] if place is None else grid[:, None], x.dtype)
