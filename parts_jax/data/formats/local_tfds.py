"""A prepared TFDS set that lies in a folder as TFRecord files, read without TensorFlow.

TFDS's own readers of such files need TensorFlow, and so do some features that it would restore from
features.json, such as videos. So only dataset_info.json is read, for the splits and their files;
what is in the examples, the builders know.
"""

import dataclasses
import itertools
import json
import os
import pathlib
import re
from collections.abc import Iterator, Mapping
from typing import Any

import tensorflow_datasets as tfds
from absl import logging

from parts_jax.data.formats import limits, reading, source_files, tfrecord

INFO_FILE = "dataset_info.json"
MOST_SHARDS = 100_000  # their names have five digits
MOST_HELD_OUT = 250  # examples; as many as MOVi's validation splits have

# Files of a split, and how many examples each of them has.
Shards = tuple[tuple[pathlib.Path, int], ...]


@dataclasses.dataclass(frozen=True)
class LocalSet:
    """A set in a folder.

    Attributes:
      folder: the folder that holds dataset_info.json.
      shards: split of the files to those files.
      splits: split to the split of the files that it is a part of, its first example, and the
        one after its last.
      max_bytes: that one example may take; see limits.py.
    """

    folder: pathlib.Path
    shards: Mapping[str, Shards]
    splits: Mapping[str, tuple[str, int, int]]
    max_bytes: int = limits.MAX_BYTES

    def num_examples(self, split: str) -> int:
        """How many examples a split has."""
        _, first, last = self.splits[split]
        return last - first

    def read(self, split: str,
             left_out: reading.LeftOut | None = None) -> Iterator[tfrecord.Example]:
        """Yields the examples of a split in the order of its files.

        Args:
          split: its name.
          left_out: what becomes of a file that is damaged: what is behind the damage may be left
            out; None: it is an error.

        Raises:
          ValueError: if a file is damaged, or has more or fewer examples than declared.
        """
        stored, first, last = self.splits[split]
        if last == _size(self.shards[stored]):
            last = None  # to the end of the files, even if that is another one than declared
        left_out = left_out or reading.LeftOut("files", skip_bad=False)
        return itertools.islice(self._read_shards(stored, left_out), first, last)

    def _read_shards(self, stored: str, left_out: reading.LeftOut) -> Iterator[tfrecord.Example]:
        for path, declared in self.shards[stored]:
            found = 0
            try:
                for example in tfrecord.read_examples(path, self.max_bytes):
                    found += 1
                    yield example
                # A plain file that was cut off between two records looks whole by itself.
                if found != declared:
                    raise ValueError(
                        f"The file {path} has {found} examples, but {INFO_FILE} beside it declares "
                        f"{declared}: it is truncated, or of another version.")
            except (ValueError, OSError) as error:
                left_out.note(error)


def open_set(source_dir: str | os.PathLike, name: str,
             max_bytes: int = limits.MAX_BYTES) -> LocalSet:
    """Finds the one copy of a set in a folder or below it.

    Splits of which no file is there are left out. The split "val" is called "validation". Where
    there is no "validation" or "test", it is made of the first tenth of "train", of at most 250
    examples, which "train" then lacks.

    Args:
      source_dir: the folder with dataset_info.json, or one above it, such as TFDS's data_dir.
      name: TFDS's name of the set, such as "taco_play".
      max_bytes: that its description, or one example, may take.

    Raises:
      OSError: if there is no such folder, it has no TFDS set, or a split lacks some of its files.
      ValueError: if no folder is named, the set is another one, there are several copies, its
        description cannot be read, or its files are not TFRecord files.
    """
    path, info = _find(source_dir, name, max_bytes)
    file_format = info.get("fileFormat", "tfrecord")
    if file_format != "tfrecord":
        raise ValueError(f"The TFDS set in {path.parent} must be in files of the format tfrecord; "
                         f"got {file_format}.")
    with reading.naming(path, f"The splits in {path} cannot be read: each must have a 'name' and "
                              "'shardLengths'"):
        declared = _declared_shards(path, name, info["splits"])
    shards = {split: files for split, files in declared.items() if _is_complete(split, files)}
    if not shards:
        raise FileNotFoundError(f"The folder {path.parent} has a {INFO_FILE}, but none of the "
                                "TFRecord files that it names.")
    return LocalSet(path.parent, shards, _splits(path.parent, shards), max_bytes)


