"""Runs, or seeds, side by side on one page: their numbers, curves, masks, and where configs differ.

    python -m parts_jax.report runs/demo-0 runs/demo-1

Pictures are of the same clips where the runs read the same data; else a sentence says what differs.
"""

import html
import os
import pathlib
import statistics
from collections.abc import Sequence
from typing import Any, NamedTuple

import ml_collections

from parts_jax.api import pretrained_model
from parts_jax.api.pretrained_model import PretrainedModel
from parts_jax.files import whole
from parts_jax.metrics import table
from parts_jax.models.rules import is_number
from parts_jax.report import charts, numbers, page, sections
from parts_jax.report import clips as clips_of
from parts_jax.runs import configuration, shipped

FILE_NAME = "comparison.html"  # in the first run's report folder
MOST = len(charts.COLOURS)     # runs on a page
# What evaluations must have in common for their numbers to be told apart by the models alone.
SAME_EVALUATION = ("dataset", "split", "num_sequences", "num_frames", "stride", "resolution",
                   "num_slots", "stages")
SAME_CLIPS = ("name", "num_frames", "stride", "resolution", "action_size")  # of config.data
ABOUT_CLIPS = ("The same {units} as each model splits them into slots, after refinement by each "
               "frame; assigned: each pixel's posterior over the slots once the frame is seen. "
               "A slot's colour means nothing from one model to the other.")


class Run(NamedTuple):
    """A run on the page.

    Attributes:
      name: no other's.
      workdir: where it is.
      config: of the run.
      model: of the checkpoint that is shown.
      evaluation: see `numbers.find_evaluation`; None if there is none.
    """

    name: str
    workdir: pathlib.Path
    config: ml_collections.ConfigDict
    model: PretrainedModel
    evaluation: dict[str, Any] | None


def write_comparison(workdirs: Sequence[str | os.PathLike], step: int = -1,
                     split: str | None = None, num_clips: int = 6, num_slots: int | None = None,
                     out: str | os.PathLike | None = None) -> pathlib.Path:
    """Writes a page of several runs, whole or not at all.

    Args:
      workdirs: the runs, two to eight.
      step, num_clips, num_slots: as for `page.write_report`, of each run.
      split: whose metrics and clips; None: the final split of the first run's config.
      out: the page; None: report/comparison.html in the first run.

    Returns:
      The path of the page.

    Raises:
      FileNotFoundError: there is no such run or checkpoint.
      ValueError: an argument is not as said; config, checkpoint, evaluation or data cannot be read.
      OSError: the page cannot be written.
    """
    paths = [pathlib.Path(os.path.abspath(workdir)) for workdir in workdirs]
    if len(set(paths)) != len(paths) or not 2 <= len(paths) <= MOST:
        raise ValueError(f"A comparison is of 2 to {MOST} runs, each of them once; got "
                         f"{', '.join(map(str, workdirs)) or 'none'}.")
    if num_clips < 1:
        raise ValueError(f"num_clips is {num_clips}, but must be 1 or more.")
    first = configuration.load(str(paths[0]))
    split = split or first.eval.get("final_split", first.eval.split)
    runs = [_read(name, path, step, split) for name, path in zip(_names(paths), paths, strict=True)]
    made = {"clips": _clips(runs, split, num_clips, num_slots)}
    text = page.template(made).substitute(
        title=html.escape(" against ".join(run.name for run in runs)),
        facts=_facts(runs, split), metrics=_metrics(runs, split), curves=_curves(runs), maps="",
        about_clips=ABOUT_CLIPS.format(**page.words(first)), clips=made["clips"][0],
        config=_differences(runs), about_config="Where their configs differ", **page.words(first),
        data=page.to_json({name: data for name, (_, data) in made.items() if data}))
    path = pathlib.Path(out) if out else (
        shipped.results_folder(paths[0]) / "report" / FILE_NAME)
    if not out:
        path.parent.mkdir(parents=True, exist_ok=True)
    whole.write_whole(path, text)
    return path


def _read(name: str, workdir: pathlib.Path, step: int, split: str) -> Run:
    config, model = configuration.load(str(workdir)), pretrained_model.load(workdir, step)
    asked = config.data.name, [split], model.step, step != -1
    return Run(name, workdir, config, model, numbers.find_evaluation(
        numbers.evaluated_folder(workdir, *asked), *asked))


def _names(paths: Sequence[pathlib.Path]) -> list[str]:
    """Ends of paths, as long as they must be for no two to be alike."""
    longest = max(len(path.parts) for path in paths)
    ends = ([os.path.join(*path.parts[-length:]) for path in paths]
            for length in range(1, longest + 1))
    return next(names for names in ends if len(set(names)) == len(names))


def _facts(runs: Sequence[Run], split: str) -> str:
    facts = {run.name: f"{run.config.data.name}, step {run.model.step}, seed {run.config.seed}"
             for run in runs}
    return page.as_facts(facts | {"Split": split} | page.written_by())


