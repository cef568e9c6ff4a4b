"""Whether a trained model's roll-outs heed the actions: true ones, none, and another clip's.

    python -m benchmarks.actions runs/arm-0
    python -m benchmarks.actions runs/arm-0 --num_steps=8 --num_sequences=64 --out=runs/actions.json
    python -m benchmarks.actions runs/arm-0 --picture=runs/actions.png

The first argument is a run's folder, or the name of a model that comes with the package. The model
sees the frames of the burn-in with their true actions and predicts the frames after them: with the
true actions, with zeros in their place, and with those that the clip before it in the split has at
these frames (the first has the last one's). A model that learned what actions do is worse with
zeros, and worse still with a stranger's; one that never heeded them does not change. The table is
of some horizons, the JSON of all. The picture is of the first clips, five rows each: true frames,
what is predicted with the true actions, its masks, with zeros, with another clip's.
The workdir is read and not written to.
"""

import json
import pathlib
import sys
from collections.abc import Mapping
from typing import Any

import jax
import ml_collections
import numpy as np
from absl import app, flags

from parts_jax import models
from parts_jax.data import pipeline
from parts_jax.data.sets import splits
from parts_jax.devices import sharding
from parts_jax.evaluation import by_clip, stages
from parts_jax.evaluation import split as split_of
from parts_jax.models.contract import View
from parts_jax.pictures import grids
from parts_jax.runs import checkpoint, configuration, quiet, shipped

GIVEN = ("true", "zeros", "another clip's")
SHOWN = {"mse": "MSE", "psnr": "PSNR, dB", "fg_miou": "mIoU of objects"}
HORIZONS = (1, 2, 4, 8)  # of the table, and the last
NUM_PICTURES = 4         # clips


def others(actions: np.ndarray, burn_in: int) -> dict[str, np.ndarray]:
    """The actions that a model is given, by `GIVEN`.

    Args:
      actions: the true ones of all clips, actions[:, t] between frames t and t+1, [N, T, A].
      burn_in: frames that are seen. What leads to them is true in all three.
    """
    found = {}
    for name, ahead in zip(GIVEN, (actions, np.zeros_like(actions), np.roll(actions, 1, axis=0)),
                           strict=True):
        found[name] = actions.copy()
        found[name][:, burn_in - 1:] = ahead[:, burn_in - 1:]
    return found


def config_for(trained: ml_collections.ConfigDict, num_steps: int,
               num_sequences: int) -> ml_collections.ConfigDict:
    """The config of a trained model, with roll-outs of so many frames of so many clips.

    Raises:
      ValueError: the model was trained without actions, or it is not said how many frames.
    """
    if not trained.data.action_size:
        raise ValueError(f"The model of {trained.data.name} was trained without actions "
                         "(data.action_size is 0), so there are none to replace. Name a model of a "
                         "set with actions, such as one of configs/parts_robotics_arm.py.")
    if not (num_steps or trained.eval.rollout_steps):
        raise ValueError("The run evaluates no roll-outs (eval.rollout_steps is 0): --num_steps "
                         "must say how many frames are predicted; got 0.")
    return configuration.for_evaluation(trained, {
        "eval.rollout_steps": num_steps or trained.eval.rollout_steps,
        "eval.num_sequences": num_sequences})


def measure(workdir: str, split: str = "test", num_steps: int = 0, num_sequences: int = 128,
            step: int = checkpoint.NEWEST) -> tuple[dict[str, Any], np.ndarray]:
    """Rolls a checkpoint out three times.

    Args:
      workdir: a run's folder, or the name of a model that comes with the package.
      split: whose clips.
      num_steps: S, frames that are predicted; 0: the run's own eval.rollout_steps.
      num_sequences: so many of its first clips; 0: all.
      step: which checkpoint; -1: the newest; -2: the best.

    Returns:
      What was evaluated, and in `given`, by `GIVEN`, each metric's mean over clips by horizon, [S];
      and the picture, uint8 [height, width, 3].

    Raises:
      ValueError: there is no such split, its clips are too short, there is but one, or the model
        has no actions, or does not predict.
      FileNotFoundError: there is no such run or checkpoint.
    """
    if split not in splits.SPLITS:
        raise ValueError(f"The split must be one of {', '.join(splits.SPLITS)}; got {split!r}.")
    if min(num_steps, num_sequences) < 0:
        raise ValueError("num_steps (0: the run's own) and num_sequences (0: all) must be 0 or "
                         f"more; got {num_steps} and {num_sequences}.")
    folder = str(shipped.find_model(workdir))
    if not pathlib.Path(folder).is_dir():
        raise FileNotFoundError(f"There is no folder {folder!r} with a model to evaluate; by name "
                                f"there is: {', '.join(shipped.trained_models())}.")
    config = config_for(configuration.load(folder), num_steps, num_sequences)
    model = models.create(config)
    if model.predict is None:
        raise ValueError(f"Models of the family {config.model.name!r} do not predict.")
    mesh = sharding.make_mesh()
    batches = _clips(config, model, split, mesh.size)
    actions = np.concatenate([batch["actions"] for batch in batches])
    valid = np.concatenate([batch["valid"] for batch in batches])
    if valid.sum() < 2:
        raise ValueError(f"The split {split!r} has but {valid.sum()} clip to evaluate; two or more "
                         "are needed, as one is given the actions of another.")
    params, step = checkpoint.restore_params(
        folder, jax.eval_shape(model.init, jax.random.key(0)), step)
    evaluator, params = stages.compile_stages(config, model, mesh), sharding.replicate(params, mesh)
    given = {name: np.zeros_like(actions) for name in GIVEN}
    for name, values in others(actions[valid], config.eval.burn_in).items():
        given[name][valid] = values
    found = {name: _roll_out(evaluator, params, batches, values) for name, values in given.items()}
    return {"workdir": str(workdir), "step": step, "split": split, "seed": config.seed,
            "dataset": config.data.name, "burn_in": config.eval.burn_in,
            "num_sequences": int(valid.sum()),
            "given": {name: numbers for name, (numbers, *_) in found.items()}}, _draw(
                {name: shown for name, (_, *shown) in found.items()})


