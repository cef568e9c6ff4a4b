"""What a checkpoint says of itself: format, versions of packages, config, and checksums of it all.

| format | what is in it                                                                    |
|--------|----------------------------------------------------------------------------------|
| 1      | `state` and `iterator`; read as it is, without checksums                         |
| 2      | `record` beside them, which is JSON, with a checksum of each array               |
| 3      | checksums of the place in the data and of the record itself, and the step, too   |

A checksum is a CRC-32C: of an array's bytes, of the place's JSON, and of the record's other
entries. Files that hold none of these, such as those in which orbax says where arrays are, are
held by what is read through them. Orbax has no checksums: of 60 checkpoints with one flipped bit 14
were read without an error, with other parameters; see `benchmarks.bit_flips`.

A checkpoint of parameters alone (parameters_only.py) has in its record `holds`: "parameters", and
neither place nor iterator.

From format 3 on every record has the entry `checksum`, so that a damaged one is told from one of a
later version.
"""

import json
import pathlib
import platform
from collections.abc import Mapping
from importlib import metadata
from typing import Any

import google_crc32c
import jax
import numpy as np
from absl import logging

from parts_jax.runs import configuration, earlier_configs

FORMAT = 3
PARAMETERS = "parameters"  # the entry `holds` of a checkpoint of these alone
PACKAGES = ("parts_jax", "flax", "grain", "jax", "jaxlib", "numpy", "optax", "orbax-checkpoint")


# What orbax writes beside the items of a checkpoint: their names, among other things.
ORBAX_FILE = "_CHECKPOINT_METADATA"


class UnreadableError(ValueError):
    """A checkpoint is damaged, or of another model."""


class FormatError(ValueError):
    """A checkpoint is of a format that this version does not know, or has not what is needed."""


def make(step: int, state: Any, place: Any, config: Mapping[str, Any]) -> dict[str, Any]:
    """The record of a checkpoint, for JSON.

    Args:
      step: of the checkpoint.
      state: pytree of arrays.
      place: in the data, by the iterator's `get_state`.
      config: nested dict, of the run.
    """
    record = {"format": FORMAT, "step": step, "versions": versions(), "config": config,
              "checksums": checksums(state), "place": json_checksum(place)}
    return sealed(record)


def sealed(record: Mapping[str, Any]) -> dict[str, Any]:
    """A record with the checksum of its other entries."""
    return record | {"checksum": json_checksum(record)}


