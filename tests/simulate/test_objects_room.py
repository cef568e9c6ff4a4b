"""Flights through a room: reproducible, the objects apart and seen, poses and factors true."""

import colorsys
import dataclasses

import mujoco
import numpy as np
import pytest

from parts_jax.simulate import objects_room

ARRAYS = ("video", "segmentation", "shape", "colour", "size", "position", "visibility", "floor",
          "wall", "sky", "camera")


@pytest.fixture(scope="module")
def clips():
    return [objects_room.simulate_clip(objects_room.FULL, (0, 1, i)) for i in range(6)]


def project(pose, fov, points):
    """Picture coordinates in [-1, 1] (right, down) of points [N, 3], seen from a pose [5]."""
    yaw, pitch = pose[3:]
    forward = np.array([np.cos(yaw) * np.cos(pitch), np.sin(yaw) * np.cos(pitch), np.sin(pitch)])
    right = np.array([np.sin(yaw), -np.cos(yaw), 0.0])
    offsets = points - pose[:3]
    depth = offsets @ forward * np.tan(np.radians(fov / 2))
    return np.stack([offsets @ right / depth, -(offsets @ np.cross(right, forward)) / depth], -1)


def hue(pixels):
    """The hue of the mean of pixels [P, 3], as a number in [0, 10)."""
    return 10 * colorsys.rgb_to_hsv(*pixels.astype(float).mean(axis=0))[0]


def around(one, other):
    """The distance of two numbers on the circle of hues."""
    return abs((one - other + 5) % 10 - 5)


def test_same_seed_same_bytes_and_other_seed_other_clip():
    one, again = (objects_room.simulate_clip(objects_room.TINY, (0, 0, 1)) for _ in range(2))
    for key in ARRAYS:
        assert one[key].tobytes() == again[key].tobytes()
    for other in ((0, 0, 2), (0, 1, 1), (1, 0, 1), (0, 1, 0)):
        assert objects_room.simulate_clip(objects_room.TINY, other)["objects"] != one["objects"]


def test_the_clips_stay_what_they_are():
    # Tolerances: other processors may round otherwise.
    clip = objects_room.simulate_clip(objects_room.TINY, (0, 2, 1))
    assert (clip["shape"][0].tolist(), clip["colour"][0].tolist(), clip["size"][0].tolist()) == (
        [3, 1, 3], [0, 4, 6], [1, 3, 3])
    assert [clip[key][0] for key in ("floor", "wall", "sky")] == [8, 7, 0]
    np.testing.assert_allclose(clip["position"][0, -1], [0.1644, -1.2224, 0.575], atol=1e-3)
    np.testing.assert_allclose(clip["camera"][-1], [-3.3478, 0.755, 1.559, -0.2218, -0.3126],
                               atol=1e-3)
    np.testing.assert_allclose(clip["video"].mean((0, 1, 2)), [122.5221, 88.4902, 165.9447],
                               atol=0.05)
    np.testing.assert_allclose(np.bincount(clip["segmentation"].ravel()), [1287, 22, 144, 83],
                               atol=3)


def test_shapes_and_dtypes(clips):
    for clip in clips:
        assert clip["video"].shape == (16, 64, 64, 3) and clip["video"].dtype == np.uint8
        assert clip["segmentation"].shape == (16, 64, 64)
        assert clip["segmentation"].dtype == np.uint8
        for keys, shape, dtype in ((("shape", "colour", "size"), (16, 3), np.int32),
                                   (("floor", "wall", "sky"), (16,), np.int32),
                                   (("position",), (16, 3, 3), np.float32),
                                   (("visibility",), (16, 3), np.float32),
                                   (("camera",), (16, 5), np.float32)):
            for key in keys:
                assert clip[key].shape == shape and clip[key].dtype == dtype
                if key not in ("visibility", "camera"):
                    assert (clip[key] == clip[key][0]).all()


def test_objects_are_where_poses_and_positions_say(clips):
    checked = 0
    for clip in clips:
        for t in range(16):
            centres = project(clip["camera"][t].astype(float), objects_room.FULL.fov,
                              clip["position"][t].astype(float))
            for i in range(3):
                rows, columns = np.nonzero(clip["segmentation"][t] == i + 1)
                if clip["visibility"][t, i] < 1 or np.isin([*rows, *columns], [0, 63]).any():
                    continue
                centre = (np.array([columns.mean(), rows.mean()]) + 0.5) / 32 - 1
                # The middle of the picture of a solid is not quite the picture of its middle.
                assert np.abs(centre - centres[i]).max() < 0.06
                checked += 1
    assert checked > 80


