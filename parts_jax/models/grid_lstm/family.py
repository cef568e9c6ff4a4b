"""The 2D-LSTM model by the contract of families."""

import functools
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import ml_collections

from parts_jax.equations import component_likelihood
from parts_jax.models import restarts, schedules
from parts_jax.models.contract import Model, mixture_of, view_of
from parts_jax.models.grid_lstm import inputs, model, networks, objective
from parts_jax.networks import broadcast_decoder, decoders

BEYOND_TRAINING = 1 << 30  # folded into a key: more than there are restarts


def create(config: ml_collections.ConfigDict) -> Model:
    """The model that a config describes, by the contract of families.

    Its latents are `model.Latents`: z and the temporal state that a frame is decoded from. The
    stage "predicted" is what is decoded before a frame is seen, "refined" what is known after it.
    """
    c = config.model
    made = build(config)
    in_use = max(c.num_refinements, c.test_refinements)
    used = build(config, in_use)
    scales_at = schedules.scales(config)

    def init(key):
        params = made.init(key, method="make_parameters")["params"]
        return jax.tree.map(lambda p: p.astype(jnp.zeros(()).dtype), params)

    def noise(keys, num_frames, num_slots):
        draw = lambda key, count: jax.random.normal(
            key, (num_frames, count, num_slots or c.num_slots, c.slot_size))

        def one(key, i):
            # A key a restart, and one for what training does not have: the first of all are what
            # they would be without the others.
            key = jax.random.fold_in(key, i) if i else key
            further = draw(jax.random.fold_in(key, BEYOND_TRAINING), in_use - c.num_refinements)
            return jnp.concatenate([draw(key, c.num_refinements), further], axis=1)

        return jnp.concatenate([jax.vmap(functools.partial(one, i=i))(keys)
                                for i in range(c.restarts)], axis=2)  # [B, T, R, K, D] each

    def loss(params, state, clip, step):
        module, count = (used, in_use) if step is None else (made, c.num_refinements)
        once = lambda noise: module.apply(
            {"params": params}, clip._replace(noise=noise), state, scales_at(step))
        if step is not None or c.restarts == 1:
            return once(clip.noise[:, :, :count])
        found = restarts.best_of(lambda noise: once(noise)[1], clip.noise, c.restarts,
                                 whole_clips=True)
        return jnp.mean(found.metrics["neg_elbo"]), found

    def decode(params, latents, resolution):
        mixture = made.apply({"params": params}, latents, tuple(resolution), method="decode")
        return view_of(mixture)

    def predict(params, state, actions, noise):
        del actions
        return made.apply({"params": params}, state, noise, method="predict")

    def assign(view, frame):
        mixture = mixture_of(view)
        return component_likelihood.responsibilities(
            mixture, component_likelihood.component_log_density(
                mixture, frame, c.sigma_x, c.likelihood))

    return Model(init, made.initial_state, noise, loss, decode, c.num_slots, model.STAGES, predict,
                 assign)


def build(config: ml_collections.ConfigDict,
          num_refinements: int | None = None) -> model.GridLSTM:
    """The linen module of the `model` part of a config; with `data.resolution`, `train.unroll`.

    Args:
      config: as in configs/.
      num_refinements: R; None: that of training. No parameter's shape depends on it.
    """
    c, dtype = config.model, compute_dtype(config.model)
    return model.GridLSTM(
        decoder=networks.ConditionalDecoder(decoder_body(config), c.slot_size, c.decoder.residual,
                                            dtype),
        prior=networks.Prior(c.prior.width, c.slot_size, dtype),
        refiner=networks.RefinementNetwork(
            channels=tuple(c.refiner.channels), kernel_size=c.refiner.kernel_size,
            stride=c.refiner.stride, cells=c.refiner.cells, width=c.refiner.width,
            lstm_size=c.refiner.lstm_size, slot_size=c.slot_size,
            update_scale=c.refiner.update_scale, glimpse=c.refiner.glimpse,
            glimpse_spacing=c.refiner.glimpse_spacing, dtype=dtype),
        motion=networks.Motion(c.slot_size, dtype) if c.start == "moved" else None,
        num_slots=c.num_slots, slot_size=c.slot_size,
        num_refinements=num_refinements or c.num_refinements,
        least_refinements=c.least_refinements, refine_first_fully=c.refine_first_fully,
        conditional=c.conditional, prior_form=c.prior.form,
        likelihood=inputs.Likelihood(c.likelihood, c.sigma_x),
        spread=objective.Spread(c.log_std_offset, c.greatest_log_std),
        loss_scale=c.loss_scale, beta=c.beta, beta_pixels=c.beta_pixels, entropy=c.entropy,
        start=c.start, samples=c.samples, reported=c.reported, weights=c.weights,
        mask_posterior=c.refiner.mask_posterior, mask_gradient=c.refiner.mask_gradient,
        corners=c.corners,
        through_decoder=c.refiner.through_decoder, predicted_size=config.data.resolution,
        unroll=config.train.unroll, examples_at_once=c.decoder.examples_at_once)


def decoder_body(config: ml_collections.ConfigDict) -> nn.Module:
    """The paper's broadcast decoder, or the one of PARTS, of the kind that a config names."""
    c, dtype = config.model, compute_dtype(config.model)
    if c.decoder.kind == "broadcast":
        return broadcast_decoder.BroadcastDecoder(
            channels=tuple(c.decoder.channels), kernel_size=c.decoder.kernel_size,
            corners=c.corners, sigmoid=c.decoder.sigmoid, dtype=dtype)
    return decoders.SpatialBroadcastDecoder(
        channels=tuple(c.decoder.channels), kernel_size=c.decoder.kernel_size,
        colour=c.decoder.colour, frequencies=c.decoder.frequencies,
        centred=c.decoder.centred, extent=c.decoder.extent, dtype=dtype)


def compute_dtype(config: ml_collections.ConfigDict) -> Any:
    """What convolutions and matrix products are computed in; None: as the parameters."""
    return jnp.bfloat16 if config.dtype == "bfloat16" else None
