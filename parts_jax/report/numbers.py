"""The numbers of a report as HTML: metrics, learning curves, errors of roll-outs, worst clips.

They are read from the files that training and evaluation leave in a workdir. What is missing there
is None here; what is not finite is a dash in tables and left out of charts.
"""

import csv
import html
import json
import math
import pathlib
import re
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from parts_jax.metrics import table
from parts_jax.models.rules import is_number
from parts_jax.report import charts
from parts_jax.runs import shipped

MOST_POINTS = 500
DASH = "–"
MOST_RANKED = 10


class Ranked(NamedTuple):
    """Clips of a split, the worst first.

    Attributes:
      metric: by which.
      rows: of each clip "clip", its position in the split, "id", and by name its scores.
    """

    metric: str
    rows: list[dict[str, Any]]


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
    path = workdir / "evaluation" / f"{_prefix(dataset)}-{split}-{at}.json"
    record = read_record(path)
    try:
        _check_form(record)
        return table.current_evaluation(record) | {"step": at, "split": split}
    except (TypeError, ValueError) as error:
        raise ValueError(f"{str(path)!r} cannot be read as an evaluation: {error}. Evaluating "
                         "again writes it anew.") from error


def evaluated_folder(workdir: pathlib.Path, dataset: str, splits: Sequence[str], step: int,
                     exactly: bool) -> pathlib.Path:
    """The folder that has the evaluation of a run: that of its results, or else the run itself.

    They differ for a trained model that comes with the package, with an evaluation of its own.

    Args:
      workdir, dataset, splits, step, exactly: as for `find_evaluation`, whose errors it raises.
    """
    out = shipped.results_folder(workdir)
    return out if find_evaluation(out, dataset, splits, step, exactly) else workdir


def find_rollout(workdir: pathlib.Path, dataset: str, split: str,
                 step: int) -> dict[str, Any] | None:
    """What an evaluation of roll-outs left for a checkpoint; None if there is none.

    Raises:
      ValueError: the file cannot be read as such.
    """
    path = workdir / "evaluation" / f"{_prefix(dataset)}-{split}-{step}-rollout.json"
    if not path.is_file():
        return None
    record = read_record(path)
    if not all(key in record for key in ("burn_in", "num_steps", "horizon", "metrics")):
        raise ValueError(f"{str(path)!r} is no evaluation of roll-outs.")
    return record


def find_clips(workdir: pathlib.Path, dataset: str, split: str, step: int,
               chosen_by: Sequence[str]) -> Ranked | None:
    """The clips of an evaluation, as `metric_writer.write_evaluation` left them, the worst first.

    Args:
      workdir: the run.
      dataset, split, step: of the evaluation.
      chosen_by: metrics, before those of `table.RANKS_CLIPS`; the first that is scored says which
        clip is worse.

    Returns:
      All of them; those whose score is not finite come first. None if there is no file of them, or
      none of the metrics in it.

    Raises:
      ValueError: the file cannot be read as such.
    """
    path = workdir / "evaluation" / f"{_prefix(dataset)}-{split}-{step}.csv"
    if not path.is_file():
        return None
    try:
        with path.open(encoding="utf-8", newline="") as file:
            rows = [{key: int(value) if key == "clip" else value if key == "id" else float(value)
                     for key, value in row.items()} for row in csv.DictReader(file, strict=True)]
        metric = next((name for name in (*chosen_by, *table.RANKS_CLIPS)
                       if rows and name in rows[0] and table.direction(name)), None)
        if any(row["clip"] < 0 or not isinstance(row["id"], str) for row in rows):
            raise ValueError("a clip has no position in its split")
    except (ValueError, TypeError, KeyError, csv.Error) as error:
        raise ValueError(f"{str(path)!r} cannot be read as scores of clips: {error}. Evaluating "
                         "again writes it anew.") from error
    if metric is None:
        return None

    def goodness(row):
        return table.direction(metric) * row[metric] if math.isfinite(row[metric]) else -math.inf

    return Ranked(metric, sorted(rows, key=goodness))


def worst_table(ranked: Ranked, stages: Sequence[str], unit: str = "clip") -> str:
    """The worst clips as an HTML table: position, id, headline metrics at each stage, assigned.

    `unit` is what one of them is called.
    """
    stages = [stage for stage in table.scored(stages, ranked.rows[0])
              if stage in stages or stage == table.ASSIGNED]
    names = [table.with_stage(name, stage, stages) for name in
             dict.fromkeys((ranked.metric, *table.headlines(), "mse_last")) for stage in stages]
    names = [name for name in dict.fromkeys(names) if name in ranked.rows[0]]
    head = "".join(f'<th scope="col"><code>{html.escape(name)}</code></th>' for name in names)
    rows = "".join(
        f'<tr><th scope="row">{unit.capitalize()} {row["clip"]}'
        f"<span>{html.escape(row['id'])}</span></th>"
        + "".join(f"<td>{number(row[name])}</td>" for name in names) + "</tr>"
        for row in ranked.rows[:MOST_RANKED])
    return (f'<div class="box"><table class="plain"><thead><tr><th scope="col">{unit}</th>{head}'
            f"</tr></thead><tbody>{rows}</tbody></table></div>")


