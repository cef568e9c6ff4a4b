"""Layers of SPACE: a convolution with CELU and group norm, or a norm and ELU; sub-pixel layers."""

from collections.abc import Sequence
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from parts_jax.networks import layers
from parts_jax.networks.convolution import Conv

EPSILON = 1e-5  # of all norms, as in PyTorch
NORMS = ("group", "batch")


class BatchStatistics(nn.Module):
    """Batch norm as in training: the mean and the biased variance of this batch, always.

    There are no running averages: a model's parameters are all that it keeps (see docs/space.md).
    """

    @nn.compact
    def __call__(self, h: jax.Array) -> jax.Array:
        """[..., H, W, C], statistics over all but C."""
        size = h.shape[-1:]
        scale = self.param("scale", nn.initializers.ones, size)
        bias = self.param("bias", nn.initializers.zeros, size)
        axes = tuple(range(h.ndim - 1))
        h = layers.at_least_float32(h)
        h = jax.nn.standardize(h, axes, epsilon=EPSILON)
        return h * jnp.expand_dims(scale, axes) + jnp.expand_dims(bias, axes)


def group_norm(channels: int, per_group: int, name: str | None = None) -> nn.Module:
    """Group norm of `per_group` channels a group, or of all where there are fewer."""
    per_group = per_group if channels % per_group == 0 else channels
    return nn.GroupNorm(channels // per_group, epsilon=EPSILON, use_fast_variance=False, name=name)


class GroupBlock(nn.Module):
    """Convolution, CELU, group norm, in this order: of the glimpses, and of what decodes masks.

    Attributes:
      channels: of the output.
      per_group: channels a group of the norm.
      kernel_size: k.
      stride: of the convolution.
      padding: zeros at each side.
      upscale: r: a sub-pixel convolution (Shi et al., 2016), whose output is r times as large.
      dtype: of the convolution.
    """

    channels: int
    per_group: int
    kernel_size: int = 1
    stride: int = 1
    padding: int = 0
    upscale: int = 1
    dtype: Any = None

    @nn.compact
    def __call__(self, h: jax.Array) -> jax.Array:
        """[B, H, W, .] -> [B, H', W', channels]."""
        convolve = Conv(self.channels * self.upscale**2, (self.kernel_size,) * 2,
                        strides=self.stride, padding=self.padding, dtype=self.dtype,
                        name="conv")
        h = nn.celu(shuffled(convolve(h), self.upscale))
        return group_norm(self.channels, self.per_group, name="norm")(h)


class NormBlock(nn.Module):
    """Convolution, norm, ELU, in this order: of the background's encoders and components.

    Attributes:
      channels: of the output.
      norm: "group", of 8 channels a group; "batch", which is the paper's: `BatchStatistics`.
      stride: of the convolution, 3x3.
      padding: zeros at each side.
      dtype: of the convolution.
    """

    channels: int
    norm: str
    stride: int = 1
    padding: int = 0
    dtype: Any = None

    @nn.compact
    def __call__(self, h: jax.Array) -> jax.Array:
        """[B, H, W, .] -> [B, H', W', channels]."""
        h = Conv(self.channels, (3, 3), strides=self.stride, padding=self.padding,
                 dtype=self.dtype, name="conv")(h)
        if self.norm == "batch":
            return nn.elu(BatchStatistics(name="norm")(h))
        return nn.elu(group_norm(self.channels, 8, name="norm")(h))


def shuffled(h: jax.Array, factor: int) -> jax.Array:
    """Channels to pixels: [..., H, W, C r r] -> [..., r H, r W, C], channels as in PyTorch."""
    if factor == 1:
        return h
    *batch, height, width, channels = h.shape
    h = h.reshape(*batch, height, width, channels // factor**2, factor, factor)
    h = jnp.moveaxis(h, (-2, -1), (-4, -2))  # [..., H, r, W, r, C]
    return h.reshape(*batch, height * factor, width * factor, channels // factor**2)


class SubPixelDecoder(nn.Module):
    """A vector to a picture, by sub-pixel convolutions with a 3x3 convolution after each.

    Attributes:
      first: channels of the first layer.
      stages: (factor, channels, channels a group of the norms) of each stage.
      last: 3x3 convolutions at the end, with the last stage's channels.
      dtype: of the convolutions.
    """

    first: int
    stages: Sequence[tuple[int, int, int]]
    last: int = 0
    dtype: Any = None

    @nn.compact
    def __call__(self, z: jax.Array) -> jax.Array:
        """z [..., D] -> [..., S, S, channels of the last stage], S the factors' product."""
        h = z.reshape(-1, 1, 1, z.shape[-1])
        h = GroupBlock(self.first, 16, dtype=self.dtype, name="first")(h)
        for i, (factor, channels, per_group) in enumerate(self.stages):
            h = GroupBlock(channels, per_group, upscale=factor, dtype=self.dtype,
                           name=f"up_{i}")(h)
            h = GroupBlock(channels, per_group, 3, padding=1, dtype=self.dtype,
                           name=f"conv_{i}")(h)
        for i in range(self.last):
            h = GroupBlock(h.shape[-1], self.stages[-1][2], 3, padding=1, dtype=self.dtype,
                           name=f"last_{i}")(h)
        return h.reshape(*z.shape[:-1], *h.shape[1:])


def scaled(channels: int, width: float) -> int:
    """So many channels of a network of other width; a multiple of 4 for the norms' groups."""
    return max(4, 4 * round(channels * width / 4))
