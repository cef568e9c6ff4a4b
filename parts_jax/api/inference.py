"""What a model makes of frames that it sees, of frames to come, and of any latents.

Pure functions of parameters, the same for training's evaluations, --mode=evaluate, the API and the
report; to be jitted by whoever calls them. Latents are decoded frame by frame and stage by stage:
a decoder's activations are by far the largest arrays, and those of one frame are enough.
"""

from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp

from parts_jax.models import contract
from parts_jax.models.contract import Clip, Model, Step, View, batch_first, time_first


def clip_of(model: Model, batch: Mapping[str, jax.Array], keys: jax.Array,
            action_size: int) -> Clip:
    """A clip as the pipeline gives it, with its noise, as a model takes it.

    Args:
      model: says which noise and which cues.
      batch: video [B, T, H, W, 3], which is left as it is; actions [B, T, A], actions[:, t] taken
        between frame t and t+1, if there are any; and the cues.
      keys: one an example, [B]; `contract.example_keys`.
      action_size: A.
    """
    num_examples, num_frames = batch["video"].shape[:2]
    actions = batch.get("actions", jnp.zeros((num_examples, num_frames, action_size)))
    return Clip(batch["video"], contract.previous_actions(actions),
                model.noise(keys, num_frames, None), {name: batch[name] for name in model.cues})


def frame_noise(model: Model, seed: int | jax.Array, numbers: jax.Array, batch_size: int,
                num_slots: int, num_iterations: int | None = None) -> Any:
    """Noise of a pretrained model at work, by the rule in models/contract.py: an example a frame.

    Args:
      model: draws it.
      seed: of all noise.
      numbers: of the frames in their video, int32 [T]; of images 0, as each is the first frame of
        a video of its own.
      batch_size, num_slots: B, K.
      num_iterations: N, of families with `Model.num_iterations`; None: that of the config.

    Returns:
      A pytree of [B, T, ...], alike over B.
    """
    keys = contract.example_keys(jax.random.key(seed), numbers)
    chosen = () if num_iterations is None else (num_iterations,)
    noise = model.noise(keys, 1, num_slots, *chosen)  # [T, 1, ...]
    return jax.tree.map(lambda a: jnp.broadcast_to(
        jnp.moveaxis(a, 0, 1), (batch_size, len(numbers), *a.shape[2:])), noise)


def see(model: Model, params: Any, state: Any, clip: Clip) -> Step:
    """Infers the latents of every frame of a clip; nothing is annealed any more."""
    return model.loss(params, state, clip, None)[1]


def decode(model: Model, params: Any, latents: Any, resolution: tuple[int, int]) -> View:
    """Decodes latents [B, T, ...], one frame after the other: `View` of [B, T, ...]."""
    def frame(latents: Any) -> View:
        return model.decode(params, latents, resolution)

    views = jax.lax.map(frame, jax.tree.map(time_first, latents))
    return jax.tree.map(batch_first, views)


def assign(model: Model, view: View, video: jax.Array) -> jax.Array:
    """p(k | x_i, z) of decoded frames, one frame after the other.

    Args:
      model: has `assign`.
      view: of the frames, [B, T, ...].
      video: the frames in [0, 1], [B, T, H, W, 3].

    Returns:
      Weights that sum to 1 over K, [B, T, K, H, W].
    """
    def frame(inputs: tuple[View, jax.Array]) -> jax.Array:
        assert model.assign is not None  # whoever calls has asked
        return model.assign(*inputs)

    return batch_first(jax.lax.map(frame, jax.tree.map(time_first, (view, video))))


Metrics = Callable[[jax.Array, jax.Array], dict[str, jax.Array]]


def judge(model: Model, params: Any, latents: Any, video: jax.Array, metrics: Metrics,
          unroll: int = 1, seen: bool = True, sure: bool = False) -> dict[str, jax.Array]:
    """Decodes latents frame by frame and keeps of each frame what it is judged by.

    Args:
      model: decodes.
      params: its parameters.
      latents: of one stage, a pytree of [B, T, ...].
      video: the true frames in [0, 1], [B, T, H, W, 3].
      metrics: (true frames [..., H, W, 3], pictures [..., H, W, 3]) -> metrics by name, [...] each.
      unroll: frames without a loop in the compiled program.
      seen: whether pixels are assigned to slots, too: of frames that were not seen they are not.
      sure: as for `judge_view`.

    Returns:
      As `judge_view`; and, where `seen` and the family has `assign`, `assigned`: the slot that
      explains a pixel best, of the type and shape of `ids`; with `sure`, `assigned_sure`, too.
    """
    def frame(_: None, inputs: tuple[Any, jax.Array]) -> tuple[None, dict[str, jax.Array]]:
        latents, x = inputs
        height, width = x.shape[1:3]
        view = model.decode(params, latents, (height, width))
        kept = judge_view(view, x, metrics, sure)
        if seen and model.assign is not None:
            kept |= _of_assigned(model.assign(view, x), sure)
        return None, kept

    frames = jax.tree.map(time_first, (latents, video))
    _, kept = jax.lax.scan(frame, None, frames, unroll=min(unroll, video.shape[1]))
    return jax.tree.map(batch_first, kept)


