"""Pictures of flat sprites that cover each other, in the manner of Multi-dSprites.

Greff et al., "Multi-Object Representation Learning with Iterative Variational Inference" (2019),
appendix A.2, and the README of https://github.com/google-deepmind/multi_object_datasets: squares,
ellipses and hearts of continuous scale, place and angle. How large sprites are, neither says.
Edges are hard, as those of dSprites: a pixel belongs to the sprite on top at its centre, so masks
and colours agree exactly.
"""

import colorsys
import dataclasses
import math
from collections.abc import Sequence

import numpy as np

from parts_jax.simulate import seeds

SHAPES = ("square", "ellipse", "heart")  # their positions are the numbers that `shape` has
BACKGROUNDS = ("black", "grey", "coloured")
COLOURS = ("white", "uniform", "saturated")
ELLIPSE_RATIO = 2.0  # of its axes
# The heart is (x^2 + y^2 - 1)^3 <= x^2 y^3: its area, and the y of its centre of mass.
HEART_AREA, HEART_CENTRE = 3.661973, 0.293481
# Of a circle around any shape of area 1: half of the ellipse's longer axis.
RADIUS = math.sqrt(ELLIPSE_RATIO / math.pi)


@dataclasses.dataclass(frozen=True)
class SpriteSettings:
    """A world of sprites.

    Attributes:
      resolution: height and width in pixels.
      min_sprites: fewest of a picture.
      max_sprites: most (N).
      extent: root of the area of a sprite of scale 1, in pixels.
      scale: least and greatest scale.
      background: "black"; "grey", of any brightness; "coloured", of any colour.
      colours: of sprites: "white"; "uniform", any RGB; "saturated", any hue, saturation and value
        of .5 to 1.
      min_pixels: of each sprite at least so many are seen.
    """

    resolution: int = 64
    min_sprites: int = 2
    max_sprites: int = 5
    extent: float = 20.0
    scale: tuple[float, float] = (0.5, 1.0)  # that of dSprites
    background: str = "grey"
    colours: str = "saturated"
    min_pixels: int = 36

    num_frames = 1  # of a clip: a still

    def __post_init__(self):
        if not 1 <= self.min_sprites <= self.max_sprites <= 255:
            raise ValueError("A picture must have 1 to 255 sprites, at least min_sprites; got "
                             f"min_sprites {self.min_sprites}, max_sprites {self.max_sprites}.")
        for name, allowed in (("background", BACKGROUNDS), ("colours", COLOURS)):
            if getattr(self, name) not in allowed:
                raise ValueError(f"The {name} of sprites must be one of {', '.join(allowed)}; got "
                                 f"{getattr(self, name)!r}.")
        low, high = self.scale
        if not 0 < low <= high or 2 * RADIUS * high * self.extent > self.resolution:
            raise ValueError(
                "Scales of sprites must be above 0, in order, and the largest ellipse, of "
                f"{2 * RADIUS:.3f} x scale x extent pixels, must fit into the picture; got scale "
                f"{self.scale}, extent {self.extent}, resolution {self.resolution}.")
        # The smallest must have them with room to spare, or the draws of `scene` might never end.
        if not 1 <= self.min_pixels <= 0.8 * (low * self.extent) ** 2:
            raise ValueError(
                "The least number of pixels of a sprite must be 1 to four fifths of the smallest "
                f"sprite's {(low * self.extent) ** 2:.1f}; got {self.min_pixels}.")

    @property
    def frame_size(self) -> tuple[int, int]:
        """Height and width."""
        return self.resolution, self.resolution


COLOURED_ON_GREY = SpriteSettings()
COLOURED_ON_COLOURED = SpriteSettings(min_sprites=1, max_sprites=4, background="coloured",
                                      colours="uniform")
BINARY = SpriteSettings(min_sprites=2, max_sprites=3, background="black", colours="white")
DEMO = SpriteSettings(resolution=32, max_sprites=4, extent=10.0, scale=(0.6, 1.0),
                      colours="uniform", min_pixels=25)
CROWD = dataclasses.replace(DEMO, min_sprites=5, max_sprites=6)
TINY = SpriteSettings(resolution=16, max_sprites=3, extent=6.0, scale=(0.7, 1.0),
                      colours="uniform", min_pixels=10)


