"""What values a config may have: tables of keys, and a check that names the first fault.

All faults are raised as `ValueError`s whose message is a full sentence with the key, the value
received and what is allowed.
"""

import math
from collections.abc import Mapping
from typing import Any

import ml_collections

from parts_jax import best_checkpoint, configuration

# Whole numbers and the least that each may be. A key that a config does not have is not checked:
# another model has other keys.
LEAST = {
    "seed": 0,
    "data.num_frames": 1,
    "data.stride": 1,
    "data.resolution": 1,
    "data.num_threads": 0,
    "model.num_slots": 1,
    "model.slot_size": 1,
    "data.action_size": 0,
    "model.beta_pixels": 1,
    "model.num_refinements": 1,
    "train.truncation": 1,
    "train.unroll": 1,
    "model.decoder.kernel_size": 1,
    "model.decoder.frequencies": 0,
    "model.decoder.examples_at_once": 0,
    "model.encoder.kernel_size": 1,
    "model.encoder.output_size": 1,
    "model.attention.size": 1,
    "model.transition.width": 1,
    "model.transition.num_layers": 0,
    "model.transition.num_heads": 1,
    "model.transition.mlp_width": 1,
    "model.transition.lstm_size": 1,
    "model.beta_warmup_steps": 0,
    "train.batch_size": 1,
    "train.log_every": 1,
    "train.evaluate_every": 1,
    "train.checkpoint_every": 1,
    "train.keep_checkpoints": 1,
    "train.max_bad_steps": 1,
    "eval.step": -2,
    "eval.batch_size": 1,
    "eval.num_sequences": 0,
    "eval.num_pictures": 0,
    "eval.burn_in": 1,
    "eval.rollout_steps": 0,
}
POSITIVE = ("model.sigma_x", "optimizer.clip_norm")
NOT_NEGATIVE = ("model.beta", "model.attention.update_scale", "model.decoder.shade")
SHARES = ("model.beta_warmup_start",)  # from 0 to 1, both allowed
DECAYS = ("optimizer.decay", "optimizer.momentum")  # from 0 to 1, 1 not allowed
ODD = ("model.decoder.kernel_size", "model.encoder.kernel_size")
WIDTHS = ("model.decoder.channels", "model.encoder.channels", "model.attention.mlp")
CHOICES = {
    "eval.report": (False, True),
    "eval.watch": (False, True),
    "model.dtype": ("float32", "bfloat16", "float64"),
    "model.decoder.colour": ("full", "affine", "quadratic", "shaded"),
    "optimizer.name": ("rmsprop", "adam"),
}
# One entry per stage of training, and the least (and most) that each entry may be.
STAGES = {
    "schedule.steps": (1, None),
    "schedule.resolution": (1, None),
    "schedule.learning_rate": (0.0, None),
    "schedule.warmup_steps": (0, None),
    "schedule.final_scale": (0.0, 1.0),
    "model.beta_scale": (0.0, None),
}


def check(config: ml_collections.ConfigDict, num_devices: int) -> None:
    """Raises a ValueError for the first value that no run could use.

    To be called before anything is downloaded, allocated or compiled.

    Args:
      config: as of configs/.
      num_devices: number of devices of all processes together, over which batches are divided.
    """
    values = configuration.flatten(config)
    _check_single_values(values)
    _check_stages(values)
    best_by = values.get("eval.best_by", ())
    _require(isinstance(best_by, tuple) and set(best_by) <= set(best_checkpoint.METRICS),
             "eval.best_by", best_by,
             f"a tuple of names, each one of {', '.join(best_checkpoint.METRICS)}")
    if values.get("eval.watch") and values["eval.step"] != -1:
        raise ValueError(f"eval.step is {values['eval.step']}, but eval.watch evaluates every "
                         "checkpoint: eval.step must be -1 with it.")
    width, heads = (values.get(f"model.transition.{key}") for key in ("width", "num_heads"))
    if width and heads and width % heads:
        raise ValueError(f"model.transition.width is {width} and model.transition.num_heads is "
                         f"{heads}, but the width must be divisible by the number of heads.")
    for key in ("train.batch_size", "eval.batch_size"):
        if key in values and values[key] % num_devices:
            raise ValueError(f"{key} is {values[key]}, which cannot be divided evenly over "
                             f"{num_devices} devices; it must be a multiple of {num_devices}.")


def _check_single_values(values: Mapping[str, Any]) -> None:
    for key, least in LEAST.items():
        if key in values:
            _require(_is_whole(values[key]) and values[key] >= least, key, values[key],
                     f"a whole number, {least} or more")
    for key in POSITIVE:
        _check_number(values, key, lambda v: v > 0, "a finite number above 0")
    for key in NOT_NEGATIVE:
        _check_number(values, key, lambda v: v >= 0, "a finite number, 0 or more")
    for key in SHARES:
        _check_number(values, key, lambda v: 0 <= v <= 1, "a number from 0 to 1")
    for key in DECAYS:
        _check_number(values, key, lambda v: 0 <= v < 1, "a number from 0 to 1, below 1")
    for key in ODD:
        if key in values:
            _require(values[key] % 2 == 1, key, values[key], "odd")
    for key in WIDTHS:
        if key in values:
            whole = isinstance(values[key], tuple) and all(map(_is_whole, values[key]))
            _require(whole and min(values[key], default=1) >= 1, key, values[key],
                     "a tuple of whole numbers, each 1 or more")
    for key, choices in CHOICES.items():
        if key in values:
            _require(values[key] in choices, key, values[key],
                     f"one of {', '.join(map(str, choices))}")


def _check_stages(values: Mapping[str, Any]) -> None:
    stages = {key: values[key] for key in STAGES if key in values}
    for key, stage in stages.items():
        _require(isinstance(stage, tuple), key, stage, "a tuple, one entry per stage")
    if len({len(stage) for stage in stages.values()}) > 1 or not all(stages.values()):
        lengths = ", ".join(f"{key} has {len(stage)}" for key, stage in stages.items())
        raise ValueError("The schedule needs one or more stages, and one entry per stage, but "
                         f"{lengths}.")
    for key, (least, most) in STAGES.items():
        for value in stages.get(key, ()):
            right_kind = _is_number(value) and (isinstance(least, float) or _is_whole(value))
            limit = f" and {most} or less" if most is not None else ""
            _require(right_kind and value >= least and (most is None or value <= most), key,
                     stages[key], f"a tuple of finite numbers, each {least} or more{limit}")
    for size in stages.get("schedule.resolution", ()):
        full = values["data.resolution"]
        _require(full % size == 0, "schedule.resolution", stages["schedule.resolution"],
                 f"a tuple of divisors of data.resolution, which is {full}")
    warmup, steps = stages.get("schedule.warmup_steps", ()), stages.get("schedule.steps", ())
    _require(all(w < s for w, s in zip(warmup, steps, strict=False)), "schedule.warmup_steps",
             warmup, f"below schedule.steps, which is {steps}, stage by stage")


def _check_number(values: Mapping[str, Any], key: str, allowed: Any, sentence: str) -> None:
    if key in values:
        _require(_is_number(values[key]) and allowed(values[key]), key, values[key], sentence)


def _require(fine: bool, key: str, value: Any, allowed: str) -> None:
    if not fine:
        raise ValueError(f"{key} is {value!r}, but must be {allowed}.")


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)


def _is_whole(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)
