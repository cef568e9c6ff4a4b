"""What is evaluated of a batch, stage by stage, on all devices; compiled once for all checkpoints.

A stage is what a model makes of a frame at one moment: PARTS predicts a frame's slots, and then
refines them by the frame. Which stages there are, the family says (`Model.stages`). A roll-out is
one more: its frames begin where those that the model may see end.

Only ids, numbers and the clips that are shown leave the devices.
"""

import dataclasses
import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import ml_collections

from parts_jax.api import inference
from parts_jax.data import preprocess
from parts_jax.devices import sharding
from parts_jax.evaluation import long_clips
from parts_jax.metrics import pictures
from parts_jax.models import contract
from parts_jax.models.contract import Model, Step, View

ROLLOUT = "rollout"
BOXES = "boxes"  # true ones, a cue: y0, x0, y1, x1 as shares of the picture; without area: none


@dataclasses.dataclass(frozen=True)
class Evaluator:
    """A run's model, compiled for evaluation at one resolution; parameters are given later.

    Attributes:
      config: of the run.
      mesh: from `sharding.make_mesh`.
      model: from `models.create`.
      infer: (params, batch) -> what `infer_clips` returns.
      predict: (params, batch) -> what `predict_clips` returns; None where nothing is rolled out.
      show: (params, latents of a stage, video) -> `View` of [B, T, ...].
      iterate: (params, batch) -> `Step.iterations`; None where the family has none. A program of
        its own, as only what is shown is to pay for these pictures.
      see_part: (params, state, part of a clip, its first frame's number) -> the state after it, and
        what `long_clips.see_part` returns.
      predict_ahead: (params, batch) -> what `long_clips.predict_ahead` returns; None where the
        family predicts no frames.
      factor: of average pooling before the model sees the frames; 1: none.
    """

    config: ml_collections.ConfigDict
    mesh: jax.sharding.Mesh
    model: Model
    infer: Callable
    predict: Callable | None
    show: Callable
    iterate: Callable | None
    see_part: Callable
    predict_ahead: Callable | None
    factor: int = 1


def compile_stages(config: ml_collections.ConfigDict, model: Model, mesh: jax.sharding.Mesh,
                   factor: int = 1) -> Evaluator:
    """An `Evaluator`; a program is compiled when it is first called.

    Args:
      config: of the run.
      model: from `models.create`.
      mesh: from `sharding.make_mesh`.
      factor: average pooling before the model sees the frames; 1: none.
    """
    def compiled(step, in_split):
        return sharding.data_parallel(step, mesh, in_split, True)

    def show(params, latents, video):
        return inference.decode(model, params, latents, video.shape[2:4])

    predict = functools.partial(predict_clips, config=config, model=model)
    long = dict(config=config, model=model)
    return Evaluator(
        config, mesh, model,
        compiled(functools.partial(infer_clips, config=config, model=model, factor=factor),
                 (False, True)),
        compiled(predict, (False, True)) if config.eval.rollout_steps else None,
        compiled(show, (False, True, True)),
        None if model.num_iterations is None else compiled(
            functools.partial(iterations, config=config, model=model, factor=factor),
            (False, True)),
        compiled(functools.partial(long_clips.see_part, **long), (False, True, True, False)),
        None if model.predict is None else compiled(
            functools.partial(long_clips.predict_ahead, **long), (False, True)), factor)


