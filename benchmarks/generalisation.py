"""What a trained model scores on sets that it did not learn from, as one Markdown table.

    python -m benchmarks.generalisation demo
    python -m benchmarks.generalisation runs/demo-0 --sets=twins,demo_long --out=runs/table.json

The first argument is a run's folder, or the name of a model that comes with the package. The sets
are variants of sim_clevrer, each at its own size of frames. There are as many slots as in training,
or more where a clip may have more objects; as many frames as in training, but of the long sets all.
The workdir is read and not written to. A set that is not prepared yet is simulated first.

The model's own set stands first, for comparison. Masks are those that the model predicts before it
sees the frame, and, where evaluation has them, the assignments of pixels of the frame that it saw.
"best trivial" is at each measure the best of the answers of benchmarks/trivial_answers.py, which
see the last frame and nothing else.
"""

import difflib
import json
import pathlib
import sys
from collections.abc import Mapping, Sequence
from typing import Any

import jax
import ml_collections
import numpy as np
from absl import app, flags

from benchmarks import trivial_answers
from parts_jax import models
from parts_jax.data import pipeline
from parts_jax.data.sets import splits
from parts_jax.data.sets.sim_clevrer import SimClevrer, SimClevrerConfig
from parts_jax.devices import sharding
from parts_jax.evaluation import split as split_of
from parts_jax.evaluation import stages
from parts_jax.metrics import intervals
from parts_jax.metrics.table import headlines
from parts_jax.runs import checkpoint, configuration, quiet, shipped

COLUMNS = {"fg_ari_last": "FG-ARI", "ari_last": "ARI", "miou_last": "mIoU",
           "fg_ari_video": "FG-ARI, video", "ari_video": "ARI, video", "miou": "mIoU, all frames"}
LAST = headlines()
VARIANTS = {variant.name: variant for variant in SimClevrer.BUILDER_CONFIGS}
OWN = "own"  # the set that the model was trained on
ANYWHERE = ("twins", "mixed", "demo_crowded", "demo_camera")
# Longer clips, and another size of frames, of the set that the model was trained on.
LIKE = {"medium": ("medium_long", "medium_128"), "medium_128": ("medium_long", "medium")}
LIKE_OTHERS = ("demo_long", "demo_64")


def default_sets(config: ml_collections.ConfigDict) -> tuple[str, ...]:
    """The sets that tell most of a model, its own the first."""
    name = config.data.name.removeprefix(f"{SimClevrer.name}/")
    rest = (*ANYWHERE, *LIKE.get(name, LIKE_OTHERS))
    return (OWN, *(other for other in rest if other != name))


def check_sets(names: Sequence[str]) -> None:
    """Raises a ValueError, with the nearest name, if a set is not one of those that there are."""
    for name in names:
        if name != OWN and name not in VARIANTS:
            near = difflib.get_close_matches(name, (OWN, *VARIANTS), n=1, cutoff=0.5)
            hint = f"The nearest is {near[0]!r}. " if near else ""
            raise ValueError(f"There is no set {name!r} to evaluate on. {hint}There are: "
                             f"{', '.join((OWN, *VARIANTS))}.")


def config_for(trained: ml_collections.ConfigDict, name: str,
               num_sequences: int) -> ml_collections.ConfigDict:
    """The config of a trained model, of another set.

    Args:
      trained: of the run.
      name: of the set, as `check_sets` lets pass.
      num_sequences: clips that are evaluated.
    """
    changes = {"eval.num_sequences": num_sequences, "eval.rollout_steps": 0}
    if name == OWN:
        return configuration.for_evaluation(trained, changes)
    variant = VARIANTS[name]
    resolution, world = variant.world.frame_size[0], variant.world
    # A batch takes about as much memory as one of the model's own set.
    share = (trained.data.resolution / resolution) ** 2
    config = configuration.for_evaluation(trained, changes | {
        "data.name": f"{SimClevrer.name}/{name}", "data.source_dir": "", "data.camera": "",
        "data.actions": "", "data.skip_bad": False, "data.stride": 1,
        "data.resolution": resolution, "data.num_frames": _num_frames(trained, variant),
        "eval.batch_size": max(1, int(trained.eval.batch_size * min(share, 1.0)))})
    if "num_slots" in config.model:
        config.model.num_slots = max(config.model.num_slots, world.max_objects + 1)
    return config


def _num_frames(trained: ml_collections.ConfigDict, variant: SimClevrerConfig) -> int:
    longest = variant.world.num_frames
    every = variant.name.endswith(("_long", "_slow"))
    return longest if every else min(trained.data.num_frames, longest)


def measure(workdir: str, names: Sequence[str] = (), split: str = "test",
            num_sequences: int = 128, step: int = checkpoint.NEWEST) -> dict[str, Any]:
    """Evaluates a checkpoint on several sets, and trivial answers on the same clips.

    Args:
      workdir: a run's folder, or the name of a model that comes with the package.
      names: of sets: `OWN`, or variants of sim_clevrer; none: `default_sets`.
      split: of each.
      num_sequences: so many of its first clips; 0: all.
      step: which checkpoint; -1: the newest; -2: the best.

    Returns:
      What was evaluated, and in `sets` by name what `score` returns.

    Raises:
      ValueError: there is no such set or split, or its clips cannot be read as the model needs.
      FileNotFoundError: there is no such run or checkpoint.
    """
    if split not in splits.SPLITS:
        raise ValueError(f"The split must be one of {', '.join(splits.SPLITS)}; got {split!r}.")
    if num_sequences < 0:
        raise ValueError("num_sequences must be 0 (all clips) or more; "
                         f"got {num_sequences}.")
    check_sets(names)
    folder = str(shipped.find_model(workdir))
    if not pathlib.Path(folder).is_dir():
        raise FileNotFoundError(f"There is no folder {folder!r} with a model to evaluate; by name "
                                f"there is: {', '.join(shipped.trained_models())}.")
    trained = configuration.load(folder)
    configs = {name: config_for(trained, name, num_sequences)
               for name in names or default_sets(trained)}
    shape = jax.eval_shape(models.create(trained).init, jax.random.key(0))
    params, step = checkpoint.restore_params(folder, shape, step)
    for config in configs.values():  # before anything is compiled
        pipeline.check(config.data, None, (split,), config.data.action_size)
    return {"workdir": str(workdir), "step": step, "split": split, "seed": trained.seed,
            "trained_on": trained.data.name,
            "sets": {name: score(config, params, split) for name, config in configs.items()}}


