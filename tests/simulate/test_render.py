"""The ray caster against intersections worked out in numpy."""

import mujoco
import numpy as np
import pytest

from parts_jax.simulate import render

CAMERA = render.Camera(position=(0.0, -4.4, 3.6), target=(0.0, 0.0, 0.1), fov=43.0)
LIGHT = render.Light(position=(-3.0, -2.5, 7.0), diffuse=0.6, ambient=0.3)
SPHERES = [((-0.5, 0.2, 0.6), 0.6), ((0.6, 0.9, 0.9), 0.5)]
BOX = ((0.7, -0.6, 0.4), (0.4, 0.3, 0.4))
SIZE = 48


def make_scene():
    """Geom 0: the floor z = 0; 1 and 2: spheres; 3: a box along the axes."""
    spec = mujoco.MjSpec()
    spec.worldbody.add_geom(type=mujoco.mjtGeom.mjGEOM_PLANE, size=[50, 50, 1])
    for centre, radius in SPHERES:
        spec.worldbody.add_geom(type=mujoco.mjtGeom.mjGEOM_SPHERE, pos=centre,
                                size=[radius, 0, 0])
    spec.worldbody.add_geom(type=mujoco.mjtGeom.mjGEOM_BOX, pos=BOX[0], size=BOX[1])
    model = spec.compile()
    data = mujoco.MjData(model)
    mujoco.mj_forward(model, data)
    return model, data


def make_surfaces():
    return render.Surfaces(
        albedo=np.array([[0.5, 0.5, 0.5], [0.8, 0.1, 0.1], [0.1, 0.7, 0.2], [0.1, 0.2, 0.9]]),
        specular=np.zeros(4), shininess=np.ones(4), instance=np.arange(4, dtype=np.uint8))


def oracle_rays(size):
    """Rays through pixel centres, by tilting a camera that looks straight down."""
    half = np.tan(np.radians(CAMERA.fov / 2))
    tilt = np.arctan2(4.4, 3.5)  # from straight down up to the line of sight
    rotation = np.array([[1, 0, 0],
                         [0, np.cos(tilt), -np.sin(tilt)],
                         [0, np.sin(tilt), np.cos(tilt)]])
    rays = np.zeros((size, size, 3))
    for row in range(size):
        for column in range(size):
            x = ((column + 0.5) / size * 2 - 1) * half
            y = (1 - (row + 0.5) / size * 2) * half
            rays[row, column] = rotation @ [x, y, -1.0]
    return rays / np.linalg.norm(rays, axis=-1, keepdims=True)


def hit_sphere(origin, rays, centre, radius):
    """Distance to the sphere, infinite where it is missed."""
    to_centre = np.asarray(centre) - origin
    along = np.sum(rays * to_centre, axis=-1)
    discriminant = along ** 2 - np.sum(to_centre ** 2, axis=-1) + radius ** 2
    distance = along - np.sqrt(np.maximum(discriminant, 0))
    return np.where((discriminant >= 0) & (distance > 0), distance, np.inf)


def hit_box(origin, rays, centre, half):
    """Distance to the box, infinite where it is missed (slab by slab)."""
    with np.errstate(divide="ignore"):
        one = (np.asarray(centre) - half - origin) / rays
        other = (np.asarray(centre) + half - origin) / rays
    near = np.minimum(one, other).max(axis=-1)
    far = np.maximum(one, other).min(axis=-1)
    return np.where((near <= far) & (near > 0), near, np.inf)


def oracle_distances(origin, rays):
    """Distances [4,H,W] to floor, spheres and box."""
    with np.errstate(divide="ignore"):
        floor = np.where(rays[..., 2] < 0, -np.asarray(origin)[..., 2] / rays[..., 2], np.inf)
    return np.stack([floor] + [hit_sphere(origin, rays, *sphere) for sphere in SPHERES]
                    + [hit_box(origin, rays, *BOX)])


def test_mask_is_the_nearest_analytic_surface():
    model, data = make_scene()
    _, mask = render.render(model, data, CAMERA, LIGHT, make_surfaces(), SIZE, SIZE, samples=1)
    expected = np.argmin(oracle_distances(np.array(CAMERA.position), oracle_rays(SIZE)), axis=0)
    assert set(np.unique(mask)) == {0, 1, 2, 3}
    np.testing.assert_array_equal(mask, expected)


