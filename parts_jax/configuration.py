"""Reads, checks and keeps a run's configuration.

Configs are Python files under configs/ that make an `ml_collections.ConfigDict`. What a run was
started with is kept as `config.json` in its workdir and read back from there: as data, so that no
Python of an old run is executed.

All faults of the user's are raised as `ValueError`s or `OSError`s whose message is a full sentence
with the key, the value received and what is allowed.
"""

import difflib
import json
import math
import os
import pathlib
import runpy
import tempfile
from collections.abc import Mapping
from typing import Any

import ml_collections

FILE_NAME = "config.json"

# What may differ between two starts of the same run: none of it changes the trained parameters.
FREE_KEYS = (
    *("eval.", "data.data_dir", "data.download", "data.num_threads"),
    *("train.checkpoint_every", "train.evaluate_every", "train.keep_checkpoints"),
    *("train.log_every", "train.max_bad_steps"),
)
# What --mode=evaluate may set on top of the config that the model was trained with.
EVALUATION_KEYS = ("data.", "eval.")

# Keys of `eval` that runs of before did not have, with what they did.
LATER_KEYS = {"burn_in": 4, "rollout_steps": 0}

# Whole numbers and the least that each may be. A key that a config does not have is not checked:
# another model has other keys.
LEAST = {
    "seed": 0,
    "data.num_frames": 2,
    "data.stride": 1,
    "data.resolution": 1,
    "data.num_threads": 0,
    "model.num_slots": 1,
    "model.slot_size": 1,
    "model.action_size": 0,
    "model.beta_pixels": 1,
    "model.num_refinements": 1,
    "model.truncation": 1,
    "model.unroll": 1,
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
    "schedule.beta_warmup_steps": 0,
    "train.batch_size": 1,
    "train.log_every": 1,
    "train.evaluate_every": 1,
    "train.checkpoint_every": 1,
    "train.keep_checkpoints": 1,
    "train.max_bad_steps": 1,
    "eval.step": -1,
    "eval.batch_size": 1,
    "eval.num_sequences": 0,
    "eval.num_pictures": 0,
    "eval.burn_in": 1,
    "eval.rollout_steps": 0,
}
POSITIVE = ("model.sigma_x", "optimizer.clip_norm")
NOT_NEGATIVE = ("model.beta", "model.attention.update_scale", "model.decoder.shade")
SHARES = ("schedule.beta_warmup_start",)  # from 0 to 1, both allowed
DECAYS = ("optimizer.decay", "optimizer.momentum")  # from 0 to 1, 1 not allowed
ODD = ("model.decoder.kernel_size", "model.encoder.kernel_size")
WIDTHS = ("model.decoder.channels", "model.encoder.channels", "model.attention.mlp")
CHOICES = {
    "model.dtype": ("float32", "bfloat16"),
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
    "schedule.beta_scale": (0.0, None),
}


def read(path_and_variant: str) -> ml_collections.ConfigDict:
    """Runs `get_config` of a config file and returns its config, locked.

    Args:
      path_and_variant: "FILE" or "FILE:variant", as --config is given.

    Raises:
      FileNotFoundError: there is no such file.
      ValueError: the file has no `get_config`, or no such variant.
    """
    path, colon, variant = path_and_variant.partition(":")
    if not os.path.isfile(path):
        raise FileNotFoundError(f"There is no config file {path!r} (in {os.getcwd()}).")
    get_config = runpy.run_path(path).get("get_config")
    if get_config is None:
        raise ValueError(f"{path} has no function get_config, so it is no config file.")
    if not colon:
        return get_config().lock()
    if get_config.__code__.co_argcount == 0:
        raise ValueError(f"{path} has no variants, but was asked for {variant!r}.")
    return get_config(variant).lock()


def check_key(config: ml_collections.ConfigDict, key: str) -> None:
    """Raises a ValueError that names the nearest key if `config` has no dotted `key`."""
    known = flatten(config)
    sections = {name.rsplit(".", n)[0] for name in known for n in range(1, name.count(".") + 1)}
    if key in known or key in sections:
        return
    leaf = key.rsplit(".", 1)[-1]
    near = [name for name in known if name.rsplit(".", 1)[-1] == leaf]
    near += difflib.get_close_matches(key, known, n=1, cutoff=0.6)
    hint = f"the nearest is {near[0]!r}" if near else f"it has: {', '.join(sorted(known))}"
    raise ValueError(f"The config has no key {key!r}; {hint}.")


def check(config: ml_collections.ConfigDict, num_devices: int) -> None:
    """Raises a ValueError for the first value that no run could use.

    To be called before anything is downloaded, allocated or compiled.

    Args:
      config: as of configs/.
      num_devices: number of devices of all processes together, over which batches are divided.
    """
    values = flatten(config)
    _check_single_values(values)
    _check_stages(values)
    width, heads = (values.get(f"model.transition.{key}") for key in ("width", "num_heads"))
    if width and heads and width % heads:
        raise ValueError(
            f"model.transition.width is {width} and model.transition.num_heads is {heads}, but "
            "the width must be divisible by the number of heads.")
    for key in ("train.batch_size", "eval.batch_size"):
        if key in values and values[key] % num_devices:
            raise ValueError(
                f"{key} is {values[key]}, which cannot be divided evenly over {num_devices} "
                f"devices; it must be a multiple of {num_devices}.")


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
            _require(values[key] in choices, key, values[key], f"one of {', '.join(choices)}")


