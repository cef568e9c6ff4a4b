"""Rays: from a camera through its pixels, and to the first surface that they meet."""

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
      aspect: width of the view over its height, whatever the pixels: a picture of other
        proportions shows the same view, squeezed. 0: pixels are square.
    """

    position: tuple[float, float, float]
    target: tuple[float, float, float]
    fov: float
    aspect: float = 0.0


@functools.lru_cache(maxsize=8)
def camera_rays(camera: Camera, height: int, width: int, samples: int) -> np.ndarray:
    """Unit directions of `samples` x `samples` rays a pixel, evenly spread.

    Returns:
      float64 [height*width*samples**2, 3]; rows run over pixels, row by row of the picture, and
      within a pixel over its samples, so that a reshape to [H, W, samples**2, 3] groups them. The
      array is read-only, since equal calls share it.
    """
    right, up, forward = axes(camera)
    half = np.tan(np.radians(camera.fov) / 2)
    offset = (np.arange(samples) + 0.5) / samples
    rows = half * (1 - 2 * (np.arange(height)[:, None] + offset) / height)              # [H, s]
    columns = half * (2 * (np.arange(width)[:, None] + offset) / width - 1) * (
        camera.aspect or width / height)
    vectors = (forward
               + rows[:, None, :, None, None] * up
               + columns[None, :, None, :, None] * right)                       # [H, W, s, s, 3]
    rays = unit(vectors.reshape(-1, 3))
    rays.flags.writeable = False
    return rays


def axes(camera: Camera) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Unit vectors to the right of the picture, up in it, and into it: float64 [3] each."""
    forward = unit(np.asarray(camera.target) - np.asarray(camera.position))
    right = unit(np.cross(forward, [0.0, 0.0, 1.0]))
    return right, np.cross(right, forward), forward


def distance_from_view(camera: Camera, height: int, width: int, points: np.ndarray) -> np.ndarray:
    """How far points are from the pyramid that the picture shows: float64 [...] for [..., 3].

    In world units, measured to the plane of a side of the pyramid; less than 0 within it.
    """
    right, up, forward = axes(camera)
    offsets = points - np.asarray(camera.position)
    half = np.tan(np.radians(camera.fov) / 2) * np.array([camera.aspect or width / height, 1.0])
    across = np.abs(np.stack([offsets @ right, offsets @ up], axis=-1))
    return ((across - half * (offsets @ forward)[..., None]) / np.sqrt(1 + half ** 2)).max(axis=-1)


def cast(model: mujoco.MjModel, data: mujoco.MjData, origin: np.ndarray,
         directions: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The first surface that each ray from one point meets.

    Args:
      model: the MuJoCo model.
      data: its state; `mujoco.mj_forward` (or a step) must have placed the geoms.
      origin: float [3], where all rays start.
      directions: float64 [N, 3], unit vectors.

    Returns:
      geom int32 [N] (`NO_GEOM` where nothing is met), distance float64 [N] (-1 there) and
      surface normal float64 [N, 3].
    """
    count = len(directions)
    geom = np.empty(count, np.int32)
    distance = np.empty(count, np.float64)
    normal = np.zeros((count, 3), np.float64)
    mujoco.mj_multiRay(model, data, np.asarray(origin, np.float64), directions.reshape(-1), None,
                       True, -1, geom, distance, normal.reshape(-1), count, mujoco.mjMAXVAL)
    return geom, distance, normal


def unit(vectors: np.ndarray) -> np.ndarray:
    """Vectors float [..., 3] scaled to length 1."""
    return vectors / np.sqrt(dot(vectors, vectors))[..., None]


def dot(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    """Inner products [...] of vectors [..., 3]; for so short an axis faster than a sum over it."""
    return one[..., 0] * other[..., 0] + one[..., 1] * other[..., 1] + one[..., 2] * other[..., 2]
