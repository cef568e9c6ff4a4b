"""Binary pictures of three outlined shapes that may overlap: the set "Shapes".

From Reichert & Serre, "Neuronal Synchrony in Complex-Valued Deep Networks" (2014), in the form that
Greff et al. gave it for reconstruction clustering, N-EM and IODINE (appendix A.4): 28x28 pixels,
three of square, triangle and triangle on its head, with lines two pixels wide.
"""

import dataclasses
from collections.abc import Sequence

import numpy as np

from parts_jax.simulate import seeds


def _square() -> np.ndarray:
    """7x7 pixels around a hole of 3x3."""
    square = np.ones((7, 7), bool)
    square[2:5, 2:5] = False
    return square


def _triangle() -> np.ndarray:
    """7 rows, 12 columns; its slopes fall by a pixel a pixel, its sides are 3 pixels across."""
    rows, columns = np.mgrid[:7, :12]
    from_middle = np.maximum(5 - columns, columns - 6)
    hole = (rows < 5) & (from_middle <= rows - 3)
    return (from_middle <= rows) & ~hole


SHAPES = {"square": _square(), "triangle-up": _triangle(), "triangle-down": _triangle()[::-1]}
SHAPE_NAMES = tuple(SHAPES)  # their positions are the numbers that `shape` has


@dataclasses.dataclass(frozen=True)
class ShapesSettings:
    """A world of outlined shapes.

    Attributes:
      resolution: height and width in pixels.
      num_shapes: of a picture (N).
    """

    resolution: int = 28
    num_shapes: int = 3

    num_frames = 1  # of a clip: a still

    def __post_init__(self):
        least = max(max(shape.shape) for shape in SHAPES.values())
        if self.resolution < least or not 1 <= self.num_shapes <= 255:
            raise ValueError(
                f"A picture of shapes must have {least} pixels or more a side, and 1 to 255 "
                f"shapes; got resolution {self.resolution}, num_shapes {self.num_shapes}.")

    @property
    def frame_size(self) -> tuple[int, int]:
        """Height and width."""
        return self.resolution, self.resolution


DEFAULT = ShapesSettings()


def scene(world: ShapesSettings, seed: Sequence[int]) -> dict[str, np.ndarray]:
    """A picture, as a clip of one frame, and what it was drawn from.

    Shapes and places are independent and uniform. A pixel where several shapes overlap is white as
    any other of theirs; as nothing tells whose it is, it is no one's in the segmentation, so that
    metrics of the foreground leave it out. That is the original's way.

    Args:
      world: its settings.
      seed: non-negative integers that name the picture, such as (seed, split, clip).

    Returns:
      video: uint8 [1, H, W, 3], 0 and 255, three times the same;
      segmentation: uint8 [1, H, W], 1..N the pixels of one shape alone, 0 for background and where
        shapes overlap;
      shape: int32 [1, N], positions in `SHAPES`;
      position: float32 [1, N, 2], y and x of the middle of the shape's box in indices of pixels;
      visibility: float32 [1, N], the share of a shape's pixels that no other has, 0 to 1.
    """
    rng, size = seeds.generator(seed), world.resolution
    chosen = rng.integers(len(SHAPES), size=world.num_shapes)
    masks = np.zeros((world.num_shapes, size, size), bool)
    position = np.zeros((world.num_shapes, 2), np.float32)
    for i, number in enumerate(chosen):
        shape = SHAPES[SHAPE_NAMES[number]]
        corner = [rng.integers(size - length + 1) for length in shape.shape]
        masks[i, corner[0]:corner[0] + shape.shape[0], corner[1]:corner[1] + shape.shape[1]] = shape
        position[i] = [corner[axis] + (shape.shape[axis] - 1) / 2 for axis in (0, 1)]
    alone = masks & (masks.sum(0) == 1)
    ids = (alone * np.arange(1, world.num_shapes + 1, dtype=np.uint8)[:, None, None]).sum(
        0, dtype=np.uint8)
    grey = np.where(masks.any(0), np.uint8(255), np.uint8(0))
    visibility = (alone.sum((1, 2)) / masks.sum((1, 2))).astype(np.float32)
    return {"video": np.repeat(grey[None, ..., None], 3, axis=-1), "segmentation": ids[None],
            "shape": chosen.astype(np.int32)[None], "position": position[None],
            "visibility": visibility[None]}
