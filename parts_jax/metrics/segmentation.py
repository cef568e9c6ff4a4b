"""Segmentation metrics on the host, in float64.

Every ARI is named by what it is computed over:

- `ari`: all pixels; `fg_ari`: pixels whose true id is not 0, the background (ARI-F of the paper).
- `_frame`: each frame on its own, then the mean over frames; `_video`: all frames' pixels as one
  labelling, so a slot must keep its object; `_last`: the last frame only, as in the paper.

Policy: as in scikit-learn, two labellings that are the same partition score 1, whether of one
cluster or of no pixels at all. So an empty foreground scores 1 for fg_ari, and for miou too;
evaluation reports the share of such frames as `empty_foreground`.
"""

import numpy as np
from scipy.optimize import linear_sum_assignment


def contingency_tables(true: np.ndarray, predicted: np.ndarray) -> np.ndarray:
    """Counts pixels by (true id, predicted id).

    Args:
      true: ids, integers [..., P].
      predicted: ids, integers [..., P].

    Returns:
      int64 [..., I, J] with I, J one more than the greatest id of each.

    Raises:
      ValueError: the two differ in shape.
    """
    if true.shape != predicted.shape:
        raise ValueError(f"True ids have shape {true.shape}, predicted ids {predicted.shape}; "
                         "they must be the same.")
    true, predicted = true.astype(np.int64), predicted.astype(np.int64)
    num_true, num_predicted = true.max(initial=0) + 1, predicted.max(initial=0) + 1
    examples = np.arange(int(np.prod(true.shape[:-1]))).reshape(*true.shape[:-1], 1)
    cells = (examples * num_true + true) * num_predicted + predicted
    counts = np.bincount(cells.ravel(), minlength=examples.size * num_true * num_predicted)
    return counts.reshape(*true.shape[:-1], num_true, num_predicted)


def adjusted_rand_index(tables: np.ndarray) -> np.ndarray:
    """ARI = (index - expected index) / (greatest index - expected index), Hubert & Arabie 1985.

    Args:
      tables: contingency tables, [..., I, J].

    Returns:
      float64 [...]; 1 where the two partitions are the same, empty ones included.
    """
    def pairs(n):
        n = n.astype(np.float64)
        return n * (n - 1) / 2

    index = pairs(tables).sum((-2, -1))
    rows, columns = pairs(tables.sum(-1)).sum(-1), pairs(tables.sum(-2)).sum(-1)
    total = pairs(tables.sum((-2, -1)))
    expected = rows * columns / np.maximum(total, 1)
    greatest = (rows + columns) / 2
    same = (index == rows) & (index == columns)
    return np.where(same, 1.0, (index - expected) / np.where(same, 1.0, greatest - expected))


def ari(true: np.ndarray, predicted: np.ndarray) -> np.ndarray:
    """ARI over all pixels: two of integers [..., P] -> float64 [...]."""
    return adjusted_rand_index(contingency_tables(true, predicted))


def fg_ari(true: np.ndarray, predicted: np.ndarray) -> np.ndarray:
    """ARI over the pixels whose true id is not 0: two of integers [..., P] -> float64 [...]."""
    return adjusted_rand_index(contingency_tables(true, predicted)[..., 1:, :])


def miou(true: np.ndarray, predicted: np.ndarray) -> np.ndarray:
    """Mean IoU over the true foreground objects, each matched to a slot of its own (Hungarian).

    An object that gets no slot, as when there are more objects than slots, counts 0.

    Args:
      true: ids, integers [..., P]; 0 is background.
      predicted: ids, integers [..., P].

    Returns:
      float64 [...].
    """
    tables = contingency_tables(true, predicted)
    union = tables.sum(-1, keepdims=True) + tables.sum(-2, keepdims=True) - tables
    iou = tables / np.maximum(union, 1)
    present = tables.sum(-1) > 0
    result = np.ones(tables.shape[:-2])
    for example in np.ndindex(result.shape):
        objects = iou[example][1:][present[example][1:]]
        if len(objects):
            matched = objects[linear_sum_assignment(objects, maximize=True)]
            result[example] = matched.sum() / len(objects)
    return result


def segmentation_metrics(true: np.ndarray, predicted: np.ndarray) -> dict[str, np.ndarray]:
    """Every segmentation metric of clips.

    Args:
      true: ids, integers [B, T, H, W].
      predicted: ids, integers [B, T, H, W].

    Returns:
      float64 [B] each: fg_ari_last, fg_ari_frame, fg_ari_video, ari_last, ari_frame, ari_video,
      miou_last, miou, and empty_foreground, the share of frames without foreground.
    """
    frames = [a.reshape(*a.shape[:2], -1) for a in (true, predicted)]
    videos = [a.reshape(a.shape[0], -1) for a in (true, predicted)]
    result = {"empty_foreground": (frames[0] == 0).all(-1).mean(-1)}
    for name, metric in (("fg_ari", fg_ari), ("ari", ari)):
        per_frame = metric(*frames)
        result |= {f"{name}_last": per_frame[:, -1], f"{name}_frame": per_frame.mean(-1),
                   f"{name}_video": metric(*videos)}
    per_frame = miou(*frames)
    return result | {"miou_last": per_frame[:, -1], "miou": per_frame.mean(-1)}


def mask_metrics(true: np.ndarray, predicted: np.ndarray) -> dict[str, np.ndarray]:
    """`fg_ari` and `fg_miou` of each frame on its own: `fg_ari` and `miou` of this file.

    Args:
      true: ids, integers [B, S, H, W]; 0 is background.
      predicted: ids, integers [B, S, H, W].

    Returns:
      float64 [B, S] each.
    """
    true, predicted = (ids.reshape(*ids.shape[:2], -1) for ids in (true, predicted))
    return {"fg_ari": fg_ari(true, predicted), "fg_miou": miou(true, predicted)}
