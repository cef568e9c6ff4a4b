"""PARTS by the contract of families: what a config describes, as functions of parameters."""

import functools
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import ml_collections

from parts_jax.equations import pixel_mixture
from parts_jax.models import schedules
from parts_jax.models.contract import Model, mixture_of, view_of
from parts_jax.models.parts import model, per_slot, rollout, slot_attention, transition
from parts_jax.networks import decoders, encoders

STAGES = ("predicted", "refined")


def create(config: ml_collections.ConfigDict) -> Model:
    """The model that a config describes, by the contract of families.

    Its latents are `Slots`: of the stage "predicted" a sample of the posterior that the transition
    predicts, before the frame is seen, as in the paper; of "refined" the mean of the posterior
    after refinement by the frame.
    """
    parts = build(config)
    scale = schedules.beta_scale(config)

    def init(key):
        params = parts.init(key, method="make_parameters")["params"]
        return jax.tree.map(lambda p: p.astype(jnp.zeros(()).dtype), params)

    def noise(keys, num_frames, num_slots):
        shape = (num_frames, parts.num_scores, num_slots or parts.num_slots, parts.slot_size)
        return jax.vmap(lambda key: jax.random.normal(key, shape))(keys)  # [B, T, N, K, D]

    def loss(params, state, clip, step):
        return parts.apply({"params": params}, clip, state, 1.0 if step is None else scale(step))

    def decode(params, slots, resolution):
        mixture = parts.apply({"params": params}, slots.z, tuple(resolution), method="decode")
        return view_of(mixture)

    def assign(view, frame):
        return pixel_mixture.responsibilities(mixture_of(view), frame, parts.sigma_x)

    return Model(init, parts.initial_state, noise, loss, decode, parts.num_slots, STAGES,
                 functools.partial(rollout.roll_out, parts), assign, parts.slot_size)


def build(config: ml_collections.ConfigDict) -> model.PARTS:
    """The linen module of the `model` part of a config; with `data.action_size`,
    `train.truncation` and `train.unroll`."""
    c, dtype = config.model, compute_dtype(config.model)
    encoder, attention, refiner = refining_networks(config)
    return model.PARTS(
        transition=transition_network(config),
        decoder=decoders.SpatialBroadcastDecoder(
            channels=tuple(c.decoder.channels), kernel_size=c.decoder.kernel_size,
            colour=c.decoder.colour, frequencies=c.decoder.frequencies,
            shade=c.decoder.shade, num_fields=c.decoder.num_fields, dtype=dtype),
        encoder=encoder, attention=attention, refiner=refiner, reset=c.per_slot.reset,
        prior=c.prior,
        num_slots=c.num_slots, slot_size=c.slot_size, action_size=config.data.action_size,
        num_refinements=c.num_refinements, truncation=config.train.truncation,
        unroll=config.train.unroll,
        sigma_x=c.sigma_x, beta=c.beta, beta_pixels=c.beta_pixels,
        log_std_offset=c.log_std_offset, residual=c.transition.residual,
        decay=c.transition.decay, bounded=c.transition.normalise,
        use_likelihood=c.encoder.use_likelihood, top_down=c.attention.top_down,
        examples_at_once=c.decoder.examples_at_once, action_scale=tuple(c.transition.action_scale))


def transition_network(config: ml_collections.ConfigDict) -> nn.Module:
    """P, of the kind that the `model` part of a config names."""
    c, dtype = config.model, compute_dtype(config.model)
    if c.transition.kind == "none":
        return transition.NoTransition(output_size=2 * c.slot_size)
    if c.transition.kind == "graph":
        return transition.GraphNetwork(
            width=c.transition.width, effect_size=c.transition.effect_size,
            state_size=c.transition.lstm_size, action_size=config.data.action_size,
            output_size=2 * c.slot_size, dtype=dtype)
    return transition.TransformerLSTM(
        width=c.transition.width, num_layers=c.transition.num_layers,
        num_heads=c.transition.num_heads, mlp_width=c.transition.mlp_width,
        lstm_size=c.transition.lstm_size, output_size=2 * c.slot_size,
        normalise=c.transition.normalise, dtype=dtype)


def refining_networks(config: ml_collections.ConfigDict) -> tuple:
    """E_phi: the encoder and slot attention of PARTS, or a network per slot; the rest is None."""
    c, dtype = config.model, compute_dtype(config.model)
    if c.refiner == "per_slot":
        return None, None, per_slot.PerSlotRefiner(
            channels=tuple(c.per_slot.channels), kernel_size=c.per_slot.kernel_size,
            stride=c.per_slot.stride, mlp=tuple(c.per_slot.mlp), lstm_size=c.per_slot.lstm_size,
            update_size=2 * c.slot_size, update_scale=c.per_slot.update_scale, dtype=dtype)
    encoder = encoders.SizePreservingEncoder(
        channels=tuple(c.encoder.channels), kernel_size=c.encoder.kernel_size,
        output_size=c.encoder.output_size, dtype=dtype)
    attention = slot_attention.TopDownSlotAttention(
        size=c.attention.size, mlp=tuple(c.attention.mlp), update_size=2 * c.slot_size,
        update_scale=c.attention.update_scale, dtype=dtype)
    return encoder, attention, None


def compute_dtype(config: ml_collections.ConfigDict) -> Any:
    """What convolutions and matrix products are computed in; None: as the parameters."""
    return jnp.bfloat16 if config.dtype == "bfloat16" else None
