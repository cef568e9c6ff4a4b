"""Pictures of tetrominoes on black, in the manner of the set that IODINE calls "Tetris".

Greff et al., "Multi-Object Representation Learning with Iterative Variational Inference" (2019),
appendix A.3: three random tetrominoes without overlap in 35x35 pixels, blocks of 5x5 pixels, 17
tetrominoes (counting rotations), six colours. Which 17 of the 19 that there are, and whether pieces
keep to a grid of blocks, it does not say; see `SHAPES` and `scene`.
"""

import dataclasses
from collections.abc import Sequence

import numpy as np

from parts_jax.simulate import seeds

NUM_BLOCKS = 4
# One piece of each kind; the turns of it follow from it. With S, the mirror image of Z, there would
# be 19 "fixed" tetrominoes; 17 are those of six kinds: 2 of I, 1 of O, 2 of Z, 4 each of T, J, L.
KINDS = {"I": ("####",), "O": ("##", "##"), "Z": ("##.", ".##"), "T": ("###", ".#."),
         "J": ("#..", "###"), "L": ("..#", "###")}
COLOURS = {"red": (255, 0, 0), "green": (0, 255, 0), "blue": (0, 0, 255), "yellow": (255, 255, 0),
           "magenta": (255, 0, 255), "cyan": (0, 255, 255)}


def _turned(kinds: dict[str, tuple[str, ...]]) -> dict[str, np.ndarray]:
    """The distinct quarter turns of some pieces, by names such as "T90": bool [rows, columns]."""
    shapes = {}
    for kind, rows in kinds.items():
        piece, seen = np.array([[cell == "#" for cell in row] for row in rows]), set()
        for turns in range(4):
            turned = np.rot90(piece, turns)
            key = (turned.shape, turned.tobytes())
            if key not in seen:
                shapes[f"{kind}{90 * turns}"] = np.ascontiguousarray(turned)
            seen.add(key)
    return shapes


SHAPES = _turned(KINDS)  # 17; their positions are the numbers that `shape` has
SHAPE_NAMES, COLOUR_NAMES = tuple(SHAPES), tuple(COLOURS)


@dataclasses.dataclass(frozen=True)
class TetrominoSettings:
    """A world of tetrominoes.

    Attributes:
      resolution: height and width in pixels.
      block: edge of a block in pixels.
      num_pieces: of a picture (N).
      one_colour: all pieces of a picture have the colour of its first.
    """

    resolution: int = 35
    block: int = 5
    num_pieces: int = 3
    one_colour: bool = False

    num_frames = 1  # of a clip: a still

    def __post_init__(self):
        least = NUM_BLOCKS * self.block
        if not (self.block >= 1 and self.num_pieces >= 1 and self.resolution >= least):
            raise ValueError(
                "A picture of tetrominoes must have one piece or more, blocks of one pixel or "
                f"more, and room for four blocks beside each other, here {least} pixels; got "
                f"num_pieces {self.num_pieces}, block {self.block}, resolution {self.resolution}.")
        # More would seldom fit, and the draws of `scene` might never end.
        area = self.num_pieces * NUM_BLOCKS * self.block ** 2
        if self.num_pieces > 1 and area > self.resolution ** 2 / 3:
            raise ValueError(
                "The pieces of a picture of tetrominoes may cover a third of it at the most; got "
                f"{self.num_pieces} pieces, {area} of {self.resolution ** 2} pixels.")

    @property
    def frame_size(self) -> tuple[int, int]:
        """Height and width."""
        return self.resolution, self.resolution


DEFAULT = TetrominoSettings()
TWINS = TetrominoSettings(one_colour=True)


def scene(world: TetrominoSettings, seed: Sequence[int]) -> dict[str, np.ndarray]:
    """A picture, as a clip of one frame, and what it was drawn from.

    Shapes, colours and places are independent and uniform: any of `SHAPES`, any of `COLOURS` (so
    two pieces may have one), any pixel where the piece is all inside. Where pieces overlap all are
    drawn anew; they may touch.

    Args:
      world: its settings.
      seed: non-negative integers that name the picture, such as (seed, split, clip).

    Returns:
      video: uint8 [1, H, W, 3];
      segmentation: uint8 [1, H, W], 0 for background, 1..N the pieces;
      shape: int32 [1, N], positions in `SHAPES`;
      colour: float32 [1, N, 3], RGB, each 0 or 1;
      position: float32 [1, N, 2], y and x of the centre: the mean of its pixels' indices;
      visibility: float32 [1, N], the share of the piece that is seen: 1.
    """
    rng, size = seeds.generator(seed), world.resolution
    while True:
        shapes = rng.integers(len(SHAPES), size=world.num_pieces)
        colours = rng.integers(len(COLOURS), size=world.num_pieces)
        if world.one_colour:
            colours[:] = colours[0]
        ids, overlap = np.zeros((size, size), np.uint8), False
        for i, shape in enumerate(shapes):
            piece = SHAPES[SHAPE_NAMES[shape]].repeat(world.block, 0).repeat(world.block, 1)
            top, left = (rng.integers(size - length + 1) for length in piece.shape)
            window = ids[top:top + piece.shape[0], left:left + piece.shape[1]]
            overlap = overlap or bool(window[piece].any())
            window[piece] = i + 1
        if not overlap:
            break
    rgb = np.array(list(COLOURS.values()), np.uint8)[colours]
    palette = np.concatenate([np.zeros((1, 3), np.uint8), rgb])
    centres = [np.argwhere(ids == i + 1).mean(0) for i in range(world.num_pieces)]
    return {"video": palette[ids][None], "segmentation": ids[None],
            "shape": shapes.astype(np.int32)[None],
            "colour": (rgb / np.float32(255)).astype(np.float32)[None],
            "position": np.array(centres, np.float32)[None],
            "visibility": np.ones((1, world.num_pieces), np.float32)}
