"""Recurrent, top-down slot attention (section 3.2.3): equations (4), (5), (6)."""

from collections.abc import Sequence
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from flax.linen.dtypes import promote_dtype

from parts_jax.networks import layers


def attention_weights(queries: jax.Array, key_kernel: jax.Array,
                      encoding: jax.Array) -> jax.Array:
    """attn_ijk = Softmax(k_ij^T Q / sqrt(D_q))_k, equation (5): slots compete for each pixel.

    Keys k_ij = W_K O_ij are never formed: k_ij^T q_k = O_ij^T (W_K^T q_k) asks for one product a
    slot in place of one a pixel.

    Args:
      queries: Q, [B, K, D_q].
      key_kernel: W_K, [C, D_q].
      encoding: O, [B, H, W, C].

    Returns:
      Weights that sum to 1 over slots at every pixel, [B, K, H, W], laid out like masks.
    """
    scaled = queries / jnp.sqrt(jnp.asarray(queries.shape[-1], queries.dtype))
    seen = scaled @ key_kernel.T  # W_K^T q_k
    logits = layers.at_least_float32(jnp.einsum("bkc,bhwc->bkhw", seen, encoding))
    return jax.nn.softmax(logits, axis=-3)


def slot_outputs(attn: jax.Array, value_kernel: jax.Array, encoding: jax.Array,
                 epsilon: float = 1e-6) -> jax.Array:
    """s_k^output = sum_ij attn_ijk v_ij / sum_ij attn_ijk, equation (6).

    Values v_ij = W_V O_ij are never formed: W_V is taken out of the sum.

    Args:
      attn: attention weights, [B, K, H, W].
      value_kernel: W_V, [C, D_q].
      encoding: O, [B, H, W, C].
      epsilon: added to the weights, so that a slot without pixels gets the mean.

    Returns:
      [B, K, D_q].
    """
    attn = attn + epsilon
    sums = jnp.einsum("bkhw,bhwc->bkc", attn.astype(encoding.dtype), encoding)
    return (sums @ value_kernel) / jnp.sum(attn, axis=(-2, -1))[..., None]


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

    @nn.compact
    def __call__(self, query_inputs: jax.Array, update_inputs: jax.Array,
                 encoding: jax.Array) -> tuple[jax.Array, jax.Array]:
        """One step of attention; the loop over steps is the caller's.

        Args:
          query_inputs: s, [B, K, C_q], what shapes the queries.
          update_inputs: what the update MLP sees beside the slot outputs, [B, K, C_u].
          encoding: O, normalised, [B, H, W, C].

        Returns:
          The update of lambda, [B, K, 2 D], and the attention weights, [B, K, H, W].
        """
        query = nn.Dense(self.size, use_bias=False, dtype=self.dtype, name="query")
        queries = query(nn.LayerNorm(name="norm_query")(query_inputs))  # W_q s_k, equation (4)
        queries, encoding, w_k, w_v = promote_dtype(
            queries, encoding, layers.Kernel(self.size, name="key")(encoding.shape[-1]),
            layers.Kernel(self.size, name="value")(encoding.shape[-1]), dtype=self.dtype)
        attn = attention_weights(queries, w_k, encoding)
        outputs = slot_outputs(attn, w_v, encoding)
        inputs = nn.LayerNorm(name="norm_update")(
            jnp.concatenate([outputs, update_inputs], axis=-1))
        update = layers.MLP(
            self.mlp, self.update_size, self.update_scale, self.dtype, name="update")
        return update(inputs), attn
