"""The spatial broadcast decoder as IODINE and its relatives have it (Watters et al., 2019)."""

from collections.abc import Sequence
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from parts_jax.equations.notation import PixelMixture
from parts_jax.networks import layers
from parts_jax.networks.convolution import Conv


class BroadcastDecoder(nn.Module):
    """mu_k, mask logits_k of z_k: tiled over space, two coordinates appended, convolutions.

    IODINE, section 2.1. The first convolution is made by linearity, see `layers.BroadcastConv`: z
    with two zeros appended and a basis that has zeros in z's place are together what is convolved.

    Attributes:
      channels: widths of the convolutions before the last, with ELU.
      kernel_size: odd.
      corners: coordinates are -1 and 1 at the outermost pixels, as in the authors' codes; else
        those of pixel centres in [-1, 1], so that a scene is the same at every resolution.
      sigmoid: of the means; the paper's have none.
      dtype: of the convolutions; the mixture is float32.
    """

    channels: Sequence[int]
    kernel_size: int
    corners: bool = False
    sigmoid: bool = False
    dtype: Any = None

    @nn.compact
    def __call__(self, z: jax.Array, resolution: tuple[int, int]) -> PixelMixture:
        """Decodes slots to a picture of any resolution.

        Args:
          z: slots, [..., K, D].
          resolution: (H, W).

        Returns:
          PixelMixture with means [..., K, H, W, 3] and mask logits [..., K, H, W].
        """
        grid = corner_grid(*resolution) if self.corners else layers.coordinates(*resolution)
        basis = np.pad(grid[..., :2], ((0, 0), (0, 0), (z.shape[-1], 0)))
        tiled = jnp.concatenate([z, jnp.zeros_like(z[..., :2])], axis=-1)
        widths = (*self.channels, 4)
        first = layers.BroadcastConv(widths[0], self.kernel_size, self.dtype, name="layer_0")
        h = first(tiled, jnp.asarray(basis, z.dtype))
        for i, width in enumerate(widths[1:], start=1):
            convolve = Conv(width, (self.kernel_size,) * 2, dtype=self.dtype, name=f"layer_{i}")
            h = convolve(nn.elu(h))
        h = layers.at_least_float32(h)
        means = nn.sigmoid(h[..., :3]) if self.sigmoid else h[..., :3]
        return PixelMixture(means, h[..., 3])


def corner_grid(height: int, width: int) -> np.ndarray:
    """x, y from -1 at the first pixel to 1 at the last, float32 [H, W, 2]."""
    y, x = np.meshgrid(np.linspace(-1, 1, height), np.linspace(-1, 1, width), indexing="ij")
    return np.stack([x, y], axis=-1).astype(np.float32)
