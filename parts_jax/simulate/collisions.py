"""A world of spheres, boxes and cylinders that slide, roll and collide, after CLEVRER.

`simulate_clip(settings, seed)` is a pure function: equal arguments give equal clips, bit for bit,
so clips can be made in any order by any number of processes.
"""

import dataclasses
from collections.abc import Sequence

import mujoco
import numpy as np

from parts_jax.simulate import render

SHAPES = ("sphere", "box", "cylinder")

# The colours of CLEVR, RGB in 0..255.
CLEVR_COLOURS = {
    "gray": (87, 87, 87), "red": (173, 35, 35), "blue": (42, 75, 215), "green": (29, 105, 20),
    "brown": (129, 74, 25), "purple": (129, 38, 192), "cyan": (41, 208, 208),
    "yellow": (255, 238, 51),
}
SATURATED_COLOURS = {
    "red": (230, 30, 30), "green": (30, 190, 40), "blue": (35, 60, 235), "yellow": (240, 215, 25),
    "magenta": (215, 35, 205), "cyan": (25, 205, 215),
}
# Strength and exponent of the highlight, and share of the colour that the diffuse light keeps.
MATERIALS = {"rubber": (0.0, 1.0, 1.0), "metal": (0.7, 24.0, 0.8)}

MAX_PLACEMENT_TRIES = 1000


@dataclasses.dataclass(frozen=True)
class WorldSettings:
    """Everything that decides how a world looks and moves, but the seed.

    Attributes:
        resolution: height and width of the frames, in pixels.
        num_frames: frames of a clip.
        min_objects: fewest objects of a clip.
        max_objects: most objects of a clip.
        size: least and greatest half-size, in world units: the radius of a sphere or a cylinder
            (which is twice as high as its half-size); boxes have this times `box_scale`.
        box_scale: half the edge of a box over the radius of a sphere of the same size.
        colours: names and RGB (0..255) to draw from.
        distinct_colours: whether the objects of a clip all differ in colour; otherwise they differ
            in the triple (shape, colour, material).
        materials: names to draw from, keys of `MATERIALS`.
        start_x: range where objects in view start, to the right, in world units.
        start_y: the same, away from the camera.
        entering: chance of an object to start out of view and move in.
        min_in_view: so many objects start in view in any case.
        entering_distance: range of its distance from the centre at the start, in world units.
        speed: range of the initial speed of objects that start in view, in world units a second.
        entering_speed: the same of objects that enter.
        aim: standard deviation of the points that the objects head for, around the centre, in
            world units: the smaller, the more collisions.
        friction: sliding friction of all surfaces.
        timestep: of the physics, in seconds.
        steps_per_frame: physics steps from frame to frame.
        camera: the viewer.
        light: the light.
        ground: RGB (0..1) of the floor.
        samples: rays a pixel, along each side.
    """

    resolution: int
    num_frames: int
    min_objects: int
    max_objects: int
    size: tuple[float, float]
    camera: render.Camera
    box_scale: float = 0.85
    colours: tuple[tuple[str, tuple[int, int, int]], ...] = tuple(CLEVR_COLOURS.items())
    distinct_colours: bool = False
    materials: tuple[str, ...] = ("rubber", "metal")
    start_x: tuple[float, float] = (-1.5, 1.5)
    start_y: tuple[float, float] = (-1.0, 1.8)
    entering: float = 0.0
    min_in_view: int = 2
    entering_distance: tuple[float, float] = (4.0, 6.0)
    speed: tuple[float, float] = (1.0, 3.0)
    entering_speed: tuple[float, float] = (2.0, 4.0)
    aim: float = 0.4
    friction: float = 0.1
    timestep: float = 0.005
    steps_per_frame: int = 18
    light: render.Light = render.Light(position=(-3.0, -2.5, 7.0))
    ground: tuple[float, float, float] = (0.5, 0.5, 0.5)
    samples: int = 2


DEMO = WorldSettings(
    resolution=32, num_frames=8, min_objects=2, max_objects=3, size=(0.46, 0.62),
    camera=render.Camera(position=(0.0, -4.4, 3.6), target=(0.0, 0.0, 0.1), fov=43.0),
    colours=tuple(SATURATED_COLOURS.items()), distinct_colours=True, materials=("rubber",),
    aim=0.8)