def infer_clips(params: Any, batch: dict, *, config, model: Model, factor: int) -> dict[str, Any]:
    """One device's share of a batch: infers every frame, and decodes every stage of it.

    Args:
      params: replicated.
      batch: video uint8 [B, T, H, W, 3], index int32 [B], valid bool [B]; segmentation, BOXES,
        actions and cues if there are.
      config, model, factor: as in `compile_stages`.

    Returns:
      Per example: `valid`; `metrics` of the model, [B, T] each; by stage, in `judged`, what
      `inference.judge` returns, with `mse` and `assigned`, and in `latents` what it was decoded
      from; `video` as the model saw it; and `segmentation` [B, T, H, W] and `boxes` [B, T, M, 4]
      if there are any.
    """
    params = sharding.vary(params)
    video, step = _see(params, batch, config, model, factor)
    sure = config.eval.mask_boxes
    judged = {stage: inference.judge_decoded(model, step.views[stage], video, only_mse, sure)
              if stage in step.views else
              inference.judge(model, params, step.latents[stage], video, only_mse,
                              config.train.unroll, sure=sure) for stage in model.stages}
    result = dict(valid=batch["valid"], metrics=step.metrics, judged=judged, latents=step.latents,
                  video=video)
    if BOXES in batch:
        result[BOXES] = batch[BOXES]
    if "segmentation" in batch:
        result["segmentation"] = preprocess.majority_pool(batch["segmentation"], factor, 256) \
            if factor > 1 else batch["segmentation"]
    return result


def iterations(params: Any, batch: dict, *, config, model: Model, factor: int) -> View | None:
    """What each iteration decoded of every frame of a device's share of a batch.

    Args:
      params, batch, config, model, factor: as in `infer_clips`.
    """
    return _see(sharding.vary(params), batch, config, model, factor)[1].iterations


def _see(params: Any, batch: dict, config, model: Model, factor: int) -> tuple[jax.Array, Step]:
    """The video as the model sees it, and what it leaves."""
    clip = clip_of_split(model, batch, config)
    video = preprocess.average_pool(preprocess.to_float(clip.video), factor)
    return video, inference.see(model, params, sharding.vary(model.start(len(video), None)),
                                clip._replace(video=video))


def predict_clips(params: Any, batch: dict, *, config, model: Model) -> dict[str, Any]:
    """The same of a roll-out: infers the frames of the burn-in, predicts all others.

    Args:
      params, batch, config, model: as in `infer_clips`; T = burn_in + S.

    Returns:
      As `infer_clips`, of the S predicted frames and the one stage `ROLLOUT`, judged by `mse` and,
      of frames large enough, `ssim`; `repeated`, the same of the last seen frame, shown again and
      again; in `video` and `segmentation` all T frames; and where there is the latter, `true`, the
      video again, for those who move its objects on.
    """
    burn_in = config.eval.burn_in
    params, clip = sharding.vary(params), clip_of_split(model, batch, config)
    video = preprocess.to_float(clip.video)
    seen = jax.tree.map(lambda a: a[:, :burn_in], clip._replace(video=video))
    ahead = jax.tree.map(lambda a: a[:, burn_in:], clip._replace(video=video))
    step = inference.see(model, params, sharding.vary(model.start(len(video), None)), seen)
    latents = model.predict(params, step.state, ahead.actions, ahead.noise)
    judged = inference.judge(model, params, latents, ahead.video, pictures.frame_metrics,
                             seen=False)
    repeated = pictures.frame_metrics(
        ahead.video, jnp.broadcast_to(video[:, burn_in - 1:burn_in], ahead.video.shape))
    result = dict(valid=batch["valid"], metrics={}, judged={ROLLOUT: judged}, repeated=repeated,
                  latents={ROLLOUT: latents}, video=video)
    return result | (dict(segmentation=batch["segmentation"], true=video)
                     if "segmentation" in batch else {})


def clip_of_split(model: Model, batch: dict, config: ml_collections.ConfigDict) -> contract.Clip:
    """A batch of a split as a clip; an example's noise depends on seed and index alone."""
    keys = contract.example_keys(jax.random.key(config.seed), batch["index"])
    return inference.clip_of(model, batch, keys, config.data.action_size)


def only_mse(true: jax.Array, recon: jax.Array) -> dict[str, jax.Array]:
    """Mean squared error of frames: two of [..., H, W, 3] -> [...]."""
    return {"mse": jnp.mean(jnp.square(recon - true), axis=(-3, -2, -1))}
