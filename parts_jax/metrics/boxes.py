"""Metrics of boxes on the host, in float64, by the protocol of SPACE's authors (paper 004).

Boxes are y0, x0, y1, x1, in whatever unit the true and the predicted ones share. What is predicted
of a picture is what its model is surer of than of the contrary: `detected`.

Average precision is a number of a whole set, not a mean over pictures: `average_precision` takes
all of them at once. An evaluation keeps of each clip what `kept` returns, from which `reduced` has
the number of any of them together.
"""

from collections.abc import Sequence

import numpy as np
from scipy import ndimage

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
    capacity = sum(map(len, predicted))
    return reduced(kept(predicted, true, capacity, thresholds)[None], np.ones((1, 1)))[0]


def kept(predicted: Sequence[np.ndarray], true: Sequence[np.ndarray], capacity: int,
         thresholds: Sequence[float] = THRESHOLDS) -> np.ndarray:
    """What average precision needs of some pictures, such as the frames of a clip.

    Args:
      predicted, true, thresholds: as of `average_precision`; confidence is above 0.
      capacity: rows for predicted boxes, so that all clips have as many.

    Returns:
      [1 + capacity, 1 + len(thresholds)]. The first row has the number of true boxes; each other is
      of a predicted box: its confidence, and by threshold 1 where it is right; 0 after the last.

    Raises:
      ValueError: as of `average_precision`, or there are more boxes than rows.
    """
    predicted, true = _pictures(predicted, true)
    rows = np.zeros((1 + capacity, 1 + len(thresholds)))
    count = sum(map(len, predicted))
    if count > capacity:
        raise ValueError(f"There are {count} predicted boxes, but capacity is {capacity}.")
    rows[0, 0] = sum(map(len, true))
    if count:
        rows[1:1 + count, 0] = np.concatenate([boxes[:, 4] for boxes in predicted])
        rows[1:1 + count, 1:] = np.stack([np.concatenate([
            hits(boxes, of_picture, threshold)
            for boxes, of_picture in zip(predicted, true, strict=True)])
            for threshold in thresholds], axis=1)
    return rows


def reduced(clips: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """Average precision of what was `kept` of clips, each counted as often as is said.

    Args:
      clips: [N, rows, 1 + thresholds].
      counts: how often each clip is there, whole numbers, [R, N], of R sets of them.

    Returns:
      [R, thresholds]; NaN where a set has no true box.
    """
    clip, row = np.nonzero(clips[:, 1:, 0] > 0)
    order = np.argsort(-clips[clip, 1 + row, 0], kind="stable")
    clip, right = clip[order], clips[clip, 1 + row, 1:][order] > 0
    # Precision is greatest where a box is right, so that nothing else is looked at.
    places = [np.flatnonzero(right[:, i]) for i in range(right.shape[1])]
    found = np.full((len(counts), len(places)), np.nan)
    for i, (often, true) in enumerate(zip(counts, counts @ clips[:, 0, 0], strict=True)):
        weights = often[clip]
        ranks = np.cumsum(weights)
        for j, at in enumerate(places if true else ()):
            hit = np.cumsum(weights[at])
            precision = np.append(hit / np.maximum(ranks[at], 1), 0.0)
            best = np.maximum.accumulate(precision[::-1])[::-1]
            found[i, j] = np.mean(best[np.searchsorted(hit / true, RECALLS)])
    return found


def mean_reduced(clips: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """The mean of `reduced` over thresholds, [R]."""
    return reduced(clips, counts).mean(-1)


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
    ids, numbers = np.unique(segmentation, return_inverse=True)
    found = ndimage.find_objects(numbers.reshape(segmentation.shape) + 1)
    boxes = [[rows.start, columns.start, rows.stop, columns.stop]
             for id, (rows, columns) in zip(ids, found, strict=True) if id != background]
    height, width = segmentation.shape
    return np.array(boxes, np.float64).reshape(-1, 4) / [height, width, height, width]


def boxes_of_slots(ids: np.ndarray, sureness: np.ndarray) -> np.ndarray:
    """Boxes around the slots of a picture, of a model that has masks and no boxes.

    No slot is known to be the background: that with most pixels is taken for it, and has no box. So
    a background in several slots gives boxes that are wrong.

    Args:
      ids: the slot of each pixel, whole numbers [H, W].
      sureness: of each slot, above 0 where it has a pixel: the confidence, [K].

    Returns:
      [M, 5], of the M slots with pixels but one.
    """
    slots, counts = np.unique(ids, return_counts=True)
    largest = slots[np.argmax(counts)]
    return np.concatenate([boxes_of_masks(ids, int(largest)),
                           sureness[slots[slots != largest], None]], axis=1)


def box_metrics(predicted: Sequence[Sequence[np.ndarray]], true: Sequence[Sequence[np.ndarray]],
                capacity: int) -> dict[str, np.ndarray]:
    """Metrics of the boxes of clips.

    Args:
      predicted: by clip and frame, [M, 5].
      true: the same, [N, 4].
      capacity: the most boxes that may be predicted of a clip.

    Returns:
      By clip: `ap_50` and `ap`, what `mean_reduced` takes, of the threshold .5 and of all of
      `THRESHOLDS`, float32 [B, 1 + capacity, 2] and [B, 1 + capacity, 11]; `count_error`, the mean
      over frames, float64 [B].
    """
    clips = np.stack([kept(*clip, capacity) for clip in zip(predicted, true, strict=True)])
    clips = clips.astype(np.float32)
    return {"ap_50": clips[..., :2], "ap": clips, "count_error": np.array(
        [count_error(*clip).mean() for clip in zip(predicted, true, strict=True)])}


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
