"""Sprites: areas, centres and turns by independent reckoning; who covers whom; factors."""

import dataclasses
import hashlib
import itertools
import math

import numpy as np
import pytest
from scipy import stats

from parts_jax.simulate import sprites

WORLDS = {"demo": sprites.DEMO, "coloured_on_grey": sprites.COLOURED_ON_GREY,
          "coloured_on_coloured": sprites.COLOURED_ON_COLOURED, "binary": sprites.BINARY,
          "tiny": sprites.TINY}
DIGEST = "285c88d9c1db6cacb5b2b8e28ff1f9471a405f2ed0ad96291635042bd206777f"


@pytest.fixture(scope="module")
def scenes():
    return {name: [sprites.scene(world, (0, 0, clip)) for clip in range(150)]
            for name, world in WORLDS.items()}


@pytest.mark.parametrize("shape", sprites.SHAPES)
def test_shapes_have_area_one_around_their_centre_and_fit_their_circle(shape):
    axis = (np.arange(1600) + 0.5) / 800 - 1
    x, y = np.meshgrid(axis, axis)
    mask = sprites.inside(shape, x, y)
    assert mask.mean() * 4 == pytest.approx(1, abs=2e-3)
    assert [x[mask].mean(), y[mask].mean()] == pytest.approx([0, 0], abs=1e-3)
    assert np.hypot(x[mask], y[mask]).max() <= sprites.RADIUS + 1e-9


def test_the_square_is_the_one_of_corners_turned():
    """Against half planes through the corners; the ellipse against its axes and its turn."""
    turn, size, centre = 0.4, 11.0, (14.3, 17.8)
    drawn = sprites.outline(32, "square", size, turn, centre)
    corners = [(centre[1] + size / math.sqrt(2) * math.cos(turn + math.pi / 4 + k * math.pi / 2),
                centre[0] - size / math.sqrt(2) * math.sin(turn + math.pi / 4 + k * math.pi / 2))
               for k in range(4)]
    for row, column in np.ndindex(32, 32):
        sides = [(bx - ax) * (row - ay) - (by - ay) * (column - ax)
                 for (ax, ay), (bx, by) in zip(corners, corners[1:] + corners[:1], strict=True)]
        assert drawn[row, column] == all(side <= 0 for side in sides)
    rows, columns = np.nonzero(sprites.outline(64, "ellipse", 30.0, turn, (31.5, 31.5)))
    values, vectors = np.linalg.eigh(np.cov(np.stack([columns, -rows])))
    assert math.sqrt(values[1] / values[0]) == pytest.approx(sprites.ELLIPSE_RATIO, rel=0.02)
    assert math.atan(vectors[1, 1] / vectors[0, 1]) == pytest.approx(turn, abs=0.02)


def test_a_heart_that_is_not_turned_points_down():
    rows = sprites.outline(64, "heart", 30.0, 0.0, (31.5, 31.5)).sum(1)
    there = np.flatnonzero(rows)
    assert rows[there[-1]] < 6 < rows[there[0] + 3]
    np.testing.assert_array_equal(sprites.outline(64, "heart", 30.0, math.pi, (31.5, 31.5)),
                                  sprites.outline(64, "heart", 30.0, 0.0, (31.5, 31.5))[::-1])


@pytest.mark.parametrize("name", WORLDS)
def test_pixels_are_what_the_factors_say(scenes, name):
    """Drawn anew from the factors, one on top of the other."""
    world = WORLDS[name]
    for clip in scenes[name][:40]:
        size = world.resolution
        picture = np.broadcast_to(clip["background"][0], (size, size, 3)).copy()
        ids, outlines = np.zeros((size, size), int), []
        count = int((clip["visibility"] > 0).sum())
        assert world.min_sprites <= count <= world.max_sprites
        for i in range(count):
            pixels = sprites.outline(size, sprites.SHAPES[clip["shape"][0, i]],
                                     world.extent * clip["scale"][0, i],
                                     clip["orientation"][0, i], clip["position"][0, i])
            picture[pixels], ids[pixels] = clip["colour"][0, i], i + 1
            outlines.append(pixels)
        # Factors are float32: a pixel at the very edge may differ.
        differ = ids != clip["segmentation"][0]
        assert differ.sum() <= 1
        np.testing.assert_array_equal((255 * picture).round()[~differ], clip["video"][0][~differ])
        for i, pixels in enumerate(outlines):
            seen = (clip["segmentation"][0] == i + 1).sum()
            assert seen >= world.min_pixels
            assert clip["visibility"][0, i] == pytest.approx(seen / pixels.sum(), rel=0.03)
        for key in ("shape", "colour", "scale", "orientation", "position", "visibility"):
            assert not clip[key][0, count:].any()


