"""Pictures and instance masks of a MuJoCo state by ray casting: no OpenGL, no GPU.

One call of `mujoco.mj_multiRay` from the camera gives the geom, distance and surface normal of
every ray; further calls from the lights tell which of those surface points lie in shadow. Rays
that leave mirrors follow one by one. The masks are exact: they come from the same rays as the
colours.
"""

import dataclasses
from collections.abc import Sequence

import mujoco
import numpy as np

from parts_jax.simulate.rays import NO_GEOM, Camera, camera_rays, cast, dot, unit


@dataclasses.dataclass(frozen=True)
class Light:
    """A lamp that casts shadows, and the light that comes from everywhere.

    Attributes:
      position: where the lamp is, in world units.
      diffuse: its strength.
      ambient: strength of the light from the sky, which reaches every point, shadowed or not:
        all of it where the surface faces up, `sideways` of it where it faces sideways.
      sideways: see ambient.
      size: edge of the level square that shines, in world units; its shadows are soft. 0: a
        point, whose shadows are hard.
      fade: the distance where the strength is `diffuse`, which fades with the square of the
        distance. 0: it does not fade.
      occlusion: how much of the ambient light geoms nearby take away, from 0 (nothing) to 1.
    """

    position: tuple[float, float, float]
    diffuse: float = 0.32
    ambient: float = 0.75
    sideways: float = 0.7
    size: float = 0.0
    fade: float = 0.0
    occlusion: float = 0.0


@dataclasses.dataclass(frozen=True)
class Surfaces:
    """How the geoms of a model look; one row a geom, in the order of MuJoCo's geom ids.

    Attributes:
      albedo: float [G, 3] in [0, 1], RGB reflectance.
      specular: float [G], strength of the highlight; 0 for a matt surface.
      shininess: float [G], exponent of the highlight (Blinn-Phong).
      instance: uint8 [G], the id in the mask; 0 for what belongs to the background.
      mirror: float [G, 3] in [0, 1], share of the red, green and blue light from what stands before
        it that the surface reflects; None where nothing is a mirror.
    """

    albedo: np.ndarray
    specular: np.ndarray
    shininess: np.ndarray
    instance: np.ndarray
    mirror: np.ndarray | None = None


def lit(model: mujoco.MjModel, data: mujoco.MjData, light: Light,
        points: np.ndarray) -> np.ndarray:
    """Whether the light reaches surface points: bool [N] for points float64 [N, 3]."""
    origin = np.asarray(light.position, np.float64)
    offsets = points - origin
    reach = np.sqrt(dot(offsets, offsets))
    _, distance, _ = cast(model, data, origin, offsets / reach[:, None])
    # A ray may miss the very point it was sent to at a grazing angle: that point is lit too.
    return (distance < 0) | (distance > reach - 1e-3)


def arriving(model: mujoco.MjModel, data: mujoco.MjData, light: Light, points: np.ndarray,
             sample: np.ndarray, samples: int) -> np.ndarray:
    """The share of a light's strength that arrives at points: float64 [N].

    A light with a size is `samples`^2 points of light, and each of the points float64 [N, 3] sees
    the one that `sample`, int [N], names. The samples of a pixel see different ones, so that their
    average is soft.
    """
    if light.size:
        share = np.empty(len(points))
        for i, (row, column) in enumerate(np.ndindex(samples, samples)):
            # One point in every cell of a grid, all at different x and different y.
            shift = np.array([column + (row + 0.5) / samples,
                              row + (samples - column - 0.5) / samples, 0.0]) / samples
            shifted = light.position + light.size * (shift - [0.5, 0.5, 0.0])
            chosen = np.flatnonzero(sample == i)
            share[chosen] = lit(model, data, dataclasses.replace(light, position=tuple(shifted)),
                                points[chosen])
    else:
        share = lit(model, data, light, points).astype(np.float64)
    if light.fade:
        offsets = points - np.asarray(light.position)
        share *= light.fade ** 2 / dot(offsets, offsets)
    return share


