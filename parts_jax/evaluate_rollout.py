"""Evaluation of roll-outs on a split: how good are predicted frames, and for how long?

The model sees config.eval.burn_in frames, inferring and refining as in training, and then predicts
config.eval.rollout_steps frames by its transition alone (section 4, "Comparison of roll-outs"),
with the true actions if it has any. Each predicted frame, decoded at the mean of its posterior, is
scored against the true one: `mse`, `psnr` and `ssim` of the picture, `fg_ari` and `fg_miou` of the
masks where the set has any (rollout_metrics.py). `repeat_mse`, `repeat_psnr` and `repeat_ssim` are
those of the last seen frame, shown again and again: who does not beat it knows no dynamics.
"""

import functools

import jax
import jax.numpy as jnp
import ml_collections
import numpy as np
from absl import logging

from parts_jax import metric_writer, score_split, sharding
from parts_jax.data import preprocess
from parts_jax.metrics import intervals as metrics
from parts_jax.metrics import pictures as rollout_metrics
from parts_jax.metrics import segmentation
from parts_jax.models import parts, rollout
from parts_jax.pictures import grids as visualize

SHOWN = ("video", "recon", "masks")
UNSCORED = ("masks",)


def evaluate_and_write(config: ml_collections.ConfigDict, predict, params, step: int, mesh,
                       split: str, workdir, writer) -> dict[str, np.ndarray]:
    """Evaluates roll-outs on a split and writes what it finds, as evaluation does of the rest.

    Writes <dataset>-<split>-<step>-rollout.json and .png to `workdir`/evaluation; to TensorBoard
    each metric at each horizon, and animated clips.

    Args:
      config: of the run. If eval.rollout_steps is 0, or missing, nothing is done.
      predict: from `compile_prediction`.
      params: the model's parameters, replicated over the mesh.
      step: of training.
      mesh: from `sharding.make_mesh`.
      split: name of the split.
      workdir: the run.
      writer: from `metric_writer.create_writer`.

    Returns:
      Means over clips, float64 [S] each, an entry a horizon; {} if nothing was done.
    """
    if config.eval.get("rollout_steps", 0) == 0:
        return {}
    examples, pictures = evaluate_split(config, predict, params, mesh, split)
    means = {k: v.mean(0) for k, v in examples.items()}
    name = score_split.name_of(config, split)
    writer.write_scalars(step, {f"{name}/rollout/{k}_{h}": float(v) for k, values in means.items()
                                for h, v in enumerate(values, start=1)})
    if jax.process_index() == 0:
        grid = visualize.rollout_grid(**pictures) if pictures else None
        metric_writer.write_evaluation(
            workdir, f"{name}-{step}-rollout", make_record(config, step, split, examples), grid)
        if pictures:
            clips = visualize.rollout_clips(**pictures)
            writer.write_videos(step, {f"{name}/rollout/clips": clips})
    writer.flush()
    logging.info(
        "%s, step %d, roll-out from frame %d to %d, mean over them: %s", name, step,
        config.eval.burn_in + 1, config.eval.burn_in + config.eval.rollout_steps,
        ", ".join(f"{k} {v.mean():.4g}" for k, v in means.items()))
    return means


def make_record(config: ml_collections.ConfigDict, step: int, split: str,
                examples: dict[str, np.ndarray]) -> dict:
    """What is kept of a split's roll-outs, for JSON.

    Args:
      config, step, split: as in `evaluate_and_write`.
      examples: metrics of each clip, float64 [number of clips, S] each.

    Returns:
      What was evaluated, and by metric the mean of each horizon, and the bootstrap interval of
      each; null for an interval where there is one clip only, or numbers are not finite.
    """
    intervals = metrics.confidence_intervals(examples)
    return dict(
        step=step, dataset=config.data.name, split=split, seed=config.seed,
        num_sequences=len(examples["mse"]), num_slots=config.model.num_slots,
        resolution=config.data.resolution, stride=config.data.stride, burn_in=config.eval.burn_in,
        num_steps=config.eval.rollout_steps, level=metrics.LEVEL,
        horizon=list(range(1, config.eval.rollout_steps + 1)),
        metrics={name: dict(mean=values.mean(0).tolist(),
                            interval=None if intervals[name] is None else intervals[name].tolist())
                 for name, values in examples.items()})