def inside(shape: str, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Whether points lie in a shape of area 1 around its centre of mass.

    Args:
      shape: one of `SHAPES`.
      x: to the right, float64.
      y: up, float64 of the same shape.

    Returns:
      bool of that shape.

    Raises:
      ValueError: if there is no such shape.
    """
    if shape == "square":
        return np.maximum(np.abs(x), np.abs(y)) <= 0.5
    if shape == "ellipse":
        return x ** 2 / ELLIPSE_RATIO + y ** 2 * ELLIPSE_RATIO <= 1 / math.pi
    if shape == "heart":
        x, y = x * math.sqrt(HEART_AREA), y * math.sqrt(HEART_AREA) + HEART_CENTRE
        return (x ** 2 + y ** 2 - 1) ** 3 <= x ** 2 * y ** 3
    raise ValueError(f"A shape must be one of {', '.join(SHAPES)}; got {shape!r}.")


def outline(resolution: int, shape: str, extent: float, orientation: float,
            position: Sequence[float]) -> np.ndarray:
    """The pixels whose centres lie in a sprite: bool [resolution, resolution].

    Args:
      resolution: height and width.
      shape: one of `SHAPES`.
      extent: root of its area in pixels.
      orientation: its turn, counterclockwise as it is seen, in radians.
      position: y (down) and x of its centre, in indices of pixels.
    """
    rows, columns = np.mgrid[:resolution, :resolution]
    right, up = (columns - position[1]) / extent, (position[0] - rows) / extent
    cos, sin = math.cos(orientation), math.sin(orientation)
    return inside(shape, cos * right + sin * up, cos * up - sin * right)


def scene(world: SpriteSettings, seed: Sequence[int]) -> dict[str, np.ndarray]:
    """A picture, as a clip of one frame, and what it was drawn from.

    Uniform are the number of sprites, and of each sprite shape, scale, angle, and the place among
    those where all of it would be in the picture whatever its shape and angle. Each lies on top of
    those before it. Where one would have fewer than `min_pixels`, all are drawn anew, their number
    excepted.

    Args:
      world: its settings.
      seed: non-negative integers that name the picture, such as (seed, split, clip).

    Returns:
      video: uint8 [1, H, W, 3];
      segmentation: uint8 [1, H, W], 0 for background, then the sprites from 1, the last on top;
      shape: int32 [1, N], positions in `SHAPES`;
      colour: float32 [1, N, 3], RGB in [0, 1];
      scale: float32 [1, N];
      orientation: float32 [1, N], in [0, 2 pi], counterclockwise; squares look the same after
        a quarter of a turn, ellipses after a half;
      position: float32 [1, N, 2], y (down) and x of the centre in indices of pixels;
      visibility: float32 [1, N], the share of a sprite's pixels that no other covers;
      background: float32 [1, 3], RGB in [0, 1].
    Sprites that a picture does not have are 0 in all arrays.
    """
    rng = seeds.generator(seed)
    backdrop = _background(world, rng)
    count = rng.integers(world.min_sprites, world.max_sprites + 1)
    while True:
        sprites = _draw(world, count, rng)
        ids = np.zeros(world.frame_size, np.uint8)
        for i, pixels in enumerate(sprites["pixels"]):
            ids[pixels] = i + 1
        seen = np.bincount(ids.ravel(), minlength=count + 1)[1:]
        if seen.min() >= world.min_pixels:
            break
    rgb = np.array([_colour(world, rng) for _ in range(count)], np.uint8)
    sprites["colour"] = rgb / 255
    sprites["visibility"] = seen / np.array([pixels.sum() for pixels in sprites.pop("pixels")])
    clip = {"video": np.concatenate([backdrop[None], rgb])[ids][None], "segmentation": ids[None],
            "background": (backdrop / 255).astype(np.float32)[None]}
    for name, values in sprites.items():
        padded = np.zeros((1, world.max_sprites, *values.shape[1:]),
                          np.int32 if name == "shape" else np.float32)
        padded[0, :len(values)] = values
        clip[name] = padded
    return clip


def _draw(world: SpriteSettings, count: int, rng: np.random.Generator) -> dict:
    """Sprites without colours: arrays as in `scene`, [count, ...], and their `pixels`, bool."""
    shape = rng.integers(len(SHAPES), size=count)
    scale = rng.uniform(*world.scale, size=count)
    orientation = rng.uniform(0, 2 * math.pi, size=count)
    margin = RADIUS * world.extent * scale[:, None] - 0.5  # the picture begins at -.5
    position = margin + rng.random((count, 2)) * (world.resolution - 1 - 2 * margin)
    pixels = [outline(world.resolution, SHAPES[shape[i]], world.extent * scale[i], orientation[i],
                      position[i]) for i in range(count)]
    return {"shape": shape, "scale": scale, "orientation": orientation, "position": position,
            "pixels": pixels}


def _background(world: SpriteSettings, rng: np.random.Generator) -> np.ndarray:
    """RGB, uint8 [3]."""
    if world.background == "black":
        return np.zeros(3, np.uint8)
    return np.broadcast_to(rng.integers(
        256, size=1 if world.background == "grey" else 3, dtype=np.uint8), 3)


def _colour(world: SpriteSettings, rng: np.random.Generator) -> np.ndarray:
    """RGB of a sprite, uint8 [3]."""
    if world.colours == "white":
        return np.full(3, 255, np.uint8)
    if world.colours == "uniform":
        return rng.integers(256, size=3, dtype=np.uint8)
    hue, saturation, value = rng.random(), *rng.uniform(0.5, 1, size=2)
    return np.round(255 * np.array(colorsys.hsv_to_rgb(hue, saturation, value))).astype(np.uint8)
