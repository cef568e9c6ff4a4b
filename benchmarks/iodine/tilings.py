"""Ways to make up an arrangement of blocks of tetrominoes, by trying all of them.

A set of blocks of a grid is a whole number whose bit row * width + column is 1 for each of them.
"""

import itertools
from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from parts_jax.simulate import tetrominoes

NUM_PIECES = 3
Tiling = tuple[int, ...]  # pieces, each a set of blocks, in order


class Arrangement(NamedTuple):
    """Blocks that can be seen in several ways.

    Attributes:
      blocks: which there are, bool [rows, columns].
      ways: each way to make them up of pieces: ids from 1, and 0 where no block is, [W, rows,
        columns].
    """

    blocks: np.ndarray
    ways: np.ndarray


def placements(rows: int, columns: int, shapes: Mapping[str, np.ndarray]) -> list[int]:
    """Every place of every piece in a grid, as sets of blocks, in order."""
    found = set()
    for shape in shapes.values():
        blocks = np.argwhere(shape)
        for top in range(rows - shape.shape[0] + 1):
            for left in range(columns - shape.shape[1] + 1):
                found.add(sum(1 << int((top + i) * columns + left + j) for i, j in blocks))
    return sorted(found)


def tilings(blocks: int, pieces: Sequence[int]) -> list[Tiling]:
    """Every way to make up a set of blocks of pieces that do not overlap; of none for no blocks."""
    if not blocks:
        return [()]
    lowest = blocks & -blocks  # some piece must have it
    fitting = [piece for piece in pieces if piece & lowest and piece & blocks == piece]
    return [(piece, *rest) for piece in fitting for rest in tilings(blocks & ~piece, pieces)]


def by_union(pieces: Sequence[int], count: int = NUM_PIECES) -> dict[int, list[Tiling]]:
    """All sets of blocks that `count` pieces make up, with every way to do so."""
    found: dict[int, list[Tiling]] = defaultdict(list)
    for chosen in itertools.combinations(pieces, count):
        union, overlap = 0, False
        for piece in chosen:
            overlap = overlap or bool(union & piece)
            union |= piece
        if not overlap:
            found[union].append(chosen)
    return found


def ambiguous(num_ways: int = 3, size: int = 4, grid: int = 7,
              shapes: Mapping[str, np.ndarray] = tetrominoes.SHAPES) -> Arrangement:
    """Three pieces' blocks, in one piece, that can be made up in exactly so many ways.

    Of all that lie in a square of `size` blocks it is the one whose ways have the most pieces that
    no other way has; of several the one of the least number. It lies in the middle of the grid.

    Raises:
      ValueError: there is none.
    """
    best = None
    for union, ways in sorted(by_union(placements(size, size, shapes)).items()):
        if len(ways) != num_ways or not connected(union, size):
            continue
        pieces = [piece for way in ways for piece in way]
        own = sum(pieces.count(piece) == 1 for piece in pieces)
        if best is None or own > best[0]:
            best = own, union, ways
    if best is None:
        raise ValueError(f"No arrangement in {size}x{size} blocks can be made up of {NUM_PIECES} "
                         f"pieces in exactly {num_ways} ways.")
    _, union, ways = best
    start = (grid - size) // 2
    place = lambda square: np.pad(square, ((start, grid - size - start),) * 2)
    return Arrangement(place(as_grid(union, size)), np.stack([
        place(sum((i + 1) * as_grid(piece, size).astype(int) for i, piece in enumerate(way)))
        for way in ways]))


def as_grid(blocks: int, size: int) -> np.ndarray:
    """A set of blocks of a square as bool [size, size]."""
    return np.asarray([blocks >> i & 1 for i in range(size * size)], bool).reshape(size, size)


def connected(blocks: int, size: int) -> bool:
    """Whether one comes from each block to each other over edges."""
    grid = as_grid(blocks, size)
    reached = np.zeros_like(grid)
    reached.flat[np.argmax(grid)] = True
    while True:
        wide = np.pad(reached, 1)
        more = grid & (wide[1:-1, 1:-1] | wide[2:, 1:-1] | wide[:-2, 1:-1]
                       | wide[1:-1, 2:] | wide[1:-1, :-2])
        if (more == reached).all():
            return bool((reached == grid).all())
        reached = more
