"""A world of spheres, boxes and cylinders that slide, roll and collide, after CLEVRER.

`simulate_clip(settings, seed)` is a pure function: equal arguments give equal clips, bit for bit,
so clips can be made in any order by any number of processes.
"""

import dataclasses
from collections.abc import Sequence

import mujoco
import numpy as np

from parts_jax.simulate import rays, render, seeds
from parts_jax.simulate.clevrer import variety
from parts_jax.simulate.clevrer.world_settings import Material, WorldSettings

SHAPES = ("sphere", "box", "cylinder")

MAX_PLACEMENT_TRIES = 1000
MAX_CLIP_TRIES = 200
MAX_ROOM_TRIES = 20
MAX_WAY = 7.0  # from out of view to the middle, in world units


class NoRoomError(ValueError):
    """There is no free place for an object beside the others."""


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
    lying: bool = False   # a cylinder on its side, whose axis has the direction `angle`
    thrown: bool = False  # starts above the floor, and turns as if it rolled

    @property
    def half_extents(self) -> tuple[float, float, float]:
        """MuJoCo's three size numbers of the geom; the last non-zero one is half the height."""
        return {"sphere": (self.size, 0.0, 0.0), "box": (self.size,) * 3,
                "cylinder": (self.size, self.size, 0.0)}[self.shape]

    @property
    def reach(self) -> float:
        """The distance from the centre to the furthest point of the surface."""
        return self.size * {"sphere": 1.0, "box": 3 ** 0.5, "cylinder": 2 ** 0.5}[self.shape]


@dataclasses.dataclass(frozen=True)
class Motion:
    """How N objects move over the T frames of a clip.

    Attributes:
      poses: float64 [T, 7*N], MuJoCo's positions.
      location: float64 [T, N, 3], the centres of the objects.
      collisions: int32 [C, 3]: frame, id and greater id of two objects that began to touch since
        the frame before; ids are those of the masks.
    """

    poses: np.ndarray
    location: np.ndarray
    collisions: np.ndarray


def simulate_clip(settings: WorldSettings, seed: Sequence[int]) -> dict:
    """Simulates and draws one clip.

    Args:
      settings: the world.
      seed: non-negative integers that name the clip, such as (seed, split, clip).

    Returns:
      A dict of
        video: uint8 [T, H, W, 3];
        segmentation: uint8 [T, H, W], 0 for background, 1..N the objects, the same in all frames;
        objects: tuple of N `WorldObject`, in the order of the ids;
        location: float32 [T, N, 3], the centres of the objects in world units;
        collisions: int32 [C, 3], see `Motion`.

    Raises:
      ValueError: if the settings leave no room for the objects, or for what must happen.
    """
    rng = seeds.generator(seed)
    settings = variety.drawn(settings, rng)
    for _ in range(MAX_CLIP_TRIES):
        objects = draw_objects(settings, rng)
        model = build_model(settings, objects)
        motion = move(settings, model, objects)
        if is_as_wanted(settings, objects, motion):
            break
    else:
        raise ValueError(_never_as_wanted(settings))
    video, segmentation = draw_frames(settings, model, objects, motion.poses)
    return {"video": video, "segmentation": segmentation, "objects": objects,
            "location": motion.location.astype(np.float32), "collisions": motion.collisions}


def move(settings: WorldSettings, model: mujoco.MjModel,
         objects: Sequence[WorldObject]) -> Motion:
    """Runs the physics of a clip."""
    data = mujoco.MjData(model)
    place(model, data, objects)
    poses, locations, collisions, touching = [], [], [], set()
    for frame in range(settings.num_frames):
        before, touching = touching, set()
        for _ in range(settings.steps_per_frame if frame else 0):
            mujoco.mj_step(model, data)
            # Geom 0 is the floor.
            touching.update((int(min(pair)), int(max(pair))) for pair in data.contact.geom
                            if min(pair) > 0)
        mujoco.mj_forward(model, data)
        collisions += [(frame, *pair) for pair in sorted(touching - before)]
        poses.append(data.qpos.copy())
        locations.append(data.geom_xpos[1:].copy())
    return Motion(np.stack(poses), np.stack(locations),
                  np.array(collisions, np.int32).reshape(-1, 3))


