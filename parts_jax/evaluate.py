"""Evaluation of a model on a split: every metric per example, masked, then the mean.

Masks and reconstruction are of the predicted posterior lambda_t^0, sampled, as in the paper. With
the suffix `_refined` they are of the posterior after refinement, decoded at its mean. Roll-outs are
evaluated after that: evaluate_rollout.py.
"""

import contextlib
import functools
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import jax
import jax.numpy as jnp
import ml_collections
import numpy as np
from absl import logging

from parts_jax import (
    checkpoint,
    evaluate_rollout,
    likelihood,
    metric_writer,
    metrics,
    models,
    score_split,
    sharding,
    visualize,
)
from parts_jax.data import preprocess
from parts_jax.models import parts

PICTURES = ("video", "recon", "masks", "slot_means")
FROM_MODEL = {"mse": "mse", "kl": "kl", "neg_elbo": "negative_elbo", "mask_entropy": "mask_entropy",
              "effective_slots": "effective_slots"}


class Programs(NamedTuple):
    """What evaluation runs, jitted once for all checkpoints.

    Attributes:
      infer: from `compile_inference`.
      predict: from `evaluate_rollout.compile_prediction`.
    """

    infer: Callable
    predict: Callable


def evaluate(config: ml_collections.ConfigDict, workdir: str | Path) -> dict[str, float]:
    """Evaluates checkpoints of `workdir` on config.eval.split and writes what it finds.

    That of config.eval.step; or, if config.eval.watch is set, all that are there and all that
    training writes from now on, until the last step of the schedule. What training deleted before
    its turn came is left out.

    Args:
      config: the config that the model was trained with, with its own `eval` and `data`.
      workdir: the run.

    Returns:
      The metrics of the last of them.

    Raises:
      FileNotFoundError: there is no such checkpoint.
      checkpoint.UnreadableError: it is damaged, or of another model.
    """
    mesh = sharding.make_mesh()
    model = models.create(config)
    shape = jax.eval_shape(functools.partial(models.initial_parameters, config, model),
                           jax.random.key(0))
    programs = compile_programs(config, model, mesh)
    watch, scores = config.eval.watch, {}
    steps = checkpoint.new_steps(workdir, sum(config.schedule.steps)) if watch else (
        config.eval.step,)
    # A folder of its own: training may be writing to the workdir's files.
    writer = metric_writer.create_writer(Path(workdir) / metric_writer.EVALUATIONS)
    with contextlib.closing(writer):
        for step in steps:
            try:
                params, step = checkpoint.restore_params(workdir, shape, step)
            except FileNotFoundError:
                if not watch:
                    raise
                logging.warning("The checkpoint of step %d was deleted before its turn.", step)
                continue
            scores = evaluate_and_write(
                config, programs, sharding.replicate(params, mesh), step, mesh, config.eval.split,
                workdir, writer)
    return scores


def evaluate_and_write(config, programs: Programs, params, step: int, mesh, split: str, workdir,
                       writer) -> dict[str, float]:
    """Evaluates a split and writes JSON and picture to `workdir`/evaluation, and to TensorBoard.

    Then the same for roll-outs, if config.eval.rollout_steps asks for any.

    Returns:
      The mean metrics; those of roll-outs are not among them.
    """
    examples, pictures = evaluate_split(config, params, mesh, split, programs.infer)
    scores = means(examples)
    name = score_split.name_of(config, split)
    writer.write_scalars(step, {f"{name}/{k}": v for k, v in scores.items()})
    if jax.process_index() == 0:
        grid = visualize.picture_grid(**pictures) if pictures else None
        record = make_record(config, step, split, examples)
        metric_writer.write_evaluation(workdir, f"{name}-{step}", record, grid)
        if pictures:
            writer.write_images(step, {f"{name}/last_frame": grid[None]})
            writer.write_videos(step, {f"{name}/clips": visualize.side_by_side(**pictures)})
    writer.flush()
    logging.info("%s, step %d: %s", name, step,
                 ", ".join(f"{k} {v:.4g}" for k, v in scores.items()))
    evaluate_rollout.evaluate_and_write(
        config, programs.predict, params, step, mesh, split, workdir, writer)
    return scores


def evaluate_in_training(config, params, step: int, mesh, infer: Callable,
                         writer) -> dict[str, float]:
    """Evaluates config.eval.split while training goes on, and writes the mean metrics.

    Args:
      config, params, step, mesh, writer: as in `evaluate_and_write`.
      infer: from `compile_inference`, for the stage of training.

    Returns:
      The mean metrics.
    """
    examples, _ = evaluate_split(config, params, mesh, config.eval.split, infer)
    scores = means(examples)
    writer.write_scalars(step, {f"eval/{k}": v for k, v in scores.items()})
    return scores


def is_written(config, workdir: str | Path, step: int, split: str) -> bool:
    """Whether `evaluate_and_write` has written all that it writes for a step."""
    folder = Path(workdir) / metric_writer.EVALUATIONS
    suffixes = ("", "-rollout") if config.eval.get("rollout_steps", 0) else ("",)
    return all((folder / f"{score_split.name_of(config, split)}-{step}{suffix}.json").is_file()
               for suffix in suffixes)


