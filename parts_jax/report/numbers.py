"""The numbers of a report as HTML: table of metrics, learning curves, errors of roll-outs.

They are read from the files that training and evaluation leave in a workdir. What is missing there
is None here; what is not finite is a dash in tables and left out of charts.
"""

import html
import json
import pathlib
import re
from collections.abc import Mapping, Sequence
from typing import Any

from parts_jax.metrics import table
from parts_jax.models.rules import is_number
from parts_jax.report import charts

MOST_POINTS = 500
DASH = "–"


def find_evaluation(workdir: pathlib.Path, dataset: str, splits: Sequence[str], step: int,
                    exactly: bool) -> dict[str, Any] | None:
    """The evaluation of a checkpoint, as `writing.evaluate_and_write` left it.

    Args:
      workdir: the run.
      dataset: name of the data set.
      splits: any of these; the first one of them that was evaluated at the same step.
      step: of training.
      exactly: whether another step will not do; otherwise, without one of `step`, the newest.

    Returns:
      What its JSON file holds, under today's names; None if there is none.

    Raises:
      ValueError: the file cannot be read as an evaluation.
    """
    pattern = re.compile(re.escape(_prefix(dataset)) + r"-(.+)-(\d+)\.json")
    matches = filter(None, (pattern.fullmatch(path.name)
                            for path in (workdir / "evaluation").glob("*.json")))
    found = [(int(match[2]), match[1]) for match in matches if match[1] in splits]
    if exactly:
        found = [(at, split) for at, split in found if at == step]
    if not found:
        return None
    at, split = max(found, key=lambda one: (one[0] == step, one[0], -splits.index(one[1])))
    record = _read(workdir / "evaluation" / f"{_prefix(dataset)}-{split}-{at}.json")
    if not isinstance(record.get("median", {}), dict):
        raise ValueError(f"The evaluation of step {at} in {str(workdir)!r} has no medians by name.")
    return table.current_evaluation(record) | {"step": at, "split": split}


def find_rollout(workdir: pathlib.Path, dataset: str, split: str,
                 step: int) -> dict[str, Any] | None:
    """What an evaluation of roll-outs left for a checkpoint; None if there is none.

    Raises:
      ValueError: the file cannot be read as such.
    """
    path = workdir / "evaluation" / f"{_prefix(dataset)}-{split}-{step}-rollout.json"
    if not path.is_file():
        return None
    record = _read(path)
    if not all(key in record for key in ("burn_in", "num_steps", "horizon", "metrics")):
        raise ValueError(f"{str(path)!r} is no evaluation of roll-outs.")
    return record


def metric_table(record: Mapping[str, Any]) -> str:
    """The metrics of an evaluation as an HTML table: the model's stages side by side."""
    stages = record.get("stages", table.STAGES)
    names = table.in_order(table.without_stage(name, stages)[0]
                           for name in record.get("median", {}))
    rows = []
    for name in names:
        cells = "".join(_cells(record, table.with_stage(name, stage, stages)) for stage in stages)
        rows.append(f'<tr><th scope="row"><code>{html.escape(name)}</code>'
                    f"<span>{html.escape(table.words(name))}</span></th>{cells}</tr>")
    groups = "".join('<th colspan="3" scope="colgroup">'
                     f"{html.escape(table.WORDS_OF_STAGES.get(stage, stage))}</th>"
                     for stage in stages)
    head = "".join(f'<th scope="col">{text}</th>' for text in ("mean", "95% interval", "median"))
    missing = "" if "interval" in record else (
        "<p>This evaluation holds no intervals, so their columns are empty; evaluating again "
        "writes them.</p>")
    return ('<div class="box"><table class="metrics"><thead><tr><th rowspan="2" scope="col">metric'
            f"</th>{groups}</tr><tr>{head * len(stages)}</tr></thead>"
            f'<tbody>{"".join(rows)}</tbody></table></div>{missing}')


