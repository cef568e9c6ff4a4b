"""Makes a trained model to be passed on, pretrained/NAME, of a run.

    python -m benchmarks.zoo runs/laptop --name=laptop [--step=-2] [--split=test]

It holds config.json, one checkpoint of parameters alone (no optimizer, so no run goes on from it),
metrics.jsonl, the evaluation of that checkpoint on the split, and a card, README.md, of what is
recorded in the run. What it fails at only a person can say who has looked at it: the last section
of the card is to be written by hand. `parts_jax.load("NAME")` finds it, in a wheel, too.
"""

import argparse
import contextlib
import math
import os
import pathlib
import re
import shlex
import shutil
import string
import sys
import tempfile
from typing import Any

import ml_collections

from benchmarks import seeds
from parts_jax.data import curriculum
from parts_jax.evaluation import writing
from parts_jax.files import json_text
from parts_jax.metrics import table
from parts_jax.runs import (
    checkpoint,
    configuration,
    init_from,
    metric_writer,
    parameters_only,
    shipped,
)

MOST_BYTES = 4_000_000
# How the compiled program is laid out, which changes a run by rounding alone.
ROUNDING_KEYS = ("train.unroll",)
# Of the files of an evaluation. By that of long clips `load` knows how long a video may be.
SUFFIXES = (".json", ".png", "-rollout.json", "-rollout.png", "-length.json")
TO_WRITE = "TO BE WRITTEN by who has looked at its masks"
CARD = string.Template("""\
# $name: $family of $dataset, ${size}x$size, $slots slots

| | |
|---|---|
| model | $family, $slots slots; `config.json` has all of it |
| trained on | `$dataset`: windows of $frames of ${size}x$size |
| training | `$command`: $stages; $minutes minutes on $hardware |
| files | parameters of step $step, `metrics.jsonl` of its training, its evaluation |
| licence | Apache-2.0, as the code |

    ./launch/local.sh --mode=evaluate --workdir=pretrained/$name --config.eval.split=$split

writes what it finds to `runs/evaluations/$name`. The optimizer's state is not kept: no run goes on
from these parameters, but a new one starts from them, `--config.train.init_from=$name`.

$clips clips of the $split split; mean, and its 95% interval over clips:

$scores

## Fails at

$to_write: which scenes, objects, sizes and lengths it was not trained for, and what its masks
look like there.
""")


def make(run: pathlib.Path, name: str, step: int, split: str, out: pathlib.Path) -> pathlib.Path:
    """Makes `out`/`name`, whole or not at all.

    Args:
      run: the workdir.
      name: of the model.
      step: which checkpoint; -1: the newest; -2: the best.
      split: whose evaluation goes with it.
      out: the folder of trained models, which is there.

    Raises:
      FileNotFoundError: there is no run, checkpoint, evaluation or folder.
      ValueError: the name is none or taken, something cannot be read, or it is too large.
    """
    if not re.fullmatch(r"[a-z][a-z0-9_-]*", name):
        raise ValueError(f"--name is {name!r}, but must be of small letters, digits, - and _.")
    if not out.is_dir():
        raise FileNotFoundError(f"There is no folder {str(out)!r} of trained models.")
    if (out / name).exists():
        raise ValueError(f"{str(out / name)!r} is there already. Move it away, with the card that "
                         "was written by hand.")
    config = configuration.load(str(run)).unlock()
    config.data.data_dir = ""  # of this machine
    step = checkpoint.choose_step(str(run), step)
    evaluation = run / metric_writer.EVALUATIONS / f"{writing.name_of(config, split)}-{step}"
    record = evaluation_of(evaluation, config, run, step, split)
    params, _ = checkpoint.restore_params(str(run), init_from.saved_shape(run, step), step)
    with tempfile.TemporaryDirectory(dir=out, prefix=".") as part:
        entry = pathlib.Path(part) / name
        (entry / metric_writer.EVALUATIONS).mkdir(parents=True)
        parameters_only.save(entry, step, params, config.to_dict())
        (entry / configuration.FILE_NAME).write_text(configuration.to_json(config))
        if (run / metric_writer.FILE_NAME).is_file():
            shutil.copy(run / metric_writer.FILE_NAME, entry)
        for suffix in SUFFIXES:
            with contextlib.suppress(FileNotFoundError):  # all but the first need not be
                shutil.copy(f"{evaluation}{suffix}", entry / metric_writer.EVALUATIONS)
        (entry / "README.md").write_text(card(name, config, record, run), encoding="utf-8")
        size = sum(path.stat().st_size for path in entry.rglob("*") if path.is_file())
        if size > MOST_BYTES:
            raise ValueError(f"It would have {size / 1e6:.1f} MB, but may have "
                             f"{MOST_BYTES / 1e6:g} MB: a smaller model, or fewer lines of "
                             f"{metric_writer.FILE_NAME}, --config.train.log_every.")
        os.rename(entry, out / name)
    return out / name


