"""How the playroom looks: patterns on surfaces, what hangs on the walls, and the picture."""

import dataclasses
import functools
from collections.abc import Sequence
from typing import NamedTuple

import mujoco
import numpy as np

from parts_jax.simulate import render

PATTERNS = ("plain", "checks", "stripes", "rings", "dots", "planks", "carpet")
WALLS = (2, 3, 4, 5)  # geom ids; the floor is 0, the ceiling 1

FLOORS = (  # pattern, its scale in metres, two RGB
    ("planks", 0.16, (178, 132, 84), (120, 84, 52)),
    ("planks", 0.20, (205, 176, 134), (150, 122, 88)),
    ("planks", 0.14, (122, 82, 56), (78, 50, 34)),
    ("checks", 0.50, (206, 196, 178), (150, 156, 160)),
    ("checks", 0.45, (222, 214, 196), (150, 178, 162)),
    ("carpet", 0.30, (120, 138, 170), (96, 112, 148)),
    ("carpet", 0.30, (176, 160, 140), (150, 134, 116)),
    ("carpet", 0.35, (140, 156, 124), (116, 134, 104)),
    ("dots", 0.60, (172, 128, 132), (214, 190, 186)))
WALL_COLOURS = ((228, 220, 200), (190, 208, 222), (204, 220, 192), (232, 204, 194), (222, 212, 228),
                (238, 226, 176), (176, 200, 200), (214, 214, 212))
WALL_PATTERNS = ("plain", "plain", "stripes", "dots")
CEILING_COLOUR = (238, 236, 230)


@dataclasses.dataclass(frozen=True)
class Panel:
    """A rectangle painted on a wall: a window, a poster, a board along the floor.

    `centre` and `half` (along the wall, up) are in metres, in the frame of the wall.
    """

    wall: int
    centre: tuple[float, float]
    half: tuple[float, float]
    rgb: tuple[float, float, float]


@dataclasses.dataclass(frozen=True)
class Look:
    """How all geoms look; one row a geom, and the panels of the walls.

    Attributes:
      surfaces: main colours, highlights and ids.
      second: float [G, 3] in [0, 1], the colour of the pattern.
      pattern: int [G], positions in `PATTERNS`.
      scale: float [G], size of the pattern in metres.
      panels: painted in their order.
    """

    surfaces: render.Surfaces
    second: np.ndarray
    pattern: np.ndarray
    scale: np.ndarray
    panels: tuple[Panel, ...]


class Row(NamedTuple):
    """How one geom looks: RGB and second RGB in 0..255, pattern, its scale in metres, id."""

    rgb: tuple[int, int, int]
    second: tuple[int, int, int]
    pattern: str
    scale: float
    instance: int


def gather(rows: Sequence[Row], panels: tuple[Panel, ...]) -> Look:
    """The look of a model whose geoms have these rows."""
    shine = np.array([0.12 if row.instance else 0.0 for row in rows])
    return Look(
        surfaces=render.Surfaces(
            albedo=np.array([row.rgb for row in rows]) / 255, specular=shine,
            shininess=np.full(len(rows), 18.0),
            instance=np.array([row.instance for row in rows], np.uint8)),
        second=np.array([row.second for row in rows]) / 255,
        pattern=np.array([PATTERNS.index(row.pattern) for row in rows]),
        scale=np.array([row.scale for row in rows]), panels=panels)


def draw_background(rng: np.random.Generator) -> list[Row]:
    """Draws the look of floor, ceiling and walls."""
    pattern, scale, rgb, second = FLOORS[rng.integers(len(FLOORS))]
    paint = WALL_COLOURS[rng.integers(len(WALL_COLOURS))]
    paper = WALL_PATTERNS[rng.integers(len(WALL_PATTERNS))]
    tint = tuple(int(0.88 * number) for number in paint)
    accent = WALL_COLOURS[rng.integers(len(WALL_COLOURS))]
    walls = [Row(paint, tint, paper, 0.3, 0) for _ in WALLS]
    if rng.random() < 0.5:
        walls[rng.integers(len(WALLS))] = Row(accent, accent, "plain", 1.0, 0)
    return [Row(rgb, second, pattern, scale, 0),
            Row(CEILING_COLOUR, CEILING_COLOUR, "plain", 1.0, 0), *walls]


