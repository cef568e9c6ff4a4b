"""What stands in the playroom: the shapes of furniture and toys, and where they are put.

Lengths are metres. Every object has a frame of its own: the origin in the middle of its underside,
x to its front, z up.
"""

import dataclasses

import numpy as np

TOY_COLOURS = {
    "red": (214, 40, 40), "orange": (244, 130, 30), "yellow": (250, 208, 40),
    "lime": (150, 205, 50), "green": (38, 150, 70), "teal": (25, 160, 160),
    "azure": (70, 165, 235), "blue": (38, 70, 200), "purple": (125, 60, 180),
    "pink": (240, 110, 170), "white": (238, 236, 228), "brown": (135, 85, 50),
}
FURNITURE_COLOURS = {
    "oak": (190, 140, 85), "walnut": (105, 66, 42), "birch": (222, 196, 152),
    "white": (232, 230, 224), "grey": (120, 124, 130), "blue": (76, 110, 160),
    "green": (98, 145, 105), "red": (170, 62, 58), "mustard": (208, 164, 62),
    "plum": (110, 70, 115),
}
# Parts that look alike on every object of a kind.
FIXED_COLOURS = {
    "black": (38, 38, 42), "silver": (185, 188, 192), "beak": (246, 140, 28),
    "glass": (160, 205, 235), "linen": (240, 238, 230), "leaf": (52, 125, 58),
    "clay": (178, 98, 66), "glow": (252, 236, 190),
}
TOY_PATTERNS = ("plain", "plain", "plain", "rings", "checks", "dots")


@dataclasses.dataclass(frozen=True)
class Part:
    """One geom of an object.

    Attributes:
      kind: "box", "sphere", "cylinder", "capsule" or "ellipsoid".
      size: MuJoCo's size numbers: half edges, radius (and half length), half axes.
      position: its centre in the frame of the object.
      colour: "main" or "second", which the object has, or a key of `FIXED_COLOURS`.
      turn: rotations about the object's x, y and z, in degrees, in this order.
      patterned: whether it bears the object's pattern, in its second colour.
    """

    kind: str
    size: tuple[float, ...]
    position: tuple[float, float, float]
    colour: str = "main"
    turn: tuple[float, float, float] = (0.0, 0.0, 0.0)
    patterned: bool = False


@dataclasses.dataclass(frozen=True)
class Board:
    """A level part of a piece of furniture that carries toys.

    `centre` (x, y, z) and half edges `half` (x, y) are in the frame of the furniture;
    `clearance` is the free height above it.
    """

    centre: tuple[float, float, float]
    half: tuple[float, float]
    clearance: float = 9.0


@dataclasses.dataclass(frozen=True)
class Shape:
    """Parts, half edges (x, y) of the footprint, height, and boards of an object."""

    parts: tuple[Part, ...]
    footprint: tuple[float, float]
    height: float
    boards: tuple[Board, ...] = ()


@dataclasses.dataclass(frozen=True)
class RoomObject:
    """A whole object of the room, which has one id however many parts it has.

    Attributes:
      name: what it is, such as "table" or "duck".
      shape: its shape, in metres.
      colours: names of its main and second colour.
      rgb: RGB of the two, each in 0..255.
      pattern: pattern of its patterned parts.
      position: of the origin of its frame in the room.
      yaw: heading of its x axis, in radians.
      movable: whether it is a toy, which moves when it is bumped into.
    """

    name: str
    shape: Shape
    colours: tuple[str, str]
    rgb: tuple[tuple[int, int, int], tuple[int, int, int]]
    pattern: str
    position: tuple[float, float, float]
    yaw: float
    movable: bool

    @property
    def extent(self) -> np.ndarray:
        """Half edges float64 [3] of the box about it along the axes of the room."""
        cos, sin = abs(np.cos(self.yaw)), abs(np.sin(self.yaw))
        x, y = self.shape.footprint
        return np.array([cos * x + sin * y, sin * x + cos * y, self.shape.height / 2])

    @property
    def centre(self) -> np.ndarray:
        """The middle of that box, float64 [3]."""
        return np.add(self.position, (0, 0, self.shape.height / 2))

    def to_room(self, point: np.ndarray) -> np.ndarray:
        """A point [3] of its frame in the frame of the room."""
        cos, sin = np.cos(self.yaw), np.sin(self.yaw)
        return self.position + np.array([cos * point[0] - sin * point[1],
                                         sin * point[0] + cos * point[1], point[2]])


