"""Balls of different masses in a box that bounce off each other and off its walls.

In the manner of the set of R-NEM (van Steenkiste et al., 2018), on which paper 003 (spatio-temporal
iterative inference) trains. The motion is exact: between two collisions it is along straight lines,
and when the next one comes, of which two balls or which ball and wall, has a closed form. Energy is
kept to rounding. Radii, masses and speeds of R-NEM's set are not stated; those here are our own.
"""

import dataclasses
from collections.abc import Sequence

import numpy as np

from parts_jax.simulate import seeds

# The first eight of ColorBrewer's "Paired"; the authors of paper 003 paint R-NEM's balls in them.
PALETTE = np.array([[166, 206, 227], [31, 120, 180], [178, 223, 138], [51, 160, 44],
                    [251, 154, 153], [227, 26, 28], [253, 191, 111], [255, 127, 0]], np.uint8)
COLOUR_NAMES = ("light blue", "blue", "light green", "green", "pink", "red", "light orange",
                "orange")
MOST_COVERED = 0.45  # of the box by the largest balls there may be; more may never find room
TRIES = 200          # places of a ball, before all are drawn anew


@dataclasses.dataclass(frozen=True)
class BallSettings:
    """A world of balls.

    Attributes:
      resolution: height and width in pixels.
      num_frames: of a clip (T).
      num_balls: of a clip, from ... to.
      num_colours: 0: white balls; otherwise the first so many of `PALETTE`, in an order that is
        drawn for each clip, again from the first where there are more balls.
      radii: from ... to, in widths of the box; drawn uniformly. Mass goes as the square.
      speed: standard deviation of both parts of a velocity, in widths of the box a frame.
    """

    resolution: int = 64
    num_frames: int = 51
    num_balls: tuple[int, int] = (4, 4)
    num_colours: int = 0
    radii: tuple[float, float] = (0.07, 0.13)
    speed: float = 0.02

    def __post_init__(self):
        least, most = self.num_balls
        small, large = self.radii
        if not (self.resolution >= 1 and self.num_frames >= 1 and 1 <= least <= most
                and 0 < small <= large < 0.5 and self.speed >= 0
                and 0 <= self.num_colours <= len(PALETTE)):
            raise ValueError(
                "A world of balls must have one pixel, frame and ball or more, radii above 0 and "
                "below half of the box, the second not below the first, a speed of 0 or more, and "
                f"0 to {len(PALETTE)} colours; got {self}.")
        if most > 1 and most * np.pi * large ** 2 > MOST_COVERED:
            raise ValueError(
                f"Balls may cover {MOST_COVERED} of their box at the most; got {most} of radius "
                f"{large}, which cover {most * np.pi * large ** 2:.2f}.")

    @property
    def frame_size(self) -> tuple[int, int]:
        """Height and width."""
        return self.resolution, self.resolution

    @property
    def max_balls(self) -> int:
        """N: the most that a clip may have."""
        return self.num_balls[1]


FOUR, CROWD = BallSettings(), BallSettings(num_balls=(6, 8))
TINY = BallSettings(resolution=16, num_frames=8, num_balls=(3, 3), num_colours=4)


def scene(world: BallSettings, seed: Sequence[int]) -> dict[str, np.ndarray]:
    """A clip, and what it was drawn from.

    Args:
      world: its settings.
      seed: non-negative integers that name the clip, such as (seed, split, clip).

    Returns:
      video: uint8 [T, H, W, 3], hard edges: a pixel is of the ball that its centre lies in;
      segmentation: uint8 [T, H, W], 0 for background, 1..N the balls;
      colour: int32 [T, N], positions in `PALETTE`; -1: white;
      position: float32 [T, N, 2], y and x of the centres in pixels: (0, 0) is that of a pixel;
      velocity: float32 [T, N, 2], y and x, in pixels a frame;
      radius: float32 [T, N], in pixels; 0 for balls that are not there, whose other numbers are 0.
    """
    rng, size = seeds.generator(seed), world.resolution
    count = int(rng.integers(world.num_balls[0], world.num_balls[1] + 1))
    radius, places = place(rng, world, count)
    velocities = rng.normal(0, world.speed, (count, 2))
    order = rng.permutation(world.num_colours)
    colour = np.resize(order, count) if world.num_colours else np.full(count, -1)

    states = [(places, velocities)]
    while len(states) < world.num_frames:
        states.append(bounce(*states[-1], radius, radius ** 2, duration=1.0))
    position, velocity = (size * np.stack(parts) for parts in zip(*states, strict=True))
    ids = draw(position, size * radius, size)
    rgb = np.where(colour[:, None] < 0, np.uint8(255), PALETTE[colour])
    palette = np.concatenate([np.zeros((1, 3), np.uint8), rgb])
    there = lambda numbers, dtype: np.concatenate([numbers, np.zeros(
        (world.num_frames, world.max_balls - count, *numbers.shape[2:]))], axis=1).astype(dtype)
    in_time = lambda numbers: np.repeat(numbers[None], world.num_frames, 0)
    return {"video": palette[ids], "segmentation": ids,
            "colour": there(in_time(colour), np.int32),
            "position": there(position - 0.5, np.float32),
            "velocity": there(velocity, np.float32),
            "radius": there(in_time(size * radius), np.float32)}


