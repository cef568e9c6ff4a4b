"""Figure 10: one image that can be seen in several ways, evaluated again and again."""

import argparse
from collections import Counter
from collections.abc import Sequence
from typing import Any

import jax
import numpy as np

from benchmarks import step
from benchmarks.iodine import seen, tilings
from benchmarks.iodine.writing import Made, place_of
from parts_jax.models import contract
from parts_jax.pictures import colours, grids
from parts_jax.simulate import tetrominoes

COLOUR = "green"
MOST_SHOWN = 8

Partition = tuple[int, ...]  # which part each block is in, parts numbered as they come


def make(flags: argparse.Namespace) -> Made:
    """The distinct segmentations of `flags.times` evaluations, and their shares.

    Raises:
      ValueError: the run is not of pictures of the size of tetrominoes' worlds.
    """
    run = seen.load(flags.run, flags.step)
    world = tetrominoes.DEFAULT
    if run.config.data.resolution != world.resolution:
        raise ValueError(f"The arrangement is {world.resolution}x{world.resolution} pixels, but "
                         f"{flags.run} is of {run.config.data.resolution}x"
                         f"{run.config.data.resolution}.")
    arrangement = tilings.ambiguous(grid=world.resolution // world.block)
    picture = paint(arrangement.blocks, world.block)
    ids = []
    for start in range(0, flags.times, flags.batch_size):  # the last batch is whole, too: one shape
        keys = contract.example_keys(jax.random.key(0), np.arange(start, start + flags.batch_size))
        images = np.repeat(picture[None], flags.batch_size, axis=0)
        ids.append(seen.trace(run, images, keys).assigned[:, -1])
    found = [partition(slots_of_blocks(one, arrangement.blocks, world.block))
             for one in np.concatenate(ids)[:flags.times]]
    valid = [partition(way[arrangement.blocks]) for way in arrangement.ways]
    numbers = dict(dataset=run.dataset, run=run.name, step=run.step, times=flags.times,
                   blocks=arrangement.blocks.astype(int), valid=valid, **counted(found, valid))
    return Made(place_of("ambiguous", run.dataset), numbers, words_of(numbers),
                picture_of(picture, arrangement, numbers, world.block))


def paint(blocks: np.ndarray, block: int) -> np.ndarray:
    """Blocks of one colour on black: bool [rows, columns] -> uint8 [H, W, 3]."""
    pixels = blocks.repeat(block, 0).repeat(block, 1)
    return (pixels[..., None] * np.asarray(tetrominoes.COLOURS[COLOUR])).astype(np.uint8)


def slots_of_blocks(ids: np.ndarray, blocks: np.ndarray, block: int) -> np.ndarray:
    """The slot that has most pixels of each block: [H, W], bool [rows, columns] -> [blocks]."""
    rows, columns = blocks.shape
    tiles = ids.reshape(rows, block, columns, block).swapaxes(1, 2)[blocks].reshape(-1, block**2)
    return np.asarray([np.bincount(tile).argmax() for tile in tiles])


def partition(labels: Sequence[int]) -> Partition:
    """What is left of labels where their names do not count: numbered as they first come."""
    names: dict[int, int] = {}
    return tuple(names.setdefault(int(label), len(names)) for label in labels)


def counted(found: Sequence[Partition], valid: Sequence[Partition]) -> dict[str, Any]:
    """The distinct segmentations, the most frequent first.

    Returns:
      `segmentations`: of each `blocks`, its partition, `share` of all evaluations, and `way`, which
      of the valid ways it is, from 1, or 0; `valid_share`, `ways_found`, and `distinct`.
    """
    # By partition where counts are equal, so that the order is always the same.
    order = sorted(Counter(found).items(), key=lambda item: (-item[1], item[0]))
    listed = [dict(blocks=blocks, share=count / len(found),
                   way=valid.index(blocks) + 1 if blocks in valid else 0)
              for blocks, count in order]
    return dict(segmentations=listed, distinct=len(listed),
                valid_share=sum(one["share"] for one in listed if one["way"]),
                ways_found=sum(bool(one["way"]) for one in listed))


def words_of(numbers: dict[str, Any]) -> str:
    """A sentence, and a table of the most frequent segmentations."""
    listed = numbers["segmentations"]
    rows = [(f"{i + 1}", f"{one['share']:.3f}", f"way {one['way']}" if one["way"] else "no",
             str(len(set(one["blocks"])))) for i, one in enumerate(listed[:MOST_SHOWN])]
    rest = sum(one["share"] for one in listed[MOST_SHOWN:])
    if rest:
        rows.append((f"{len(listed) - MOST_SHOWN} others", f"{rest:.3f}", "", ""))
    about = (f"{numbers['run']}, step {numbers['step']:,}, {numbers['times']} evaluations: "
             f"{numbers['distinct']} distinct segmentations; {numbers['ways_found']} of the "
             f"{len(numbers['valid'])} valid ways were found, in {numbers['valid_share']:.1%} of "
             "the evaluations.")
    return f"{about}\n\n{step.table(('segmentation', 'share', 'valid', 'slots'), rows)}"


def picture_of(picture: np.ndarray, arrangement: tilings.Arrangement, numbers: dict[str, Any],
               block: int) -> np.ndarray:
    """The image and its valid ways; below the most frequent segmentations with their shares."""
    def tile(labels: np.ndarray) -> np.ndarray:  # [rows, columns], 0 where there is no block
        return grids.enlarge(colours.colour_segmentation(labels.repeat(block, 0).repeat(block, 1)),
                             2)

    first = [grids.enlarge(picture, 2), *map(tile, arrangement.ways)]
    titles = ["image", *(f"way {i + 1}" for i in range(len(arrangement.ways)))]
    shown = numbers["segmentations"][:MOST_SHOWN]
    second = []
    for one in shown:
        labels = np.zeros(arrangement.blocks.shape, int)
        labels[arrangement.blocks] = np.asarray(one["blocks"]) + 1
        second.append(tile(labels))
    above = grids.titled_table([first], titles)
    below = grids.titled_table([second], [
        f"{one['share']:.0%}" + (f" way {one['way']}" if one["way"] else "") for one in shown])
    width = max(above.shape[1], below.shape[1])
    return np.concatenate([np.pad(part, ((0, 0), (0, width - part.shape[1]), (0, 0)),
                                  constant_values=colours.WHITE) for part in (above, below)])
