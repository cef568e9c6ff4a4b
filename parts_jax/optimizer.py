"""The optimizer: clipping, RMSProp or Adam, a learning rate per stage, and a guard against NaN."""

import itertools

import ml_collections
import optax


def learning_rate(schedule: ml_collections.ConfigDict) -> optax.Schedule:
    """Linear warm-up and cosine decay, stage after stage.

    Args:
      schedule: `config.schedule`, one number per stage in steps, learning_rate, warmup_steps and
        final_scale.

    Returns:
      step -> learning rate.
    """
    stages = [
        optax.warmup_cosine_decay_schedule(
            0.0, peak, min(warmup, steps - 1), steps, peak * final_scale)
        for steps, peak, warmup, final_scale in zip(
            schedule.steps, schedule.learning_rate, schedule.warmup_steps, schedule.final_scale,
            strict=True)]
    return optax.join_schedules(stages, list(itertools.accumulate(schedule.steps))[:-1])


def beta_scale(config: ml_collections.ConfigDict) -> optax.Schedule:
    """Factor of beta: each stage's own, times a warm-up from beta_warmup_start to 1.

    Args:
      config: as of configs/; `config.model.beta_scale` and `config.schedule.steps` have one number
        per stage.

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


def create(config: ml_collections.ConfigDict) -> optax.GradientTransformation:
    """Builds the optimizer of `config` (section 4: RMSProp, global-norm clip 5.0).

    Updates with a non-finite gradient are left out and counted: the state is an
    optax.ApplyIfFiniteState, whose notfinite_count is the number of those in a row and
    total_notfinite of all. Stopping is the training loop's decision.

    Raises:
      ValueError: config.optimizer.name is neither rmsprop nor adam.
    """
    c = config.optimizer
    rate = learning_rate(config.schedule)
    if c.name == "rmsprop":
        rule = optax.rmsprop(rate, decay=c.decay, momentum=c.momentum or None)
    elif c.name == "adam":
        rule = optax.adam(rate, b1=c.momentum, b2=c.decay)
    else:
        raise ValueError(f"config.optimizer.name is {c.name!r}; it must be rmsprop or adam.")
    never = 2**31 - 1
    return optax.apply_if_finite(optax.chain(optax.clip_by_global_norm(c.clip_norm), rule), never)
