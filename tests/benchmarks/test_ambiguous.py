"""IODINE's ambiguous arrangement: tilings whose number is known, segmentations counted by hand."""

import numpy as np
import pytest

from benchmarks.iodine import ambiguous, tilings
from parts_jax.simulate import tetrominoes


def all_tetrominoes() -> dict[str, np.ndarray]:
    """The 17 and the two turns of S, the mirror image of Z."""
    return tetrominoes.SHAPES | {f"S{name[1:]}": shape[:, ::-1] for name, shape
                                 in tetrominoes.SHAPES.items() if name.startswith("Z")}


def test_tilings_of_squares_and_rectangles_are_as_many_as_is_known():
    shapes = all_tetrominoes()
    assert len(shapes) == 19
    counts = {(rows, columns): len(tilings.tilings(
        2 ** (rows * columns) - 1, tilings.placements(rows, columns, shapes)))
        for rows, columns in ((1, 4), (2, 4), (3, 3), (4, 4))}
    # 4x4: 117, A230031 of the OEIS; 2x4: two squares, two bars, and two pairs of L or J.
    assert counts == {(1, 4): 1, (2, 4): 4, (3, 3): 0, (4, 4): 117}
    pieces = tilings.placements(3, 4, tetrominoes.SHAPES)
    found = tilings.by_union(pieces)
    assert list(found) == [2**12 - 1]
    assert sorted(map(sorted, tilings.tilings(2**12 - 1, pieces))) == [
        list(way) for way in sorted(found[2**12 - 1])]


def test_the_arrangement_can_be_made_up_in_exactly_three_ways():
    found = tilings.ambiguous()
    assert found.blocks.shape == (7, 7) and found.blocks.sum() == 12 and len(found.ways) == 3
    kinds = {shape.tobytes() + bytes(shape.shape) for shape in tetrominoes.SHAPES.values()}
    for way in found.ways:
        np.testing.assert_array_equal(way > 0, found.blocks)
        for i in (1, 2, 3):
            y, x = np.nonzero(way == i)
            cut = np.ascontiguousarray((way == i)[y.min():y.max() + 1, x.min():x.max() + 1])
            assert cut.tobytes() + bytes(cut.shape) in kinds
    assert len({ambiguous.partition(way[found.blocks]) for way in found.ways}) == 3
    # All ways on the whole grid, not only in the square that was searched.
    number = sum(1 << int(i) for i in np.flatnonzero(found.blocks))
    assert len(tilings.tilings(number, tilings.placements(7, 7, tetrominoes.SHAPES))) == 3
    with pytest.raises(ValueError, match="in 2x2 blocks can be made up of 3 pieces in exactly 3"):
        tilings.ambiguous(size=2)


def test_segmentations_are_the_same_up_to_the_numbers_of_slots():
    assert ambiguous.partition([2, 2, 0, 1, 0]) == ambiguous.partition([1, 1, 2, 0, 2]) == (
        0, 0, 1, 2, 1)
    valid = [(0, 0, 1, 1), (0, 1, 1, 0)]
    found = [ambiguous.partition(labels) for labels in (
        [3, 3, 1, 1], [0, 0, 2, 2], [1, 0, 0, 1], [1, 1, 1, 1], [2, 2, 0, 0])]
    counted = ambiguous.counted(found, valid)
    assert counted["distinct"] == 3 and counted["ways_found"] == 2
    assert [(one["share"], one["way"]) for one in counted["segmentations"]] == [
        (.6, 1), (.2, 0), (.2, 2)]
    np.testing.assert_allclose(counted["valid_share"], 0.8)
    blocks = np.asarray([[True, False], [True, True]])
    ids = np.asarray([[1, 1, 0, 0], [1, 2, 0, 0], [2, 2, 3, 0], [2, 0, 3, 3]])
    np.testing.assert_array_equal(ambiguous.slots_of_blocks(ids, blocks, 2), [1, 2, 3])