def score(config: ml_collections.ConfigDict, params: Any, split: str) -> dict[str, Any]:
    """Scores of one set.

    Args:
      config: from `config_for`.
      params: of the model.
      split: of the set.

    Returns:
      What was evaluated; `metrics`, means over clips, of every stage; and `trivial`, by metric the
      best trivial answer and what it scores.
    """
    mesh, model = sharding.make_mesh(), models.create(config)
    evaluator = stages.compile_stages(config, model, mesh)
    clips, _ = split_of.infer_split(evaluator, sharding.replicate(params, mesh), split)
    return {"dataset": config.data.name, "num_slots": model.num_slots,
            "num_frames": config.data.num_frames, "resolution": config.data.resolution,
            "num_sequences": len(clips["mse"]), "stages": list(model.stages),
            "metrics": {k: float(v) for k, v in intervals.values(clips).items()},
            "trivial": best_trivial(config, model.num_slots, split)}


def best_trivial(config: ml_collections.ConfigDict, num_slots: int,
                 split: str) -> dict[str, dict[str, Any]]:
    """By metric of the last frame, the answer that is best at it; {} of a set without masks."""
    batches = trivial_answers.clips(config, split, config.eval.num_sequences)
    if not all("segmentation" in batch for batch in batches):
        return {}
    last = [{key: value[:, -1:] for key, value in batch.items()} for batch in batches]
    found = trivial_answers.score_segmentations(last, num_slots)
    best = {column: max(found, key=lambda answer, column=column: found[answer][column]["mean"])
            for column in LAST}
    return {column: {"answer": answer, "value": found[answer][column]["mean"]}
            for column, answer in best.items()}


def masks_of(metrics: Mapping[str, float]) -> list[str]:
    """The suffixes of the metrics that are shown: of predicted masks, and of assignments."""
    found = [name.removeprefix("ari_last") for name in metrics if name.startswith("ari_last")]
    return [suffix for suffix in found if not suffix or "assigned" in suffix]


def table(report: Mapping[str, Any]) -> str:
    """The Markdown table of what `measure` found, under a line that says of what."""
    lines = [["set", "clips", "pixels", "frames", "K", "masks", *COLUMNS.values()]]
    lines.append(["---"] * 2 + ["---:"] * 3 + ["---"] + ["---:"] * len(COLUMNS))
    for name, found in report["sets"].items():
        size = found["resolution"]
        about = [name, str(found["num_sequences"]), f"{size}x{size}", str(found["num_frames"]),
                 str(found["num_slots"])]
        rows = [(suffix.removeprefix("_").replace("_", " ") or found["stages"][0],
                 [found["metrics"].get(column + suffix) for column in COLUMNS])
                for suffix in masks_of(found["metrics"])]
        rows.append(("best trivial", [found["trivial"].get(column, {}).get("value")
                                      for column in COLUMNS]))
        lines += [[*about, masks, *map(_cell, values)] for masks, values in rows]
    return "\n".join([
        f"{report['workdir']}, trained on {report['trained_on']} with seed {report['seed']}, step "
        f"{report['step']}; split {report['split']}; means over clips, of the last frame where no "
        "other is named.", "", *(f"| {' | '.join(line)} |" for line in lines)])


def _cell(value: float | None) -> str:
    return "-" if value is None or np.isnan(value) else f"{value:.3f}"


def main(arguments: list[str]) -> None:
    """Measures, prints the table, and writes the JSON if a file is named."""
    values = flags.FLAGS
    quiet.hush()
    try:
        if len(arguments) != 2:
            raise ValueError("Name one run's folder, or one model that comes with the package; got "
                             f"{' '.join(arguments[1:]) or 'none'}.")
        if values.out and not pathlib.Path(values.out).absolute().parent.is_dir():
            raise FileNotFoundError(f"There is no folder for --out={values.out}.")
        report = measure(arguments[1], values.sets, values.split, values.num_sequences, values.step)
    except (OSError, ValueError) as error:
        sys.exit(f"Error: {error}")
    print(table(report))
    if values.out:
        pathlib.Path(values.out).write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")


def define_flags() -> None:
    """The command line."""
    flags.DEFINE_list("sets", [], "own, or variants of sim_clevrer; none: those that tell most.")
    flags.DEFINE_string("split", "test", "Split of each set.")
    flags.DEFINE_integer("num_sequences", 128, "Clips of each set; 0: all.")
    flags.DEFINE_integer("step", checkpoint.NEWEST, "Checkpoint; -1: the newest; -2: the best.")
    flags.DEFINE_string("out", None, "File that the JSON is written to.")


if __name__ == "__main__":
    define_flags()
    app.run(main)