def draw_panels(half: np.ndarray, rng: np.random.Generator) -> tuple[Panel, ...]:
    """Draws what is painted on the walls of a room of half edges `half` (x, y), in metres."""
    wainscot = np.array(WALL_COLOURS[rng.integers(len(WALL_COLOURS))]) / 255
    has_wainscot, skirting = rng.random() < 0.4, rng.uniform(0.7, 0.95)
    window_wall = rng.integers(len(WALLS))
    panels = []
    for i, wall in enumerate(WALLS):
        length = half[1] if i < 2 else half[0]
        if has_wainscot:
            panels.append(Panel(wall, (0, 0.35), (length, 0.35), tuple(0.85 * wainscot)))
        panels.append(Panel(wall, (0, 0.04), (length, 0.05), (skirting,) * 3))
        along = rng.uniform(-0.5, 0.5) * length
        if i == window_wall:
            panels += _window(wall, along, rng)
        elif rng.random() < 0.7:
            panels += _poster(wall, along, rng)
    return tuple(panels)


def _window(wall: int, along: float, rng: np.random.Generator) -> list[Panel]:
    half = rng.uniform(0.4, 0.6), rng.uniform(0.35, 0.5)
    frame = Panel(wall, (along, 1.5), (half[0] + 0.06, half[1] + 0.06), (0.95, 0.95, 0.93))
    pane = half[0] / 2 - 0.03
    return [frame] + [Panel(wall, (along + side * half[0] / 2, 1.5), (pane, half[1]),
                            (0.72, 0.87, 1.0)) for side in (-1, 1)]


def _poster(wall: int, along: float, rng: np.random.Generator) -> list[Panel]:
    half = rng.uniform(0.18, 0.35, size=2)
    height = rng.uniform(1.2, 1.5)
    inner = rng.uniform(0.3, 0.8, size=3)
    return [Panel(wall, (along, height), tuple(half + 0.04), tuple(0.4 * inner)),
            Panel(wall, (along, height), tuple(half), tuple(inner)),
            Panel(wall, (along, height - 0.3 * half[1]), tuple(half * [0.5, 0.4]),
                  tuple(1 - inner))]


# --- patterns: how much of the second colour is at points [N, 3] of a geom, scales [N] -> [N] ---


def _checks(points: np.ndarray, scale: np.ndarray) -> np.ndarray:
    # Shifted, so that no border lies in the faces of a box about the origin.
    return np.floor(points / scale[:, None] + 0.37).sum(axis=1) % 2


def _stripes(points: np.ndarray, scale: np.ndarray) -> np.ndarray:
    return np.floor(points[:, 0] / scale) % 2


def _rings(points: np.ndarray, scale: np.ndarray) -> np.ndarray:
    return np.floor(points[:, 2] / scale + 0.5) % 2


def _dots(points: np.ndarray, scale: np.ndarray) -> np.ndarray:
    offsets = (points / scale[:, None] + 0.5) % 1 - 0.5
    return (np.sum(offsets ** 2, axis=1) < 0.09).astype(np.float64)


def _planks(points: np.ndarray, scale: np.ndarray) -> np.ndarray:
    across = points[:, 0] / scale
    row = np.floor(across)
    along = points[:, 1] / (7 * scale) + 0.61 * row
    tone = np.abs(np.sin(12.9898 * row + 78.233 * np.floor(along))) % 1
    seam = (across - row < 0.08) | (along % 1 < 0.015)
    return np.where(seam, 1.0, 0.55 * tone)


def _carpet(points: np.ndarray, scale: np.ndarray) -> np.ndarray:
    x, y = (points[:, :2] / scale[:, None]).T
    waves = np.sin(7.3 * x + 2.1 * np.sin(5.7 * y)) * np.sin(6.1 * y + 1.7 * np.sin(4.9 * x))
    return 0.5 + 0.5 * waves