def test_later_sprites_cover_earlier_ones(scenes):
    """The last is always whole, others often are not."""
    covered = []
    for clip in scenes["coloured_on_grey"]:
        seen = clip["visibility"][0][clip["visibility"][0] > 0]
        assert seen[-1] == 1
        covered.append((seen[:-1] < 1).mean())
    assert 0.3 < np.mean(covered) < 0.9


def test_no_sprite_is_cut_by_the_frame():
    """Its pixels are as many as those of the same sprite in a larger picture."""
    for clip in range(60):
        drawn = sprites._draw(sprites.DEMO, 3, np.random.default_rng(clip))
        for i in range(3):
            larger = sprites.outline(64, sprites.SHAPES[drawn["shape"][i]],
                                     10.0 * drawn["scale"][i], drawn["orientation"][i],
                                     drawn["position"][i] + 16)
            np.testing.assert_array_equal(larger[16:48, 16:48], drawn["pixels"][i])
            assert larger.sum() == drawn["pixels"][i].sum()


def test_backgrounds_and_colours_are_those_of_the_variant(scenes):
    for name in ("demo", "coloured_on_grey", "tiny"):
        backgrounds = np.concatenate([clip["background"] for clip in scenes[name]])
        assert (backgrounds == backgrounds[:, :1]).all()
        assert stats.kstest(backgrounds[:, 0], "uniform").pvalue > 1e-3
    coloured = np.concatenate([clip["background"] for clip in scenes["coloured_on_coloured"]])
    assert stats.kstest(coloured.ravel(), "uniform").pvalue > 1e-3
    assert (coloured.max(1) - coloured.min(1)).mean() > 0.3
    for name in ("demo", "coloured_on_coloured"):
        colours = np.concatenate([clip["colour"][clip["visibility"] > 0] for clip in scenes[name]])
        assert stats.kstest(colours.ravel(), "uniform").pvalue > 1e-3
    saturated = np.concatenate([clip["colour"][clip["visibility"] > 0]
                                for clip in scenes["coloured_on_grey"]])
    value = saturated.max(1)
    assert value.min() >= 0.5 - 1 / 255
    assert (1 - saturated.min(1) / value).min() >= 0.5 - 2 / 128
    for clip in scenes["binary"]:
        assert set(np.unique(clip["video"])) == {0, 255}
        np.testing.assert_array_equal(clip["video"][..., 0] > 0, clip["segmentation"] > 0)


def test_numbers_and_shapes_of_sprites_are_drawn_evenly(scenes):
    counts = np.bincount([int((clip["visibility"] > 0).sum()) for clip in
                          scenes["coloured_on_grey"]], minlength=6)
    assert not counts[:2].any() and stats.chisquare(counts[2:]).pvalue > 1e-3
    shapes = np.concatenate([clip["shape"][clip["visibility"] > 0] for clip in scenes["demo"]])
    assert stats.chisquare(np.bincount(shapes)).pvalue > 1e-3 and set(shapes) == {0, 1, 2}


def test_the_same_seed_gives_the_same_bytes():
    digest = hashlib.sha256()
    for world, seed in itertools.product(WORLDS.values(), ((0, 0, 0), (0, 1, 5), (3, 2, 1))):
        for name, array in sorted(sprites.scene(world, seed).items()):
            digest.update(name.encode() + array.tobytes())
    assert digest.hexdigest() == DIGEST


@pytest.mark.parametrize("changes, part", [
    (dict(min_sprites=0), "got min_sprites 0"),
    (dict(max_sprites=1), "min_sprites 2, max_sprites 1"),
    (dict(background="blue"), "must be one of black, grey, coloured; got 'blue'"),
    (dict(colours="pastel"), "must be one of white, uniform, saturated; got 'pastel'"),
    (dict(scale=(0.0, 1.0)), "got scale (0.0, 1.0)"),
    (dict(extent=50.0), "extent 50.0, resolution 64"),
    (dict(min_pixels=90), "four fifths of the smallest sprite's 100.0; got 90"),
])
def test_worlds_that_cannot_be_are_refused(changes, part):
    with pytest.raises(ValueError) as error:
        dataclasses.replace(sprites.COLOURED_ON_GREY, **changes)
    assert part in str(error.value)


def test_a_shape_that_there_is_not_is_refused():
    with pytest.raises(ValueError, match="square, ellipse, heart; got 'star'"):
        sprites.inside("star", np.zeros(1), np.zeros(1))
