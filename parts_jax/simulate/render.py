"""Pictures and instance masks of a MuJoCo state by ray casting: no OpenGL, no GPU.

One call of `mujoco.mj_multiRay` from the camera gives the geom, distance and surface normal of
every ray; a second call from the point light tells which of those surface points lie in shadow.
The masks are exact: they come from the same rays as the colours.
"""

import dataclasses
import functools

import mujoco
import numpy as np

NO_GEOM = -1


@dataclasses.dataclass(frozen=True)
class Camera:
    """A pinhole camera; z is up.

    Attributes:
        position: where it stands, in world units.
        target: the point that it looks at, in world units.
        fov: vertical field of view, in degrees.
    """

    position: tuple[float, float, float]
    target: tuple[float, float, float]
    fov: float


@dataclasses.dataclass(frozen=True)
class Light:
    """A point light that casts hard shadows, and the light that comes from everywhere.

    Attributes:
        position: where the point light is, in world units.
        diffuse: its strength; it does not fade with distance.
        ambient: strength of the light from the sky, which reaches every point, shadowed or not:
            all of it where the surface faces up, `sideways` of it where it faces sideways.
        sideways: see ambient.
    """

    position: tuple[float, float, float]
    diffuse: float = 0.32
    ambient: float = 0.75
    sideways: float = 0.7


@dataclasses.dataclass(frozen=True)
class Surfaces:
    """How the geoms of a model look; one row a geom, in the order of MuJoCo's geom ids.

    Attributes:
        albedo: float [G,3] in [0,1], RGB reflectance.
        specular: float [G], strength of the highlight; 0 for a matt surface.
        shininess: float [G], exponent of the highlight (Blinn-Phong).
        instance: uint8 [G], the id in the mask; 0 for what belongs to the background.
    """

    albedo: np.ndarray
    specular: np.ndarray
    shininess: np.ndarray
    instance: np.ndarray


@functools.lru_cache(maxsize=8)
def camera_rays(camera: Camera, height: int, width: int, samples: int) -> np.ndarray:
    """Unit directions of `samples` x `samples` rays a pixel, evenly spread.

    Returns:
        float64 [height*width*samples**2, 3]; rows run over pixels, row by row of the picture, and
        within a pixel over its samples, so that a reshape to [H,W,samples**2,3] groups them. The
        array is read-only, since equal calls share it.
    """
    position, target = np.asarray(camera.position), np.asarray(camera.target)
    forward = _unit(target - position)
    right = _unit(np.cross(forward, [0.0, 0.0, 1.0]))
    up = np.cross(right, forward)
    half = np.tan(np.radians(camera.fov) / 2)
    offset = (np.arange(samples) + 0.5) / samples
    rows = half * (1 - 2 * (np.arange(height)[:, None] + offset) / height)              # [H,s]
    columns = half * (2 * (np.arange(width)[:, None] + offset) / width - 1) * width / height
    vectors = (forward
               + rows[:, None, :, None, None] * up
               + columns[None, :, None, :, None] * right)                       # [H,W,s,s,3]
    rays = _unit(vectors.reshape(-1, 3))
    rays.flags.writeable = False
    return rays


