"""Reads, keeps and compares the configurations of runs; what they may hold: config_rules.py.

Configs are Python files under configs/ that make an `ml_collections.ConfigDict`. What a run was
started with is kept as `config.json` in its workdir and read back from there: as data, so that no
Python of an old run is executed.

All faults of the user's are raised as `ValueError`s or `OSError`s whose message is a full sentence
with the key, the value received and what is allowed.
"""

import contextlib
import difflib
import json
import os
import pathlib
import runpy
import sys
import traceback
import types
from collections.abc import Iterator, Mapping
from typing import Any

import ml_collections

from parts_jax.files import json_text, whole
from parts_jax.runs import earlier_configs

FILE_NAME = "config.json"
SECTIONS = ("data", "eval", "model", "optimizer", "schedule", "train")

# What may differ between two starts of the same run: none of it changes the trained parameters.
FREE_KEYS = (
    *("eval.", "data.data_dir", "data.download", "data.max_bytes", "data.num_threads"),
    "data.prepared",  # see kept_data.py
    *("train.checkpoint_every", "train.evaluate_every", "train.keep_checkpoints"),
    *("train.log_every", "train.max_bad_steps"),
)
# What --mode=evaluate may set on top of the config that the model was trained with, and what of it
# it may not: the shapes of parameters depend on it.
EVALUATION_KEYS = ("data.", "eval.")
TRAINED_KEYS = ("data.action_size",)

# What a prepared set is made by: with another value of one of them it is another set.
SOURCE_KEYS = ("data.name", "data.source_dir", "data.skip_bad", "data.camera", "data.actions")


class DifferentConfigError(ValueError):
    """A run, or a checkpoint, is of another config than the one that would go on from it."""


def read(path_and_variant: str) -> ml_collections.ConfigDict:
    """Runs `get_config` of a config file and returns its config, locked.

    Args:
      path_and_variant: "FILE" or "FILE:variant", as --config is given.

    Raises:
      FileNotFoundError: there is no such file.
      ValueError: the file cannot be run, has no `get_config`, or no such variant.
    """
    path, colon, variant = path_and_variant.partition(":")
    if not os.path.isfile(path):
        if os.path.isfile(path_and_variant):
            raise ValueError("The path of a config file may hold no colon, as a variant's name "
                             f"stands behind it; got {path_and_variant!r}.")
        raise FileNotFoundError(f"There is no config file {path!r} (in {os.getcwd()}).")
    with importable_siblings(path):
        try:
            get_config = runpy.run_path(path).get("get_config")
        except Exception as error:  # whatever the user's Python raises
            raise ValueError(f"The config file {path} cannot be run: {_where(error, path)}."
                             ) from error
        if not isinstance(get_config, types.FunctionType):
            raise ValueError(f"{path} has no function get_config, so it is no config file.")
        if colon and get_config.__code__.co_argcount == 0:
            raise ValueError(f"{path} has no variants, but was asked for {variant!r}.")
        try:
            config = get_config(variant) if colon else get_config()
        except ValueError:
            raise  # such as of a variant that there is not
        except Exception as error:
            raise ValueError(f"get_config of {path} fails: {_where(error, path)}.") from error
    if not isinstance(config, ml_collections.ConfigDict):
        raise ValueError(f"get_config of {path} must return an ml_collections.ConfigDict; got "
                         f"{type(config).__name__}.")
    return config.lock()


def _where(error: Exception, path: str) -> str:
    """An error of a file's Python, with the line of the file that it came from."""
    lines = [frame.lineno for frame in traceback.extract_tb(error.__traceback__)
             if frame.filename == path]
    return f"{type(error).__name__}: {error}" + (f" (line {lines[-1]})" if lines else "")


@contextlib.contextmanager
def importable_siblings(path: str) -> Iterator[None]:
    """Lets a config file that runs in here import those beside it, from whatever directory.

    Files in configs/ do so by `from configs import NAME`.

    Args:
      path: of the config file, with or without ":variant".
    """
    folder = os.path.dirname(os.path.dirname(os.path.abspath(path.partition(":")[0])))
    sys.path.insert(0, folder)
    try:
        yield
    finally:
        sys.path.remove(folder)


def check_key(config: ml_collections.ConfigDict, key: str) -> None:
    """Raises a ValueError that names the nearest key if `config` has no dotted `key`."""
    known = flatten(config)
    sections = {name.rsplit(".", n)[0] for name in known for n in range(1, name.count(".") + 1)}
    if key in known or key in sections:
        return
    if key in earlier_configs.MOVED:
        raise ValueError(f"The config has no key {key!r}; it has moved to "
                         f"{earlier_configs.MOVED[key]!r}.")
    leaf = key.rsplit(".", 1)[-1]
    near = [name for name in known if name.rsplit(".", 1)[-1] == leaf]
    near += difflib.get_close_matches(key, known, n=1, cutoff=0.6)
    hint = f"the nearest is {near[0]!r}" if near else f"it has: {', '.join(sorted(known))}"
    raise ValueError(f"The config has no key {key!r}; {hint}.")


