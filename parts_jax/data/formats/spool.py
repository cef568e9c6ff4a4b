"""Lets TFDS write splits of any size without TensorFlow.

TFDS keeps the examples of a split in memory until the last one is there. Past 1000 MiB it turns to
temporary files that it writes with TensorFlow; where that is not installed, it fails. A `Spool`
keeps them in one temporary file instead.
"""

import array
import contextlib
import os
import tempfile
from collections.abc import Iterator

from tensorflow_datasets.core import shuffle


class Spool:
    """Stands in for TFDS's Shuffler where nothing is to be shuffled; the methods are its own.

    The file has no name, so that nothing of it stays whatever happens to the process. It lies where
    the split will be: the disk needs room for the split twice.
    """

    def __init__(self, dirpath: str | os.PathLike, hash_salt: str | bytes,
                 disable_shuffling: bool = False, ignore_duplicates: bool = False):
        if not disable_shuffling:
            raise ValueError("A Spool keeps the order of the examples: their builder must have "
                             "disable_shuffling=True.")
        os.makedirs(dirpath, exist_ok=True)
        self._file = tempfile.TemporaryFile(dir=dirpath)
        self._keys, self._lengths = array.array("q"), array.array("q")

    def add(self, key: int, data: bytes) -> None:
        """Appends an example; its key must be greater than those before it."""
        if self._keys and key <= self._keys[-1]:
            raise ValueError(f"The keys of examples must grow; got {key} after {self._keys[-1]}.")
        self._file.write(data)
        self._keys.append(key)
        self._lengths.append(len(data))

    @property
    def num_examples(self) -> int:
        return len(self._keys)

    @property
    def bucket_lengths(self) -> list[int]:
        return [len(self._keys)]

    @property
    def size(self) -> int:
        """Bytes of all examples."""
        return sum(self._lengths)

    def __iter__(self) -> Iterator[tuple[int, bytes]]:
        self._file.seek(0)
        for key, length in zip(self._keys, self._lengths, strict=True):
            yield key, self._file.read(length)
        self._file.close()


@contextlib.contextmanager
def installed() -> Iterator[None]:
    """Within it, TFDS writes with a `Spool`."""
    original, shuffle.Shuffler = shuffle.Shuffler, Spool
    try:
        yield
    finally:
        shuffle.Shuffler = original
