"""The optimizer: clipping, RMSProp or Adam, a learning rate per stage, and a guard against NaN."""

import functools
import itertools
from collections.abc import Mapping
from typing import Any

import jax
import ml_collections
import optax

REST = "rest"  # parameters of no group


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


def create(config: ml_collections.ConfigDict) -> optax.GradientTransformation:
    """Builds the optimizer of `config` (section 4: RMSProp, global-norm clip 5.0).

    Updates with a non-finite gradient are left out and counted: the state is an
    optax.ApplyIfFiniteState, whose notfinite_count is the number of those in a row and
    total_notfinite of all. Stopping is the training loop's decision.

    Parameters of `config.optimizer.groups` have rules of their own, inside the clip by the norm of
    all gradients together; where there are no groups, the state has no place for them.

    Raises:
      ValueError: a rule's name is neither rmsprop nor adam. `init` raises those of `labels`.
    """
    c, rate = config.optimizer, learning_rate(config.schedule)
    rule, groups = _rule("config.optimizer", c, rate), c.get("groups", {})
    if groups:
        rules = {name: _rule(f"config.optimizer.groups.{name}", group,
                             _scaled(rate, group.learning_rate_scale))
                 for name, group in groups.items()}
        prefixes = {name: group.prefix for name, group in groups.items()}
        rule = optax.partition({REST: rule} | rules,
                               functools.partial(labels, prefixes=prefixes))
    never = 2**31 - 1
    return optax.apply_if_finite(optax.chain(optax.clip_by_global_norm(c.clip_norm), rule), never)


def labels(params: Any, prefixes: Mapping[str, str]) -> Any:
    """Which group each parameter belongs to: that of the longest prefix of its path, or `REST`.

    Args:
      params: pytree of parameters, nested dicts.
      prefixes: {group: path}, the parts of a path joined by "/": "decoder/layer_0" is a prefix of
        "decoder/layer_0/kernel", and not of "decoder/layer_01/kernel".

    Returns:
      A pytree of the names of groups, of the form of `params`.

    Raises:
      ValueError: a prefix is that of no parameter, or of two groups; or a group is named `REST`.
    """
    if REST in prefixes or len(set(prefixes.values())) < len(prefixes):
        raise ValueError(f"config.optimizer.groups have the prefixes {dict(prefixes)}, but must "
                         f"have one of its own each, and none may be named {REST!r}, which is what "
                         "all other parameters are.")
    paths = [jax.tree_util.keystr(path, simple=True, separator="/")
             for path, _ in jax.tree_util.tree_leaves_with_path(params)]
    under = {name: {path for path in paths if f"{path}/".startswith(f"{prefix}/")}
             for name, prefix in prefixes.items()}
    for name, found in under.items():
        if not found:
            top = dict.fromkeys(path.partition("/")[0] for path in paths)
            raise ValueError(f"config.optimizer.groups.{name}.prefix is {prefixes[name]!r}, but no "
                             "parameter's path begins with it; at the top there are: "
                             f"{', '.join(top)}.")
    group_of = [max((name for name in under if path in under[name]),
                    key=lambda name: len(prefixes[name]), default=REST) for path in paths]
    return jax.tree.unflatten(jax.tree.structure(params), group_of)


def _rule(where: str, c: ml_collections.ConfigDict,
          rate: optax.Schedule) -> optax.GradientTransformation:
    """The rule that the part `where` of a config describes: its name, decay and momentum."""
    if c.name == "rmsprop":
        return optax.rmsprop(rate, decay=c.decay, momentum=c.momentum or None)
    if c.name == "adam":
        return optax.adam(rate, b1=c.momentum, b2=c.decay)
    raise ValueError(f"{where}.name is {c.name!r}; it must be rmsprop or adam.")


def _scaled(rate: optax.Schedule, factor: float) -> optax.Schedule:
    return lambda step: factor * rate(step)
