"""The colliding objects: reproducible, of the promised look, and moving by physics."""

import dataclasses

import mujoco
import numpy as np
import pytest

from parts_jax.simulate import collisions

TINY = dataclasses.replace(collisions.DEMO, resolution=16, samples=1)


def project(camera, points):
    """Picture coordinates in [-1, 1] (right, down) of points [...,3]."""
    forward = np.array(camera.target) - camera.position
    forward /= np.linalg.norm(forward)
    right = np.cross(forward, [0, 0, 1])
    right /= np.linalg.norm(right)
    offset = points - np.array(camera.position)
    depth = offset @ forward * np.tan(np.radians(camera.fov / 2))
    return np.stack([offset @ right / depth, -(offset @ np.cross(right, forward)) / depth], -1)


def run_alone(item, num_frames=8, settings=collisions.DEMO):
    """Places [T,3] of an object that has the floor for itself."""
    model = collisions.build_model(settings, [item])
    data = mujoco.MjData(model)
    collisions.place(model, data, [item])
    places = []
    for _ in range(num_frames):
        places.append(data.qpos[:3].copy())
        mujoco.mj_step(model, data, settings.steps_per_frame)
    return np.array(places)


def make_object(shape="sphere", position=(0.0, 0.0), velocity=(0.0, 0.0), angle=0.3):
    return collisions.WorldObject(shape, "red", "rubber", 0.5, position, velocity, angle)


@pytest.fixture(scope="module")
def demo_clips():
    return [collisions.simulate_clip(collisions.DEMO, (7, 0, i)) for i in range(60)]


def test_same_seed_same_clip_and_other_seed_other_clip():
    clip, again = (collisions.simulate_clip(TINY, (0, 0, 1)) for _ in range(2))
    for key in ("video", "segmentation", "location"):
        assert clip[key].tobytes() == again[key].tobytes()
    assert clip["objects"] == again["objects"]
    for other in ((0, 0, 2), (0, 1, 1), (1, 0, 1), (0, 1, 0)):
        assert collisions.simulate_clip(TINY, other)["objects"] != clip["objects"]


def test_shapes_and_dtypes(demo_clips):
    for clip in demo_clips[:5]:
        count = len(clip["objects"])
        assert clip["video"].shape == (8, 32, 32, 3) and clip["video"].dtype == np.uint8
        assert clip["segmentation"].shape == (8, 32, 32)
        assert clip["segmentation"].dtype == np.uint8
        assert clip["location"].shape == (8, count, 3) and clip["location"].dtype == np.float32


def test_demo_has_the_look_of_the_recipe(demo_clips):
    counts = [len(clip["objects"]) for clip in demo_clips]
    assert set(counts) == {2, 3}
    assert 0.12 < np.mean([clip["segmentation"] > 0 for clip in demo_clips]) < 0.17
    for clip in demo_clips:
        colours = [item.colour for item in clip["objects"]]
        assert len(set(colours)) == len(colours) and "gray" not in colours
    assert {item.shape for clip in demo_clips for item in clip["objects"]} == set(collisions.SHAPES)
    all_seen = [all((clip["segmentation"][-1] == i + 1).any() for i in range(count))
                for clip, count in zip(demo_clips, counts, strict=True)]
    assert np.mean(all_seen) > 0.9
    travelled = [np.linalg.norm(clip["location"][-1] - clip["location"][0], axis=-1).mean()
                 for clip in demo_clips]
    assert np.mean(travelled) > 0.4


def test_demo_64_shows_the_clips_of_demo():
    coarse = collisions.simulate_clip(collisions.DEMO, (0, 1, 4))
    fine = collisions.simulate_clip(collisions.DEMO_64, (0, 1, 4))
    np.testing.assert_array_equal(coarse["location"], fine["location"])
    pooled = fine["video"].reshape(8, 32, 2, 32, 2, 3).mean((2, 4))
    assert np.abs(pooled - coarse["video"]).mean() < 2


