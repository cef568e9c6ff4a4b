"""The soft spatial broadcast decoder D_theta, equation (1)."""

from collections.abc import Sequence
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from flax.linen.dtypes import promote_dtype

from parts_jax.equations.notation import PixelMixture
from parts_jax.networks import layers
from parts_jax.networks.convolution import Conv

COLOURS = ("full", "constant", "affine", "quadratic", "shaded", "fields")
# Outputs of the network of every pixel, and the degree of the colour in the coordinates.
OUTPUTS = {"full": 4, "constant": 1, "affine": 1, "quadratic": 1, "shaded": 2, "fields": 1}
DEGREES = {"constant": 0, "affine": 1, "quadratic": 2, "shaded": 1, "fields": 1}
EXTENTS = 0.7          # log of a slot's extent is within this of the usual one's, of `compact`
GREATEST_LOGIT = 12.0  # L of `compact`


class SpatialBroadcastDecoder(nn.Module):
    """C_k, mask logits_k = D_theta(z_k), equation (1) and section 3.1.

    The coordinates are projected to a spatial basis of the slot's size, the slot is tiled over
    space and added to it, and a size-preserving network makes the picture, each slot on its own.

    Attributes:
      channels: widths of the layers before the last.
      kernel_size: 1 for a network per pixel, 3 for the usual convolutions.
      colour: the form of the component means C_k.
        "full": the paper's, any colour at any pixel.
        "constant": one colour a slot, for flat pictures: what has two colours needs two slots.
        "affine": affine in the pixel's coordinates, from z alone. A slot that paints an object
          cannot also paint what lies around it, so masks take the shape of objects.
        "quadratic": the same to the second degree, for rooms whose light falls off: what a slot
          cannot paint of the background by itself, it shares with others, and cuts into cells.
        "fields": affine in the coordinates and in a few fields of them, which are learned and
          shared by all slots: light that falls off over a floor is one slot's job then, while a
          slot that paints an object still cannot paint the floor around it.
        "shaded": affine colour times a shade per pixel in (0, 2) from the full network: one
          surface under changing light.
      num_fields: of the colour "fields".
      frequencies: sines and cosines added to the coordinates.
      colour_width: hidden width of the affine colour's network.
      centred: of networks per pixel, see `CentredPixelNetwork`.
      extent: of centred networks, see `CentredPixelNetwork`; 0: masks of any form.
      dtype: of convolutions and matrix products; the mixture is float32.
    """

    channels: Sequence[int]
    kernel_size: int
    colour: str = "full"
    frequencies: int = 0
    shade: float = 0.5
    num_fields: int = 8
    colour_width: int = 32
    centred: bool = False
    extent: float = 0.0
    dtype: Any = None

    @nn.compact
    def __call__(self, z: jax.Array, resolution: tuple[int, int],
                 place: jax.Array | None = None) -> PixelMixture:
        """Decodes slots to a picture of any resolution, or to one pixel of each of its blocks.

        Args:
          z: slots, [..., K, D].
          resolution: (H, W), of pixels that are decoded.
          place: of a subset of pixels, see `notation.Pixels`, [..., 2]; None: all pixels. Only
            for networks per pixel (kernel_size 1): others see a pixel's neighbours.

        Returns:
          PixelMixture with means [..., K, H, W, 3] and mask logits [..., K, H, W].
        """
        grid = layers.coordinates(*resolution, self.frequencies, place)
        widths = (*self.channels, OUTPUTS[self.colour])
        if self.centred:
            network = CentredPixelNetwork(
                widths, self.dtype, self.frequencies, self.extent, name="pixels")
            h = network(z, grid[..., 0, :, 0], grid[..., :, 0, 1])
        elif self.kernel_size == 1:
            network = PixelNetwork(widths, self.dtype, name="pixels")
            h = network(z, nn.Dense(z.shape[-1], name="basis")(grid))
        else:
            network = ConvolutionalNetwork(
                widths, self.kernel_size, self.dtype, name="convolutions")
            h = network(z, nn.Dense(z.shape[-1], name="basis")(grid))
        h = layers.at_least_float32(h)
        mask_logits = h[..., -1]
        if self.colour == "full":
            return PixelMixture(h[..., :3] + 0.5, mask_logits)
        means = self.smooth_colour(z, grid)
        if self.colour == "shaded":
            means = means * (1 + self.shade * jnp.tanh(h[..., :1]))
        return PixelMixture(means, mask_logits)

    def smooth_colour(self, z: jax.Array, grid: jax.Array) -> jax.Array:
        """A colour per slot, a polynomial in the coordinates, or in them and in learned fields.

        z [..., K, D], grid [H, W, .] or, of a subset of pixels, [..., H, W, .] ->
        [..., K, H, W, 3].
        """
        terms = monomials(grid[..., 0], grid[..., 1], DEGREES[self.colour])
        if self.colour == "fields":
            network = layers.MLP((self.colour_width,), self.num_fields, dtype=self.dtype,
                                 name="fields")
            terms = jnp.concatenate([terms, jnp.tanh(network(grid))], axis=-1)
        width = 3 * terms.shape[-1]
        coefficients = layers.MLP((self.colour_width,), width, dtype=self.dtype, name="colour")(z)
        coefficients = coefficients.reshape(*z.shape[:-1], 3, -1)
        return jnp.einsum("...kct,...hwt->...khwc", coefficients, terms) + 0.5


