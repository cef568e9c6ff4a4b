"""Writes report/index.html into a workdir: what a run has learned, as one page to look at.

The page is one file that needs neither network nor any other file. What the run does not have yet
is replaced by a sentence that says how to make it. The command is __main__.py.
"""

import datetime
import html
import json
import os
import pathlib
import re
import shlex
import string
from collections.abc import Collection, Mapping
from typing import Any

import ml_collections

from parts_jax.api import pretrained_model
from parts_jax.api.pretrained_model import PretrainedModel
from parts_jax.files import whole
from parts_jax.metrics import table
from parts_jax.models.rules import is_number
from parts_jax.report import clips as clips_of
from parts_jax.report import long_clips, numbers, sections
from parts_jax.runs import configuration, provenance, shipped

TEMPLATE = pathlib.Path(__file__).with_name("page.html")
# Sections that not every page has.
OPTIONAL = ("worst", "iterations", "attention", "rollouts", "length", "traversals")
MOST_STEPS = 12   # predicted, where no evaluation says
ABOUT_CLIPS = (
    "What the model sees, and how it splits each frame into slots, after refinement by that frame. "
    "Assigned is each pixel's posterior over the slots once the frame is seen, where the model has "
    "one; the masks of the prediction are those that it expects before it sees the frame. A slot "
    "has one colour everywhere: in the masks, and in the dot before its name; the colours of the "
    "truth are those of true objects, and need not be the same. The picture of a slot shows "
    "only where its mask is.")
ABOUT_IMAGES = (
    "What the model sees, and how it splits each image into slots. Assigned is each pixel's "
    "posterior over the slots, where the model has one. A slot has one colour everywhere: in the "
    "masks, and in the dot before its name; the colours of the truth are those of true objects, "
    "and need not be the same. The picture of a slot shows only where its mask is.")


def write_report(workdir: str | os.PathLike, step: int = -1, split: str | None = None,
                 num_clips: int = 6, num_slots: int | None = None,
                 config: ml_collections.ConfigDict | None = None) -> pathlib.Path:
    """Writes `workdir`/report/index.html, whole or not at all.

    Args:
      workdir: the run; the page of one that comes with the package is written to
        `shipped.results_folder`.
      step: which checkpoint; -1: the newest; -2: the best.
      split: whose metrics and clips; None: the config's final split, or if only its other one was
        evaluated, that.
      num_clips: from the start of the split; fewer if it has fewer.
      num_slots: K of all pictures; None: that of training. Metrics are as they were evaluated.
      config: that it was evaluated with, where other clips than the run's own; None: the run's.

    Returns:
      The path of the page.

    Raises:
      FileNotFoundError: there is no such run or checkpoint.
      ValueError: an argument is not as said; config, checkpoint, evaluation or data cannot be read.
      OSError: the page cannot be written.
    """
    workdir = pathlib.Path(workdir)
    config = config or configuration.load(str(workdir))
    if num_clips < 1:
        raise ValueError(f"num_clips is {num_clips}, but must be 1 or more.")
    model = pretrained_model.load(workdir, step)
    splits = [split] if split else list(dict.fromkeys(
        [config.eval.get("final_split", config.eval.split), config.eval.split]))
    asked = config.data.name, splits, model.step, step != -1
    evaluated = numbers.evaluated_folder(workdir, *asked)
    evaluation = numbers.find_evaluation(evaluated, *asked)
    split = evaluation["split"] if evaluation else splits[0]
    at_step = evaluation["step"] if evaluation else model.step
    rollout, long = (find(evaluated, config.data.name, split, at_step)
                     for find in (numbers.find_rollout, long_clips.find))
    ranked = numbers.find_clips(
        evaluated, config.data.name, evaluation["split"], evaluation["step"],
        config.eval.get("best_by", ())) if evaluation else None
    made = _pictures(model, config, split, num_clips, num_slots, rollout)
    made["worst"] = _worst(ranked, evaluation, model, config, workdir, split, num_clips, num_slots)
    kept = {*made, *(["length"] if long or not model.takes_images else [])}
    page = template(kept).substitute(
        title=html.escape(f"{config.data.name}, step {model.step}"),
        facts=_facts(model, config, workdir, split, num_slots),
        metrics=_metrics(evaluation, config, workdir, split, model.step, exactly=step != -1),
        curves=_curves(config, workdir), **words(config),
        about_clips=ABOUT_IMAGES if config.data.num_frames == 1 else ABOUT_CLIPS,
        horizon=_horizon(rollout, config, workdir, split), maps=_maps(made),
        length=_length(long, config, workdir, split, at_step),
        burn_in=made["rollouts"][1]["burn_in"] if "rollouts" in made else "",
        about_config="All settings of the run", config=_config_table(config),
        data=to_json({name: data for name, (_, data) in made.items()}),
        **{name: text for name, (text, _) in made.items()})
    folder = shipped.results_folder(workdir) / "report"
    folder.mkdir(parents=True, exist_ok=True)
    whole.write_whole(folder / "index.html", page)
    return folder / "index.html"


