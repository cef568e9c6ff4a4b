"""Boxes in pictures: lines of the slot's colour where the box ends, and nowhere else."""

import numpy as np
import pytest

from parts_jax.pictures import boxes, colours, grids, overlay

S, K = 8, 3
BOXES = np.array([[0, 0, 1, 1, 0.5], [0.25, 0.125, 0.75, 0.5, 0.9], [-0.5, 0.7, 0.5, 1.4, 0.6]])
TRUE = np.array([[0.0, 0, 0.25, 0.25], [0, 0, 0, 0]])
FRAME = np.full((S, S, 3), 100, np.uint8)


def expected() -> np.ndarray:
    picture = FRAME.copy()
    picture[:2, :2] = 255  # a box of two pixels is all edge
    for rows, columns, slot in ((range(2, 6), range(1, 4), 1), (range(-4, 4), range(5, 12), 2)):
        for row in rows:
            for column in columns:
                edge = row in (rows[0], rows[-1]) or column in (columns[0], columns[-1])
                if edge and 0 <= row < S and 0 <= column < S:
                    picture[row, column] = colours.palette(K)[slot]
    return picture


def test_outlines_are_where_boxes_end_and_of_their_slots_colour():
    np.testing.assert_array_equal(boxes.over(FRAME, BOXES, TRUE), expected())
    twice = boxes.over(np.stack([FRAME] * 2) / 255, np.stack([0 * BOXES, BOXES]),
                       np.stack([TRUE] * 2))
    np.testing.assert_array_equal(twice[1], expected())
    assert (twice[0, 2:, 2:] == 100).all()
    assert (FRAME == 100).all()  # what is given is not drawn on
    with pytest.raises(ValueError, match=r"boxes has the shape \(3, 4\), but frames have"):
        boxes.over(FRAME, BOXES[:, :4])


def test_evaluations_and_overlays_show_them():
    clip = lambda array: np.asarray(array)[None, None]
    masks = clip(np.full((K, S, S), 1 / K))
    plain = dict(video=clip(FRAME), masks=masks, recon=clip(FRAME / 255))
    whole, more = grids.picture_grid(**plain), grids.picture_grid(
        **plain, boxes=clip(BOXES), true_boxes=clip(TRUE))
    width = 2 * S + 2
    assert more.shape[1] == whole.shape[1] + width
    np.testing.assert_array_equal(more[16:16 + 2 * S:2, 2 + width:2 + width + 2 * S:2], expected())
    np.testing.assert_array_equal(more[16:, 2 + 2 * width:], whole[16:, 2 + width:])
    ids, pixels = np.full((S, S), K), BOXES * [S, S, S, S, 1]
    np.testing.assert_array_equal(overlay.overlay(FRAME, ids, K, boxes=pixels),
                                  boxes.over(FRAME, BOXES))
