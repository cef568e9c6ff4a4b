"""Worlds whose colours repeat, whose camera and light vary, and whose objects stay."""

import dataclasses

import numpy as np
import pytest

from parts_jax.simulate import rays, seeds
from parts_jax.simulate.clevrer import simulation, variety, world_settings


def drawn(settings, count):
    """The objects of many clips, nothing simulated."""
    return [simulation.draw_objects(settings, np.random.default_rng(seed)) for seed in range(count)]


@pytest.mark.parametrize("settings, count, look, size, position", [
    (world_settings.MEDIUM, 5, ("sphere", "green", "rubber"), 0.3992, (0.8251, 1.6203)),
    (world_settings.SMALL, 5, ("cylinder", "red", "metal"), 0.3605, (2.4533, 0.7122)),
    (world_settings.FULL, 6, ("cylinder", "cyan", "rubber"), 0.3586, (-1.0778, -4.9363)),
])
def test_older_worlds_draw_what_they_drew_before_there_was_variety(settings, count, look, size,
                                                                   position):
    rng = seeds.generator((0, 2, 0))
    objects = simulation.draw_objects(variety.drawn(settings, rng), rng)
    item = objects[-1]
    assert len(objects) == count and (item.shape, item.colour, item.material) == look
    assert item.size == pytest.approx(size, abs=1e-4)
    assert item.position == pytest.approx(position, abs=1e-4)


def test_twins_share_a_colour_and_differ_in_it_from_clip_to_clip():
    clips = drawn(world_settings.TWINS, 80)
    colours = [{item.colour for item in objects} for objects in clips]
    assert all(len(found) == 1 for found in colours)
    assert set.union(*colours) == set(world_settings.SATURATED_COLOURS)
    assert {len(objects) for objects in clips} == {2, 3}
    shapes = [len({item.shape for item in objects}) for objects in clips]
    assert min(shapes) == 1 and max(shapes) > 1


def test_mixed_draws_colours_with_repeats_and_often_one():
    clips = drawn(world_settings.MIXED, 200)
    numbers = np.array([len({item.colour for item in objects}) for objects in clips])
    counts = np.array([len(objects) for objects in clips])
    assert set(counts) == {2, 3, 4}
    assert 0.3 < np.mean(numbers == 1) < 0.55  # 0.3, and by chance, of two above all
    assert np.mean(numbers == counts) > 0.2
    assert np.any((numbers > 1) & (numbers < counts))


def test_camera_and_light_vary_within_their_bounds_and_only_where_asked():
    settings = world_settings.MIXED
    assert variety.drawn(world_settings.DEMO, None) is world_settings.DEMO  # draws no number
    worlds = [variety.drawn(settings, np.random.default_rng(seed)) for seed in range(100)]
    assert len({world.camera for world in worlds}) == len({world.light for world in worlds}) == 100
    home, target = (np.array(place) for place in (settings.camera.position, settings.camera.target))
    offsets = np.array([world.camera.position for world in worlds]) - target
    far = np.linalg.norm(offsets, axis=1) / np.linalg.norm(home - target)
    assert 0.93 <= far.min() < 0.95 and 1.03 < far.max() <= 1.05
    turns = np.degrees(np.arctan2(offsets[:, 0], -offsets[:, 1]))
    assert 15 < np.abs(turns).max() <= 20 and turns.min() < 0 < turns.max()
    for world in worlds:
        light, = world.light
        assert light.position[2] == settings.light.position[2]
        assert np.hypot(*light.position[:2]) == pytest.approx(np.hypot(-3.0, -2.5))
        assert 0.6 <= light.diffuse / settings.light.diffuse <= 1.6
        assert 0.8 <= light.ambient / settings.light.ambient <= 1.1


def test_a_camera_that_is_not_moved_stays_and_a_turned_one_looks_at_the_same_point():
    camera = world_settings.DEMO.camera
    np.testing.assert_allclose(variety.moved(camera, 0, 0, 1).position, camera.position, atol=1e-12)
    aside = variety.moved(dataclasses.replace(camera, target=(0.0, 0.0, 0.0)), 90, 0, 2)
    np.testing.assert_allclose(aside.position, (8.8, 0.0, 7.2), atol=1e-12)


def test_the_first_frames_of_long_clips_are_those_of_the_short():
    for seed in range(2):
        short, long = (simulation.simulate_clip(
            dataclasses.replace(settings, resolution=16, samples=1), (0, 2, seed))
            for settings in (world_settings.DEMO, world_settings.DEMO_LONG))
        assert len(long["video"]) == 24
        for key in ("video", "segmentation", "location"):
            assert long[key][:8].tobytes() == short[key].tobytes()


def test_slow_objects_stay_in_view_for_200_frames_and_hardly_move_between_two():
    settings = dataclasses.replace(world_settings.DEMO_SLOW, resolution=16, samples=1)
    clip = simulation.simulate_clip(settings, (0, 2, 0))
    assert len(clip["video"]) == 200
    assert (rays.distance_from_view(settings.camera, 16, 16, clip["location"]) < 0).all()
    step = np.linalg.norm(np.diff(clip["location"], axis=0), axis=-1)
    assert 0.002 < step.mean() and step.max() < 0.04
    for i in range(len(clip["objects"])):
        assert (clip["segmentation"] == i + 1).any((1, 2)).mean() > 0.9


def test_objects_that_cannot_stay_are_said_to():
    settings = dataclasses.replace(world_settings.DEMO_SLOW, num_frames=3, steps_per_frame=200,
                                   speed=(9.0, 9.0))
    with pytest.raises(ValueError, match=r"no clip had all objects in view .* \(9\.0, 9\.0\)"):
        simulation.simulate_clip(settings, (0,))


def test_where_no_place_is_left_all_are_drawn_anew():
    for objects in drawn(dataclasses.replace(world_settings.DEMO_CROWDED, min_objects=6), 10):
        places = np.array([item.position for item in objects])
        gaps = np.linalg.norm(places[:, None] - places[None], axis=-1) + 9 * np.eye(6)
        sizes = np.array([item.size for item in objects])
        assert (gaps > 1.3 * (sizes[:, None] + sizes[None])).all()
    settings = dataclasses.replace(world_settings.DEMO, start_x=(0.0, 0.1), start_y=(0.0, 0.1))
    with pytest.raises(simulation.NoRoomError, match="No free place"):
        simulation.draw_objects(settings, np.random.default_rng(0))
