"""Shapes: the outlines that are known, overlaps that are no one's, factors that agree."""

import hashlib
import itertools

import numpy as np
import pytest
from scipy import ndimage, stats

from parts_jax.simulate import shapes

NUM_SCENES = 300
DIGEST = "c80a44b59557a4e18bcd46e6d927410a69eef530889865c769400e663c9bb96a"


@pytest.fixture(scope="module")
def scenes():
    return [shapes.scene(shapes.DEFAULT, (0, 0, clip)) for clip in range(NUM_SCENES)]


def test_outlines():
    """Row by row; each is one piece around one hole, and the triangles mirror each other."""
    square, triangle, inverted = shapes.SHAPES.values()
    assert ["".join(".#"[cell] for cell in row) for row in triangle.astype(int)] == [
        ".....##.....",
        "....####....",
        "...######...",
        "..###..###..",
        ".###....###.",
        "############",
        "############"]
    np.testing.assert_array_equal(triangle[::-1], inverted)
    assert square.shape == (7, 7) and square.sum() == 7 * 7 - 3 * 3
    for shape in shapes.SHAPES.values():
        assert ndimage.label(shape)[1] == 1
        assert ndimage.label(np.pad(~shape, 1, constant_values=True))[1] == 2  # outside and hole


def test_pixels_are_what_the_factors_say(scenes):
    """Counted shape by shape, pixel by pixel."""
    num_overlaps = 0
    for clip in scenes[:80]:
        count, last = np.zeros((28, 28), int), np.zeros((28, 28), int)
        for i, (number, (y, x)) in enumerate(zip(clip["shape"][0], clip["position"][0],
                                                 strict=True)):
            shape = shapes.SHAPES[shapes.SHAPE_NAMES[number]]
            top, left = y - (shape.shape[0] - 1) / 2, x - (shape.shape[1] - 1) / 2
            assert top == int(top) and left == int(left)
            for row, column in np.argwhere(shape):
                count[int(top) + row, int(left) + column] += 1
                last[int(top) + row, int(left) + column] = i + 1
        np.testing.assert_array_equal(clip["video"][0], 255 * (count > 0)[..., None].repeat(3, -1))
        expected = np.where(count == 1, last, 0)
        np.testing.assert_array_equal(clip["segmentation"][0], expected)
        for i, number in enumerate(clip["shape"][0]):
            whole = shapes.SHAPES[shapes.SHAPE_NAMES[number]].sum()
            assert clip["visibility"][0, i] == pytest.approx((expected == i + 1).sum() / whole)
        num_overlaps += (count > 1).any()
    assert 20 < num_overlaps < 80


def test_shapes_and_places_are_drawn_evenly(scenes):
    chosen = np.concatenate([clip["shape"][0] for clip in scenes])
    assert stats.chisquare(np.bincount(chosen)).pvalue > 1e-3 and set(chosen) == {0, 1, 2}
    squares = np.concatenate([clip["position"][0][clip["shape"][0] == 0] for clip in scenes])
    for axis in (0, 1):
        assert set(squares[:, axis]) == set(range(3, 25))
        assert stats.chisquare(np.bincount(squares[:, axis].astype(int))[3:]).pvalue > 1e-3


def test_the_same_seed_gives_the_same_bytes():
    digest = hashlib.sha256()
    for seed in itertools.product((0, 7), (0, 1, 2), range(4)):
        for name, array in sorted(shapes.scene(shapes.DEFAULT, seed).items()):
            digest.update(name.encode() + array.tobytes())
    assert digest.hexdigest() == DIGEST


@pytest.mark.parametrize("changes", [dict(resolution=11), dict(num_shapes=0)])
def test_worlds_that_cannot_be_are_refused(changes):
    (name, value), = changes.items()
    with pytest.raises(ValueError, match=f"12 pixels or more a side.*{name} {value}"):
        shapes.ShapesSettings(**changes)
