"""Visible shares against spheres worked out in numpy; the mask against that of the renderer."""

import mujoco
import numpy as np
import pytest

from parts_jax.simulate import rays, render, visibility

CAMERA = rays.Camera(position=(0.0, -5.0, 0.6), target=(0.0, 0.0, 0.5), fov=40.0)
# The second is half hidden by the first, the third wholly; the fourth is behind the camera.
SPHERES = (((0.0, 0.0, 0.5), 0.5), ((0.5, 1.0, 0.5), 0.5), ((0.0, 1.5, 0.5), 0.2),
           ((0.0, -9.0, 0.5), 0.5))
IDS = np.array([0, 1, 2, 3, 4], np.uint8)


@pytest.fixture(scope="module")
def scene():
    spec = mujoco.MjSpec()
    spec.worldbody.add_geom(type=mujoco.mjtGeom.mjGEOM_PLANE, size=[50, 50, 1])
    for centre, radius in SPHERES:
        spec.worldbody.add_geom(type=mujoco.mjtGeom.mjGEOM_SPHERE, pos=centre, size=[radius, 0, 0])
    model = spec.compile()
    data = mujoco.MjData(model)
    mujoco.mj_kinematics(model, data)
    return model, data


def hit(directions, centre, radius):
    """Distances [R] along rays from the camera to a sphere; infinite where it is missed."""
    offset = np.asarray(centre) - CAMERA.position
    along = directions @ offset
    discriminant = along ** 2 - offset @ offset + radius ** 2
    distance = along - np.sqrt(np.maximum(discriminant, 0))
    return np.where((discriminant >= 0) & (distance > 0), distance, np.inf)


def test_shares_are_those_of_spheres_worked_out_by_hand(scene):
    _, shares = visibility.seen(*scene, CAMERA, IDS, 40, 48, 2)
    distances = np.stack([hit(rays.camera_rays(CAMERA, 40, 48, 2), *sphere) for sphere in SPHERES])
    met = np.isfinite(distances)
    first = np.argmin(distances, axis=0)
    expected = [np.sum(met[i] & (first == i)) / max(met[i].sum(), 1) for i in range(4)]
    np.testing.assert_allclose(shares, expected, atol=1e-6)
    assert shares[0] == 1 and 0.3 < shares[1] < 0.7 and shares[2] == 0 and shares[3] == 0
    assert shares.dtype == np.float32


def test_the_mask_is_the_renderers_and_the_model_stays_as_it_is(scene):
    model, data = scene
    before = model.geom_rgba.copy()
    mask, _ = visibility.seen(model, data, CAMERA, IDS, 24, 24, 2)
    np.testing.assert_array_equal(model.geom_rgba, before)
    surfaces = render.Surfaces(np.full((5, 3), 0.5), np.zeros(5), np.ones(5), IDS)
    _, expected = render.render(model, data, CAMERA, render.Light((0.0, -3.0, 6.0)), surfaces,
                                24, 24)
    np.testing.assert_array_equal(mask, expected)
    assert mask.dtype == np.uint8 and set(np.unique(mask)) == {0, 1, 2}