def flatten(config: Mapping[str, Any]) -> dict[str, Any]:
    """Returns {dotted key: value} of a nested config, in its order; lists become tuples."""
    flat = {}
    for key, value in config.items():
        if isinstance(value, (Mapping, ml_collections.ConfigDict)):
            flat.update({f"{key}.{inner}": v for inner, v in flatten(value).items()})
        else:
            flat[key] = earlier_configs.tuples(value)
    return flat


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
    """Reads what `to_json` wrote, now or in an earlier version: a locked ConfigDict.

    Raises:
      ValueError: it is no such text.
    """
    values = json_text.parse(text)
    if not isinstance(values, dict):
        raise ValueError("it holds no keys")
    config = ml_collections.ConfigDict(earlier_configs.modernised(values))
    for name in SECTIONS:
        if not isinstance(config.get(name), ml_collections.ConfigDict):
            raise ValueError(f"it has no part {name!r}")
    return config.lock()


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
    except (ValueError, AttributeError, TypeError, KeyError) as error:
        raise ValueError(
            f"{path} cannot be read as a config: {error}. To train on, move it away: the command "
            "that began the run writes it again, and each checkpoint is compared with it."
        ) from error


def for_evaluation(trained: ml_collections.ConfigDict,
                   overrides: Mapping[str, Any]) -> ml_collections.ConfigDict:
    """Returns a trained model's config with `overrides` of eval.* and data.* applied.

    Raises:
      ValueError: an override would change something else than its present value.
    """
    config = trained.copy_and_resolve_references()
    if overrides.keys() & {*SOURCE_KEYS}:
        config.data.prepared = ""  # what the run keeps to is of the other
    for key, value in overrides.items():
        check_key(trained, key)
        if key.startswith(EVALUATION_KEYS) and key not in TRAINED_KEYS:
            config.update_from_flattened_dict({key: value})
        elif flatten(trained)[key] != earlier_configs.tuples(value):
            raise ValueError(
                f"--config.{key}={value} would change the trained model, which has "
                f"{flatten(trained)[key]!r}; only eval.* and data.*, but for "
                f"{', '.join(TRAINED_KEYS)}, can be set to evaluate it."
            )
    return config.lock()


def check_file_of(trained: ml_collections.ConfigDict, config: ml_collections.ConfigDict,
                  overrides: Mapping[str, Any], workdir: str) -> None:
    """Raises a DifferentConfigError if --config names another config than a run was trained with.

    Args:
      trained: the run's.
      config: that of --config, with `overrides` applied.
      overrides: {dotted key: value} from the command line, of which eval.* and data.* may differ.
      workdir: the run's folder.
    """
    asked = tuple(key for key in overrides if key.startswith(EVALUATION_KEYS))
    rows = [row for row in differences(trained, config)
            if not row[0].startswith(FREE_KEYS) and row[0] not in asked]
    if rows:
        raise DifferentConfigError(
            f"--config is not the config that {workdir!r} was trained with, which is evaluated: "
            f"leave --config out, or name its own run by --workdir. They differ in:\n{_rows(rows)}")


def check_workdir(workdir: str, config: ml_collections.ConfigDict) -> None:
    """Raises a ValueError if `workdir` holds a run with another config; writes nothing.

    Other is a config that differs in something that changes the trained parameters, so not in
    `FREE_KEYS`.
    """
    if (pathlib.Path(workdir) / FILE_NAME).is_file():
        check_same(load(workdir), config, f"{workdir!r} holds a run")


def check_same(there: Mapping[str, Any], config: Mapping[str, Any], what: str) -> None:
    """Raises a DifferentConfigError with all keys, but `FREE_KEYS`, in which two configs differ.

    Args:
      there: the config of a run or a checkpoint.
      config: that of this run.
      what: the start of the sentence, such as "'runs/1' holds a run".
    """
    rows = [row for row in differences(there, config) if not row[0].startswith(FREE_KEYS)]
    if rows:
        raise DifferentConfigError(
            f"{what} with another config, which this run cannot go on from. "
            f"Give another --workdir, or the same config. They differ in:\n{_rows(rows)}")


def _rows(rows: list[tuple[str, Any, Any]]) -> str:
    return "\n".join(f"  {key}: {old!r} there, {new!r} now" for key, old, new in rows)


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
        whole.write_whole(pathlib.Path(workdir) / FILE_NAME, to_json(config))
    except OSError as error:
        reason = error.strerror or error
        raise type(error)(f"The workdir {workdir!r} cannot be written to: {reason}.") from error