def make_record(config, step: int, split: str, examples: dict[str, np.ndarray]) -> dict:
    """What is kept of a split's evaluation, for JSON: what was evaluated, and every metric.

    Args:
      config, step, split: as in `evaluate_and_write`.
      examples: metrics of each clip, float64 [number of clips] each.
    """
    intervals = metrics.confidence_intervals(examples)
    return dict(
        step=step, dataset=config.data.name, split=split, seed=config.seed,
        num_sequences=len(examples["mse"]), num_frames=config.data.num_frames,
        stride=config.data.stride, resolution=config.data.resolution,
        num_slots=config.model.num_slots, **means(examples),
        median={k: float(np.median(v)) for k, v in examples.items()},
        standard_error={k: float(np.std(v) / np.sqrt(len(v))) for k, v in examples.items()},
        interval={k: v if v is None else v.tolist() for k, v in intervals.items()})


def compile_programs(config, model, mesh) -> Programs:
    """What `evaluate_and_write` runs."""
    return Programs(compile_inference(config, model, mesh),
                    evaluate_rollout.compile_prediction(config, model, mesh))


def compile_inference(config, model, mesh, factor: int = 1):
    """`inference_step` on all devices: (params, batch) -> per-example arrays; keep it for reuse."""
    return sharding.data_parallel(
        functools.partial(inference_step, config=config, model=model, factor=factor),
        mesh, (False, True), True)


def evaluate_split(config, params, mesh, split: str, infer) -> tuple[dict, dict]:
    """Runs the model over a split.

    Args:
      config: as in `evaluate`.
      params: the model's parameters, replicated over the mesh.
      mesh: from `sharding.make_mesh`.
      split: name of the split.
      infer: from `compile_inference`.

    Returns:
      Metrics of each clip, a dict of float64 [number of clips], and the arrays of the first
      config.eval.num_pictures clips that `visualize.picture_grid` takes.
    """
    examples, pictures = score_split.score_split(
        config, params, mesh, split, infer, score_examples,
        shown=(*PICTURES, "segmentation"), unscored=PICTURES)
    return examples, {"segmentation": None} | pictures if pictures else {}


def means(examples: dict[str, np.ndarray]) -> dict[str, float]:
    """The mean over clips of each metric."""
    return {name: float(values.mean()) for name, values in examples.items()}


def inference_step(params, batch: dict, *, config, model, factor: int) -> dict[str, jax.Array]:
    """One device's share of a batch: infers every frame, decodes prediction and refinement.

    The noise of an example depends on the seed and its index in the split alone.

    Args:
      params: replicated.
      batch: video uint8 [B, T, H, W, 3], index int32 [B], segmentation and actions if there are.
      config, model: as in `evaluate`.
      factor: pooling, as in `evaluate_split`.

    Returns:
      Per example: the model's metrics [B, T]; `predicted` and `refined`, the slot with the
      greatest mask, uint8 [B, T, H, W]; and what pictures need.
    """
    c = config.model
    video = preprocess.average_pool(preprocess.to_float(batch["video"]), factor)
    num_examples, num_frames, height, width, _ = video.shape
    keys = parts.example_keys(config.seed, batch["index"])
    noise = parts.make_noise(keys, num_frames, c.num_refinements, c.num_slots, c.slot_size)
    actions = parts.previous_actions(
        batch.get("actions", jnp.zeros((num_examples, num_frames, config.data.action_size))))
    start = sharding.vary(model.initial_state(num_examples))
    output = model.apply({"params": params}, video, actions, noise, start)
    def decode_refined(_, inputs):
        z, frame = inputs
        mixture = model.apply({"params": params}, z, (height, width), method="decode")
        error = jnp.mean(jnp.square(likelihood.mean(mixture) - frame), axis=(-3, -2, -1))
        return None, (jnp.argmax(mixture.mask_logits, axis=-3).astype(jnp.uint8), error)

    # Frame by frame: the decoder's activations are by far the largest arrays.
    frames = jax.tree.map(parts.time_first, (output.posterior.mean, video))
    _, refined = jax.lax.scan(decode_refined, None, frames, unroll=min(config.train.unroll, num_frames))
    refined, error = jax.tree.map(parts.batch_first, refined)
    result = {name: output.metrics[key] for name, key in FROM_MODEL.items()} | dict(
        valid=batch["valid"], log_likelihood=-output.metrics["nll"], mse_refined=error, video=video,
        predicted=jnp.argmax(output.masks, axis=2).astype(jnp.uint8),
        refined=refined,
        recon=output.recon, masks=output.masks, slot_means=output.means)
    if "segmentation" in batch:
        result["segmentation"] = preprocess.majority_pool(batch["segmentation"], factor, 256) \
            if factor > 1 else batch["segmentation"]
    return result


def score_examples(output: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Metrics per example, float64 [B] each, from what `inference_step` returns."""
    scores = {}
    for name in ("mse", "mse_refined", "log_likelihood", *FROM_MODEL):
        per_frame = output[name].astype(np.float64)
        per_frame = per_frame.sum(-1) if name == "kl" else per_frame
        scores[name] = per_frame.mean(-1)
        if name.startswith("mse"):
            scores[name.replace("mse", "mse_last")] = per_frame[:, -1]
    if "segmentation" in output:
        true = output["segmentation"]
        scores |= metrics.segmentation_metrics(true, output["predicted"])
        refined = metrics.segmentation_metrics(true, output["refined"])
        del refined["empty_foreground"]
        scores |= {f"{name}_refined": value for name, value in refined.items()}
    return scores
