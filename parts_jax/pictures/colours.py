"""Colours: of slots and objects, and of what lies between two of them.

Images are [..., H, W, 3], uint8 or float in [0, 1].
"""

import colorsys

import numpy as np

WHITE = 255
GREY = 224
# Ten colours that are told apart at a glance, also by most colour-blind eyes (after Paul Tol).
BASE_COLOURS = np.array(
    [[68, 119, 170], [238, 102, 119], [34, 136, 51], [204, 187, 68], [102, 204, 238],
     [170, 51, 119], [238, 119, 51], [0, 153, 136], [136, 34, 85], [153, 153, 51]], np.uint8)


def palette(num_colours: int) -> np.ndarray:
    """Returns uint8 [num_colours, 3]: ten chosen colours, then hues a golden angle apart."""
    extra = [colorsys.hsv_to_rgb(i * 0.618034 % 1.0, 0.75, 0.85) for i in range(num_colours - 10)]
    colours = np.concatenate([BASE_COLOURS, to_uint8(np.reshape(extra, (-1, 3)))])
    return colours[:num_colours]


def to_uint8(image: np.ndarray) -> np.ndarray:
    """Returns uint8 of uint8, or of floats in [0, 1]; what lies beyond is clipped."""
    image = np.asarray(image)
    if image.dtype == np.uint8:
        return image
    return np.round(np.clip(image.astype(np.float32), 0.0, 1.0) * 255.0).astype(np.uint8)


def colour_segmentation(segmentation: np.ndarray) -> np.ndarray:
    """Colours object ids.

    Args:
      segmentation: whole numbers [..., H, W]; 0 is background and becomes grey.

    Returns:
      uint8 [..., H, W, 3].
    """
    segmentation = np.asarray(segmentation).astype(np.int64)
    background = np.full((1, 3), GREY, np.uint8)
    colours = np.concatenate([background, palette(int(segmentation.max(initial=0)))])
    return colours[segmentation]


def colour_masks(masks: np.ndarray) -> np.ndarray:
    """Mixes the slots' colours by their masks, so that what is undecided looks so.

    Args:
      masks: floats [..., K, H, W] that sum to 1 over K.

    Returns:
      uint8 [..., H, W, 3].
    """
    masks = np.asarray(masks, np.float32)
    colours = palette(masks.shape[-3]).astype(np.float32) / 255.0
    return to_uint8(np.einsum("...khw,kc->...hwc", masks, colours))


def masked_slots(slot_means: np.ndarray, masks: np.ndarray) -> np.ndarray:
    """Lays each slot's picture over white by its mask.

    Args:
      slot_means: component means [..., K, H, W, 3], floats in [0, 1].
      masks: [..., K, H, W] in [0, 1].

    Returns:
      uint8 [..., K, H, W, 3].
    """
    means = np.clip(np.asarray(slot_means, np.float32), 0.0, 1.0)
    alpha = np.asarray(masks, np.float32)[..., None]
    return to_uint8(alpha * means + (1.0 - alpha) * (WHITE / 255.0))