def judge_view(view: View, x: jax.Array, metrics: Metrics,
               sure: bool = False) -> dict[str, jax.Array]:
    """What decoded frames are judged by.

    Args:
      view: of frames, [..., H, W] where `View` has [B, H, W].
      x: the true frames in [0, 1], [..., H, W, 3].
      metrics: as for `judge`.
      sure: whether it is kept how sure the masks are.

    Returns:
      The metrics, [...] each; `ids`, the slot with the greatest mask, whole numbers [..., H, W];
      `boxes`, [..., K, 5], if the family has any; and with `sure` what `sureness` returns.
    """
    kept = metrics(x, view.recon) | {"ids": most_likely(view.masks)}
    if sure:
        kept["sure"] = sureness(view.masks)
    return kept if view.boxes is None else kept | {"boxes": view.boxes}


def most_likely(masks: jax.Array) -> jax.Array:
    """The slot with the greatest mask: [..., K, H, W] -> uint8 [..., H, W]; uint16 past K = 256."""
    small = masks.shape[-3] <= 256
    return jnp.argmax(masks, axis=-3).astype(jnp.uint8 if small else jnp.uint16)


def sureness(masks: jax.Array) -> jax.Array:
    """Each slot's mean mask where it is the greatest, [..., K, H, W] -> [..., K]; 0: nowhere."""
    own = jax.nn.one_hot(jnp.argmax(masks, axis=-3), masks.shape[-3], dtype=bool, axis=-3)
    return jnp.sum(jnp.where(own, masks, 0), axis=(-2, -1)) / jnp.maximum(
        jnp.sum(own, axis=(-2, -1)), 1)


def judge_decoded(model: Model, view: View, video: jax.Array, metrics: Metrics,
                  sure: bool = False) -> dict[str, jax.Array]:
    """What `judge` returns, of frames that were seen and are decoded already.

    Args:
      model, video, metrics, sure: as for `judge`.
      view: of the frames, [B, T, ...].
    """
    kept = judge_view(view, video, metrics, sure)
    return kept if model.assign is None else kept | _of_assigned(assign(model, view, video), sure)


def _of_assigned(weights: jax.Array, sure: bool) -> dict[str, jax.Array]:
    """What is kept of responsibilities [..., K, H, W]."""
    kept = {"assigned": most_likely(weights)}
    return kept | {"assigned_sure": sureness(weights)} if sure else kept


def segment(model: Model, params: Any, state: Any, video: jax.Array, actions: jax.Array,
            cues: dict[str, jax.Array], seed: int | jax.Array, numbers: jax.Array, num_slots: int,
            num_iterations: int | None = None) -> tuple[Any, View, jax.Array | None, Step]:
    """Infers the latents of every frame, and decodes those of the last stage.

    Args:
      model: from `models.create`.
      params: its parameters.
      state: after the frame before the first.
      video: frames in [0, 1], [B, T, H, W, 3].
      actions: previous actions, as the model takes them, [B, T, A].
      cues: what else the model reads, by name, [B, T, ...] each.
      seed: of the noise by which slots are told apart; the same for all of the batch.
      numbers: of the frames in their video, as for `frame_noise`.
      num_slots: K of `state`.
      num_iterations: as for `frame_noise`.

    Returns:
      Latents [B, T, ...]; their `View` of [B, T, ...]; the masks of the first stage, [B, T, K, H,
      W], None where it is the last as well; and of the `Step` the state, maps and iterations.
    """
    batch_size, _, height, width, _ = video.shape
    noise = frame_noise(model, seed, numbers, batch_size, num_slots, num_iterations)
    step = see(model, params, state, Clip(video, actions, noise, cues))
    first, latents = model.stages[0], step.latents[model.stages[-1]]
    masks = None
    if len(model.stages) > 1:
        masks = (step.views[first] if first in step.views else decode(
            model, params, step.latents[first], (height, width))).masks
    kept = Step(step.state, {}, {}, step.maps, iterations=step.iterations)
    return latents, decode(model, params, latents, (height, width)), masks, kept


def roll_out(model: Model, params: Any, state: Any, actions: jax.Array, noise: tuple[int, int],
            resolution: tuple[int, int], num_slots: int) -> tuple[Any, View]:
    """Predicts frames without seeing any, and decodes them.

    Args:
      model, params: as for `segment`.
      state: after the last frame that was seen.
      actions: a_{t-1} for each frame t to predict, [B, S, A]; A may be 0.
      noise: its seed, and the number of the first frame to predict in its video.
      resolution: H and W.
      num_slots: K of `state`.

    Returns:
      Latents [B, S, ...], and their `View` of [B, S, ...].

    Raises:
      ValueError: the family of the model cannot predict.
    """
    if model.predict is None:
        raise ValueError("A roll-out needs Model.predict, but the family of this model has none: "
                         "it predicts no frames.")
    seed, start = noise
    drawn = frame_noise(model, seed, start + jnp.arange(actions.shape[1]), len(actions), num_slots)
    latents = model.predict(params, state, actions, drawn)
    return latents, decode(model, params, latents, resolution)
