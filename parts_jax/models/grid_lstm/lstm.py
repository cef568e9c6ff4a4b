"""The 2D-LSTM of the refinement network: one memory over refinements, one over frames (Figure 2b).

The paper gives no formulas and names Graves et al. (2007) for it. Its code has the cell of Bahar et
al., "Towards Two-Dimensional Sequence to Sequence Model in Neural Machine Translation" (2018), in
which one forget gate f is shared by both directions and a gate lambda mixes them. With g = W_x x +
W_t h_time + W_r h_refine + b, cut into five parts g_i, g_f, g_o, g_lambda, g_c:

    (a)  i = sigmoid(g_i), f = sigmoid(g_f), o = sigmoid(g_o), l = sigmoid(g_lambda)
    (b)  c = f (l c_time + (1 - l) c_refine) + i tanh(g_c)
    (c)  h = o tanh(c)
"""

from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp

from parts_jax.networks import layers

GATES = 5


class Memory(NamedTuple):
    """What one direction of the grid remembers: h and c, [..., S] each."""

    h: jax.Array
    c: jax.Array


def lstm_2d(gates: jax.Array, c_time: jax.Array, c_refine: jax.Array) -> Memory:
    """Formulas (a) to (c) at the top of this file.

    Args:
      gates: g, [..., 5 S], in the order i, f, o, lambda, c.
      c_time: c after the last refinement of the frame before, [..., S].
      c_refine: c after the refinement before, [..., S].

    Returns:
      The new memory.
    """
    i, f, o, mix, candidate = jnp.split(gates, GATES, axis=-1)
    i, f, o, mix = (jax.nn.sigmoid(gate) for gate in (i, f, o, mix))
    c = f * (mix * c_time + (1 - mix) * c_refine) + i * jnp.tanh(candidate)
    return Memory(o * jnp.tanh(c), c)


class LSTM2D(nn.Module):
    """The cell with its three linear maps, of which the first alone has an offset.

    Attributes:
      size: S.
      dtype: of the matrix products.
    """

    size: int
    dtype: Any = None

    @nn.compact
    def __call__(self, x: jax.Array, time: Memory, refine: Memory) -> Memory:
        """x [..., C] and both memories -> the new memory."""
        gates = nn.Dense(GATES * self.size, dtype=self.dtype, name="x")(x)
        for name, h in (("time", time.h), ("refine", refine.h)):
            gates = gates + nn.Dense(GATES * self.size, use_bias=False, dtype=self.dtype,
                                     name=name)(h)
        return lstm_2d(layers.at_least_float32(gates), time.c, refine.c)
