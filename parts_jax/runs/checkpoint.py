"""Saves and restores training: train state, data iterator and config together, by orbax.

A checkpoint is a folder `checkpoints/<step>` of the workdir. It is written under another name and
renamed when complete, so that a run killed at any moment leaves its former checkpoints readable.
What it says of itself is in checkpoint_record.py. Nothing in it is ever unpickled: arrays are
read by tensorstore, all else is JSON.

Arrays come back as numpy arrays on the host: whoever restores them places them on devices, so
that a run may go on with another number of devices, or processes, than it was saved with.
"""

import contextlib
import json
import os
import pathlib
import shutil
import time
from collections.abc import Iterator, Mapping
from typing import Any

import grain
import jax
import numpy as np
import orbax.checkpoint as ocp
from absl import logging
from orbax.checkpoint.checkpoint_managers import preservation_policy

from parts_jax.runs import best_checkpoint, checkpoint_record

FOLDER = "checkpoints"
NEWEST, BEST = -1, -2
OVERHEAD = 2**20  # bytes of a checkpoint beside its arrays, about
UnreadableError = checkpoint_record.UnreadableError


class SaveError(OSError):
    """A checkpoint could not be written; those before it are as they were."""


class _Manager(ocp.CheckpointManager):
    """Leaves it to the training loop to ask for TERM (`distributed.preemption_notice`).

    JAX's service wants to be asked once a step, in their order; orbax asks it again, for the step
    of a save, from a thread of its own while later steps are running.
    """

    def reached_preemption(self, step: int) -> bool:
        return False


def open_checkpoints(
    workdir: str, keep: int | None = None, best: best_checkpoint.Best | None = None
) -> ocp.CheckpointManager:
    """Opens the checkpoints of a workdir.

    Args:
      workdir: the run's folder.
      keep: how many checkpoints to keep, the newest; for training. Checkpoints that a killed run
        left half-written are removed. With None, for evaluation: nothing in the folder is changed,
        and nothing can be saved, so that it may be read while training goes on.
      best: keeps one more, the best.

    Returns:
      orbax's manager: `close()` it at the end, which waits for a save that is going on.
    """
    folder = os.path.abspath(os.path.join(workdir, FOLDER))
    if keep is None:
        options = ocp.CheckpointManagerOptions(
            read_only=True, save_interval_steps=0, create=False
        )
    else:
        kept = [preservation_policy.LatestN(keep), *([best] if best else [])]
        options = ocp.CheckpointManagerOptions(
            preservation_policy=preservation_policy.AnyPreservationPolicy(kept),
            cleanup_tmp_directories=True,
        )
    logger = logging.get_absl_logger()
    if keep is None:  # orbax warns that what was asked for is done
        logger.addFilter(_is_error)
    try:
        return _Manager(folder, options=options)
    finally:
        logger.removeFilter(_is_error)


def _is_error(record: Any) -> bool:
    return record.levelname in ("ERROR", "CRITICAL")


def check_room(workdir: str, state_shape: Any, keep: int) -> None:
    """Raises a SaveError if the disk has no room for the checkpoints that a run keeps.

    Args:
      workdir: the run's folder, which is there.
      state_shape: pytree of `jax.ShapeDtypeStruct`s of the state's form.
      keep: how many checkpoints are kept at a time. One more is written before one is deleted.
    """
    size = OVERHEAD + sum(s.size * s.dtype.itemsize for s in jax.tree.leaves(state_shape))
    needed = max(1, keep + 1 - len(complete_steps(pathlib.Path(workdir) / FOLDER))) * size
    free = shutil.disk_usage(workdir).free
    if free < needed:
        raise SaveError(
            f"The disk of the workdir {workdir!r} has {free / 1e6:.1f} MB left, but {keep} "
            f"checkpoints and one that is being written, of {size / 1e6:.1f} MB each, need "
            f"{needed / 1e6:.1f} MB more. Make room, give another --workdir, or keep fewer: "
            "--config.train.keep_checkpoints.")


