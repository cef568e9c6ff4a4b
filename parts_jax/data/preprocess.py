"""Windows, resizing and flips of clips (numpy, in the readers) and pooling (JAX, in the step)."""

from collections.abc import Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from PIL import Image

from parts_jax.data.formats import frames

# What a batch may hold besides cues, each by rules of its own.
NOT_CUES = ("video", "segmentation", "actions", "valid", "index")

# --- numpy: one clip, in a reading thread ---


def read_window(example: Mapping[str, Any], start: int, num_frames: int, stride: int,
                cues: Mapping[str, tuple[int, ...]] | None = None) -> dict[str, np.ndarray]:
    """Takes some frames of an example and decodes only those.

    Args:
      example: `video` and, optionally, `segmentation`, each either T encoded frames (bytes) or
        an array, uint8 [T, H, W, 3] and uint8 [T, H, W]; optionally `actions` float32 [T, A], and
        cues, arrays of numbers [T, ...].
      start: the first frame to take.
      num_frames: how many to take.
      stride: from one to the next.
      cues: those to take, and the shape that each must have in one frame (see `cue_shapes`).

    Returns:
      A dict of `video` uint8 [num_frames, H, W, 3] and, where the example has them, `segmentation`
      uint8 [num_frames, H, W] and `actions` float32 [num_frames, A]; and of the cues, as they are,
      [num_frames, ...].

    Raises:
      ValueError: if the example is too short, it lacks a cue, or one of its arrays has a wrong
        shape or dtype.
    """
    length = len(example["video"])
    stop = start + (num_frames - 1) * stride + 1
    if stop > length:
        raise ValueError(f"A video of {length} frames is too short for {num_frames} frames with "
                         f"stride {stride} from frame {start}: it takes {stop}.")
    window = {key: _take(example[key], slice(start, stop, stride))
              for key in ("video", "segmentation", "actions") if key in example}
    check_clip(window)
    for name, shape in (cues or {}).items():
        if cue_shapes(example, (name,))[name] != shape:
            raise ValueError(f"The cue {name!r} must have the same shape in all clips, as they are "
                             f"stacked to batches; got {list(shape)} a frame in the first clip and "
                             f"{list(example[name].shape[1:])} in another.")
        window[name] = example[name][start:stop:stride]
    return window


def cue_shapes(example: Mapping[str, Any], cues: Sequence[str]) -> dict[str, tuple[int, ...]]:
    """The shape that each cue of an example, [T, ...], has in one frame: [...].

    Args:
      example: as for `read_window`.
      cues: names of arrays beside video, segmentation and actions, such as optical flow, boxes or
        factors.

    Raises:
      ValueError: if the example has no such cue.
    """
    length = len(example["video"])
    for name in cues:
        if name in NOT_CUES or not _is_cue(example.get(name), length):
            there = sorted(key for key, values in example.items()
                           if key not in NOT_CUES and _is_cue(values, length))
            raise ValueError(f"The cue {name!r} is asked for, but the data have "
                             f"{', '.join(there) or 'no cues'}. A cue is an array of numbers with "
                             "one row for each frame of the video; video, segmentation and actions "
                             "are none.")
    return {name: example[name].shape[1:] for name in cues}


def _is_cue(values: Any, length: int) -> bool:
    return (isinstance(values, np.ndarray) and values.dtype.kind in "biuf" and values.ndim > 0
            and len(values) == length)


def back_and_forth(num_frames: int, length: int, start: int = 0) -> np.ndarray:
    """Which frame is shown when a clip is played to its end, back, and so on: int [length].

    0 1 ... T-1 T-2 ... 0 1 ..., with T = `num_frames`; neither end is shown twice in a row.

    Args:
      num_frames: T, of the clip.
      length: how many frames are shown.
      start: how many would have been shown before; all are different from 0 to 2 T - 3.
    """
    if num_frames == 1:
        return np.zeros(length, int)
    shown = (start + np.arange(length)) % (2 * num_frames - 2)
    return num_frames - 1 - np.abs(shown - (num_frames - 1))


