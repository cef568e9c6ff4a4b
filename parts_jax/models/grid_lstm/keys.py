"""What stands in `config.model` of the 2D-LSTM model: all its keys, and what each may be."""

import ml_collections

from parts_jax.equations.component_likelihood import LIKELIHOODS
from parts_jax.models import rules
from parts_jax.models.grid_lstm import inputs, model, objective
from parts_jax.networks import decoders

DECODERS = ("broadcast", "coordinates")
KEYS = {
    "name": rules.choice("grid_lstm"),
    "dtype": rules.choice("float32", "bfloat16", "float64"),
    "num_slots": rules.whole(1),
    "slot_size": rules.whole(1),
    "num_refinements": rules.whole(1),
    "test_refinements": rules.whole(0),
    "least_refinements": rules.whole(1),
    "refine_first_fully": rules.flag(),
    "restarts": rules.whole(1),
    "conditional": rules.flag(),
    "start": rules.choice(*model.STARTS),
    "samples": rules.choice(*model.SAMPLES),
    "reported": rules.choice(*model.REPORTS),
    "weights": rules.choice(*model.WEIGHTS),
    "likelihood": rules.choice(*LIKELIHOODS),
    "sigma_x": rules.positive(),
    "sigma_scale": rules.per_stage(0.01),
    "log_std_offset": rules.number(),
    "greatest_log_std": rules.number(),
    "loss_scale": rules.positive(),
    "entropy": rules.number(),
    "beta": rules.not_negative(),
    "beta_pixels": rules.whole(1),
    "beta_scale": rules.per_stage(0.0),
    "beta_warmup_steps": rules.whole(0),
    "beta_warmup_start": rules.share(),
    "corners": rules.flag(),
    "prior.width": rules.whole(1),
    "prior.form": rules.choice(*objective.PRIORS),
    "decoder.kind": rules.choice(*DECODERS),
    "decoder.channels": rules.widths(),
    "decoder.kernel_size": rules.odd(),
    "decoder.sigmoid": rules.flag(),
    "decoder.colour": rules.choice(*decoders.COLOURS),
    "decoder.frequencies": rules.whole(0),
    "decoder.centred": rules.flag(),
    "decoder.extent": rules.not_negative(),
    "decoder.residual": rules.flag(),
    "decoder.examples_at_once": rules.whole(0),
    "refiner.mask_posterior": rules.choice(*inputs.MASK_POSTERIORS),
    "refiner.mask_gradient": rules.choice(*inputs.MASK_GRADIENTS),
    "refiner.through_decoder": rules.flag(),
    "refiner.channels": rules.widths(),
    "refiner.kernel_size": rules.odd(),
    "refiner.stride": rules.whole(1),
    "refiner.cells": rules.whole(1),
    "refiner.glimpse": rules.whole(0),
    "refiner.glimpse_spacing": rules.positive(),
    "refiner.width": rules.whole(1),
    "refiner.lstm_size": rules.whole(1),
    "refiner.update_scale": rules.not_negative(),
}

# `loss` explains `clip.pixels` where there are any; see models/contract.py.
SCORES_PIXELS = True


def check(config: ml_collections.ConfigDict) -> None:
    """Refuses values that are allowed, but not together.

    Raises:
      ValueError: fewer refinements in use than in training, or more of late frames than of the
        first; a first frame that is not refined at all; a greatest sigma that is not above the
        least; subsets of pixels, or a centred decoder, where it needs a pixel's neighbours;
        an extent of a decoder that is not centred;
        corners for a decoder that has none; pooling of what an encoder sees, as there is none.
    """
    c = config.model
    if 0 < c.test_refinements < c.num_refinements:
        raise ValueError(
            f"config.model.test_refinements is {c.test_refinements}, below config.model."
            f"num_refinements, {c.num_refinements}; it must be 0, as in training, or that or more.")
    if c.least_refinements > c.num_refinements:
        raise ValueError(
            f"config.model.least_refinements is {c.least_refinements}, but no frame can have more "
            f"than config.model.num_refinements, {c.num_refinements}; it must be from 1 to that.")
    if c.num_refinements == 1 and not c.refine_first_fully:
        raise ValueError(
            "config.model.num_refinements is 1 and refine_first_fully False, so that the first "
            "frame would not be refined at all: let one of the two be more.")
    if c.greatest_log_std <= objective.LEAST_LOG_STD:
        raise ValueError(
            f"config.model.greatest_log_std is {c.greatest_log_std}, and the least log sigma is "
            f"{objective.LEAST_LOG_STD}: it must be more than that.")
    rules.check_per_pixel(config)
    if c.decoder.extent and not c.decoder.centred:
        raise ValueError(
            f"config.model.decoder.extent is {c.decoder.extent}, but decoder.centred False, so "
            "that a slot has no centre to be near to: it must be 0, or decoder.centred True.")
    rules.check_sigma_scale(config)
    if c.corners and c.decoder.kind != "broadcast":
        raise ValueError(
            f"config.model.corners is True, but decoder.kind is {c.decoder.kind!r}, whose "
            "coordinates are those of pixel centres: only 'broadcast' has the other ones.")
    if max(config.train.encoder_pooling) > 1:
        raise ValueError(
            f"config.train.encoder_pooling is {tuple(config.train.encoder_pooling)}, but the "
            "2D-LSTM model has no encoder: its refinement network sees the pixels that are "
            "explained; it must be 1 in every stage.")