def save(manager: ocp.CheckpointManager, step: int, state: Any, iterator: Any,
         config: Mapping[str, Any]) -> bool:
    """Starts to save; returns when the arrays are copied, so they may be donated at once.

    Args:
      manager: from `open_checkpoints` with `keep`.
      step: number of steps taken so far.
      state: pytree of arrays with an attribute `params`, such as `train.TrainState`.
      iterator: grain iterator over the training data; its position now is saved.
      config: nested dict, of the run.

    Returns:
      False if there is a checkpoint of this step or a later one already, and nothing was saved.

    Raises:
      SaveError: of this save, or of the one before, which went on in the background.
    """
    args = ocp.args.Composite(
        state=ocp.args.PyTreeSave(state), iterator=grain.checkpoint.CheckpointSave(iterator),
        record=ocp.args.JsonSave(
            checkpoint_record.make(step, state, iterator.get_state(), config)))
    with _save_errors(manager):
        return manager.save(step, args=args)


@contextlib.contextmanager
def _save_errors(manager: ocp.CheckpointManager) -> Iterator[None]:
    """Turns what orbax raises, which is of many kinds, into a SaveError."""
    try:
        yield
    except Exception as error:
        steps = complete_steps(manager.directory)
        kept = f"That of step {steps[-1]} is complete" if steps else "There is none before it"
        free = shutil.disk_usage(manager.directory).free
        raise SaveError(
            f"A checkpoint could not be written to {str(manager.directory)!r}, where the disk has "
            f"{free / 1e6:.1f} MB left: {_first_line(error)} {kept}; when the cause is mended, the "
            "same command goes on from there.") from error


def _first_line(error: Exception) -> str:
    lines = str(error).splitlines() or [type(error).__name__]
    return lines[0].rstrip(".") + "."


def latest_step(manager: ocp.CheckpointManager) -> int | None:
    """Returns the step of the newest complete checkpoint, or None."""
    return manager.latest_step()


def wait(manager: ocp.CheckpointManager) -> None:
    """Waits until the save that is going on, if any, is complete; raises its SaveError, if any."""
    with _save_errors(manager):
        manager.wait_until_finished()


def close(manager: ocp.CheckpointManager) -> None:
    """Waits as `wait` does, and closes the manager."""
    try:
        wait(manager)
    finally:
        with contextlib.suppress(Exception):  # the same error once more
            manager.close()


@contextlib.contextmanager
def closing(manager: ocp.CheckpointManager) -> Iterator[None]:
    """Closes the manager at the end of a block, as `close` does."""
    try:
        yield
    finally:
        close(manager)


def restore(
    manager: ocp.CheckpointManager, state_shape: Any, iterator: Any, step: int | None = None,
    config: Mapping[str, Any] | None = None
) -> Any:
    """Returns the saved state, and sets `iterator` to where it was.

    Args:
      manager: from `open_checkpoints`.
      state_shape: pytree of `jax.ShapeDtypeStruct`s (`jax.eval_shape`) of the state's form.
      iterator: grain iterator made as for the saved run; its next item will be the one that
        would have come next then.
      step: which checkpoint; None: the newest.
      config: of the run that goes on; None: not compared with that of the checkpoint.

    Returns:
      a pytree of numpy arrays, of the form of `state_shape`.

    Raises:
      FileNotFoundError: there is no such checkpoint.
      UnreadableError: it is damaged.
      ValueError: it is of another config, or of an unknown format.
    """
    wait(manager)
    step = _existing_step(manager, NEWEST if step is None else step)
    folder = pathlib.Path(manager.directory) / str(step)
    what = f"The checkpoint of step {step} in {str(manager.directory)!r}"
    record = checkpoint_record.read(folder, what)
    checkpoint_record.check_is_whole(record, what)
    if config is not None:
        checkpoint_record.check_config(record, config, what)
    try:
        restored = manager.restore(step, args=ocp.args.Composite(state=_restore_args(state_shape)))
        checkpoint_record.check_shapes(restored.state, state_shape)
        checkpoint_record.check_checksums(restored.state, record, what)
        place = _read_place(folder / "iterator")
        checkpoint_record.check_place(place, record, what)
        iterator.set_state(place)
    except UnreadableError:
        raise
    except Exception as error:  # orbax raises errors of many kinds for files that are damaged
        raise UnreadableError(f"{what} cannot be read: {_first_line(error)}") from error
    checkpoint_record.note_versions(record)
    iterator.start_prefetch()
    return restored.state


