"""Boxes of a model made by hand, whose scores are known, from the split to the files."""

import json

import jax
import numpy as np
import pytest

from parts_jax.data.pipeline import Split
from parts_jax.devices import sharding
from parts_jax.evaluation import split as split_of
from parts_jax.evaluation import stages, writing
from parts_jax.metrics import intervals
from tests.models import boxes_by_hand
from tests.models.boxes_by_hand import FIRST, SECOND, S

THIRD, NONE = (0, 0.5, 0.5, 1), (0, 0, 0, 0)
TRUE = np.array([[FIRST, SECOND], [FIRST, NONE], [THIRD, NONE]], np.float32)
# The surest first: right, right, wrong (.9 each); right, wrong, wrong (.8). Of 4 objects.
AP = (6 * 1 + 2 * 3 / 4) / 11
COUNT_ERROR = (0 + 1 + 1) / 3


def examples(**arrays: np.ndarray) -> Split:
    video = np.random.default_rng(0).integers(0, 256, (3, 1, S, S, 3), np.uint8)
    return Split([{"video": video[i], "id": str(i), **{k: v[i][None] for k, v in arrays.items()}}
                  for i in range(3)], 1)


def evaluator_of(mask_boxes: bool) -> stages.Evaluator:
    config = boxes_by_hand.get_config()
    config.eval.mask_boxes = mask_boxes
    return stages.compile_stages(config, boxes_by_hand.create(config),
                                 sharding.make_mesh(jax.devices()[:1]))


def test_known_boxes_give_the_known_precision_and_files(tmp_path):
    evaluator, found = evaluator_of(mask_boxes=False), examples(boxes=TRUE)
    clips, shown = split_of.infer_split(evaluator, {}, found, 2)  # the second batch is half empty
    assert clips["ap"].shape == (3, 1 + 3, 1 + 10) and "mask_ap" not in clips
    values = intervals.values(clips)
    assert values["ap_50"] == pytest.approx(AP) and values["ap"] == pytest.approx(AP)
    assert values["count_error"] == pytest.approx(COUNT_ERROR)
    np.testing.assert_array_equal(shown["true_boxes"][:, 0], TRUE[:2])
    assert shown["boxes"].shape == (2, 1, 3, 5)
    columns = writing.columns(lambda count: [""] * count, clips)
    np.testing.assert_allclose(columns["ap_50"], [1, 1, 0], rtol=1e-12)
    record = json.loads(json.dumps(writing.make_record(evaluator, 7, "test", clips)))
    low, high = record["interval"]["ap_50"]
    assert low <= record["ap_50"] <= high and {"ap", "count_error"} <= set(record["median"])


def test_sets_with_masks_alone_have_their_boxes_and_masks_can_stand_for_boxes():
    ids = np.zeros((3, S, S), np.uint8)
    for i, places in enumerate(TRUE):
        for number, (y0, x0, y1, x1) in enumerate((places * S).astype(int), start=1):
            ids[i, y0:y1, x0:x1] = number
    values = intervals.values(
        split_of.infer_split(evaluator_of(mask_boxes=True), {}, examples(segmentation=ids))[0])
    for name, expected in (("ap_50", AP), ("ap", AP), ("count_error", COUNT_ERROR)):
        assert values[name] == pytest.approx(expected)
        assert values[f"mask_{name}"] == pytest.approx(expected)  # its masks fill its boxes
