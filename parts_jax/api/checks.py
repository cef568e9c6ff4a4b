"""What a pretrained model may be given: checks that end in a full sentence."""

import math
from typing import Any

import jax
import numpy as np

from parts_jax.api.results import Segmentation
from parts_jax.models import rules

MOST_SLOTS = 65535  # their ids are uint16, and one is for what the model did not see
SEEDS = (-2**31, 2**31 - 1)


def check_video(video: np.ndarray, resolution: int, images: bool = False) -> np.ndarray:
    """Returns the video as an array, [T, H, W, 3] or [B, T, H, W, 3]; or images as one.

    Args:
      video: what is given.
      resolution: H = W of the model.
      images: whether it is for a model of images, so [H, W, 3], [B, H, W, 3], or clips.

    Raises:
      ValueError: it is not uint8, nor floats in [0, 1]; not in colour; empty; or H and W are not
        `resolution`.
    """
    video = np.asarray(video)
    what = "An image" if images else "A video"
    if video.ndim not in ((3, 4, 5) if images else (4, 5)) or video.shape[-1] != 3:
        axes = "[H, W, 3], a batch [B, H, W, 3] or clips" if images else "[T, H, W, 3] or a batch"
        raise ValueError(
            f"{what} must be in colour, {axes} [B, T, H, W, 3]; got "
            f"{list(video.shape)}. Give one of grey levels as three equal colours: "
            "np.repeat(video[..., None], 3, axis=-1).")
    if 0 in video.shape:
        one = "pixels, and a batch one image" if images else "one frame"
        raise ValueError(f"{what} must have {one} or more; got {list(video.shape)}.")
    if video.shape[-3:-1] != (resolution, resolution):
        height, width = video.shape[-3:-1]
        raise ValueError(f"The model takes frames of {resolution}x{resolution} pixels; got "
                         f"{height}x{width}. The model's resize(video) crops and resizes.")
    if video.dtype != np.uint8 and video.dtype.kind != "f":
        raise ValueError(f"{what} must be uint8, or floats in [0, 1]; got {video.dtype}.")
    if video.dtype.kind == "f" and not (video.min() >= 0 and video.max() <= 1):
        raise ValueError(f"{what} of floats must lie in [0, 1]; got values from "
                         f"{video.min()!s} to {video.max()!s}. {_hint(video)}")
    return video


def check_clip(video: np.ndarray, actions: np.ndarray | None, num_steps: int, resolution: int,
               action_size: int) -> tuple[np.ndarray, np.ndarray, bool]:
    """Returns video [B, T, H, W, 3], actions [B, T + num_steps, A], whether it was one clip.

    Args:
      video, actions: as `PretrainedModel.segment` and `predict` take them.
      num_steps: frames to come.
      resolution, action_size: H = W, and A, of the model.

    Raises:
      ValueError: they are not as these say.
    """
    video = check_video(video, resolution)
    single = video.ndim == 4
    video = video[None] if single else video
    length = video.shape[1] + num_steps
    wanted = (length, action_size) if single else (len(video), length, action_size)
    if action_size == 0 and actions is not None:
        raise ValueError("This model was trained without actions, but actions of shape "
                         f"{list(np.shape(actions))} were given; give None.")
    if action_size > 0 and actions is None:
        raise ValueError(f"This model needs actions, {list(wanted)}, one after each frame, but "
                         "none were given.")
    actions = np.zeros(wanted, np.float32) if actions is None else np.asarray(actions)
    if actions.shape != wanted or actions.dtype.kind not in "fiu":
        raise ValueError(f"Actions must be numbers of shape {list(wanted)}, one after each "
                         f"frame; got {actions.dtype} {list(actions.shape)}.")
    actions = actions.astype(np.float32)
    if not np.isfinite(actions).all():
        raise ValueError("Actions must be finite numbers; some are not.")
    return video, actions[None] if single else actions, single


def batched(cues: dict[str, np.ndarray] | None, single: bool) -> dict[str, np.ndarray]:
    """Cues of one clip as those of a batch of one."""
    return {name: np.asarray(cue)[None] if single else np.asarray(cue)
            for name, cue in (cues or {}).items()}


def check_resolution(resolution: Any) -> None:
    """Raises a ValueError if `resolution` is no whole number from 8 on, nor None."""
    if resolution is not None and not (rules.is_whole(resolution) and resolution >= 8):
        raise ValueError(f"resolution is {resolution!r}, but must be a whole number, 8 or more, or "
                         "None for that of training.")


def check_num_slots(num_slots: Any) -> None:
    """Raises a ValueError if `num_slots` is no whole number from 1 to MOST_SLOTS."""
    if not rules.is_whole(num_slots) or not 1 <= num_slots <= MOST_SLOTS:
        raise ValueError(f"num_slots is {num_slots!r}, but must be a whole number, 1 or more, at "
                         f"most {MOST_SLOTS}, or None.")