def _metrics(runs: Sequence[Run], split: str) -> str:
    """A table with a column a run, their mean, and their sample standard deviation."""
    missing = [run for run in runs if run.evaluation is None]
    if missing:
        return page.sentence(
            f"Not evaluated on the {split} split: {', '.join(run.name for run in missing)}. "
            "Numbers are shown when all are:", "\n".join(
                page.command_of_evaluation(run.workdir, split) for run in missing))
    records = [run.evaluation for run in runs]
    unlike = [f"{key} is {', '.join(str(record.get(key)) for record in records)}"
              for key in (*SAME_EVALUATION, "step")
              if any(record.get(key) != records[0].get(key) for record in records)]
    units = page.words(runs[0].config)["units"]
    note = f"{records[0].get('num_sequences', 'All')} {units} of the {split} split; " \
        f"below each mean its 95% interval over {units}."
    if unlike:
        note = f"These numbers are not of the same kind: {'; '.join(unlike)}. " + note
    names = table.in_order(name for record in records for name in record["median"])
    rows = "".join(
        f'<tr><th scope="row"><code>{html.escape(name)}</code></th>{_cells(records, name)}</tr>'
        for name in sorted(names, key=lambda name: _place(name, names)))
    head = "".join(f'<th scope="col">{html.escape(text)}</th>' for text in (
        "metric", *(run.name for run in runs), "mean", "std"))
    return (page.sentence(note) + '<div class="box"><table class="plain"><thead><tr>'
            f"{head}</tr></thead><tbody>{rows}</tbody></table></div>")


def _place(name: str, names: Sequence[str]) -> tuple[int, int]:
    """Metrics in the order of all tables, each with its stages together."""
    metric = table.find(name)
    of_table = table.NAMES.index(metric.name) if metric else len(table.NAMES)
    return of_table, names.index(name)


def _cells(records: Sequence[dict[str, Any]], name: str) -> str:
    values, cells = [record.get(name) for record in records], []
    for record, value in zip(records, values, strict=True):
        pair = record.get("interval", {}).get(name)
        between = f"{numbers.number(pair[0])} to {numbers.number(pair[1])}" if pair else ""
        cells.append(f"<td>{numbers.number(value)}<span>{between}</span></td>")
    whole_row = all(map(is_number, values))
    mean = statistics.fmean(values) if whole_row else None
    spread = statistics.stdev(values) if whole_row else None
    return "".join(cells) + f"<td>{numbers.number(mean)}</td><td>{numbers.number(spread)}</td>"


def _curves(runs: Sequence[Run]) -> str:
    """A chart a metric, with a line a run."""
    records = {run.name: numbers.read_metrics(
        run.workdir, run.config.data.name, run.config.eval.split) for run in runs}
    drawn = []
    for title, keys in table.learning_curves().items():
        for what, key in keys.items():
            lines = {name: numbers.curve(lines, key) for name, lines in records.items()}
            if any(line is not None for line in lines.values()):
                drawn.append(charts.line_chart(
                    title if len(keys) == 1 else f"{title}: {what}",
                    {name: line or charts.Line([], []) for name, line in lines.items()}, "step"))
    return numbers.figures(drawn) if drawn else page.sentence(
        "There is no metrics.jsonl in any of these workdirs; training writes it.")


def _clips(runs: Sequence[Run], split: str, num_clips: int,
           num_slots: int | None) -> tuple[str, dict[str, Any]]:
    first = runs[0]
    unlike = [f"data.{key} is {', '.join(str(run.config.data[key]) for run in runs)}"
              for key in SAME_CLIPS
              if any(run.config.data[key] != first.config.data[key] for run in runs)]
    if unlike:
        return page.sentence("The runs do not see the same clips, so there are no pictures side by "
                             f"side: {'; '.join(unlike)}."), {}
    cues = tuple(dict.fromkeys(name for run in runs for name in run.model.model.cues))
    clips = clips_of.read_clips(first.config, split, num_clips, 0, 0, cues)
    seen = {run.name: run.model.segment(
        clips.video, clips.actions, num_slots,
        cues={name: clips.cues[name] for name in run.model.model.cues}) for run in runs}
    return sections.fit_frames(
        lambda shown: {"clips": sections.side_by_side(seen, clips, shown)},
        clips.video.shape[1], sections.CLIP_BYTES + sections.ROLLOUT_BYTES)["clips"]


def _differences(runs: Sequence[Run]) -> str:
    flat = [configuration.flatten(run.config) for run in runs]
    keys = sorted({key for one in flat for key in one})
    rows = [(key, [one.get(key, "(absent)") for one in flat]) for key in keys]
    rows = [(key, values) for key, values in rows if any(v != values[0] for v in values)]
    if not rows:
        return page.sentence("Nowhere.")
    head = "".join(f'<th scope="col">{html.escape(text)}</th>'
                   for text in ("", *(run.name for run in runs)))
    lines = "".join(
        f'<tr><th scope="row"><code>{html.escape(key)}</code></th>'
        + "".join(f"<td><code>{html.escape(repr(value))}</code></td>" for value in values) + "</tr>"
        for key, values in rows)
    return f"<table><thead><tr>{head}</tr></thead><tbody>{lines}</tbody></table>"