DEMO_64 = dataclasses.replace(DEMO, resolution=64)

TINY = dataclasses.replace(DEMO, resolution=16, num_frames=6, max_objects=2, samples=1)

SMALL = WorldSettings(
    resolution=64, num_frames=24, min_objects=3, max_objects=5, size=(0.36, 0.44),
    camera=render.Camera(position=(0.0, -6.2, 4.4), target=(0.0, 0.0, 0.1), fov=40.0),
    start_x=(-1.7, 1.7), start_y=(-1.4, 1.8), entering=0.6, entering_distance=(3.2, 5.5),
    speed=(0.0, 2.0), entering_speed=(2.4, 5.0), aim=0.9, friction=0.02)


@dataclasses.dataclass(frozen=True)
class WorldObject:
    """One object of a clip at its start; sizes and velocities in world units (and seconds)."""

    shape: str
    colour: str
    material: str
    size: float
    position: tuple[float, float]
    velocity: tuple[float, float]
    angle: float

    @property
    def half_extents(self) -> tuple[float, float, float]:
        """MuJoCo's three size numbers of the geom; the last non-zero one is half the height."""
        return {"sphere": (self.size, 0.0, 0.0), "box": (self.size,) * 3,
                "cylinder": (self.size, self.size, 0.0)}[self.shape]


def simulate_clip(settings: WorldSettings, seed: Sequence[int]) -> dict:
    """Simulates and draws one clip.

    Args:
        settings: the world.
        seed: non-negative integers that name the clip, such as (seed, split, clip).

    Returns:
        A dict of
            video: uint8 [T,H,W,3];
            segmentation: uint8 [T,H,W], 0 for background, 1..N the objects, the same in all frames;
            objects: tuple of N `WorldObject`, in the order of the ids;
            location: float32 [T,N,3], the centres of the objects in world units.

    Raises:
        ValueError: if the settings leave no room for the objects.
    """
    rng = np.random.default_rng(np.random.SeedSequence([int(part) for part in seed]))
    objects = draw_objects(settings, rng)
    model = build_model(settings, objects)
    data = mujoco.MjData(model)
    place(model, data, objects)
    surfaces = look(settings, objects)
    frames, masks, locations = [], [], []
    for frame in range(settings.num_frames):
        if frame:
            mujoco.mj_step(model, data, settings.steps_per_frame)
        mujoco.mj_forward(model, data)
        image, mask = render.render(model, data, settings.camera, settings.light, surfaces,
                                    settings.resolution, settings.resolution, settings.samples)
        frames.append(image)
        masks.append(mask)
        locations.append(data.geom_xpos[1:].astype(np.float32))
    return {"video": np.stack(frames), "segmentation": np.stack(masks), "objects": objects,
            "location": np.stack(locations)}


def draw_objects(settings: WorldSettings, rng: np.random.Generator) -> tuple[WorldObject, ...]:
    """Draws the objects of a clip: how they look, where they start and where they head.

    Raises:
        ValueError: if no free place is found, or the looks run out.
    """
    count = int(rng.integers(settings.min_objects, settings.max_objects + 1))
    objects = []
    for shape, colour, material in draw_looks(settings, count, rng):
        size = rng.uniform(*settings.size) * (settings.box_scale if shape == "box" else 1.0)
        entering = bool(rng.random() < settings.entering) and len(objects) >= settings.min_in_view
        position = free_place(settings, objects, size, entering, rng)
        target = rng.normal(scale=settings.aim, size=2)
        heading = (target - position) / np.linalg.norm(target - position)
        speed = rng.uniform(*(settings.entering_speed if entering else settings.speed))
        objects.append(WorldObject(
            shape, colour, material, float(size), tuple(position.tolist()),
            tuple((speed * heading).tolist()), float(rng.uniform(0, 2 * np.pi))))
    return tuple(objects)