def is_as_wanted(settings: WorldSettings, objects: Sequence[WorldObject], motion: Motion) -> bool:
    """Whether a clip is kept: whether it is `eventful` and its objects are `staying`, if asked."""
    if settings.eventful and not is_eventful(settings, objects, motion):
        return False
    return not settings.staying or bool((rays.distance_from_view(
        settings.camera, *settings.frame_size, motion.location) < 0).all())


def _never_as_wanted(settings: WorldSettings) -> str:
    wanted = []
    if settings.eventful:
        wanted.append("a collision in view and an object that enters or leaves: make it longer, "
                      f"the objects faster or more, entering (now {settings.entering}) greater, or "
                      f"aim (now {settings.aim}) less")
    if settings.staying:
        wanted.append("all objects in view all the time: make it shorter, or the objects slower "
                      f"(speed is now {settings.speed}) or fewer")
    return f"In {MAX_CLIP_TRIES} tries no clip had {'; and '.join(wanted)}."


def is_eventful(settings: WorldSettings, objects: Sequence[WorldObject], motion: Motion) -> bool:
    """Whether all that must happen (see `WorldSettings.eventful`) happens."""
    distance = rays.distance_from_view(settings.camera, *settings.frame_size, motion.location)
    inside = distance < 0                                                           # [T, N]
    outside = distance > np.array([item.reach for item in objects])
    collides = any(inside[frame, [one - 1, other - 1]].all()
                   for frame, one, other in motion.collisions)
    crosses = (inside.any(axis=0) & outside[[0, -1]].any(axis=0)).any()
    return bool(collides and crosses and inside.any(axis=0).all())


