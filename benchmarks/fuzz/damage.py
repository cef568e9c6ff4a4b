"""What can befall a file whatever it holds, and what a mutation is."""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np


class Mutation(NamedTuple):
    """A mutated file.

    Attributes:
      content: its bytes.
      what: what was done, in a word or two.
      sealed: whether its checksums were made right again, so that it may be read with other content
        though its format has checksums.
      forbidden: whether it must not be read at all, such as one that points to other files.
    """

    content: bytes
    what: str
    sealed: bool = False
    forbidden: bool = False


# Takes the healthy bytes.
Mutator = Callable[[bytes, np.random.Generator], Mutation]

# Written over what may be a size: 8, 16, 32, 63 and 64 bits full, with and without a sign.
HUGE = tuple(number.to_bytes(size, order) for order in ("little", "big") for size, number in (
    (1, 0xff), (2, 0xffff), (2, 0x7fff), (4, 0xffffffff), (4, 0x7fffffff), (4, 0x40000000),
    (8, 2 ** 64 - 1), (8, 2 ** 63 - 1), (8, 2 ** 44)))


def spot(rng: np.random.Generator, size: int) -> int:
    """A place in a file; half of them among the first 256 bytes or the last, where headers are."""
    near = min(size, 256)
    kind = rng.integers(4)
    if kind == 0:
        return int(rng.integers(near))
    return int(size - 1 - rng.integers(near)) if kind == 1 else int(rng.integers(size))


def flip_bits(content: bytes, rng: np.random.Generator) -> Mutation:
    """One to four bits."""
    data = bytearray(content)
    for _ in range(rng.integers(1, 5)):
        data[spot(rng, len(data))] ^= 1 << int(rng.integers(8))
    return Mutation(bytes(data), "bits")


def set_bytes(content: bytes, rng: np.random.Generator) -> Mutation:
    """One to 32 bytes in a row, random ones."""
    at, size = spot(rng, len(content)), int(rng.integers(1, 33))
    return Mutation(content[:at] + rng.bytes(size) + content[at + size:], "bytes")


def cut(content: bytes, rng: np.random.Generator) -> Mutation:
    """The end is missing, or all."""
    return Mutation(content[:spot(rng, len(content))], "cut")


def zero(content: bytes, rng: np.random.Generator) -> Mutation:
    """A run of zeros, of up to a quarter of the file, as of a block that was never written."""
    at, size = spot(rng, len(content)), int(rng.integers(1, max(2, len(content) // 4)))
    end = min(at + size, len(content))
    return Mutation(content[:at] + bytes(end - at) + content[end:], "zeros")


def swap(content: bytes, rng: np.random.Generator) -> Mutation:
    """Two blocks stand in each other's place."""
    size = int(rng.integers(1, max(2, len(content) // 4)))
    a, b = sorted(int(rng.integers(max(1, len(content) - size + 1))) for _ in range(2))
    b = max(b, a + size)
    return Mutation(content[:a] + content[b:b + size] + content[a + size:b] + content[a:a + size]
                    + content[b + size:], "swapped blocks")


def move(content: bytes, rng: np.random.Generator) -> Mutation:
    """A block is taken out, or stands twice, or random bytes come between."""
    at, size = spot(rng, len(content)), int(rng.integers(1, 65))
    kind = rng.integers(3)
    put = (b"", content[at:at + size] * 2, rng.bytes(size) + content[at:at + size])[kind]
    return Mutation(content[:at] + put + content[at + size:],
                    ("block out", "block twice", "bytes between")[kind])


def tail(content: bytes, rng: np.random.Generator) -> Mutation:
    """Something comes after the end: the file once more, zeros, or noise."""
    more = (content, bytes(int(rng.integers(1, 1000))), rng.bytes(int(rng.integers(1, 1000))))
    return Mutation(content + more[rng.integers(3)], "tail", sealed=True)


def huge(content: bytes, rng: np.random.Generator) -> Mutation:
    """A number as large as its bytes allow, in the place of whatever stands there."""
    at, number = spot(rng, len(content)), HUGE[rng.integers(len(HUGE))]
    return Mutation(content[:at] + number + content[at + len(number):], "huge number")


def replaced(content: bytes, rng: np.random.Generator) -> Mutation:
    """Another file altogether, of noise, or nothing."""
    del content
    return Mutation(rng.bytes(int(rng.integers(0, 500))), "noise")


ANY: tuple[Mutator, ...] = (
    flip_bits, flip_bits, set_bytes, cut, zero, swap, move, tail, huge, huge)


def damaged(content: bytes, rng: np.random.Generator) -> Mutation:
    """Any of the above."""
    if not content or rng.integers(200) == 0:
        return replaced(content, rng)
    return ANY[rng.integers(len(ANY))](content, rng)
