"""Table 1: average precision and count error of runs, beside what their masks score.

Numbers are those of a run's newest evaluation of a split. Of models without boxes, and of all where
that was asked for (`eval.mask_boxes`), boxes around masks are scored; docs/metrics.md says how.
"""

import argparse
import math
from typing import Any

import numpy as np

from benchmarks import seeds, step
from benchmarks.space import runs as runs_of
from benchmarks.space.writing import NOT_MEASURED, Made
from parts_jax.metrics import table
from parts_jax.runs import configuration

BOXES = {"ap_50": "AP .5", "ap": "AP .5:.95", "count_error": "count error"}
# Of what a user gets: assigned pixels where the family has them, else masks of the last stage.
MASKS = {"mask_ap_50": "masks: AP .5", "mask_ap": "masks: AP .5:.95",
         "mask_count_error": "masks: count error", "fg_ari_last": "FG-ARI", "ari_last": "ARI",
         "miou_last": "mIoU"}
OTHER = {"mse": "MSE"}
COST = {"seconds a step": "s a step", "minutes": "minutes of training"}
COLUMNS = BOXES | MASKS | OTHER | COST
SAME = ("dataset", "split", "num_sequences", "resolution")


def make(flags: argparse.Namespace) -> Made:
    """A row a run, and a row of means of runs that differ in their seed alone.

    Raises:
      FileNotFoundError: there is no such run.
      ValueError: the runs are of several sets, or were not evaluated alike.
    """
    runs = [runs_of.load(workdir) for workdir in flags.runs]
    datasets = sorted({run.config.data.name for run in runs})
    if len(datasets) > 1:
        raise ValueError(f"The runs are of several sets: {', '.join(datasets)}; a table is of one.")
    records = [_record(run, flags.split) for run in runs]
    for key in SAME:
        found = {record[key] for record in records if record}
        if len(found) > 1:
            raise ValueError(f"The runs cannot be compared: {key} is "
                             f"{', '.join(map(str, sorted(found, key=str)))}.")
    rows = [row_of(run, record) for run, record in zip(runs, records, strict=True)]
    numbers = dict(dataset=datasets[0], split=flags.split, rows=rows, means=means_of(runs, rows),
                   **next(({key: record[key] for key in SAME[2:]} for record in records if record),
                          {}))
    return Made(f"table1-{datasets[0].replace('/', '_')}", numbers, words_of(numbers))


def _record(run: runs_of.Run, split: str) -> dict[str, Any] | None:
    try:
        return seeds.newest_evaluation(run.workdir, split, run.config.data.name)
    except FileNotFoundError:
        return None


def row_of(run: runs_of.Run, record: dict[str, Any] | None) -> dict[str, Any]:
    """What a run's files say; None where it was not measured."""
    found: dict[str, Any] = dict(
        run=run.workdir.name, model=run.model, seed=run.config.seed,
        slots=record and record["num_slots"], step=record and record["step"])
    found |= {name: None if record is None else score_of(record, name)
              for name in BOXES | MASKS | OTHER}
    found |= {"seconds a step": runs_of.seconds_a_step(run),
              "minutes": seeds.training_minutes(run.workdir)}
    return found | {name: None for name in COST if math.isnan(found[name])}


def score_of(record: dict[str, Any], name: str) -> float | None:
    """A metric of assigned pixels, else of the last stage; None: of neither."""
    last = table.with_stage(name, record["stages"][-1], record["stages"])
    names = (f"{name}_{table.ASSIGNED}", last) if name in MASKS else (last,)
    found = next((record[one] for one in names if one in record), None)
    return None if found is None or math.isnan(found) else found


def means_of(runs: list[runs_of.Run], rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Mean and sample standard deviation of each column, of two or more runs of one config.

    Of a column that not all of them have there is none.
    """
    groups: dict[str, list[dict[str, Any]]] = {}
    for run, row in zip(runs, rows, strict=True):
        config = configuration.flatten(run.config) | {"seed": 0}
        trained = {key: value for key, value in config.items() if not key.startswith("eval.")}
        groups.setdefault(str(sorted(trained.items(), key=str)), []).append(row)
    found = []
    for group in groups.values():
        if len(group) < 2:
            continue
        whole = [name for name in COLUMNS if all(row[name] is not None for row in group)]
        found.append({"runs": [row["run"] for row in group], "model": group[0]["model"]} | {
            name: [float(np.mean([row[name] for row in group])),
                   float(np.std([row[name] for row in group], ddof=1))] for name in whole})
    return found


def words_of(numbers: dict[str, Any]) -> str:
    """The table; columns that no run has are left out, but for Table 1's own."""
    shown = [name for name in COLUMNS if name in BOXES
             or any(row[name] is not None for row in numbers["rows"])]
    rows = [[f"{row['model']}, {row['run']}", _plain(row["slots"]), _plain(row["step"]),
             *(_cell(row, name, row["step"]) for name in shown)] for row in numbers["rows"]]
    rows += [[f"{mean['model']}, mean of {len(mean['runs'])} (std)", "", "",
              *(f"{_number(name, mean[name][0])} ({_number(name, mean[name][1])})"
                if name in mean else "" for name in shown)] for mean in numbers["means"]]
    about = f"{numbers['dataset']}, {numbers['split']}"
    if "num_sequences" in numbers:
        about += (f": {numbers['num_sequences']} images of {numbers['resolution']}x"
                  f"{numbers['resolution']}")
    header = ("model, run", "slots", "step", *(COLUMNS[name] for name in shown))
    return (f"{about}. AP and count error by the model's own boxes; \"masks\" by boxes around the "
            f"masks, or assigned pixels, of slots, of which the largest is left out.\n\n"
            f"{step.table(header, rows)}")


def _cell(row: dict[str, Any], name: str, step: int | None) -> str:
    if row[name] is not None:
        return _number(name, row[name])
    return "no boxes" if step is not None and name in BOXES else NOT_MEASURED


def _number(name: str, value: float) -> str:
    return f"{value:.5f}" if name == "mse" else f"{value:.1f}" if name == "minutes" else \
        f"{value:.3f}"


def _plain(value: int | None) -> str:
    return "" if value is None else f"{value:,}"