def _pictures(model: PretrainedModel, config: ml_collections.ConfigDict, split: str, num_clips: int,
              num_slots: int | None, rollout: dict[str, Any] | None
              ) -> dict[str, tuple[str, dict[str, Any]]]:
    """Sections of pictures by name: HTML, and what the page's script needs of each.

    `clips`, and a section for each map, such as `attention`; `iterations` if there are any,
    `rollouts` if the family predicts, and `traversals` if its latents are slots.
    """
    rollout = rollout or {}
    burn_in = rollout.get("burn_in", config.eval.burn_in)
    steps = rollout.get("num_steps", config.eval.rollout_steps or MOST_STEPS)
    long = clips_of.read_clips(config, split, num_clips, burn_in, steps if model.can_predict else 0,
                      model.model.cues)
    length = long.video.shape[1]
    clips = long.first(config.data.num_frames)
    seen = model.segment(clips.video, clips.actions, num_slots, cues=clips.cues)
    made = sections.fit_frames(lambda shown: {
        "clips": sections.clip_section(seen, clips, shown),
        **{name: sections.map_section(name, seen, clips, shown) for name in seen.maps},
    }, clips.video.shape[1], sections.CLIP_BYTES)
    if seen.iterations is not None:
        made |= sections.fit_frames(
            lambda shown: {"iterations": sections.iteration_section(seen, clips, shown)},
            clips.video.shape[1], sections.ITERATION_BYTES)
    if model.can_predict:
        burn_in = min(burn_in, length - 1)
        future = model.predict(
            long.video[:, :burn_in], long.actions, length - burn_in, num_slots,
            cues=long.first(burn_in).cues)
        made |= sections.fit_frames(
            lambda shown: {"rollouts": sections.rollout_section(future, long, shown)}, length,
            sections.ROLLOUT_BYTES)
    if model.slot_size is not None:
        made["traversals"] = sections.traversal_section(model, seen, clips)
    return made


def _worst(ranked: numbers.Ranked | None, evaluation: dict[str, Any] | None,
           model: PretrainedModel, config: ml_collections.ConfigDict, workdir: pathlib.Path,
           split: str, num_clips: int, num_slots: int | None) -> tuple[str, dict[str, Any]]:
    """The section of the worst clips: a table, and as many in pictures as of the first ones.

    So many, as the model was compiled for that batch.
    """
    if ranked is None:
        return sentence("The scores of each clip were not kept. The first command evaluates and "
                        "keeps them, the second writes this page anew:",
                        command_of_evaluation(
                            workdir, split, f" --config.eval.step={model.step}")), {}
    first = ranked.rows[:num_clips]
    clips = clips_of.read_clips(config, split, len(first), 0, 0, model.model.cues,
                       [row["clip"] for row in first])
    seen = model.segment(clips.video, clips.actions, num_slots, cues=clips.cues)
    titles = [", ".join(filter(None, (clips.title(i), row["id"], (
        f"{ranked.metric} {numbers.number(row[ranked.metric])}")))) for i, row in enumerate(first)]
    text, data = sections.fit_frames(lambda shown: {
        "worst": sections.clip_section(seen, clips, shown, "worst", titles)},
        clips.video.shape[1], sections.WORST_BYTES)["worst"]
    least = "least" if table.direction(ranked.metric) > 0 else "greatest"
    called = words(config)
    note = (f"Of {len(ranked.rows)} {called['units']} of the {split} split those with the {least} "
            f"{ranked.metric}, as evaluated at step {evaluation['step']}; what the colours mean "
            f"stands under {called['Units']}.")
    return sentence(note) + numbers.worst_table(
        ranked, evaluation["stages"], called["unit"]) + text, data


