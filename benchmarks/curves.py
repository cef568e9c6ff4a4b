"""Scores against minutes of training: when a run came to a threshold, and the curve as a picture.

    python -m benchmarks.curves runs/laptop --out=docs/laptop.svg
    python -m benchmarks.curves runs/laptop --threshold=fg_ari_last:0.8 --threshold=miou_last:0.7
    python -m benchmarks.curves runs/a runs/b --threshold=ari_last:0.9 --out=docs/both.svg

Scores are those of the evaluations during training; minutes are steps over steps a second, added
up over metrics.jsonl: reading and checkpoints are in them, evaluations are not, and compiling is in
those of earlier versions only. With
--rates=16:28,32:9.1,64:2 the minutes are those at so many steps a second at each resolution
instead: where the run shared its machine with other work, and its rate alone was measured apart;
it is given once a run, in their order. Of several runs the picture shows the scores of the
thresholds only.
"""

import argparse
import json
import pathlib
import sys
from typing import Any

from parts_jax.evaluation import writing
from parts_jax.metrics import table
from parts_jax.report import charts
from parts_jax.runs import configuration

SHOWN = table.headlines()
# The same of assigned pixels, of runs whose evaluations have them.
ASSIGNED = tuple(f"{name}_{table.ASSIGNED}" for name in SHOWN)
THRESHOLDS = ("fg_ari_last:0.8", "fg_ari_last:0.9", "miou_last:0.7")


def curve(workdir: pathlib.Path, rates: dict[int, float] | None = None) -> dict[str, list]:
    """Returns `step`, `minutes`, and each of SHOWN and, where all have them, of ASSIGNED.

    One value an evaluation during training.

    Args:
      workdir: the run.
      rates: steps a second by resolution, in place of those that the run had.

    Raises:
      OSError, ValueError: the run has no metrics.jsonl, or no evaluation in it.
    """
    records = [json.loads(line)
               for line in (workdir / "metrics.jsonl").read_text(encoding="utf-8").splitlines()]
    clock = _clock_of_rates(workdir, rates) if rates else _clock_of_run(records)
    held_out = ""
    if (workdir / configuration.FILE_NAME).is_file():
        config = configuration.load(str(workdir))
        held_out = writing.name_of(config, config.eval.split)
    found = [record for record in (table.current_metrics(record, held_out) for record in records)
             if f"eval/{SHOWN[0]}" in record]
    if not found:
        raise ValueError(f"{workdir} was not evaluated while it was trained.")
    shown = [*SHOWN, *(name for name in ASSIGNED if all(f"eval/{name}" in one for one in found))]
    return {"step": [record["step"] for record in found],
            "minutes": [clock(record["step"]) for record in found],
            **{name: [record[f"eval/{name}"] for record in found] for name in shown}}


def _clock_of_run(records: list[dict]):
    """Step -> minutes, by the rates that stand in metrics.jsonl; between two writes, linear."""
    ends, last = [(0, 0.0)], 0
    for record in records:
        rate = record.get("train/steps_per_second")
        if rate:
            ends.append((record["step"], ends[-1][1] + (record["step"] - last) / rate / 60))
            last = record["step"]

    def clock(step: int) -> float:
        for (start, before), (end, after) in zip(ends, ends[1:], strict=False):
            if start <= step <= end:
                return before + (after - before) * (step - start) / (end - start)
        raise ValueError(f"metrics.jsonl does not say how long it took to step {step}.")
    return clock


def _clock_of_rates(workdir: pathlib.Path, rates: dict[int, float]):
    """Step -> minutes, by the rate of each stage's resolution."""
    schedule = configuration.load(str(workdir)).schedule
    unknown = sorted(set(schedule.resolution) - set(rates))
    if unknown:
        raise ValueError(f"--rates says nothing of resolution {', '.join(map(str, unknown))}.")

    def clock(step: int) -> float:
        seconds, done = 0.0, 0
        for steps, resolution in zip(schedule.steps, schedule.resolution, strict=True):
            here = min(max(step - done, 0), steps)
            seconds, done = seconds + here / rates[resolution], done + steps
        return seconds / 60
    return clock