def _clips(config: ml_collections.ConfigDict, model: Any, split: str,
           num_devices: int) -> list[dict]:
    """All clips of the evaluation, batch by batch."""
    data_config = config.data.copy_and_resolve_references()
    data_config.num_frames = config.eval.burn_in + config.eval.rollout_steps
    return list(pipeline.eval_iterator(
        data_config, split, batch_size=split_of.divisible(config.eval.batch_size, num_devices),
        num_sequences=config.eval.num_sequences, action_size=config.data.action_size,
        cues=model.cues))


def _roll_out(evaluator: stages.Evaluator, params: Any, batches: list[dict],
              actions: np.ndarray) -> tuple[dict[str, list[float]], View, np.ndarray]:
    """Means over valid clips of each metric by horizon, with the actions [N, T, A] given.

    And the prediction of the first clips, [n, S, ...], and their true frames, [n, T, H, W, 3].
    """
    found, shown, start = [], None, 0
    for batch in batches:
        share = batch | {"actions": actions[start:start + len(batch["actions"])]}
        start += len(batch["actions"])
        output = evaluator.predict(params, sharding.split_batch(share, evaluator.mesh))
        latents, video = output.pop("latents")[stages.ROLLOUT], output.pop("video")
        numbers = sharding.fetch(output)
        valid = numbers.pop("valid")
        found.append(by_clip.metrics_by_horizon(
            jax.tree.map(lambda a, valid=valid: a[valid], numbers), evaluator.config.eval.burn_in))
        if shown is None:
            shown = jax.tree.map(
                lambda a, valid=valid: a[valid][:NUM_PICTURES],
                sharding.fetch((evaluator.show(params, latents, video), video)))
    return {name: np.concatenate([metrics[name] for metrics in found]).mean(0).tolist()
            for name in found[0]}, *shown


def _draw(given: Mapping[str, tuple[View, np.ndarray]]) -> np.ndarray:
    """The picture: predictions with the true actions under the true frames, then the others."""
    view, video = given[GIVEN[0]]
    return grids.rollout_grid(video, view.recon, view.masks, rivals={
        f"by {name}": given[name][0].recon for name in GIVEN[1:]})


def table(report: Mapping[str, Any]) -> str:
    """The Markdown table of what `measure` found, under a line that says of what."""
    given = report["given"]
    last = len(given[GIVEN[0]]["mse"])
    steps = [*(step for step in HORIZONS if step < last), last]
    lines = [["frames ahead", *map(str, steps)], ["---"] + ["---:"] * len(steps)]
    for metric, words in SHOWN.items():
        digits = 5 if metric == "mse" else 3
        lines += [[f"{words}, actions: {name}",
                   *(f"{given[name][metric][step - 1]:.{digits}f}" for step in steps)]
                  for name in GIVEN if metric in given[name]]
    true = given[GIVEN[0]]["mse"]
    for name in GIVEN[1:]:
        pairs = [(true[step - 1], given[name]["mse"][step - 1]) for step in steps]
        lines.append([f"MSE of the true ones, below that of {name}",
                      *(f"{100 * (1 - a / b):.1f}%" if b else "-" for a, b in pairs)])
    return "\n".join([
        f"{report['workdir']}, {report['dataset']} {report['split']}, seed {report['seed']}, step "
        f"{report['step']}; {report['num_sequences']} clips, {report['burn_in']} frames seen; "
        "means over clips.", "", *(f"| {' | '.join(line)} |" for line in lines)])


def main(arguments: list[str]) -> None:
    """Measures, prints the table, and writes the JSON if a file is named."""
    values = flags.FLAGS
    quiet.hush()
    try:
        if len(arguments) != 2:
            raise ValueError("Name one run's folder, or one model that comes with the package; got "
                             f"{' '.join(arguments[1:]) or 'none'}.")
        for name in ("out", "picture"):
            path = values[name].value
            if path and not pathlib.Path(path).absolute().parent.is_dir():
                raise FileNotFoundError(f"There is no folder for --{name}={path}.")
        report, picture = measure(arguments[1], values.split, values.num_steps,
                                  values.num_sequences, values.step)
    except (OSError, ValueError) as error:
        sys.exit(f"Error: {error}")
    print(table(report))
    if values.picture:
        grids.save_png(values.picture, picture)
    if values.out:
        pathlib.Path(values.out).write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")


def define_flags() -> None:
    """The command line."""
    flags.DEFINE_string("split", "test", "Split whose clips are rolled out.")
    flags.DEFINE_integer("num_steps", 0, "Frames that are predicted; 0: as the run evaluates.")
    flags.DEFINE_integer("num_sequences", 128, "Clips; 0: all.")
    flags.DEFINE_integer("step", checkpoint.NEWEST, "Checkpoint; -1: the newest; -2: the best.")
    flags.DEFINE_string("out", None, "File that the JSON is written to.")
    flags.DEFINE_string("picture", None, "PNG file that the first clips are drawn in.")


if __name__ == "__main__":
    define_flags()
    app.run(main)
