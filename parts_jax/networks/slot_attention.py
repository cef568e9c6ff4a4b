"""Recurrent, top-down slot attention (section 3.2.3): equations (4), (5), (6)."""

from collections.abc import Sequence
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from parts_jax.networks import layers


def attention_weights(queries: jax.Array, keys: jax.Array) -> jax.Array:
    """attn_ijk = Softmax(k_ij^T Q / sqrt(D_q))_k, equation (5): slots compete for each pixel.

    Args:
      queries: Q, [B, K, D_q].
      keys: k_ij, [B, H, W, D_q].

    Returns:
      Weights that sum to 1 over slots at every pixel, [B, K, H, W], laid out like masks.
    """
    scaled = queries / jnp.sqrt(jnp.asarray(queries.shape[-1], queries.dtype))
    logits = layers.at_least_float32(jnp.einsum("bkd,bhwd->bkhw", scaled, keys))
    return jax.nn.softmax(logits, axis=-3)


def slot_outputs(attn: jax.Array, values: jax.Array, epsilon: float = 1e-6) -> jax.Array:
    """s_k^output = sum_ij attn_ijk v_ij / sum_ij attn_ijk, equation (6).

    Args:
      attn: attention weights, [B, K, H, W].
      values: v_ij, [B, H, W, C].
      epsilon: added to the weights, so that a slot without pixels gets the mean.

    Returns:
      [B, K, C].
    """
    attn = attn + epsilon
    sums = jnp.einsum("bkhw,bhwc->bkc", attn.astype(values.dtype), values)
    return sums / jnp.sum(attn, axis=(-2, -1))[..., None]


class TopDownSlotAttention(nn.Module):
    """The part of E_phi after the bottom-up encoder: attend, then an MLP per slot gives the update.

    Attributes:
      size: D_q, of queries, keys and values.
      mlp: hidden widths of the update MLP.
      update_size: size of the update of a slot, 2 D.
      update_scale: initial scale of the MLP's last layer.
      dtype: of matrix products.
    """

    size: int
    mlp: Sequence[int]
    update_size: int
    update_scale: float
    dtype: Any = None

    def setup(self):
        self.query = nn.Dense(self.size, use_bias=False, dtype=self.dtype)
        self.key = nn.Dense(self.size, use_bias=False, dtype=self.dtype)
        self.value = nn.Dense(self.size, use_bias=False, dtype=self.dtype)
        self.norm_encoding = nn.LayerNorm()
        self.norm_query = nn.LayerNorm()
        self.norm_update = nn.LayerNorm()
        self.update = layers.MLP(self.mlp, self.update_size, self.update_scale, self.dtype)

    def keys_and_values(self, encoding: jax.Array) -> tuple[jax.Array, jax.Array]:
        """k_ij = W_K O_ij and v_ij = W_V O_ij: O [B, H, W, C] -> two of [B, H, W, D_q].

        O is layer-normalised first, as the inputs of Slot Attention are: without it, attention may
        die early in training, one slot taking all pixels of all frames.
        """
        encoding = self.norm_encoding(encoding)
        return self.key(encoding), self.value(encoding)

    def __call__(self, query_inputs: jax.Array, update_inputs: jax.Array, keys: jax.Array,
                 values: jax.Array) -> tuple[jax.Array, jax.Array]:
        """One step of attention; the loop over steps is the caller's.

        Args:
          query_inputs: s, [B, K, C_q], what shapes the queries.
          update_inputs: what the update MLP sees beside the slot outputs, [B, K, C_u].
          keys, values: from `keys_and_values`, [B, H, W, D_q].

        Returns:
          The update of lambda, [B, K, 2 D], and the attention weights, [B, K, H, W].
        """
        queries = self.query(self.norm_query(query_inputs))  # q_k = W_q s_k, equation (4)
        attn = attention_weights(queries, keys)
        outputs = slot_outputs(attn, values)
        update = self.update(self.norm_update(jnp.concatenate([outputs, update_inputs], axis=-1)))
        return update, attn