def _check_stages(values: Mapping[str, Any]) -> None:
    stages = {key: values[key] for key in STAGES if key in values}
    for key, stage in stages.items():
        _require(isinstance(stage, tuple), key, stage, "a tuple, one entry per stage")
    if len({len(stage) for stage in stages.values()}) > 1 or not all(stages.values()):
        lengths = ", ".join(f"{key} has {len(stage)}" for key, stage in stages.items())
        raise ValueError(
            f"The schedule needs one or more stages, and one entry per stage, but {lengths}.")
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


def flatten(config: Mapping[str, Any]) -> dict[str, Any]:
    """Returns {dotted key: value} of a nested config, in its order; lists become tuples."""
    flat = {}
    for key, value in config.items():
        if isinstance(value, (Mapping, ml_collections.ConfigDict)):
            flat.update({f"{key}.{inner}": v for inner, v in flatten(value).items()})
        else:
            flat[key] = _tuples(value)
    return flat


def _tuples(value: Any) -> Any:
    return tuple(_tuples(v) for v in value) if isinstance(value, (list, tuple)) else value


def differences(a: Mapping[str, Any], b: Mapping[str, Any]) -> list[tuple[str, Any, Any]]:
    """Returns (dotted key, value in a, value in b) where two configs differ, sorted by key.

    A key that one of them does not have stands with the value "(absent)" there.
    """
    flat_a, flat_b = flatten(a), flatten(b)
    pairs = ((key, flat_a.get(key, "(absent)"), flat_b.get(key, "(absent)"))
             for key in sorted(flat_a.keys() | flat_b.keys()))
    return [(key, of_a, of_b) for key, of_a, of_b in pairs if of_a != of_b]


def to_json(config: ml_collections.ConfigDict) -> str:
    """Returns the config as JSON text; tuples become lists."""
    return json.dumps(config.to_dict(), indent=2) + "\n"


def from_json(text: str) -> ml_collections.ConfigDict:
    """Reads what `to_json` wrote: a locked ConfigDict, with lists as tuples and `LATER_KEYS`."""
    def restore(value: Any) -> Any:
        if isinstance(value, dict):
            return {key: restore(inner) for key, inner in value.items()}
        return _tuples(value)

    values = restore(json.loads(text))
    values["eval"] = LATER_KEYS | values.get("eval", {})
    return ml_collections.ConfigDict(values).lock()


def load(workdir: str) -> ml_collections.ConfigDict:
    """Returns the config that the run in `workdir` was started with.

    Raises:
      FileNotFoundError: `workdir` holds no run.
      ValueError: its config.json cannot be read.
    """
    path = pathlib.Path(workdir) / FILE_NAME
    if not path.is_file():
        raise FileNotFoundError(f"{workdir!r} holds no run: it has no file {FILE_NAME}.")
    try:
        return from_json(path.read_text(encoding="utf-8"))
    except (json.JSONDecodeError, AttributeError, TypeError) as error:
        raise ValueError(f"{path} cannot be read as a config: {error}.") from error


def for_evaluation(trained: ml_collections.ConfigDict,
                   overrides: Mapping[str, Any]) -> ml_collections.ConfigDict:
    """Returns a trained model's config with `overrides` of eval.* and data.* applied.

    Raises:
      ValueError: an override would change something else than its present value.
    """
    config = trained.copy_and_resolve_references()
    for key, value in overrides.items():
        check_key(trained, key)
        if key.startswith(EVALUATION_KEYS):
            config.update_from_flattened_dict({key: value})
        elif flatten(trained)[key] != _tuples(value):
            raise ValueError(
                f"--config.{key}={value} would change the trained model, which has "
                f"{flatten(trained)[key]!r}; only eval.* and data.* can be set to evaluate it."
            )
    return config.lock()


def check_workdir(workdir: str, config: ml_collections.ConfigDict) -> None:
    """Raises a ValueError if `workdir` holds a run with another config; writes nothing.

    Other is a config that differs in something that changes the trained parameters, so not in
    `FREE_KEYS`.
    """
    if not (pathlib.Path(workdir) / FILE_NAME).is_file():
        return
    rows = [row for row in differences(load(workdir), config) if not row[0].startswith(FREE_KEYS)]
    if rows:
        table = "\n".join(f"  {key}: {old!r} there, {new!r} now" for key, old, new in rows)
        raise ValueError(
            f"{workdir!r} holds a run with another config, which this run cannot go on from. "
            f"Give another --workdir, or the same config. They differ in:\n{table}"
        )


def claim_workdir(workdir: str, config: ml_collections.ConfigDict) -> None:
    """Makes `workdir` the place of a run with this config: creates it and writes config.json.

    Where a run with the same config (but for `FREE_KEYS`) is there already, this run goes on
    from it, and config.json takes the new values of the free keys.

    Raises:
      ValueError: it holds a run with another config; see `check_workdir`.
      OSError: it cannot be created or written to.
    """
    check_workdir(workdir, config)
    try:
        os.makedirs(workdir, exist_ok=True)
        _write_atomically(pathlib.Path(workdir) / FILE_NAME, to_json(config))
    except OSError as error:
        reason = error.strerror or error
        raise type(error)(f"The workdir {workdir!r} cannot be written to: {reason}.") from error


def _write_atomically(path: pathlib.Path, text: str) -> None:
    """Writes `text` so that a reader, or a crash, finds the old or the new file, never a half."""
    with tempfile.NamedTemporaryFile(
        "w", encoding="utf-8", dir=path.parent, prefix=f".{path.name}.", delete=False
    ) as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    os.chmod(file.name, 0o644)
    os.replace(file.name, path)
