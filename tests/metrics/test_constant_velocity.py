"""The rival that moves objects on, against worlds in which it must be right."""

import numpy as np
import pytest

from parts_jax.metrics.constant_velocity import background, constant_velocity

H, W, S = 14, 20, 3


def world(places, num_frames, floor):
    """Squares of 3x3 pixels: (id, colour, first corner, step in pixels a frame), last on top."""
    video = np.repeat(floor[None], num_frames, axis=0).astype(np.float32)
    ids = np.zeros(video.shape[:3], np.uint8)
    for t in range(num_frames):
        for name, colour, (y, x), (dy, dx) in places:
            area = slice(y + t * dy, y + t * dy + 3), slice(x + t * dx, x + t * dx + 3)
            video[t][area], ids[t][area] = colour, name
    return video, ids


def test_a_world_of_constant_velocities_is_foreseen_exactly():
    floor = np.random.default_rng(0).uniform(0, 1, (H, W, 3))
    places = [(7, (1, 0, 0), (0, 0), (1, 2)), (2, (0, 0, 1), (7, 14), (0, -1)),
              (4, (0, 1, 0), (1, 14), (0, 0))]
    video, ids = world(places, 4 + S, floor)
    found = constant_velocity(video[None, :4], ids[None, :4], S)
    np.testing.assert_array_equal(found.segmentation[0], ids[4:])
    # All but what nobody has seen: the floor under the objects that never left their places.
    known = (ids[:4] == 0).any(0) | (ids[4:] != 0)
    np.testing.assert_allclose(found.video[0][known], video[4:][known], atol=1e-5)
    assert known.mean() > 0.9


def test_the_nearer_object_is_painted_last():
    places = [(1, (1, 0, 0), (2, 2), (0, 1)), (2, (0, 1, 0), (3, 12), (0, -1))]
    video, ids = world(places, 7, np.full((H, W, 3), 0.5))
    found = constant_velocity(video[None, :3], ids[None, :3], 4)
    assert set(np.unique(ids[6])) == {0, 1, 2}
    np.testing.assert_array_equal(found.segmentation[0], ids[3:])


@pytest.mark.parametrize("num_frames", [1, 2])
def test_what_was_not_there_before_stays_where_it_is(num_frames):
    video, ids = world([(3, (0, 0, 1), (4, 5), (1, 1))], num_frames, np.zeros((H, W, 3)))
    ids[:-1], video[:-1] = 0, 0
    found = constant_velocity(video[None], ids[None], S)
    np.testing.assert_array_equal(found.segmentation[0], np.repeat(ids[-1:], S, axis=0))
    np.testing.assert_allclose(found.video[0], np.repeat(video[-1:], S, axis=0), atol=1e-6)


def test_objects_leave_the_picture():
    video, ids = world([(1, (1, 1, 1), (5, 0), (0, 6))], 3, np.zeros((H, W, 3)))
    found = constant_velocity(video[None], ids[None], 2)
    assert found.segmentation[0, 0].any() and not found.segmentation[0, 1].any()
    assert found.video[0, 1].max() == 0


def test_the_background_is_the_mean_of_what_is_seen_of_it():
    video = np.stack([np.full((H, W, 3), v) for v in (0.2, 0.4, 0.9)])
    ids = np.zeros((3, H, W), np.uint8)
    ids[2] = 1         # seen in two frames
    ids[:, 0, 0] = 2   # never seen: as its neighbour
    np.testing.assert_allclose(background(video, ids), np.full((H, W, 3), 0.3), rtol=1e-6)
    assert background(video, np.ones_like(ids)).max() == 0
