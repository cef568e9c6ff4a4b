"""npz files of strangers: zips of arrays, whose sizes are looked at before anything is read."""

import math
import os
import zipfile
from collections.abc import Iterator, Mapping

import numpy as np

from parts_jax.data.formats import limits, zips

SUFFIX = ".npy"
VERSIONS = {(1, 0): np.lib.format.read_array_header_1_0,
            (2, 0): np.lib.format.read_array_header_2_0}


class Npz(Mapping):
    """The arrays of an npz file by name, each read when it is asked for; nothing is unpickled.

        with Npz("episode.npz") as file:
            video = file["video"]

    What goes wrong within a file is raised as zipfile and numpy raise it.
    """

    def __init__(self, path: str | os.PathLike, max_bytes: int = limits.MAX_BYTES):
        self._path, self._left = path, max_bytes
        self._limit = max_bytes
        self._archive = zipfile.ZipFile(path)
        names = [info.filename for info in self._archive.infolist()]
        try:
            zips.check_members(self._archive, path)
            if len(set(names)) < len(names):
                raise ValueError("two of its arrays have the same name")
        except (OSError, ValueError, zipfile.BadZipFile):
            self._archive.close()
            raise
        self._members = {name.removesuffix(SUFFIX): name for name in names}

    def __enter__(self) -> "Npz":
        return self

    def __exit__(self, *exception) -> None:
        self._archive.close()

    def __iter__(self) -> Iterator[str]:
        return iter(self._members)

    def __len__(self) -> int:
        return len(self._members)

    def __getitem__(self, name: str) -> np.ndarray:
        """An array; ValueError if it, with those read before, takes more memory than allowed."""
        member = self._archive.getinfo(self._members[name])
        self._take(member.file_size)
        with self._archive.open(member) as stream:
            declared = header_bytes(stream)
        if declared != member.file_size:
            if declared > member.file_size:
                self._take(declared - member.file_size)
            raise ValueError(f"the array {name} has {member.file_size:,} bytes, but declares "
                             f"{declared:,}")
        with self._archive.open(member) as stream:
            return np.lib.format.read_array(stream, allow_pickle=False)

    def _take(self, num_bytes: int) -> None:
        self._left -= num_bytes
        limits.check_declared(self._path, self._limit - self._left, self._limit)


def header_bytes(stream) -> int:
    """The bytes of an npy file by its header: its own, and those of the array."""
    version = np.lib.format.read_magic(stream)
    if version not in VERSIONS:
        raise ValueError(f"an array is of the unknown version {version} of npy")
    shape, _, dtype = VERSIONS[version](stream)
    if dtype.hasobject:
        raise ValueError("Object arrays cannot be loaded when allow_pickle=False")
    if any(length < 0 for length in shape):
        raise ValueError(f"an array has the shape {shape}")
    return stream.tell() + math.prod(shape) * dtype.itemsize
