"""Layers that several networks share: pixel coordinates, MLP, convolution of a tiled vector.

Every network has a `dtype`: what its convolutions and matrix products are computed in, None for
that of parameters and inputs. Parameters, what networks hand to the model, norms and softmaxes
stay in float32 whatever it is.
"""

from collections.abc import Callable, Sequence
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from flax.linen.dtypes import promote_dtype

from parts_jax.networks.convolution import convolve

Coordinates = np.ndarray | jax.Array  # constants of a compiled program, or not


def coordinates(height: int, width: int, frequencies: int = 0,
                place: jax.Array | None = None) -> Coordinates:
    """Coordinates of the pixel centres, the same scene whatever the resolution.

    A pixel's centre is at (i + 1/2) / S * 2 - 1 in [-1, 1], so the same parameters serve any H, W.
    Of a subset of pixels, one out of each block, it is at (i + place) / S * 2 - 1 for S blocks.

    Args:
      height: H.
      width: W.
      frequencies: F; adds sin and cos of (pi/2) 2^f u for f < F.
      place: of a subset, as in `notation.Pixels`, [..., 2]; None: pixels fill the picture.

    Returns:
      float32 [H, W, 4 + 4 F], or [..., H, W, 4 + 4 F] with a place: (x, y, -x, -y) and, for each
      frequency, sines and cosines of x, y.
    """
    if place is None:  # with numpy: constants of the compiled program
        y, x = np.meshgrid((np.arange(height) + 0.5) / height * 2 - 1,
                           (np.arange(width) + 0.5) / width * 2 - 1, indexing="ij")
        return _features(np, np.stack([x, y], axis=-1), frequencies).astype(np.float32)
    def axis(size: int, place: jax.Array) -> jax.Array:  # place [..., 1] -> [..., size]
        blocks = jnp.broadcast_to(jnp.arange(size), (*place.shape[:-1], size))
        return (blocks + place) / size * 2 - 1

    y, x = axis(height, place[..., :1]), axis(width, place[..., 1:])
    y, x = jnp.broadcast_arrays(y[..., :, None], x[..., None, :])
    return _features(jnp, jnp.stack([x, y], axis=-1), frequencies)


def _features(xp: Any, grid: Any, frequencies: int) -> Any:
    """What `coordinates` makes of (x, y), [..., 2], in numpy or jax.numpy: [..., 4 + 4 F]."""
    features = [grid, -grid]
    for f in range(frequencies):
        features += [xp.sin(np.pi / 2 * 2**f * grid), xp.cos(np.pi / 2 * 2**f * grid)]
    return xp.concatenate(features, axis=-1)


def scaled_init(scale: float) -> Callable:
    """LeCun's normal initialisation with its standard deviation times `scale`."""
    return nn.initializers.variance_scaling(scale**2, "fan_in", "truncated_normal")


def at_least_float32(array: jax.Array) -> jax.Array:
    """What was computed in bfloat16 as float32; float32 and float64 stay as they are."""
    return array.astype(jnp.promote_types(array.dtype, jnp.float32))


def mean_over_cells(images: jax.Array, cells: int) -> jax.Array:
    """Means over the cells x cells parts of a picture, of any size: [..., H, W, C] -> [..., F].

    A pixel that lies in two cells counts in each by the share of it that does, so a cell has the
    same place in the scene at every resolution. F is cells^2 C.
    """
    if cells == 1:
        return jnp.mean(images, axis=(-3, -2))
    rows, columns = (_shares(size, cells) for size in images.shape[-3:-1])
    means = jnp.einsum("gh,kw,...hwc->...gkc", rows, columns, images)
    return means.reshape(*images.shape[:-3], -1)


def _shares(size: int, cells: int) -> np.ndarray:
    """What each of `size` pixels counts in the mean of each cell, float32 [cells, size]."""
    pixels, edges = np.arange(size), np.arange(cells + 1) * size / cells
    inside = (np.minimum(edges[1:, None], pixels + 1) - np.maximum(edges[:-1, None], pixels))
    return (np.maximum(inside, 0) * cells / size).astype(np.float32)


