"""The curves of long clips: scores by the number of the frame, as HTML."""

import html
import pathlib
from collections.abc import Mapping
from typing import Any

from parts_jax.metrics import table
from parts_jax.models.rules import is_number
from parts_jax.report import charts, numbers

KINDS = {"moving": "played back and forth", "still": "first frame repeated"}
SCORES = {"ari": "ARI", "miou": "mIoU"}


def find(workdir: pathlib.Path, dataset: str, split: str, step: int) -> dict[str, Any] | None:
    """What the evaluation of long clips left for a checkpoint; None if there is none.

    Raises:
      ValueError: the file cannot be read as such.
    """
    path = workdir / "evaluation" / f"{dataset.replace('/', '_')}-{split}-{step}-length.json"
    if not path.is_file():
        return None
    record = numbers.read_record(path)
    curves = [record.get(kind) for kind in (*KINDS, "ahead")]
    if not (all(isinstance(one, dict) and all(isinstance(values, list) for values in one.values())
                for one in curves)
            and isinstance(record.get("stages"), list)
            and all(is_number(record.get(key)) for key in (
                "tested_frames", "length", "num_frames", "num_sequences", "burn_in"))):
        raise ValueError(f"{str(path)!r} is no evaluation of long clips.")
    return record


def section(record: Mapping[str, Any]) -> str:
    """How far scores hold, and charts: ARI, mIoU, MSE, the posterior's mean, and MSE ahead."""
    held, length = record["tested_frames"], record["length"]
    found = f"hold to the last of {length} frames" if held >= length else (
        f"hold up to frame {held:g} of {length:g}")
    note = (f"Means over {record['num_sequences']} clips of the {record.get('split', '')} split, "
            f"of {record['num_frames']} frames each, made longer. Scores {found}: the mean "
            "squared error is at most 20% above, the ARI at most .03 below that of frame 10.")
    drawn = [chart for title, lines in _charts(record).items() if lines
             for chart in [charts.line_chart(title, lines, "frame")]]
    if record["ahead"]:
        names = {"mse": "model", "repeat_mse": "last seen frame"}
        drawn.append(charts.line_chart(
            f"Mean squared error ahead, after {record['burn_in']} frames",
            {words: _line(record["ahead"][name]) for name, words in names.items()
             if name in record["ahead"]}, "frames ahead"))
    return f"<p>{html.escape(note)}</p>{numbers.figures(drawn)}"


def _charts(record: Mapping[str, Any]) -> dict[str, dict[str, charts.Line]]:
    """Lines by name, by the title of their chart."""
    stages, kinds, made = record["stages"], dict(KINDS), {}
    if all(len(values) <= record["num_frames"] for values in record["moving"].values()):
        kinds["moving"] = "as they are"  # such as with actions, which have one direction
    for name, title in SCORES.items():
        for kind, words in kinds.items():
            readings = {f"masks, {stage}": table.with_stage(name, stage, stages)
                        for stage in dict.fromkeys((stages[0], stages[-1]))}
            made[f"{title}, {words}"] = {
                reading: _line(record[kind][key])
                for reading, key in (readings | {"assigned": f"{name}_assigned"}).items()
                if key in record[kind]}
    mse = table.with_stage("mse", stages[-1], stages)
    for title, key in (("Mean squared error", mse),
                       ("Greatest |mean| of the posterior", "greatest_mean")):
        made[title] = {words: _line(record[kind][key]) for kind, words in kinds.items()
                       if key in record[kind]}
    return made


def _line(values: list[float | None]) -> charts.Line:
    return charts.Line(range(1, len(values) + 1), values)
