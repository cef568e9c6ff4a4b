"""Metrics of each clip, on the host, from what the programs of stages.py leave of a batch.

Those of the first stage have no suffix, those of another `_<stage>`. For PARTS the first is the
predicted posterior lambda_t^0, sampled, before the frame is seen, as in the paper; `_refined` is
the posterior after refinement, decoded at its mean. `_assigned` and `_<stage>_assigned` are of the
pixels, assigned to slots by p(k | x_i, z) of the last stage and of another, which takes the frame.
"""

from collections.abc import Sequence
from typing import Any

import jax
import numpy as np

from parts_jax.evaluation.stages import BOXES, ROLLOUT
from parts_jax.metrics import boxes, constant_velocity, pictures, segmentation, table


def metrics_of_clips(output: dict[str, Any], stages: Sequence[str]) -> dict[str, np.ndarray]:
    """Metrics of clips, of all their frames together.

    Args:
      output: of `stages.infer_clips`, as numpy arrays.
      stages: of the model.

    Returns:
      float64 [B] each: of every stage `mse`, its mean over frames, `mse_last`, that of the last
      frame, and, where true masks are known, `segmentation.segmentation_metrics`, of its masks and,
      if the family has `assign`, of its assigned pixels; and the mean over frames of all that the
      model itself tells. Where true boxes or masks are known, `boxes.box_metrics` of the boxes that
      a stage has, and as `mask_...` of those around its masks, if these were judged `sure`.
    """
    metrics, true = {}, true_boxes(output)
    for stage in stages:
        judged = output["judged"][stage]
        error = judged["mse"].astype(np.float64)
        found = {"mse": error.mean(-1), "mse_last": error[:, -1]}
        if "segmentation" in output:
            found |= segmentation.segmentation_metrics(output["segmentation"], judged["ids"])
            if stage != stages[0]:
                del found["empty_foreground"]  # it is of the truth, once
        if true is not None and BOXES in judged:
            found |= of_boxes(judged[BOXES], true)
        if true is not None and "sure" in judged:
            found |= of_masks(judged["ids"], judged["sure"], true)
        by_stage = {stage: found}
        if "segmentation" in output and "assigned" in judged:
            assigned = segmentation.segmentation_metrics(output["segmentation"], judged["assigned"])
            del assigned["empty_foreground"]
            if true is not None and "assigned_sure" in judged:
                assigned |= of_masks(judged["assigned"], judged["assigned_sure"], true)
            by_stage[table.assignment_of(stage, stages)] = assigned
        metrics |= {table.with_stage(name, at, stages): values
                    for at, found in by_stage.items() for name, values in found.items()}
    own = {name: values.astype(np.float64).mean(-1) for name, values in output["metrics"].items()}
    return own | metrics


Boxes = list[list[np.ndarray]]  # by clip and frame


def true_boxes(output: dict[str, Any]) -> Boxes | None:
    """True boxes, [N, 4] each: of the set, or around its masks; None: it has neither."""
    if BOXES in output:
        return [[frame[(frame[:, 2:] > frame[:, :2]).all(-1)] for frame in clip]
                for clip in output[BOXES]]
    if "segmentation" in output:
        return [[boxes.boxes_of_masks(frame) for frame in clip] for clip in output["segmentation"]]
    return None


def of_boxes(predicted: np.ndarray, true: Boxes) -> dict[str, np.ndarray]:
    """`boxes.box_metrics` of what is detected among a model's boxes, [B, T, K, 5]."""
    found = [[boxes.detected(frame) for frame in clip] for clip in predicted]
    return boxes.box_metrics(found, true, predicted.shape[1] * predicted.shape[2])


def of_masks(ids: np.ndarray, sureness: np.ndarray, true: Boxes) -> dict[str, np.ndarray]:
    """The same of boxes around slots, as `mask_...`: ids [B, T, H, W], sureness [B, T, K]."""
    found = [[boxes.boxes_of_slots(*frame) for frame in zip(*clip, strict=True)]
             for clip in zip(ids, sureness, strict=True)]
    capacity = sureness.shape[1] * sureness.shape[2]
    return {f"mask_{name}": values
            for name, values in boxes.box_metrics(found, true, capacity).items()}


def metrics_by_horizon(output: dict[str, Any], burn_in: int) -> dict[str, np.ndarray]:
    """Metrics of predicted frames, each on its own.

    Args:
      output: of `stages.predict_clips`, as numpy arrays.
      burn_in: frames that were seen before.

    Returns:
      float64 [B, S] each: `mse`, `psnr` and `ssim` of the picture, and where the set has masks
      `fg_ari` and `fg_miou`; `repeat_mse` and so on, those of the last seen frame and its true
      masks, shown again and again: who does not beat it knows no dynamics; and where the set has
      masks `moved_mse` and so on, those of `constant_velocity`.
    """
    judged = dict(output["judged"][ROLLOUT])
    ids = judged.pop("ids")
    judged.pop(BOXES, None)
    metrics = with_psnr(judged)
    metrics |= {f"repeat_{name}": values for name, values in with_psnr(output["repeated"]).items()}
    if "segmentation" in output:
        metrics |= segmentation.mask_metrics(output["segmentation"][:, burn_in:], ids)
        metrics |= rivals_with_masks(output["true"], output["segmentation"], burn_in)
    return metrics


def rivals_with_masks(video: np.ndarray, true_ids: np.ndarray,
                      burn_in: int) -> dict[str, np.ndarray]:
    """What those score who are given the true masks of the frames that were seen.

    Args:
      video, true_ids: all T frames, [B, T, H, W, 3] and [B, T, H, W].
      burn_in: frames that were seen.

    Returns:
      float64 [B, S] each: `moved_` MSE, PSNR, SSIM, FG-ARI and mIoU of `constant_velocity`, and
      `repeat_` FG-ARI and mIoU of the last true masks, repeated.
    """
    moved = constant_velocity.constant_velocity(
        video[:, :burn_in], true_ids[:, :burn_in], video.shape[1] - burn_in)
    ahead = true_ids[:, burn_in:]
    shown = jax.device_get(pictures.frame_metrics(video[:, burn_in:], moved.video))
    masks = {"repeat": np.broadcast_to(true_ids[:, burn_in - 1:burn_in], ahead.shape),
             "moved": moved.segmentation}
    return {f"moved_{name}": values for name, values in with_psnr(shown).items()} | {
        f"{rival}_{name}": values for rival, ids in masks.items()
        for name, values in segmentation.mask_metrics(ahead, ids.astype(np.int64)).items()}


def with_psnr(metrics: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """In float64, and with the PSNR that follows from the MSE."""
    metrics = {name: values.astype(np.float64) for name, values in metrics.items()}
    return metrics | {"psnr": pictures.psnr(metrics["mse"])}