def draw_looks(settings: WorldSettings, count: int,
               rng: np.random.Generator) -> list[tuple[str, str, str]]:
    """Draws `count` different (shape, colour, material), or with different colours."""
    colours = [name for name, _ in settings.colours]
    if settings.distinct_colours:
        if count > len(colours):
            raise ValueError(f"{count} objects of distinct colours were asked for, but there are "
                             f"only {len(colours)} colours.")
        return [(SHAPES[rng.integers(len(SHAPES))], colours[i],
                 settings.materials[rng.integers(len(settings.materials))])
                for i in rng.permutation(len(colours))[:count]]
    triples = [(shape, colour, material) for shape in SHAPES for colour in colours
               for material in settings.materials]
    if count > len(triples):
        raise ValueError(f"{count} objects that differ in shape, colour or material were asked "
                         f"for, but there are only {len(triples)} such looks.")
    return [triples[i] for i in rng.permutation(len(triples))[:count]]


def free_place(settings: WorldSettings, others: Sequence[WorldObject], size: float, entering: bool,
               rng: np.random.Generator) -> np.ndarray:
    """A start on the floor, float64 [2], that touches none of the `others`."""
    for _ in range(MAX_PLACEMENT_TRIES):
        if entering:
            distance = rng.uniform(*settings.entering_distance)
            angle = rng.uniform(0, 2 * np.pi)
            place_ = distance * np.array([np.cos(angle), np.sin(angle)])
        else:
            place_ = np.array([rng.uniform(*settings.start_x), rng.uniform(*settings.start_y)])
        # Boxes reach furthest at their edges: sqrt(2) half-sizes from the centre.
        if all(np.linalg.norm(place_ - other.position) > 1.3 * (size + other.size)
               for other in others):
            return place_
    raise ValueError(f"No free place was found for an object of half-size {size:.2f} beside "
                     f"{len(others)} others in {MAX_PLACEMENT_TRIES} tries: make start_x, start_y "
                     f"(now {settings.start_x}, {settings.start_y}) larger or the objects smaller "
                     "or fewer.")


def build_model(settings: WorldSettings, objects: Sequence[WorldObject]) -> mujoco.MjModel:
    """The MuJoCo model: geom 0 is the floor, geom i+1 and free joint i are object i."""
    spec = mujoco.MjSpec()
    spec.option.timestep = settings.timestep
    spec.option.integrator = mujoco.mjtIntegrator.mjINT_IMPLICITFAST
    contact = {"friction": [settings.friction, 0.005, 0.0001], "solref": [0.015, 0.4]}
    spec.worldbody.add_geom(type=mujoco.mjtGeom.mjGEOM_PLANE, size=[50, 50, 1], **contact)
    for item in objects:
        body = spec.worldbody.add_body(pos=[*item.position, item.size],
                                       quat=[np.cos(item.angle / 2), 0, 0, np.sin(item.angle / 2)])
        body.add_freejoint()
        body.add_geom(type=getattr(mujoco.mjtGeom, f"mjGEOM_{item.shape.upper()}"),
                      size=item.half_extents, density=1000.0, **contact)
    return spec.compile()


def place(model: mujoco.MjModel, data: mujoco.MjData, objects: Sequence[WorldObject]) -> None:
    """Sets the state to the start of the clip: places from the model, velocities of the objects.

    Spheres roll from the start (their angular velocity is that of rolling without sliding).
    """
    mujoco.mj_resetData(model, data)
    velocity = data.qvel.reshape(len(objects), 6)
    for i, item in enumerate(objects):
        velocity[i, :2] = item.velocity
        if item.shape == "sphere":
            # The angular velocity of a free joint is in the frame of the body.
            rolling = np.array([-item.velocity[1], item.velocity[0]]) / item.size
            cos, sin = np.cos(item.angle), np.sin(item.angle)
            velocity[i, 3:5] = [cos * rolling[0] + sin * rolling[1],
                                -sin * rolling[0] + cos * rolling[1]]


def look(settings: WorldSettings, objects: Sequence[WorldObject]) -> render.Surfaces:
    """The look of the floor (instance 0) and of the objects (instances 1..N)."""
    rgb = dict(settings.colours)
    materials = [MATERIALS[item.material] for item in objects]
    albedo = [settings.ground] + [np.array(rgb[item.colour]) / 255 * kept
                                  for item, (_, _, kept) in zip(objects, materials, strict=True)]
    return render.Surfaces(
        albedo=np.array(albedo, np.float64),
        specular=np.array([0.0] + [strength for strength, _, _ in materials]),
        shininess=np.array([1.0] + [exponent for _, exponent, _ in materials]),
        instance=np.arange(len(objects) + 1, dtype=np.uint8))
