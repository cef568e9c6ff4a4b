"""HDF5 files of strangers: what lies in the file itself is read, and not more than was allowed.

An HDF5 file may name other files for its values (external storage, external links, virtual
datasets); they are refused, since such a file reads whatever its reader may read.
"""

import contextlib
import errno
import os
from collections.abc import Iterator, Sequence

import h5py

from parts_jax.data.formats import limits, reading

MOST_LINKS = 16  # one behind the other


@contextlib.contextmanager
def opened(path: str | os.PathLike, what: str = "The file") -> Iterator[h5py.File]:
    """A file for reading.

    Args:
      path: the file.
      what: the kind of file, for messages.

    Raises:
      OSError: if there is no such file, it may not be read, or another program writes it.
      ValueError: if it is truncated, damaged or no HDF5 file, or something else goes wrong
        within.
    """
    with reading.naming(path, f"{what} {path} cannot be read: it is truncated, damaged or of "
                              "another kind"):
        with open(path, "rb"):  # the machine's own words where it may not be
            pass
        try:
            file = h5py.File(path)
        except OSError as error:
            if error.errno in (errno.EAGAIN, errno.EACCES):
                raise OSError(f"{what} {path} is locked: another program has it open for writing. "
                              "Close it there, or wait until it is done.") from error
            raise ValueError(f"{what} {path} cannot be read: it is truncated, damaged or of "
                             f"another kind ({reading.words(error)}).") from error
        with file:
            yield file


def dataset(file: h5py.File, name: str) -> h5py.Dataset | None:
    """An array of numbers in a file, such as "training/features"; None if there is none.

    Raises:
      ValueError: if it is no array of numbers, or its values are in another file.
    """
    found = _follow(file, name, MOST_LINKS)
    if found is None:
        return None
    where = f"{name} in {file.filename}"
    if not isinstance(found, h5py.Dataset):
        raise ValueError(f"{where} must be an array, but is a {type(found).__name__.lower()}.")
    if found.is_virtual or found.external:
        raise ValueError(f"The values of {where} lie in other files (a virtual dataset, or "
                         "external storage), which are not read. Copy them into it, such as by "
                         "h5repack.")
    if found.dtype.kind not in "biuf" or found.shape is None:
        raise ValueError(f"{where} must be an array of numbers; got {found.dtype} "
                         f"{list(found.shape or ())}.")
    return found


def check_declared(path: str | os.PathLike, datasets: Sequence[h5py.Dataset],
                   max_bytes: int = limits.MAX_BYTES, share: float = 1.0) -> None:
    """Raises ValueError if arrays, or a share of each, take more memory than allowed.

    Args:
      path: the file, for the message.
      datasets: what will be read together.
      max_bytes: the limit, for all of them.
      share: how much of each will be in memory at a time.
    """
    needed = 0
    for one in datasets:
        chunk = one.dtype.itemsize
        for length in one.chunks or ():  # the least that is read, even for a single number
            chunk *= length
        needed += max(int(share * one.size * one.dtype.itemsize), chunk)
    limits.check_declared(path, needed, max_bytes)


def _follow(file: h5py.File, name: str, links_left: int) -> h5py.Group | h5py.Dataset | None:
    """What a path leads to through the file itself; None if nothing has this name."""
    here = file
    parts = [part for part in name.split("/") if part not in ("", ".")]
    for i, part in enumerate(parts):
        link = here.get(part, getlink=True) if isinstance(here, h5py.Group) else None
        if link is None:
            return None
        if isinstance(link, h5py.ExternalLink):
            raise ValueError(f"{name} in {file.filename} is a link to another file, "
                             f"{link.filename}, which is not read.")
        if isinstance(link, h5py.SoftLink):
            if not links_left:
                raise ValueError(f"{name} in {file.filename} is a link that leads nowhere.")
            start = "" if link.path.startswith("/") else here.name
            return _follow(file, "/".join([start, link.path, *parts[i + 1:]]), links_left - 1)
        here = here[part]
    return here
