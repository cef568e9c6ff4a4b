"""Prepared sets as they are read: what is damaged on the disk is told of by its file."""

import json
import pathlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import tensorflow_datasets as tfds
from absl import logging

from parts_jax.files import whole

LENGTHS = "lengths.json"


class Examples(Sequence):
    """The examples of a split, in order.

    Args:
      builder: of a set whose data are on disk.
      split: its name.

    Raises:
      OSError: here, or when an example is read: the set is damaged.
    """

    def __init__(self, builder: tfds.core.DatasetBuilder, split: str):
        self.folder = builder.data_path
        info = builder.info.splits[split]
        self.files = [str(path) for path in info.filepaths]
        self.ends = [sum(info.shard_lengths[:n + 1]) for n in range(len(info.shard_lengths))]
        missing = [path for path in self.files if not tfds.core.Path(path).exists()]
        if missing:
            raise damaged(missing[0], self.folder, "there is no such file")
        try:
            self.source = builder.as_data_source(split=split)
        except Exception as error:  # of many kinds, from array_record and TFDS
            raise damaged(self.folder, self.folder, error) from error

    def __len__(self) -> int:
        return len(self.source)

    def __getitem__(self, index: int) -> Mapping[str, Any]:
        if not 0 <= index < len(self):
            raise IndexError(index)
        try:
            return self.source[index]
        except Exception as error:  # as above
            file = next(file for file, end in zip(self.files, self.ends, strict=True)
                        if index < end)
            raise damaged(file, self.folder, error) from error

    def __iter__(self) -> Iterator[Mapping[str, Any]]:
        return (self[index] for index in range(len(self)))


def damaged(path: Any, folder: Any, reason: object) -> OSError:
    """The error for a prepared set that cannot be read.

    Args:
      path: of its file.
      folder: of the set.
      reason: what was found.
    """
    lines = str(reason).splitlines() or [type(reason).__name__]
    return OSError(f"The prepared data in {str(path)!r} are damaged: {lines[0].rstrip('.')}. "
                   f"Delete the folder {str(folder)!r}, and the set is built again.")


def fewest_frames(builder: tfds.core.DatasetBuilder, split: str) -> int:
    """Frames of the shortest clip of a split, kept beside the data once they were counted.

    What is kept is counted anew, with a warning, if it cannot be read.

    Raises:
      OSError: the set is damaged.
    """
    path = builder.data_path / LENGTHS
    length = _read_length(path, split)
    if length is None:
        lengths = {name: min((len(example["video"]) for example in Examples(builder, name)),
                             default=0) for name in builder.info.splits}
        length = lengths[split]
        try:  # all hosts of a run count at once where they share a disk
            whole.write_whole(path, json.dumps(lengths), shared=True)
        except OSError as error:
            logging.warning("%s cannot be written (%s): frames are counted anew each time.", path,
                            error)
    return length


def _read_length(path: pathlib.Path, split: str) -> int | None:
    """What is kept of a split; None if nothing is, or nothing that could be."""
    if not path.exists():
        return None
    try:
        length = json.loads(path.read_text())[split]
        if type(length) is int and length >= 0:
            return length
        reason = f"{split} is {length!r}"
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        reason = f"{type(error).__name__}: {error}"
    logging.warning("%s is damaged (%s): the frames of all clips are counted anew.", path, reason)
    return None