def _read_place(folder: pathlib.Path) -> Any:
    """The place in the data, for the iterator's `set_state`.

    All processes are at the same place of their shares, so the first one's file does for any number
    of them; grain would look for a file of this very number.
    """
    files = sorted(folder.glob("process_0-of-*.json"))
    if len(files) != 1:
        raise ValueError(f"{folder} must hold the place in the data in one file of process 0; it "
                         f"has {len(files)} such files")
    return json.loads(files[0].read_text(encoding="utf-8"))


def restore_params(workdir: str, params_shape: Any, step: int = NEWEST) -> tuple[Any, int]:
    """Returns (parameters, step) of a checkpoint; the optimizer's state is not read.

    Args:
      workdir: the run's folder; it is not changed.
      params_shape: pytree of `jax.ShapeDtypeStruct`s of the parameters' form.
      step: which checkpoint; -1: the newest; -2: the best.

    Raises:
      FileNotFoundError: there is no such checkpoint.
      UnreadableError: it is damaged, or its parameters are not of that form.
    """
    step = choose_step(workdir, step)
    what = f"The checkpoint of step {step} in {str(workdir)!r}"
    record = checkpoint_record.read(pathlib.Path(workdir) / FOLDER / str(step), what)
    args = _restore_args({"params": params_shape}, partial_restore=True)
    try:
        with open_checkpoints(workdir) as manager:
            restored = manager.restore(step, args=ocp.args.Composite(state=args))
        params = restored.state["params"]
        checkpoint_record.check_shapes(params, params_shape)
        checkpoint_record.check_checksums({"params": params}, record, what)
    except UnreadableError:
        raise
    except Exception as error:  # orbax raises errors of many kinds for files that are damaged
        raise UnreadableError(f"{what} cannot be read: it is damaged, or not of the model that "
                              f"config.json describes ({error}).") from error
    return params, step


def choose_step(workdir: str, step: int = NEWEST) -> int:
    """Returns the step of the checkpoint that `step` means; -1: the newest; -2: the best.

    Raises:
      FileNotFoundError: there is no such checkpoint.
    """
    _check_folder(workdir)
    if step == BEST:
        step = best_checkpoint.read(workdir).get("step")
        if step is None:
            raise FileNotFoundError(
                f"No checkpoint in {workdir!r} is known as the best: it has no "
                f"{best_checkpoint.FILE_NAME}, which training writes after an evaluation.")
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
        steps = [step for step in complete_steps(pathlib.Path(workdir) / FOLDER) if step > newest]
        if steps:
            newest = steps[0]
            yield newest
        else:
            time.sleep(seconds)


def complete_steps(folder: str | os.PathLike) -> list[int]:
    """Returns the steps of the complete checkpoints of a folder, which need not be there, sorted.

    Unlike orbax's manager it does not need the checkpoints to be readable.
    """
    folder = pathlib.Path(folder)
    return sorted(int(path.name) for path in folder.glob("*") if path.name.isdecimal())


def _restore_args(shape: Any, **options: Any) -> ocp.args.PyTreeRestore:
    as_numpy = jax.tree.map(
        lambda leaf: ocp.RestoreArgs(restore_type=np.ndarray, dtype=leaf.dtype), shape
    )
    return ocp.args.PyTreeRestore(shape, restore_args=as_numpy, **options)


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
