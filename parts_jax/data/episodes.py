"""An episode, the unit of every data set: how it is declared to TFDS, checked, cropped and encoded.

Every builder declares `features` and yields what `encode` returns, so that `pipeline` reads all
sets alike. Builders of sets that come from files take a `SourceConfig`.
"""

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np
import tensorflow_datasets as tfds

from parts_jax.data import preprocess
from parts_jax.data.formats import frames, limits, reading

MAX_ID = 255


@dataclasses.dataclass
class SourceConfig(tfds.core.BuilderConfig):
    """A variant of a set that is made from files.

    Attributes:
      resolution: height and width of the stored frames, in pixels.
      crop: "none" squeezes the whole frame into a square; "center" cuts the largest square out of
        its middle first.
      source_dir: the folder with the files, of the machine's user; `data.prepare` sets it, and
        what follows. Empty where the set is downloaded.
      max_bytes: see formats/limits.py.
      skip_bad: whether an episode that cannot be read is named, counted and left out, where it
        otherwise ends the building of the set.
    """

    resolution: int = 64
    crop: str = "none"
    source_dir: str = ""
    max_bytes: int = limits.MAX_BYTES
    skip_bad: bool = False


def features(*, has_masks: bool, has_actions: bool, **extra: Any) -> tfds.features.FeaturesDict:
    """The TFDS features of an episode, which need no TensorFlow.

    Args:
      has_masks: whether episodes have a segmentation.
      has_actions: whether they have actions.
      **extra: further features by their names.
    """
    encoded = tfds.features.Sequence(tfds.features.Tensor(shape=(), dtype=np.object_))
    declared = {"video": encoded, "id": tfds.features.Text()}
    if has_masks:
        declared["segmentation"] = encoded
    if has_actions:
        # Two unknown axes: TFDS keeps the shape beside the bytes.
        declared["actions"] = tfds.features.Tensor(
            shape=(None, None), dtype=np.float32, encoding="bytes")
    return tfds.features.FeaturesDict(declared | extra)


def encode(source: str, video: np.ndarray, *, id: str, resolution: int, crop: str = "none",
           segmentation: np.ndarray | None = None, actions: np.ndarray | None = None,
           **extra: Any) -> dict[str, Any]:
    """Checks, crops, resizes and encodes an episode: an example of `features`.

    Args:
      source: the file (or whatever else) that it comes from, for messages.
      video: uint8 [T, H, W, 3].
      id: the name of the episode.
      resolution: height and width of the stored frames.
      crop: see `SourceConfig`.
      segmentation: integers [T, H, W], 0 for background; or None.
      actions: numbers [T, A]; or None.
      **extra: further features, as they are.

    Raises:
      ValueError: if an array has a wrong shape or dtype, there is no frame, an id is negative or
        above 255, or an action is not finite.
    """
    with reading.naming(source, f"{source} cannot be read as an episode"):
        clip = {"video": np.asarray(video)}
        if segmentation is not None:
            clip["segmentation"] = checked_ids(source, segmentation)
        if actions is not None:
            clip["actions"] = checked_actions(source, actions)
        if clip["video"].ndim == 4 and 0 in clip["video"].shape:
            raise ValueError(f"{source} cannot be read as an episode: a video must have at least 1 "
                             f"frame of 1x1 pixels; got {list(clip['video'].shape)}.")
        try:
            preprocess.check_clip(clip)
        except ValueError as error:
            raise ValueError(f"{source} cannot be read as an episode. {error}") from error
        clip = preprocess.resize(preprocess.crop(clip, crop), resolution)
        example = {"video": frames.encode(clip["video"]),
                   "id": id.encode("utf-8", "backslashreplace").decode()}  # names may be no UTF-8
        if "segmentation" in clip:
            example["segmentation"] = frames.encode(clip["segmentation"])
        if "actions" in clip:
            example["actions"] = clip["actions"]
        return example | extra


def checked_ids(source: str, segmentation: np.ndarray) -> np.ndarray:
    """Instance ids of any integer type as uint8.

    Raises:
      ValueError: if they are no integers, or one is negative or above 255.
    """
    ids = np.asarray(segmentation)
    if not (np.issubdtype(ids.dtype, np.integer) or ids.dtype == bool):
        raise ValueError(f"The segmentation of {source} must hold integers; got {ids.dtype}.")
    if ids.size and (ids.min() < 0 or ids.max() > MAX_ID):
        raise ValueError(f"The segmentation of {source} has ids from {ids.min()} to {ids.max()}, "
                         f"but must have ids from 0 (background) to {MAX_ID}.")
    return ids.astype(np.uint8)


def checked_actions(source: str, actions: np.ndarray) -> np.ndarray:
    """Actions, numbers [T, A], as float32: the one place where they are looked at.

    Raises:
      ValueError: if they are no numbers, or one is not finite, or becomes infinite, in float32.
    """
    given = np.asarray(actions)
    if given.dtype.kind not in "biuf":
        raise ValueError(f"The actions of {source} must be numbers; got {given.dtype}.")
    with np.errstate(over="ignore"):
        taken = given.astype(np.float32)
    if not np.isfinite(taken).all():
        frame = int(np.argwhere(~np.isfinite(taken))[0, 0])
        raise ValueError(f"The actions of {source} must be finite in float32; got "
                         f"{given[frame].tolist()} at frame {frame}.")
    return taken


def check_same_action_size(sources: Sequence[str], sizes: Sequence[int | None]) -> None:
    """Raises ValueError, naming two files, if episodes differ in the size of their actions."""
    for source, size in zip(sources, sizes, strict=True):
        if size != sizes[0]:
            def words(size: int | None) -> str:
                return "no actions" if size is None else f"actions of size {size}"
            raise ValueError(f"All episodes of a set must have actions of the same size, but "
                             f"{sources[0]} has {words(sizes[0])} and {source} has {words(size)}.")
