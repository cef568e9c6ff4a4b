"""What changes with the step of training, of all families that weigh a KL."""

import itertools

import ml_collections
import optax


def beta_scale(config: ml_collections.ConfigDict) -> optax.Schedule:
    """Factor of beta: each stage's own, times a warm-up from beta_warmup_start to 1.

    Args:
      config: `model.beta_scale`, an entry a stage of `schedule.steps`; `model.beta_warmup_*`.

    Returns:
      step -> factor.
    """
    c = config.model
    stages = optax.join_schedules(
        [optax.constant_schedule(scale) for scale in c.beta_scale],
        list(itertools.accumulate(config.schedule.steps))[:-1])
    if c.beta_warmup_steps == 0:  # optax would stay at the start for ever
        return stages
    warmup = optax.linear_schedule(c.beta_warmup_start, 1.0, c.beta_warmup_steps)
    return lambda step: warmup(step) * stages(step)