def test_floor_has_lambert_shading_and_analytic_shadows():
    model, data = make_scene()
    image, mask = render.render(model, data, CAMERA, LIGHT, make_surfaces(), SIZE, SIZE, samples=1)
    origin, rays, light = np.array(CAMERA.position), oracle_rays(SIZE), np.array(LIGHT.position)
    points = origin + oracle_distances(origin, rays)[0][..., None] * rays
    to_light = light - points
    distance = np.linalg.norm(to_light, axis=-1)
    blocked = (oracle_distances(points, to_light / distance[..., None])[1:] < np.inf).any(axis=0)
    level = 0.5 * (LIGHT.ambient + LIGHT.diffuse * ~blocked * to_light[..., 2] / distance)
    floor = mask == 0
    assert blocked[floor].sum() > 50
    assert (~blocked)[floor].sum() > 500
    np.testing.assert_allclose(image[floor][:, 0], np.round(255 * level[floor]), atol=1)


def test_lit_side_of_a_sphere_is_brighter():
    model, data = make_scene()
    image, mask = render.render(model, data, CAMERA, LIGHT, make_surfaces(), SIZE, SIZE)
    rows, columns = np.nonzero(mask == 1)
    red = image[rows, columns, 0]
    assert red[columns < columns.mean()].mean() > red[columns > columns.mean()].mean() + 20


def test_rays_agree_with_single_rays_of_mujoco():
    rng = np.random.default_rng(0)
    spec = mujoco.MjSpec()
    for kind in ("CYLINDER", "BOX", "SPHERE", "CYLINDER"):
        spec.worldbody.add_geom(type=getattr(mujoco.mjtGeom, f"mjGEOM_{kind}"),
                                pos=rng.uniform(-1, 1, 3), size=[0.4, 0.5, 0.3],
                                quat=rng.normal(size=4))
    model = spec.compile()
    data = mujoco.MjData(model)
    mujoco.mj_forward(model, data)
    origin = np.array([0.2, -4.0, 1.0])
    rays = render.camera_rays(render.Camera(tuple(origin), (0.0, 0.0, 0.0), 40.0), 20, 20, 1)
    geom, distance, normal = render.cast(model, data, origin, rays)
    assert 50 < np.sum(geom >= 0) < 390
    for i, ray in enumerate(rays):
        single = np.zeros(1, np.int32)
        expected = mujoco.mj_ray(model, data, origin, ray, None, True, -1, single)
        assert geom[i] == single[0]
        assert distance[i] == pytest.approx(expected, abs=1e-9)
        if geom[i] >= 0:
            assert np.linalg.norm(normal[i]) == pytest.approx(1)
            assert normal[i] @ ray < 1e-9


def test_antialiasing_averages_colours_and_takes_the_majority_id():
    model, data = make_scene()
    scene = (model, data, CAMERA, LIGHT, make_surfaces())
    image, mask = render.render(*scene, 24, 24, samples=2)
    fine_image, fine_mask = render.render(*scene, 48, 48, samples=1)
    for row in range(24):
        for column in range(24):
            block = (slice(2 * row, 2 * row + 2), slice(2 * column, 2 * column + 2))
            np.testing.assert_allclose(image[row, column], fine_image[block].mean((0, 1)), atol=1)
            assert mask[row, column] == np.argmax(np.bincount(fine_mask[block].ravel()))


def test_highlight_is_where_the_mirror_direction_is():
    normal = np.array([[0.0, 0.0, 1.0]] * 2)
    to_light = np.array([[0.6, 0.0, 0.8]] * 2)
    to_camera = np.array([[-0.6, 0.0, 0.8], [0.6, 0.0, 0.8]])
    colour = render.shade(np.zeros((2, 3)), np.ones(2), np.full(2, 30.0), normal, to_light,
                          to_camera, np.array([True, True]), LIGHT)
    np.testing.assert_allclose(colour[0], 1.0)
    np.testing.assert_allclose(colour[1], 0.8 ** 30)


def test_rays_that_meet_nothing_show_the_sky():
    spec = mujoco.MjSpec()
    spec.worldbody.add_geom(type=mujoco.mjtGeom.mjGEOM_SPHERE, pos=[0, 50, 0], size=[0.1, 0, 0])
    model = spec.compile()
    data = mujoco.MjData(model)
    mujoco.mj_forward(model, data)
    surfaces = render.Surfaces(np.ones((1, 3)), np.zeros(1), np.ones(1), np.ones(1, np.uint8))
    camera = render.Camera((0.0, 0.0, 1.0), (0.0, -5.0, 1.0), 40.0)
    image, mask = render.render(model, data, camera, LIGHT, surfaces, 4, 6, sky=(0.2, 0.4, 0.6))
    assert image.shape == (4, 6, 3) and mask.shape == (4, 6)
    assert (image == [51, 102, 153]).all() and (mask == 0).all()
