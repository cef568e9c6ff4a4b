"""What stands in `config.model` of SPACE: all its keys, and what each may be."""

import ml_collections

from parts_jax.models import rules
from parts_jax.models.space import background, blocks, composition, foreground, latents, model
from parts_jax.models.space.annealing import annealed

KEYS = {
    "name": rules.choice("space"),
    "dtype": rules.choice("float32", "bfloat16", "float64"),
    "image_size": rules.choice(*background.FACTORS),
    "width": rules.positive(),
    "beta_pixels": rules.whole(0),
    "beta_scale": rules.per_stage(0.0),
    "beta_warmup_steps": rules.whole(0),
    "beta_warmup_start": rules.share(),
    "sigma_scale": rules.per_stage(0.01),
    "spread_offset": rules.number(),
    "likelihood": rules.choice(*model.LIKELIHOODS),
    "foreground.cells": rules.choice(*foreground.CELLS),
    "foreground.grid": rules.whole(1),
    "foreground.glimpse_size": rules.choice(*foreground.GLIMPSES),
    "foreground.what_size": rules.whole(1),
    "foreground.sigma_x": rules.positive(),
    "foreground.temperature": annealed(lambda v: v > 0, "numbers above 0"),
    "foreground.presence_prior": annealed(lambda v: 0 < v < 1, "numbers between 0 and 1"),
    "foreground.scale_mean": annealed(lambda v: True, "finite numbers"),
    "foreground.scale_std": rules.positive(),
    "foreground.kl_gate": rules.choice(*latents.GATES),
    "foreground.depth_order": rules.choice(*composition.DEPTHS),
    "background.num_components": rules.whole(1),
    "background.mask_size": rules.whole(1),
    "background.component_size": rules.whole(1),
    "background.sigma_x": rules.positive(),
    "background.decoder": rules.choice(*background.DECODERS),
    "background.norm": rules.choice(*blocks.NORMS),
    "alpha.fixed_steps": rules.whole(0),
    "alpha.fixed_value": rules.share(),
    "boundary.form": rules.choice(*composition.BOUNDARIES),
    "boundary.gap": rules.whole(0),
    "boundary.weight": rules.not_negative(),
    "boundary.steps": rules.whole(0),
}


# Keys that earlier runs did not have, and what they are gone on with.
LATER_KEYS = {"foreground.cells": "parallel", "beta_pixels": 0, "beta_scale": rules.ONE_PER_STAGE,
              "beta_warmup_steps": 0, "beta_warmup_start": 1.0,
              "sigma_scale": rules.ONE_PER_STAGE, "spread_offset": 0.0}


def check(config: ml_collections.ConfigDict) -> None:
    """Refuses values that are allowed, but not together.

    Raises:
      ValueError: the grid does not fit the picture, the boundary is as wide as a glimpse, or the
        last stage has another sigma than in use.
    """
    c = config.model
    rules.check_sigma_scale(config)
    size, fitting = c.image_size, [c.image_size // s for s in foreground.STRIDES
                                   if c.image_size % s == 0 and c.image_size >= s]
    if c.foreground.grid not in fitting:
        raise ValueError(
            f"config.model.foreground.grid is {c.foreground.grid}, with config.model.image_size "
            f"{size}: the encoder has cells of {', '.join(map(str, foreground.STRIDES))} pixels, "
            f"so it must be one of {', '.join(map(str, fitting))}.")
    if 2 * c.boundary.gap >= c.foreground.glimpse_size:
        raise ValueError(
            f"config.model.boundary.gap is {c.boundary.gap}, with "
            f"config.model.foreground.glimpse_size {c.foreground.glimpse_size}: nothing is inside "
            "of such a boundary; it must be less than half of a glimpse.")
