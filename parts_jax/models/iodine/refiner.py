"""The refinement network f_phi of IODINE: an update of lambda for each slot by itself."""

from collections.abc import Sequence
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from parts_jax.models.iodine.inputs import INPUTS, VECTORS
from parts_jax.networks import layers
from parts_jax.networks.convolution import Conv
from parts_jax.networks.glimpses import Glimpse

HEADS = ("linear", "gated")
EPSILON = 1e-5  # of layer norms, as in Sonnet


class RefinementNetwork(nn.Module):
    """f_phi of section 2.2: strided convolutions, a mean over space, an MLP, an LSTM or none.

    Vectors join after the MLP. All layers are ELU; all slots share all parameters.

    Attributes:
      inputs: names of INPUTS that it is given; the others are left out.
      channels: widths of the convolutions.
      kernel_size: odd.
      stride: of each convolution.
      cells: means over space are taken of cells x cells parts of the picture, so that the MLP is
        told where something is; 1: over all of it, as in the authors' code.
      mlp: widths of the MLP.
      lstm_size: of the LSTM; 0: none.
      head: "linear": the update is linear in the last layer. "gated": that of the authors' code for
        sequences, which moves lambda part of the way to a new one, by gates.
      slot_size: D.
      update_scale: initial scale of the last layer.
      glimpse: M of the M x M points around each slot's own pixels that it looks at closely, beside
        those means; 0: none. See `networks/glimpses.py`.
      glimpse_spacing: between the points, in halves of a picture's side.
      dtype: of convolutions and matrix products.
    """

    inputs: Sequence[str]
    channels: Sequence[int]
    kernel_size: int
    stride: int
    cells: int
    mlp: Sequence[int]
    lstm_size: int
    head: str
    slot_size: int
    update_scale: float
    glimpse: int = 0
    glimpse_spacing: float = 0.15
    dtype: Any = None

    @nn.compact
    def __call__(self, images: dict[str, jax.Array], vectors: dict[str, jax.Array],
                 memory: Any) -> tuple[jax.Array, Any]:
        """One refinement.

        Args:
          images: from `inputs.image_inputs`, [B, K, H, W, .] each.
          vectors: "posterior", lambda, and "posterior_gradient", [B, K, 2 D] each.
          memory: the LSTM's (c, h), each [B, K, lstm_size]; () without one.

        Returns:
          The update of lambda, [B, K, 2 D], and the new memory.
        """
        given = h = jnp.concatenate(self.given(images), axis=-1)
        for i, width in enumerate(self.channels):
            convolve = Conv(width, (self.kernel_size,) * 2, strides=self.stride,
                            dtype=self.dtype, name=f"conv_{i}")
            h = nn.elu(convolve(h))
        h = layers.at_least_float32(layers.mean_over_cells(h, self.cells))
        if self.glimpse:
            look = Glimpse(self.glimpse, self.glimpse_spacing, self.mlp[0], self.dtype,
                           name="glimpse")
            shares = (images["mask"] * images["mask_posterior"])[..., 0]
            h = jnp.concatenate([h, look(given, shares, images["coordinates"])], axis=-1)
        for i, width in enumerate(self.mlp):
            h = nn.elu(nn.Dense(width, dtype=self.dtype, name=f"mlp_{i}")(h))
        h = jnp.concatenate([layers.at_least_float32(h), *self.given(vectors)], axis=-1)
        if self.lstm_size:
            lstm = nn.OptimizedLSTMCell(self.lstm_size, dtype=self.dtype, name="lstm")
            memory, h = lstm(memory, h)
        update = self.gated if self.head == "gated" else self.linear
        return update(h, vectors["posterior"]), memory

    def given(self, arrays: dict[str, jax.Array]) -> list[jax.Array]:
        """Those arrays that are inputs, in the table's order, layer-normalised where it says so.

        The statistics of an image are over its pixels and channels together, slot by slot.
        """
        names = [name for name in INPUTS if name in self.inputs and name in arrays]
        return [self.normalised(name, arrays[name]) if INPUTS[name].layer_norm else arrays[name]
                for name in names]

    def normalised(self, name: str, array: jax.Array) -> jax.Array:
        """Layer norm with a scale and an offset for each channel: [B, K, ..., C] -> the same."""
        axes = (-1,) if name in VECTORS else (-3, -2, -1)
        return nn.LayerNorm(EPSILON, reduction_axes=axes, feature_axes=-1,
                            name=f"norm_{name}")(array)

    def linear(self, h: jax.Array, posterior: jax.Array) -> jax.Array:
        """The update itself, [B, K, .] -> [B, K, 2 D]."""
        return self.dense("update", 2 * self.slot_size, self.update_scale, h)

    def gated(self, h: jax.Array, posterior: jax.Array) -> jax.Array:
        """The authors' head for sequences: a gate towards u(h), then one towards p(lambda).

        lambda_c = lambda + sigmoid(g(h)) (u(h) - lambda); lambda' = lambda_c + sigmoid(r(lambda))
        (p(lambda) - lambda_c), where p, r are an MLP's of the lambda before. The update is
        lambda' - lambda.
        """
        size = 2 * self.slot_size
        gate = nn.sigmoid(self.dense("gate", size, 1.0, h))
        moved = self.dense("update", size, self.update_scale, h)
        candidate = posterior + gate * (moved - posterior)
        hidden = nn.elu(self.dense("drift_hidden", 64, 1.0, posterior))
        drift, drift_gate = jnp.split(self.dense("drift", 2 * size, 1.0, hidden), 2, axis=-1)
        return candidate + nn.sigmoid(drift_gate) * (drift - candidate) - posterior

    def dense(self, name: str, width: int, scale: float, h: jax.Array) -> jax.Array:
        """A linear layer of the head, in float32 or more."""
        layer = nn.Dense(width, kernel_init=layers.scaled_init(scale), dtype=self.dtype, name=name)
        return layers.at_least_float32(layer(h))