def test_colours_are_those_of_the_factors(clips):
    for clip in clips:
        for i, colour in enumerate(clip["colour"][0]):
            assert around(hue(clip["video"][clip["segmentation"] == i + 1]), colour) < 0.3
        below = clip["video"][:, 54:][clip["segmentation"][:, 54:] == 0]
        assert around(hue(below), clip["floor"][0]) < 0.3
        top = clip["video"][:, 0].reshape(-1, 3)
        sky = list(objects_room.SKIES.values())[clip["sky"][0]]
        is_sky = (top == sky).all(axis=1)
        assert is_sky.any()
        assert around(hue(clip["video"][:, 10][clip["segmentation"][:, 10] == 0]),
                      clip["wall"][0]) < 0.3
        assert clip["floor"][0] != clip["wall"][0]
        assert not {clip["floor"][0], clip["wall"][0]} & set(clip["colour"][0].tolist())


def test_objects_are_apart_and_seen_and_the_camera_stays_clear(clips):
    settings = objects_room.FULL
    for clip in clips:
        model = objects_room.build_model(settings, clip["objects"])
        data = mujoco.MjData(model)
        mujoco.mj_kinematics(model, data)
        for one in range(5, 8):
            to_floor = mujoco.mj_geomDistance(model, data, 0, one, 1.0, None)
            assert to_floor == pytest.approx(0, abs=1e-6)
            for other in range(1, one):
                gap = settings.gap if other > 4 else 1.0
                assert mujoco.mj_geomDistance(model, data, one, other, 2.0, None) >= gap - 1e-6
        for i in range(3):
            pixels = (clip["segmentation"] == i + 1).sum(axis=(1, 2))
            assert np.mean(pixels >= settings.min_pixels) >= settings.enough
        away = np.hypot(*clip["camera"][:, :2].T)
        assert (away >= settings.ring[0] - 1e-5).all() and (away <= settings.ring[1] + 1e-5).all()
        turns = np.degrees(np.diff(np.unwrap(np.arctan2(*clip["camera"][:, 1::-1].T))))
        assert 4 <= np.abs(turns).min() + 1e-3 and np.abs(turns).max() <= 12 + 1e-3
        middle = project(clip["camera"][3].astype(float), settings.fov,
                         np.array([[0.0, 0.0, settings.target]]))
        np.testing.assert_allclose(middle, 0, atol=1e-5)


def test_all_values_of_the_factors_occur():
    rng = np.random.default_rng(0)
    rooms = [objects_room.draw_room(objects_room.FULL, rng) for _ in range(300)]
    kept = [item for objects, _ in rooms if objects for item in objects]
    assert {item.shape for item in kept} == set(objects_room.SHAPES)
    assert {item.colour for item in kept} == set(range(10)) and len(objects_room.HUES) == 10
    assert {item.size for item in kept} == set(range(4))
    for key, count in (("floor", 10), ("wall", 10), ("sky", 4)):
        assert {background[key] for _, background in rooms} == set(range(count))
    assert any(len({item.colour for item in objects}) < 3 for objects, _ in rooms if objects)


@pytest.mark.parametrize("changes, message", [
    ({"ring": (1.5, 3.0)}, "must lie between the objects, which reach to 1.97, and the walls"),
    ({"ring": (3.0, 4.5)}, "which are 4.0 from the middle; got"),
    ({"eye": (1.0, 2.5)}, "lower than the walls are high, 2.0"),
])
def test_a_camera_that_would_meet_something_is_refused(changes, message):
    with pytest.raises(ValueError, match=message):
        dataclasses.replace(objects_room.FULL, **changes)


def test_too_little_room_is_told(monkeypatch):
    monkeypatch.setattr(objects_room, "MAX_TRIES", 3)
    with pytest.raises(ValueError, match="In 3 tries no clip had 3 objects apart by 9"):
        objects_room.simulate_clip(dataclasses.replace(objects_room.TINY, gap=9.0), (0, 0, 0))
