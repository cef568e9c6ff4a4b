"""The robot arm: reproducible, moved by its actions, and it grasps, stacks and fails by physics."""

import dataclasses

import mujoco
import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from parts_jax.simulate.robot_arm import policy, simulation, world

# Long episodes from their start; pictures of 4 x 4 cost next to nothing.
LONG = dataclasses.replace(simulation.SMALL, resolution=4, samples=1, num_frames=150, max_start=0)
PERFECT = dataclasses.replace(LONG, aim_error=0.0, miss=0.0, weak=0.0, drop=0.0, sloppy=0.0,
                              tremble=0.0)
CUBES = slice(0, 3)


@pytest.fixture(scope="module")
def episodes():
    return [simulation.simulate_clip(LONG, (3, i)) for i in range(12)]


@pytest.fixture(scope="module")
def clips():
    return [simulation.simulate_clip(dataclasses.replace(simulation.SMALL, resolution=40,
                                                        num_frames=6), (0, 0, i))
            for i in range(8)]


def lifted(clip):
    """Whether each cube is held above the floor: bool [T, 3]."""
    cubes, fingertips = clip["location"][:, CUBES], clip["gripper"][:, None, :3]
    held = np.linalg.norm(cubes - fingertips, axis=-1) < 0.04
    return held & (cubes[..., 2] > -LONG.basket_depth + 0.08)


def stacked(clip):
    """Whether a cube rests upon another, let go: bool [T]."""
    edge = 2 * clip["objects"][0].half_extents[0]
    cubes, fingertips = clip["location"][:, CUBES], clip["gripper"][:, None, :3]
    offsets = cubes[:, :, None] - cubes[:, None]
    upon = ((np.linalg.norm(offsets[..., :2], axis=-1) < 0.6 * edge)
            & (np.abs(offsets[..., 2] - edge) < 0.005)).any(axis=2)
    free = np.linalg.norm(cubes - fingertips, axis=-1) > 0.06
    return (upon & free).any(axis=1)


def failed_grasps(clip):
    """How often the fingers closed near the floor or a cube, and came up with nothing."""
    closing = clip["actions"][:, 6] < -0.5
    ends = np.flatnonzero(closing[:-1] & ~closing[1:])
    starts = np.flatnonzero(~closing[:-1] & closing[1:]) + 1
    return sum(not lifted(clip)[start:end + 1].any()
               for start, end in zip(starts, ends[ends > starts[0]], strict=False))


def test_same_seed_same_clip_and_other_seed_other_clip():
    clip, again = (simulation.simulate_clip(simulation.TINY, (0, 0, 1)) for _ in range(2))
    for key in ("video", "segmentation", "actions", "location", "gripper", "command"):
        assert clip[key].tobytes() == again[key].tobytes()
    assert clip["objects"] == again["objects"]
    for other in ((0, 0, 2), (0, 1, 1), (1, 0, 1)):
        assert simulation.simulate_clip(simulation.TINY, other)["objects"] != clip["objects"]


def test_shapes_and_dtypes():
    clip = simulation.simulate_clip(simulation.TINY, (4,))
    expected = {"video": ((8, 16, 16, 3), np.uint8), "segmentation": ((8, 16, 16), np.uint8),
                "actions": ((8, 7), np.float32), "location": ((8, 4, 3), np.float32),
                "gripper": ((8, 8), np.float32), "command": ((8, 7), np.float64)}
    assert {key: (value.shape, value.dtype) for key, value in clip.items()
            if key != "objects"} == expected
    assert [f"{item.colour} {item.shape}" for item in clip["objects"][CUBES]] == [
        "red cube", "green cube", "blue cube"]
    assert clip["objects"][3].shape in world.DISTRACTORS


def test_actions_integrate_to_the_commanded_path(episodes):
    for clip in episodes[:6]:
        actions = clip["actions"].astype(np.float64)
        assert np.abs(actions).max() <= 1
        seconds = LONG.timestep * LONG.steps_per_frame
        moves = LONG.max_speed * seconds * actions[:, :3]
        places = clip["command"][0, :3] + np.cumsum(moves, axis=0)[:-1]
        np.testing.assert_allclose(clip["command"][1:, :3], places, atol=1e-9)
        turn = Rotation.from_quat(clip["command"][0, 3:], scalar_first=True)
        for frame in range(1, LONG.num_frames):
            turn = Rotation.from_rotvec(LONG.max_spin * seconds * actions[frame - 1, 3:6]) * turn
            commanded = Rotation.from_quat(clip["command"][frame, 3:], scalar_first=True)
            assert (commanded * turn.inv()).magnitude() < 1e-6


