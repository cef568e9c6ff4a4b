"""What changes with the step of training, of all families that weigh a KL."""

import itertools
from collections.abc import Sequence

import ml_collections
import optax


def per_stage(config: ml_collections.ConfigDict, factors: Sequence[float]) -> optax.Schedule:
    """step -> the factor of its stage, of one for each of `schedule.steps`."""
    return optax.join_schedules([optax.constant_schedule(factor) for factor in factors],
                                list(itertools.accumulate(config.schedule.steps))[:-1])


def beta_scale(config: ml_collections.ConfigDict) -> optax.Schedule:
    """Factor of beta: each stage's own, times a warm-up from beta_warmup_start to 1.

    Args:
      config: `model.beta_scale`, an entry a stage of `schedule.steps`; `model.beta_warmup_*`.

    Returns:
      step -> factor.
    """
    c = config.model
    stages = per_stage(config, c.beta_scale)
    if c.beta_warmup_steps == 0:  # optax would stay at the start for ever
        return stages
    warmup = optax.linear_schedule(c.beta_warmup_start, 1.0, c.beta_warmup_steps)
    return lambda step: warmup(step) * stages(step)