_WEIGHTS = {"checks": _checks, "stripes": _stripes, "rings": _rings, "dots": _dots,
            "planks": _planks, "carpet": _carpet}


def albedo(look: Look, data: mujoco.MjData, geom: np.ndarray, points: np.ndarray) -> np.ndarray:
    """The reflectance RGB float64 [N, 3] at points [N, 3] of the room that lie on geoms int [N]."""
    colour = look.surfaces.albedo[geom]
    pattern = look.pattern[geom]
    for name, weights in _WEIGHTS.items():
        rows = np.flatnonzero(pattern == PATTERNS.index(name))
        if len(rows):
            here = geom[rows]
            weight = weights(_local(data, here, points[rows]), look.scale[here])[:, None]
            colour[rows] += weight * (look.second[here] - colour[rows])
    on_walls = np.flatnonzero(np.isin(geom, WALLS))
    local, wall = _local(data, geom[on_walls], points[on_walls]), geom[on_walls]
    for panel in look.panels:
        inside = ((wall == panel.wall) & (np.abs(local[:, 0] - panel.centre[0]) < panel.half[0])
                  & (np.abs(local[:, 1] - panel.centre[1]) < panel.half[1]))
        colour[on_walls[inside]] = panel.rgb
    return colour


def _local(data: mujoco.MjData, geom: np.ndarray, points: np.ndarray) -> np.ndarray:
    """Points [N, 3] of the room in the frames of their geoms [N]."""
    axes = data.geom_xmat.reshape(-1, 3, 3)[geom]
    return np.einsum("ni,nij->nj", points - data.geom_xpos[geom], axes)


@functools.lru_cache(maxsize=4)
def _rays_ahead(fov: float, resolution: int, samples: int) -> np.ndarray:
    """Rays of an eye that looks along y: see `render.camera_rays`."""
    camera = render.Camera((0.0, 0.0, 0.0), (0.0, 1.0, 0.0), fov)
    return render.camera_rays(camera, resolution, resolution, samples)


def view(model: mujoco.MjModel, data: mujoco.MjData, look: Look, light: render.Light,
         eye: np.ndarray, yaw: float, pitch: float, fov: float, resolution: int,
         samples: int) -> tuple[np.ndarray, np.ndarray]:
    """What is seen from a point of the room.

    Args:
      model: the MuJoCo model.
      data: its state, geoms placed.
      look: how its geoms look.
      light: the light.
      eye: float [3].
      yaw: heading, from x towards y, in radians.
      pitch: upwards, in radians.
      fov: field of view in degrees.
      resolution: H and W.
      samples: `samples` x `samples` rays a pixel.

    Returns:
      image uint8 [H, W, 3] and mask uint8 [H, W]: the id that most rays of a pixel meet.
    """
    right = np.array([np.sin(yaw), -np.cos(yaw), 0.0])
    forward = np.array([np.cos(pitch) * np.cos(yaw), np.cos(pitch) * np.sin(yaw), np.sin(pitch)])
    axes = np.stack([right, forward, np.cross(right, forward)])
    rays = _rays_ahead(fov, resolution, samples) @ axes
    # The room is closed: every ray meets something.
    geom, distance, normal = render.cast(model, data, eye, rays)
    points = eye + distance[:, None] * rays
    to_light = np.asarray(light.position) - points
    to_light /= np.linalg.norm(to_light, axis=1, keepdims=True)
    surfaces = look.surfaces
    sample = np.tile(np.arange(samples ** 2), resolution ** 2)
    colour = render.shade(albedo(look, data, geom, points), surfaces.specular[geom],
                          surfaces.shininess[geom], normal, to_light, -rays,
                          render.arriving(model, data, light, points, sample, samples), light)
    image = np.clip(colour, 0, 1).reshape(resolution, resolution, samples ** 2, 3).mean(axis=2)
    mask = render.majority(surfaces.instance[geom].reshape(resolution, resolution, samples ** 2),
                           int(surfaces.instance.max()) + 1)
    return np.round(255 * image).astype(np.uint8), mask
