"""COCO's compressed run-length masks, decoded with every length checked.

pycocotools trusts the lengths: what they do not cover stays as the memory was. The text is that of
its `rleToString`: lengths of runs of 0 and 1 in turn, column after column; from the fourth on each
less the one two before it; in groups of 5 bits, the lowest first, each a letter from "0" on, with a
sixth bit that says that more follow.
"""

import numpy as np

FIRST_LETTER, LAST_LETTER = 48, 111
MORE, SIGN, BITS = 0x20, 0x10, 0x1f
MOST_LETTERS = 7  # of one length: 35 bits are more than a picture has pixels


def decode(counts: str | bytes, size: tuple[int, int]) -> np.ndarray:
    """A mask, bool [H, W], of a text; `size` is H and W.

    Raises:
      ValueError: if it is no such text, or its lengths do not cover the mask exactly.
    """
    runs = _lengths(counts.encode() if isinstance(counts, str) else counts)
    if sum(runs) != size[0] * size[1]:
        raise ValueError(f"its runs cover {sum(runs)} of {size[0] * size[1]} pixels")
    inside = np.repeat(np.arange(len(runs)) % 2 == 1, runs)
    return inside.reshape(size[::-1]).T


def _lengths(text: bytes) -> list[int]:
    """The lengths of the runs that a text says."""
    if not isinstance(text, bytes):
        raise ValueError(f"its counts must be a text; got {type(text).__name__}")
    runs, value, shift = [], 0, 0
    for letter in text:
        if not FIRST_LETTER <= letter <= LAST_LETTER or shift == 5 * MOST_LETTERS:
            raise ValueError("its counts are no compressed run lengths")
        bits = letter - FIRST_LETTER
        value |= (bits & BITS) << shift
        shift += 5
        if bits & MORE:
            continue
        if bits & SIGN:
            value -= 1 << shift
        if len(runs) > 2:
            value += runs[-2]
        if value < 0:
            raise ValueError("one of its runs is shorter than nothing")
        runs.append(value)
        value = shift = 0
    if shift:
        raise ValueError("its counts are truncated")
    return runs