def test_the_gripper_follows_its_commands(episodes):
    for clip in episodes:
        lag = np.linalg.norm(clip["gripper"][:, :3] - clip["command"][:, :3], axis=1)
        assert lag.mean() < 0.015 and lag.max() < 0.06
        turns = (Rotation.from_quat(clip["gripper"][:, 3:7], scalar_first=True)
                 * Rotation.from_quat(clip["command"][:, 3:], scalar_first=True).inv())
        assert turns.magnitude().mean() < 0.12


def test_the_fingers_follow_their_commands(episodes):
    opening = np.stack([clip["gripper"][:, 7] for clip in episodes])
    assert opening.min() > -0.005 and opening.max() < LONG.max_opening + 0.005
    told = np.stack([clip["actions"][:, 6] for clip in episodes]) > 0.99
    settled = np.stack([told[:, i:-6 + i] for i in range(6)]).all(axis=0)
    # Near the walls they have no room to open.
    amid = np.stack([np.abs(clip["gripper"][6:, :2]).max(axis=1) < 0.09 for clip in episodes])
    wide = opening[:, 6:][settled & amid] > 0.9 * LONG.max_opening
    assert len(wide) > 100 and wide.mean() > 0.9


def test_grasps_and_stacks_succeed_and_fail(episodes):
    grasped = [lifted(clip).any() for clip in episodes]
    towers = [stacked(clip).any() for clip in episodes]
    failures = [failed_grasps(clip) for clip in episodes]
    assert np.mean(grasped) > 0.9
    assert 0.6 < np.mean(towers)
    assert 0.3 < np.mean(np.array(failures) > 0) and sum(failures) < 3 * len(episodes)


def test_without_mistakes_all_grasps_hold_by_friction():
    episodes = [simulation.simulate_clip(PERFECT, (8, i)) for i in range(4)]
    assert all(lifted(clip).any() and stacked(clip).any() for clip in episodes)
    model = world.build_model(PERFECT, episodes[0]["objects"])
    welded = {int(body) for kind, one, other in zip(
        model.eq_type, model.eq_obj1id, model.eq_obj2id, strict=True)
        if kind == mujoco.mjtEq.mjEQ_WELD for body in (one, other)}
    assert welded and not welded & set(range(1, 5))


def test_a_clumsy_hand_grasps_nothing():
    clumsy = dataclasses.replace(LONG, miss=0.0, weak=1.0, num_frames=100)
    robust = dataclasses.replace(clumsy, weak=0.0)
    held = [np.mean([lifted(simulation.simulate_clip(settings, (9, i))).any(axis=1).mean()
                     for i in range(4)]) for settings in (clumsy, robust)]
    assert held[0] < 0.5 * held[1]


def test_things_stay_in_the_basket_and_all_is_finite(episodes):
    reach = np.array(LONG.basket) + LONG.basket_depth * np.tan(LONG.basket_slope)
    for clip in episodes:
        for key in ("actions", "location", "gripper", "command"):
            assert np.isfinite(clip[key]).all()
        location = clip["location"]
        assert (np.abs(location[..., :2]) < reach).all()
        # Even pressed by the gripper nothing sinks into the floor.
        least = [min(half for half in item.half_extents if half) for item in clip["objects"]]
        assert (location[..., 2].min(axis=0) + LONG.basket_depth > 0.75 * np.array(least)).all()
        assert location[:, CUBES, 2].max() > location[:, CUBES, 2].min() + 0.05


def test_the_arm_moves_in_most_windows(episodes):
    places = np.stack([clip["gripper"][:, :3] for clip in episodes])
    travelled = np.linalg.norm(np.diff(places, axis=1), axis=-1)
    windows = np.stack([travelled[:, i:i + 7].sum(axis=1) for i in range(0, 140, 7)])
    assert np.mean(windows > 0.02) > 0.9


