"""A rival of roll-outs that knows motion and nothing else: every object moves on as it did last.

It has what no model is given, the true masks of the frames that were seen. Who does not beat it has
learned no more than that things keep moving. It knows no depth, no collisions and no turning, and
the camera stands still for it.
"""

from typing import NamedTuple

import numpy as np
from scipy import ndimage


class Moved(NamedTuple):
    """Frames as they would be.

    Attributes:
      video: float32 [B, S, H, W, 3].
      segmentation: ids as those of the true masks, [B, S, H, W].
    """

    video: np.ndarray
    segmentation: np.ndarray


def constant_velocity(video: np.ndarray, segmentation: np.ndarray, num_steps: int) -> Moved:
    """Moves the objects of the last frame on, by the way that their centroids went to it.

    An object that is not in the frame before the last stays where it is, as does all else if
    there is but one frame. Ways are no whole pixels: pictures and masks are interpolated between
    pixels. What an object uncovers is the background as it was seen in any of the frames.

    Args:
      video: frames that were seen, in [0, 1], [B, T, H, W, 3].
      segmentation: their true masks, 0 the background, [B, T, H, W].
      num_steps: S, frames to come.
    """
    clips = [_move_on(*clip, num_steps) for clip in zip(video, segmentation, strict=True)]
    return Moved(*(np.stack(parts) for parts in zip(*clips, strict=True)))


def background(video: np.ndarray, segmentation: np.ndarray) -> np.ndarray:
    """What lies behind the objects: the mean over the frames in which a pixel shows it.

    Args:
      video, segmentation: of one clip.

    Returns:
      float32 [H, W, 3]; a pixel that always shows an object has the colour of the nearest other
      one, and is black if there is none.
    """
    shows = segmentation == 0
    count = shows.sum(0)
    total = np.where(shows[..., None], video, 0).sum(0)
    picture = (total / np.maximum(count, 1)[..., None]).astype(np.float32)
    if count.any():
        nearest = ndimage.distance_transform_edt(
            count == 0, return_distances=False, return_indices=True)
        picture = picture[tuple(nearest)]
    return picture


def _move_on(video: np.ndarray, segmentation: np.ndarray,
             num_steps: int) -> tuple[np.ndarray, np.ndarray]:
    """The frames of one clip, and their ids."""
    last, before = segmentation[-1], segmentation[max(len(segmentation) - 2, 0)]
    frames = np.repeat(background(video, segmentation)[None], num_steps, axis=0)
    ids = np.zeros((num_steps, *last.shape), segmentation.dtype)
    # What stands lower in the picture is nearer, and hides what is behind it: painted last.
    rows = {name: np.nonzero(last == name)[0].max() for name in np.unique(last) if name}
    for name in sorted(rows, key=rows.get):
        mask = (last == name).astype(np.float32)
        way = np.zeros(2)
        if (before == name).any():
            way = np.subtract(*(ndimage.center_of_mass(ids == name) for ids in (last, before)))
        layers = np.concatenate([mask[..., None], mask[..., None] * video[-1]], axis=-1)
        for step in range(num_steps):
            share, *colours = (ndimage.shift(layers[..., c], (step + 1) * way, order=1)
                               for c in range(layers.shape[-1]))
            frames[step] = (1 - share[..., None]) * frames[step] + np.stack(colours, axis=-1)
            ids[step][share > 0.5] = name
    return frames, ids