def openness(model: mujoco.MjModel, data: mujoco.MjData, geom: np.ndarray, points: np.ndarray,
             normal: np.ndarray) -> np.ndarray:
    """The share of the sky that other geoms leave free, as if they were spheres: float64 [N].

    A sphere of radius r, at distance d and angle a from the normal, hides cos(a) (r / d)^2.

    Args:
      model: the MuJoCo model.
      data: its state.
      geom: int [N], the geom that each point belongs to, which does not hide its own sky.
      points: float64 [N, 3].
      normal: float64 [N, 3], unit.
    """
    free = np.ones(len(points))
    for i in np.flatnonzero(model.geom_type != mujoco.mjtGeom.mjGEOM_PLANE):
        offsets = data.geom_xpos[i] - points
        squares = dot(offsets, offsets)
        radius = min(model.geom_rbound[i], 1.15 * model.geom_size[i, 0])
        hidden = radius ** 2 * dot(offsets, normal) / (squares * np.sqrt(squares))
        free *= 1 - np.clip(hidden, 0, 1) * (geom != i)
    return free


def shade(albedo: np.ndarray, specular: np.ndarray, shininess: np.ndarray, normal: np.ndarray,
          to_light: np.ndarray, to_camera: np.ndarray, visible: np.ndarray,
          light: Light, free: np.ndarray | float = 1.0) -> np.ndarray:
    """Ambient, diffuse and specular (Blinn-Phong) light that points send to the camera.

    Args:
      albedo: float [N, 3].
      specular: float [N].
      shininess: float [N].
      normal: float [N, 3], unit.
      to_light: float [N, 3], unit.
      to_camera: float [N, 3], unit.
      visible: bool or float [N], the share of the light that reaches the point.
      light: its strengths.
      free: float [N], the share of the ambient light that reaches the point.

    Returns:
      RGB float [N, 3], 0 to 1 and beyond.
    """
    diffuse = np.maximum(dot(normal, to_light), 0) * visible
    halfway = np.maximum(dot(normal, unit(to_light + to_camera)), 0)
    highlight = specular * halfway ** shininess * (diffuse > 0) * visible
    ambient = light.ambient * (light.sideways + (1 - light.sideways) * normal[:, 2]) * free
    return albedo * (ambient + light.diffuse * diffuse)[:, None] + highlight[:, None]


def majority(samples: np.ndarray, num_ids: int) -> np.ndarray:
    """The most frequent id among the last axis, the lowest of them where they tie.

    uint8 [..., S] with ids below `num_ids` -> uint8 [...].
    """
    votes = np.stack([np.sum(samples == i, axis=-1) for i in range(num_ids)], axis=-1)
    return np.argmax(votes, axis=-1).astype(np.uint8)


def render(model: mujoco.MjModel, data: mujoco.MjData, camera: Camera,
           light: Light | Sequence[Light], surfaces: Surfaces, height: int, width: int,
           samples: int = 2, sky: tuple[float, float, float] = (0.5, 0.5, 0.5),
           gamma: float = 1.0) -> tuple[np.ndarray, np.ndarray]:
    """Draws a picture and its instance mask.

    Args:
      model: the MuJoCo model.
      data: its state, geoms placed.
      camera: the viewer.
      light: the light, or several, which add up.
      surfaces: the look of each geom of `model`.
      height: pixels.
      width: pixels.
      samples: anti-aliasing: `samples` x `samples` rays a pixel, averaged.
      sky: RGB where a ray meets nothing.
      gamma: the light is raised to 1 / gamma in the picture (a screen undoes 2.2).

    Returns:
      image uint8 [H, W, 3] and mask uint8 [H, W]: the id that most rays of the pixel meet (the
      lowest where they tie), 0 for background.
    """
    scene = _Scene(model, data, (light,) if isinstance(light, Light) else tuple(light), surfaces,
                   samples, np.asarray(sky, np.float64))
    origin = np.asarray(camera.position, np.float64)
    directions = camera_rays(camera, height, width, samples)
    geom, distance, normal = cast(model, data, origin, directions)
    hit = geom != NO_GEOM
    colour = np.tile(scene.sky, (len(geom), 1))
    instance = np.zeros(len(geom), np.uint8)
    instance[hit] = surfaces.instance[geom[hit]]
    if hit.any():
        points = origin + distance[hit, None] * directions[hit]
        colour[hit] = _mirrored(scene, _Hits(geom[hit], points, normal[hit], -directions[hit],
                                             np.flatnonzero(hit) % samples ** 2))
    colour = np.clip(colour, 0, 1).reshape(height, width, samples ** 2, 3).mean(axis=2)
    if gamma != 1:
        colour = colour ** (1 / gamma)
    mask = majority(instance.reshape(height, width, samples ** 2),
                    int(surfaces.instance.max()) + 1)
    return np.round(255 * colour).astype(np.uint8), mask