def words(config: ml_collections.ConfigDict) -> dict[str, str]:
    """What examples of a run are called, as the template takes it: clips, or images."""
    unit = clips_of.unit(config.data.num_frames)
    return {"unit": unit, "units": f"{unit}s", "Units": f"{unit.capitalize()}s"}


def template(made: Collection[str]) -> string.Template:
    """The page without the sections that there is nothing for, and the links to them."""
    text = TEMPLATE.read_text(encoding="utf-8")
    for name in OPTIONAL:
        if name not in made:
            text = re.sub(rf'<section id="{name}">.*?</section>\n', "", text, flags=re.DOTALL)
            text = re.sub(rf'<a\s+href="#{name}">.*?</a>', "", text)
    return string.Template(text)


def _maps(made: dict[str, tuple[str, dict]]) -> str:
    """Sections of maps that the template has no words for."""
    known = {"clips", *OPTIONAL}
    return "\n".join(
        f'<section id="{name}">\n<h2>{html.escape(name.replace("_", " ").capitalize())}</h2>\n'
        f"<p>The frame is bright where what the model calls {html.escape(name)} is 1 for a slot, "
        f"and dark where it is 0.</p>\n{text}\n</section>"
        for name, (text, _) in made.items() if name not in known)


def _facts(model: PretrainedModel, c: ml_collections.ConfigDict, workdir: pathlib.Path, split: str,
           num_slots: int | None) -> str:
    """What the page is of, as the inside of a <dl>."""
    slots = f"{num_slots or model.num_slots}"
    if num_slots not in (None, model.num_slots):
        slots += f" ({model.num_slots} in training)"
    if model.slot_size is not None:
        slots += f", of {model.slot_size} numbers"
    size = f"{c.data.resolution} × {c.data.resolution}"
    shown = {"Images": size} if c.data.num_frames == 1 else {
        "Frames": f"{c.data.num_frames} of {size}"}
    facts = {"Run": workdir, "Data": f"{c.data.name}, {split} split", "Step": model.step,
             **shown, "Slots": slots, "Seed": c.seed}
    if model.model.num_iterations is not None:
        facts["Iterations"] = model.model.num_iterations
    if c.data.action_size:
        facts["Actions"] = f"{c.data.action_size} numbers"
    return as_facts(facts | written_by())


def written_by() -> dict[str, str]:
    """When a page is written, by which code, if that is known, and on what."""
    facts = {"Written": f"{datetime.datetime.now(datetime.UTC):%Y-%m-%d %H:%M} UTC",
             "Hardware": provenance.hardware()}
    commit = provenance.commit()
    return facts | ({"Commit": commit} if commit else {})


def as_facts(facts: Mapping[str, Any]) -> str:
    """Names and values as the inside of a <dl>."""
    return "".join(f"<div><dt>{html.escape(name)}</dt><dd>{html.escape(str(value))}</dd></div>"
                   for name, value in facts.items())


def _metrics(evaluation: dict[str, Any] | None, config: ml_collections.ConfigDict,
             workdir: pathlib.Path, split: str, step: int, exactly: bool) -> str:
    if evaluation is None:
        return sentence(f"Step {step} was not evaluated on the {split} split. The first command "
                        "does that, the second writes this page anew:",
                        command_of_evaluation(workdir, split, f" --config.eval.step={step}")
                        + (f" --step={step}" if exactly else ""))
    note = (f"{evaluation.get('num_sequences', 'All')} {words(config)['units']} of the "
            f"{evaluation['split']} split.")
    if "hardware" in evaluation:
        code = f" by the code of commit {evaluation['commit']}" if "commit" in evaluation else ""
        note += f" Evaluated{code} on {evaluation['hardware']}."
    size = evaluation.get("resolution", config.data.resolution)
    if size != config.data.resolution:
        note += f" Evaluated during training, at frames of {size} × {size}."
    if evaluation["step"] != step:
        note += (f" These numbers are of step {evaluation['step']}; the pictures below are of step "
                 f"{step}, which was not evaluated.")
    return sentence(note) + numbers.metric_table(evaluation)