def check_clip(clip: Mapping[str, np.ndarray]) -> None:
    """Raises ValueError if an array of a clip has a wrong shape or dtype."""
    video = clip["video"]
    if video.dtype != np.uint8 or video.ndim != 4 or video.shape[-1] != 3:
        raise ValueError("A video must be uint8 [frames, height, width, 3]; "
                         f"got {video.dtype} {list(video.shape)}.")
    if "segmentation" in clip:
        mask = clip["segmentation"]
        if mask.dtype != np.uint8 or mask.shape != video.shape[:3]:
            raise ValueError(
                "A segmentation must be uint8 [frames, height, width], as large as its video "
                f"{list(video.shape[:3])}; got {mask.dtype} {list(mask.shape)}.")
    if "actions" in clip:
        actions = clip["actions"]
        if actions.dtype != np.float32 or actions.ndim != 2 or len(actions) != len(video):
            raise ValueError("Actions must be float32 [frames, action size], as many as the "
                             f"video has frames ({len(video)}); got {actions.dtype} "
                             f"{list(actions.shape)}.")


def resize(clip: Mapping[str, np.ndarray], resolution: int) -> dict[str, np.ndarray]:
    """Brings the frames of a clip to `resolution` x `resolution`.

    Colours are averaged over the area of a new pixel (interpolated where the picture grows). Ids
    are never mixed: a new pixel has the id that covers most of its area (the lowest where they
    tie), or the nearest id where the picture grows. Actions and cues stay as they are.
    """
    if clip["video"].shape[1:3] == (resolution, resolution):
        return dict(clip)
    resized = dict(clip)
    resized["video"] = np.stack([_resize_frame(frame, resolution) for frame in clip["video"]])
    if "segmentation" in clip:
        resized["segmentation"] = np.stack(
            [_resize_mask(mask, resolution) for mask in clip["segmentation"]])
    return resized


def crop(clip: Mapping[str, np.ndarray], kind: str) -> dict[str, np.ndarray]:
    """Cuts the largest square out of the middle of all frames ("center"), or nothing ("none").

    Raises:
      ValueError: if `kind` is neither.
    """
    if kind not in ("none", "center"):
        raise ValueError(f"The crop must be none or center; got {kind!r}.")
    height, width = clip["video"].shape[1:3]
    if kind == "none" or height == width:
        return dict(clip)
    size = min(height, width)
    top, left = (height - size) // 2, (width - size) // 2
    return {key: value[:, top:top + size, left:left + size]
            if key in ("video", "segmentation") else value for key, value in clip.items()}


def flip_left_right(clip: Mapping[str, np.ndarray],
                    mirrored_actions: tuple[int, ...] = ()) -> dict[str, np.ndarray]:
    """Mirrors all frames of a clip, and turns the sign of the `mirrored_actions` components.

    Cues stay as they are: what they are in a mirrored video is not known.
    """
    flipped = dict(clip)
    for key, axis in (("video", 2), ("segmentation", 2)):
        if key in clip:
            flipped[key] = np.ascontiguousarray(np.flip(clip[key], axis))
    if "actions" in clip:
        flipped["actions"] = clip["actions"].copy()
        flipped["actions"][:, list(mirrored_actions)] *= -1
    return flipped


def _take(values: Any, window: slice) -> np.ndarray:
    """The frames of a window, decoded where they are encoded."""
    taken = values[window]
    if len(taken) and isinstance(taken[0], bytes):
        return frames.decode(taken)
    return np.asarray(taken)


def _resize_frame(frame: np.ndarray, resolution: int) -> np.ndarray:
    shrinks = min(frame.shape[:2]) >= resolution
    method = Image.Resampling.BOX if shrinks else Image.Resampling.BILINEAR
    return np.asarray(Image.fromarray(frame).resize((resolution, resolution), method))