def reached(values: dict[str, list], name: str, threshold: float) -> dict[str, Any]:
    """The first evaluation at which a score was at the threshold or over; None where it never was.

    Returns:
      `score`, `threshold`, `step`, `minutes` and `best`, the highest value of all.
    """
    over = [i for i, value in enumerate(values[name]) if value >= threshold]
    first = over[0] if over else None
    return {"score": name, "threshold": threshold, "best": max(values[name]),
            **{key: None if first is None else values[key][first] for key in ("step", "minutes")}}


def as_table(crossings: dict[str, list[dict[str, Any]]]) -> str:
    """A Markdown table, a line a run and threshold; it names the runs where there are several."""
    many = len(crossings) > 1
    lines = ["| run " * many + "| score | threshold | minutes | step | best |",
             "|---" * many + "|---|---:|---:|---:|---:|"]
    for run, of_run in crossings.items():
        for crossing in of_run:
            when = ["not reached", ""] if crossing["step"] is None else \
                [f"{crossing['minutes']:.1f}", str(crossing["step"])]
            lines.append(f"| {run} " * many + f"| {crossing['score']} | {crossing['threshold']:g} "
                         f"| {' | '.join(when)} | {crossing['best']:.3f} |")
    return "\n".join(lines)


def drawn(runs: dict[str, dict[str, list]], names: list[str]) -> str:
    """The <svg> of every score of one run, or of the scores `names` of several."""
    if len(runs) == 1:
        (title, values), = runs.items()
        lines = {name: charts.Line(values["minutes"], values[name]) for name in [*values][2:]}
        return charts.line_chart(title, lines, "minutes")
    lines = {f"{name}, {run}": charts.Line(values["minutes"], values[name])
             for name in names for run, values in runs.items()}
    return charts.line_chart(" and ".join(runs), lines, "minutes")


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("workdir", type=pathlib.Path, nargs="+", help="the run, or several")
    parser.add_argument("--threshold", action="append", metavar="SCORE:VALUE",
                        help=f"as often as wanted; without: {', '.join(THRESHOLDS)}")
    parser.add_argument("--rates", action="append", metavar="RESOLUTION:RATE,...",
                        help="steps a second; once a run, in their order")
    parser.add_argument("--out", type=pathlib.Path, help="SVG file of the curves")
    flags = parser.parse_args(arguments)
    try:
        rates = [dict(_pair(text, int) for text in one.split(",")) for one in flags.rates or ()]
        if rates and len(rates) != len(flags.workdir):
            raise ValueError(f"--rates is given {len(rates)} times for {len(flags.workdir)} runs; "
                             f"it is needed for each, or for none.")
        thresholds = [_pair(text, str) for text in flags.threshold or THRESHOLDS]
        for name, _ in thresholds:
            if name not in (*SHOWN, *ASSIGNED):
                raise ValueError(f"{name!r} is no score of this table; it has: "
                                 f"{', '.join((*SHOWN, *ASSIGNED))}.")
        runs = {}
        for i, workdir in enumerate(flags.workdir):
            values = runs[workdir.name] = curve(workdir, rates[i] if rates else None)
            for name, _ in thresholds:
                if name not in values:
                    raise ValueError(f"{workdir} was not evaluated by {name!r} each time; it was "
                                     f"by: {', '.join([*values][2:])}.")
        names = list(dict.fromkeys(name for name, _ in thresholds))
        if flags.out and len(runs) > 1 and len(runs) * len(names) > len(charts.COLOURS):
            raise ValueError(
                f"{len(names)} scores of {len(runs)} runs are more lines than the "
                f"{len(charts.COLOURS)} that a chart can have; name fewer by --threshold.")
        if len(runs) < len(flags.workdir):
            raise ValueError(f"Two of the runs have one name; they are {', '.join(runs)}.")
    except (OSError, ValueError) as error:
        sys.exit(f"Error: {error}")
    print(as_table({run: [reached(values, *threshold) for threshold in thresholds]
                    for run, values in runs.items()}))
    if flags.out:
        flags.out.write_text(drawn(runs, names) + "\n", encoding="utf-8")


def _pair(text: str, kind: type) -> tuple[Any, float]:
    """("miou_last", 0.7) of "miou_last:0.7"."""
    name, colon, value = text.partition(":")
    try:
        return kind(name), float(value)
    except ValueError:
        raise ValueError(f"{text!r} should be a name, a colon and a number.") from None


if __name__ == "__main__":
    main()