def metric_table(record: Mapping[str, Any]) -> str:
    """The metrics of an evaluation as an HTML table: stages, and assignments, side by side."""
    stages = table.scored(record.get("stages", table.STAGES), record.get("median", {}))
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


def read_metrics(workdir: pathlib.Path, dataset: str, split: str) -> list[dict[str, Any]]:
    """The lines of metrics.jsonl under today's names; none if there is no such file.

    Args:
      workdir: the run.
      dataset, split: of the evaluations during training, whose metrics come as `eval/<metric>`.
    """
    path = workdir / "metrics.jsonl"
    if not path.is_file():
        return []
    held_out = f"{_prefix(dataset)}-{split}"
    return [table.current_metrics(record, held_out) for record in map(
        _line, path.read_bytes().splitlines()) if record is not None]


def curve(records: Sequence[Mapping[str, Any]], key: str) -> charts.Line | None:
    """A value over steps, of lines of metrics.jsonl; None if it has no number."""
    points = [(record["step"], record[key]) for record in records if key in record]
    if not any(is_number(value) for _, value in points):
        return None
    return charts.Line(*thin(*zip(*points, strict=True)))


def learning_curves(records: Sequence[Mapping[str, Any]]) -> str | None:
    """Charts of what `read_metrics` returns as HTML; None if there is nothing of use in it."""
    drawn = []
    for title, keys in table.learning_curves().items():
        lines = {name: curve(records, key) for name, key in keys.items()}
        lines = {name: line for name, line in lines.items() if line is not None}
        if lines:
            drawn.append(charts.line_chart(title, lines, "step"))
    return figures(drawn) if drawn else None


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
    return figures(drawn)


def about_rivals(record: Mapping[str, Any]) -> str:
    """What stands beside the model in `horizon_curves`, in words."""
    said = "Beside the model stands the last frame that was seen, shown again and again"
    if "moved_mse" in record["metrics"]:
        return (f"{said}; and constant velocity: each object moves on as it did from the frame "
                "before to that one. Both are given the true masks of what was seen.")
    if "fg_ari" in record["metrics"]:
        return (f"{said}. This evaluation was written before there were objects that move on at "
                "constant velocity beside it, and masks that are repeated; evaluating again adds "
                "them.")
    return f"{said}."


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


def _check_form(record: Mapping[str, Any]) -> None:
    """Raises a ValueError if what an evaluation holds beside its means is of another form."""
    stages = record.get("stages", table.STAGES)
    if not (isinstance(stages, list | tuple) and stages
            and all(isinstance(stage, str) for stage in stages)):
        raise ValueError(f"its stages must be a list of names; got {stages!r:.80}")
    for key, what in (("median", "medians"), ("standard_error", "standard errors"),
                      ("interval", "intervals")):
        if not isinstance(record.get(key, {}), dict):
            raise ValueError(f"it has no {what} by name")
    for name, pair in record.get("interval", {}).items():
        if pair is not None and not (isinstance(pair, list) and len(pair) == 2):
            raise ValueError(f"the interval of {name!r} must be two numbers; got {pair!r:.80}")


def _prefix(dataset: str) -> str:
    return dataset.replace("/", "_")


def read_record(path: pathlib.Path) -> dict[str, Any]:
    """What a JSON file of an evaluation holds; raises a ValueError if it is none."""
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{str(path)!r} cannot be read as JSON: {error}.") from error
    if not isinstance(record, dict):
        raise ValueError(f"{str(path)!r} is no evaluation.")
    return record


def _line(line: bytes) -> dict[str, Any] | None:
    """A line of metrics.jsonl; None if a run was killed while writing it, or it is damaged."""
    try:
        record = json.loads(line, parse_int=float)  # one of hundreds of digits becomes infinite
    except (ValueError, RecursionError):
        return None
    step = record.get("step") if isinstance(record, dict) else None
    return record if is_number(step) else None


def figures(drawn: Sequence[str]) -> str:
    """Charts side by side."""
    return f'<div class="charts">{"".join(f"<figure>{chart}</figure>" for chart in drawn)}</div>'