def choose_num_slots(num_slots: Any, of_training: int) -> int:
    """K as it was asked for, where None is that of training; raises as `check_num_slots`."""
    if num_slots is None:
        return of_training
    check_num_slots(num_slots)
    return int(num_slots)


def choose_num_iterations(num_iterations: Any, of_training: int | None, family: str) -> int | None:
    """N for a model that refines a frame again and again; None for another.

    Args:
      num_iterations: as it was asked for; None: that of training.
      of_training: `Model.num_iterations`.
      family: its name.

    Raises:
      ValueError: it is no whole number from 1 on; or the family takes none.
    """
    if num_iterations is None:
        return of_training
    if of_training is None:
        raise ValueError(f"num_iterations is {num_iterations!r}, but models of the family "
                         f"{family!r} refine every frame as in training; leave it out.")
    if not rules.is_whole(num_iterations) or num_iterations < 1:
        raise ValueError(f"num_iterations is {num_iterations!r}, but must be a whole number, 1 or "
                         f"more, or None for the {of_training} of training.")
    return int(num_iterations)


def check_values(values: Any) -> tuple[float, ...]:
    """Values of a traversal as floats; raises a ValueError if they are no finite numbers."""
    values = tuple(float(value) for value in values)
    if not values or not all(map(math.isfinite, values)):
        raise ValueError(f"values are {values}, but must be one or more finite numbers.")
    return values


def check_seed(seed: Any) -> None:
    """Raises a ValueError if `seed` is no whole number of SEEDS, those of 32 bits."""
    if not rules.is_whole(seed) or not SEEDS[0] <= seed <= SEEDS[1]:
        raise ValueError(f"seed is {seed!r}, but must be a whole number from {SEEDS[0]} to "
                         f"{SEEDS[1]}.")


def check_restart(every: Any, after: Segmentation | None = None) -> None:
    """Raises a ValueError if a state cannot start anew every so many frames."""
    if every is None:
        return
    if not rules.is_whole(every) or every < 1:
        raise ValueError(f"restart_every is {every!r}, but must be a whole number, 1 or more, or "
                         "None.")
    if after is not None:
        raise ValueError("after goes on with a state, which restart_every starts anew: give one of "
                         "the two.")


def check_index(name: str, index: Any, size: int, more: str = "",
                none_allowed: bool = False) -> None:
    """Raises a ValueError if `index` is no whole number from 0 to `size` - 1; `more`: a hint."""
    if index is None and none_allowed:
        return
    if not rules.is_whole(index) or not 0 <= index < size:
        raise ValueError(f"{name} is {index!r}, but must be a whole number from 0 to "
                         f"{size - 1}{more}.")


def continue_after(after: Segmentation, batch_size: int, num_slots: int | None,
                   single: bool) -> tuple[Any, np.ndarray, int]:
    """The state [B, K, ...], the action [B, A] and the K that an earlier part ended with.

    Args:
      after: that part.
      batch_size, single: of the video that goes on from it: how many clips, and whether it is one
        clip alone.
      num_slots: as it was asked for.

    Raises:
      ValueError: the video cannot go on from it.
    """
    if after.state is None:
        raise ValueError("after was made with restart_every, so it has no state to go on from; "
                         "give the whole video at once.")
    before_single = after.masks.ndim == 4
    state, action = (after.state, after.last_action) if not before_single else jax.tree.map(
        lambda a: a[None], (after.state, after.last_action))
    before_batch, before_slots = len(action), after.masks.shape[-3]
    if (single, batch_size) != (before_single, before_batch):
        raise ValueError(f"after is of {_clips(before_single, before_batch)}, but the video is "
                         f"{_clips(single, batch_size)}; the two must be parts of the same.")
    if num_slots not in (None, before_slots):
        raise ValueError(f"after has {before_slots} slots, but num_slots is {num_slots}; leave "
                         "it out to go on with the same slots.")
    return state, action, before_slots


def _clips(single: bool, batch_size: int) -> str:
    return "one clip" if single else f"a batch of {batch_size}"


def _hint(video: np.ndarray) -> str:
    """What to do about floats that do not lie in [0, 1]."""
    if not np.isfinite(video).all():
        return "Some are not finite: see where they come from."
    if video.min() >= 0 and video.max() > 2:
        return "Divide by 255, or give uint8."
    if video.min() >= -1.1 and video.max() <= 1.1 and video.min() < -0.1:
        return "If they lie in [-1, 1], take (video + 1) / 2."
    return "If they are off by rounding alone, take np.clip(video, 0, 1)."
