"""A new run starts from the parameters of another: `train.init_from`.

What is alike by path and shape is taken; all else stays as it was made new, and the log says which
parameters that is, and in which keys of `model` the configs differ: parameters mean something
else with another sigma_x or decay. Number of slots, number of
frames and their size change no parameter's shape; actions do, where the other run had none: they
are the last inputs of the networks that they enter, so all rows but theirs are taken.
Optimizer, step and place in the data are new. A run that has a checkpoint of its own goes on from
that, and the other run may be gone.
"""

import pathlib
from collections.abc import Collection, Mapping, Sequence
from typing import Any, NamedTuple

import jax
import ml_collections
import numpy as np
import orbax.checkpoint as ocp
from absl import logging

from parts_jax import models
from parts_jax.runs import checkpoint, checkpoint_record, configuration, shipped

KEY = "train.init_from"


class Match(NamedTuple):
    """Parameters by path, such as "decoder/basis/kernel", sorted.

    Attributes:
      taken: of the other run.
      but_actions: of the other run but for the last rows, which belong to actions, and are new.
      other_shape: that both have, in shapes that differ; they are new.
      new: that only this run has.
      unused: that only the other run has.
    """

    taken: list[str]
    but_actions: list[str]
    other_shape: list[str]
    new: list[str]
    unused: list[str]


def check(config: ml_collections.ConfigDict, workdir: str) -> None:
    """Reads what `train.init_from` names, and keeps nothing of it; compiles and writes nothing.

    Args:
      config: of the run that is to start.
      workdir: its folder. If it holds a checkpoint, nothing is looked at.

    Raises:
      FileNotFoundError: there is no such run, or no such checkpoint in it.
      ValueError: its checkpoints are damaged, or of an unknown format, or no parameter fits.
    """
    if config.train.init_from and not checkpoint.complete_steps(
            pathlib.Path(workdir) / checkpoint.FOLDER):
        shape = jax.eval_shape(models.create(config).init, jax.random.key(0))
        found, _, where = _read(config.train)
        _compare(_by_path(shape), _by_path(found), where, _added_actions(config))


def start(config: ml_collections.ConfigDict, params: Any) -> Any:
    """Returns new parameters with those that fit of the run that `train.init_from` names.

    All processes of a run read the same files.

    Args:
      config: of the run that starts.
      params: pytree of its new parameters.

    Returns:
      Of the same form, some of it as numpy arrays; `params` itself if the key is empty.

    Raises:
      FileNotFoundError, ValueError: as of `check`.
    """
    if not config.train.init_from:
        return params
    found, step, where = _read(config.train)
    there, here = _by_path(found), _by_path(params)
    match = _compare(here, there, where, _added_actions(config))
    _say(match, here, there, f"{where}, step {step}")
    _say_config(config, where)
    taken, but_actions = set(match.taken), set(match.but_actions)

    def chosen(path, leaf):
        name = _name(path)
        if name in but_actions:
            rows = np.asarray(there[name], leaf.dtype)
            return np.concatenate([rows, np.asarray(leaf[len(rows):])])
        return np.asarray(there[name], leaf.dtype) if name in taken else leaf

    return jax.tree_util.tree_map_with_path(chosen, params)


def _read(c: ml_collections.ConfigDict) -> tuple[Any, int, str]:
    """The other run's parameters, their step, and the run in words.

    For -1 that is the newest checkpoint that can be read; newer ones are told in the log.
    """
    workdir, step = shipped.find_model(c.init_from, KEY), c.init_from_step
    where = f"{KEY}={c.init_from}"
    if not workdir.is_dir():
        raise FileNotFoundError(f"{where}: there is no folder {str(workdir)!r} to start from"
                                f"{shipped.names_hint(c.init_from)}.")
    newest = checkpoint.choose_step(str(workdir), step)
    steps = [newest] if step != checkpoint.NEWEST else reversed(
        checkpoint.complete_steps(workdir / checkpoint.FOLDER))
    last_error = None
    for candidate in steps:
        try:
            params, _ = checkpoint.restore_params(
                str(workdir), saved_shape(workdir, candidate), candidate)
        except checkpoint.UnreadableError as error:
            logging.error("%s: %s", where, error)
            last_error = error
        else:
            return params, candidate, where
    raise checkpoint.UnreadableError(f"{where} has no checkpoint to start from that can be read. "
                                     f"{last_error}") from last_error