def test_masks_show_what_is_there(clips):
    seen = np.stack([[(clip["segmentation"] == i).mean() for i in range(6)] for clip in clips])
    assert all(clip["segmentation"].max() <= 5 for clip in clips)
    assert seen[:, 0].mean() > 0.5                          # basket and table
    assert 0.08 < seen[:, 5].mean() < 0.35                  # the arm
    assert ((seen[:, 1:5] > 0.003).mean(axis=0) > 0.7).all()
    for clip in clips:
        for i, colour in enumerate(np.eye(3)):
            pixels = clip["video"][clip["segmentation"] == i + 1].astype(float)
            if len(pixels) > 30:
                assert np.argmax(np.median(pixels, axis=0)) == np.argmax(colour)
        arm = clip["video"][clip["segmentation"] == 5].astype(float)
        assert np.median(arm.max(axis=1) - arm.min(axis=1)) < 25  # black and grey


def test_the_basket_is_grey_and_below_the_table(clips):
    floor = np.median(clips[0]["video"][clips[0]["segmentation"] == 0], axis=0)
    assert floor.max() - floor.min() < 12 and 40 < floor.mean() < 160
    for item in clips[0]["objects"]:
        assert item.position[2] < -0.05


def test_quaternions_turn_about_world_axes():
    start = Rotation.from_euler("xyz", [0.4, -0.2, 1.0])
    turned = policy.turned(start.as_quat(scalar_first=True), [0.1, -0.3, 0.2])
    expected = Rotation.from_rotvec([0.1, -0.3, 0.2]) * start
    assert (Rotation.from_quat(turned, scalar_first=True) * expected.inv()).magnitude() < 1e-9


def test_a_basket_without_room_is_refused():
    with pytest.raises(ValueError, match="No free place .* make it larger"):
        simulation.simulate_clip(dataclasses.replace(simulation.TINY, basket=(0.06, 0.06)), (0,))


@pytest.fixture(scope="module")
def near_clips():
    return [simulation.simulate_clip(simulation.DEMO, (0, 2, i)) for i in range(8)]


def test_the_demo_shows_large_things_on_a_bare_floor(near_clips):
    masks = np.stack([clip["segmentation"] for clip in near_clips])
    across = np.sqrt([(masks == i).sum(axis=(2, 3)) for i in range(1, 5)])
    assert masks.max() == 4                                  # three cubes and the arm
    assert (np.median(across, axis=(1, 2)) > 6).all() and (across[3] >= 3).all()
    for clip, mask in zip(near_clips, masks, strict=True):
        floor = clip["video"][mask == 0].astype(float)
        assert len(floor) > 0.5 * mask.size
        assert np.median(floor.std(axis=0)) < 25 and (np.ptp(floor, axis=1) < 12).mean() > 0.9
        reach = np.array(simulation.DEMO.basket) + 0.04      # walls that no ray meets hold them in
        assert (np.abs(clip["location"][..., :2]) < reach).all()


def test_cubes_are_moved_and_lifted_in_the_demo(near_clips):
    held = [np.linalg.norm(clip["location"] - clip["gripper"][:, None, :3], axis=-1) < 0.05
            for clip in near_clips]
    high = [clip["location"][..., 2] > -simulation.DEMO.basket_depth + 0.07 for clip in near_clips]
    assert np.mean([(near & up).any() for near, up in zip(held, high, strict=True)]) > 0.5
    moves = [np.linalg.norm(np.diff(clip["location"], axis=0), axis=-1).max(axis=1) > 0.003
             for clip in near_clips]
    assert np.mean(moves) > 0.25 and np.mean([moved.any() for moved in moves]) > 0.8


def test_actions_say_where_the_gripper_is_seen_to_go(near_clips):
    """actions[t] explains the way from frame t to t+1: more than the next, not all by the last."""
    def explained(*shifts):
        actions, moves = [], []
        for clip in near_clips:
            arm = clip["segmentation"] == 4
            places = np.stack([np.stack(np.nonzero(frame)).mean(axis=1)[::-1] for frame in arm])
            moves.append(np.diff(places, axis=0)[2:-2])
            actions.append(np.concatenate(
                [clip["actions"][2 + shift:len(arm) - 3 + shift] for shift in shifts], axis=1))
        moves, actions = np.concatenate(moves), np.concatenate(actions)
        inputs = np.concatenate([actions, np.ones((len(actions), 1))], axis=1)
        rest = moves - inputs @ np.linalg.lstsq(inputs, moves, rcond=None)[0]
        return 1 - rest.var(axis=0) / moves.var(axis=0)      # R^2 of x and of y in the picture

    now = explained(0)
    assert (now > 0.5).all() and (now > explained(1) + 0.1).all()
    # The hand follows with a delay of half a frame, so that the action before has a share.
    assert (explained(-1, 0) > explained(-2, -1) + 0.04).all()