def _find(source_dir: str | os.PathLike, name: str,
          max_bytes: int) -> tuple[pathlib.Path, dict[str, Any]]:
    """The description of the set of this name: its file, and what it says."""
    found = {}
    for path in source_files.find(source_dir, re.escape(INFO_FILE),
                                  f"TFDS copies of {name} (with their {INFO_FILE})"):
        limits.check_declared(path, path.stat().st_size, max_bytes)
        with reading.naming(path, f"The file {path} does not describe a TFDS set: it must be JSON "
                                  "with the key 'name'"):
            info = json.loads(path.read_bytes())
            if not isinstance(info["name"], str):
                raise ValueError(f"its name is {info['name']!r:.60}")
            found.setdefault(info["name"], []).append((path, info))
    if name not in found:
        raise ValueError(f"The folder {source_dir} has no copy of the TFDS set {name!r}, but of: "
                         f"{', '.join(sorted(found))}.")
    if len(found[name]) > 1:
        folders = ", ".join(str(path.parent) for path, _ in found[name])
        raise ValueError(f"The folder {source_dir} has several copies of the TFDS set {name!r}. "
                         f"Name the folder of one of them: {folders}.")
    return found[name][0]


def _declared_shards(path: pathlib.Path, name: str, splits: list) -> dict[str, Shards]:
    """The files of all splits, whether they are there or not; `path` is that of the description."""
    shards = {}
    for split in splits:
        lengths = split["shardLengths"]
        if len(lengths) > MOST_SHARDS:
            raise ValueError(f"The split {split['name']!r:.60} in {path} has {len(lengths):,} "
                             f"files, but at most {MOST_SHARDS:,} are allowed.")
        lengths = [_length(length) for length in lengths]
        template = tfds.core.ShardedFileTemplate(
            data_dir=path.parent, template=split.get("filepathTemplate", ""), dataset_name=name,
            split=split["name"], filetype_suffix="tfrecord")
        paths = [pathlib.Path(one) for one in template.sharded_filepaths(len(lengths))]
        for one in paths:
            if one.parent != path.parent or one.name == "..":
                raise ValueError(f"The split {split['name']!r:.60} in {path} names the file {one}: "
                                 "its files must lie beside its description.")
        renamed = "validation" if split["name"] == "val" else split["name"]
        if renamed in shards:
            raise ValueError(f"Two splits in {path} have the name {renamed!r:.60}.")
        shards[renamed] = tuple(zip(paths, lengths, strict=True))
    return shards


def _length(declared: str | int) -> int:
    """How many examples a file has; ValueError if it is no whole number from 0 on."""
    if type(declared) not in (int, str) or not 0 <= int(declared) < 2 ** 63:
        raise ValueError(f"one of the shardLengths is {declared!r:.60}")
    return int(declared)


def _is_complete(split: str, shards: Shards) -> bool:
    """Whether all files of a split are there; False if none is."""
    missing = [path for path, _ in shards if not path.exists()]
    if not missing:
        return True
    if len(missing) < len(shards):
        raise FileNotFoundError(f"The split {split!r} lacks {len(missing)} of its {len(shards)} "
                                f"files; the first is {missing[0]}.")
    logging.warning("The split %r is left out: none of its files is in %s.", split,
                    missing[0].parent)
    return False


def _splits(folder: pathlib.Path,
            shards: Mapping[str, Shards]) -> dict[str, tuple[str, int, int]]:
    """See `LocalSet.splits`: the splits of the files, and those made of the start of "train"."""
    splits = {split: (split, 0, _size(files)) for split, files in shards.items()}
    if "train" in splits:
        size = _size(shards["train"])
        held_out = min(max(size // 10, 1), MOST_HELD_OUT)
        start = 0
        for split in ("validation", "test"):
            if split not in splits:
                splits[split] = ("train", start, start + held_out)
                start += held_out
        if start >= size:
            raise ValueError(f"The split 'train' of the TFDS set in {folder} has {size} examples: "
                             "too few to make validation and test of some of them.")
        splits["train"] = ("train", start, size)
    return splits


def _size(shards: Shards) -> int:
    return sum(count for _, count in shards)
