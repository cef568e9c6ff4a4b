"""Average precision and count error: the authors' numbers, and a slow plain implementation."""

import pathlib

import numpy as np
import pytest

from parts_jax.metrics import boxes

FILE = pathlib.Path(__file__).parents[1] / "parity" / "space_average_precision.npz"


def plain_iou(a, b):
    height = max(0.0, min(a[2], b[2]) - max(a[0], b[0]))
    width = max(0.0, min(a[3], b[3]) - max(a[1], b[1]))
    areas = [(box[2] - box[0]) * (box[3] - box[1]) for box in (a, b)]
    return height * width / (sum(areas) - height * width)


def plain_average_precision(predicted, true, threshold):
    """One box after the other, with lists."""
    judged = []
    for of_picture, objects in zip(predicted, true, strict=True):
        used = set()
        for *box, confidence in sorted(of_picture.tolist(), key=lambda row: -row[4]):
            overlaps = [plain_iou(box, other) for other in objects.tolist()]
            right = False
            if overlaps:
                best = max(range(len(overlaps)), key=overlaps.__getitem__)
                right = overlaps[best] > threshold and best not in used
                if right:
                    used.add(best)
            judged.append((confidence, right))
    judged.sort(key=lambda pair: -pair[0])
    count, found, points = sum(len(objects) for objects in true), 0, []
    for i, (_, right) in enumerate(judged):
        found += right
        points.append((found / count, found / (i + 1)))
    return sum(max((p for recall, p in points if recall >= r), default=0.0)
               for r in np.linspace(0, 1, 11)) / 11


def random_boxes(random, count):
    low = random.uniform(0, 0.7, (count, 2))
    return np.concatenate([low, low + random.uniform(0.05, 0.3, (count, 2))], axis=1)


def test_it_is_the_authors():
    with np.load(FILE, allow_pickle=False) as data:
        data = dict(data)
    corners = [1, 3, 2, 4]
    take = lambda rows, columns: [rows[rows[:, 0] == i][:, columns]
                                  for i in range(int(data["num_images"]))]
    true = next(value for name, value in data.items() if name.startswith("gt_image"))
    predicted = take(data["pred_image_ymin_ymax_xmin_xmax_conf"], [*corners, 5])
    true = take(true, corners)
    np.testing.assert_allclose(boxes.THRESHOLDS, data["iou_thresholds"])
    found = boxes.average_precision(predicted, true)
    np.testing.assert_allclose(found, data["ap"], rtol=1e-9)
    np.testing.assert_allclose(found.mean(), data["ap_mean"], rtol=1e-9)
    np.testing.assert_allclose(boxes.count_error(predicted, true).mean(),
                               data["count_error_rate"], rtol=1e-9)


def test_it_is_a_plain_one_on_random_boxes():
    random, seen = np.random.default_rng(0), []
    for _ in range(1000):
        true = [random_boxes(random, random.integers(1, 5)) for _ in range(3)]
        predicted = []
        for objects in true:  # some near a true one, some twice, some anywhere
            near = objects[random.integers(0, len(objects), random.integers(0, 4))]
            near = near + random.normal(0, 0.02, near.shape)
            rows = np.concatenate([near, random_boxes(random, random.integers(0, 3))])
            predicted.append(np.concatenate([rows, random.uniform(0.5, 1, (len(rows), 1))], 1))
        threshold = random.choice(boxes.THRESHOLDS)
        (found,) = boxes.average_precision(predicted, true, [threshold])
        np.testing.assert_allclose(found, plain_average_precision(predicted, true, threshold),
                                   atol=1e-12)
        seen.append(found)
    assert np.std(seen) > 0.1 and min(seen) == 0 and max(seen) > 0.7


