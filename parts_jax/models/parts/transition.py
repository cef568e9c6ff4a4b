"""The prediction network P (section 3.2.1): a transformer, then a slot-wise LSTM.

And the two that Table 2 compares it with: OP3's graph network, and none.
"""

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


class TwoLayers(nn.Module):
    """A hidden layer with ELU, then a linear one, as all of OP3's dynamics is made of.

    Attributes:
      hidden: width of the hidden layer.
      output: width of the output.
      output_scale: initial scale of the last layer's kernel.
      dtype: of the matrix products.
    """

    hidden: int
    output: int
    output_scale: float = 1.0
    dtype: Any = None

    @nn.compact
    def __call__(self, inputs: jax.Array) -> jax.Array:
        """[..., C] -> [..., output]."""
        h = nn.elu(nn.Dense(self.hidden, dtype=self.dtype, name="hidden")(inputs))
        last = nn.Dense(self.output, kernel_init=layers.scaled_init(self.output_scale),
                        dtype=self.dtype, name="output")
        return layers.at_least_float32(last(h))


class GraphNetwork(nn.Module):
    """P of OP3 (Veerapaneni et al., 2019): every slot is moved by the action and by every other.

    What an action, or another slot, does to a slot is an effect times a sigmoid that says whether
    it does anything at all. Source: `PhysicsNetwork` of the authors' code, which
    tests/parity/ compares it with.

    Attributes:
      width: R, of all layers but those below.
      effect_size: of an encoded action, and of the effect of a slot on another.
      state_size: of the deterministic half of a slot, which is carried from frame to frame beside
        the posterior, and which nothing but this network sees; 0: none.
      action_size: A; the last A channels of what it is given are the action.
      output_size: 2 D.
      output_scale: initial scale of the last layers of the posterior's two halves.
      dtype: of matrix products.
    """

    width: int
    effect_size: int
    state_size: int
    action_size: int
    output_size: int
    output_scale: float = 0.1
    dtype: Any = None

    @nn.compact
    def __call__(self, slots: jax.Array, hidden: jax.Array):
        """One step in time.

        Args:
          slots: [lambda_{t-1}, a_{t-1}], the action joined to every slot, [B, K, 2 D + A].
          hidden: the deterministic half, [B, K, state_size].

        Returns:
          Output [B, K, 2 D] and the new deterministic half.
        """
        posterior, action = jnp.split(slots, [slots.shape[-1] - self.action_size], axis=-1)
        state = jnp.concatenate([hidden, posterior], axis=-1)
        state = nn.elu(self.network(self.width, "inertia")(state))
        if self.action_size:
            state = self.moved(state, action)
        h = jnp.concatenate([state, self.pushed(state)], axis=-1)
        h = nn.elu(self.network(self.width, "merge")(h))
        halves = [TwoLayers(self.width, self.output_size // 2, self.output_scale, self.dtype,
                            name=name)(h) for name in ("mean", "log_std")]
        if self.state_size:
            hidden = self.network(self.state_size, "deterministic")(h)
        return jnp.concatenate(halves, axis=-1), hidden

    def network(self, output: int, name: str) -> TwoLayers:
        """One of the width's networks, by its name."""
        return TwoLayers(self.width, output, dtype=self.dtype, name=name)

    def moved(self, state: jax.Array, action: jax.Array) -> jax.Array:
        """What the action makes of each slot: [B, K, R], [B, K, A] -> [B, K, R]."""
        action = nn.elu(self.network(self.effect_size, "action")(action))
        both = jnp.concatenate([state, action], axis=-1)
        effect = nn.elu(self.network(self.width, "action_effect")(both))
        return effect * nn.sigmoid(self.network(1, "action_gate")(both))

    def pushed(self, state: jax.Array) -> jax.Array:
        """The sum of what all other slots do to each: [B, K, R] -> [B, K, effect_size]."""
        num_slots = state.shape[-2]
        pairs_shape = (*state.shape[:-1], num_slots, state.shape[-1])  # [B, K, K, R]
        pairs = jnp.concatenate([jnp.broadcast_to(state[..., :, None, :], pairs_shape),
                                 jnp.broadcast_to(state[..., None, :, :], pairs_shape)], axis=-1)
        encode = TwoLayers(2 * self.width, self.width, dtype=self.dtype, name="pair")
        pairs = nn.elu(encode(pairs))
        effect = nn.elu(self.network(self.effect_size, "effect")(pairs))
        gate = nn.sigmoid(self.network(1, "gate")(pairs))
        others = (1 - jnp.eye(num_slots, dtype=state.dtype))[None, :, :, None]
        return jnp.sum(effect * gate * others, axis=-2)

    def initial_hidden(self, batch_size: int, num_slots: int) -> jax.Array:
        """The deterministic half before the first frame: zeros, as all state."""
        return jnp.zeros((batch_size, num_slots, self.state_size))


class NoTransition(nn.Module):
    """No P: the coming frame is expected to be as the last, which S-IODINE does.

    Attributes:
      output_size: 2 D.
    """

    output_size: int

    def __call__(self, slots: jax.Array, hidden: tuple):
        """No change: [B, K, 2 D + A] -> zeros [B, K, 2 D], and the same empty state."""
        return jnp.zeros_like(slots[..., :self.output_size]), hidden

    def initial_hidden(self, batch_size: int, num_slots: int) -> tuple:
        """There is none."""
        del batch_size, num_slots
        return ()