def saved_shape(workdir: pathlib.Path, step: int) -> Any:
    """The form of the parameters of a checkpoint, by what it says itself.

    Args:
      workdir: the run.
      step: of the checkpoint, which is there.

    Returns:
      A pytree of `jax.ShapeDtypeStruct`s.

    Raises:
      FormatError: it is of a format of the future.
      UnreadableError: it says nothing that can be read.
    """
    folder = (workdir / checkpoint.FOLDER / str(step)).absolute()
    what = f"The checkpoint of step {step} in {str(workdir)!r}"
    checkpoint_record.read(folder, what)
    try:
        tree = ocp.PyTreeCheckpointHandler().metadata(folder / "state").tree["params"]
        return jax.tree.map(lambda leaf: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype), tree)
    except Exception as error:  # orbax raises errors of many kinds for files that are damaged
        raise checkpoint.UnreadableError(
            f"{what} cannot be read: which parameters it has is not known ({error}).") from error


def _compare(here: Mapping[str, Any], there: Mapping[str, Any], where: str,
             added_actions: int = 0) -> Match:
    """Which parameters are taken; a ValueError if there is none.

    Args:
      here, there: arrays or their shapes, by path, of this run and of the other.
      where: the other, in words.
      added_actions: size of the actions here, if the other has none.
    """
    both = [name for name in here if name in there]
    differ = [name for name in both if here[name].shape != there[name].shape]
    but_actions = [name for name in differ if added_actions and there[name].shape and
                   here[name].shape == (there[name].shape[0] + added_actions,
                                        *there[name].shape[1:])]
    match = Match(*map(sorted, (
        set(both) - set(differ), but_actions, set(differ) - set(but_actions),
        here.keys() - there.keys(), there.keys() - here.keys())))
    if not match.taken:
        raise ValueError(
            f"{where}: none of its {len(there)} parameters has path and shape of one of this "
            f"run's {len(here)}, so nothing would be taken. Only there: "
            f"{_names(match.unused, there)}; only here: {_names(match.new, here)}; in other "
            f"shapes: {_shapes(match.other_shape, here, there, most=3)}.")
    return match


def _say(match: Match, here: Mapping[str, Any], there: Mapping[str, Any], where: str) -> None:
    """Tells the log what became of each parameter."""
    logging.info("%s: %d of %d parameters are taken: %s.", where, len(match.taken), len(here),
                 _names(match.taken, here))
    if match.but_actions:
        logging.info("%s: of %d more all but the rows of the actions, which are new: %s.", where,
                     len(match.but_actions), _names(match.but_actions, here))
    if match.other_shape:
        logging.warning("%s: left new, as they have another shape: %s.", where,
                        _shapes(match.other_shape, here, there))
    if match.new:
        logging.warning("%s: left new, as it has none of that path: %s.", where,
                        _names(match.new, here))
    if match.unused:
        logging.warning("%s: not used, as this run has none of that path: %s.", where,
                        _names(match.unused, there))


def _added_actions(config: ml_collections.ConfigDict) -> int:
    """Size of this run's actions where the other has none, and can say so; else 0."""
    try:
        there = configuration.load(str(shipped.find_model(config.train.init_from, KEY)))
    except (FileNotFoundError, ValueError):
        return 0  # _say_config tells it
    return config.data.action_size if there.data.action_size == 0 else 0


def _say_config(config: ml_collections.ConfigDict, where: str) -> None:
    """Tells the log where the other run's model has another config."""
    try:
        there = configuration.load(str(shipped.find_model(config.train.init_from, KEY)))
    except (FileNotFoundError, ValueError) as error:
        logging.warning("%s: what its config is cannot be told: %s", where, error)
        return
    rows = configuration.differences(there.model, config.model)
    if rows:
        logging.warning("%s: config.model differs: %s.", where, "; ".join(
            f"{key} {of_it!r} there, {own!r} here" for key, of_it, own in rows))


def _shapes(names: Sequence[str], here: Mapping[str, Any], there: Mapping[str, Any],
            most: int | None = None) -> str:
    """Paths with both shapes, in words; no more than `most`."""
    shown = [f"{name} {list(there[name].shape)} there, {list(here[name].shape)} here"
             for name in names[:most]]
    left = len(names) - len(shown)
    return "; ".join([*shown, *([f"and {left} more"] if left else [])]) or "none"


def _names(some: Collection[str], every: Collection[str]) -> str:
    """Paths in words; where all below one are meant, that one: "all" of "decoder/*"."""
    if not some:
        return "none"
    if len(some) == len(every):
        return "all"
    others, shown = set(every) - set(some), []
    for name in some:
        parts = name.split("/")
        prefixes = ("/".join(parts[:n]) + "/" for n in range(1, len(parts)))
        whole = next((prefix for prefix in prefixes
                      if not any(other.startswith(prefix) for other in others)), None)
        shown.append(f"{whole}*" if whole else name)
    return ", ".join(dict.fromkeys(shown))


def _by_path(tree: Any) -> dict[str, Any]:
    return {_name(path): leaf for path, leaf in jax.tree_util.tree_leaves_with_path(tree)}


def _name(path: Any) -> str:
    return jax.tree_util.keystr(path, simple=True, separator="/")
