"""Still pictures of the solids of the collisions world at rest, after CLEVR.

There is no physics in them, as none is needed. Every solid stands upright on the floor, on its base
or lowest point: its centre is as high as half its height, and nothing would move. No two overlap:
each lies within the upright cylinder around its footprint's circumscribed circle, and these circles
(radius r for a sphere or cylinder of radius r, sqrt(2) h for a box of half edge h, whichever way it
is turned) are drawn at least `gap` apart.

`draw_still(settings, seed)` is a pure function: equal arguments give equal pictures, bit for bit.
"""

import dataclasses
from collections.abc import Sequence

import mujoco
import numpy as np

from parts_jax.simulate import rays, seeds, visibility
from parts_jax.simulate.clevrer import simulation, world_settings
from parts_jax.simulate.clevrer.simulation import SHAPES, NoRoomError, WorldObject
from parts_jax.simulate.clevrer.world_settings import WorldSettings

MATERIALS = ("rubber", "metal")
MAX_SCENE_TRIES = 2000
MAX_PLACEMENT_TRIES = 100


@dataclasses.dataclass(frozen=True)
class StillSettings:
    """Everything that decides how the pictures turn out, but the seed.

    Attributes:
      world: camera, lights, colours, materials, numbers of objects, and the part of the floor
        (`start_x`, `start_y`) where their centres are. Its `size` and motions are without effect.
      sizes: names and half-sizes to draw from, in world units; boxes have this times the world's
        `box_scale`.
      gap: least distance between the circles around two footprints, in world units.
      inside: least distance of a centre from the edge of the view, in half-sizes.
      min_pixels: scenes are drawn anew until every object has so many pixels of the mask.
    """

    world: WorldSettings
    sizes: tuple[tuple[str, float], ...]
    gap: float = 0.1
    inside: float = 0.5
    min_pixels: int = 1

    @property
    def num_frames(self) -> int:
        """Frames of an example: one."""
        return 1

    @property
    def frame_size(self) -> tuple[int, int]:
        """Height and width of the pictures, in pixels."""
        return self.world.frame_size


# CLEVR's camera (11.2 from the middle, 27 degrees up), turned about the vertical axis so that y
# leads away from it, and its sizes; the view is the middle of CLEVR's pictures as IODINE cuts it:
# 192 of 240 rows, whose 37.8 degrees become 30.7. The lamps are a little stronger than for clips,
# whose view is narrower, so that the floor is as bright as in CLEVR.
FULL = StillSettings(
    world=dataclasses.replace(
        world_settings.SMALL, resolution=128, num_frames=1, min_objects=3, max_objects=10,
        camera=rays.Camera(position=(0.0, -9.93, 5.12), target=(0.0, 0.0, 0.1), fov=30.7),
        box_scale=0.5 ** 0.5, repeated_looks=True, start_x=(-3.0, 3.0), start_y=(-3.6, 3.2),
        light=tuple(dataclasses.replace(light, fade=9.0) for light in world_settings.SMALL.light)),
    sizes=(("small", 0.35), ("large", 0.7)), gap=0.15, min_pixels=60)

CLEVR6 = dataclasses.replace(FULL, world=dataclasses.replace(FULL.world, max_objects=6))

# The look of the demo world of clips: few large objects of different, saturated colours.
SMALL = StillSettings(
    world=dataclasses.replace(world_settings.DEMO, num_frames=1, max_objects=4,
                              start_x=(-1.6, 1.6), start_y=(-1.1, 1.9)),
    sizes=(("small", 0.44), ("large", 0.6)), min_pixels=16)

TINY = dataclasses.replace(
    SMALL, world=dataclasses.replace(SMALL.world, resolution=16, samples=1), min_pixels=4)