def read(folder: pathlib.Path, what: str) -> dict[str, Any]:
    """Returns what a checkpoint says of itself; {} for format 1, which says nothing.

    Args:
      folder: of the checkpoint, named by its step.
      what: names it in the message.

    Raises:
      UnreadableError: it is damaged, or another checkpoint's.
      FormatError: it is of a format of the future.
    """
    if not (folder / "record").exists():
        _check_has_no_record(folder, what)
        return {}
    try:
        record = dict(json.loads((folder / "record" / "metadata").read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError, RecursionError) as error:
        raise UnreadableError(f"{what} cannot be read: its record is damaged ({error}).") from error
    _check_whole(record, what)
    check_format(record, what)
    for part in ("checksums", "versions"):
        if not isinstance(record.get(part), dict):
            raise UnreadableError(f"{what} cannot be read: its record has no {part} by name.")
    if record.get("step", int(folder.name)) != int(folder.name):
        raise UnreadableError(f"{what} cannot be read: it is that of step {record['step']}, put in "
                              "its place.")
    return record


def _check_has_no_record(folder: pathlib.Path, what: str) -> None:
    """Raises an UnreadableError unless a checkpoint was made without a record, in format 1."""
    try:
        items = json.loads((folder / ORBAX_FILE).read_text(encoding="utf-8"))["item_handlers"]
        never = "record" not in items and "state" in items
    except (OSError, ValueError, TypeError, KeyError, RecursionError) as error:
        raise UnreadableError(f"{what} cannot be read: it has no record, and whether it had one is "
                              f"not known, as its {ORBAX_FILE} is damaged ({error}).") from error
    if not never:
        raise UnreadableError(f"{what} cannot be read: its record is gone.")


def _check_whole(record: Mapping[str, Any], what: str) -> None:
    """Raises an UnreadableError if a record is not as it was written, as far as its format says."""
    others = {key: value for key, value in record.items() if key != "checksum"}
    if "checksum" in record:
        whole = record["checksum"] == json_checksum(others)
    else:
        whole = record.get("format") == 2 and {"versions", "config", "checksums"} == (
            others.keys() - {"format"})
    if not whole:
        raise UnreadableError(f"{what} cannot be read: its record is damaged, as its bytes are not "
                              "those that were saved.")


def json_checksum(value: Any) -> int:
    """CRC-32C of what JSON keeps of a value, however that is spaced and ordered."""
    kept = json.loads(json.dumps(value))  # lists for tuples, names for numbers as keys
    return google_crc32c.value(json.dumps(kept, sort_keys=True).encode())


def versions() -> dict[str, str]:
    """Versions of Python and of the packages that training rests on; "?" for a mere folder.

    A checkout that runs without being installed has no version, nor has one beside wheels that were
    only unpacked: no reason to lose a run at its first checkpoint.
    """
    def version(name: str) -> str:
        try:
            return metadata.version(name)
        except metadata.PackageNotFoundError:
            return "?"

    return {"python": platform.python_version()} | {name: version(name) for name in PACKAGES}


def checksums(tree: Any) -> dict[str, int]:
    """CRC-32C of each array of a pytree, by its dotted path."""
    leaves = jax.tree_util.tree_leaves_with_path(jax.device_get(tree))
    return {jax.tree_util.keystr(path, simple=True, separator="."):
            google_crc32c.value(np.ascontiguousarray(leaf).tobytes()) for path, leaf in leaves}


def check_format(record: Mapping[str, Any], what: str) -> None:
    """Raises a FormatError for a format of the future.

    Args:
      record: as `make` returns it; {} for format 1.
      what: names the checkpoint in the message.
    """
    found = record.get("format", 1)
    if found not in range(1, FORMAT + 1):
        raise FormatError(
            f"{what} is of format {found!r}, written by parts_jax "
            f"{record.get('versions', {}).get('parts_jax', 'of an unknown version')}; this is "
            f"parts_jax {metadata.version('parts_jax')}, which reads formats 1 to {FORMAT}. "
            "Install that version or a later one.")


def check_is_whole(record: Mapping[str, Any], what: str) -> None:
    """Raises a FormatError if a checkpoint holds parameters alone, so that no run can go on."""
    if record.get("holds") == PARAMETERS:
        raise FormatError(
            f"{what} holds parameters alone, as trained models that are passed on do, so no run "
            "can go on from it. To start a new run from them, give another --workdir, and this one "
            "as --config.train.init_from.")


def check_shapes(tree: Any, shape: Any) -> None:
    """Raises a ValueError if arrays are missing or of another shape, which orbax lets pass.

    Args:
      tree: pytree of arrays, as restored.
      shape: pytree of `jax.ShapeDtypeStruct`s of the form it should have.
    """
    found = dict(jax.tree_util.tree_leaves_with_path(tree))
    for path, leaf in jax.tree_util.tree_leaves_with_path(shape):
        array = found.get(path)
        if not isinstance(array, np.ndarray) or array.shape != leaf.shape:
            got = list(array.shape) if isinstance(array, np.ndarray) else "nothing"
            raise ValueError(f"{jax.tree_util.keystr(path)} should have the shape "
                             f"{list(leaf.shape)}; got {got}")


def check_checksums(tree: Any, record: Mapping[str, Any], what: str) -> None:
    """Raises an UnreadableError if arrays are not those that were saved.

    Args:
      tree: pytree of arrays, with paths as in the whole state.
      record: as `make` returns it; {} for format 1, which has no checksums.
      what: names the checkpoint in the message.
    """
    if not record:
        return
    saved = record["checksums"]
    damaged = [name for name, found in checksums(tree).items() if saved.get(name) != found]
    if damaged:
        raise UnreadableError(f"{what} cannot be read: the bytes of {', '.join(damaged)} are not "
                              "those that were saved.")


def check_place(place: Any, record: Mapping[str, Any], what: str) -> None:
    """Raises an UnreadableError if a place in the data is not the one that was saved.

    Args:
      place: for the iterator's `set_state`.
      record: as `make` returns it; of formats 1 and 2, which say nothing of it, every place passes.
      what: names the checkpoint in the message.
    """
    if "place" in record and record["place"] != json_checksum(place):
        raise UnreadableError(f"{what} cannot be read: the place in the data is not the one that "
                              "was saved.")


def check_config(record: Mapping[str, Any], config: Mapping[str, Any], what: str) -> None:
    """Compares the config of a checkpoint with that of the run that goes on from it.

    Args:
      record: as `make` returns it, in this version or an earlier one; {} for format 1.
      config: of the run that goes on.
      what: names the checkpoint in the message.

    Raises:
      configuration.DifferentConfigError: they differ; it names the keys.
      UnreadableError: what the record has is no config.
    """
    if not record:
        return
    try:
        there = earlier_configs.modernised(record["config"])
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        raise UnreadableError(f"{what} cannot be read: the config in its record is damaged "
                              f"({error}).") from error
    configuration.check_same(there, config, f"{what} is of a run")


def note_versions(record: Mapping[str, Any]) -> None:
    """Logs which packages have other versions than when the checkpoint was saved."""
    saved, now = record.get("versions", {}), versions()
    changed = [f"{name} {saved[name]} then, {now.get(name, 'none')} now" for name in saved
               if saved[name] != now.get(name)]
    if changed:
        logging.warning("The run goes on with other packages than it was saved with, so it may not "
                        "end bit for bit as it would have: %s.", "; ".join(changed))
