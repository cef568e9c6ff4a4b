"""The bottom-up encoder (section 3.2.2)."""

from collections.abc import Sequence
from typing import Any

import flax.linen as nn
import jax
from flax.linen.dtypes import promote_dtype

from parts_jax.networks import layers
from parts_jax.networks.convolution import Conv


class SizePreservingEncoder(nn.Module):
    """O = CNN([x_t, log p(x_t | z_t)]), strides 1, section 3.2.2.

    Position is added to the last convolution's output, so that attention can tell places apart.
    O is layer-normalised, as the inputs of Slot Attention are: without it, attention may die early
    in training, one slot taking all pixels of all frames.

    Attributes:
      channels: widths of the convolutions.
      kernel_size: odd.
      output_size: C, channels of O.
      dtype: of convolutions and matrix products, and of O.
    """

    channels: Sequence[int]
    kernel_size: int
    output_size: int
    dtype: Any = None

    @nn.compact
    def __call__(self, image: jax.Array) -> jax.Array:
        """image [B, H, W, 3 or 4], centred on zero -> O [B, H, W, C]."""
        h = image
        for i, width in enumerate(self.channels):
            convolve = Conv(width, (self.kernel_size, self.kernel_size), dtype=self.dtype,
                            name=f"conv_{i}")
            h = nn.relu(convolve(h))
        grid = layers.coordinates(*h.shape[-3:-1])[None]
        h = h + nn.Dense(h.shape[-1], dtype=self.dtype, name="position")(grid)
        output = nn.Dense(self.output_size, dtype=self.dtype, name="output")
        h = nn.relu(output(nn.LayerNorm(name="norm")(h)))
        return promote_dtype(nn.LayerNorm(name="norm_output")(h), dtype=self.dtype)[0]
