"""Saves and restores training: the train state and the data iterator together, by orbax.

A checkpoint is a folder `checkpoints/<step>` of the workdir. It is written under another name and
renamed when complete, so that a run killed at any moment leaves its former checkpoints readable.

Arrays come back as numpy arrays on the host: whoever restores them places them on devices, so
that a run may go on with another number of devices, or processes, than it was saved with.
"""

import json
import os
import pathlib
import time
from collections.abc import Iterator
from typing import Any

import grain
import jax
import numpy as np
import orbax.checkpoint as ocp
from absl import logging

FOLDER = "checkpoints"
NEWEST = -1


class UnreadableError(ValueError):
    """A checkpoint is damaged, or of another model."""


def open_checkpoints(workdir: str, keep: int | None = None) -> ocp.CheckpointManager:
    """Opens the checkpoints of a workdir.

    Args:
      workdir: the run's folder.
      keep: how many checkpoints to keep, the newest; for training. Checkpoints that a killed run
        left half-written are removed. With None, for evaluation: nothing in the folder is changed,
        and nothing can be saved, so that it may be read while training goes on.

    Returns:
      orbax's manager: `close()` it at the end, which waits for a save that is going on.
    """
    folder = os.path.abspath(os.path.join(workdir, FOLDER))
    if keep is None:
        options = ocp.CheckpointManagerOptions(
            read_only=True, save_interval_steps=0, create=False
        )
    else:
        options = ocp.CheckpointManagerOptions(max_to_keep=keep, cleanup_tmp_directories=True)
    logger = logging.get_absl_logger()
    if keep is None:  # orbax warns that what was asked for is done
        logger.addFilter(_is_error)
    try:
        return ocp.CheckpointManager(folder, options=options)
    finally:
        logger.removeFilter(_is_error)


def _is_error(record: Any) -> bool:
    return record.levelname in ("ERROR", "CRITICAL")


def save(manager: ocp.CheckpointManager, step: int, state: Any, iterator: Any) -> bool:
    """Starts to save; returns when the arrays are copied, so they may be donated at once.

    Args:
      manager: from `open_checkpoints` with `keep`.
      step: number of steps taken so far.
      state: pytree of arrays with an attribute `params`, such as `types.TrainState`.
      iterator: grain iterator over the training data; its position now is saved.

    Returns:
      False if there is a checkpoint of this step or a later one already, and nothing was saved.

    Raises:
      Exception: an error of the save before this one, which went on in the background.
    """
    args = ocp.args.Composite(
        state=ocp.args.PyTreeSave(state), iterator=grain.checkpoint.CheckpointSave(iterator)
    )
    return manager.save(step, args=args)


def latest_step(manager: ocp.CheckpointManager) -> int | None:
    """Returns the step of the newest complete checkpoint, or None."""
    return manager.latest_step()


def wait(manager: ocp.CheckpointManager) -> None:
    """Waits until the save that is going on, if any, is complete; raises its error, if any."""
    manager.wait_until_finished()


def restore(
    manager: ocp.CheckpointManager, state_shape: Any, iterator: Any, step: int | None = None
) -> Any:
    """Returns the saved state, and sets `iterator` to where it was.

    Args:
      manager: from `open_checkpoints`.
      state_shape: pytree of `jax.ShapeDtypeStruct`s (`jax.eval_shape`) of the state's form.
      iterator: grain iterator made as for the saved run; its next item will be the one that
        would have come next then.
      step: which checkpoint; None: the newest.

    Returns:
      a pytree of numpy arrays, of the form of `state_shape`.

    Raises:
      FileNotFoundError: there is no such checkpoint.
      UnreadableError: it does not hold the iterator's place.
    """
    step = _existing_step(manager, NEWEST if step is None else step)
    restored = manager.restore(step, args=ocp.args.Composite(state=_restore_args(state_shape)))
    # All processes are at the same place of their shares, so the first one's file does for any
    # number of them; grain would look for a file of this very number.
    folder = pathlib.Path(manager.directory) / str(step) / "iterator"
    try:
        file, = folder.glob("process_0-of-*.json")
        place = json.loads(file.read_text(encoding="utf-8"))
    except ValueError as error:  # there is none, or it is no JSON
        raise UnreadableError(
            f"The checkpoint of step {step} in {str(manager.directory)!r} is damaged: it does not "
            f"say how far the data were read ({error}).") from error
    iterator.set_state(place)
    iterator.start_prefetch()
    return restored.state


