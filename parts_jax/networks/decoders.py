"""The soft spatial broadcast decoder D_theta, equation (1)."""

from collections.abc import Sequence

import flax.linen as nn
import jax
import jax.numpy as jnp

from parts_jax.networks import layers
from parts_jax.types import PixelMixture

COLOURS = ("full", "affine", "shaded")


class SpatialBroadcastDecoder(nn.Module):
    """C_k, mask logits_k = D_theta(z_k), equation (1) and section 3.1.

    The coordinates are projected to a spatial basis of the slot's size, the slot is tiled over
    space and added to it, and a size-preserving network makes the picture, each slot on its own.

    Attributes:
      channels: widths of the layers before the last.
      kernel_size: 1 for a network per pixel, 3 for the usual convolutions.
      colour: the form of the component means C_k.
        "full": the paper's, any colour at any pixel.
        "affine": affine in the pixel's coordinates, from z alone. A slot that paints an object
          cannot also paint what lies around it, so masks take the shape of objects.
        "shaded": affine colour times a shade per pixel in (0, 2) from the full network: one
          surface under changing light.
      frequencies: sines and cosines added to the coordinates.
      colour_width: hidden width of the affine colour's network.
    """

    channels: Sequence[int]
    kernel_size: int
    colour: str = "full"
    frequencies: int = 0
    shade: float = 0.5
    colour_width: int = 32

    @nn.compact
    def __call__(self, z: jax.Array, resolution: tuple[int, int]) -> PixelMixture:
        """Decodes slots to a picture of any resolution.

        Args:
          z: slots, [..., K, D].
          resolution: (H, W).

        Returns:
          PixelMixture with means [..., K, H, W, 3] and mask logits [..., K, H, W].
        """
        grid = layers.coordinates(*resolution, self.frequencies)
        basis = nn.Dense(z.shape[-1], name="basis")(grid)
        h = layers.BroadcastConv(self.channels[0], self.kernel_size, name="broadcast")(z, basis)
        for i, width in enumerate(self.channels[1:]):
            h = layers.SizePreservingConv(width, self.kernel_size, name=f"conv_{i}")(nn.relu(h))
        outputs = {"full": 4, "affine": 1, "shaded": 2}[self.colour]
        h = layers.SizePreservingConv(outputs, self.kernel_size, name="output")(nn.relu(h))
        mask_logits = h[..., -1]
        if self.colour == "full":
            return PixelMixture(h[..., :3] + 0.5, mask_logits)
        means = self.affine_colour(z, grid)
        if self.colour == "shaded":
            means = means * (1 + self.shade * jnp.tanh(h[..., :1]))
        return PixelMixture(means, mask_logits)

    def affine_colour(self, z: jax.Array, grid: jax.Array) -> jax.Array:
        """A colour per slot, affine in the coordinates: [..., K, D] -> [..., K, H, W, 3]."""
        coefficients = layers.MLP((self.colour_width,), 9, name="colour")(z)
        coefficients = coefficients.reshape(*z.shape[:-1], 3, 3)
        terms = jnp.concatenate([jnp.ones_like(grid[..., :1]), grid[..., :2]], axis=-1)
        return jnp.einsum("...ct,hwt->...hwc", coefficients, terms) + 0.5
