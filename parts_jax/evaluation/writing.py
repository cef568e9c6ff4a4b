"""Evaluates a checkpoint and writes what it finds: JSON, pictures, TensorBoard, a line of the log.

An evaluation has one name everywhere, <dataset>-<split>. Into `workdir`/evaluation go
<dataset>-<split>-<step>.json, .png and, with the scores of each clip, .csv; and -rollout.json, .png
and .csv; and -length.json. Metrics are <dataset>-<split>/<metric> in TensorBoard and metrics.jsonl;
pictures go to TensorBoard, too, and a filmstrip of each iteration, where a family has iterations.
"""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import jax
import ml_collections
import numpy as np
from absl import logging

from parts_jax.data import pipeline
from parts_jax.evaluation import length
from parts_jax.evaluation import split as split_of
from parts_jax.evaluation.stages import Evaluator
from parts_jax.metrics import constant_velocity, intervals
from parts_jax.pictures import grids
from parts_jax.runs import metric_writer, provenance


def evaluate_and_write(evaluator: Evaluator, params: Any, step: int, split: str,
                       workdir: str | Path, writer: Any) -> dict[str, float]:
    """Evaluates a split and writes what it finds; then roll-outs and long clips, if asked for.

    `eval.rollout_steps` asks for roll-outs, `eval.length` for long clips.

    Args:
      evaluator: from `stages.compile_stages`.
      params: the model's parameters, replicated over the mesh.
      step: of training.
      split: name of the split.
      workdir: the run.
      writer: from `metric_writer.create_writer`.

    Returns:
      The metrics of the split; those of roll-outs and of long clips are not among them.
    """
    name = name_of(evaluator.config, split)
    logging.info("Evaluating %s, step %d; what is new to it is compiled first.", name, step)
    opened, ids = split_of.with_ids(pipeline.open_split(evaluator.config.data, split))
    clips, shown = split_of.infer_split(evaluator, params, opened,
                                        evaluator.config.eval.num_pictures)
    metrics = _write(evaluator, step, split, workdir, writer, clips, shown, ids)
    logging.info("%s, step %d: %s", name, step,
                 ", ".join(f"{k} {v:.4g}" for k, v in metrics.items()))
    if evaluator.predict is not None:
        evaluate_rollouts(evaluator, params, step, split, workdir, writer)
    if evaluator.config.eval.length:
        evaluate_length(evaluator, params, step, split, workdir, writer)
    return metrics


def evaluate_in_training(evaluator: Evaluator, params: Any, step: int, workdir: str | Path,
                         writer: Any) -> dict[str, float]:
    """Evaluates config.eval.split while training goes on, at the size of frames of its stage.

    Writes what `evaluate_and_write` does, under the same names, but for what is large (scores of
    each clip, moving pictures) or takes long (roll-outs, long clips).

    Args:
      evaluator, params, step, workdir, writer: as for `evaluate_and_write`; the evaluator is that
        of the stage of training.

    Returns:
      The metrics of the split.
    """
    split = evaluator.config.eval.split
    clips, shown = split_of.infer_split(evaluator, params, split,
                                        evaluator.config.eval.num_pictures)
    return _write(evaluator, step, split, workdir, writer, clips, shown)


def _write(evaluator: Evaluator, step: int, split: str, workdir: str | Path, writer: Any,
           clips: dict[str, np.ndarray], shown: dict[str, np.ndarray],
           ids: Callable[[int], list[str]] | None = None) -> dict[str, float]:
    """Writes what `split_of.infer_split` found, and returns its metrics.

    Args:
      evaluator, step, split, workdir, writer: as for `evaluate_and_write`.
      clips, shown: from `infer_split`.
      ids: of so many clips, their ids; None: neither scores of each clip nor moving pictures.
    """
    name, metrics = name_of(evaluator.config, split), intervals.values(clips)
    writer.write_scalars(step, {f"{name}/{k}": v for k, v in metrics.items()})
    if jax.process_index() == 0:
        iterations = [shown[k] for k in split_of.ITERATIONS if k in shown]
        shown = {k: v for k, v in shown.items() if k not in split_of.ITERATIONS}
        grid = grids.picture_grid(**shown) if shown else None
        metric_writer.write_evaluation(
            workdir, f"{name}-{step}", make_record(evaluator, step, split, clips) | made_by(), grid,
            None if ids is None else columns(ids, clips))
        if shown:
            writer.write_images(step, {f"{name}/last_frame": grid[None]})
        if iterations:
            strip = draw_iterations(shown, *iterations)
            writer.write_images(step, {f"{name}/iterations": strip[None]})
        if shown and ids is not None:
            writer.write_videos(step, {f"{name}/clips": grids.side_by_side(**shown)})
    writer.flush()
    return metrics


