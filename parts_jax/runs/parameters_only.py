"""Checkpoints of parameters alone: of a model that is passed on, which nobody trains further.

They lack the optimizer's state, two thirds of a checkpoint with Adam, and the place in the data.
Such a one is loaded, evaluated, segmented with and started from (`train.init_from`) as any other;
no run can go on from it. Its record, of the same format, has `holds`: "parameters".
"""

import contextlib
import os
import pathlib
from collections.abc import Mapping
from typing import Any

import jax
import numpy as np
import orbax.checkpoint as ocp

from parts_jax.runs import checkpoint, checkpoint_record


def save(workdir: str | os.PathLike, step: int, params: Any, config: Mapping[str, Any]) -> None:
    """Writes `workdir`/checkpoints/`step`, whole or not at all; returns when it is there.

    Args:
      workdir: the folder, which is there.
      step: of training.
      params: pytree of arrays.
      config: nested dict, of the run.

    Raises:
      OSError: it cannot be written.
    """
    state = {"params": jax.tree.map(np.asarray, params)}
    record = checkpoint_record.sealed({
        "format": checkpoint_record.FORMAT, "step": step, "holds": checkpoint_record.PARAMETERS,
        "versions": checkpoint_record.versions(), "config": config,
        "checksums": checkpoint_record.checksums(state)})
    with checkpoint.open_checkpoints(os.fspath(workdir), keep=1) as manager:
        manager.save(step, args=ocp.args.Composite(
            state=ocp.args.PyTreeSave(state), record=ocp.args.JsonSave(record)))


def check_goes_on(workdir: str | os.PathLike) -> None:
    """Raises a FormatError if training in `workdir` would have to go on from parameters alone."""
    folder = pathlib.Path(workdir) / checkpoint.FOLDER
    for step in checkpoint.complete_steps(folder):
        what = f"The checkpoint of step {step} in {str(workdir)!r}"
        with contextlib.suppress(checkpoint_record.UnreadableError):  # told when it is restored
            checkpoint_record.check_is_whole(checkpoint_record.read(folder / str(step), what), what)
