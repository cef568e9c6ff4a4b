"""Goes on from the newest checkpoint that is whole, and says loudly if it is not the newest."""

import pathlib
from collections.abc import Mapping
from typing import Any

import jax
import orbax.checkpoint as ocp
from absl import logging
from jax.experimental import multihost_utils

from parts_jax.runs import checkpoint

DAMAGED = "damaged"  # folder of the workdir


def restore_newest(workdir: str, manager: ocp.CheckpointManager, state_shape: Any, iterator: Any,
                   config: Mapping[str, Any]) -> Any:
    """Restores the newest checkpoint that is whole.

    Newer ones, which are damaged, are moved to the folder `damaged` of the workdir, with a message
    in the log; if none is whole, they stay where they are.

    Args:
      workdir: the run's folder.
      manager, state_shape, iterator, config: as for `checkpoint.restore`.

    Returns:
      As `checkpoint.restore`.

    Raises:
      UnreadableError: no checkpoint is whole.
      ValueError: the newest whole one is of another config, or of an unknown format.
    """
    damaged = []
    for step in sorted(manager.all_steps(), reverse=True):
        try:
            state = checkpoint.restore(manager, state_shape, iterator, step, config)
        except checkpoint.UnreadableError as error:
            logging.error("%s", error)
            damaged.append(step)
            last_error = error
            continue
        _set_aside(workdir, manager, damaged)
        return state
    raise checkpoint.UnreadableError(
        f"No checkpoint in {str(manager.directory)!r} can be read. To train from the start, give "
        "another --workdir.") from last_error


def _set_aside(workdir: str, manager: ocp.CheckpointManager, steps: list[int]) -> None:
    """Moves damaged checkpoints away, so that their steps can be saved again."""
    if not steps:
        return
    if jax.process_index() == 0:
        folder = pathlib.Path(workdir) / DAMAGED
        folder.mkdir(exist_ok=True)
        for step in steps:
            names = (f"{step}{suffix}" for suffix in ("", *(f"-{n}" for n in range(1, 1000))))
            free = next(folder / name for name in names if not (folder / name).exists())
            (pathlib.Path(manager.directory) / str(step)).rename(free)
            logging.error("The damaged checkpoint of step %d is moved to %s; the run goes on from "
                          "the one before.", step, free)
    multihost_utils.sync_global_devices("damaged checkpoints are moved")
    manager.reload()
