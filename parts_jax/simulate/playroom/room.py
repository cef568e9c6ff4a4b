"""Rooms: which furniture and toys stand where."""

import dataclasses
import functools
from collections.abc import Callable, Sequence

import numpy as np

from parts_jax.simulate.playroom import furniture
from parts_jax.simulate.playroom.furniture import RoomObject, Shape

MAX_ROOM_TRIES = 100
MAX_PLACEMENT_TRIES = 60
# The headings of what stands with its back to the wall at +x, -x, +y, -y.
HEADINGS = (np.pi, 0.0, -np.pi / 2, np.pi / 2)
WALL_GAP = 0.03
DARKER = 0.65  # of a tone: so much of the colour


@dataclasses.dataclass(frozen=True)
class RoomSettings:
    """How large rooms are and what is in them.

    Attributes:
      edge: range of the two edges of the floor, in metres.
      height: of the ceiling, in metres.
      by_the_wall: range of the number of pieces of furniture along the walls.
      has_table: whether there is a table.
      chairs: range of the number of chairs beside the table; 0 where there is none.
      toys: range of the number of toys, all of different kinds.
      toy_kinds: the kinds to draw from; none: all of `furniture.TOYS`.
      toy_colours: names of colours, of which each toy of a room has another, its second a darker
        tone of it, without patterns; none: any two colours and patterns.
      toy_size: range of the size of toys, in metres.
      on_furniture: chance of a toy to stand on furniture where there is space, not on the floor.
    """

    edge: tuple[float, float] = (3.8, 4.8)
    height: float = 2.4
    by_the_wall: tuple[int, int] = (2, 3)
    has_table: bool = True
    chairs: tuple[int, int] = (0, 2)
    toys: tuple[int, int] = (6, 8)
    toy_kinds: tuple[str, ...] = ()
    toy_colours: tuple[str, ...] = ()
    toy_size: tuple[float, float] = (0.26, 0.4)
    on_furniture: float = 0.3


@dataclasses.dataclass(frozen=True)
class Room:
    """Half edges (x, y) of the floor, float64 [2], and the objects, furniture first."""

    half: np.ndarray
    objects: tuple[RoomObject, ...]

    def is_free(self, position: np.ndarray, clearance: float,
                from_toys: float | None = None) -> bool:
        """Whether a point (x, y) keeps clear of things by so many metres.

        Args:
          position: float [2].
          clearance: from walls and furniture.
          from_toys: from toys on the floor; None: they do not matter.
        """
        if np.any(np.abs(position) > self.half - clearance):
            return False
        for item in self.objects:
            least = from_toys if item.movable else clearance
            if least is not None and item.position[2] == 0:
                gap = np.maximum(np.abs(position - item.centre[:2]) - item.extent[:2], 0)
                if gap @ gap < least ** 2:
                    return False
        return True


def draw_room(settings: RoomSettings, rng: np.random.Generator) -> Room:
    """Draws a room.

    Raises:
      ValueError: if the objects find no place.
    """
    for _ in range(MAX_ROOM_TRIES):
        half = rng.uniform(*settings.edge, size=2) / 2
        objects = []
        if all(_placed(draw, half, objects, rng) for draw in _draw_plan(settings, rng)):
            return Room(half, tuple(objects))
    raise ValueError(
        f"The objects found no place in {MAX_ROOM_TRIES} rooms with edges of {settings.edge} "
        "metres: make the rooms larger, or the objects smaller or fewer.")


# Draws one object at a place that may be taken, given the room's half edges and what is there.
Draw = Callable[[np.ndarray, Sequence[RoomObject], np.random.Generator], RoomObject]


def _draw_plan(settings: RoomSettings, rng: np.random.Generator) -> list[Draw]:
    """What comes into a room, in this order."""
    makers = list(furniture.BY_THE_WALL)
    plan = [functools.partial(_by_the_wall, make=makers[i])
            for i in rng.permutation(len(makers))[:_count(settings.by_the_wall, rng)]]
    plan += [_table] * settings.has_table + [_chair] * _count(settings.chairs, rng)
    kinds = rng.permutation(sorted(settings.toy_kinds or furniture.TOYS))
    return plan + [functools.partial(_toy, kind=str(kind), settings=settings)
                   for kind in kinds[:_count(settings.toys, rng)]]


def _count(limits: tuple[int, int], rng: np.random.Generator) -> int:
    return int(rng.integers(limits[0], limits[1] + 1))


def _placed(draw: Draw, half: np.ndarray, objects: list[RoomObject],
            rng: np.random.Generator) -> bool:
    """Adds an object to `objects` at a place that is not taken; False if none was found."""
    for _ in range(MAX_PLACEMENT_TRIES):
        item = draw(half, objects, rng)
        inside = np.all(np.abs(item.position[:2]) + item.extent[:2] < half - 0.01)
        if inside and not any(_touch(item, other) for other in objects):
            objects.append(item)
            return True
    return False