def _curves(config: ml_collections.ConfigDict, workdir: pathlib.Path) -> str:
    charts = numbers.learning_curves(
        numbers.read_metrics(workdir, config.data.name, config.eval.split))
    if charts is None:
        return sentence("There is no metrics.jsonl in this workdir; training writes it.")
    schedule, start, changes = config.schedule, 0, []
    for steps, before, after in zip(schedule.steps, schedule.resolution, schedule.resolution[1:],
                                    strict=False):
        start += steps
        if after != before:
            changes.append(f"from {before} × {before} to {after} × {after} after step {start}")
    note = (f"Frames grow {', '.join(changes)}: what counts nats a frame jumps there, and a step "
            "takes longer.") if changes else ""
    return (sentence(note) if note else "") + charts


def _horizon(rollout: dict[str, Any] | None, config: ml_collections.ConfigDict,
             workdir: pathlib.Path, split: str) -> str:
    if rollout is not None:
        note = (f"Mean over the {split} split by how far ahead, after {rollout['burn_in']} frames; "
                f"shaded: {100 * rollout.get('level', 0.95):g}% interval. "
                + numbers.about_rivals(rollout))
        return sentence(note) + numbers.horizon_curves(rollout)
    steps = config.eval.get("rollout_steps")
    if steps is None:
        return sentence("Roll-outs were not scored over the whole split: the config of this run "
                        "has no eval.rollout_steps.")
    return sentence("Roll-outs were not scored over the whole split. The first command does that, "
                    "the second writes this page anew:",
                    command_of_evaluation(
                        workdir, split, "" if steps else " --config.eval.rollout_steps=4"))


def _length(record: dict[str, Any] | None, config: ml_collections.ConfigDict,
            workdir: pathlib.Path, split: str, step: int) -> str:
    if record is not None:
        return long_clips.section(record)
    return sentence("The model was not tested on clips longer than those of training. The first "
                    "command does that, the second writes this page anew:",
                    command_of_evaluation(workdir, split, f" --config.eval.step={step}" + (
                        "" if config.eval.get("length") else " --config.eval.length=200")))


def command_of_evaluation(workdir: pathlib.Path, split: str, more: str = "") -> str:
    """What to type to have `split` evaluated and the page written anew."""
    folder, split = shlex.quote(str(workdir)), shlex.quote(split)
    return (f"python -m parts_jax.main --mode=evaluate --workdir={folder} "
            f"--config.eval.split={split}{more}\n"
            f"python -m parts_jax.report --workdir={folder} --split={split}")


def sentence(text: str, command: str | None = None) -> str:
    """A paragraph and, in a box, what to type."""
    code = f'<pre class="box">{html.escape(command)}</pre>' if command else ""
    return f"<p>{html.escape(text)}</p>{code}"


def _config_table(config: ml_collections.ConfigDict) -> str:
    rows = (f'<tr><th scope="row"><code>{html.escape(key)}</code></th>'
            f"<td><code>{html.escape(repr(value))}</code></td></tr>"
            for key, value in configuration.flatten(config).items())
    return f"<table>{''.join(rows)}</table>"


def to_json(data: Any) -> str:
    """JSON that may stand inside a <script>; what is not finite becomes null."""
    def clean(value):
        if isinstance(value, dict):
            return {key: clean(inner) for key, inner in value.items()}
        if isinstance(value, (list, tuple)):
            return [clean(inner) for inner in value]
        return None if isinstance(value, float) and not is_number(value) else value

    return json.dumps(clean(data), allow_nan=False).replace("<", "\\u003c")
