"""What values a config may have: a rule for each key, and a check that names the first fault.

What stands in `config.model` the family says that it names: `KEYS` of its module, and `check` for
values that do not go together.

All faults are raised as `ValueError`s whose message is a full sentence with the key, the value
received and what is allowed.
"""

import difflib
from collections.abc import Iterable, Mapping
from typing import Any

import ml_collections

from parts_jax import models
from parts_jax.models import rules
from parts_jax.models.rules import Rule
from parts_jax.runs import best_checkpoint, configuration, earlier_configs

# Every config has all of these keys, and beside them those of its model.
RULES = {
    "seed": rules.whole(0),
    "data.name": rules.text(),
    "data.data_dir": rules.text(),
    "data.source_dir": rules.text(),
    "data.prepared": rules.text(),
    "data.download": rules.flag(),
    "data.max_bytes": rules.whole(1),
    "data.skip_bad": rules.flag(),
    "data.camera": rules.text(),
    "data.actions": rules.text(),
    "data.train_split": rules.text(),
    "data.num_frames": rules.whole(1),
    "data.train_frames": rules.whole(0),
    "data.stride": rules.whole(1),
    "data.resolution": rules.whole(1),
    "data.flip": rules.flag(),
    "data.action_size": rules.whole(0),
    "data.num_threads": rules.whole(0),
    "schedule.steps": rules.per_stage(1),
    "schedule.resolution": rules.per_stage(1),
    "schedule.learning_rate": rules.per_stage(0.0),
    "schedule.warmup_steps": rules.per_stage(0),
    "schedule.final_scale": rules.per_stage(0.0, 1.0),
    "schedule.train_frames": rules.per_stage_or_none(1),
    "schedule.batch_size": rules.per_stage_or_none(1),
    "optimizer.name": rules.choice("rmsprop", "adam"),
    "optimizer.decay": rules.decay(),
    "optimizer.momentum": rules.decay(),
    "optimizer.clip_norm": rules.positive(),
    "optimizer.loss_per_pixel": rules.flag(),
    "train.batch_size": rules.whole(1),
    "train.pixels": rules.per_stage(1),
    "train.encoder_pooling": rules.per_stage(1),
    "train.rollout": rules.whole(0),
    "train.burn_in": rules.span(1),
    "train.rollout_share": rules.share(),
    "train.truncation": rules.whole(1),
    "train.unroll": rules.whole(1),
    "train.log_every": rules.whole(1),
    "train.evaluate_every": rules.whole(1),
    "train.checkpoint_every": rules.whole(1),
    "train.keep_checkpoints": rules.whole(1),
    "train.max_bad_steps": rules.whole(1),
    "train.init_from": rules.text(),
    "train.init_from_step": rules.whole(-2),
    "eval.step": rules.whole(-2),
    "eval.best_by": rules.names(best_checkpoint.METRICS),
    "eval.watch": rules.flag(),
    "eval.split": rules.text(),
    "eval.final_split": rules.text(),
    "eval.batch_size": rules.whole(1),
    "eval.num_sequences": rules.whole(0),
    "eval.num_pictures": rules.whole(0),
    "eval.mask_boxes": rules.flag(),
    "eval.report": rules.flag(),
    "eval.burn_in": rules.whole(1),
    "eval.rollout_steps": rules.whole(0),
    "eval.length": rules.whole(0),
    "eval.length_clips": rules.whole(1),
}
# Of each entry of `optimizer.groups`, which has exactly these keys.
GROUP_RULES = {
    "prefix": Rule(lambda v: isinstance(v, str) and v.strip("/") == v != "",
                   "the beginning of a parameter's path, such as decoder/layer_0"),
    "name": RULES["optimizer.name"],
    "decay": RULES["optimizer.decay"],
    "momentum": RULES["optimizer.momentum"],
    "learning_rate_scale": rules.not_negative(),
}