def draw_iterations(shown: dict[str, np.ndarray], recon: np.ndarray,
                    masks: np.ndarray) -> np.ndarray:
    """The filmstrip of each clip's last frame, see `grids.filmstrip`: uint8 [height, width, 3].

    Args:
      shown: of the clips, from `split.infer_split`: their video, and segmentation if there is.
      recon, masks: of each iteration, [N, T, I, H, W, 3] and [N, T, I, K, H, W].
    """
    truth = shown["segmentation"][:, -1] if "segmentation" in shown else None
    return grids.filmstrip(shown["video"][:, -1], recon[:, -1], masks[:, -1], truth)


def evaluate_rollouts(evaluator: Evaluator, params: Any, step: int, split: str,
                      workdir: str | Path, writer: Any) -> dict[str, np.ndarray]:
    """Evaluates roll-outs on a split and writes what it finds.

    The model sees config.eval.burn_in frames, inferring and refining as in training, and then
    predicts config.eval.rollout_steps frames without seeing any (section 4, "Comparison of
    roll-outs"), with the true actions if it has any.

    Args:
      evaluator, params, step, split, workdir, writer: as for `evaluate_and_write`.

    Returns:
      Means over clips, float64 [S] each, an entry a horizon.
    """
    config = evaluator.config
    name, num_shown = name_of(config, split), config.eval.num_pictures
    opened, ids = split_of.with_ids(pipeline.open_split(config.data, split))
    clips, shown = split_of.predict_split(evaluator, params, opened, num_shown)
    means = {k: v.mean(0) for k, v in clips.items()}
    writer.write_scalars(step, {f"{name}/rollout/{k}_{h}": float(v) for k, values in means.items()
                                for h, v in enumerate(values, start=1)})
    if jax.process_index() == 0:
        grid = draw_rollouts(shown, config.eval.burn_in) if shown else None
        shown = {k: shown[k] for k in ("video", "recon", "masks") if shown}
        metric_writer.write_evaluation(
            workdir, f"{name}-{step}-rollout",
            make_rollout_record(evaluator, step, split, clips) | made_by(), grid,
            columns(ids, {f"{k}_{h}": values[:, h - 1] for k, values in clips.items()
                          for h in range(1, values.shape[1] + 1)}))
        if shown:
            writer.write_videos(step, {f"{name}/rollout/clips": grids.rollout_clips(**shown)})
    writer.flush()
    logging.info(
        "%s, step %d, roll-out from frame %d to %d, mean over them: %s", name, step,
        config.eval.burn_in + 1, config.eval.burn_in + config.eval.rollout_steps,
        ", ".join(f"{k} {v.mean():.4g}" for k, v in means.items()))
    return means


def draw_rollouts(shown: dict[str, np.ndarray], burn_in: int) -> np.ndarray:
    """The picture of roll-outs: uint8 [height, width, 3].

    Five rows a clip over time: true frames, predicted frames, predicted masks, the last seen frame
    repeated, and objects moved on at constant velocity; without the last where there are no masks.

    Args:
      shown: arrays of the clips, from `split.predict_split`.
      burn_in: frames that were seen.
    """
    video, recon = shown["video"], shown["recon"]
    rivals = {"last seen frame": np.broadcast_to(video[:, burn_in - 1:burn_in], recon.shape)}
    if "segmentation" in shown:
        rivals["constant velocity"] = constant_velocity.constant_velocity(
            video[:, :burn_in], shown["segmentation"][:, :burn_in], recon.shape[1]).video
    return grids.rollout_grid(video, recon, shown["masks"], rivals=rivals)


def evaluate_length(evaluator: Evaluator, params: Any, step: int, split: str,
                    workdir: str | Path, writer: Any) -> length.Curves:
    """Evaluates clips of config.eval.length frames and writes the scores of each frame.

    Args:
      evaluator, params, step, split, workdir, writer: as for `evaluate_and_write`.
    """
    name = name_of(evaluator.config, split)
    curves = length.curves_of_split(evaluator, params, split)
    writer.write_scalars(step, {
        f"{name}/length/{key}": value for key, value in length.told(curves).items()})
    if jax.process_index() == 0:
        metric_writer.write_evaluation(
            workdir, f"{name}-{step}-length",
            make_length_record(evaluator, step, split, curves) | made_by(), None)
    writer.flush()
    logging.info("%s, step %d, scores hold up to frame %d of %d.", name, step,
                 curves.tested_frames, curves.length)
    return curves


