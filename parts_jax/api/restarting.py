"""Videos longer than a model can follow: its state starts anew every so many frames.

A new state sees the last frames of the part before once more, as the first frames after a start are
split worse than later ones; and its slots get the numbers of those of the part before that they
overlap with most.
"""

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

import jax
import numpy as np
from scipy.optimize import linear_sum_assignment

from parts_jax.api.results import Segmentation

SEEN_AGAIN = 3  # frames, at the most
# What of a Segmentation has no axis of slots, and what is of no frame.
WITHOUT_SLOTS = ("video", "segmentation", "recon", "iterations")  # these have it one axis later
OF_NO_FRAME = ("state", "last_action", "num_frames", "masks_are", "of_images")


def seen_again(every: int) -> int:
    """How many frames a new state sees once more: three, but at most half of what it sees."""
    return min(SEEN_AGAIN, every // 2)


class Matcher:
    """Gives slots the numbers that they had before the state started anew."""

    def __init__(self) -> None:
        self._before: np.ndarray | None = None   # ids of the last frame, [H, W] or [B, H, W]
        self._orders: np.ndarray | None = None   # [B, K]: which slot comes where

    def matched(self, result: Segmentation, anew: bool, start: int, stop: int) -> Segmentation:
        """Some frames of a part, with slots in the order of the parts before.

        Args:
          result: of a part.
          anew: whether the state started with it.
          start, stop: the frames that are returned; the one before `start` was seen before, where
            the part has one.
        """
        if anew and self._before is not None:
            again = _take(result.segmentation, max(start - 1, 0), _time_axis(result))
            shape = (-1, *again.shape[-2:])
            self._orders = np.stack([
                match(*pair, result.masks.shape[-3]) for pair in zip(
                    self._before.reshape(shape), again.reshape(shape), strict=True)])
        if self._orders is not None:
            result = reordered(result, self._orders)
        result = frames_of(result, start, stop)
        self._before = _take(result.segmentation, -1, _time_axis(result))
        return result


def match(before: np.ndarray, now: np.ndarray, num_slots: int) -> np.ndarray:
    """Which slot of now takes the place of each of before: ids [H, W] of both -> [K].

    Together they cover as many pixels of those before as can be (Hungarian).
    """
    cells = before.astype(np.int64).ravel() * num_slots + now.ravel()
    table = np.bincount(cells, minlength=num_slots**2).reshape(num_slots, num_slots)
    return linear_sum_assignment(table, maximize=True)[1]


def reordered(result: Segmentation, orders: np.ndarray) -> Segmentation:
    """A result with its slots in other orders, [B, K] (B = 1 of a clip alone)."""
    axis, single = _time_axis(result) + 1, result.masks.ndim == 4

    def placed(array: np.ndarray, axis: int = axis) -> np.ndarray:
        if single:
            return np.take(array, orders[0], axis=axis)
        return np.stack([np.take(clip, order, axis=axis - 1)
                         for clip, order in zip(array, orders, strict=True)])

    ids = result.segmentation
    numbers = np.argsort(orders, axis=-1).astype(ids.dtype)  # of each slot its new place
    relabelled = numbers[0][ids] if single else np.stack(
        [row[clip] for row, clip in zip(numbers, ids, strict=True)])
    changed = {name: jax.tree.map(placed, value) for name, value in _per_frame(result).items()
               if name not in WITHOUT_SLOTS}
    if result.iterations is not None:
        changed["iterations"] = dataclasses.replace(
            result.iterations, masks=placed(result.iterations.masks, axis + 1))
    return dataclasses.replace(result, segmentation=relabelled, **changed)


def frames_of(result: Segmentation, start: int, stop: int) -> Segmentation:
    """Some frames of a result, which cannot be gone on from."""
    part = (slice(None),) * _time_axis(result) + (slice(start, stop),)
    return dataclasses.replace(result, state=None, **{
        name: jax.tree.map(lambda a: a[part], value) for name, value in _per_frame(result).items()})


def joined(parts: Sequence[Segmentation]) -> Segmentation:
    """Parts of one video, one after the other, as one result; it cannot be gone on from."""
    axis = _time_axis(parts[0])

    def one(*arrays: np.ndarray) -> np.ndarray:
        whole = np.concatenate(arrays, axis=axis)
        whole.flags.writeable = False
        return whole

    together = {name: jax.tree.map(one, *(_per_frame(part)[name] for part in parts))
                for name in _per_frame(parts[0])}
    return dataclasses.replace(
        parts[-1], state=None, num_frames=together["video"].shape[axis], **together)


def segment(segment_part: Callable[..., Segmentation], video: np.ndarray,
            actions: np.ndarray | None, cues: dict[str, np.ndarray] | None,
            every: int) -> Segmentation:
    """Segments a video of more than `every` frames by parts of so many.

    Args:
      segment_part: (video, actions, cues) -> Segmentation, from the state before any frame.
      video, actions, cues: as for `PretrainedModel.segment`.
      every: no state sees more frames than that.

    Raises:
      ValueError: a cue has not one row for each frame; all else is for `segment_part` to say.
    """
    axis = np.ndim(video) - 4
    for name, cue in (cues or {}).items():
        if np.shape(cue)[:axis + 1] != np.shape(video)[:axis + 1]:
            raise ValueError(f"The cue {name!r} must have one row for each frame of the video, "
                             f"{list(np.shape(video)[:axis + 1])}; got {list(np.shape(cue))}.")
    num_frames, start = np.shape(video)[axis], 0
    matcher, parts = Matcher(), []
    while start < num_frames:
        first = max(start - seen_again(every), 0)
        stop = min(first + every, num_frames)
        # All parts are of one length, so that they are compiled once: the last frame is repeated.
        index = np.minimum(np.arange(first, first + every), num_frames - 1)
        shown, taken, read = jax.tree.map(
            lambda a, index=index: np.take(a, index, axis=axis), (video, actions, cues))
        parts.append(matcher.matched(segment_part(shown, taken, read), True, start - first,
                                     stop - first))
        start = stop
    return dataclasses.replace(
        joined(parts), last_action=_last_action(actions, parts[-1], axis))


def _last_action(actions: np.ndarray | None, part: Segmentation, axis: int) -> np.ndarray:
    return part.last_action if actions is None else np.take(
        np.asarray(actions, np.float32), -1, axis=axis)


def _per_frame(result: Segmentation) -> dict[str, Any]:
    """What a result has of each frame, by name."""
    return {name: value for name, value in vars(result).items() if name not in OF_NO_FRAME}


def _time_axis(result: Segmentation) -> int:
    return result.masks.ndim - 4


def _take(array: np.ndarray, index: int, axis: int) -> np.ndarray:
    return np.take(array, index, axis=axis)
