"""Balls: energy, momentum, closed forms, time turned round, pictures against a loop over pixels."""

import dataclasses

import numpy as np
import pytest

from parts_jax.simulate import balls

CROWDED = dataclasses.replace(balls.CROWD, speed=0.05, resolution=32, num_colours=8)


def states(world, seed):
    """Position and velocity [T, N, 2] in widths of the box, radius [N]."""
    clip = balls.scene(world, seed)
    there = clip["radius"][0] > 0
    size = np.float64(world.resolution)
    return ((clip["position"][:, there] + 0.5) / size, clip["velocity"][:, there] / size,
            clip["radius"][0, there] / size)


@pytest.mark.parametrize("clip", range(5))
def test_energy_is_kept_and_balls_stay_apart_in_their_box(clip):
    position, velocity, radius = states(CROWDED, (0, 0, clip))
    assert len(position) == 51 and 6 <= len(radius) <= 8
    energy = 0.5 * (radius ** 2 * np.square(velocity).sum(-1)).sum(-1)
    np.testing.assert_allclose(energy, energy[0], rtol=1e-5)  # of numbers kept in float32
    assert np.unique(velocity.round(6), axis=0).shape[0] > 25  # or nothing has collided
    assert (position > radius[:, None] - 1e-6).all()
    assert (position < 1 - radius[:, None] + 1e-6).all()
    apart = np.linalg.norm(position[:, :, None] - position[:, None], axis=-1)
    apart[:, np.arange(len(radius)), np.arange(len(radius))] = np.inf
    assert (apart > radius[:, None] + radius - 1e-6).all()


def test_a_turn_of_time_leads_back():
    """What no integration by steps does, and any wrong time or exchange at a collision breaks."""
    rng = np.random.default_rng(0)
    radius, start = balls.place(rng, CROWDED, 7)
    velocity = rng.normal(0, 0.05, start.shape)
    for duration in (1.0, 20.0):
        there, speed = balls.bounce(start, velocity, radius, radius ** 2, duration)
        back, turned = balls.bounce(there, -speed, radius, radius ** 2, duration)
        np.testing.assert_allclose(back, start, atol=1e-8)
        np.testing.assert_allclose(turned, -velocity, atol=1e-8)
        energy = lambda v: (radius ** 2 * np.square(v).sum(-1)).sum()
        np.testing.assert_allclose(energy(speed), energy(velocity), rtol=1e-12)


def test_a_head_on_collision_of_unequal_masses():
    """In closed form; before, between and after it the balls go straight on."""
    position = np.array([[0.5, 0.3], [0.5, 0.7]])
    velocity = np.array([[0.0, 0.03], [0.0, -0.01]])
    radius, mass = np.array([0.1, 0.05]), np.array([4.0, 1.0])
    hits = (0.4 - 0.15) / 0.04
    there, speed = balls.bounce(position, velocity, radius, mass, hits + 2)
    after = [(3 * 0.03 + 2 * -0.01) / 5, (-3 * -0.01 + 8 * 0.03) / 5]
    np.testing.assert_allclose(speed, [[0, after[0]], [0, after[1]]], atol=1e-12)
    np.testing.assert_allclose(there[:, 1], [0.3 + hits * 0.03 + 2 * after[0],
                                             0.7 - hits * 0.01 + 2 * after[1]], atol=1e-12)


def test_a_wall_turns_one_part_of_a_velocity():
    there, speed = balls.bounce(np.array([[0.5, 0.85]]), np.array([[0.01, 0.1]]), np.array([0.1]),
                                np.array([1.0]), 1.0)
    np.testing.assert_allclose(speed, [[0.01, -0.1]])
    np.testing.assert_allclose(there, [[0.51, 0.85]])


def test_pictures_are_those_of_the_balls():
    clip = balls.scene(CROWDED, (3, 1, 4))
    t, size = 17, CROWDED.resolution
    for y in range(size):
        for x in range(size):
            inside = [i + 1 for i, r in enumerate(clip["radius"][t])
                      if np.hypot(*(clip["position"][t, i] - (y, x))) < r]
            assert clip["segmentation"][t, y, x] == (inside or [0])[0] and len(inside) <= 1
    colours = np.concatenate([np.zeros((1, 3), np.uint8), balls.PALETTE[clip["colour"][t]]])
    np.testing.assert_array_equal(clip["video"], colours[clip["segmentation"]])


def test_colours():
    """Of 8 all differ; of 4 they come again; the balls are the same whatever their colours."""
    eight, four, white = (
        [balls.scene(dataclasses.replace(CROWDED, num_colours=n, num_frames=2), (0, 0, clip))
         for clip in range(6)] for n in (8, 4, 0))
    for one, few, none in zip(eight, four, white, strict=True):
        there = one["radius"][0] > 0
        assert len(set(one["colour"][0, there])) == there.sum()
        assert set(few["colour"][0, there]) == set(range(4))
        assert set(none["colour"][0, there]) == {-1} and set(none["video"].ravel()) == {0, 255}
        np.testing.assert_array_equal(one["segmentation"], none["segmentation"])
        assert (one["colour"][:, ~there] == 0).all() and (one["position"][:, ~there] == 0).all()
    assert len({tuple(few["colour"][0, :4]) for few in four}) > 1
    assert len({(one["radius"] > 0)[0].sum() for one in eight}) > 1  # 6 to 8


@pytest.mark.parametrize("changes, words", [
    ({"num_balls": (0, 3)}, "one pixel, frame and ball or more"),
    ({"num_colours": 9}, "0 to 8 colours"),
    ({"radii": (0.1, 0.05)}, "the second not below the first"),
    ({"num_balls": (6, 12)}, "cover 0.45 of their box at the most; got 12 of radius 0.13"),
])
def test_worlds_that_there_cannot_be(changes, words):
    with pytest.raises(ValueError, match=words):
        dataclasses.replace(balls.FOUR, **changes)