def columns(ids: Callable[[int], list[str]],
            clips: dict[str, np.ndarray]) -> dict[str, Sequence]:
    """What a CSV has of each clip: its position in the split, its id, and its scores.

    Args:
      ids: of so many clips, their ids.
      clips: scores by name, float64 [number of clips] each, or what a metric's `reduce` takes.
    """
    count = len(next(iter(clips.values())))
    return {"clip": range(count), "id": ids(count)} | intervals.by_sequence(clips)


def is_written(config: ml_collections.ConfigDict, workdir: str | Path, step: int,
               split: str) -> bool:
    """Whether `evaluate_and_write` has written all that it writes for a step."""
    folder = Path(workdir) / metric_writer.EVALUATIONS
    suffixes = ["", *(suffix for suffix, asked in (
        ("-rollout", config.eval.rollout_steps), ("-length", config.eval.length)) if asked)]
    return all((folder / f"{name_of(config, split)}-{step}{suffix}.json").is_file()
               for suffix in suffixes)


def name_of(config: ml_collections.ConfigDict, split: str) -> str:
    """The name of a split's evaluation in file names and among metrics."""
    return f"{config.data.name.replace('/', '_')}-{split}"


def make_record(evaluator: Evaluator, step: int, split: str,
                clips: dict[str, np.ndarray]) -> dict[str, Any]:
    """What is kept of a split's evaluation, for JSON: what was evaluated, and every metric.

    Args:
      evaluator, step, split: as for `evaluate_and_write`.
      clips: metrics of each clip, float64 [number of clips] each.
    """
    config = evaluator.config
    found = intervals.summarise(clips)
    return head_of_record(evaluator, step, split, len(clips["mse"])) | dict(
        num_frames=config.data.num_frames, stages=list(evaluator.model.stages),
        **{k: float(summary.value) for k, summary in found.items()},
        median={k: float(summary.median) for k, summary in found.items()},
        standard_error={k: float(summary.standard_error) for k, summary in found.items()},
        interval={k: as_list(summary.interval) for k, summary in found.items()})


def make_rollout_record(evaluator: Evaluator, step: int, split: str,
                        clips: dict[str, np.ndarray]) -> dict[str, Any]:
    """What is kept of a split's roll-outs, for JSON.

    Args:
      evaluator, step, split: as for `evaluate_and_write`.
      clips: metrics of each clip, float64 [number of clips, S] each.

    Returns:
      What was evaluated, and by metric the mean of each horizon, and the bootstrap interval of
      each; null for an interval where there is one clip only, or numbers are not finite.
    """
    c = evaluator.config.eval
    found = intervals.summarise(clips)
    return head_of_record(evaluator, step, split, len(clips["mse"])) | dict(
        burn_in=c.burn_in, num_steps=c.rollout_steps, level=intervals.LEVEL,
        horizon=list(range(1, c.rollout_steps + 1)),
        metrics={name: dict(mean=summary.value.tolist(), interval=as_list(summary.interval))
                 for name, summary in found.items()})


def make_length_record(evaluator: Evaluator, step: int, split: str,
                       curves: length.Curves) -> dict[str, Any]:
    """What is kept of long clips, for JSON: what was evaluated, and means over clips by frame.

    Args:
      evaluator, step, split: as for `evaluate_and_write`.
      curves: from `length.curves_of_split`.

    Returns:
      `tested_frames`, of `length` that were tested; by metric a number a frame in `moving` and
      `still`, the first frame first; and in `ahead` a number a horizon, six digits each. null
      stands for what is not finite.
    """
    def plain(scores: dict[str, np.ndarray]) -> dict[str, list[float | None]]:
        return {name: [float(f"{value:.6g}") if np.isfinite(value) else None for value in values]
                for name, values in scores.items()}

    return head_of_record(evaluator, step, split, curves.num_clips) | dict(
        num_frames=curves.num_frames, length=curves.length,
        burn_in=evaluator.config.eval.burn_in, stages=list(evaluator.model.stages),
        tested_frames=curves.tested_frames, moving=plain(curves.moving), still=plain(curves.still),
        ahead=plain(curves.ahead))


def as_list(interval: np.ndarray | None) -> list | None:
    """An interval for JSON; null where there is none."""
    return None if interval is None else interval.tolist()


def head_of_record(evaluator: Evaluator, step: int, split: str,
                   num_clips: int) -> dict[str, Any]:
    """What a record says of the run and the clips."""
    c = evaluator.config
    return dict(
        step=step, dataset=c.data.name, split=split, seed=c.seed,
        num_sequences=num_clips, num_slots=evaluator.model.num_slots,
        resolution=c.data.resolution // evaluator.factor, stride=c.data.stride)


def made_by() -> dict[str, str]:
    """Which code evaluates, if that is known, and on what."""
    commit = provenance.commit()
    return ({"commit": commit} if commit else {}) | {"hardware": provenance.hardware()}