def check(config: ml_collections.ConfigDict, num_devices: int | None) -> None:
    """Raises a ValueError for the first value that no run could use.

    To be called before anything is downloaded, allocated or compiled.

    Args:
      config: as of configs/.
      num_devices: number of devices of all processes together, over which the batches of training
        are divided; None: nothing is trained.
    """
    values = configuration.flatten(config)
    rules.text().check("model.name", values.get("model.name"))
    family = models.family_of(config.model)
    every = RULES | {f"model.{key}": rule for key, rule in family.KEYS.items()}
    _check_moved(values, every)
    _check_complete(values)
    _check_known(values)
    _check_keys("model", configuration.flatten(config.model), family.KEYS,
                f"models of the family {config.model.name!r}")
    for key, rule in every.items():
        rule.check(key, values[key])
    _check_groups(config.optimizer.get("groups", {}))
    _check_stages(values, [key for key, rule in every.items() if rule.per_stage])
    _check_curriculum(values)
    for key in ("train.pixels", "train.encoder_pooling"):
        if max(values[key]) > 1 and not getattr(family, "SCORES_PIXELS", False):
            raise ValueError(f"{key} is {values[key]}, but models of the family "
                             f"{config.model.name!r} are trained on all pixels, which they see: it "
                             "must be 1 in every stage.")
    _check_rollout(values, config.model.name, getattr(family, "SCORES_UNSEEN", False))
    if hasattr(family, "check"):
        family.check(config)
    if values["eval.watch"] and values["eval.step"] != -1:
        raise ValueError(f"eval.step is {values['eval.step']}, but eval.watch evaluates every "
                         "checkpoint: eval.step must be -1 with it.")
    for key, sizes in (("train.batch_size", [values["train.batch_size"]]),
                       ("schedule.batch_size", values["schedule.batch_size"])):
        for size in sizes:
            if num_devices and size % num_devices:
                raise ValueError(
                    f"{key} is {values[key]}, {'' if size == values[key] else f'of which {size} '}"
                    f"cannot be divided evenly over {num_devices} devices; it must be a multiple "
                    f"of {num_devices}.")


def _check_complete(values: Mapping[str, Any]) -> None:
    """Refuses a config that lacks a key, but for those of its model."""
    for key, rule in RULES.items():
        if key not in values:
            raise ValueError(f"The config has no key {key!r}, which must be {rule.words}.")


def _check_rollout(values: dict, family_name: str, scores_unseen: bool) -> None:
    """Raises ValueError if training cannot leave frames unseen, or has no room for it."""
    rollout, (least, most) = values["train.rollout"], values["train.burn_in"]
    if not rollout:
        return
    if not scores_unseen:
        raise ValueError(f"train.rollout is {rollout}, but models of the family {family_name!r} "
                         "see every frame: it must be 0.")
    num_frames = min(values["schedule.train_frames"], default=(
        values["data.train_frames"] or values["data.num_frames"]))
    if least + rollout > num_frames or most > num_frames:
        raise ValueError(
            f"train.burn_in is {(least, most)} and train.rollout is {rollout}, but clips of "
            f"training have {num_frames} frames (the fewest of schedule.train_frames, or else "
            "data.train_frames, or else data.num_frames): the first number of train.burn_in and "
            "train.rollout must be as many together at the most, and neither number of "
            "train.burn_in more.")


def _check_moved(values: Mapping[str, Any], known: Iterable[str]) -> None:
    """Refuses the keys of earlier versions, which nothing reads any more."""
    for key in values:
        if key in earlier_configs.MOVED and key not in known:
            raise ValueError(f"The config has the key {key!r}, which has moved to "
                             f"{earlier_configs.MOVED[key]!r}.")


def _check_known(values: Mapping[str, Any]) -> None:
    """Refuses keys that nothing reads, but for those of the model and of groups of parameters."""
    for key in values:
        if key not in RULES and not key.startswith(("model.", "optimizer.groups")):
            near = difflib.get_close_matches(key, RULES, n=1, cutoff=0.6)
            hint = f"; the nearest is {near[0]!r}" if near else ""
            raise ValueError(f"The config has the key {key!r}, which nothing reads{hint}.")


