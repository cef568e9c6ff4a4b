"""Camera and light that differ from clip to clip."""

import dataclasses

import numpy as np

from parts_jax.simulate import rays, render
from parts_jax.simulate.clevrer.world_settings import WorldSettings


def drawn(settings: WorldSettings, rng: np.random.Generator) -> WorldSettings:
    """The settings with the camera and the lights of one clip; without variety, as they are."""
    variety = settings.variety
    if variety is None:
        return settings
    turn, rise = rng.uniform(-1, 1, size=2) * [variety.camera_turn, variety.camera_rise]
    camera = moved(settings.camera, turn, rise, rng.uniform(*variety.camera_distance))
    turn = rng.uniform(-1, 1) * variety.light_turn
    diffuse, ambient = rng.uniform(*variety.diffuse), rng.uniform(*variety.ambient)
    lights = settings.light if isinstance(settings.light, tuple) else (settings.light,)
    return dataclasses.replace(settings, camera=camera, light=tuple(
        changed(light, turn, diffuse, ambient) for light in lights))


def moved(camera: rays.Camera, turn: float, rise: float, distance: float) -> rays.Camera:
    """The camera, moved around its target, which it goes on looking at.

    Args:
      camera: the camera.
      turn: degrees around the vertical axis, anticlockwise seen from above.
      rise: degrees upward, seen from the target.
      distance: factor of the distance from the target.
    """
    target = np.asarray(camera.target)
    x, y, z = np.asarray(camera.position) - target
    away = distance * np.sqrt(x ** 2 + y ** 2 + z ** 2)
    azimuth = np.arctan2(y, x) + np.radians(turn)
    height = np.arctan2(z, np.hypot(x, y)) + np.radians(rise)
    offset = away * np.array([np.cos(height) * np.cos(azimuth), np.cos(height) * np.sin(azimuth),
                              np.sin(height)])
    return dataclasses.replace(camera, position=tuple((target + offset).tolist()))


def changed(light: render.Light, turn: float, diffuse: float, ambient: float) -> render.Light:
    """The lamp, turned by degrees around the vertical axis, its strengths times two factors."""
    x, y, z = light.position
    cos, sin = np.cos(np.radians(turn)), np.sin(np.radians(turn))
    return dataclasses.replace(
        light, position=(float(cos * x - sin * y), float(sin * x + cos * y), z),
        diffuse=diffuse * light.diffuse, ambient=ambient * light.ambient)
