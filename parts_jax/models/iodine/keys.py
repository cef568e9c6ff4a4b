"""What stands in `config.model` of IODINE: all its keys, and what each may be."""

import ml_collections

from parts_jax.equations.component_likelihood import LIKELIHOODS
from parts_jax.models import rules
from parts_jax.models.iodine import inputs, model, objective, refiner
from parts_jax.networks import decoders

DECODERS = ("broadcast", "coordinates")
KEYS = {
    "name": rules.choice("iodine"),
    "dtype": rules.choice("float32", "bfloat16", "float64"),
    "num_slots": rules.whole(1),
    "slot_size": rules.whole(1),
    "num_iterations": rules.whole(1),
    "test_iterations": rules.whole(1),
    "restarts": rules.whole(1),
    "fewest_slots": rules.whole(0),
    "sequential": rules.flag(),
    "likelihood": rules.choice(*LIKELIHOODS),
    "sigma_x": rules.positive(),
    "sigma_scale": rules.per_stage(0.01),
    "posterior": rules.choice(*objective.POSTERIORS),
    "log_std_offset": rules.number(),
    "beta": rules.not_negative(),
    "beta_pixels": rules.whole(1),
    "beta_scale": rules.per_stage(0.0),
    "beta_warmup_steps": rules.whole(0),
    "beta_warmup_start": rules.share(),
    "weights": rules.choice(*model.WEIGHTS),
    "clamp": rules.not_negative(),
    "decoder.kind": rules.choice(*DECODERS),
    "decoder.channels": rules.widths(),
    "decoder.kernel_size": rules.odd(),
    "decoder.colour": rules.choice(*decoders.COLOURS),
    "decoder.frequencies": rules.whole(0),
    "decoder.centred": rules.flag(),
    "decoder.examples_at_once": rules.whole(0),
    "refiner.inputs": rules.names(tuple(inputs.INPUTS)),
    "refiner.mask_gradient": rules.choice(*inputs.MASK_GRADIENTS),
    "refiner.likelihood_form": rules.choice(*inputs.LIKELIHOOD_FORMS),
    "refiner.through_decoder": rules.flag(),
    "refiner.channels": rules.widths(),
    "refiner.kernel_size": rules.odd(),
    "refiner.stride": rules.whole(1),
    "refiner.cells": rules.whole(1),
    "refiner.glimpse": rules.whole(0),
    "refiner.glimpse_spacing": rules.positive(),
    "refiner.mlp": rules.widths(),
    "refiner.lstm_size": rules.whole(0),
    "refiner.head": rules.choice(*refiner.HEADS),
    "refiner.update_scale": rules.not_negative(),
}

LATER_KEYS = {"fewest_slots": 0}  # of runs of before

# `loss` explains `clip.pixels` where there are any; see models/contract.py.
SCORES_PIXELS = True


def check(config: ml_collections.ConfigDict) -> None:
    """Refuses values that are allowed, but not together.

    Raises:
      ValueError: subsets of pixels, or a centred decoder, where it needs a pixel's neighbours; a
        glimpse that no layer reads; pooling of what an encoder sees, as there is none; no image
        among the refiner's inputs; several iterations of a frame, or restarts, where each iteration
        has a frame of its own; fewer iterations in use than in training; a last stage of another
        sigma_x than in use.
    """
    c = config.model
    rules.check_per_pixel(config)
    if c.refiner.glimpse and not c.refiner.mlp:
        raise ValueError(
            f"config.model.refiner.glimpse is {c.refiner.glimpse}, and config.model.refiner.mlp is "
            "(): what a glimpse sees is read by a layer as wide as the first of mlp, so mlp must "
            "have one.")
    if max(config.train.encoder_pooling) > 1:
        raise ValueError(
            f"config.train.encoder_pooling is {tuple(config.train.encoder_pooling)}, but IODINE "
            "has no encoder: its refinement network sees the pixels that are explained; it must be "
            "1 in every stage.")
    if not set(c.refiner.inputs) & set(inputs.IMAGES):
        raise ValueError(
            f"config.model.refiner.inputs is {tuple(c.refiner.inputs)}, without any image; it must "
            f"have at least one of {', '.join(inputs.IMAGES)}.")
    if c.sequential and c.num_iterations != 1:
        raise ValueError(
            f"config.model.num_iterations is {c.num_iterations}, and config.model.sequential True: "
            "on sequences each iteration sees a frame of its own, so it must be 1.")
    if c.sequential and c.restarts > 1:
        raise ValueError(
            f"config.model.restarts is {c.restarts}, and config.model.sequential True: of several "
            "refinements an image keeps the best, and a video goes on from each; it must be 1.")
    if c.test_iterations < c.num_iterations:
        raise ValueError(
            f"config.model.test_iterations is {c.test_iterations}, below config.model."
            f"num_iterations, {c.num_iterations}: in use a model refines as often as in training, "
            "or more often.")
    rules.check_sigma_scale(config)
    if c.decoder.kind == "broadcast" and c.decoder.colour != "full":
        raise ValueError(
            f"config.model.decoder.colour is {c.decoder.colour!r}, and its kind 'broadcast', which "
            "paints any colour at any pixel: it must be 'full'.")