def _check_keys(section: str, values: Mapping[str, Any], known: Mapping[str, Rule],
                whose: str) -> None:
    """Refuses a part of a config that has not exactly the keys that it must have.

    Args:
      section: where in the config it stands, dotted.
      values: {key: value} of it, of dotted keys.
      known: rules of all keys that it must have.
      whose: whose keys these are, to be read in a sentence.
    """
    for key in values:
        if key not in known:
            near = difflib.get_close_matches(key, known, n=1, cutoff=0.6)
            hint = f"the nearest is {near[0]!r}" if near else f"they have: {', '.join(known)}"
            raise ValueError(f"The config has the key {section}.{key}, but {whose} have none of "
                             f"that name; {hint}.")
    for key, rule in known.items():
        if key not in values:
            raise ValueError(f"The config has no key {section}.{key}, but {whose} need it; it "
                             f"must be {rule.words}.")


def _check_groups(groups: Mapping[str, Any]) -> None:
    """Refuses groups of parameters that have not the keys and values that they must have."""
    for name, group in groups.items():
        where = f"optimizer.groups.{name}"
        if not isinstance(group, ml_collections.ConfigDict):
            raise ValueError(f"{where} is {group!r}, but must have the keys "
                             f"{', '.join(GROUP_RULES)}.")
        _check_keys(where, group, GROUP_RULES, "groups of parameters")
        for key, rule in GROUP_RULES.items():
            rule.check(f"{where}.{key}", group[key])


def _check_stages(values: Mapping[str, Any], keys: Iterable[str]) -> None:
    """Refuses values of the keys that have one entry per stage if they do not go together."""
    stages = {key: values[key] for key in keys if key in values}
    if len({len(stage) for stage in stages.values()}) > 1 or not all(stages.values()):
        lengths = ", ".join(f"{key} has {len(stage)}" for key, stage in stages.items())
        raise ValueError("The schedule needs one or more stages, and one entry per stage, but "
                         f"{lengths}.")
    full, sizes = values.get("data.resolution"), stages.get("schedule.resolution", ())
    Rule(lambda sizes: all(full % size == 0 for size in sizes),
         f"a tuple of divisors of data.resolution, which is {full}").check(
             "schedule.resolution", sizes)
    Rule(lambda parts: all(part <= size for size, part in zip(sizes, parts, strict=False)),
         f"a tuple of edges of blocks, none above schedule.resolution, which is {sizes}, stage by "
         "stage").check("train.pixels", stages.get("train.pixels", ()))
    Rule(lambda parts: all(size % part == 0 for size, part in zip(sizes, parts, strict=False)),
         f"a tuple of divisors of schedule.resolution, which is {sizes}, stage by stage"
         ).check("train.encoder_pooling", stages.get("train.encoder_pooling", ()))
    warmup, steps = stages.get("schedule.warmup_steps", ()), stages.get("schedule.steps", ())
    Rule(lambda warmup: all(w < s for w, s in zip(warmup, steps, strict=False)),
         f"below schedule.steps, which is {steps}, stage by stage").check(
             "schedule.warmup_steps", warmup)


def _check_curriculum(values: Mapping[str, Any]) -> None:
    """Refuses lengths of clips and sizes of batches by stage that do not go with the rest.

    The greatest are those that are given for the whole run: so who sets one of the two, and does
    not know of the other, is told; and what a run was trained on at the most stands in one place.
    """
    stages = len(values["schedule.steps"])
    whole = {"schedule.train_frames": ("data.train_frames (or, where that is 0, data.num_frames)",
                                       values["data.train_frames"] or values["data.num_frames"]),
             "schedule.batch_size": ("train.batch_size", values["train.batch_size"])}
    for key, (name, most) in whole.items():
        found = values[key]
        if found and len(found) != stages:
            raise ValueError(f"{key} is {found}, but must be () or have one entry per stage, of "
                             f"which schedule.steps has {stages}.")
        if found and max(found) != most:
            raise ValueError(f"{key} is {found}, but its greatest must be {name}, which is {most}: "
                             f"{name.split()[0]} is for the stage that has most.")
