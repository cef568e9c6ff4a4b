"""The ray caster against intersections worked out in numpy."""

import dataclasses

import mujoco
import numpy as np
import pytest

from parts_jax.simulate import rays, render

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
    """Distances [4, H, W] to floor, spheres and box."""
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


def test_soft_shadows_are_the_mean_of_hard_ones():
    model, data = make_scene()
    light = dataclasses.replace(LIGHT, size=1.2)
    xy = np.stack(np.meshgrid(np.linspace(-2, 3, 40), np.linspace(-1, 3, 40)), axis=-1)
    points = np.c_[xy.reshape(-1, 2), np.full(1600, 1e-6)]
    points = points[(np.abs(points - BOX[0]) > 0.45)[:, :2].any(axis=1)]
    shares, places = [], []
    for i in range(9):
        share = render.arriving(model, data, light, points, np.full(len(points), i), samples=3)
        assert set(share) == {0.0, 1.0}
        shares.append(share)
        # The place of this point of light, found from its shadow: the best of a grid.
        steps = 1.2 * (np.arange(9) - 4) / 9
        candidates = [np.array(LIGHT.position) + [x, y, 0] for x in steps for y in steps]
        errors = []
        for place in candidates:
            to_light = (place - points) / np.linalg.norm(place - points, axis=-1, keepdims=True)
            blocked = (oracle_distances(points, to_light)[1:] < np.inf).any(axis=0)
            errors.append(np.sum(blocked != (share == 0)))
        assert min(errors) <= 2
        places.append(np.argmin(errors))
    columns, rows = np.divmod(places, 9)
    assert len(set(columns)) == len(set(rows)) == 9
    soft = np.mean(shares, axis=0)
    assert ((soft > 0) & (soft < 1)).sum() > 60 and (soft == 0).sum() > 20


def test_a_fading_light_follows_the_square_of_the_distance():
    model, data = make_scene()
    points = np.array([[-3.0, -2.5, 0.0], [-3.0, 4.5, 0.0]])
    share = render.arriving(model, data, dataclasses.replace(LIGHT, fade=7.0), points,
                            np.zeros(2, int), samples=1)
    np.testing.assert_allclose(share, [1.0, 0.5])


def test_openness_beneath_a_sphere_and_on_the_sphere_itself():
    spec = mujoco.MjSpec()
    spec.worldbody.add_geom(type=mujoco.mjtGeom.mjGEOM_PLANE, size=[50, 50, 1])
    spec.worldbody.add_geom(type=mujoco.mjtGeom.mjGEOM_SPHERE, pos=[0, 0, 1], size=[0.5, 0, 0])
    model = spec.compile()
    data = mujoco.MjData(model)
    mujoco.mj_forward(model, data)
    points = np.array([[0, 0, 0], [1.0, 0, 0], [0, 0, 1.5]])
    normal = np.array([[0.0, 0.0, 1.0]] * 3)
    free = render.openness(model, data, np.array([0, 0, 1]), points, normal)
    np.testing.assert_allclose(free, [1 - 0.25, 1 - 0.125 / np.sqrt(2), 1.0])


def test_lights_add_up_and_gamma_brightens():
    model, data = make_scene()
    other = render.Light((2.0, -3.0, 5.0), diffuse=0.2, ambient=0.1)
    dark = dataclasses.replace(LIGHT, diffuse=0.3, ambient=0.1)
    one, two, both = (render.render(model, data, CAMERA, lights, make_surfaces(), 24, 24)[0]
                      for lights in (dark, other, (dark, other)))
    np.testing.assert_allclose(both, one.astype(float) + two, atol=1)
    brighter, _ = render.render(model, data, CAMERA, dark, make_surfaces(), 24, 24, gamma=2.0)
    np.testing.assert_allclose((brighter / 255.0) ** 2, one / 255.0, atol=0.006)


def test_a_mirror_shows_what_the_reflected_ray_meets():
    model, data = make_scene()
    black = np.zeros((4, 3))
    mirror = black.copy()
    mirror[0] = [0.9, 0.6, 0.3]  # the floor
    surfaces = dataclasses.replace(make_surfaces(), mirror=mirror)
    surfaces.albedo[0] = 0
    light = render.Light((0, 0, 9.0), diffuse=0.0, ambient=1.0, sideways=1.0)
    image, mask = render.render(model, data, CAMERA, light, surfaces, SIZE, SIZE, samples=1,
                                sky=(0.3, 0.3, 0.3))
    origin, rays_ = np.array(CAMERA.position), oracle_rays(SIZE)
    points = origin + oracle_distances(origin, rays_)[0][..., None] * rays_
    seen = oracle_distances(points, rays_ * [1, 1, -1])[1:]
    nearest = np.where((seen < np.inf).any(axis=0), np.argmin(seen, axis=0) + 1, 0)
    colours = surfaces.albedo.copy()
    colours[0] = 0.3  # the sky
    fresnel = (1 + rays_[..., 2:]) ** 5
    expected = colours[nearest] * (mirror[0] + (1 - mirror[0]) * fresnel)
    floor = mask == 0
    assert (nearest[floor] > 0).sum() > 60 and (nearest[floor] == 0).sum() > 300
    np.testing.assert_allclose(image[floor], np.round(255 * expected[floor]), atol=1)
    assert (image[~floor] == np.round(255 * surfaces.albedo[mask[~floor]])).all()


def test_the_distance_from_the_view_agrees_with_the_rays():
    rng = np.random.default_rng(0)
    camera = dataclasses.replace(CAMERA, aspect=1.5)
    corner = rays.camera_rays(camera, 3, 3, 1)[4]
    np.testing.assert_allclose(corner, rays.axes(camera)[2])
    right, up, forward = rays.axes(camera)
    half = np.tan(np.radians(43.0) / 2)
    for height, width, chosen in ((64, 64, camera), (64, 96, CAMERA)):
        x, y, depth = rng.uniform(-2, 2, 200), rng.uniform(-2, 2, 200), rng.uniform(1, 9, 200)
        points = (np.array(CAMERA.position) + depth[:, None] * (
            forward + (1.5 * half * x)[:, None] * right + (half * y)[:, None] * up))
        distance = rays.distance_from_view(chosen, height, width, points)
        np.testing.assert_array_equal(distance < 0, (np.abs(x) < 1) & (np.abs(y) < 1))
        above = np.array(CAMERA.position) + forward + half * up  # on the upper side
        away = up - half * forward
        away /= np.linalg.norm(away)
        np.testing.assert_allclose(
            rays.distance_from_view(chosen, height, width, above + 0.7 * away), 0.7)


def test_an_aspect_squeezes_the_wide_view_into_a_square():
    wide = rays.camera_rays(CAMERA, 8, 12, 1).reshape(8, 12, 3)
    square = rays.camera_rays(dataclasses.replace(CAMERA, aspect=1.5), 8, 4, 1).reshape(8, 4, 3)
    np.testing.assert_allclose(square, wide[:, 1::3])


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
