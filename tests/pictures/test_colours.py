"""Slots and objects have colours of their own, and what is undecided a mixture."""

import numpy as np

from parts_jax.pictures import colours


def test_palette_is_distinct_and_does_not_change_with_length():
    rgb = colours.palette(25)
    assert rgb.shape == (25, 3) and rgb.dtype == np.uint8
    assert len({tuple(c) for c in rgb}) == 25
    np.testing.assert_array_equal(colours.palette(4), rgb[:4])


def test_to_uint8_rounds_and_clips():
    floats = np.array([-0.5, 0.0, 0.5, 1.0, 7.0])
    np.testing.assert_array_equal(colours.to_uint8(floats), [0, 0, 128, 255, 255])


def test_segmentation_colours():
    picture = colours.colour_segmentation(np.array([[0, 1], [2, 1]]))
    np.testing.assert_array_equal(picture[0, 0], [colours.GREY] * 3)
    np.testing.assert_array_equal(picture[0, 1], colours.palette(2)[0])
    np.testing.assert_array_equal(picture[1, 0], colours.palette(2)[1])
    assert colours.colour_segmentation(np.zeros((5, 16, 20), np.uint8)).shape == (5, 16, 20, 3)


def test_hard_masks_take_their_slots_colours_and_soft_ones_mix():
    masks = np.zeros((3, 1, 2))
    masks[2, 0, 0] = 1.0
    masks[:2, 0, 1] = 0.5
    picture = colours.colour_masks(masks)
    rgb = colours.palette(3).astype(float)
    np.testing.assert_array_equal(picture[0, 0], rgb[2])
    np.testing.assert_allclose(picture[0, 1], (rgb[0] + rgb[1]) / 2, atol=1)


def test_slots_lie_on_white():
    means = np.full((1, 1, 2, 3), 0.2)
    picture = colours.masked_slots(means, np.array([[[0.0, 1.0]]]))
    np.testing.assert_array_equal(picture[0, 0], [[255] * 3, [51] * 3])