def test_ids_follow_colours_and_places():
    settings = dataclasses.replace(collisions.DEMO, samples=1)
    rgb = dict(settings.colours)
    checked = 0
    for seed in range(4):
        clip = collisions.simulate_clip(settings, (seed,))
        centres = project(settings.camera, clip["location"].astype(np.float64))
        for frame in range(settings.num_frames):
            for i, item in enumerate(clip["objects"]):
                rows, columns = np.nonzero(clip["segmentation"][frame] == i + 1)
                if len(rows) < 40:
                    continue  # largely hidden
                colours = clip["video"][frame, rows, columns].astype(float)
                colour = np.array(rgb[item.colour], float)
                cosine = colours @ colour / np.linalg.norm(colours, axis=1)
                assert (cosine / np.linalg.norm(colour) > 0.995).all()
                centre = (np.array([columns.mean(), rows.mean()]) + 0.5) / 32 * 2 - 1
                assert np.abs(centre - centres[frame, i]).max() < 0.2
                checked += 1
    assert checked > 40


def test_small_draws_unique_looks_and_objects_that_enter():
    settings = dataclasses.replace(collisions.SMALL, resolution=8, samples=1, num_frames=2)
    counts, entering = set(), 0
    for seed in range(40):
        objects = collisions.draw_objects(settings, np.random.default_rng(seed))
        looks = {(item.shape, item.colour, item.material) for item in objects}
        assert len(looks) == len(objects)
        counts.add(len(objects))
        outside = [np.linalg.norm(item.position) >= settings.entering_distance[0]
                   for item in objects]
        assert not any(outside[:settings.min_in_view])
        entering += sum(outside)
        for item in objects:  # they head for the middle
            if np.linalg.norm(item.position) > 3:
                assert np.dot(item.position, item.velocity) < 0
    assert counts == {3, 4, 5} and entering > 20


def test_objects_rest_on_the_floor_and_do_not_start_in_each_other(demo_clips):
    for clip in demo_clips:
        sizes = np.array([item.size for item in clip["objects"]])
        assert np.abs(clip["location"][..., 2] - sizes).max() < 0.1
        for i, one in enumerate(clip["objects"]):
            for other in clip["objects"][:i]:
                gap = np.linalg.norm(np.subtract(one.position, other.position))
                assert gap > one.size + other.size


def test_a_sphere_rolls_at_constant_speed():
    places = run_alone(make_object(velocity=(1.2, -0.9), angle=2.0))
    seconds = np.arange(8) * collisions.DEMO.steps_per_frame * collisions.DEMO.timestep
    np.testing.assert_allclose(places[:, 0], 1.2 * seconds, atol=0.05)
    np.testing.assert_allclose(places[:, 1], -0.9 * seconds, atol=0.05)


@pytest.mark.parametrize("shape", ["box", "cylinder"])
def test_a_sliding_body_is_slowed_by_friction(shape):
    places = run_alone(make_object(shape=shape, velocity=(0.0, 2.0)))
    seconds = 7 * collisions.DEMO.steps_per_frame * collisions.DEMO.timestep
    expected = 2.0 * seconds - 0.5 * collisions.DEMO.friction * 9.81 * seconds ** 2
    assert places[-1, 1] == pytest.approx(expected, abs=0.05)
    assert abs(places[-1, 0]) < 0.02


def test_a_collision_keeps_momentum_and_parts_the_bodies():
    settings = dataclasses.replace(collisions.DEMO, friction=0.0)
    objects = [make_object(position=(-0.9, 0.0), velocity=(2.0, 0.0)),
               make_object(position=(0.3, 0.0))]
    model = collisions.build_model(settings, objects)
    data = mujoco.MjData(model)
    collisions.place(model, data, objects)
    mujoco.mj_step(model, data, 100)
    velocity = data.qvel.reshape(2, 6)[:, 0]
    assert velocity.sum() == pytest.approx(2.0, rel=0.02)
    assert velocity[1] > 1.0 > velocity[0]
    assert np.diff(data.qpos.reshape(2, 7)[:, 0]) >= 0.98


def test_settings_that_cannot_be_met_are_refused():
    with pytest.raises(ValueError, match="9 objects of distinct colours.* only 6 colours"):
        collisions.simulate_clip(
            dataclasses.replace(TINY, min_objects=9, max_objects=9), (0,))
    with pytest.raises(ValueError, match="No free place.*start_x"):
        collisions.simulate_clip(
            dataclasses.replace(TINY, min_objects=3, start_x=(0, 0.1), start_y=(0, 0.1)), (0,))
    with pytest.raises(ValueError, match="only 6 such looks"):
        collisions.simulate_clip(
            dataclasses.replace(TINY, min_objects=7, max_objects=7, distinct_colours=False,
                                colours=(("red", (255, 0, 0)), ("blue", (0, 0, 255)))), (0,))