def monomials(x: layers.Coordinates, y: layers.Coordinates, degree: int) -> layers.Coordinates:
    """1, then x, y, then x^2, x y, y^2, to a degree: two of [..., H, W] -> [..., H, W, 1, 3, 6]."""
    powers = [(total - j, j) for total in range(degree + 1) for j in range(total + 1)]
    stack = np.stack if isinstance(x, np.ndarray) else jnp.stack
    return stack([x**i * y**j for i, j in powers], axis=-1)


class ConvolutionalNetwork(nn.Module):
    """Size-preserving convolutions of (a slot tiled over space + a spatial basis).

    Attributes:
      widths: channels of the layers, the last without ReLU.
      kernel_size: odd.
      dtype: of the convolutions, and of the output.
    """

    widths: Sequence[int]
    kernel_size: int
    dtype: Any = None

    @nn.compact
    def __call__(self, z: jax.Array, basis: jax.Array) -> jax.Array:
        """z [..., D], basis [H, W, D] -> [..., H, W, widths[-1]]."""
        first = layers.BroadcastConv(
            self.widths[0], self.kernel_size, self.dtype, name="layer_0")
        h = first(z, basis)
        for i, width in enumerate(self.widths[1:], start=1):
            convolve = Conv(width, (self.kernel_size, self.kernel_size), dtype=self.dtype,
                            name=f"layer_{i}")
            h = convolve(nn.relu(h))
        return h


class PixelNetwork(nn.Module):
    """The same with 1x1 kernels: matrix products over all pixels of all slots, channels first.

    With channels last, the gradient to a kernel contracts the first axis of both factors, which
    XLA's CPU backend does at a third of the rate of the other products.

    Attributes:
      widths: channels of the layers, the last without ReLU.
      dtype: of the matrix products, and of the output.
    """

    widths: Sequence[int]
    dtype: Any = None

    @nn.compact
    def __call__(self, z: jax.Array, basis: jax.Array) -> jax.Array:
        """z [..., K, D], basis [H, W, D] or [..., H, W, D] -> [..., K, H, W, widths[-1]]."""
        z, basis = promote_dtype(z, basis, dtype=self.dtype)
        slots, pixels = z.reshape(-1, z.shape[-1]).T, basis.reshape(-1, basis.shape[-1]).T
        kernel, bias = self.layer(0, z.shape[-1])
        num_pixels = basis.shape[-3] * basis.shape[-2]
        of_slots = lambda h: h.reshape(self.widths[0], -1, z.shape[-2], 1)
        of_pixels = lambda h: h.reshape(self.widths[0], -1, 1, num_pixels)
        h = of_slots(kernel.T @ slots) + of_pixels(kernel.T @ pixels + bias[:, None])
        return self.rest(h.reshape(self.widths[0], *z.shape[:-1], *basis.shape[-3:-1]))

    def rest(self, h: jax.Array) -> jax.Array:
        """The layers after the first: [widths[0], ..., K, H, W] -> [..., K, H, W, widths[-1]]."""
        shape, h = h.shape[1:], h.reshape(self.widths[0], -1)
        for i, width in enumerate(self.widths[:-1], start=1):
            kernel, bias = self.layer(i, width)
            h = kernel.T @ nn.relu(h) + bias[:, None]
        return jnp.moveaxis(h.reshape(-1, *shape), 0, -1)

    def layer(self, i: int, inputs: int) -> tuple[jax.Array, jax.Array]:
        """Kernel [inputs, widths[i]] and bias [widths[i]] of a layer."""
        kernel = self.param(f"kernel_{i}", nn.initializers.lecun_normal(), (inputs, self.widths[i]))
        bias = self.param(f"bias_{i}", nn.initializers.zeros, (self.widths[i],))
        return promote_dtype(kernel, bias, dtype=self.dtype)


