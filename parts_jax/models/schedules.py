"""What changes with the step of training, of all families that weigh a KL."""

import itertools
from collections.abc import Callable, Sequence
from typing import NamedTuple

import jax
import ml_collections
import optax


class Scales(NamedTuple):
    """What changes with the step of training.

    Attributes:
      beta: factor of the weight of the KL.
      sigma: factor of the likelihood's scale.
    """

    beta: jax.Array | float = 1.0
    sigma: jax.Array | float = 1.0


IN_USE = Scales()


def scales(config: ml_collections.ConfigDict) -> Callable[[jax.Array | None], Scales]:
    """Returns step -> `Scales`; None, not in training: `IN_USE`.

    Args:
      config: `model.sigma_scale`, an entry a stage of `schedule.steps`; and as of `beta_scale`.
    """
    beta, sigma = beta_scale(config), per_stage(config, config.model.sigma_scale)
    return lambda step: IN_USE if step is None else Scales(beta(step), sigma(step))


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
