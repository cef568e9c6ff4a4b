"""A camera's flight through a square room with a few objects, after DeepMind's Objects Room.

The room has a floor, four walls of one colour and the sky above; spheres, boxes, cylinders and
capsules stand about its middle, apart from each other: the circles around what they cover of the
floor do not overlap. The camera flies along a ring around them, nearer and farther, higher and
lower, and always looks to the middle. Nothing else moves.

`simulate_clip(settings, seed)` is a pure function: equal arguments give equal clips, bit for bit.
"""

import colorsys
import dataclasses
from collections.abc import Sequence

import mujoco
import numpy as np

from parts_jax.simulate import rays, render, seeds, visibility

SHAPES = ("sphere", "box", "cylinder", "capsule")
NUM_HUES = 10  # as in the real set's forerunner, 3D Shapes: hue i is 36 i degrees
HUES = ("red", "orange", "yellow", "lime", "green", "turquoise", "azure", "blue", "violet", "pink")
SKIES = {"blue": (150, 190, 235), "pale": (200, 220, 235), "violet": (185, 175, 225),
         "dawn": (235, 205, 185)}
# Of a shape: its radius (a box's half edge) and half its height, for a half-size of 1.
PROPORTIONS = {"sphere": (1.0, 1.0), "box": (0.8, 0.8), "cylinder": (0.75, 0.95),
               "capsule": (0.62, 1.15)}
NUM_BACKGROUND = 5  # geoms: the floor and four walls
WALL_THICKNESS = 0.1
MAX_TRIES = 500


@dataclasses.dataclass(frozen=True)
class RoomSettings:
    """Everything that decides how clips turn out, but the seed.

    Attributes:
      resolution: height and width of the frames, in pixels.
      num_frames: frames of a clip.
      num_objects: objects of a clip.
      sizes: half-sizes to draw from, in metres.
      around: centres of objects lie within so many metres of the middle.
      gap: least distance of the circles around two footprints, in metres.
      half: half the edge of the floor, in metres.
      wall: height of the walls, in metres.
      fov: vertical field of view, in degrees.
      ring: range of the camera's distance from the middle, in metres.
      eye: range of its height, in metres.
      target: height of the point in the middle that it looks at, in metres.
      speed: range of its way around the ring, in degrees a frame, to either side.
      light: the lamp.
      min_pixels: clips are drawn anew until, in `enough` of the frames, every object has so many
        pixels of the mask.
      enough: a share of the frames, for each object by itself.
      samples: rays a pixel, along each side.

    Raises:
      ValueError: if the camera could meet an object or a wall, or see over a wall.
    """

    resolution: int = 64
    num_frames: int = 16
    num_objects: int = 3
    sizes: tuple[float, ...] = (0.32, 0.38, 0.44, 0.5)
    around: float = 1.4
    gap: float = 0.08
    half: float = 4.0
    wall: float = 2.0
    fov: float = 50.0
    ring: tuple[float, float] = (3.1, 3.7)
    eye: tuple[float, float] = (1.1, 1.8)
    target: float = 0.45
    speed: tuple[float, float] = (4.0, 12.0)
    light: render.Light = render.Light((1.0, -0.6, 5.5), diffuse=0.45, ambient=0.62, sideways=0.8,
                                       size=1.6)
    min_pixels: int = 20
    enough: float = 0.6
    samples: int = 2

    def __post_init__(self):
        reach = self.around + max(self.sizes) * 0.8 * 2 ** 0.5
        if not reach < self.ring[0] <= self.ring[1] < self.half:
            raise ValueError(
                f"The camera's ring must lie between the objects, which reach to {reach:.2f}, and "
                f"the walls, which are {self.half} from the middle; got {self.ring}.")
        if not 0 < self.eye[0] <= self.eye[1] < self.wall:
            raise ValueError(f"The camera must fly above the floor, and lower than the walls are "
                             f"high, {self.wall}; got {self.eye}.")


FULL = RoomSettings()

TINY = RoomSettings(resolution=16, num_frames=6, samples=1, min_pixels=2)


@dataclasses.dataclass(frozen=True)
class RoomObject:
    """One object: places and sizes in metres; `size` and `colour` are positions in lists."""

    shape: str
    colour: int
    size: int
    half_size: float
    position: tuple[float, float]
    angle: float

    @property
    def half_height(self) -> float:
        """Half its height: that of its centre above the floor."""
        return self.half_size * PROPORTIONS[self.shape][1]

    @property
    def radius(self) -> float:
        """Its radius; of a box half the edge."""
        return self.half_size * PROPORTIONS[self.shape][0]

    @property
    def footprint(self) -> float:
        """The radius of the circle around what it covers of the floor, seen from above."""
        return self.radius * (2 ** 0.5 if self.shape == "box" else 1.0)


