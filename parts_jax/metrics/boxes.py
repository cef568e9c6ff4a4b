"""Metrics of boxes on the host, in float64, by the protocol of SPACE's authors (paper 004).

Boxes are y0, x0, y1, x1, in whatever unit the true and the predicted ones share. What is predicted
of a picture is what its model is surer of than of the contrary: `detected`.

Average precision is a number of a whole set, not a mean over pictures: `average_precision` takes
all of them at once.
"""

from collections.abc import Sequence

import numpy as np

THRESHOLDS = tuple(round(0.5 + 0.05 * i, 2) for i in range(10))  # .5:.05:.95
# Theirs to the last bit: the fourth is a little more than .3, which 3 of 10 objects do not reach.
RECALLS = np.linspace(0, 1, 11)


def detected(boxes: np.ndarray, least: float = 0.5) -> np.ndarray:
    """Those of a picture's boxes whose presence is above a threshold.

    Args:
      boxes: with presence in the last column, as of `View.boxes`, [K, 5].
      least: presence that is not enough.

    Returns:
      [M, 5].
    """
    boxes = _of_width("boxes", boxes, 5)
    return boxes[boxes[:, 4] > least]


def iou(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Intersection over union of every pair: [M, 4], [N, 4] -> [M, N]; 0 of two empty boxes."""
    first, second = (_of_width("boxes", boxes, 4)[:, None] for boxes in (first, second))
    second = np.swapaxes(second, 0, 1)
    low, high = np.maximum(first[..., :2], second[..., :2]), np.minimum(first[..., 2:],
                                                                        second[..., 2:])
    both = np.prod(np.maximum(high - low, 0), axis=-1)
    area = [np.prod(np.maximum(boxes[..., 2:] - boxes[..., :2], 0), axis=-1)
            for boxes in (first, second)]
    return both / np.maximum(area[0] + area[1] - both, np.finfo(np.float64).tiny)


def hits(predicted: np.ndarray, true: np.ndarray, threshold: float) -> np.ndarray:
    """Which boxes of a picture are right, the surest first.

    Each looks at the true box that it overlaps most, and at no other: it is right if their
    intersection over union is above the threshold and no surer one had that true box.

    Args:
      predicted: [M, 5], with confidence.
      true: [N, 4].
      threshold: of the intersection over union.

    Returns:
      bool [M], in the order of `predicted`.
    """
    predicted, true = _of_width("predicted", predicted, 5), _of_width("true", true, 4)
    right = np.zeros(len(predicted), bool)
    if not len(true):
        return right
    overlap, taken = iou(predicted[:, :4], true), np.zeros(len(true), bool)
    for i in np.argsort(-predicted[:, 4], kind="stable"):
        nearest = np.argmax(overlap[i])
        right[i] = overlap[i, nearest] > threshold and not taken[nearest]
        taken[nearest] |= right[i]
    return right


def average_precision(predicted: Sequence[np.ndarray], true: Sequence[np.ndarray],
                      thresholds: Sequence[float] = THRESHOLDS) -> np.ndarray:
    """Average precision of a set of pictures.

    All pictures' boxes together, the surest first, have a precision and a recall after each; AP is
    the mean, over the recalls 0, .1, ..., 1, of the greatest precision at that recall or more.

    Args:
      predicted: of each picture [M, 5], with confidence.
      true: of each picture [N, 4].
      thresholds: of the intersection over union.

    Returns:
      [len(thresholds)]; NaN where there is no true box at all. The mean of that of `THRESHOLDS` is
      AP@[.5:.95].

    Raises:
      ValueError: there are not as many pictures predicted as true, or boxes are not of 5 and 4.
    """
    predicted, true = _pictures(predicted, true)
    confidence = np.concatenate([boxes[:, 4] for boxes in predicted]) if predicted else np.zeros(0)
    order, found = np.argsort(-confidence, kind="stable"), []
    count = sum(map(len, true))
    for threshold in thresholds:
        right = [hits(boxes, of_picture, threshold)
                 for boxes, of_picture in zip(predicted, true, strict=True)]
        right = np.cumsum(np.concatenate(right)[order]) if len(order) else np.zeros(0)
        precision, recall = right / (np.arange(len(right)) + 1), right / max(count, 1)
        best = [np.max(precision[recall >= least], initial=0.0) for least in RECALLS]
        found.append(np.mean(best) if count else np.nan)
    return np.array(found)


def count_error(predicted: Sequence[np.ndarray], true: Sequence[np.ndarray]) -> np.ndarray:
    """Object count error of each picture, |M - N| / N: [pictures]; its mean is the paper's.

    A picture without objects, which the authors' sets have none of, counts as if N were 1 under
    the fraction.

    Args:
      predicted, true: as of `average_precision`.

    Raises:
      ValueError: as of `average_precision`.
    """
    predicted, true = _pictures(predicted, true)
    counts = np.array([[len(boxes) for boxes in of] for of in (predicted, true)], np.float64)
    return np.abs(counts[0] - counts[1]) / np.maximum(counts[1], 1)


def boxes_of_masks(segmentation: np.ndarray, background: int | None = 0) -> np.ndarray:
    """The smallest boxes around what is seen of objects, as shares of the picture.

    Args:
      segmentation: ids, integers [H, W].
      background: the id that is none; None: all are objects.

    Returns:
      y0, x0, y1, x1 of each id that there is, in their order, [N, 4].

    Raises:
      ValueError: it is not one picture of whole numbers.
    """
    if segmentation.ndim != 2 or segmentation.dtype.kind not in "iu":
        raise ValueError("A segmentation must be ids, whole numbers [H, W]; got "
                         f"{segmentation.dtype} of shape {segmentation.shape}.")
    boxes = []
    for id in np.unique(segmentation):
        if id != background:
            rows, columns = np.nonzero(segmentation == id)
            boxes.append([rows.min(), columns.min(), rows.max() + 1, columns.max() + 1])
    height, width = segmentation.shape
    return np.array(boxes, np.float64).reshape(-1, 4) / [height, width, height, width]


def _pictures(predicted: Sequence[np.ndarray], true: Sequence[np.ndarray]) -> tuple[list, list]:
    if len(predicted) != len(true):
        raise ValueError(f"Boxes were predicted of {len(predicted)} pictures, and true ones are "
                         f"there of {len(true)}; they must be as many.")
    return ([_of_width("predicted", boxes, 5) for boxes in predicted],
            [_of_width("true", boxes, 4) for boxes in true])


def _of_width(name: str, boxes: np.ndarray, width: int) -> np.ndarray:
    """float64 [N, width]; an empty list is no boxes."""
    boxes = np.asarray(boxes, np.float64)
    boxes = boxes.reshape(-1, width) if boxes.size == 0 else boxes
    if boxes.ndim != 2 or boxes.shape[1] != width:
        raise ValueError(f"{name} has the shape {list(boxes.shape)}, but must be [boxes, {width}].")
    return boxes
