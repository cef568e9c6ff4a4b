"""Boxes over the frame that they were found in: slots' in their colours, true ones in white.

Boxes are y0, x0, y1, x1 as shares of the picture, and of slots the probability of presence after.
Only those are drawn whose slot is more likely there than not.
"""

import numpy as np
from PIL import Image, ImageDraw

from parts_jax.pictures.colours import WHITE, palette, to_uint8

LEAST = 0.5  # presence that is not enough


def over(frames: np.ndarray, boxes: np.ndarray, true: np.ndarray | None = None) -> np.ndarray:
    """Draws boxes over frames, those of slots above the true ones.

    Args:
      frames: uint8 or float, [..., H, W, 3].
      boxes: of the slots, [..., K, 5].
      true: [..., M, 4], of which those without area are none; None: there are none.

    Returns:
      uint8 [..., H, W, 3].

    Raises:
      ValueError: boxes are not of as many frames, or not of 5, and of 4, numbers each.
    """
    frames, boxes = to_uint8(frames), np.asarray(boxes)
    batch = frames.shape[:-3]
    for name, array, width in (("boxes", boxes, 5), ("true", true, 4)):
        if array is not None and (np.shape(array)[:-2] != batch or np.shape(array)[-1] != width):
            raise ValueError(f"{name} has the shape {np.shape(array)}, but frames have "
                             f"{frames.shape}: it must be {(*batch, 'boxes', width)}.")
    drawn, colours = frames.copy(), palette(boxes.shape[-2])
    for at in np.ndindex(batch):
        if true is not None:
            drawn[at] = outlined(drawn[at], true[at], np.full((len(true[at]), 3), WHITE))
        there = boxes[at][:, 4] > LEAST
        drawn[at] = outlined(drawn[at], boxes[at][there, :4], colours[there])
    return drawn


def outlined(image: np.ndarray, boxes: np.ndarray, colours: np.ndarray,
             width: int = 1) -> np.ndarray:
    """Draws the outlines of boxes, inside of them: the outermost pixels that they touch.

    Args:
      image: uint8 [H, W, 3].
      boxes: [M, 4]; one that has no area, or does not lie in the picture, is left out.
      colours: of each, [M, 3].
      width: of a line, in pixels.

    Returns:
      uint8 [H, W, 3].
    """
    picture = Image.fromarray(image)
    draw, (height, across) = ImageDraw.Draw(picture), image.shape[:2]
    for box, colour in zip(np.asarray(boxes, np.float64), colours, strict=True):
        if not ((box[2:] > box[:2]).all() and (box[2:] > 0).all() and (box[:2] < 1).all()):
            continue
        low = np.floor(box[:2] * (height, across) + 1e-6).astype(int)
        high = np.maximum(np.ceil(box[2:] * (height, across) - 1e-6).astype(int) - 1, low)
        draw.rectangle((low[1], low[0], high[1], high[0]), outline=tuple(map(int, colour)),
                       width=width)
    return np.array(picture)