# --- toys, of about unit size ---


def _axle(x: float, radius: float = 0.15, half_length: float = 0.3) -> Part:
    return Part("cylinder", (radius, half_length), (x, 0, radius), "black", (90, 0, 0))


TOYS: dict[str, Shape] = {
    "ball": Shape((Part("sphere", (0.5,), (0, 0, 0.5), patterned=True),), (0.5, 0.5), 1.0),
    "cube": Shape((Part("box", (0.42,) * 3, (0, 0, 0.42), patterned=True),), (0.42, 0.42), 0.84),
    "drum": Shape((Part("cylinder", (0.45, 0.26), (0, 0, 0.3), patterned=True),
                   Part("cylinder", (0.47, 0.05), (0, 0, 0.05), "second"),
                   Part("cylinder", (0.47, 0.05), (0, 0, 0.6), "second")), (0.47, 0.47), 0.65),
    "duck": Shape((Part("ellipsoid", (0.46, 0.34, 0.3), (0, 0, 0.3)),
                   Part("sphere", (0.25,), (0.24, 0, 0.72)),
                   Part("ellipsoid", (0.16, 0.13, 0.06), (0.5, 0, 0.7), "beak"),
                   Part("ellipsoid", (0.2, 0.16, 0.08), (-0.42, 0, 0.46), turn=(0, 35, 0))),
                  (0.66, 0.36), 0.97),
    "robot": Shape((Part("box", (0.18, 0.3, 0.28), (0, 0, 0.58), patterned=True),
                    Part("box", (0.17, 0.2, 0.16), (0, 0, 1.03), "second"),
                    Part("box", (0.03, 0.15, 0.05), (0.17, 0, 1.06), "black"),
                    Part("box", (0.17, 0.1, 0.15), (0, 0.17, 0.15), "second"),
                    Part("box", (0.17, 0.1, 0.15), (0, -0.17, 0.15), "second"),
                    Part("capsule", (0.08, 0.38), (0, 0, 0.7), "silver", (90, 0, 0))),
                   (0.2, 0.46), 1.19),
    "car": Shape((Part("box", (0.58, 0.28, 0.15), (0, 0, 0.27)),
                  Part("box", (0.3, 0.24, 0.13), (-0.08, 0, 0.54), "glass"),
                  Part("box", (0.27, 0.25, 0.03), (-0.08, 0, 0.69)),
                  _axle(0.35), _axle(-0.35)), (0.58, 0.32), 0.72),
    "truck": Shape((Part("box", (0.36, 0.3, 0.27), (-0.24, 0, 0.5), "second"),
                    Part("box", (0.2, 0.27, 0.24), (0.38, 0, 0.44)),
                    Part("box", (0.03, 0.22, 0.1), (0.57, 0, 0.5), "glass"),
                    _axle(0.35), _axle(-0.35)), (0.6, 0.32), 0.77),
    "train": Shape((Part("box", (0.6, 0.26, 0.07), (0, 0, 0.22), "second"),
                    Part("cylinder", (0.22, 0.36), (0.18, 0, 0.48), "main", (0, 90, 0)),
                    Part("box", (0.2, 0.25, 0.33), (-0.38, 0, 0.6)),
                    Part("cylinder", (0.08, 0.16), (0.38, 0, 0.8), "black"),
                    _axle(0.33), _axle(-0.35)), (0.6, 0.32), 0.96),
    "rocket": Shape((Part("cylinder", (0.22, 0.42), (0, 0, 0.56), patterned=True),
                     Part("ellipsoid", (0.22, 0.22, 0.36), (0, 0, 0.98), "second"),
                     Part("box", (0.42, 0.03, 0.2), (0, 0, 0.2), "second"),
                     Part("box", (0.03, 0.42, 0.2), (0, 0, 0.2), "second")), (0.42, 0.42), 1.34),
    "teddy": Shape((Part("ellipsoid", (0.3, 0.32, 0.36), (0, 0, 0.36)),
                    Part("sphere", (0.25,), (0.03, 0, 0.85)),
                    Part("sphere", (0.11,), (0, 0.2, 1.05)),
                    Part("sphere", (0.11,), (0, -0.2, 1.05)),
                    Part("ellipsoid", (0.12, 0.11, 0.1), (0.23, 0, 0.8), "second"),
                    Part("capsule", (0.11, 0.36), (0.14, 0, 0.55), "main", (90, 0, 0)),
                    Part("capsule", (0.13, 0.2), (0.3, 0, 0.13), "second", (90, 0, 0))),
                   (0.43, 0.47), 1.16),
    "rings": Shape((Part("cylinder", (0.46, 0.12), (0, 0, 0.12)),
                    Part("cylinder", (0.37, 0.12), (0, 0, 0.36), "second"),
                    Part("cylinder", (0.28, 0.12), (0, 0, 0.6)),
                    Part("sphere", (0.2,), (0, 0, 0.86), "second")), (0.46, 0.46), 1.06),
    "house": Shape((Part("box", (0.4, 0.36, 0.27), (0, 0, 0.27)),
                    Part("box", (0.46, 0.29, 0.29), (0, 0, 0.52), "second", (45, 0, 0)),
                    Part("box", (0.03, 0.11, 0.16), (0.39, 0, 0.16), "linen")),
                   (0.46, 0.42), 0.93),
    "plane": Shape((Part("capsule", (0.15, 0.48), (0, 0, 0.3), "main", (0, 90, 0)),
                    Part("box", (0.15, 0.62, 0.04), (0.1, 0, 0.26), "second"),
                    Part("box", (0.1, 0.25, 0.03), (-0.5, 0, 0.34), "second"),
                    Part("box", (0.1, 0.03, 0.15), (-0.5, 0, 0.5), "second"),
                    Part("box", (0.12, 0.12, 0.1), (0.2, 0, 0.1), "black")), (0.63, 0.62), 0.65),
    "mug": Shape((Part("cylinder", (0.34, 0.4), (0, 0, 0.4), patterned=True),
                  Part("cylinder", (0.3, 0.01), (0, 0, 0.8), "black"),
                  Part("box", (0.12, 0.06, 0.24), (0.42, 0, 0.42))), (0.54, 0.34), 0.81),
}