def place(rng: np.random.Generator, world: BallSettings,
          count: int) -> tuple[np.ndarray, np.ndarray]:
    """Radii [N] and places [N, 2] in the box, [0, 1]^2, of balls that do not overlap."""
    while True:
        radius, places = rng.uniform(*world.radii, count), np.zeros((0, 2))
        for i in range(count):
            tried = rng.uniform(radius[i], 1 - radius[i], (TRIES, 2))
            apart = np.linalg.norm(tried[:, None] - places[None], axis=-1) > radius[:i] + radius[i]
            free = np.flatnonzero(apart.all(axis=1))
            if not len(free):
                break
            places = np.concatenate([places, tried[free[:1]]])
        if len(places) == count:
            return radius, places


def bounce(position: np.ndarray, velocity: np.ndarray, radius: np.ndarray, mass: np.ndarray,
           duration: float) -> tuple[np.ndarray, np.ndarray]:
    """Balls in the box [0, 1]^2 after some time, from collision to collision.

    Args:
      position: of centres, [N, 2].
      velocity: the same, in widths of the box a unit of time.
      radius, mass: [N].
      duration: in units of time.

    Returns:
      Position and velocity.
    """
    position, velocity, left = position.copy(), velocity.copy(), duration
    while True:
        of_walls = times_of_walls(position, velocity, radius)
        of_pairs = times_of_pairs(position, velocity, radius)
        until = min(of_walls.min(), of_pairs.min())
        if until >= left:
            return position + left * velocity, velocity
        position, left = position + until * velocity, left - until
        if of_walls.min() <= of_pairs.min():
            ball, axis = np.unravel_index(of_walls.argmin(), of_walls.shape)
            velocity[ball, axis] *= -1
        else:
            collide(*np.unravel_index(of_pairs.argmin(), of_pairs.shape), position, velocity, mass)


def times_of_walls(position: np.ndarray, velocity: np.ndarray, radius: np.ndarray) -> np.ndarray:
    """When each ball hits a wall along each axis, [N, 2]; infinite if never."""
    room = np.where(velocity > 0, 1 - radius[:, None] - position, position - radius[:, None])
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(velocity == 0, np.inf, np.maximum(room, 0) / np.abs(velocity))


def times_of_pairs(position: np.ndarray, velocity: np.ndarray, radius: np.ndarray) -> np.ndarray:
    """When each two balls hit each other, [N, N]; infinite if never, and of those that part.

    The first root of |p + t v|^2 = (r_i + r_j)^2, for p and v of one ball as seen from the other.
    """
    p, v = (numbers[:, None] - numbers[None] for numbers in (position, velocity))
    a, b = (v * v).sum(-1), (p * v).sum(-1)
    gap = (p * p).sum(-1) - (radius[:, None] + radius[None]) ** 2
    discriminant = b * b - a * gap
    with np.errstate(divide="ignore", invalid="ignore"):
        time = np.maximum(gap, 0) / (-b + np.sqrt(np.maximum(discriminant, 0)))
    return np.where((b < 0) & (discriminant > 0), time, np.inf)


def collide(i: int, j: int, position: np.ndarray, velocity: np.ndarray, mass: np.ndarray) -> None:
    """Two balls that touch exchange momentum along the line of their centres; velocity changes."""
    normal = position[i] - position[j]
    normal = normal / np.linalg.norm(normal)
    approach = (velocity[i] - velocity[j]) @ normal
    impulse = 2 * approach / (1 / mass[i] + 1 / mass[j]) * normal
    velocity[i] -= impulse / mass[i]
    velocity[j] += impulse / mass[j]


def draw(position: np.ndarray, radius: np.ndarray, size: int) -> np.ndarray:
    """Ids of the balls that pixels' centres lie in, 0 for none: uint8 [T, size, size].

    Args:
      position: in pixels from the corner of the picture, [T, N, 2].
      radius: in pixels, [N].
      size: height and width.
    """
    ids, centre = np.zeros((len(position), size, size), np.uint8), np.arange(size) + 0.5
    for i, r in enumerate(radius):
        y, x = (np.square(centre - position[:, i, axis, None]) for axis in (0, 1))
        ids[y[:, :, None] + x[:, None, :] < r * r] = i + 1
    return ids