def simulate_clip(settings: RoomSettings, seed: Sequence[int]) -> dict:
    """Furnishes a room, flies through it and draws what is seen.

    Args:
      settings: the world.
      seed: non-negative integers that name the clip, such as (seed, split, clip).

    Returns:
      A dict of
        video: uint8 [T, H, W, 3];
        segmentation: uint8 [T, H, W], 0 for floor, walls and sky, 1..N the objects;
        objects: tuple of N `RoomObject`, in the order of the ids;
        shape, colour, size: int32 [T, N], positions in `SHAPES`, `HUES` and the sizes of the
          settings, the same in all frames;
        position: float32 [T, N, 3], centres of the objects in metres, the same in all frames;
        visibility: float32 [T, N] in [0, 1], see `visibility.seen`; 0 out of view;
        floor, wall, sky: int32 [T], positions in `HUES`, `HUES` and `SKIES`;
        camera: float32 [T, 5]: x, y and z in metres, yaw (from x towards y) and pitch (upwards) in
          radians.

    Raises:
      ValueError: if no clip is found whose objects all find a place and are seen.
    """
    rng = seeds.generator(seed)
    for _ in range(MAX_TRIES):
        objects, background = draw_room(settings, rng)
        eyes = draw_flight(settings, rng)
        if objects is None:
            continue
        model = build_model(settings, objects)
        data = mujoco.MjData(model)
        mujoco.mj_kinematics(model, data)
        surfaces = look(objects, background)
        cameras = [rays.Camera(tuple(eye), (0.0, 0.0, settings.target), settings.fov)
                   for eye in eyes.tolist()]
        shares = _shares_seen(settings, model, data, cameras, surfaces.instance)
        if shares is not None:
            break
    else:
        raise ValueError(
            f"In {MAX_TRIES} tries no clip had {settings.num_objects} objects apart by "
            f"{settings.gap}, each of them seen in {settings.min_pixels} pixels or more of "
            f"{settings.enough:.0%} of the frames: make around (now {settings.around}) larger, or "
            "the objects smaller or fewer, or gap, min_pixels or enough less.")
    sky = tuple(number / 255 for number in list(SKIES.values())[background["sky"]])
    video, segmentation = zip(*(
        render.render(model, data, camera, settings.light, surfaces, settings.resolution,
                      settings.resolution, settings.samples, sky) for camera in cameras),
        strict=True)
    return {"video": np.stack(video), "segmentation": np.stack(segmentation), "objects": objects,
            **factors(settings, objects, background), "visibility": shares,
            "camera": poses(settings, eyes)}


def names(settings: RoomSettings) -> dict[str, list]:
    """What the numbers of the factors stand for, in their order; of sizes half-sizes in metres."""
    return {"shape": list(SHAPES), "colour": list(HUES), "size": list(settings.sizes),
            "floor": list(HUES), "wall": list(HUES), "sky": list(SKIES)}


def factors(settings: RoomSettings, objects: Sequence[RoomObject],
            background: dict[str, int]) -> dict[str, np.ndarray]:
    """What stays the same in all T frames of a clip, [T, ...]: see `simulate_clip`."""
    once = {key: np.array(number, np.int32) for key, number in background.items()}
    once |= {"shape": np.array([SHAPES.index(item.shape) for item in objects], np.int32),
             "colour": np.array([item.colour for item in objects], np.int32),
             "size": np.array([item.size for item in objects], np.int32),
             "position": np.array([[*item.position, item.half_height] for item in objects],
                                  np.float32)}
    return {key: np.repeat(values[None], settings.num_frames, axis=0)
            for key, values in once.items()}


def draw_room(settings: RoomSettings, rng: np.random.Generator
              ) -> tuple[tuple[RoomObject, ...] | None, dict[str, int]]:
    """Draws the objects, and the colours of floor, wall and sky.

    Floor and walls differ in colour from each other and from the objects, which may be alike.

    Returns:
      The objects, None if one found no place beside the others; and `floor`, `wall` and `sky`.
    """
    hues = rng.permutation(NUM_HUES).tolist()
    background = {"floor": hues[0], "wall": hues[1], "sky": int(rng.integers(len(SKIES)))}
    objects = []
    for _ in range(settings.num_objects):
        size = int(rng.integers(len(settings.sizes)))
        item = RoomObject(SHAPES[rng.integers(len(SHAPES))],
                          hues[rng.integers(2, NUM_HUES)], size, settings.sizes[size],
                          (0.0, 0.0), float(rng.uniform(0, 2 * np.pi)))
        # Evenly spread over the disc.
        away, turn = settings.around * np.sqrt(rng.uniform()), rng.uniform(0, 2 * np.pi)
        item = dataclasses.replace(item, position=(float(away * np.cos(turn)),
                                                   float(away * np.sin(turn))))
        objects.append(item)
    apart = all(clearance(one, other) >= settings.gap
                for i, one in enumerate(objects) for other in objects[:i])
    return tuple(objects) if apart else None, background