def compile_prediction(config: ml_collections.ConfigDict, model, mesh):
    """`rollout_step` on all devices: (params, batch) -> per-example arrays; keep it for reuse."""
    # Unrolling speeds gradients up, which are not taken here, and takes time to compile.
    return sharding.data_parallel(
        functools.partial(rollout_step, config=config, model=model.clone(unroll=1)),
        mesh, (False, True), True)


def evaluate_split(config: ml_collections.ConfigDict, predict, params, mesh,
                   split: str) -> tuple[dict, dict]:
    """Rolls out every clip of a split.

    Args:
      config, predict, params, mesh, split: as in `evaluate_and_write`.

    Returns:
      Metrics of each clip, a dict of float64 [number of clips, S], and the arrays of the first
      config.eval.num_pictures clips that `visualize.rollout_grid` takes.
    """
    config = config.copy_and_resolve_references()
    config.data.num_frames = config.eval.burn_in + config.eval.rollout_steps
    return score_split.score_split(
        config, params, mesh, split, predict,
        functools.partial(score_examples, burn_in=config.eval.burn_in), SHOWN, UNSCORED)


def rollout_step(params, batch: dict, *, config, model) -> dict[str, jax.Array]:
    """One device's share of a batch: infers the frames of the burn-in, predicts all others.

    The noise of an example depends on the seed and its index in the split alone.

    Args:
      params: replicated.
      batch: video uint8 [B, T, H, W, 3], index int32 [B], valid, segmentation and actions if there
        are; T = burn_in + S.
      config, model: as in `evaluate_and_write`.

    Returns:
      Per example: video as it came, recon [B, S, H, W, 3] and masks [B, S, K, H, W] of the
      predicted frames; predicted, the slot with the greatest mask, uint8 [B, S, H, W]; valid; and
      segmentation [B, T, H, W] if there is.
    """
    c, burn_in = config.model, config.eval.burn_in
    num_examples, num_frames, height, width, _ = batch["video"].shape
    keys = parts.example_keys(config.seed, batch["index"])
    noise = parts.make_noise(keys, burn_in, c.num_refinements, c.num_slots, c.slot_size)
    actions = parts.previous_actions(
        batch.get("actions", jnp.zeros((num_examples, num_frames, c.action_size))))
    start = sharding.vary(model.initial_state(num_examples))
    seen = model.apply(
        {"params": params}, preprocess.to_float(batch["video"][:, :burn_in]),
        actions[:, :burn_in], noise, start, keep_pictures=False)
    _, pictures = rollout.roll_out(
        model, params, seen.state, actions[:, burn_in:], (height, width))
    result = {k: batch[k] for k in ("video", "valid", "segmentation") if k in batch}
    return result | dict(
        recon=pictures.recon, masks=pictures.masks,
        predicted=jnp.argmax(pictures.masks, axis=2).astype(jnp.uint8))


def score_examples(output: dict[str, np.ndarray], burn_in: int) -> dict[str, np.ndarray]:
    """Metrics per example and horizon, float64 [B, S] each, from what `rollout_step` returns."""
    video = output["video"] / 255
    true, last_seen = video[:, burn_in:], video[:, burn_in - 1:burn_in]
    repeated = rollout_metrics.picture_metrics(true, np.broadcast_to(last_seen, true.shape))
    scores = rollout_metrics.picture_metrics(true, output["recon"])
    scores |= {f"repeat_{name}": values for name, values in repeated.items()}
    if "segmentation" in output:
        scores |= segmentation.mask_metrics(
            output["segmentation"][:, burn_in:], output["predicted"])
    return {name: np.asarray(values, np.float64) for name, values in scores.items()}
