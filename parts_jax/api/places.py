"""Where in a video's frames a model looked: the way to its square, and the way back for masks."""

from typing import NamedTuple

import numpy as np
from PIL import Image

from parts_jax.data import preprocess

CROPS = ("center", "none", "pad")


class Place(NamedTuple):
    """What of a frame became the model's square, in pixels of the frame.

    Attributes:
      height, width: of the frame.
      top, left: of the box that became the square; below 0 where it begins outside of the frame.
      box_height, box_width: its size.
    """

    height: int
    width: int
    top: int
    left: int
    box_height: int
    box_width: int

    @property
    def is_whole(self) -> bool:
        """Whether the box is the frame, no more and no less."""
        return self[2:] == (0, 0, self.height, self.width)


def find(height: int, width: int, crop: str) -> Place:
    """The place of a crop in frames of a size.

    Args:
      height, width: of the frames, in pixels.
      crop: "center": the largest square in the middle; "none": all, squeezed to a square; "pad":
        all, in the middle of the smallest square that holds it.

    Raises:
      ValueError: there is no such crop.
    """
    if crop not in CROPS:
        raise ValueError(f"The crop must be {', '.join(CROPS[:-1])} or {CROPS[-1]}; got {crop!r}.")
    if crop == "none":
        return Place(height, width, 0, 0, height, width)
    size = min(height, width) if crop == "center" else max(height, width)
    return Place(height, width, (height - size) // 2, (width - size) // 2, size, size)


def fit(video: np.ndarray, crop: str, resolution: int) -> np.ndarray:
    """Brings a video to the model's square, uint8 [T, H, W, 3] -> [T, resolution, resolution, 3].

    What "pad" adds repeats the pixels at the frame's edge. One image, [H, W, 3], stays one.

    Raises:
      ValueError: it is no such video, or there is no such crop.
    """
    if np.ndim(video) == 3 and np.shape(video)[-1] == 3:
        return fit(np.asarray(video)[None], crop, resolution)[0]
    clip = {"video": np.asarray(video)}
    preprocess.check_clip(clip)
    height, width = clip["video"].shape[1:3]
    place = find(height, width, crop)
    if crop == "pad":
        above, before = -place.top, -place.left
        below = place.box_height - place.height - above
        after = place.box_width - place.width - before
        clip["video"] = np.pad(
            clip["video"], ((0, 0), (above, below), (before, after), (0, 0)), mode="edge")
        crop = "none"
    return preprocess.resize(preprocess.crop(clip, crop), resolution)["video"]


def back(masks: np.ndarray, place: Place) -> np.ndarray:
    """Brings masks of one frame back to its size and place, interpolated linearly.

    Args:
      masks: of the model's square, [K, h, w].
      place: where that was.

    Returns:
      float32 [K, H, W]; all 0 where the model did not look.
    """
    masks = np.asarray(masks, np.float32)
    top, left = max(place.top, 0), max(place.left, 0)
    bottom = min(place.top + place.box_height, place.height)
    right = min(place.left + place.box_width, place.width)
    scale_y, scale_x = masks.shape[1] / place.box_height, masks.shape[2] / place.box_width
    box = ((left - place.left) * scale_x, (top - place.top) * scale_y,
           (right - place.left) * scale_x, (bottom - place.top) * scale_y)
    placed = np.zeros((len(masks), place.height, place.width), np.float32)
    for mask, whole in zip(masks, placed, strict=True):
        resized = Image.fromarray(mask).resize(
            (right - left, bottom - top), Image.Resampling.BILINEAR, box=box)
        whole[top:bottom, left:right] = np.asarray(resized)
    return placed


def boxes_back(boxes: np.ndarray, place: Place) -> np.ndarray:
    """Boxes of one frame in its pixels: of the model's square, as shares of it, [K, 5] -> [K, 5].

    y0, x0, y1, x1 become pixels of the frame, whose edges they may pass where the square does; what
    stands after them, the probability of presence, stays.
    """
    scale = np.array([place.box_height, place.box_width] * 2)
    corners = boxes[:, :4] * scale + [place.top, place.left] * 2
    return np.concatenate([corners, boxes[:, 4:]], axis=1).astype(np.float32)


def ids(masks: np.ndarray) -> np.ndarray:
    """The slot with the greatest mask, and `void` where all are 0.

    Args:
      masks: [K, H, W].

    Returns:
      [H, W], uint8, or uint16 past 255 slots.
    """
    dtype = np.uint8 if len(masks) <= 255 else np.uint16
    greatest = masks.argmax(axis=0).astype(dtype)
    return np.where(masks.any(axis=0), greatest, void(len(masks))).astype(dtype)


def void(num_slots: int) -> int:
    """The id of pixels that the model did not see: 255, as in DAVIS; 65535 past 255 slots."""
    return 255 if num_slots <= 255 else 65535
