"""What changes with the step of SPACE's training: the tables of appendix D.2."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import ml_collections
import optax

from parts_jax.models import schedules
from parts_jax.models.rules import Rule, is_number, is_whole


class Values(NamedTuple):
    """Of one step, scalars.

    Attributes:
      temperature: tau, of presence.
      presence_prior: rho.
      scale_mean: mu^scale, before the sigmoid.
      alpha_fixed: whether alpha is a constant in likelihood and picture.
      boundary: weight of the boundary loss.
      scales: factors of the weight of KLs, and of sigma^fg and sigma^bg (ours).
    """

    temperature: jax.Array
    presence_prior: jax.Array
    scale_mean: jax.Array
    alpha_fixed: jax.Array
    boundary: jax.Array
    scales: schedules.Scales = schedules.IN_USE


def values_at(config: ml_collections.ConfigDict) -> Callable[[jax.Array | None], Values]:
    """Returns step -> Values; None, not in training: those after the last step of the schedule."""
    c, last = config.model, sum(config.schedule.steps)
    annealed = {"temperature": linear(c.foreground.temperature),
                "presence_prior": linear(c.foreground.presence_prior),
                "scale_mean": linear(c.foreground.scale_mean)}
    scales_at = schedules.scales(config)

    def at(step: jax.Array | None) -> Values:
        scales = scales_at(step)
        step = jnp.asarray(last if step is None else step)
        boundary = jnp.where(step < c.boundary.steps, c.boundary.weight, 0.0)
        return Values(**{name: schedule(step) for name, schedule in annealed.items()},
                      alpha_fixed=step < c.alpha.fixed_steps, boundary=boundary, scales=scales)

    return at


def linear(annealed: tuple[float, float, int, int]) -> optax.Schedule:
    """(m, n, p, q), the paper's (m -> n) : (p -> q): m up to step p, n from step q on.

    Returns:
      step -> value.
    """
    start, end, first, last = annealed
    if start == end:  # optax says in a log that a schedule without steps is one that stays
        return optax.constant_schedule(float(start))
    return optax.linear_schedule(start, end, last - first, first)


def annealed(allows: Callable[[float], bool], words: str) -> Rule:
    """A rule for what `linear` takes.

    Args:
      allows: whether it allows m or n.
      words: what it allows of these, in the plural.
    """
    def right(value: Any) -> bool:
        if not isinstance(value, tuple) or len(value) != 4:
            return False
        start, end, first, last = value
        ends = all(is_number(v) and allows(v) for v in (start, end))
        return ends and all(map(is_whole, (first, last))) and (
            0 <= first < last or (start == end and 0 <= first <= last))

    return Rule(right, f"a tuple (m, n, p, q) of two {words}, and two whole numbers, 0 or more: "
                       "from m to n between the steps p and q, q above p unless m is n")