def draw_still(settings: StillSettings, seed: Sequence[int]) -> dict:
    """Draws one picture.

    Args:
      settings: the world, and how objects stand in it.
      seed: non-negative integers that name the picture, such as (seed, split, number).

    Returns:
      A dict of
        video: uint8 [1, H, W, 3];
        segmentation: uint8 [1, H, W], 0 for background, 1..N the objects;
        objects: tuple of `WorldObject`, in the order of the ids;
        shape, colour, material, size: int32 [1, N], positions in `names(settings)`;
        position: float32 [1, N, 3], the centres of the objects in world units;
        visibility: float32 [1, N] in (0, 1], see `visibility.seen`.
      N is the most objects of the world; the rows of those that are not there are 0, which their
      visibility alone tells.

    Raises:
      ValueError: if no scene is found whose objects all find a place and are seen.
    """
    rng, world = seeds.generator(seed), settings.world
    for _ in range(MAX_SCENE_TRIES):
        try:
            objects, sizes = draw_objects(settings, rng)
        except NoRoomError:
            continue
        model = simulation.build_model(world, objects)
        data = mujoco.MjData(model)
        mujoco.mj_kinematics(model, data)
        instance = simulation.look(world, objects).instance
        mask, shares = visibility.seen(model, data, world.camera, instance, *world.frame_size,
                                       world.samples)
        if np.bincount(mask.ravel(), minlength=len(objects) + 1)[1:].min() >= settings.min_pixels:
            break
    else:
        raise ValueError(
            f"In {MAX_SCENE_TRIES} tries no scene had all of its {world.min_objects} to "
            f"{world.max_objects} objects apart by {settings.gap} and seen in "
            f"{settings.min_pixels} pixels or more: make start_x, start_y (now {world.start_x}, "
            f"{world.start_y}) larger, or the objects smaller or fewer, or min_pixels or gap less.")
    video, segmentation = simulation.draw_frames(world, model, objects, model.qpos0[None])
    found = factors(settings, objects, sizes) | {"visibility": shares}
    return {"video": video, "segmentation": segmentation, "objects": objects,
            **{key: _padded(values, world.max_objects)[None] for key, values in found.items()}}


def names(settings: StillSettings) -> dict[str, list[str]]:
    """What the numbers of `shape`, `colour`, `material` and `size` stand for, in their order."""
    return {"shape": list(SHAPES), "colour": [name for name, _ in settings.world.colours],
            "material": list(MATERIALS), "size": [name for name, _ in settings.sizes]}


def factors(settings: StillSettings, objects: Sequence[WorldObject],
            sizes: Sequence[int]) -> dict[str, np.ndarray]:
    """The factors of N objects, int32 [N] each, and `position`, float32 [N, 3]."""
    listed = names(settings)
    numbers = {key: np.array([listed[key].index(getattr(item, key)) for item in objects], np.int32)
               for key in ("shape", "colour", "material")}
    # Upright and on the floor: half the height is the half-size, whatever the shape.
    return numbers | {
        "size": np.array(sizes, np.int32),
        "position": np.array([[*item.position, item.size] for item in objects], np.float32)}


def _padded(values: np.ndarray, count: int) -> np.ndarray:
    """Rows of 0 after the rows there are: [N, ...] -> [count, ...]."""
    return np.pad(values, [(0, count - len(values))] + [(0, 0)] * (values.ndim - 1))


def draw_objects(settings: StillSettings,
                 rng: np.random.Generator) -> tuple[tuple[WorldObject, ...], list[int]]:
    """Draws N objects that stand apart, within the view, and the N numbers of their sizes.

    Raises:
      NoRoomError: if one finds no place beside the others.
      ValueError: if the looks run out.
    """
    world = settings.world
    count = int(rng.integers(world.min_objects, world.max_objects + 1))
    objects, sizes = [], []
    for shape, colour, material in simulation.draw_looks(world, count, rng):
        sizes.append(int(rng.integers(len(settings.sizes))))
        size = settings.sizes[sizes[-1]][1] * (world.box_scale if shape == "box" else 1.0)
        angle = float(rng.uniform(0, 2 * np.pi))
        for _ in range(MAX_PLACEMENT_TRIES):
            place = float(rng.uniform(*world.start_x)), float(rng.uniform(*world.start_y))
            item = WorldObject(shape, colour, material, size, place, (0.0, 0.0), angle)
            if _is_in_view(settings, item) and all(
                    clearance(item, other) >= settings.gap for other in objects):
                objects.append(item)
                break
        else:
            raise NoRoomError(f"No free place was found for object {len(objects) + 1} of {count}.")
    return tuple(objects), sizes


def footprint(item: WorldObject) -> float:
    """Radius of the circle around what an upright object covers of the floor, from above."""
    return item.size * (2 ** 0.5 if item.shape == "box" else 1.0)


def clearance(one: WorldObject, other: WorldObject) -> float:
    """The distance of the circles around two footprints; less than 0 where they overlap."""
    offset = np.subtract(one.position, other.position)
    return float(np.sqrt(offset @ offset)) - footprint(one) - footprint(other)


def _is_in_view(settings: StillSettings, item: WorldObject) -> bool:
    """Whether the centre of an object lies well within the picture."""
    distance = rays.distance_from_view(
        settings.world.camera, *settings.world.frame_size, np.array([*item.position, item.size]))
    return bool(distance <= -settings.inside * item.size)
