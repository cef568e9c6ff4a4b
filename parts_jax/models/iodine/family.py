"""IODINE by the contract of families: what a config describes, as functions of parameters."""

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import ml_collections

from parts_jax.equations import component_likelihood
from parts_jax.models import restarts, schedules
from parts_jax.models.contract import Model, mixture_of, view_of
from parts_jax.models.iodine import model, refiner, sequences
from parts_jax.networks import broadcast_decoder, decoders


def create(config: ml_collections.ConfigDict) -> Model:
    """The model that a config describes, by the contract of families.

    Its latents are `Slots`. Of images there is one stage, "final": a sample of the posterior after
    N refinements, the one that was scored. Of sequences there are "predicted", a sample of the
    posterior before a frame is seen, and "refined", the mean of that after it.
    """
    c = config.model
    iodine = build(config)
    scales_at = schedules.scales(config)

    def init(key):
        params = iodine.init(key, method="make_parameters")["params"]
        return jax.tree.map(lambda p: p.astype(jnp.zeros(()).dtype), params)

    def noise(keys, num_frames, num_slots, num_iterations=None):
        count = 1 if c.sequential else ((num_iterations or c.test_iterations) + 1) * c.restarts
        shape = (num_frames, num_slots or c.num_slots, c.slot_size)
        # A key an iteration: with more iterations, the first of them are what they were.
        one = lambda key: jax.vmap(lambda n: jax.random.normal(jax.random.fold_in(key, n), shape),
                                   out_axes=1)(jnp.arange(count))
        return jax.vmap(one)(keys)  # [B, T, N+1, K, D]

    def loss(params, state, clip, step):
        scales = scales_at(step)
        clamp = (c.clamp,) if c.sequential and step is None else ()
        if not c.sequential and step is not None:  # fewer iterations in training than in use
            clip = clip._replace(noise=clip.noise[:, :, :c.num_iterations + 1])
        if c.restarts > 1 and step is None:
            once = lambda noise: iodine.apply(
                {"params": params}, clip._replace(noise=noise), state, scales)[1]
            found = restarts.best_of(once, clip.noise, c.restarts, c.fewest_slots)
            return jnp.mean(found.metrics["neg_elbo"]), found
        return iodine.apply({"params": params}, clip, state, scales, *clamp)

    def decode(params, slots, resolution):
        mixture = iodine.apply({"params": params}, slots.z, tuple(resolution), method="decode")
        return view_of(mixture)

    def assign(view, frame):
        mixture = mixture_of(view)
        return component_likelihood.responsibilities(
            mixture, component_likelihood.component_log_density(
                mixture, frame, c.sigma_x, c.likelihood))

    start = iodine.initial_state if c.sequential else lambda batch_size, num_slots: ()
    return Model(init, start, noise, loss, decode, c.num_slots,
                 sequences.STAGES if c.sequential else ("final",), None, assign, c.slot_size,
                 num_iterations=None if c.sequential else c.test_iterations)


def build(config: ml_collections.ConfigDict) -> model.IODINE:
    """The linen module of the `model` part of a config; with `data.num_frames`, `train.unroll`."""
    c = config.model
    made = sequences.SequentialIODINE if c.sequential else model.IODINE
    more = dict(num_frames=config.data.num_frames) if c.sequential else {}
    return made(
        decoder=decoder(config),
        refiner=refiner.RefinementNetwork(
            inputs=tuple(c.refiner.inputs), channels=tuple(c.refiner.channels),
            kernel_size=c.refiner.kernel_size, stride=c.refiner.stride, cells=c.refiner.cells,
            mlp=tuple(c.refiner.mlp),
            lstm_size=c.refiner.lstm_size, head=c.refiner.head, slot_size=c.slot_size,
            update_scale=c.refiner.update_scale, glimpse=c.refiner.glimpse,
            glimpse_spacing=c.refiner.glimpse_spacing, dtype=compute_dtype(c)),
        num_slots=c.num_slots, slot_size=c.slot_size, num_iterations=c.num_iterations,
        likelihood=c.likelihood, sigma_x=c.sigma_x, posterior=c.posterior,
        log_std_offset=c.log_std_offset, beta=c.beta, beta_pixels=c.beta_pixels,
        weights=c.weights, mask_gradient=c.refiner.mask_gradient,
        likelihood_form=c.refiner.likelihood_form, through_decoder=c.refiner.through_decoder,
        clamp=c.clamp, unroll=config.train.unroll, examples_at_once=c.decoder.examples_at_once,
        leaves_out=c.fewest_slots > 0, **more)


def decoder(config: ml_collections.ConfigDict) -> nn.Module:
    """The paper's broadcast decoder, or the one of PARTS, of the kind that a config names."""
    c = config.model
    if c.decoder.kind == "broadcast":
        return broadcast_decoder.BroadcastDecoder(
            channels=tuple(c.decoder.channels), kernel_size=c.decoder.kernel_size,
            dtype=compute_dtype(c))
    return decoders.SpatialBroadcastDecoder(
        channels=tuple(c.decoder.channels), kernel_size=c.decoder.kernel_size,
        colour=c.decoder.colour, frequencies=c.decoder.frequencies,
        centred=c.decoder.centred, dtype=compute_dtype(c))


def compute_dtype(config: ml_collections.ConfigDict) -> Any:
    """What convolutions and matrix products are computed in; None: as the parameters."""
    return jnp.bfloat16 if config.dtype == "bfloat16" else None