@dataclasses.dataclass(frozen=True)
class _Scene:
    """What is drawn, but from where; as in `render`."""

    model: mujoco.MjModel
    data: mujoco.MjData
    lights: tuple[Light, ...]
    surfaces: Surfaces
    samples: int
    sky: np.ndarray


@dataclasses.dataclass(frozen=True)
class _Hits:
    """Surface points that are looked at: one row each."""

    geom: np.ndarray        # int [N]
    points: np.ndarray      # float64 [N, 3]
    normal: np.ndarray      # float64 [N, 3], unit
    to_viewer: np.ndarray   # float64 [N, 3], unit
    sample: np.ndarray      # int [N], which sample of its pixel the ray is

    def __getitem__(self, chosen: np.ndarray) -> "_Hits":
        return _Hits(*(getattr(self, field.name)[chosen] for field in dataclasses.fields(self)))


def _lit_surface(scene: _Scene, hits: _Hits) -> np.ndarray:
    """What all lights together make of the points: RGB float [N, 3]."""
    colour, surfaces = np.zeros((len(hits.geom), 3)), scene.surfaces
    for light in scene.lights:
        free = 1.0
        if light.occlusion:
            free = 1 - light.occlusion * (1 - openness(scene.model, scene.data, hits.geom,
                                                       hits.points, hits.normal))
        colour += shade(
            surfaces.albedo[hits.geom], surfaces.specular[hits.geom],
            surfaces.shininess[hits.geom], hits.normal,
            unit(np.asarray(light.position) - hits.points), hits.to_viewer,
            arriving(scene.model, scene.data, light, hits.points, hits.sample, scene.samples),
            light, free)
    return colour


def _mirrored(scene: _Scene, hits: _Hits) -> np.ndarray:
    """The lit points, and where they are mirrors, what stands before them: RGB float [N, 3].

    Mirrors in mirrors look as if they were matt.
    """
    colour = _lit_surface(scene, hits)
    if scene.surfaces.mirror is None:
        return colour
    mirrors = np.flatnonzero(scene.surfaces.mirror.any(axis=1)[hits.geom])
    if not len(mirrors):
        return colour
    seen = hits[mirrors]
    cosine = np.clip(dot(seen.normal, seen.to_viewer), 0, 1)[:, None]
    away = 2 * cosine * seen.normal - seen.to_viewer
    share = scene.surfaces.mirror[seen.geom]
    # Schlick's approximation of Fresnel's law: at grazing angles a mirror reflects everything.
    share = share + (1 - share) * (1 - cosine) ** 5
    colour[mirrors] += share * _followed(scene, seen, away)
    return colour


def _followed(scene: _Scene, hits: _Hits, directions: np.ndarray) -> np.ndarray:
    """What rays float64 [N, 3] meet that leave the points: RGB float [N, 3]."""
    geom, distance = np.empty((len(directions), 1), np.int32), np.empty(len(directions))
    normal = np.empty((len(directions), 3))
    # A little off the surface, lest it meets itself.
    starts = hits.points + 1e-5 * hits.normal
    for i, (start, direction) in enumerate(zip(starts, directions, strict=True)):
        distance[i] = mujoco.mj_ray(scene.model, scene.data, start, direction, None, True, -1,
                                    geom[i], normal[i])
    met = np.flatnonzero(geom[:, 0] != NO_GEOM)
    colour = np.tile(scene.sky, (len(directions), 1))
    if len(met):
        colour[met] = _lit_surface(scene, _Hits(
            geom[met, 0], starts[met] + distance[met, None] * directions[met], normal[met],
            -directions[met], hits.sample[met]))
    return colour
