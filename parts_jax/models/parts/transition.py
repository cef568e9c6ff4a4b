"""The prediction network P (section 3.2.1): a transformer, then a slot-wise LSTM."""

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from parts_jax.networks import layers


class TransformerBlock(nn.Module):
    """Pre-norm self-attention over slots and MLP, both with residual connections.

    Layer normalisation is over channels only, so slots stay exchangeable and K free.

    Attributes:
      num_heads: heads of the self-attention.
      mlp_width: hidden width of the MLP.
      dtype: of matrix products.
    """

    num_heads: int
    mlp_width: int
    dtype: Any = None

    @nn.compact
    def __call__(self, slots: jax.Array) -> jax.Array:
        """[B, K, width] -> [B, K, width]."""
        attend = nn.MultiHeadDotProductAttention(
            self.num_heads, dtype=self.dtype, force_fp32_for_softmax=self.dtype is not None,
            name="attention")
        slots = slots + attend(nn.LayerNorm(name="norm_attention")(slots))
        mlp = layers.MLP((self.mlp_width,), slots.shape[-1], dtype=self.dtype, name="mlp")
        return slots + mlp(nn.LayerNorm(name="norm_mlp")(slots))


class TransformerLSTM(nn.Module):
    """P: the posterior of the last frame and the action -> the posterior expected of this one.

    Attributes:
      width: of the transformer.
      num_layers: transformer blocks.
      num_heads: heads of each.
      mlp_width: hidden width of each block's MLP.
      lstm_size: of the slot-wise LSTM, whose parameters all slots share.
      output_size: 2 D.
      normalise: whether a layer norm stands between the transformer's blocks, which are pre-norm,
        and the LSTM. Without it what the blocks have added up grows in training until the gates
        are shut: the LSTM then gives one output whatever lambda and action are.
      dtype: of matrix products.
    """

    width: int
    num_layers: int
    num_heads: int
    mlp_width: int
    lstm_size: int
    output_size: int
    normalise: bool = False
    dtype: Any = None

    @nn.compact
    def __call__(self, slots: jax.Array, hidden: tuple[jax.Array, jax.Array]):
        """One step in time.

        Args:
          slots: [lambda_{t-1}, a_{t-1}], the action joined to every slot, [B, K, 2 D + A].
          hidden: the LSTM's (c, h), each [B, K, lstm_size].

        Returns:
          Output [B, K, 2 D] and the new hidden state.
        """
        h = nn.Dense(self.width, dtype=self.dtype, name="input")(slots)
        h = layers.at_least_float32(h)
        for i in range(self.num_layers):
            h = TransformerBlock(self.num_heads, self.mlp_width, self.dtype, name=f"block_{i}")(h)
        if self.normalise:
            h = nn.LayerNorm(name="norm")(h)
        lstm = nn.OptimizedLSTMCell(self.lstm_size, dtype=self.dtype, name="lstm")
        hidden, h = lstm(hidden, h)
        output = nn.Dense(self.output_size, kernel_init=layers.scaled_init(0.1),
                          dtype=self.dtype, name="output")
        return layers.at_least_float32(output(h)), hidden

    def initial_hidden(self, batch_size: int, num_slots: int) -> tuple[jax.Array, jax.Array]:
        """The recurrent state before the first frame: all zeros (section 4)."""
        zeros = jnp.zeros((batch_size, num_slots, self.lstm_size))
        return zeros, zeros