class MLP(nn.Module):
    """Hidden layers with ReLU, then one linear layer.

    Attributes:
      hidden: widths of the hidden layers.
      output: width of the output.
      output_scale: initial scale of the last layer's kernel.
      dtype: of the matrix products.
    """

    hidden: Sequence[int]
    output: int
    output_scale: float = 1.0
    dtype: Any = None

    @nn.compact
    def __call__(self, inputs: jax.Array) -> jax.Array:
        """[..., C] -> [..., output]."""
        h = inputs
        for width in self.hidden:
            h = nn.relu(nn.Dense(width, dtype=self.dtype)(h))
        last = nn.Dense(self.output, kernel_init=scaled_init(self.output_scale), dtype=self.dtype)
        return at_least_float32(last(h))


class Kernel(nn.Module):
    """The kernel of a linear layer, for whoever need not apply it to each input.

    Attributes:
      outputs: of the layer.
    """

    outputs: int

    @nn.compact
    def __call__(self, inputs: int) -> jax.Array:
        """[inputs, outputs]."""
        return self.param("kernel", nn.initializers.lecun_normal(), (inputs, self.outputs))


class BroadcastConv(nn.Module):
    """The convolution of (a vector tiled over space + a spatial basis), by linearity.

    conv(tile(z) + basis) = conv(tile(z)) + conv(basis). The second is shared by batch and slots.
    The first is z W summed over those taps of the kernel that fall inside the picture: z is
    multiplied with each tap once, not once a pixel, and the result is exact, borders included.

    Attributes:
      features: output channels.
      kernel_size: odd.
      dtype: of the products, and of the output.
    """

    features: int
    kernel_size: int
    dtype: Any = None

    @nn.compact
    def __call__(self, z: jax.Array, basis: jax.Array) -> jax.Array:
        """z [..., D], basis [H, W, D] -> [..., H, W, features]."""
        k, size = self.kernel_size, z.shape[-1]
        kernel = self.param("kernel", nn.initializers.lecun_normal(), (k, k, size, self.features))
        bias = self.param("bias", nn.initializers.zeros, (self.features,))
        z, basis, kernel, bias = promote_dtype(z, basis, kernel, bias, dtype=self.dtype)
        # conv(basis): one picture, whatever the batch and the number of slots.
        shared = convolve(basis[None], kernel, (1, 1), "SAME")[0]
        # conv(tile(z)): z is the same at every pixel, so a tap (v, w) of the kernel gives the same
        # number everywhere. All k x k of them are had from one product a slot ...
        taps = jnp.einsum("...d,vwdc->...vwc", z, kernel)
        # ... and a pixel takes the sum of those taps that lie inside the picture. "SAME" pads with
        # zeros: near a border the others see nothing. Which rows do depends on the pixel's row
        # alone, which columns on its column, hence two small 0-1 matrices in place of a mask.
        rows, columns = (taps_inside(size, k).astype(z.dtype) for size in basis.shape[:2])
        own = jnp.einsum("hv,xw,...vwc->...hxc", rows, columns, taps)
        # Tiled by a product with ones: the gradient's sum over slots is a matrix product then,
        # which XLA on CPU does 30 times as fast as the sum.
        ones = jnp.ones(z.shape[:-1], z.dtype)
        return own + jnp.einsum("...,hwc->...hwc", ones, shared + jnp.expand_dims(bias, (0, 1)))


def taps_inside(size: int, kernel_size: int) -> np.ndarray:
    """Which taps of a kernel, centred on a pixel, lie in the picture: 0, 1, [size, kernel_size]."""
    reach = np.arange(kernel_size) - kernel_size // 2
    position = np.arange(size)[:, None] + reach
    return ((position >= 0) & (position < size)).astype(np.float32)
