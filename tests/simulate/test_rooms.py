"""Rooms: reproducible, objects apart and seen, boxes and factors true."""

import dataclasses

import numpy as np
import pytest

from parts_jax.simulate import objects_room, rooms

DEMO = dataclasses.replace(rooms.DEMO, samples=1)


@pytest.fixture(scope="module")
def pictures():
    return [rooms.draw_picture(DEMO, (0, 1, i)) for i in range(20)]


def test_same_seed_same_bytes_and_other_seed_other_picture():
    one, again = (rooms.draw_picture(rooms.TINY, (0, 0, 1)) for _ in range(2))
    assert one.keys() == again.keys() and one["objects"] == again["objects"]
    for key in one.keys() - {"objects"}:
        assert one[key].tobytes() == again[key].tobytes()
    for other in ((0, 0, 2), (0, 1, 1), (1, 0, 1)):
        assert rooms.draw_picture(rooms.TINY, other)["objects"] != one["objects"]


def test_the_pictures_stay_what_they_are():
    # Tolerances: other processors may round otherwise.
    picture = rooms.draw_picture(rooms.TINY, (0, 2, 1))
    found = [picture[key][0].tolist() for key in ("shape", "colour", "ground", "wall", "sky")]
    assert found == [[1, 0, 2], [7, 5, 1], 4, 2, 1]
    np.testing.assert_allclose(picture["video"].mean((0, 1, 2)), [136.05, 140.51, 136.48], atol=0.5)


def test_boxes_are_those_of_the_masks(pictures):
    counts = set()
    for picture in pictures:
        mask, count = picture["segmentation"][0], len(picture["objects"])
        counts.add(count)
        assert set(np.unique(mask)) == set(range(count + 1))
        for i in range(6):
            box, there = picture["boxes"][0, i], i < count
            assert picture["visible"][0, i] == there
            if not there:
                assert not box.any() and not picture["size"][0, i]
                continue
            y0, x0, y1, x1 = np.round(box * 64).astype(int)
            np.testing.assert_allclose(box * 64, [y0, x0, y1, x1], atol=1e-4)
            seen = mask == i + 1
            assert seen.sum() >= DEMO.min_pixels and seen[y0:y1, x0:x1].sum() == seen.sum()
            inside = seen[y0:y1, x0:x1]
            assert inside[0].any() and inside[-1].any()
            assert inside[:, 0].any() and inside[:, -1].any()
    assert counts == {3, 4, 5, 6}


def test_colours_are_those_of_the_factors(pictures):
    """An object's mean colour is nearest, in direction, to the colour that it has."""
    directions = np.array(list(rooms.COLOURS.values()), float)
    directions /= np.linalg.norm(directions, axis=1, keepdims=True)
    right = []
    for picture in pictures:
        for i in range(len(picture["objects"])):
            mean = picture["video"][0][picture["segmentation"][0] == i + 1].mean(0)
            right.append(np.argmax(directions @ mean) == picture["colour"][0, i])
    assert len(right) > 60 and np.mean(right) > 0.95


def test_objects_are_apart_on_the_floor_and_of_the_sizes_drawn(pictures):
    for picture in pictures:
        objects = picture["objects"]
        for i, one in enumerate(objects):
            assert DEMO.sizes[0] <= one.half_size <= DEMO.sizes[1]
            assert np.hypot(*one.position) <= DEMO.around
            np.testing.assert_allclose(picture["position"][0, i, 2], one.half_height, rtol=1e-6)
            for other in objects[:i]:
                assert objects_room.clearance(one, other) >= DEMO.gap - 1e-9


def test_the_large_rooms_have_as_many_objects_as_the_papers():
    count = len(rooms.draw_picture(dataclasses.replace(rooms.LARGE, samples=1),
                                   (0, 0, 0))["objects"])
    assert 18 <= count <= 24


def test_impossible_rooms_are_refused():
    with pytest.raises(ValueError, match="In 200 tries no picture had 3 to 6 objects"):
        rooms.draw_picture(dataclasses.replace(DEMO, around=0.1), (0, 0, 0))
    with pytest.raises(ValueError, match="The camera must stand between the objects"):
        dataclasses.replace(DEMO, around=3.0)
    with pytest.raises(ValueError, match="num_objects must be two numbers from 1 to 254"):
        dataclasses.replace(DEMO, num_objects=(5, 3))
