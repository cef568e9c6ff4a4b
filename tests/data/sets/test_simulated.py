"""Simulated sets: the same bytes whatever the number of processes, and seeds as promised."""

import dataclasses

import numpy as np
import pytest

from parts_jax.data.sets import (
    atari,
    sim_clevr,
    sim_clevrer,
    sim_objects_room,
    sim_playroom,
    sim_robotics_arm,
    sim_rooms,
    simulated,
)
from parts_jax.simulate import atari as games
from parts_jax.simulate import objects_room, rooms
from parts_jax.simulate.clevrer import stills, world_settings
from parts_jax.simulate.playroom import simulation as playroom
from parts_jax.simulate.robot_arm import simulation as robot_arm

SETS = [
    (sim_clevrer.make_example, dataclasses.replace(world_settings.TINY, num_frames=3)),
    (sim_playroom.make_example, dataclasses.replace(playroom.TINY, num_frames=3)),
    (sim_robotics_arm.make_example, dataclasses.replace(robot_arm.TINY, num_frames=3)),
    (sim_clevr.make_example, stills.TINY),
    (sim_objects_room.make_example, dataclasses.replace(objects_room.TINY, num_frames=3)),
    (sim_rooms.make_example, rooms.TINY),
    (atari.make_example, games.GameSettings(resolution=16, num_frames=3, warm_up=(2, 8))),
]


def same(one: dict, other: dict) -> bool:
    return one.keys() == other.keys() and all(
        np.array_equal(one[key], other[key]) and type(one[key]) is type(other[key]) for key in one)


@pytest.mark.parametrize("make_example, world", SETS,
                         ids=["clevrer", "playroom", "robotics_arm", "clevr", "objects_room",
                              "rooms", "atari"])
def test_one_and_two_processes_simulate_the_same_bytes(make_example, world):
    """More clips than a task has, so that both processes have work."""
    count = 2 * simulated.CLIPS_PER_TASK + 1
    one, two = (list(simulated.simulate_clips(make_example, world, 5, "validation", count,
                                              num_workers=workers)) for workers in (1, 2))
    assert [example["id"] for example in one] == [f"validation-{i:05d}" for i in range(count)]
    assert all(same(first, second) for first, second in zip(one, two, strict=True))
    assert not same(one[0] | {"id": ""}, one[1] | {"id": ""})


def test_seed_split_and_clip_are_the_seed():
    seen = []

    def make_example(world, seed, id):
        seen.append((world, seed, id))
        return {}

    list(simulated.simulate_clips(make_example, "world", 7, "test", 2, num_workers=1))
    assert seen == [("world", (7, 2, 0), "test-00000"), ("world", (7, 2, 1), "test-00001")]
