"""The playroom: reproducible, full of things to see, and moved through by its actions alone."""

import dataclasses

import mujoco
import numpy as np
import pytest

from parts_jax.simulate import render
from parts_jax.simulate.playroom import furniture, simulation
from parts_jax.simulate.playroom.agent import Agent, move
from parts_jax.simulate.playroom.look import view
from parts_jax.simulate.playroom.room import Room, draw_room

AGENT = Agent()
COARSE = dataclasses.replace(simulation.SMALL, samples=1)
PIXELS_IN_VIEW = 12  # an object counts as seen from so many of 64x64 pixels on


@pytest.fixture(scope="module")
def clips():
    return [simulation.simulate_clip(COARSE, (3, 0, i)) for i in range(30)]


def room_of(seed):
    return draw_room(COARSE.room, np.random.default_rng(seed))


def make_toy(kind, position, yaw=0.0):
    shape = furniture.scaled(furniture.TOYS[kind], 0.3)
    rgb = (214, 40, 40), (38, 70, 200)
    return furniture.RoomObject(kind, shape, ("red", "blue"), rgb, "plain", position, yaw, True)


def extent_of(model, data, geom):
    """Half edges [3] of the smallest box along the axes about a geom."""
    axes, size = np.abs(data.geom_xmat[geom].reshape(3, 3)), model.geom_size[geom]
    kinds = mujoco.mjtGeom
    match model.geom_type[geom]:
        case kinds.mjGEOM_BOX:
            return axes @ size
        case kinds.mjGEOM_SPHERE:
            return np.full(3, size[0])
        case kinds.mjGEOM_ELLIPSOID:
            return np.sqrt(axes ** 2 @ size ** 2)
        case kinds.mjGEOM_CAPSULE:
            return axes[:, 2] * size[1] + size[0]
        case kinds.mjGEOM_CYLINDER:
            return axes[:, 2] * size[1] + np.sqrt(1 - np.minimum(axes[:, 2], 1) ** 2) * size[0]


def test_same_seed_same_clip_and_other_seed_other_clip():
    clip, again = (simulation.simulate_clip(simulation.TINY, (0, 0, 1)) for _ in range(2))
    for key in ("video", "segmentation", "actions", "poses", "location"):
        assert clip[key].tobytes() == again[key].tobytes()
    assert clip["objects"] == again["objects"]
    for other in ((0, 0, 2), (0, 1, 1), (1, 0, 1)):
        assert simulation.simulate_clip(simulation.TINY, other)["objects"] != clip["objects"]


def test_shapes_dtypes_and_ranges(clips):
    for clip in clips:
        count = len(clip["objects"])
        assert 9 <= count <= 16
        for key, shape, dtype in (("video", (25, 64, 64, 3), np.uint8),
                                  ("segmentation", (25, 64, 64), np.uint8),
                                  ("actions", (25, 4), np.float32),
                                  ("poses", (25, 4), np.float64),
                                  ("location", (25, count, 3), np.float32)):
            assert clip[key].shape == shape and clip[key].dtype == dtype
        assert np.abs(clip["actions"]).max() <= 1
        assert clip["segmentation"].max() <= count


def test_five_to_seven_objects_are_in_view(clips):
    seen = np.array([[np.sum(np.bincount(mask.ravel())[1:] >= PIXELS_IN_VIEW)
                      for mask in clip["segmentation"]] for clip in clips])
    assert 5 <= seen.mean() <= 7
    assert np.sum(seen < 2, axis=1).max() <= 2
    assert seen.mean(axis=1).min() >= 2.5


def test_rooms_and_what_is_in_them_differ(clips):
    names = {item.name for clip in clips for item in clip["objects"]}
    assert names == {*furniture.TOYS, "table", "round_table", "chair",
                     *(make.__name__ for make in furniture.BY_THE_WALL)}
    assert len({item.colours[0] for clip in clips for item in clip["objects"]}) > 15
    backgrounds = [clip["video"][clip["segmentation"] == 0].mean(axis=0) for clip in clips]
    assert np.std(backgrounds, axis=0).min() > 8
    # Patterns, shadows and what hangs on the walls: the background is not of one colour.
    assert np.median([clip["video"][clip["segmentation"] == 0].std() for clip in clips]) > 25