def clearance(one: RoomObject, other: RoomObject) -> float:
    """The distance of the circles around two footprints; less than 0 where they overlap."""
    return float(np.hypot(*np.subtract(one.position, other.position))
                 ) - one.footprint - other.footprint


def draw_flight(settings: RoomSettings, rng: np.random.Generator) -> np.ndarray:
    """Where the camera is in each frame: float64 [T, 3]."""
    frames = np.arange(settings.num_frames)
    speed = np.radians(rng.uniform(*settings.speed)) * rng.choice([-1.0, 1.0])
    angle = rng.uniform(0, 2 * np.pi) + speed * frames
    away, height = (_wave(limits, frames, rng) for limits in (settings.ring, settings.eye))
    return np.stack([away * np.cos(angle), away * np.sin(angle), height], axis=-1)


def _wave(limits: tuple[float, float], frames: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """A sine of 16 to 40 frames about any height that stays within the limits: float64 [T]."""
    amplitude = rng.uniform(0, 0.5) * (limits[1] - limits[0])
    middle = rng.uniform(limits[0] + amplitude, limits[1] - amplitude)
    return middle + amplitude * np.sin(
        2 * np.pi * (frames / rng.uniform(16, 40) + rng.uniform()))


def poses(settings: RoomSettings, eyes: np.ndarray) -> np.ndarray:
    """Poses float32 [T, 5] (x, y, z, yaw, pitch) of a camera at [T, 3] that looks to the middle."""
    ahead = np.array([0.0, 0.0, settings.target]) - eyes
    yaw = np.arctan2(ahead[:, 1], ahead[:, 0])
    pitch = np.arctan2(ahead[:, 2], np.hypot(ahead[:, 0], ahead[:, 1]))
    return np.concatenate([eyes, yaw[:, None], pitch[:, None]], axis=-1).astype(np.float32)


def build_model(settings: RoomSettings, objects: Sequence[RoomObject]) -> mujoco.MjModel:
    """The MuJoCo model: geom 0 is the floor, 1 to 4 are the walls, the objects follow."""
    spec, kinds = mujoco.MjSpec(), mujoco.mjtGeom
    half, thick, up = settings.half, WALL_THICKNESS, settings.wall / 2
    edge = half + 2 * thick
    spec.worldbody.add_geom(type=kinds.mjGEOM_PLANE, size=[edge, edge, 1])
    for x, y in ((1, 0), (-1, 0), (0, 1), (0, -1)):
        spec.worldbody.add_geom(
            type=kinds.mjGEOM_BOX, pos=[x * (half + thick), y * (half + thick), up],
            size=[thick if x else edge, thick if y else edge, up])
    for item in objects:
        radius, height = item.radius, item.half_height
        # MuJoCo's capsules have half the length of their cylinder alone.
        size = {"sphere": [radius, 0, 0], "box": [radius, radius, height],
                "cylinder": [radius, height, 0], "capsule": [radius, height - radius, 0]}
        spec.worldbody.add_geom(
            type=getattr(kinds, f"mjGEOM_{item.shape.upper()}"), size=size[item.shape],
            pos=[*item.position, height],
            quat=[np.cos(item.angle / 2), 0, 0, np.sin(item.angle / 2)])
    return spec.compile()


def look(objects: Sequence[RoomObject], background: dict[str, int]) -> render.Surfaces:
    """The look of floor and walls (instance 0) and of the objects (instances 1..N)."""
    colours = [colorsys.hsv_to_rgb(background["floor"] / NUM_HUES, 0.6, 0.75)]
    colours += [colorsys.hsv_to_rgb(background["wall"] / NUM_HUES, 0.5, 0.8)] * 4
    colours += [colorsys.hsv_to_rgb(item.colour / NUM_HUES, 0.9, 0.95) for item in objects]
    shine = np.repeat([0.0, 0.15], [NUM_BACKGROUND, len(objects)])
    return render.Surfaces(
        albedo=np.array(colours), specular=shine, shininess=np.full(len(colours), 20.0),
        instance=np.array([0] * NUM_BACKGROUND + list(range(1, len(objects) + 1)), np.uint8))


def _shares_seen(settings: RoomSettings, model: mujoco.MjModel, data: mujoco.MjData,
                 cameras: Sequence[rays.Camera], instance: np.ndarray) -> np.ndarray | None:
    """`visibility` of a clip, float32 [T, N]; None if an object is seen in too few frames."""
    size, count = settings.resolution, settings.num_objects
    masks, shares = zip(*(visibility.seen(model, data, camera, instance, size, size,
                                          settings.samples) for camera in cameras), strict=True)
    pixels = np.stack([np.bincount(mask.ravel(), minlength=count + 1)[1:] for mask in masks])
    often = (pixels >= settings.min_pixels).mean(axis=0)
    return np.stack(shares) if (often >= settings.enough).all() else None