def evaluation_of(path: pathlib.Path, config: ml_collections.ConfigDict, run: pathlib.Path,
                  step: int, split: str) -> dict[str, Any]:
    """What an evaluation found; raises as `make` if it is not there, or not of frames in full."""
    command = (f"python -m parts_jax.main --mode=evaluate --workdir={run} --config.eval.step={step}"
               f" --config.eval.split={split}")
    file = path.with_name(f"{path.name}.json")
    if not file.is_file():
        raise FileNotFoundError(f"There is no {str(file)!r}; this writes it: {command}")
    record = table.current_evaluation(json_text.parse(file.read_bytes()))
    if record.get("resolution") != config.data.resolution:
        raise ValueError(f"{str(file)!r} is of frames of size {record.get('resolution')}, in "
                         f"training; this is of those of {config.data.resolution}: {command}")
    return record


def card(name: str, config: ml_collections.ConfigDict, record: dict[str, Any],
         run: pathlib.Path) -> str:
    """The text of README.md, by what the run recorded."""
    minutes = seeds.training_minutes(run)
    return CARD.substitute(
        name=name, family=config.model.name.upper(), dataset=config.data.name,
        size=config.data.resolution, frames=frames_of(config), slots=record["num_slots"],
        command=command_of(config), stages=stages_of(config),
        minutes="an unknown number of" if math.isnan(minutes) else f"{minutes:.1f}",
        hardware=record.get("hardware", "unknown hardware"), step=record["step"],
        split=record["split"], clips=record["num_sequences"], scores=scores(record),
        to_write=TO_WRITE)


def frames_of(config: ml_collections.ConfigDict) -> str:
    """How long the clips of training were, as in "8 frames" or "1 to 40 frames"."""
    lengths = [stage.num_frames for stage in curriculum.stages(config)]
    least, most = min(lengths), max(lengths)
    return f"{most} frames" if least == most else f"{least} to {most} frames"


def stages_of(config: ml_collections.ConfigDict) -> str:
    """The schedule: steps, resolution and, where stages differ in it, batch and frames of each."""
    stages, sizes = curriculum.stages(config), config.schedule.resolution
    steps = [f"{stage.steps:,} steps at {size}x{size}"
             for stage, size in zip(stages, sizes, strict=True)]
    if len({(stage.batch_size, stage.num_frames) for stage in stages}) == 1:
        return f"{', then '.join(steps)}, batch {stages[0].batch_size}"
    return ", then ".join(f"{words}, batch {stage.batch_size} of {stage.num_frames} "
                          f"{'frame' if stage.num_frames == 1 else 'frames'}"
                          for words, stage in zip(steps, stages, strict=True))


def command_of(config: ml_collections.ConfigDict) -> str:
    """The flags that make this config of the shipped one that is nearest to it."""
    found = []
    for path in shipped.config_files():
        with configuration.importable_siblings(str(path)):
            names = shipped.variants(path)
        for variant in names:
            rows = [(key, there, here) for key, there, here in configuration.differences(
                configuration.read(f"{path}:{variant}"), config)
                if not key.startswith((*configuration.FREE_KEYS, *ROUNDING_KEYS))]
            if not any("(absent)" in row for row in rows):
                flags = (f"--config.{key}={here}" for key, _, here in rows if key != "seed")
                found.append([f"--config=configs/{path.name}:{variant}", *flags])
    nearest = min(found, key=len, default=["a config of its own"])
    return shlex.join([*nearest, f"--config.seed={config.seed}"])


def scores(record: dict[str, Any]) -> str:
    """The headline metrics of an evaluation as a Markdown table: stages, and assigned pixels."""
    stages = table.scored(record["stages"], record)
    titles = [stage.replace("_", " ") for stage in stages]
    lines = [["", *titles], ["---", *["---:"] * len(stages)]]
    for name in (*table.headlines(), "mse_last"):
        show, cells = seeds.formatter(name), []
        for at_stage in (table.with_stage(name, stage, stages) for stage in stages):
            pair = (record.get("interval") or {}).get(at_stage)
            interval = f" ({show(pair[0])} - {show(pair[1])})" if pair else ""
            cells.append(f"{show(record[at_stage])}{interval}" if at_stage in record else "")
        if any(cells):
            lines.append([f"`{name}`", *cells])
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("run", type=pathlib.Path, help="the workdir, as runs/demo-0")
    parser.add_argument("--name", required=True, help="of the model")
    parser.add_argument("--step", type=int, default=checkpoint.NEWEST,
                        help="which checkpoint; -1: the newest; -2: the best")
    parser.add_argument("--split", default="test", help="whose evaluation goes with it")
    parser.add_argument("--out", type=pathlib.Path, default="pretrained", help="its folder")
    arguments = parser.parse_args()
    try:
        entry = make(arguments.run, arguments.name, arguments.step, arguments.split, arguments.out)
    except (OSError, ValueError) as error:
        sys.exit(f"Error: {error}")
    print(f"{entry}: write the last section of {entry / 'README.md'}.")


if __name__ == "__main__":
    main()