def cast(model: mujoco.MjModel, data: mujoco.MjData, origin: np.ndarray,
         directions: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The first surface that each ray from one point meets.

    Args:
        model: the MuJoCo model.
        data: its state; `mujoco.mj_forward` (or a step) must have placed the geoms.
        origin: float [3], where all rays start.
        directions: float64 [N,3], unit vectors.

    Returns:
        geom int32 [N] (`NO_GEOM` where nothing is met), distance float64 [N] (-1 there) and
        surface normal float64 [N,3].
    """
    count = len(directions)
    geom = np.empty(count, np.int32)
    distance = np.empty(count, np.float64)
    normal = np.zeros((count, 3), np.float64)
    mujoco.mj_multiRay(model, data, np.asarray(origin, np.float64), directions.reshape(-1), None,
                       True, -1, geom, distance, normal.reshape(-1), count, mujoco.mjMAXVAL)
    return geom, distance, normal


def lit(model: mujoco.MjModel, data: mujoco.MjData, light: Light,
        points: np.ndarray) -> np.ndarray:
    """Whether the light reaches surface points: bool [N] for points float64 [N,3]."""
    origin = np.asarray(light.position, np.float64)
    offsets = points - origin
    reach = np.sqrt(_dot(offsets, offsets))
    _, distance, _ = cast(model, data, origin, offsets / reach[:, None])
    # A ray may miss the very point it was sent to at a grazing angle: that point is lit too.
    return (distance < 0) | (distance > reach - 1e-3)


def shade(albedo: np.ndarray, specular: np.ndarray, shininess: np.ndarray, normal: np.ndarray,
          to_light: np.ndarray, to_camera: np.ndarray, visible: np.ndarray,
          light: Light) -> np.ndarray:
    """Ambient, diffuse and specular (Blinn-Phong) light that points send to the camera.

    Args:
        albedo: float [N,3].
        specular: float [N].
        shininess: float [N].
        normal: float [N,3], unit.
        to_light: float [N,3], unit.
        to_camera: float [N,3], unit.
        visible: bool [N], whether the light reaches the point.
        light: its strengths.

    Returns:
        RGB float [N,3], 0 to 1 and beyond.
    """
    diffuse = np.maximum(_dot(normal, to_light), 0) * visible
    halfway = np.maximum(_dot(normal, _unit(to_light + to_camera)), 0)
    highlight = specular * halfway ** shininess * (diffuse > 0)
    ambient = light.ambient * (light.sideways + (1 - light.sideways) * normal[:, 2])
    return albedo * (ambient + light.diffuse * diffuse)[:, None] + highlight[:, None]


def majority(samples: np.ndarray, num_ids: int) -> np.ndarray:
    """The most frequent id among the last axis, the lowest of them where they tie.

    uint8 [...,S] with ids below `num_ids` -> uint8 [...].
    """
    votes = np.stack([np.sum(samples == i, axis=-1) for i in range(num_ids)], axis=-1)
    return np.argmax(votes, axis=-1).astype(np.uint8)


def render(model: mujoco.MjModel, data: mujoco.MjData, camera: Camera, light: Light,
           surfaces: Surfaces, height: int, width: int, samples: int = 2,
           sky: tuple[float, float, float] = (0.5, 0.5, 0.5)) -> tuple[np.ndarray, np.ndarray]:
    """Draws a picture and its instance mask.

    Args:
        model: the MuJoCo model.
        data: its state, geoms placed.
        camera: the viewer.
        light: the light.
        surfaces: the look of each geom of `model`.
        height: pixels.
        width: pixels.
        samples: anti-aliasing: `samples` x `samples` rays a pixel, averaged.
        sky: RGB where a ray meets nothing.

    Returns:
        image uint8 [H,W,3] and mask uint8 [H,W]: the id that most rays of the pixel meet (the
        lowest where they tie), 0 for background.
    """
    origin = np.asarray(camera.position, np.float64)
    directions = camera_rays(camera, height, width, samples)
    geom, distance, normal = cast(model, data, origin, directions)
    hit = geom != NO_GEOM
    colour = np.tile(np.asarray(sky, np.float64), (len(geom), 1))
    instance = np.zeros(len(geom), np.uint8)
    instance[hit] = surfaces.instance[geom[hit]]
    if hit.any():
        met = geom[hit]
        points = origin + distance[hit, None] * directions[hit]
        colour[hit] = shade(
            surfaces.albedo[met], surfaces.specular[met], surfaces.shininess[met], normal[hit],
            _unit(np.asarray(light.position) - points), -directions[hit],
            lit(model, data, light, points), light)
    colour = np.clip(colour, 0, 1).reshape(height, width, samples ** 2, 3).mean(axis=2)
    mask = majority(instance.reshape(height, width, samples ** 2),
                    int(surfaces.instance.max()) + 1)
    return np.round(255 * colour).astype(np.uint8), mask


def _unit(vectors: np.ndarray) -> np.ndarray:
    """Vectors float [...,3] scaled to length 1."""
    return vectors / np.sqrt(_dot(vectors, vectors))[..., None]


def _dot(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    """Inner products [...] of vectors [...,3]; for so short an axis faster than a sum over it."""
    return one[..., 0] * other[..., 0] + one[..., 1] * other[..., 1] + one[..., 2] * other[..., 2]
