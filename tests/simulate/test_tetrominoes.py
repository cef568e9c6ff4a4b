"""Tetrominoes: 17 pieces by an independent count, none overlap, and factors agree with pixels."""

import collections
import hashlib
import itertools

import numpy as np
import pytest
from scipy import ndimage, stats

from parts_jax.simulate import tetrominoes

WORLD = tetrominoes.DEFAULT
NUM_SCENES = 1000
DIGEST = "a55dc03bfeeb1a9c3b4d0a5c84dcd161b835dc3b898b476bce00a3f9acc457cc"


@pytest.fixture(scope="module")
def scenes():
    return [tetrominoes.scene(WORLD, (0, 0, clip)) for clip in range(NUM_SCENES)]


def fixed_tetrominoes() -> set[bytes]:
    """All of them, by trying every four cells of a 4x4 board: top left, connected."""
    found = set()
    for cells in itertools.combinations(range(16), 4):
        board = np.zeros(16, bool)
        board[list(cells)] = True
        board = board.reshape(4, 4)
        if board[0].any() and board[:, 0].any() and ndimage.label(board)[1] == 1:
            found.add(board.tobytes())
    return found


def on_board(piece: np.ndarray) -> bytes:
    board = np.zeros((4, 4), bool)
    board[:piece.shape[0], :piece.shape[1]] = piece
    return board.tobytes()


def test_17_pieces_are_the_fixed_tetrominoes_but_two():
    """There are 19; the two that are left out are the turns of S, the mirror image of Z."""
    every, ours = fixed_tetrominoes(), {on_board(piece) for piece in tetrominoes.SHAPES.values()}
    assert len(every) == 19 and len(ours) == len(tetrominoes.SHAPES) == 17
    s = np.array([[False, True, True], [True, True, False]])
    assert every - ours == {on_board(s), on_board(np.rot90(s))}
    kinds = collections.Counter(name[0] for name in tetrominoes.SHAPE_NAMES)
    assert kinds == {"I": 2, "O": 1, "Z": 2, "T": 4, "J": 4, "L": 4}


def test_pixels_are_what_the_factors_say(scenes):
    for clip in scenes[:200]:
        video, ids = clip["video"][0], clip["segmentation"][0]
        assert video.shape == (35, 35, 3) and video.dtype == ids.dtype == np.uint8
        assert set(np.unique(ids)) == {0, 1, 2, 3} and (video[ids == 0] == 0).all()
        for i in range(3):
            mask = ids == i + 1
            assert mask.sum() == 4 * 25  # none is covered, none is cut
            assert (video[mask] == 255 * clip["colour"][0, i]).all()
            rows, columns = np.nonzero(mask)
            np.testing.assert_allclose(clip["position"][0, i], [rows.mean(), columns.mean()],
                                       rtol=1e-6)
            blocks = mask[rows.min():rows.max() + 1:5, columns.min():columns.max() + 1:5]
            drawn = tetrominoes.SHAPES[tetrominoes.SHAPE_NAMES[clip["shape"][0, i]]]
            np.testing.assert_array_equal(blocks, drawn)
            np.testing.assert_array_equal(
                mask[rows.min():rows.max() + 1, columns.min():columns.max() + 1],
                np.kron(drawn, np.ones((5, 5), bool)))
    assert all((clip["visibility"] == 1).all() for clip in scenes)


def test_colours_are_saturated_and_even_and_every_piece_is_drawn(scenes):
    colours = np.concatenate([clip["colour"][0] for clip in scenes])
    found, counts = np.unique(colours, axis=0, return_counts=True)
    assert len(found) == 6 and set(found.ravel()) == {0, 1}
    assert not {(0, 0, 0), (1, 1, 1)} & {tuple(row) for row in found}
    assert stats.chisquare(counts).pvalue > 1e-3
    assert set(np.concatenate([clip["shape"][0] for clip in scenes])) == set(range(17))


def test_twins_differ_from_others_in_colour_alone():
    for seed in range(8):
        twins, others = (tetrominoes.scene(world, (seed,)) for world in (tetrominoes.TWINS, WORLD))
        assert (twins["colour"] == others["colour"][:, :1]).all()
        np.testing.assert_array_equal(twins["segmentation"], others["segmentation"])


def test_every_place_is_used(scenes):
    covered = sum((clip["segmentation"][0] > 0).astype(int) for clip in scenes)
    assert covered.min() > 0
    tops = {np.nonzero(clip["segmentation"][0] == 1)[0].min() % 5 for clip in scenes}
    assert tops == set(range(5))  # pieces keep to no grid of blocks


def test_the_same_seed_gives_the_same_bytes():
    digest = hashlib.sha256()
    for seed in itertools.product((0, 7), (0, 1, 2), range(4)):
        for name, array in sorted(tetrominoes.scene(WORLD, seed).items()):
            digest.update(name.encode() + array.tobytes())
    assert digest.hexdigest() == DIGEST
    one, other, split = (tetrominoes.scene(WORLD, seed)["video"]
                         for seed in ((0, 0, 1), (0, 0, 2), (0, 1, 1)))
    assert not np.array_equal(one, other) and not np.array_equal(one, split)


@pytest.mark.parametrize("changes, part", [
    (dict(resolution=19), "here 20 pixels; got num_pieces 3, block 5, resolution 19"),
    (dict(num_pieces=0), "got num_pieces 0"),
    (dict(block=0), "block 0"),
    (dict(num_pieces=5), "a third of it at the most; got 5 pieces, 500 of 1225 pixels"),
])
def test_worlds_that_cannot_be_are_refused(changes, part):
    with pytest.raises(ValueError) as error:
        tetrominoes.TetrominoSettings(**changes)
    assert part in str(error.value)
