"""Pictures of a walled enclosure with many objects on its floor, after the 3D rooms of SPACE.

Spheres, cubes and cylinders of any size between two stand about the middle, apart from each other:
the circles around what they cover of the floor do not overlap. Objects have one of 8 colours,
which several may share; wall, ground and sky one of 5 each. The camera stands within the walls, at
any angle, and looks to the middle. Sizes, colours and camera of the real set are not public; those
here are this project's own. Nothing moves, so there is no physics.

`draw_picture(settings, seed)` is a pure function: equal arguments give equal pictures, bit for bit.
"""

import dataclasses
from collections.abc import Sequence

import mujoco
import numpy as np

from parts_jax.simulate import objects_room, rays, render, seeds
from parts_jax.simulate.objects_room import RoomObject

SHAPES = ("sphere", "box", "cylinder")
COLOURS = {"red": (200, 40, 40), "green": (50, 150, 60), "blue": (50, 80, 200),
           "yellow": (230, 200, 50), "purple": (135, 60, 170), "cyan": (60, 195, 205),
           "orange": (230, 125, 40), "pink": (235, 130, 180)}
WALLS = {"grey": (150, 150, 150), "sand": (190, 170, 130), "slate": (100, 115, 135),
         "rose": (175, 130, 130), "sage": (135, 160, 130)}
GROUNDS = {"brown": (125, 100, 75), "dark": (85, 85, 90), "moss": (95, 110, 70),
           "clay": (150, 110, 90), "pale": (170, 165, 150)}
SKIES = {"blue": (150, 190, 235), "white": (225, 230, 235), "violet": (185, 175, 225),
         "dawn": (235, 205, 185), "night": (55, 65, 100)}
MAX_TRIES = 200
MAX_PLACEMENT_TRIES = 200


@dataclasses.dataclass(frozen=True)
class RoomsSettings:
    """Everything that decides how pictures turn out, but the seed.

    Attributes:
      resolution: height and width of the pictures, in pixels.
      num_objects: from ... to; drawn.
      sizes: range of half-sizes, in metres.
      around: centres of objects lie within so many metres of the middle.
      gap: least distance of the circles around two footprints, in metres.
      half: half the edge of the floor, in metres.
      wall: height of the walls, in metres.
      fov: vertical field of view, in degrees.
      ring: range of the camera's distance from the middle, in metres.
      eye: range of its height, in metres.
      target: height of the point in the middle that it looks at, in metres.
      light: the lamp.
      min_pixels: pictures are drawn anew until every object has so many pixels of the mask.
      samples: rays a pixel, along each side.

    Raises:
      ValueError: if the camera could meet an object or a wall, or there are no objects.
    """

    resolution: int = 128
    num_objects: tuple[int, int] = (4, 8)
    sizes: tuple[float, float] = (0.22, 0.4)
    around: float = 1.6
    gap: float = 0.04
    half: float = 4.0
    wall: float = 1.4
    fov: float = 50.0
    ring: tuple[float, float] = (3.2, 3.7)
    eye: tuple[float, float] = (1.9, 2.6)
    target: float = 0.2
    light: render.Light = render.Light((1.0, -0.6, 5.5), diffuse=0.45, ambient=0.62, sideways=0.8,
                                       size=1.6)
    min_pixels: int = 20
    samples: int = 2

    def __post_init__(self):
        reach = self.around + self.sizes[1] * 2 ** 0.5
        if not reach < self.ring[0] <= self.ring[1] < self.half:
            raise ValueError(
                f"The camera must stand between the objects, which reach to {reach:.2f}, and the "
                f"walls, which are {self.half} from the middle; got {self.ring}.")
        if not 1 <= self.num_objects[0] <= self.num_objects[1] <= 254:
            raise ValueError("num_objects must be two numbers from 1 to 254, the second not below "
                             f"the first; got {self.num_objects}.")


SMALL = RoomsSettings()
LARGE = RoomsSettings(num_objects=(18, 24), sizes=(0.13, 0.24), around=1.75, min_pixels=12)
DEMO = RoomsSettings(resolution=64, num_objects=(3, 6), sizes=(0.26, 0.44), min_pixels=12)
TINY = RoomsSettings(resolution=16, num_objects=(2, 3), sizes=(0.4, 0.5), samples=1, min_pixels=2)


def draw_picture(settings: RoomsSettings, seed: Sequence[int]) -> dict:
    """Furnishes a room and draws it.

    Args:
      settings: the world.
      seed: non-negative integers that name the picture, such as (seed, split, number).

    Returns:
      A dict of
        video: uint8 [1, H, W, 3];
        segmentation: uint8 [1, H, W], 0 for ground, walls and sky, 1..N the objects;
        objects: tuple of N `RoomObject`, in the order of the ids;
        shape, colour: int32 [1, M], positions in `SHAPES` and `COLOURS`;
        size: float32 [1, M], half-sizes in metres;
        position: float32 [1, M, 3], centres in metres;
        boxes: float32 [1, M, 4], y0, x0, y1, x1 of what is seen, as shares of the picture;
        visible: int32 [1, M], 1 for objects, 0 for rows of none;
        ground, wall, sky: int32 [1], positions in `GROUNDS`, `WALLS` and `SKIES`;
        camera: float32 [1, 5]: x, y and z in metres, yaw (from x towards y) and pitch (upwards) in
          radians.
      M is the most objects that there may be; the rows of those that are not there are 0.

    Raises:
      ValueError: if no picture is found whose objects all find a place and are seen.
    """
    rng = seeds.generator(seed)
    for _ in range(MAX_TRIES):
        background = {name: int(rng.integers(len(colours))) for name, colours in
                      (("ground", GROUNDS), ("wall", WALLS), ("sky", SKIES))}
        eye = _draw_eye(settings, rng)
        objects = draw_objects(settings, rng)
        if objects is None:
            continue
        image, mask = _render(settings, objects, background, eye)
        pixels = np.bincount(mask.ravel(), minlength=len(objects) + 1)[1:]
        if pixels.min() >= settings.min_pixels:
            break
    else:
        raise ValueError(
            f"In {MAX_TRIES} tries no picture had {settings.num_objects[0]} to "
            f"{settings.num_objects[1]} objects apart by {settings.gap}, each of them seen in "
            f"{settings.min_pixels} pixels or more: make around (now {settings.around}) larger, or "
            "the objects smaller or fewer, or gap or min_pixels less.")
    return {"video": image[None], "segmentation": mask[None], "objects": objects,
            **factors(settings, objects, mask),
            **{name: np.array([number], np.int32) for name, number in background.items()},
            "camera": _pose(settings, eye)[None]}