def test_a_second_box_of_an_object_is_wrong_and_has_no_second_choice():
    true = np.array([[0, 0, 1, 1], [0, 0, 1, 0.8]])
    predicted = np.array([[0, 0, 1, 0.99, 0.9], [0, 0, 1, 0.98, 0.8], [0, 0, 1, 0.8, 0.6]])
    assert boxes.hits(predicted, true, 0.5).tolist() == [True, False, True]
    assert boxes.hits(predicted[:0], true, 0.5).tolist() == []
    assert not boxes.hits(predicted, true[:0], 0.5).any()
    # At the threshold itself it is no hit.
    assert not boxes.hits(np.array([[0, 0, 1, 0.5, 1.0]]), true[:1], 0.5)[0]


def test_no_boxes():
    assert np.isnan(boxes.average_precision([[], []], [[], []])).all()
    assert (boxes.average_precision([[]], [[[0, 0, 1, 1]]]) == 0).all()
    assert boxes.count_error([[], [[0, 0, 1, 1, 1]]], [[], []]).tolist() == [0, 1]
    with pytest.raises(ValueError, match="predicted of 1 pictures, and true ones are there of 2"):
        boxes.average_precision([[]], [[], []])
    with pytest.raises(ValueError, match=r"true has the shape \[1, 5\], but must be \[boxes, 4\]"):
        boxes.count_error([[]], [[[0, 0, 1, 1, 1]]])


def test_boxes_of_masks():
    ids = np.zeros((8, 16), np.uint8)
    ids[2:5, 3:9] = 4
    ids[4:, 8:] = 2
    expected = [[0.5, 0.5, 1, 1], [0.25, 3 / 16, 0.625, 9 / 16]]  # of what is seen of 4
    np.testing.assert_allclose(boxes.boxes_of_masks(ids), expected)
    assert len(boxes.boxes_of_masks(ids, None)) == 3
    assert boxes.boxes_of_masks(ids * 0).shape == (0, 4)
    with pytest.raises(ValueError, match="must be ids, whole numbers"):
        boxes.boxes_of_masks(ids / 2)


def test_detected_are_those_above_the_threshold():
    rows = np.array([[0, 0, 1, 1, 0.5], [0, 0, 1, 1, 0.51]])
    np.testing.assert_array_equal(boxes.detected(rows), rows[1:])


def test_clips_counted_twice_are_clips_there_twice():
    """`reduced` by counts against `average_precision` of the pictures, written out."""
    random = np.random.default_rng(3)
    true = [random_boxes(random, count) for count in (2, 0, 3, 1)]
    predicted = []
    for of_picture in true:
        near = np.concatenate([of_picture + random.normal(0, 0.03, of_picture.shape),
                               random_boxes(random, 2)])
        predicted.append(np.concatenate([near, random.random((len(near), 1)) / 2 + 0.5], 1))
    clips = np.stack([boxes.kept([p], [t], 7) for p, t in zip(predicted, true, strict=True)])
    counts = np.array([[1, 1, 1, 1], [2, 0, 3, 1], [0, 1, 0, 0], [0, 0, 0, 4]])
    found = boxes.reduced(clips, counts)
    for often, values in zip(counts, found, strict=True):
        order = np.repeat(np.arange(4), often)
        expected = boxes.average_precision([predicted[i] for i in order], [true[i] for i in order])
        np.testing.assert_allclose(values, expected, rtol=1e-12)
    assert np.isnan(found[2]).all() and 0 < found[1, 0] < 1
    with pytest.raises(ValueError, match="There are 5 predicted boxes, but capacity is 4"):
        boxes.kept(predicted[2:3], true[2:3], 4)


def test_boxes_of_slots_leave_the_largest_out():
    ids = np.zeros((4, 8), np.uint8)
    ids[:2, :2], ids[3, 7] = 2, 5
    found = boxes.boxes_of_slots(ids, np.array([0.9, 0, 0.8, 0, 0, 0.7]))
    np.testing.assert_allclose(found, [[0, 0, 0.5, 0.25, 0.8], [0.75, 0.875, 1, 1, 0.7]])
    assert boxes.boxes_of_slots(ids * 0, np.ones(1)).shape == (0, 5)