def test_the_agent_walks_and_turns(clips):
    actions = np.concatenate([clip["actions"] for clip in clips])
    assert np.mean(np.abs(actions[:, :2]).max(axis=1) < 0.1) < 0.15
    assert np.mean(np.abs(actions[:, 2]) > 0.2) > 0.3
    assert np.abs(actions).max(axis=0).min() > 0.5  # every action is used
    changes = np.abs(np.diff([clip["actions"] for clip in clips], axis=1))
    assert changes[..., 2:].mean() < 0.25  # and smoothly


def test_replaying_the_actions_gives_the_camera_path(clips):
    for clip in clips:
        pose, replayed = clip["poses"][0], []
        for action in clip["actions"]:
            replayed.append(pose)
            pose = move(AGENT, pose, action)
        np.testing.assert_array_equal(replayed, clip["poses"])


@pytest.mark.parametrize("action, change", [
    ((1, 0, 0, 0), (0, -AGENT.max_step, 0, 0)),   # right of one who looks along x is -y
    ((0, 1, 0, 0), (AGENT.max_step, 0, 0, 0)),
    ((0, 0, 1, 0), (0, 0, -np.radians(AGENT.max_turn), 0)),
    ((0, 0, 0, 1), (0, 0, 0, np.radians(AGENT.max_tilt))),
])
def test_what_each_action_does(action, change):
    pose = np.array([0.0, 0.0, 0.0, np.radians(-20)])
    moved = move(AGENT, pose, np.array(action, np.float32))
    np.testing.assert_allclose(moved - pose, change, atol=1e-12)


def test_walking_follows_the_heading_and_pitch_has_ends():
    pose = np.array([0.3, -0.2, np.pi / 2, np.radians(AGENT.pitch[1])])
    moved = move(AGENT, pose, np.array([0, 0.5, 0, 1], np.float32))
    np.testing.assert_allclose(moved, [0.3, -0.2 + 0.5 * AGENT.max_step, *pose[2:]], atol=1e-12)


def view_of(room, eye, yaw, pitch):
    """The mask, uint8 [64, 64], of a room as it stands."""
    model = simulation.build_model(COARSE, room)
    data = mujoco.MjData(model)
    mujoco.mj_forward(model, data)
    look = simulation.draw_look(room, np.random.default_rng(0))
    light = render.Light((0.0, 0.0, 2.3))
    return view(model, data, look, light, np.array(eye), yaw, pitch, 70.0, 64, 1)[1]


@pytest.mark.parametrize("yaw", [0.0, 0.4, -0.4])
def test_objects_are_where_the_camera_projects_them(yaw):
    room = Room(np.array([2.5, 2.5]), (make_toy("ball", (1.0, 0.0, 0.0)),))
    rows, columns = np.nonzero(view_of(room, (-0.5, 0.0, 0.85), yaw, np.radians(-15)))
    # The ball's middle is 0.7 m below the eye and 1.5 m away, `yaw` to the right of the axis.
    depth = 1.5 * np.cos(yaw) * np.cos(np.radians(15)) + 0.7 * np.sin(np.radians(15))
    up = 1.5 * np.cos(yaw) * np.sin(np.radians(15)) - 0.7 * np.cos(np.radians(15))
    half = np.tan(np.radians(35))
    assert columns.mean() == pytest.approx(31.5 + 32 * 1.5 * np.sin(yaw) / depth / half, abs=0.6)
    assert rows.mean() == pytest.approx(31.5 - 32 * up / depth / half, abs=0.6)


def test_every_object_has_one_id_however_many_geoms():
    for seed in range(3):
        room = room_of(seed)
        model = simulation.build_model(COARSE, room)
        instance = simulation.draw_look(room, np.random.default_rng(0)).surfaces.instance
        assert len(instance) == model.ngeom - 1  # the agent's cylinder is never seen
        np.testing.assert_array_equal(instance, model.geom_bodyid[:-1])
        assert np.sum(instance == 0) == 6
        for i, item in enumerate(room.objects, start=1):
            assert np.sum(instance == i) == len(item.shape.parts)