def scaled(shape: Shape, scale: float) -> Shape:
    """A shape, `scale` times as large."""
    parts = tuple(dataclasses.replace(
        part, size=tuple(scale * number for number in part.size),
        position=tuple(scale * number for number in part.position)) for part in shape.parts)
    return Shape(parts, tuple(scale * half for half in shape.footprint), scale * shape.height)


# --- furniture, of drawn proportions ---


def _legs(kind: str, x: float, y: float, radius: float, height: float,
          colour: str = "main") -> tuple[Part, ...]:
    """Four legs at (+-x, +-y); square ones where `kind` is box."""
    size = (radius, radius, height / 2) if kind == "box" else (radius, height / 2)
    return tuple(Part(kind, size, (sx * x, sy * y, height / 2), colour)
                 for sx in (-1, 1) for sy in (-1, 1))


def table(rng: np.random.Generator) -> Shape:
    """A low table with four legs."""
    x, y, height = rng.uniform(0.32, 0.42), rng.uniform(0.45, 0.65), rng.uniform(0.4, 0.5)
    top = Part("box", (x, y, 0.03), (0, 0, height - 0.03), patterned=True)
    return Shape((top, *_legs("box", x - 0.07, y - 0.07, 0.035, height - 0.06, "second")), (x, y),
                 height, (Board((0, 0, height), (x, y)),))


def round_table(rng: np.random.Generator) -> Shape:
    """A round table on one foot."""
    radius, height = rng.uniform(0.4, 0.52), rng.uniform(0.42, 0.52)
    return Shape((Part("cylinder", (radius, 0.03), (0, 0, height - 0.03)),
                  Part("cylinder", (0.06, height / 2 - 0.03), (0, 0, height / 2 - 0.03), "second"),
                  Part("cylinder", (0.25, 0.02), (0, 0, 0.02), "second")), (radius, radius), height,
                 (Board((0, 0, height), (0.7 * radius, 0.7 * radius)),))


def chair(rng: np.random.Generator) -> Shape:
    """A child's chair."""
    half, seat = rng.uniform(0.17, 0.2), rng.uniform(0.27, 0.33)
    return Shape((Part("box", (half, half, 0.025), (0, 0, seat), "second"),
                  Part("box", (0.02, half, 0.17), (0.02 - half, 0, seat + 0.19)),
                  *_legs("cylinder", half - 0.03, half - 0.03, 0.022, seat)), (half, half),
                 seat + 0.36)


