"""The programs by which long clips are evaluated: a part of a clip at a time, and frames far ahead.

A clip of any length is seen part by part with carried state, so one compiled program serves, in the
memory of one part. Noise is that of a pretrained model at work, an example a frame (see
models/contract.py): what is scored here is what `segment` gives a user, and it does not depend on
the length of a part.
"""

from typing import Any

import jax
import jax.numpy as jnp
import ml_collections

from parts_jax.api import inference
from parts_jax.data import preprocess
from parts_jax.devices import sharding
from parts_jax.metrics import pictures
from parts_jax.models.contract import Clip, Model


def see_part(params: Any, state: Any, batch: dict, start: jax.Array, *,
             config: ml_collections.ConfigDict, model: Model) -> tuple[Any, dict[str, Any]]:
    """One device's share of a part: infers its frames from where the part before has ended.

    Args:
      params: replicated.
      state: after the frame before the part's first, [B, ...].
      batch: video uint8 [B, P, H, W, 3]; previous actions [B, P, A]; cues if the model reads any.
      start: number of the part's first frame in its clip, from 0, an int32 scalar.
      config: of the run.
      model: from `models.create`.

    Returns:
      The state after the part; and of its frames, [B, P, ...] each: in `judged`, for the first
      stage and for the last, `mse` and `ids`, and for the last `assigned`, which slot explains a
      pixel best, if the family can say; and `greatest_mean`, the greatest |posterior mean| of the
      last stage, where latents are slots that have one.
    """
    params, clip = sharding.vary(params), _clip(batch, start, config, model)
    step = inference.see(model, params, state, clip)
    first, last = model.stages[0], model.stages[-1]
    judged = {}
    if first != last:
        judged[first] = inference.judge_view(step.views[first], clip.video, _only_mse) \
            if first in step.views else inference.judge(
                model, params, step.latents[first], clip.video, _only_mse, seen=False)
    latents = step.latents[last]
    judged[last] = inference.judge(model, params, latents, clip.video, _only_mse)
    found = {"judged": judged}
    if model.slot_size is not None and latents.posterior is not None:
        found["greatest_mean"] = jnp.max(jnp.abs(latents.posterior.mean), axis=(-2, -1))
    return step.state, found


def predict_ahead(params: Any, batch: dict, *, config: ml_collections.ConfigDict,
                  model: Model) -> dict[str, jax.Array]:
    """One device's share of clips: sees the frames of the burn-in, predicts all others.

    Args:
      params, batch, config, model: as for `see_part`, of burn-in + S frames from the clip's first.

    Returns:
      [B, S] each: `mse` of the predicted picture, and `repeat_mse` of the last seen frame, shown
      again and again.
    """
    burn_in = config.eval.burn_in
    params, clip = sharding.vary(params), _clip(batch, 0, config, model)
    seen = jax.tree.map(lambda a: a[:, :burn_in], clip)
    ahead = jax.tree.map(lambda a: a[:, burn_in:], clip)
    state = sharding.vary(model.start(len(clip.video), None))
    state = inference.see(model, params, state, seen).state
    latents = model.predict(params, state, ahead.actions, ahead.noise)
    judged = inference.judge(model, params, latents, ahead.video, _only_mse, seen=False)
    return {"mse": judged["mse"],
            "repeat_mse": pictures.mse(ahead.video, jnp.broadcast_to(
                seen.video[:, -1:], ahead.video.shape))}


def _clip(batch: dict, start: jax.Array | int, config: ml_collections.ConfigDict,
          model: Model) -> Clip:
    """A batch as a model takes it."""
    num_examples, num_frames = batch["video"].shape[:2]
    noise = inference.frame_noise(model, config.seed, start + jnp.arange(num_frames), num_examples,
                                  model.num_slots)
    return Clip(preprocess.to_float(batch["video"]), batch["actions"], sharding.vary(noise),
                {name: batch[name] for name in model.cues})


def _only_mse(true: jax.Array, recon: jax.Array) -> dict[str, jax.Array]:
    return {"mse": pictures.mse(true, recon)}
