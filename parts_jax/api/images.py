"""Images for a model that looks at each on its own: they go in as clips of one frame.

Such a model was trained on clips of one frame and carries nothing from one to the next. So a batch
[B, H, W, 3] given to it is of B images, each with the noise that it has alone, and not a video.
"""

import dataclasses
from typing import Any

import jax
import ml_collections
import numpy as np

from parts_jax.api.results import Segmentation
from parts_jax.models.contract import Model


def are_taken(config: ml_collections.ConfigDict, model: Model) -> bool:
    """Whether a model is one of images: of one frame, without state and without actions."""
    state = jax.eval_shape(lambda: model.start(1, None))
    return config.data.num_frames == 1 and not config.data.action_size and not jax.tree.leaves(
        state)


def check_alone(after: Segmentation | None, restart_every: Any) -> None:
    """Raises a ValueError if a model of images is to go on from frames before."""
    for name, value in (("after", after), ("restart_every", restart_every)):
        if value is not None:
            raise ValueError(f"{name} is for models that carry a state through a video; this one "
                             "looks at each image on its own, so leave it out.")


def as_clips(images: np.ndarray, cues: dict[str, np.ndarray] | None
             ) -> tuple[np.ndarray, dict[str, np.ndarray] | None]:
    """Images and their cues as clips of one frame.

    Args:
      images: [H, W, 3] becomes one clip, [1, H, W, 3]; [B, H, W, 3] a batch, [B, 1, H, W, 3];
        clips [B, T, H, W, 3] stay what they are.
      cues: by name, of the same leading axes; or None.
    """
    def clip(array: np.ndarray) -> np.ndarray:
        array = np.asarray(array)
        return array[None] if images.ndim == 3 else array[:, None] if images.ndim == 4 else array

    return clip(images), None if cues is None else {k: clip(v) for k, v in cues.items()}


def without_time(result: Segmentation, num_axes: int) -> Segmentation:
    """What was found in `as_clips` of images of so many axes, without the axis of time."""
    if num_axes == 5:
        return result
    first = 0 if num_axes == 3 else (slice(None), 0)
    shown = jax.tree.map(lambda a: a[first], dataclasses.replace(
        result, state=None, last_action=np.zeros((1, 1))))
    return dataclasses.replace(
        shown, state=result.state, last_action=result.last_action, of_images=True)