def names() -> dict[str, list[str]]:
    """What the numbers of the factors stand for, in their order."""
    return {"shape": list(SHAPES), "colour": list(COLOURS), "ground": list(GROUNDS),
            "wall": list(WALLS), "sky": list(SKIES)}


def draw_objects(settings: RoomsSettings,
                 rng: np.random.Generator) -> tuple[RoomObject, ...] | None:
    """Draws objects that stand apart; None if one found no place beside the others."""
    count, objects = int(rng.integers(settings.num_objects[0], settings.num_objects[1] + 1)), []
    for _ in range(count):
        item = RoomObject(SHAPES[rng.integers(len(SHAPES))], int(rng.integers(len(COLOURS))), 0,
                          float(rng.uniform(*settings.sizes)), (0.0, 0.0),
                          float(rng.uniform(0, 2 * np.pi)))
        for _ in range(MAX_PLACEMENT_TRIES):
            # Evenly spread over the disc.
            away, turn = settings.around * np.sqrt(rng.uniform()), rng.uniform(0, 2 * np.pi)
            item = dataclasses.replace(item, position=(float(away * np.cos(turn)),
                                                       float(away * np.sin(turn))))
            if all(objects_room.clearance(item, other) >= settings.gap for other in objects):
                objects.append(item)
                break
        else:
            return None
    return tuple(objects)


def factors(settings: RoomsSettings, objects: Sequence[RoomObject],
            mask: np.ndarray) -> dict[str, np.ndarray]:
    """The factors of objects, [1, M, ...], rows of 0 after those there are: see `draw_picture`."""
    found = {"shape": np.array([SHAPES.index(item.shape) for item in objects], np.int32),
             "colour": np.array([item.colour for item in objects], np.int32),
             "size": np.array([item.half_size for item in objects], np.float32),
             "position": np.array([[*item.position, item.half_height] for item in objects],
                                  np.float32),
             "boxes": np.stack([_box(mask == i) for i in range(1, len(objects) + 1)]),
             "visible": np.ones(len(objects), np.int32)}
    rows = settings.num_objects[1] - len(objects)
    return {key: np.pad(values, [(0, rows)] + [(0, 0)] * (values.ndim - 1))[None]
            for key, values in found.items()}


def _box(seen: np.ndarray) -> np.ndarray:
    """y0, x0, y1, x1 around what is seen, bool [H, W], as shares of the picture: float32 [4]."""
    edges = [np.flatnonzero(seen.any(axis=axis)) for axis in (1, 0)]
    corners = [found[0] for found in edges] + [found[-1] + 1 for found in edges]
    return (np.array(corners) / (seen.shape * 2)).astype(np.float32)


def _draw_eye(settings: RoomsSettings, rng: np.random.Generator) -> np.ndarray:
    """Where the camera is, float64 [3]."""
    angle, away = rng.uniform(0, 2 * np.pi), rng.uniform(*settings.ring)
    return np.array([away * np.cos(angle), away * np.sin(angle), rng.uniform(*settings.eye)])


def _pose(settings: RoomsSettings, eye: np.ndarray) -> np.ndarray:
    """x, y, z, yaw, pitch, float32 [5]."""
    ahead = np.array([0.0, 0.0, settings.target]) - eye
    yaw, pitch = np.arctan2(ahead[1], ahead[0]), np.arctan2(ahead[2], np.hypot(*ahead[:2]))
    return np.array([*eye, yaw, pitch], np.float32)


def _render(settings: RoomsSettings, objects: Sequence[RoomObject], background: dict[str, int],
            eye: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The picture uint8 [H, W, 3] and its mask uint8 [H, W]."""
    model = objects_room.build_model(settings, objects)
    data = mujoco.MjData(model)
    mujoco.mj_kinematics(model, data)
    chosen = lambda colours, number: np.array(list(colours.values())[number]) / 255
    albedo = [chosen(GROUNDS, background["ground"]), *[chosen(WALLS, background["wall"])] * 4]
    albedo += [chosen(COLOURS, item.colour) for item in objects]
    behind = len(albedo) - len(objects)
    surfaces = render.Surfaces(
        albedo=np.array(albedo), specular=np.repeat([0.0, 0.15], [behind, len(objects)]),
        shininess=np.full(len(albedo), 20.0),
        instance=np.array([0] * behind + list(range(1, len(objects) + 1)), np.uint8))
    camera = rays.Camera(tuple(eye.tolist()), (0.0, 0.0, settings.target), settings.fov)
    return render.render(model, data, camera, settings.light, surfaces, settings.resolution,
                         settings.resolution, settings.samples,
                         tuple(chosen(SKIES, background["sky"]).tolist()))