def test_taking_an_object_away_changes_its_pixels_alone():
    room = room_of(1)
    model = simulation.build_model(COARSE, room)
    data = mujoco.MjData(model)
    mujoco.mj_forward(model, data)
    look = simulation.draw_look(room, np.random.default_rng(0))
    matt = dataclasses.replace(look.surfaces, specular=np.zeros(len(look.scale)))
    scene = (dataclasses.replace(look, surfaces=matt), render.Light((0.0, 0.0, 2.3), diffuse=0.0),
             np.array([*(-0.8 * room.half), 1.6]), np.pi / 4, np.radians(-25), 70.0, 64, 1)
    image, mask = view(model, data, *scene)
    seen = [i for i in np.unique(mask) if i and np.sum(mask == i) >= PIXELS_IN_VIEW]
    assert len(seen) >= 4
    for i in seen:
        model.geom_rgba[model.geom_bodyid == i, 3] = 0  # rays pass through
        without_image, without = view(model, data, *scene)
        model.geom_rgba[model.geom_bodyid == i, 3] = 1
        own = mask == i
        assert not np.any(without == i)
        np.testing.assert_array_equal(without[~own], mask[~own])
        np.testing.assert_array_equal(without_image[~own], image[~own])
        # What is behind may have the very same colour here and there.
        assert np.mean(np.any(without_image[own] != image[own], axis=-1)) > 0.8


def test_shapes_fill_their_boxes_and_stand_on_the_floor():
    rng = np.random.default_rng(0)
    makers = (*furniture.BY_THE_WALL, furniture.table, furniture.round_table, furniture.chair)
    shapes = {**furniture.TOYS, **{make.__name__: make(rng) for make in makers}}
    for name, shape in shapes.items():
        item = dataclasses.replace(make_toy("ball", (0.0, 0.0, 0.0)), name=name, shape=shape)
        model = simulation.build_model(COARSE, Room(np.array([2.0, 2.0]), (item,)))
        data = mujoco.MjData(model)
        mujoco.mj_forward(model, data)
        geoms = np.flatnonzero(model.geom_bodyid == 1)
        half = np.array([extent_of(model, data, geom) for geom in geoms])
        low, high = (data.geom_xpos[geoms] - half).min(axis=0), data.geom_xpos[geoms] + half
        reach = np.maximum(high.max(axis=0), -low)[:2]
        assert np.all(reach <= np.array(shape.footprint) + 0.011), (name, reach, shape.footprint)
        assert np.all(reach >= 0.85 * np.array(shape.footprint)), (name, reach, shape.footprint)
        assert high[:, 2].max() == pytest.approx(shape.height, rel=0.06), name
        assert low[2] == pytest.approx(0, abs=0.011), name


def test_nothing_interpenetrates_at_the_start():
    for seed in range(8):
        room = room_of(seed)
        model = simulation.build_model(COARSE, room)
        data = mujoco.MjData(model)
        data.mocap_pos[0, :2] = 50, 50
        mujoco.mj_forward(model, data)
        for contact in data.contact[:data.ncon]:
            names = [room.objects[body - 1].name if body else "floor or wall"
                     for body in model.geom_bodyid[contact.geom]]
            assert contact.dist > -0.012, (seed, names)


