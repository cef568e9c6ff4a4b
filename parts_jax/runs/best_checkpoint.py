"""Which checkpoint is the best so far by a metric of evaluation, so that it is kept."""

import json
import math
import os
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

from absl import logging

from parts_jax.files import json_text, whole
from parts_jax.metrics import table

FILE_NAME = "best.json"

METRICS = table.choosing(table.ASSIGNED)  # that can say which of two checkpoints is better


class Best:
    """The best checkpoint of a run, and the policy by which orbax keeps it.

    It is a `orbax.checkpoint.checkpoint_managers.PreservationPolicy`. What is known stands in
    best.json of the workdir, which process 0 writes; all processes know it by the same scores.

    Args:
      workdir: the run's folder.
      metrics: names, of `METRICS` or of another stage; the first that evaluation gives is the one
        that counts.
      resolutions: of the frames that each stage of training sees, config.schedule.resolution.

    Attributes:
      record: {"step", "stage", "metric", "value"} of the best; {} if there is none yet.

    Raises:
      ValueError: nobody knows whether more or less of a metric is better.
    """

    def __init__(self, workdir: str | os.PathLike, metrics: Sequence[str],
                 resolutions: Sequence[int]):
        unclear = [name for name in metrics if not table.direction(name)]
        if unclear:
            raise ValueError(f"{', '.join(unclear)} cannot say which checkpoint is the best; this "
                             f"can, at any stage: {', '.join(METRICS)}.")
        self.path = pathlib.Path(workdir) / FILE_NAME
        self.metrics, self.resolutions = tuple(metrics), tuple(resolutions)
        self.record, self.warned = read(workdir), False
        if (self.record.get("metric") not in self.metrics
                or self.record["stage"] not in range(len(self.resolutions))):
            if self.record and self.metrics:
                logging.warning("%s is by %s, at stage %s; the best is chosen anew by the first of "
                                "%s, which eval.best_by names now.", self.path,
                                self.record["metric"], self.record["stage"],
                                ", ".join(self.metrics))
            self.record = {}

    def forget_after(self, step: int) -> None:
        """Forgets a best after `step`, from which the run goes on: it may be of damaged files."""
        if self.record.get("step", -1) > step:
            self.record = {}

    def offer(self, step: int, stage: int, scores: Mapping[str, float], writes: bool) -> None:
        """Takes a checkpoint as the best if it is better than that so far.

        One of a stage of larger frames is better than any of smaller ones, whose scores say less;
        of two stages with frames of one size, neither goes first.

        Args:
          step: of the checkpoint, which is there already.
          stage: of training, 0 or more.
          scores: metrics of its evaluation.
          writes: whether this process writes best.json.
        """
        metric = next((name for name in self.metrics if name in scores), None)
        if metric is None:
            if self.metrics and not self.warned:
                logging.warning("Evaluation gives none of eval.best_by, %s: no best checkpoint is "
                                "kept beside the newest.", ", ".join(self.metrics))
            self.warned = True
            return
        found = dict(step=step, stage=stage, metric=metric, value=float(scores[metric]))
        if math.isfinite(found["value"]) and (
                self.record.get("metric") != metric or self._rank(found) > self._rank(self.record)):
            self.record = found
            if writes:
                whole.write_whole(self.path, json.dumps(found) + "\n")

    def should_preserve(self, checkpoints: Sequence[Any], *, context: Any) -> list[bool]:
        """For orbax: which checkpoints (objects with a `step`) are to be kept."""
        del context
        return [checkpoint.step == self.record.get("step") for checkpoint in checkpoints]

    def _rank(self, record: Mapping[str, Any]) -> tuple[int, float]:
        return (self.resolutions[record["stage"]],
                table.direction(record["metric"]) * record["value"])


def read(workdir: str | os.PathLike) -> dict[str, Any]:
    """Returns the record of the best checkpoint of a workdir, {} if there is none.

    A file that is damaged is warned of, and counts as none: the next evaluation writes it anew.
    """
    path = pathlib.Path(workdir) / FILE_NAME
    if not path.is_file():
        return {}
    try:
        record = json_text.parse(path.read_bytes())
        _check(record)
        name, factor = table.current_name(record["metric"])
        return {"step": record["step"], "stage": record["stage"], "metric": name,
                "value": factor * record["value"]}
    except (ValueError, KeyError, TypeError, OverflowError, OSError) as error:
        logging.warning("%s is damaged, so which checkpoint was the best is not known: %s.",
                        path, error)
        return {}


def _check(record: Mapping[str, Any]) -> None:
    """Raises a ValueError if a value is not of the kind that `Best.offer` writes."""
    for key, kinds in (("step", int), ("stage", int), ("metric", str), ("value", (int, float))):
        value = record[key]
        if not isinstance(value, kinds) or isinstance(value, bool) or (
                kinds is not str and not 0 <= abs(value) < math.inf):
            raise ValueError(f"{key} is {value!r}")
    if record["step"] < 0 or record["stage"] < 0 or not table.direction(
            table.current_name(record["metric"])[0]):
        raise ValueError("step or stage is negative, or nobody knows which values of "
                         f"{record['metric']!r} are better")
