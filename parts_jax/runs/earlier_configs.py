"""Configs of runs of earlier versions, as this version writes them."""

import copy
from collections.abc import Mapping
from typing import Any

from parts_jax import models
from parts_jax.metrics import table
from parts_jax.models.rules import ONE_PER_STAGE

# Where keys of earlier versions stand now.
MOVED = {
    "model.action_size": "data.action_size",
    "model.truncation": "train.truncation",
    "model.unroll": "train.unroll",
    "schedule.beta_scale": "model.beta_scale",
    "schedule.beta_warmup_start": "model.beta_warmup_start",
    "schedule.beta_warmup_steps": "model.beta_warmup_steps",
}
# Keys that earlier runs did not have, and what they are gone on with, or evaluated; those of a
# family's model are the family's (LATER_KEYS of its module).
LATER_KEYS = {
    "data.max_bytes": 4 * 2 ** 30,
    "data.prepared": "",
    "data.skip_bad": False,
    "data.camera": "",
    "data.actions": "",
    "data.train_frames": 0,
    "schedule.train_frames": (),
    "schedule.batch_size": (),
    "train.rollout": 0,
    "train.burn_in": (4, 4),
    "train.rollout_share": 1.0,
    "train.pixels": ONE_PER_STAGE,
    "train.encoder_pooling": ONE_PER_STAGE,
    "eval.burn_in": 4,
    "eval.rollout_steps": 0,
    "eval.length": 200,
    "eval.length_clips": 16,
    "eval.mask_boxes": False,
    "eval.watch": False,
    "eval.report": True,
    "eval.best_by": (),
    "model.dtype": "float32",
    "optimizer.groups": {},
    "train.init_from": "",
    "train.init_from_step": -1,
}


def tuples(value: Any) -> Any:
    """The same with lists as tuples, at every depth."""
    return tuple(tuples(v) for v in value) if isinstance(value, (list, tuple)) else value


def modernised(config: Mapping[str, Any]) -> dict[str, Any]:
    """Returns a config of this version or an earlier one as this version writes it.

    Args:
      config: nested, as read from JSON; it is not changed.

    Returns:
      A nested dict with lists as tuples, keys where `MOVED` says, and `LATER_KEYS`; metrics have
      the names of today.
    """
    def restored(value: Any) -> Any:
        if isinstance(value, Mapping):
            return {key: restored(inner) for key, inner in value.items()}
        return tuples(value)

    values = restored(config)
    ones = (1,) * len(values["schedule"]["steps"])
    moved = [old for old, new in MOVED.items() if _has(values, old) and not _has(values, new)]
    for key in moved:
        section, _, leaf = key.rpartition(".")
        _set_default(values, MOVED[key], values[section].pop(leaf))
    _modernise_blind_share(values)
    for key, value in LATER_KEYS.items():
        if moved or not key.startswith("model."):  # models of this version have all their keys
            _set_default(values, key, ones if value is ONE_PER_STAGE else copy.copy(value))
    for key, value in models.later_keys(values.get("model", {})).items():
        _set_default(values, f"model.{key}", ones if value is ONE_PER_STAGE else value)
    best_by = values["eval"]["best_by"]
    if isinstance(best_by, tuple):
        values["eval"]["best_by"] = tuple(table.current_name(name)[0] for name in best_by)
    return values


def _modernise_blind_share(values: dict[str, Any]) -> None:
    """Of runs that said which share of examples is blind from a frame drawn on, to its end."""
    train, data = values["train"], values["data"]
    if "blind_share" not in train:
        return
    share, least = train.pop("blind_share"), train.pop("burn_in")
    if share:
        num_frames = data["train_frames"] or data["num_frames"]
        train |= {"rollout": num_frames - least, "burn_in": (least, num_frames - 1),
                  "rollout_share": share}


def _has(values: Any, key: str) -> bool:
    """Whether a nested dict has a dotted key."""
    for part in key.split("."):
        if not (isinstance(values, Mapping) and part in values):
            return False
        values = values[part]
    return True


def _set_default(values: dict[str, Any], key: str, value: Any) -> None:
    """Sets a dotted key of a nested dict that has none."""
    *sections, leaf = key.split(".")
    for section in sections:
        values = values.setdefault(section, {})
    values.setdefault(leaf, value)