def test_the_agent_keeps_clear_of_furniture_and_toys_stay_in_the_room(clips):
    for clip in clips:
        half = np.abs(clip["poses"][:, :2]).max(axis=0) + AGENT.clearance
        room = Room(half, clip["objects"])
        model = simulation.build_model(COARSE, room)
        data = mujoco.MjData(model)
        standing = [i + 1 for i, item in enumerate(room.objects) if not item.movable]
        geoms = np.flatnonzero(np.isin(model.geom_bodyid, standing))
        for pose in clip["poses"][::3]:
            data.mocap_pos[0, :2] = pose[:2]
            mujoco.mj_forward(model, data)
            gaps = [mujoco.mj_geomDistance(model, data, model.ngeom - 1, geom, 1.0, None)
                    for geom in geoms]
            assert min(gaps) > 0.1
        location = clip["location"]
        assert np.abs(location[..., :2]).max() < COARSE.room.edge[1] / 2
        assert 0 < location[..., 2].min() and location[..., 2].max() < 1.8
        still = [i for i, item in enumerate(clip["objects"]) if not item.movable]
        assert np.ptp(location[:, still], axis=0).max() == 0


def test_toys_are_at_rest_until_they_are_touched(clips):
    moved = np.concatenate([np.linalg.norm(clip["location"][1] - clip["location"][0], axis=-1)
                            for clip in clips])
    assert np.mean(moved < 0.01) > 0.95
    travelled = [np.linalg.norm(clip["location"][-1] - clip["location"][0], axis=-1).max()
                 for clip in clips]
    assert np.mean(np.array(travelled) > 0.1) > 0.1  # some are bumped into


def test_a_toy_that_is_bumped_into_is_pushed():
    room = Room(np.array([2.5, 2.5]), (make_toy("cube", (0.5, 0.0, 0.0)),))
    model = simulation.build_model(COARSE, room)
    data = mujoco.MjData(model)
    for t in range(8):
        simulation.push(COARSE, model, data, np.array([0.1 * t, 0.0]),
                        np.array([0.1 * (t + 1), 0.0]))
    x, y, z = data.xipos[1]
    edge = 0.42 * 0.3  # half of it
    assert 0.8 + AGENT.radius + edge - 0.05 < x < 1.4  # contacts give way a little
    assert abs(y) < 0.1
    assert edge - 0.01 < z < np.sqrt(2) * edge  # it may tip, but neither sinks nor flies


def test_settings_that_cannot_be_met_are_refused():
    crammed = dataclasses.replace(simulation.TINY, room=dataclasses.replace(
        COARSE.room, edge=(2.0, 2.2), toys=(14, 14), on_furniture=0.0))
    with pytest.raises(ValueError, match=r"no place in .* rooms with edges of \(2.0, 2.2\) metres"):
        simulation.simulate_clip(crammed, (0,))
    wide = dataclasses.replace(simulation.TINY, agent=dataclasses.replace(AGENT, clearance=3.0))
    with pytest.raises(ValueError, match="agent found no free place"):
        simulation.simulate_clip(wide, (0,))


@pytest.fixture(scope="module")
def near_clips():
    return [simulation.simulate_clip(simulation.DEMO, (0, 2, i)) for i in range(12)]


def test_the_demo_shows_few_large_toys_in_a_bare_room(near_clips):
    masks = np.stack([clip["segmentation"] for clip in near_clips])
    areas = np.stack([(masks == i).sum(axis=(2, 3)) for i in range(1, 5)])
    in_view = areas >= 8
    assert masks.max() <= 4 and 2 <= in_view.sum(axis=0).mean() <= 4
    assert (in_view.sum(axis=0) > 0).all()                 # there is always a toy to be seen
    assert np.sqrt(np.median(areas[in_view])) > 6          # pixels across
    for clip, mask in zip(near_clips, masks, strict=True):
        room = clip["video"][mask == 0].astype(float)
        assert np.median(np.ptp(room, axis=1)) <= 2 and room.std(axis=0).max() < 25
        names = [item.colours[0] for item in clip["objects"]]
        assert len(set(names)) == len(names) in (3, 4)


def test_the_agent_of_the_demo_takes_its_time(near_clips):
    poses = np.stack([clip["poses"] for clip in near_clips])
    turned = np.degrees(np.abs(np.diff(poses[..., 2], axis=1)))
    # Of a field of view of 60 degrees, which is some 27 pixels at the middle.
    assert turned.max() <= 5.001 and turned.mean() > 0.5
    assert np.linalg.norm(np.diff(poses[..., :2], axis=1), axis=-1).mean() > 0.01
