"""What a checkpoint says of itself: its format, versions of packages, config, and checksums.

| format | what is in it                                                                    |
|--------|----------------------------------------------------------------------------------|
| 1      | `state` and `iterator`; read as it is, without checksums                         |
| 2      | `record` beside them, which is JSON: what `make` returns                         |

A checksum is the CRC-32C of an array's bytes. Orbax has none: of 60 checkpoints with one flipped
bit 14 were read without an error, with other parameters; with checksums, of 120 none.
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

from parts_jax.runs import configuration

FORMAT = 2
PACKAGES = ("parts_jax", "flax", "grain", "jax", "jaxlib", "numpy", "optax", "orbax-checkpoint")


class UnreadableError(ValueError):
    """A checkpoint is damaged, or of another model."""


class FormatError(ValueError):
    """A checkpoint is of a format that this version does not know."""


def make(state: Any, config: Mapping[str, Any]) -> dict[str, Any]:
    """The record of a checkpoint, for JSON.

    Args:
      state: pytree of arrays.
      config: nested dict, of the run.
    """
    return {"format": FORMAT, "versions": versions(), "config": config,
            "checksums": checksums(state)}


def read(folder: pathlib.Path, what: str) -> dict[str, Any]:
    """Returns what a checkpoint says of itself; {} for format 1, which says nothing.

    Args:
      folder: of the checkpoint.
      what: names it in the message.

    Raises:
      UnreadableError: it is damaged.
    """
    if not (folder / "record").exists():
        return {}
    try:
        record = json.loads((folder / "record" / "metadata").read_text(encoding="utf-8"))
        return dict(record)
    except (OSError, ValueError, TypeError) as error:
        raise UnreadableError(f"{what} cannot be read: its record is damaged ({error}).") from error


def versions() -> dict[str, str]:
    """Versions of Python and of the packages that training rests on; "?" for a mere folder of files.

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


def check_checksums(tree: Any, record: Mapping[str, Any], what: str) -> None:
    """Raises a ValueError if arrays are not those that were saved.

    Args:
      tree: pytree of arrays, with paths as in the whole state.
      record: as `make` returns it; {} for format 1, which has no checksums.
      what: names the checkpoint in the message.
    """
    saved = record.get("checksums", {})
    damaged = [name for name, found in checksums(tree).items() if saved.get(name, found) != found]
    if damaged:
        raise ValueError(f"{what} is damaged: the bytes of {', '.join(damaged)} are not those that "
                         "were saved")


def check_config(record: Mapping[str, Any], config: Mapping[str, Any], what: str) -> None:
    """Raises a ValueError that names the keys in which a checkpoint's config differs.

    Args:
      record: as `make` returns it, in this version or an earlier one; {} for format 1.
      config: of the run that goes on.
      what: names the checkpoint in the message.
    """
    if "config" in record:
        there = configuration.modernised(record["config"])
        configuration.check_same(there, config, f"{what} is of a run")


def note_versions(record: Mapping[str, Any]) -> None:
    """Logs which packages have other versions than when the checkpoint was saved."""
    saved, now = record.get("versions", {}), versions()
    changed = [f"{name} {saved[name]} then, {now.get(name, 'none')} now" for name in saved
               if saved[name] != now.get(name)]
    if changed:
        logging.warning("The run goes on with other packages than it was saved with, so it may not "
                        "end bit for bit as it would have: %s.", "; ".join(changed))
