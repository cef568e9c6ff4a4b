"""The bottom-up encoder (section 3.2.2)."""

from collections.abc import Sequence

import flax.linen as nn
import jax

from parts_jax.networks import layers


class SizePreservingEncoder(nn.Module):
    """O = CNN([x_t, log p(x_t | z_t)]), strides 1, section 3.2.2.

    Position is added to the last convolution's output, so that attention can tell places apart.

    Attributes:
      channels: widths of the convolutions.
      kernel_size: odd.
      output_size: C, channels of O.
    """

    channels: Sequence[int]
    kernel_size: int
    output_size: int

    @nn.compact
    def __call__(self, image: jax.Array) -> jax.Array:
        """image [B, H, W, 3 or 4], centred on zero -> O [B, H, W, C]."""
        h = image
        for i, width in enumerate(self.channels):
            h = nn.relu(nn.Conv(width, (self.kernel_size, self.kernel_size), name=f"conv_{i}")(h))
        grid = layers.coordinates(*h.shape[-3:-1])[None]
        h = h + nn.Dense(h.shape[-1], name="position")(grid)
        return nn.relu(nn.Dense(self.output_size, name="output")(nn.LayerNorm(name="norm")(h)))