def _resize_mask(mask: np.ndarray, resolution: int) -> np.ndarray:
    size = (resolution, resolution)
    if min(mask.shape) < resolution:
        return np.asarray(Image.fromarray(mask).resize(size, Image.Resampling.NEAREST))
    ids = np.unique(mask)
    shares = [np.asarray(Image.fromarray((mask == i).astype(np.float32))
                         .resize(size, Image.Resampling.BOX)) for i in ids]
    return ids[np.argmax(shares, axis=0)]


# --- JAX: batches, inside the compiled step ---


def to_float(video: jax.Array | np.ndarray) -> jax.Array | np.ndarray:
    """uint8 [...] in 0..255, or floats in [0, 1] -> float32 [...] in [0, 1]."""
    return video.astype(np.float32) / 255 if video.dtype == np.uint8 else video.astype(np.float32)


def average_pool(video: jax.Array, factor: int) -> jax.Array:
    """Means over `factor` x `factor` pixels: float [..., H, W, C] -> [..., H/factor, W/factor, C].

    Raises:
      ValueError: if `factor` does not divide H and W.
    """
    height, width, channels = video.shape[-3:]
    _check_factor(height, width, factor)
    blocks = video.reshape(*video.shape[:-3], height // factor, factor, width // factor, factor,
                           channels)
    return blocks.mean(axis=(-4, -2))


def pixel_subset(video: jax.Array, offsets: jax.Array, size: int) -> jax.Array:
    """One pixel out of each block of `size` x `size`, at the same place in all of them.

    A mean over its pixels is, over all offsets, that over the frame: it is unbiased. Where
    `size` does not divide H or W, the last rows or columns, fewer than `size`, are left out, as if
    the frame ended before them.

    Args:
      video: frames in [0, 1], [B, T, H, W, C].
      offsets: which pixel of a block, (y, x), whole numbers from 0 to size - 1, [B, T, 2].
      size: edge of the blocks, in pixels.

    Returns:
      [B, T, H // size, W // size, C].

    Raises:
      ValueError: if there is no whole block.
    """
    height, width, channels = video.shape[-3:]
    if not 1 <= size <= min(height, width):
        raise ValueError(f"Frames of {height}x{width} pixels have no whole block of {size} x "
                         f"{size}: it must be from 1 to {min(height, width)}.")
    height, width = height - height % size, width - width % size

    def frame(frame: jax.Array, offset: jax.Array) -> jax.Array:
        blocks = frame[:height, :width].reshape(height // size, size, width // size, size, channels)
        return jax.lax.dynamic_slice(
            blocks, (0, offset[0], 0, offset[1], 0),
            (height // size, 1, width // size, 1, channels))[:, 0, :, 0]

    return jax.vmap(jax.vmap(frame))(video, offsets)


def majority_pool(segmentation: jax.Array, factor: int, num_ids: int) -> jax.Array:
    """The most frequent id among `factor` x `factor` pixels, the lowest where they tie.

    Args:
      segmentation: integers [..., H, W] in 0..num_ids-1; greater ids get no vote.
      factor: edge of the blocks, in pixels.
      num_ids: how many ids there are, the background counted.

    Returns:
      [..., H/factor, W/factor] of the same dtype.

    Raises:
      ValueError: if `factor` does not divide H and W.
    """
    height, width = segmentation.shape[-2:]
    _check_factor(height, width, factor)
    blocks = segmentation.reshape(*segmentation.shape[:-2], height // factor, factor,
                                  width // factor, factor)
    votes = jax.nn.one_hot(blocks, num_ids, dtype=jnp.int32).sum(axis=(-4, -2))
    return jnp.argmax(votes, axis=-1).astype(segmentation.dtype)


def _check_factor(height: int, width: int, factor: int) -> None:
    if factor < 1 or height % factor or width % factor:
        raise ValueError(f"Frames of {height}x{width} pixels cannot be pooled by {factor}: "
                         "it must be a positive divisor of both.")