def restore_params(workdir: str, params_shape: Any, step: int = NEWEST) -> tuple[Any, int]:
    """Returns (parameters, step) of a checkpoint; the optimizer's state is not read.

    Args:
      workdir: the run's folder; it is not changed.
      params_shape: pytree of `jax.ShapeDtypeStruct`s of the parameters' form.
      step: which checkpoint; -1: the newest.

    Raises:
      FileNotFoundError: there is no such checkpoint.
      UnreadableError: it is damaged, or its parameters are not of that form.
    """
    step = choose_step(workdir, step)
    args = _restore_args({"params": params_shape}, partial_restore=True)
    try:
        with open_checkpoints(workdir) as manager:
            restored = manager.restore(step, args=ocp.args.Composite(state=args))
        params = restored.state["params"]
        _check_shapes(params, params_shape)
    except Exception as error:  # orbax raises errors of many kinds for files that are damaged
        raise UnreadableError(
            f"The checkpoint of step {step} in {str(workdir)!r} cannot be read: it is damaged, or "
            f"not of the model that config.json describes ({error}).") from error
    return params, step


def choose_step(workdir: str, step: int = NEWEST) -> int:
    """Returns the step of the checkpoint that `step` means; -1: the newest.

    Raises:
      FileNotFoundError: there is no such checkpoint.
    """
    _check_folder(workdir)
    with open_checkpoints(workdir) as manager:
        return _existing_step(manager, step)


def new_steps(workdir: str, last_step: int, seconds: float = 5.0) -> Iterator[int]:
    """Yields the step of each complete checkpoint, oldest first, as another process writes them.

    It ends after `last_step`; until then it waits. What training deletes before its turn comes is
    left out.

    Args:
      workdir: the run's folder; there need not be a checkpoint in it yet.
      last_step: at which training ends.
      seconds: from one look to the next.
    """
    newest = -1
    while newest < last_step:
        steps = [step for step in _steps(workdir) if step > newest]
        if steps:
            newest = steps[0]
            yield newest
        else:
            time.sleep(seconds)


def _steps(workdir: str) -> list[int]:
    if not (pathlib.Path(workdir) / FOLDER).is_dir():
        return []
    with open_checkpoints(workdir) as manager:
        return sorted(manager.all_steps())


def _restore_args(shape: Any, **options: Any) -> ocp.args.PyTreeRestore:
    as_numpy = jax.tree.map(
        lambda leaf: ocp.RestoreArgs(restore_type=np.ndarray, dtype=leaf.dtype), shape
    )
    return ocp.args.PyTreeRestore(shape, restore_args=as_numpy, **options)


def _check_shapes(params: Any, shape: Any) -> None:
    """Raises a ValueError if arrays are missing or of another shape, which orbax lets pass."""
    found = dict(jax.tree_util.tree_leaves_with_path(params))
    for path, leaf in jax.tree_util.tree_leaves_with_path(shape):
        array = found.get(path)
        if not isinstance(array, np.ndarray) or array.shape != leaf.shape:
            got = list(array.shape) if isinstance(array, np.ndarray) else "nothing"
            raise ValueError(f"{jax.tree_util.keystr(path)} should have the shape "
                             f"{list(leaf.shape)}; got {got}")


def _check_folder(workdir: str) -> None:
    if not (pathlib.Path(workdir) / FOLDER).is_dir():
        raise FileNotFoundError(f"There is no checkpoint in {workdir!r}: it has no {FOLDER}/.")


def _existing_step(manager: ocp.CheckpointManager, step: int) -> int:
    steps = sorted(manager.all_steps())
    if not steps:
        raise FileNotFoundError(f"There is no checkpoint in {str(manager.directory)!r}.")
    if step == NEWEST:
        return steps[-1]
    if step not in steps:
        raise FileNotFoundError(
            f"There is no checkpoint of step {step} in {str(manager.directory)!r}; "
            f"it has those of steps {', '.join(map(str, steps))}."
        )
    return step