def bed(rng: np.random.Generator) -> Shape:
    """A bed, its head to the wall behind it."""
    length, half, height = rng.uniform(0.75, 0.9), rng.uniform(0.4, 0.48), rng.uniform(0.3, 0.38)
    return Shape((Part("box", (length, half, 0.07), (0, 0, 0.17)),
                  Part("box", (0.03, half, 0.36), (0.03 - length, 0, 0.36)),
                  Part("box", (0.03, half, 0.22), (length - 0.03, 0, 0.22)),
                  Part("box", (length - 0.06, half - 0.03, height / 2 - 0.1),
                       (0, 0, height / 2 + 0.1), "linen"),
                  Part("box", (0.66 * length, half, height / 2 - 0.08),
                       (0.3 * length - 0.03, 0, height / 2 + 0.1), "second", patterned=True),
                  Part("ellipsoid", (0.17, 0.8 * half, 0.08), (0.28 - length, 0, height + 0.03),
                       "linen")),
                 (length, half), 0.72, (Board((0.15, 0, height + 0.02), (0.45, half - 0.05)),))


def shelf(rng: np.random.Generator) -> Shape:
    """An open shelf with its back to the wall."""
    depth, half, gap = 0.15, rng.uniform(0.4, 0.6), rng.uniform(0.33, 0.4)
    floors = int(rng.integers(2, 4))
    height = 0.06 + floors * gap
    boards = [Part("box", (depth, half, 0.015), (0, 0, 0.045 + gap * i))
              for i in range(floors + 1)]
    sides = [Part("box", (depth, 0.015, height / 2), (0, side * half, height / 2))
             for side in (-1, 1)]
    back = Part("box", (0.01, half, height / 2), (0.01 - depth, 0, height / 2), "second")
    return Shape((back, *sides, *boards), (depth, half + 0.015), height,
                 tuple(Board((0.01, 0, 0.06 + gap * i), (depth - 0.01, half - 0.03),
                             gap - 0.04 if i < floors else 9.0) for i in range(floors + 1)))


def chest(rng: np.random.Generator) -> Shape:
    """A chest with two drawers."""
    depth, half, height = 0.2, rng.uniform(0.32, 0.45), rng.uniform(0.5, 0.65)
    fronts = [Part("box", (0.012, half - 0.04, 0.21 * height), (depth, 0, share * height), "second")
              for share in (0.26, 0.73)]
    knobs = [Part("sphere", (0.025,), (depth + 0.02, 0, share * height), "black")
             for share in (0.26, 0.73)]
    body = Part("box", (depth, half, height / 2), (0, 0, height / 2))
    return Shape((body, *fronts, *knobs), (depth + 0.045, half), height,
                 (Board((0, 0, height), (depth, half)),))


def armchair(rng: np.random.Generator) -> Shape:
    """An upholstered chair with its back to the wall."""
    half = rng.uniform(0.3, 0.38)
    arms = [Part("box", (0.3, 0.07, 0.22), (0.02, side * half, 0.22)) for side in (-1, 1)]
    return Shape((Part("box", (0.3, half - 0.05, 0.12), (0, 0, 0.14)),
                  Part("box", (0.27, half - 0.07, 0.05), (0.05, 0, 0.31), "second", patterned=True),
                  Part("box", (0.08, half, 0.36), (-0.24, 0, 0.38), "main", (0, -8, 0)), *arms),
                 (0.37, half + 0.07), 0.74, (Board((0.1, 0, 0.36), (0.2, half - 0.1)),))


def lamp(rng: np.random.Generator) -> Shape:
    """A standing lamp."""
    height = rng.uniform(0.95, 1.2)
    return Shape((Part("cylinder", (0.15, 0.02), (0, 0, 0.02), "second"),
                  Part("cylinder", (0.02, height / 2), (0, 0, height / 2), "second"),
                  Part("cylinder", (0.19, 0.15), (0, 0, height), "glow")), (0.19, 0.19),
                 height + 0.15)


def plant(rng: np.random.Generator) -> Shape:
    """A plant in a pot."""
    height = rng.uniform(0.55, 0.8)
    leaves = [Part("ellipsoid", (0.09, 0.05, 0.45 * height),
                   (0.09 * np.cos(angle), 0.09 * np.sin(angle), 0.25 + 0.4 * height), "leaf",
                   (-25 * np.sin(angle), 25 * np.cos(angle), 0))
              for angle in 2 * np.pi * np.arange(4) / 4 + rng.uniform(0, 1)]
    return Shape((Part("cylinder", (0.16, 0.15), (0, 0, 0.15), "clay"), *leaves), (0.26, 0.26),
                 0.25 + 0.83 * height)


BY_THE_WALL = (bed, shelf, chest, armchair, lamp, plant)
