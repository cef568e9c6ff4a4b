"""Every ARI against scikit-learn's, mIoU against a search over all matchings, the policies."""

import itertools

import numpy as np
import pytest
from sklearn.metrics import adjusted_rand_score

from parts_jax.metrics import segmentation

NAMES = {"fg_ari_last", "fg_ari_frame", "fg_ari_video", "ari_last", "ari_frame", "ari_video",
         "miou_last", "miou", "empty_foreground"}


def random_labelling(rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Two labellings of the same pixels: unrelated, noisy copies, all one id, or all different."""
    num_pixels = int(rng.choice([1, 2, 3, 5, 10, 64, 400]))
    true = rng.integers(0, rng.integers(1, 9), num_pixels)
    kind = rng.integers(5)
    if kind == 0:  # a noisy copy under other names
        predicted = rng.permutation(9)[true]
        noisy = rng.random(num_pixels) < rng.random()
        predicted[noisy] = rng.integers(0, 9, noisy.sum())
    elif kind == 1:
        predicted = np.full(num_pixels, rng.integers(3))
    elif kind == 2:
        predicted = rng.permutation(num_pixels)
    else:
        predicted = rng.integers(0, rng.integers(1, 9), num_pixels)
    return (true, predicted) if rng.random() < 0.5 else (predicted, true)


def test_ari_equals_scikit_learns_on_a_thousand_random_labellings():
    """All pixels, and for fg_ari the foreground pixels alone."""
    rng = np.random.default_rng(0)
    scores = []
    for _ in range(1000):
        true, predicted = random_labelling(rng)
        score = float(segmentation.ari(true, predicted))
        foreground = true != 0
        assert abs(score - adjusted_rand_score(true, predicted)) < 1e-12
        expected = adjusted_rand_score(true[foreground], predicted[foreground])
        assert abs(float(segmentation.fg_ari(true, predicted)) - expected) < 1e-12
        scores.append(score)
    # The labellings are of all kinds: equal, alike, unrelated, and worse than chance.
    scores = np.asarray(scores)
    assert all((low < scores).sum() > 20 and (scores < high).sum() > 20
               for low, high in ((0.1, 0.9), (-1, -0.01), (0.99, 0.0)))


def test_ari_of_many_examples_is_that_of_each():
    """Leading axes are kept, and the ids of one example do not touch another's."""
    rng = np.random.default_rng(1)
    true, predicted = rng.integers(0, 5, (2, 3, 40)), rng.integers(0, 7, (2, 3, 40))
    true[0, 0] = 4  # one id; the others of this table are empty rows
    for metric, chosen in ((segmentation.ari, 0), (segmentation.fg_ari, 1)):
        scores = metric(true.astype(np.uint8), predicted.astype(np.uint8))
        assert scores.shape == (2, 3) and scores.dtype == np.float64
        for i, j in np.ndindex(2, 3):
            pixels = true[i, j] >= chosen
            expected = adjusted_rand_score(true[i, j][pixels], predicted[i, j][pixels])
            np.testing.assert_allclose(scores[i, j], expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize("true, predicted, expected", [
    ([0, 0, 1, 1], [0, 0, 1, 2], 0.571428571),
    ([0, 0, 0, 1, 1, 1], [0, 0, 1, 1, 2, 2], 0.24242424),
    ([0, 0, 0, 0], [0, 1, 2, 3], 0.0),
    ([0, 0, 1, 1], [0, 1, 0, 1], -0.5),
    ([0, 0, 1, 1], [1, 1, 0, 0], 1.0),
])
def test_vectors_in_use_in_the_field(true, predicted, expected):
    np.testing.assert_allclose(segmentation.ari(np.asarray(true), np.asarray(predicted)), expected,
                               rtol=0, atol=1e-8)


def test_contingency_table_in_use_in_the_field():
    """By the table, and by a labelling that has it."""
    table = np.asarray([[3, 0, 1], [1, 2, 1], [0, 2, 2]])
    true = np.repeat(np.arange(3), table.sum(1))
    predicted = np.concatenate([np.repeat(np.arange(3), row) for row in table])
    np.testing.assert_array_equal(segmentation.contingency_tables(true, predicted), table)
    # Of 66 pairs of pixels, 3 + 1 + 1 + 1 = 6 are together in both, 18 in rows, 18 in columns.
    expected = (6 - 18 * 18 / 66) / (18 - 18 * 18 / 66)
    assert abs(expected - 1 / 12) < 1e-12
    assert abs(expected - adjusted_rand_score(true, predicted)) < 1e-12
    np.testing.assert_allclose(segmentation.adjusted_rand_index(table), expected, rtol=0,
                               atol=1e-12)


def test_greatest_pictures_keep_their_precision():
    """A whole video of 128x128 x 128 frames: 2e12 pairs of pixels, beyond float32."""
    rng = np.random.default_rng(2)
    true = rng.integers(0, 6, 128 ** 3)
    predicted = np.where(rng.random(true.size) < 0.5, true, rng.integers(0, 7, true.size))
    np.testing.assert_allclose(segmentation.ari(true, predicted),
                               adjusted_rand_score(true, predicted), rtol=0, atol=1e-12)


def swapped_clip() -> tuple[np.ndarray, np.ndarray]:
    """Two frames of 8x8, two objects and background; in the second frame the slots are swapped."""
    true = np.zeros((1, 2, 8, 8), np.uint8)
    true[..., :3, :] = 1
    true[..., 5:, :] = 2
    predicted = np.asarray([2, 0, 1], np.uint8)[true]
    predicted[:, 1] = np.asarray([2, 1, 0], np.uint8)[true[:, 1]]
    return true, predicted


def test_per_frame_and_per_video_differ_when_slots_swap_their_objects():
    true, predicted = swapped_clip()
    scores = {name: float(value[0])
              for name, value in segmentation.segmentation_metrics(true, predicted).items()}
    for name in ("fg_ari_frame", "fg_ari_last", "ari_frame", "ari_last", "miou", "miou_last"):
        assert scores[name] == 1.0, name
    assert abs(scores["fg_ari_video"]) < 0.02
    assert 0 < scores["ari_video"] < 0.5  # the background is kept
    for name, pixels in (("fg_ari_video", true > 0), ("ari_video", true >= 0)):
        expected = adjusted_rand_score(true[pixels], predicted[pixels])
        np.testing.assert_allclose(scores[name], expected, rtol=0, atol=1e-12)
    assert scores["empty_foreground"] == 0


def test_last_is_the_last_frame_and_frame_the_mean():
    rng = np.random.default_rng(3)
    true = rng.integers(0, 3, (2, 4, 6, 6)).astype(np.uint8)
    predicted = rng.integers(0, 4, (2, 4, 6, 6)).astype(np.uint8)
    predicted[:, 2] = true[:, 2]
    scores = segmentation.segmentation_metrics(true, predicted)
    assert set(scores) == NAMES
    assert all(v.shape == (2,) and v.dtype == np.float64 for v in scores.values())
    frames = np.asarray([[adjusted_rand_score(true[b, t].ravel(), predicted[b, t].ravel())
                          for t in range(4)] for b in range(2)])
    np.testing.assert_allclose(scores["ari_frame"], frames.mean(1), atol=1e-12)
    np.testing.assert_allclose(scores["ari_last"], frames[:, 3], atol=1e-12)
    ious = np.asarray([[brute_force_miou(true[b, t].ravel(), predicted[b, t].ravel())
                        for t in range(4)] for b in range(2)])
    np.testing.assert_allclose(scores["miou"], ious.mean(1), atol=1e-12)
    np.testing.assert_allclose(scores["miou_last"], ious[:, 3], atol=1e-12)


def test_empty_foreground_scores_one_and_is_reported():
    """The stated policy; one of two frames is empty, and the mask of the other is wrong."""
    true = np.zeros((1, 2, 4, 4), np.uint8)
    predicted = np.arange(16, dtype=np.uint8).reshape(1, 1, 4, 4).repeat(2, axis=1)
    true[0, 0, :2] = 1
    scores = segmentation.segmentation_metrics(true, predicted)
    assert scores["empty_foreground"] == [0.5]
    assert scores["fg_ari_last"] == [1.0] and scores["miou_last"] == [1.0]
    assert scores["ari_last"] == [0.0]
    assert scores["fg_ari_frame"] == [0.5]  # one object in pieces scores 0
    np.testing.assert_allclose(scores["miou"], (1 + 1 / 8) / 2)


def test_single_object():
    """Whole in one slot it scores 1, whatever the background does; in two slots, 0."""
    true = np.asarray([1] * 6 + [0] * 10)
    whole = np.asarray([3] * 6 + [3, 1, 2, 0] + [1] * 6)
    assert segmentation.fg_ari(true, whole) == 1.0
    assert segmentation.fg_ari(true, np.asarray([0, 1] * 8)) == 0.0
    np.testing.assert_allclose(segmentation.miou(true, whole), 6 / 7)
    assert segmentation.ari(np.ones(5, int), np.zeros(5, int)) == 1.0  # one cluster is one cluster


def brute_force_miou(true: np.ndarray, predicted: np.ndarray) -> float:
    """The best mean IoU over all ways to give each object a slot of its own, or none."""
    objects, slots = np.unique(true[true != 0]), list(np.unique(predicted))
    if not len(objects):
        return 1.0
    slots += [-1] * len(objects)  # no slot: no pixel has it

    def iou(item, slot):
        return ((true == item) & (predicted == slot)).sum() / (
            (true == item) | (predicted == slot)).sum()

    return max(sum(map(iou, objects, chosen)) / len(objects)
               for chosen in itertools.permutations(slots, len(objects)))


def test_miou_equals_a_search_over_all_matchings():
    """Up to 4 objects and 4 slots, so also more objects than slots; ids with gaps."""
    rng = np.random.default_rng(4)
    fewer_slots = 0
    for _ in range(60):
        ids = rng.permutation(7)[:rng.integers(1, 5)]
        slots = rng.permutation(6)[:rng.integers(1, 5)]
        true, predicted = rng.choice(ids, 30), rng.choice(slots, 30)
        same = rng.random(30) < 0.5
        predicted[same] = slots[true[same] % len(slots)]
        fewer_slots += len(slots) < (ids > 0).sum()
        np.testing.assert_allclose(segmentation.miou(true, predicted),
                                   brute_force_miou(true, predicted), rtol=0, atol=1e-12)
    assert fewer_slots > 5


def test_objects_without_a_slot_count_zero():
    true = np.asarray([0, 0, 1, 1, 2, 2, 3, 3])
    predicted = np.asarray([0, 0, 0, 0, 0, 0, 1, 1])
    np.testing.assert_allclose(segmentation.miou(true, predicted), (1 + 2 / 6 + 0) / 3)


def test_greedy_matching_would_be_wrong():
    """Slot 0 fits object 1 best (6/13), but object 2 has no other slot; object 1 has slot 1."""
    true = np.asarray([1] * 10 + [2] * 3)
    predicted = np.asarray([0] * 6 + [1] * 4 + [0] * 3)
    np.testing.assert_allclose(segmentation.miou(true, predicted), (4 / 10 + 3 / 9) / 2)


def test_labellings_of_different_shapes_are_refused():
    for metric in (segmentation.ari, segmentation.fg_ari, segmentation.miou,
                   segmentation.contingency_tables):
        with pytest.raises(ValueError, match=r"shape \(4, 5\), predicted ids \(4, 6\)"):
            metric(np.zeros((4, 5), int), np.zeros((4, 6), int))


def test_masks_are_scored_frame_by_frame():
    rng = np.random.default_rng(1)
    true, predicted = rng.integers(0, 3, (2, 2, 3, 14, 16))
    found = segmentation.mask_metrics(true, predicted)
    for at in np.ndindex(2, 3):
        inside = true[at] > 0
        assert found["fg_ari"][at] == pytest.approx(
            adjusted_rand_score(true[at][inside], predicted[at][inside]))
    perfect = segmentation.mask_metrics(true, 2 - true)
    np.testing.assert_allclose(perfect["fg_miou"], 1)
    assert found["fg_miou"].max() < 0.6