def learning_curves(workdir: pathlib.Path) -> str | None:
    """Charts of metrics.jsonl as HTML; None if there is no such file, or nothing of use in it."""
    path = workdir / "metrics.jsonl"
    if not path.is_file():
        return None
    records = [table.current_metrics(record) for record in map(
        _line, path.read_text(encoding="utf-8").splitlines()) if record is not None]
    drawn = []
    for title, keys in table.learning_curves().items():
        lines = {}
        for name, key in keys.items():
            points = [(record["step"], record[key]) for record in records if key in record]
            if any(is_number(value) for _, value in points):
                lines[name] = charts.Line(*thin(*zip(*points, strict=True)))
        if lines:
            drawn.append(charts.line_chart(title, lines, "step"))
    return _figures(drawn) if drawn else None


def horizon_curves(record: Mapping[str, Any]) -> str:
    """Charts of roll-outs against truth, step by step ahead, as HTML."""
    drawn = []
    for title, keys in table.horizon_charts(record["metrics"]).items():
        lines = {}
        for name, key in keys.items():
            values = record["metrics"][key]
            interval = values.get("interval")
            whole = interval and all(pair and all(map(is_number, pair)) for pair in interval)
            lines[name] = charts.Line(record["horizon"], values["mean"],
                                      interval if whole else None)
        drawn.append(charts.line_chart(title, lines, "frames ahead"))
    return _figures(drawn)


def thin(steps: Sequence[int], values: Sequence[float | None]) -> tuple[list, list]:
    """Brings a curve to MOST_POINTS or fewer: each the mean of as many neighbours.

    Args:
      steps, values: of one length; values that are None or not finite count for nothing.

    Returns:
      Steps and values; a value is None where none of its neighbours is finite.
    """
    size = -(-len(steps) // MOST_POINTS)
    thinned = [], []
    for start in range(0, len(steps), size):
        part = [value for value in values[start:start + size] if is_number(value)]
        thinned[0].append(sum(steps[start:start + size]) / len(steps[start:start + size]))
        thinned[1].append(sum(part) / len(part) if part else None)
    return thinned


def number(value: Any) -> str:
    """Three decimals, or as many digits as matter; a dash for what is not finite or not there."""
    if not is_number(value):
        return DASH
    size = abs(value)
    text = f"{value:.3f}" if 0.01 <= size < 10 else f"{value:#.3g}" if 0 < size < 1 else \
        f"{value:.4g}"
    return text.replace("-", "−")


def _cells(record: Mapping[str, Any], key: str) -> str:
    """Mean, interval and median of a metric as cells; empty where it has none of them."""
    if key not in record:
        return "<td></td>" * 3
    interval = ""
    if "interval" in record:
        pair = record["interval"].get(key)
        fine = pair is not None and all(map(is_number, pair))
        between = DASH if fine and pair[0] >= 0 else "to"  # a dash before a minus is hard to read
        interval = f"{number(pair[0])} {between} {number(pair[1])}" if fine else DASH
    median = number(record["median"].get(key))
    return f"<td><b>{number(record[key])}</b></td><td>{interval}</td><td>{median}</td>"


def _prefix(dataset: str) -> str:
    return dataset.replace("/", "_")


def _read(path: pathlib.Path) -> dict[str, Any]:
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(f"{str(path)!r} cannot be read as JSON: {error}.") from error
    if not isinstance(record, dict):
        raise ValueError(f"{str(path)!r} is no evaluation.")
    return record


def _line(text: str) -> dict[str, Any] | None:
    """A line of metrics.jsonl; None if a run was killed while writing it."""
    try:
        record = json.loads(text)
    except ValueError:
        return None
    return record if isinstance(record, dict) and "step" in record else None


def _figures(drawn: Sequence[str]) -> str:
    return f'<div class="charts">{"".join(f"<figure>{chart}</figure>" for chart in drawn)}</div>'