def draw_frames(settings: WorldSettings, model: mujoco.MjModel, objects: Sequence[WorldObject],
                poses: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The frames uint8 [T, H, W, 3] and masks uint8 [T, H, W] of poses [T, 7*N]."""
    data, surfaces = mujoco.MjData(model), look(settings, objects)
    pictures = []
    for pose in poses:
        data.qpos[:] = pose
        mujoco.mj_kinematics(model, data)
        pictures.append(render.render(
            model, data, settings.camera, settings.light, surfaces, *settings.frame_size,
            settings.samples, settings.sky, settings.gamma))
    video, segmentation = zip(*pictures, strict=True)
    return np.stack(video), np.stack(segmentation)


def draw_objects(settings: WorldSettings, rng: np.random.Generator) -> tuple[WorldObject, ...]:
    """Draws the objects of a clip: how they look, where they start and where they head.

    Where no place is left for one, all are drawn anew, a few times.

    Raises:
      NoRoomError: if no free place is found.
      ValueError: if the looks run out.
    """
    for _ in range(MAX_ROOM_TRIES):
        try:
            return _try_objects(settings, rng)
        except NoRoomError as error:
            no_room = error
    raise no_room


def _try_objects(settings: WorldSettings, rng: np.random.Generator) -> tuple[WorldObject, ...]:
    count = int(rng.integers(settings.min_objects, settings.max_objects + 1))
    objects = []
    for shape, colour, material in draw_looks(settings, count, rng):
        size = rng.uniform(*settings.size) * (settings.box_scale if shape == "box" else 1.0)
        entering = bool(rng.random() < settings.entering) and len(objects) >= settings.min_in_view
        start = start_beyond_view if entering else start_in_view
        position, heading = start(settings, objects, size, rng)
        speed = rng.uniform(*(settings.entering_speed if entering else settings.speed))
        angle, lying = rng.uniform(0, 2 * np.pi), False
        if shape == "cylinder" and settings.lying and rng.random() < settings.lying:
            # It rolls where it heads, but for a small error.
            angle, lying = np.arctan2(heading[0], -heading[1]) + rng.normal(scale=0.2), True
        thrown = bool(settings.thrown and rng.random() < settings.thrown and entering
                      and shape != "sphere" and not lying)
        objects.append(WorldObject(
            shape, colour, material, float(size), tuple(position.tolist()),
            tuple((speed * heading).tolist()), float(angle), lying, thrown))
    return tuple(objects)


def draw_looks(settings: WorldSettings, count: int,
               rng: np.random.Generator) -> list[tuple[str, str, str]]:
    """Draws `count` of (shape, colour, material), alike or different as the settings say."""
    colours = [name for name, _ in settings.colours]
    materials = [material.name for material in settings.materials]
    # No number is drawn for what is not asked for: the clips of the other worlds stay the same.
    shared = bool(settings.shared_colour and rng.random() < settings.shared_colour)
    if shared or settings.repeated_looks:
        chosen = rng.integers(len(colours), size=1 if shared else count).tolist()
        return [(SHAPES[rng.integers(len(SHAPES))], colours[i],
                 materials[rng.integers(len(materials))])
                for i in (chosen * count if shared else chosen)]
    if settings.distinct_colours:
        if count > len(colours):
            raise ValueError(f"{count} objects of distinct colours were asked for, but there are "
                             f"only {len(colours)} colours.")
        return [(SHAPES[rng.integers(len(SHAPES))], colours[i],
                 materials[rng.integers(len(materials))])
                for i in rng.permutation(len(colours))[:count]]
    triples = [(shape, colour, material) for shape in SHAPES for colour in colours
               for material in materials]
    if count > len(triples):
        raise ValueError(f"{count} objects that differ in shape, colour or material were asked "
                         f"for, but there are only {len(triples)} such looks.")
    return [triples[i] for i in rng.permutation(len(triples))[:count]]


def start_in_view(settings: WorldSettings, others: Sequence[WorldObject], size: float,
                  rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """A free place on the floor and a heading towards the middle: float64 [2] each."""
    for _ in range(MAX_PLACEMENT_TRIES):
        position = np.array([rng.uniform(*settings.start_x), rng.uniform(*settings.start_y)])
        if _is_free(position, size, others):
            way = rng.normal(scale=settings.aim, size=2) - position
            return position, way / np.linalg.norm(way)
    raise NoRoomError(f"No free place was found for an object of half-size {size:.2f} beside "
                      f"{len(others)} others in {MAX_PLACEMENT_TRIES} tries: make start_x, start_y "
                      f"(now {settings.start_x}, {settings.start_y}) larger or the objects smaller "
                      "or fewer.")


def start_beyond_view(settings: WorldSettings, others: Sequence[WorldObject], size: float,
                      rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """A free place out of view, not far from its edge, and a heading into it: float64 [2] each."""
    way = np.arange(0.0, MAX_WAY, 0.1)
    for _ in range(MAX_PLACEMENT_TRIES):
        angle = rng.uniform(0, 2 * np.pi)
        heading = np.array([np.cos(angle), np.sin(angle)])
        target = rng.normal(scale=settings.aim, size=2)
        places = np.c_[target - way[:, None] * heading, np.full(len(way), size)]
        distance = rays.distance_from_view(settings.camera, *settings.frame_size, places)
        unseen = distance > 1.75 * size  # no shape reaches further than sqrt(3) half-sizes
        if unseen.any():
            further = way[np.argmax(unseen)] + rng.uniform(*settings.entering_distance)
            if _is_free(target - further * heading, size, others):
                return target - further * heading, heading
    raise NoRoomError(f"No free place was found beyond the edge of the view for an object of "
                      f"half-size {size:.2f} in {MAX_PLACEMENT_TRIES} tries: the edge must be less "
                      f"than {MAX_WAY} from the middle.")


def _is_free(position: np.ndarray, size: float, others: Sequence[WorldObject]) -> bool:
    """Whether an object at `position` touches no other, whichever way they are turned."""
    # Boxes reach furthest at their edges: sqrt(2) half-sizes from the centre.
    return all(np.linalg.norm(position - other.position) > 1.3 * (size + other.size)
               for other in others)


def build_model(settings: WorldSettings, objects: Sequence[WorldObject]) -> mujoco.MjModel:
    """The MuJoCo model: geom 0 is the floor, geom i+1 and free joint i are object i."""
    spec = mujoco.MjSpec()
    spec.option.timestep = settings.timestep
    spec.option.integrator = mujoco.mjtIntegrator.mjINT_IMPLICITFAST
    contact = {"solref": [0.015, 0.4]}
    floor = {"friction": [settings.friction, 0.005, 0.0001], **contact}
    bodies = {"friction": [settings.grip or settings.friction, 0.005, 0.0001], **contact}
    if settings.grip:
        floor["priority"] = 1  # its friction counts wherever it is touched
    spec.worldbody.add_geom(type=mujoco.mjtGeom.mjGEOM_PLANE, size=[50, 50, 1], **floor)
    for item in objects:
        half = item.angle / 2
        rotation = np.array([np.cos(half), 0, 0, np.sin(half)])
        if item.lying:  # first a quarter turn about y
            rotation = (rotation[[0, 3, 0, 3]] * [1, -1, 1, 1]) / np.sqrt(2)
        height = (1.5 if item.thrown else 1.0) * item.size
        body = spec.worldbody.add_body(pos=[*item.position, height], quat=rotation)
        body.add_freejoint()
        body.add_geom(type=getattr(mujoco.mjtGeom, f"mjGEOM_{item.shape.upper()}"),
                      size=item.half_extents, density=1000.0, **bodies)
    return spec.compile()


def place(model: mujoco.MjModel, data: mujoco.MjData, objects: Sequence[WorldObject]) -> None:
    """Sets the state to the start of the clip: places from the model, velocities of the objects.

    Spheres, lying cylinders and what is thrown roll from the start (their angular velocity is that
    of rolling without sliding).
    """
    mujoco.mj_resetData(model, data)
    velocity = data.qvel.reshape(len(objects), 6)
    for i, item in enumerate(objects):
        velocity[i, :2] = item.velocity
        if item.shape == "sphere" or item.thrown:
            # The angular velocity of a free joint is in the frame of the body.
            rolling = np.array([-item.velocity[1], item.velocity[0]]) / item.size
            cos, sin = np.cos(item.angle), np.sin(item.angle)
            velocity[i, 3:5] = [cos * rolling[0] + sin * rolling[1],
                                -sin * rolling[0] + cos * rolling[1]]
        elif item.lying:  # about its axis, which is z in its frame
            velocity[i, 5] = (np.cos(item.angle) * -item.velocity[1]
                              + np.sin(item.angle) * item.velocity[0]) / item.size


def look(settings: WorldSettings, objects: Sequence[WorldObject]) -> render.Surfaces:
    """The look of the floor (instance 0) and of the objects (instances 1..N)."""
    rgb = dict(settings.colours)
    kinds = {material.name: material for material in settings.materials}
    materials = [Material("floor")] + [kinds[item.material] for item in objects]
    colours = np.array([settings.ground] + [np.array(rgb[item.colour]) / 255 for item in objects],
                       np.float64)
    return render.Surfaces(
        albedo=colours * np.array([[material.diffuse] for material in materials]),
        specular=np.array([material.specular for material in materials]),
        shininess=np.array([material.shininess for material in materials]),
        instance=np.arange(len(objects) + 1, dtype=np.uint8),
        mirror=colours * np.array([[material.mirror] for material in materials]))