class CentredPixelNetwork(PixelNetwork):
    """The same in coordinates from a centre that a slot has: a shape is learned once, for anywhere.

    The first layer is h = (1 + scale(z)) (A f(x - c_x(z)) + B f(y - c_y(z))) + shift(z): of what
    depends on x and of what depends on y, so products are of rows and columns of pixels only.

    Attributes:
      widths, dtype: as of `PixelNetwork`.
      frequencies: F of `axis_features`, f.
      extent: where above 0, the last output is a mask logit, and goes through `compact`: with
        this usual extent of an object, in halves of a picture, and each slot's own around it.
    """

    frequencies: int = 0
    extent: float = 0.0

    @nn.compact
    def __call__(self, z: jax.Array, x: jax.Array, y: jax.Array) -> jax.Array:
        """z [..., K, D], x [W] or [..., W], y [H] or [..., H] -> [..., K, H, W, widths[-1]]."""
        centre = nn.Dense(2, name="centre")(z)

        def along(name: str, u: jax.Array, c: jax.Array) -> jax.Array:  # [widths[0], ..., K, W]
            u = u.reshape(*(1,) * (c.ndim - u.ndim), *u.shape)[..., None, :]
            features = axis_features(u - c[..., None], self.frequencies)
            return self.channels_first(f"from_{name}", self.widths[0], features)

        h = (along("x", x, centre[..., 0])[..., None, :]
             + along("y", y, centre[..., 1])[..., :, None])
        modulation = self.channels_first("modulation", 2 * self.widths[0], z)
        scale, shift = jnp.split(modulation[..., None, None], 2)
        outputs = self.rest((1 + scale) * h + shift)
        if not self.extent:
            return outputs
        square = lambda u, c: (u.reshape(*(1,) * (c.ndim - u.ndim), *u.shape)[..., None, :]
                               - c[..., None]) ** 2
        distance_squared = (square(x, centre[..., 0])[..., None, :]
                            + square(y, centre[..., 1])[..., :, None])
        relative = jnp.exp(EXTENTS * jnp.tanh(nn.Dense(1, name="extent")(z)))[..., None]
        logits = compact(outputs[..., -1], distance_squared, self.extent * relative, self.extent)
        return outputs.at[..., -1].set(logits)

    def channels_first(self, name: str, width: int, inputs: jax.Array) -> jax.Array:
        """A linear layer, [..., C] -> [width, ...]."""
        return jnp.moveaxis(nn.Dense(width, dtype=self.dtype, name=name)(inputs), -1, 0)


def compact(logits: jax.Array, distance_squared: jax.Array, extent: jax.Array,
            usual: float) -> jax.Array:
    """Mask logits of objects that are in one place, before a background that is everywhere (ours).

        l(x) = L tanh(m(x) / L) / (1 + (e / e_0)^2) - |x - c|^2 / e^2,   0 for the first slot.

    Where any slot may have any mask, one slot of a colour draws all that has the colour. Here it
    draws nothing at a distance at which the second term is above L, and so two distant things
    not at all: with a greater extent e the first term is less. Without a slot that is everywhere,
    the softmax gives each slot the cell of the picture that is nearest to it.

    Args:
      logits: m, [..., K, H, W].
      distance_squared: from the slot's centre, [..., K, H, W].
      extent: e, [..., K, 1, 1].
      usual: e_0, in the same units.
    """
    bounded = GREATEST_LOGIT * jnp.tanh(logits / GREATEST_LOGIT) / (1 + (extent / usual) ** 2)
    objects = bounded - distance_squared / extent ** 2
    return jnp.where(jnp.arange(objects.shape[-3])[:, None, None] == 0, 0.0, objects)


def axis_features(u: jax.Array, frequencies: int) -> jax.Array:
    """u, u^2 and sin, cos of (pi/2) 2^f u for f < F: [...] -> [..., 2 + 2 F]."""
    features = [u, u**2]
    for f in range(frequencies):
        features += [jnp.sin(np.pi / 2 * 2**f * u), jnp.cos(np.pi / 2 * 2**f * u)]
    return jnp.stack(features, axis=-1)
