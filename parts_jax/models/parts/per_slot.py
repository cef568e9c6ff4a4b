"""The refinement network without slot attention, IODINE's and OP3's: one look at each slot.

Each slot has a picture of its own, with what the decoder made of it, the frame, and how the one
explains the other. Strided convolutions, a mean over space, an MLP and an LSTM make the update of
lambda of it, which slot attention needs neither for: the inputs are those of IODINE's appendix B.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp

from parts_jax.equations import pixel_mixture
from parts_jax.equations.notation import PixelMixture
from parts_jax.networks import layers
from parts_jax.networks.convolution import Conv

# exp of more has a square that float32 does not hold: the gradient by a mask of nearly nothing.
GREATEST_LOG_RATIO = 40.0


class SlotImages(NamedTuple):
    """What the refinement network sees of a slot, beside lambda and its gradient.

    Attributes:
      plain: frame, component mean, mask, mask logit, mask posterior: [B, K, H, W, 9].
      normalised: to be layer-normalised each by itself, by name: gradient by the mask, likelihood,
        leave-one-out likelihood, [B, K, H, W, 1] each, and gradient by the component mean,
        [B, K, H, W, 3].
      coordinates: x, y of each pixel, [B, K, H, W, 2].
    """

    plain: jax.Array
    normalised: dict[str, jax.Array]
    coordinates: jax.Array


def images_of(mixture: PixelMixture, x: jax.Array, sigma_x: float,
              place: jax.Array | None = None) -> SlotImages:
    """The images of IODINE's appendix B, of a frame that was decoded and scored.

    Both gradients are of the loss, -log p(x | z), by the mask m_k after its softmax and by the
    component mean C_k. They are had from (2) by hand: m_k and C_k enter nothing else of the loss.
    The mask posterior is which component explains the pixel, all being as likely before: the codes
    of IODINE and of OP3 both leave out the masks in it.

    Args:
      mixture: the decoded frame, means [B, K, H, W, 3], logits [B, K, H, W].
      x: the frame in [0, 1], [B, H, W, 3].
      sigma_x: standard deviation of the likelihood.
      place: where in its block a pixel is, of a subset of pixels, [B, 2]; None: all pixels.

    Returns:
      The images. No gradient goes through those to be normalised, as in the appendix; through the
      plain ones as far as the mixture has one, and that of a `Score` has none.
    """
    joint = pixel_mixture.component_log_prob(mixture, x, sigma_x)  # log m_k N(x | C_k)
    log_masks = jax.nn.log_softmax(mixture.mask_logits, axis=-3)
    log_prob = jax.nn.logsumexp(joint, axis=-3, keepdims=True)
    responsibilities = jnp.exp(joint - log_prob)
    log_normal = joint - log_masks  # log N(x | C_k)
    log_ratio = jnp.minimum(log_normal - log_prob, GREATEST_LOG_RATIO)
    frame = jnp.broadcast_to(x[:, None], mixture.means.shape)
    likelihood = jnp.broadcast_to(jnp.exp(log_prob), joint.shape)
    one = lambda image: image[..., None]
    grid = layers.coordinates(*x.shape[1:3], place=place)[..., :2]
    grid = grid[None, None] if place is None else grid[:, None]
    return SlotImages(
        plain=jnp.concatenate([frame, mixture.means, one(jnp.exp(log_masks)),
                               one(mixture.mask_logits),
                               one(jax.nn.softmax(log_normal, axis=-3))], axis=-1),
        normalised=jax.lax.stop_gradient(dict(
            mask_gradient=one(-jnp.exp(log_ratio)),
            likelihood=one(likelihood),
            leave_one_out=one(likelihood * (1 - responsibilities)),
            mean_gradient=one(responsibilities) * (mixture.means - frame) / sigma_x**2)),
        coordinates=jnp.broadcast_to(grid, (*joint.shape, 2)))


class ImageNorm(nn.Module):
    """Layer normalisation of one image a slot, over its pixels and channels together.

    As OP3 has it: by the unbiased standard deviation, with a scale and an offset a channel.

    Attributes:
      num_axes: how many of the last axes are normalised over; 1 for vectors.
      epsilon: added to the standard deviation.
    """

    num_axes: int = 3
    epsilon: float = 1e-5

    @nn.compact
    def __call__(self, image: jax.Array) -> jax.Array:
        """[B, K, H, W, C] -> the same."""
        channels = image.shape[-1:]
        scale = self.param("scale", nn.initializers.ones, channels)
        offset = self.param("offset", nn.initializers.zeros, channels)
        axes = tuple(range(-self.num_axes, 0))
        centred = image - jnp.mean(image, axis=axes, keepdims=True)
        deviation = jnp.std(image, axis=axes, keepdims=True, ddof=1)
        broadcast = (1,) * (image.ndim - 1) + channels
        return (centred / (deviation + self.epsilon) * scale.reshape(broadcast)
                + offset.reshape(broadcast))


class PerSlotRefiner(nn.Module):
    """E_phi of IODINE and OP3: strided convolutions, mean over space, MLP, LSTM, per slot.

    Attributes:
      channels: widths of the convolutions.
      kernel_size: odd.
      stride: of each convolution.
      mlp: widths of the MLP.
      lstm_size: of the LSTM, whose parameters all slots share.
      update_size: size of the update of a slot, 2 D.
      update_scale: initial scale of the last layer.
      dtype: of convolutions and matrix products.
    """

    channels: Sequence[int]
    kernel_size: int
    stride: int
    mlp: Sequence[int]
    lstm_size: int
    update_size: int
    update_scale: float
    dtype: Any = None

    @nn.compact
    def __call__(self, images: SlotImages, vectors: jax.Array, action: jax.Array,
                 hidden: tuple[jax.Array, jax.Array]):
        """One refinement.

        Args:
          images: from `images_of`.
          vectors: lambda and its normalised gradient, [B, K, C].
          action: a_{t-1}, joined before the MLP, [B, K, A]; A may be 0.
          hidden: the LSTM's (c, h), each [B, K, lstm_size].

        Returns:
          The update of lambda, [B, K, 2 D], and the new hidden state.
        """
        normalised = [ImageNorm(name=f"norm_{name}")(image)
                      for name, image in images.normalised.items()]
        h = jnp.concatenate([images.plain, *normalised, images.coordinates], axis=-1)
        for i, width in enumerate(self.channels):
            convolve = Conv(width, (self.kernel_size,) * 2, strides=self.stride,
                            dtype=self.dtype, name=f"conv_{i}")
            h = nn.elu(convolve(h))
        h = layers.at_least_float32(jnp.mean(h, axis=(-3, -2)))
        h = jnp.concatenate([h, action], axis=-1)
        for i, width in enumerate(self.mlp):
            h = nn.elu(nn.Dense(width, dtype=self.dtype, name=f"mlp_{i}")(h))
        h = jnp.concatenate([layers.at_least_float32(h), vectors], axis=-1)
        lstm = nn.OptimizedLSTMCell(self.lstm_size, dtype=self.dtype, name="lstm")
        hidden, h = lstm(hidden, h)
        update = nn.Dense(self.update_size, kernel_init=layers.scaled_init(self.update_scale),
                          dtype=self.dtype, name="update")
        return layers.at_least_float32(update(h)), hidden

    def initial_hidden(self, batch_size: int, num_slots: int) -> tuple[jax.Array, jax.Array]:
        """The recurrent state before the first refinement: all zeros."""
        zeros = jnp.zeros((batch_size, num_slots, self.lstm_size))
        return zeros, zeros
