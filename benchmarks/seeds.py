"""Sets runs that differ in their seed side by side, as a Markdown table.

    python -m benchmarks.seeds runs/demo-0 runs/demo-1 runs/demo-2 --split=test

Of each run it takes the newest evaluation of the split, and the minutes that training took: steps
over steps per second, added up over metrics.jsonl. That has reading and checkpoints in it, and not
the evaluations; compiling it has in runs of earlier versions only. `std` is the sample standard
deviation over runs.
"""

import argparse
import json
import math
import pathlib
import statistics
import sys
from collections.abc import Iterable, Sequence

from parts_jax.metrics import table

SAME = ("dataset", "split", "num_sequences", "num_frames", "stride", "resolution", "num_slots",
        "stages", "step")


def newest_evaluation(workdir: pathlib.Path, split: str, dataset: str | None = None) -> dict:
    """The record of the highest step that evaluation wrote for a split.

    Args:
      workdir: the run.
      split: as the records say.
      dataset: as the records say; None: there must be only one.

    Raises:
      FileNotFoundError: there is none.
      ValueError: there are several data sets, and none is asked for.
    """
    paths = [path for path in (workdir / "evaluation").glob("*.json")
             if not path.stem.endswith(("-rollout", "-length"))]  # of single frames
    records = [table.current_evaluation(json.loads(path.read_text(encoding="utf-8")))
               for path in paths]
    records = [record for record in records if record["split"] == split
               and dataset in (None, record["dataset"])]
    if not records:
        of = f" of {dataset!r}" if dataset else ""
        raise FileNotFoundError(f"{workdir} holds no evaluation on the split {split!r}{of}.")
    datasets = sorted({record["dataset"] for record in records})
    if len(datasets) > 1:
        raise ValueError(f"{workdir} holds evaluations on the split {split!r} of several data "
                         f"sets; choose with --dataset: {', '.join(datasets)}.")
    return max(records, key=lambda record: record["step"])


def training_minutes(workdir: pathlib.Path) -> float:
    """Minutes of training by metrics.jsonl, evaluations left out; nan if it says nothing."""
    path = workdir / "metrics.jsonl"
    lines = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
    seconds, last_step = 0.0, 0
    for line in map(json.loads, lines):
        speed = line.get("train/steps_per_second")
        if speed:
            seconds += (line["step"] - last_step) / speed
            last_step = line["step"]
    return seconds / 60 if seconds else math.nan


def rows(records: list[dict], minutes: list[float]) -> list[tuple[str, list[float]]]:
    """(Name, a value per run) of all that at least one run has; nan where a run has it not.

    Metrics that the table of metrics knows are shown if more of them is better, or less; those that
    it does not know, all.
    """
    stages = table.scored(records[0]["stages"], [name for record in records
                                                 for name in record["median"]])
    found = table.in_order(table.without_stage(name, stages)[0]
                           for record in records for name in record["median"])
    own = [name for name in found if name not in table.NAMES]
    names = dict.fromkeys([*table.headlines(), *table.choosing(), *own])
    result = [(name, _values(records, name)) for name in _at_stages(names, stages)]
    medians = [record["median"] for record in records]
    result += [(f"{name}, median clip", _values(medians, name))
               for name in _at_stages(table.headlines(), stages)]
    result.append(("training minutes", minutes))
    return [(name, values) for name, values in result if not all(map(math.isnan, values))]


def _at_stages(names: Iterable[str], stages: Sequence[str]) -> list[str]:
    return [table.with_stage(name, stage, stages) for name in names for stage in stages]


def _values(records: list[dict], name: str) -> list[float]:
    found = [record.get(name) for record in records]
    return [math.nan if value is None else value for value in found]


def markdown(names: list[str], contents: list[tuple[str, list[float]]]) -> str:
    """A table with a column per run, then mean, least to greatest, and standard deviation.

    Where a run lacks a value it stands as "-", and so do mean and spread.
    """
    header = ["", *names, "mean", "min - max", "std"]
    lines = [header, ["---"] + ["---:"] * (len(header) - 1)]
    for name, values in contents:
        show = formatter(name)
        whole = not any(map(math.isnan, values))
        mean = statistics.fmean(values)
        extent = f"{show(min(values))} - {show(max(values))}" if whole else "-"
        spread = statistics.stdev(values) if whole and len(values) > 1 else math.nan
        lines.append([name, *map(show, values), show(mean), extent, show(spread)])
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def formatter(name: str):
    """How a row's values are written: errors to five digits, minutes to one, scores to three."""
    digits = 5 if name.startswith("mse") else 1 if name.endswith("minutes") else 3
    return lambda value: "-" if math.isnan(value) else f"{value:.{digits}f}"


def report(workdirs: list[pathlib.Path], split: str, dataset: str | None = None) -> str:
    """The whole table, under a line that says on what.

    Raises:
      FileNotFoundError, ValueError: see `newest_evaluation`; or the runs were not evaluated alike.
    """
    records = [newest_evaluation(workdir, split, dataset) for workdir in workdirs]
    for key in SAME:
        values = [record.get(key) for record in records]
        if any(value != values[0] for value in values):
            raise ValueError(f"The runs cannot be compared: {key} is "
                             f"{', '.join(map(str, values))}.")
    first = records[0]
    size = first.get("resolution", "?")
    about = (f"{first['dataset']} {split}, {first['num_sequences']} clips of "
             f"{first.get('num_frames', '?')} frames of {size}x{size}, "
             f"K={first.get('num_slots', '?')}, step {first['step']}; seeds "
             f"{', '.join(str(record['seed']) for record in records)}.")
    minutes = [training_minutes(workdir) for workdir in workdirs]
    names = [workdir.name for workdir in workdirs]
    return f"{about}\n\n{markdown(names, rows(records, minutes))}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("workdirs", nargs="+", type=pathlib.Path, help="runs, as runs/demo-0")
    parser.add_argument("--split", default="test", help="split that was evaluated on")
    parser.add_argument("--dataset", help="data set that was evaluated on, if there are several")
    arguments = parser.parse_args()
    try:
        print(report(arguments.workdirs, arguments.split, arguments.dataset))
    except (OSError, ValueError) as error:
        sys.exit(f"Error: {error}")


if __name__ == "__main__":
    main()
