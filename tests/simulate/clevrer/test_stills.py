"""The solids at rest: apart and on the floor, seen, and as their factors say."""

import dataclasses

import mujoco
import numpy as np
import pytest

from parts_jax.simulate.clevrer import simulation, stills

ARRAYS = ("video", "segmentation", "shape", "colour", "material", "size", "position", "visibility")


@pytest.fixture(scope="module")
def small():
    return [stills.draw_still(stills.SMALL, (0, 0, i)) for i in range(60)]


@pytest.fixture(scope="module")
def full():
    return [stills.draw_still(stills.FULL, (0, 2, i)) for i in range(8)]


def drawn(settings, count):
    """Objects of some scenes, without their pictures."""
    scenes, rng = [], np.random.default_rng(3)
    while len(scenes) < count:
        try:
            scenes.append(stills.draw_objects(settings, rng)[0])
        except simulation.NoRoomError:
            continue
    return scenes


def test_same_seed_same_bytes_and_other_seed_other_picture():
    one, again = (stills.draw_still(stills.TINY, (0, 0, 1)) for _ in range(2))
    for key in ARRAYS:
        assert one[key].tobytes() == again[key].tobytes()
    for other in ((0, 0, 2), (0, 1, 1), (1, 0, 1), (0, 1, 0)):
        assert stills.draw_still(stills.TINY, other)["video"].tobytes() != one["video"].tobytes()


def test_shapes_and_dtypes(full):
    for still in full:
        there = np.arange(10) < len(still["objects"])
        assert still["video"].shape == (1, 128, 128, 3) and still["video"].dtype == np.uint8
        assert still["segmentation"].shape == (1, 128, 128)
        for key in ("shape", "colour", "material", "size"):
            assert still[key].shape == (1, 10) and still[key].dtype == np.int32
        assert still["position"].shape == (1, 10, 3) and still["position"].dtype == np.float32
        np.testing.assert_array_equal(still["visibility"][0] > 0, there)
        for key in ("shape", "colour", "material", "size", "position"):
            assert not still[key][0, ~there].any()


def test_the_pictures_stay_what_they_are():
    # Tolerances: other processors may round otherwise.
    expected = {
        ("SMALL", 0): ([1, 2, 2, 0], [1, 5, 3, 4], [0, 0, 0, 1], [1.5116, -0.7977, 0.6],
                       [127.8184, 125.3936, 120.7061], [815, 34, 33, 72, 70]),
        ("TINY", 1): ([1, 2], [2, 0], [0, 0], [-1.4376, 1.6374, 0.44],
                      [125.7148, 121.8047, 126.4766], [238, 10, 8]),
        ("FULL", 1): ([1, 1, 0], [7, 6, 5], [1, 1, 1], [0.0497, 2.5325, 0.7],
                      [141.3458, 142.5548, 138.4354], [13936, 1310, 660, 478]),
    }
    for (name, split), (shape, colour, size, place, mean, pixels) in expected.items():
        still = stills.draw_still(getattr(stills, name), (0, split, 3))
        count = len(shape)
        for key, numbers in (("shape", shape), ("colour", colour), ("size", size)):
            assert still[key][0].tolist() == numbers + [0] * (still[key].shape[1] - count)
        np.testing.assert_allclose(still["position"][0, count - 1], place, atol=1e-3)
        np.testing.assert_allclose(still["video"].mean((0, 1, 2)), mean, atol=0.05)
        np.testing.assert_allclose(np.bincount(still["segmentation"].ravel()), pixels, atol=2)


@pytest.mark.parametrize("settings", [stills.FULL, stills.SMALL], ids=["full", "small"])
def test_objects_are_apart_and_stand_on_the_floor(settings):
    """By MuJoCo's own distances between solids, and the lowest points of the placed geoms."""
    for objects in drawn(settings, 12):
        model = simulation.build_model(settings.world, objects)
        data = mujoco.MjData(model)
        mujoco.mj_kinematics(model, data)
        for one in range(1, len(objects) + 1):
            for other in range(1, one):
                between = mujoco.mj_geomDistance(model, data, one, other, 1.0, None)
                assert between >= settings.gap - 1e-6
        # Half the height of a geom: of spheres the first number, of cylinders the second.
        sizes, kinds = model.geom_size[1:], [item.shape for item in objects]
        half = [size[{"sphere": 0, "cylinder": 1, "box": 2}[kind]]
                for size, kind in zip(sizes, kinds, strict=True)]
        np.testing.assert_allclose(data.geom_xpos[1:, 2], half, atol=1e-9)
        np.testing.assert_allclose(data.geom_xmat[1:, 8], 1, atol=1e-9)  # upright


def test_objects_that_would_overlap_are_told_apart_from_those_that_would_not():
    def item(shape, x):
        return simulation.WorldObject(shape, "red", "rubber", 0.5, (x, 0.0), (0.0, 0.0), 0.0)

    assert stills.clearance(item("sphere", 0.0), item("cylinder", 1.2)) == pytest.approx(0.2)
    assert stills.clearance(item("box", 0.0), item("box", 1.4)) == pytest.approx(1.4 - 2 ** 0.5)
    assert stills.clearance(item("box", 0.0), item("box", 1.4)) < 0  # corner to corner, they touch


def test_every_object_is_seen(small, full):
    for settings, pictures in ((stills.SMALL, small), (stills.FULL, full)):
        for still in pictures:
            pixels = np.bincount(still["segmentation"].ravel())
            assert len(pixels) == len(still["objects"]) + 1
            assert pixels.min() >= settings.min_pixels
            shares = still["visibility"][0, :len(still["objects"])]
            assert (shares > 0).all() and (shares <= 1).all()
    # Some are partly hidden.
    assert min(still["visibility"][still["visibility"] > 0].min() for still in small) < 0.8


def test_colours_of_the_pictures_are_those_of_the_factors(small):
    rgb = [np.array(value, float) for _, value in stills.SMALL.world.colours]
    for still in small[:20]:
        for i, colour in enumerate(still["colour"][0, :len(still["objects"])]):
            seen = still["video"][still["segmentation"] == i + 1].astype(float).mean(axis=0)
            cosine = [seen @ other / np.linalg.norm(seen) / np.linalg.norm(other) for other in rgb]
            assert np.argmax(cosine) == colour


def test_all_values_of_the_factors_occur(small):
    assert {len(still["objects"]) for still in small} == {2, 3, 4}
    names = stills.names(stills.SMALL)
    for key, count in (("shape", 3), ("colour", 6), ("size", 2)):
        assert {int(number) for still in small for number in
                still[key][still["visibility"] > 0]} == set(range(count))
        assert len(names[key]) == count
    for still in small:
        colours = still["colour"][still["visibility"] > 0]
        assert len(set(colours.tolist())) == len(still["objects"])
    scenes = drawn(stills.FULL, 150)
    assert {len(objects) for objects in scenes} == set(range(3, 11))
    assert max(len(objects) for objects in drawn(stills.CLEVR6, 40)) == 6
    looks = {(item.colour, item.material) for objects in scenes for item in objects}
    assert len(looks) == 16
    assert {round(item.size, 3) for objects in scenes for item in objects} == {
        0.35, 0.7, 0.247, 0.495}


def test_too_little_room_is_told(monkeypatch):
    monkeypatch.setattr(stills, "MAX_SCENE_TRIES", 3)
    crowded = dataclasses.replace(stills.TINY, gap=5.0)
    with pytest.raises(ValueError, match="In 3 tries no scene had all of its 2 to 4 objects apart "
                                         "by 5.0"):
        stills.draw_still(crowded, (0, 0, 0))
