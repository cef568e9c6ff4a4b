"""Lets TFDS write splits of any size without TensorFlow.

What TFDS does: `GeneratorBasedBuilder.download_and_prepare` makes a `writer.Writer` for each split,
and that a `shuffle.Shuffler`. The writer serialises every example and hands it over by `add`; when
the last one is there, it asks how many there are and how large (`num_examples`, `size`,
`bucket_lengths`), settles from that how many files the split gets, and then iterates over the
Shuffler, once, to write them. So a Shuffler must hold a whole split before any file is begun.

Why it needs TensorFlow: a Shuffler holds examples in memory up to `MAX_MEM_BUFFER_SIZE` (1000 MiB)
and turns to temporary files past that, which it opens by `tf.io.gfile`. Sets of ours are larger,
and TensorFlow is not installed: their preparation would fail, after hours, at the example that goes
over. With TensorFlow it would do no good either: examples that are not to be shuffled all go to
the first of the thousand buckets, which is read into memory whole to be sorted by key.

What is replaced: the class alone, while a set is built. Our builders yield examples in the order in
which they are to lie (`disable_shuffling`), so nothing need be sorted, and a file that is written
from start to end and read back so does all that a Shuffler does for them. The files of the set are
those that TFDS would write: `tests/data/formats/test_spool.py` compares their bytes.

What would break it: if TFDS looks the class up in another place than `shuffle.Shuffler`, a Spool is
never made, and only sets above 1000 MiB fail, as if this module were not there; if it gives the
class other arguments or asks it other things, any preparation fails, with a TypeError or an
AttributeError that names them. The test that lowers MAX_MEM_BUFFER_SIZE sees both, and setup.py
holds TFDS below its next minor version.
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
    the split will be: the disk needs room for the split twice. Keys and lengths stay in memory, 16
    bytes an example.
    """

    def __init__(self, dirpath: str | os.PathLike, hash_salt: str | bytes,
                 disable_shuffling: bool = False, ignore_duplicates: bool = False):
        if not disable_shuffling:
            raise ValueError("A Spool keeps the order of the examples: their builder must have "
                             "disable_shuffling=True.")
        # `hash_salt` is for keys that are hashed. Duplicates cannot be: keys grow, see `add`.
        os.makedirs(dirpath, exist_ok=True)
        self._file = tempfile.TemporaryFile(dir=dirpath)
        self._keys, self._lengths = array.array("q"), array.array("q")

    def add(self, key: int, data: bytes) -> None:
        """Appends an example; its key must be greater than those before it.

        A Shuffler sorts by key, and refuses two that are the same; growing keys need neither.
        """
        if self._keys and key <= self._keys[-1]:
            raise ValueError(f"The keys of examples must grow; got {key} after {self._keys[-1]}.")
        self._file.write(data)
        self._keys.append(key)
        self._lengths.append(len(data))

    # The three that the writer asks for to settle the files, before it iterates.

    @property
    def num_examples(self) -> int:
        return len(self._keys)

    @property
    def bucket_lengths(self) -> list[int]:
        """A single bucket, as of a Shuffler that has all in memory."""
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
    # TFDS's writer looks `shuffle.Shuffler` up whenever it makes one; for all of the process, so
    # that no other set may be written meanwhile that is to be shuffled: a Spool refuses.
    original, shuffle.Shuffler = shuffle.Shuffler, Spool
    try:
        yield
    finally:
        shuffle.Shuffler = original