def _touch(one: RoomObject, other: RoomObject) -> bool:
    """Whether the upright boxes about two objects come closer than they should."""
    if one.movable and not other.movable and one.position[2] > 0:
        return False  # a toy on a board: the boards of furniture lie inside its box
    gap = 0.02 if one.movable else 0.06
    return bool(np.all(np.abs(one.centre - other.centre) < one.extent + other.extent + gap))


def _by_the_wall(half: np.ndarray, objects: Sequence[RoomObject], rng: np.random.Generator,
                 make: Callable[[np.random.Generator], Shape]) -> RoomObject:
    shape = make(rng)
    wall = rng.integers(len(HEADINGS))
    heading = HEADINGS[wall]
    inward = np.array([np.cos(heading), np.sin(heading)])
    out = half[wall // 2] - shape.footprint[0] - WALL_GAP
    along = rng.uniform(-1, 1) * max(half[1 - wall // 2] - shape.footprint[1] - WALL_GAP, 0)
    position = -out * inward + along * np.abs(inward[::-1])
    return _furniture(make.__name__, shape, position, heading, rng)


def _table(half: np.ndarray, objects: Sequence[RoomObject],
           rng: np.random.Generator) -> RoomObject:
    make = (furniture.table, furniture.round_table)[rng.integers(2)]
    return _furniture(make.__name__, make(rng), rng.uniform(-0.7, 0.7, 2) * half,
                      rng.choice(HEADINGS) + rng.normal(scale=0.1), rng)


def _chair(half: np.ndarray, objects: Sequence[RoomObject],
           rng: np.random.Generator) -> RoomObject:
    """A chair at the table, which is the last piece of furniture that is no chair."""
    table = [item for item in objects if item.name.endswith("table")][-1]
    shape = furniture.chair(rng)
    side = rng.integers(4)
    away = np.array([np.cos(side * np.pi / 2), np.sin(side * np.pi / 2)])
    distance = np.abs(away) @ table.extent[:2] + shape.footprint[0] + rng.uniform(0.1, 0.25)
    place = table.centre[:2] + distance * away + rng.uniform(-0.15, 0.15) * away[::-1]
    return _furniture("chair", shape, place,
                      side * np.pi / 2 + np.pi + rng.normal(scale=0.15), rng)


def _furniture(name: str, shape: Shape, position: np.ndarray, yaw: float,
               rng: np.random.Generator) -> RoomObject:
    pattern = ("plain", "checks", "rings", "stripes")[rng.integers(4)]
    return _object(name, shape, furniture.FURNITURE_COLOURS, pattern, (*position, 0.0),
                   yaw, False, rng)


def _toy(half: np.ndarray, objects: Sequence[RoomObject], rng: np.random.Generator, kind: str,
         settings: RoomSettings) -> RoomObject:
    shape = furniture.scaled(furniture.TOYS[kind], rng.uniform(*settings.toy_size))
    yaw = rng.uniform(-np.pi, np.pi)
    position = np.array([*(np.clip(rng.normal(scale=0.5, size=2), -1, 1) * half), 0.0])
    if rng.random() < settings.on_furniture:
        seats = [(item, board) for item in objects for board in item.shape.boards
                 if board.clearance > shape.height and min(board.half) > 0.8 * max(shape.footprint)]
        if seats:
            item, board = seats[rng.integers(len(seats))]
            spare = np.array(board.half) - max(shape.footprint)
            place = rng.uniform(-1, 1, 2) * np.maximum(spare, 0)
            place[0] -= min(spare[0], 0)  # what juts out does so to the front, where no back is
            position = item.to_room(np.array(board.centre) + [*place, 0.005])
    pattern = furniture.TOY_PATTERNS[rng.integers(len(furniture.TOY_PATTERNS))]
    if not settings.toy_colours:
        return _object(kind, shape, furniture.TOY_COLOURS, pattern, tuple(position), yaw, True, rng)
    taken = {item.colours[0] for item in objects}
    palette = {name: furniture.TOY_COLOURS[name] for name in settings.toy_colours
               if name not in taken}
    toy = _object(kind, shape, palette, "plain", tuple(position), yaw, True, rng)
    darker = tuple(int(DARKER * number) for number in toy.rgb[0])
    return dataclasses.replace(toy, colours=(toy.colours[0],) * 2, rgb=(toy.rgb[0], darker))


def _object(name: str, shape: Shape, palette: dict, pattern: str, position: tuple, yaw: float,
            movable: bool, rng: np.random.Generator) -> RoomObject:
    names = sorted(palette)
    colours = tuple(names[i] for i in rng.permutation(len(names))[:2])
    return RoomObject(name, shape, colours, tuple(palette[colour] for colour in colours), pattern,
                      tuple(float(number) for number in position), float(yaw), movable)
