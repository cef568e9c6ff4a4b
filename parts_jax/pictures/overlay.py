"""Slots over the frame that they were found in, and the same as palette PNGs."""

import io

import numpy as np
from PIL import Image

from parts_jax.pictures import boxes as boxes_of
from parts_jax.pictures.colours import palette, to_uint8

OPACITY = 0.5
VOID = 255  # in a palette PNG: belongs to nothing, as in DAVIS
MOST_COLOURS = VOID


def overlay(frame: np.ndarray, ids: np.ndarray, num_slots: int,
            opacity: float = OPACITY, boxes: np.ndarray | None = None) -> np.ndarray:
    """Lays the slots' colours over a frame, and their boxes, if there are any.

    Args:
      frame: uint8 [H, W, 3].
      ids: the slot of each pixel, whole numbers [H, W]; where there is no such slot, the frame
        stays as it is.
      num_slots: K.
      opacity: of the colours, from 0 to 1.
      boxes: y0, x0, y1, x1 in pixels of the frame, and presence, [K, 5]; or None.

    Returns:
      uint8 [H, W, 3].
    """
    coloured = ids < num_slots
    colours = palette(num_slots)[np.where(coloured, ids, 0)].astype(np.float32)
    mixed = (1 - opacity) * frame.astype(np.float32) + opacity * colours
    mixed = np.where(coloured[..., None], to_uint8(mixed / 255), frame)
    if boxes is None:
        return mixed
    there, shares = boxes[:, 4] > boxes_of.LEAST, boxes[:, :4] / (frame.shape[:2] * 2)
    return boxes_of.outlined(mixed, shares[there], palette(len(boxes))[there],
                             max(1, min(frame.shape[:2]) // 128))


def encode_palette_png(ids: np.ndarray, num_slots: int) -> bytes:
    """PNG bytes whose pixels are slots' numbers, with their colours as its palette, as in DAVIS.

    Args:
      ids: uint8 [H, W], 0 to K - 1, or VOID, which is white.
      num_slots: K.

    Raises:
      ValueError: there are more slots than such a file can tell apart.
    """
    check_num_colours(num_slots)
    colours = np.zeros((256, 3), np.uint8)
    colours[:num_slots], colours[VOID] = palette(num_slots), 255
    image = Image.fromarray(ids)
    image.putpalette(colours.tobytes())
    buffer = io.BytesIO()
    image.save(buffer, format="PNG")
    return buffer.getvalue()


def check_num_colours(num_slots: int) -> None:
    """Raises a ValueError if a palette PNG cannot tell so many slots apart."""
    if num_slots > MOST_COLOURS:
        raise ValueError(f"A palette PNG tells at most {MOST_COLOURS} slots apart; got {num_slots}."
                         " Save them as .npz or .json.")
