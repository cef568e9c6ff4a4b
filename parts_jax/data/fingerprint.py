"""What a folder of files holds, as one name: it changes with any byte, and with nothing else.

Every byte is read once; then a file counts as unchanged while its size, its times of modification
and of status (which also a copy that keeps the first cannot keep), its inode and its device are
those that it had. What is known of a folder's files stands beside the prepared data.
"""

import concurrent.futures
import errno
import hashlib
import json
import os
import pathlib
import sys
import time
from collections.abc import Callable, Iterator

import tqdm
from absl import logging

from parts_jax.files import whole

LETTERS = 16
# A file that was written so shortly before it was read may be written again within the same tick of
# its file system's clock: it is read again next time. FAT's is the coarsest, of two seconds.
UNSAFE_SECONDS = 3.0
NUM_THREADS = 4


def fingerprint(folder: str | os.PathLike, cache_folder: str | os.PathLike) -> str:
    """Sixteen letters for the names and contents of all files below a folder, links followed.

    Args:
      folder: of the files.
      cache_folder: where what is known of them is kept, if one can write there.

    Raises:
      ValueError: a link leads to a folder that it lies in.
      OSError: a file cannot be read.
    """
    cache = _cache_path(folder, cache_folder)
    known, digests, kept, unread = _read_cache(cache), {}, {}, []
    files = list(_files(str(folder), "", ()))
    for name, path in files:
        status = os.stat(path)
        if known.get(name, [])[:-1] == _key(status):
            kept[name], digests[name] = known[name], known[name][-1]
        else:
            unread.append((name, path, status.st_size))
    for name, key, digest, is_safe in _read_all(unread, str(folder)):
        digests[name] = digest
        if is_safe:
            kept[name] = [*key, digest]
    if kept != known:
        _write_cache(cache, kept)
    listing = [(name, digests[name]) for name, _ in files]
    return hashlib.sha256(json.dumps(listing).encode()).hexdigest()[:LETTERS]


def _files(folder: str, prefix: str, above: tuple[tuple[int, int], ...]
           ) -> Iterator[tuple[str, str]]:
    """(name below the first folder, path) of each file, sorted; ValueError for links in a circle.

    Args:
      folder: to list.
      prefix: its name below the first folder, with a slash.
      above: device and inode of each folder that it lies in, by the way that led here.
    """
    status = os.stat(folder)
    here = (status.st_dev, status.st_ino)
    if here in above:
        raise ValueError(f"{folder!r} is a link to {os.path.realpath(folder)!r}, in which it lies "
                         "itself: to follow it would never end. Remove the link, or give another "
                         "folder.")
    for entry in sorted(os.scandir(folder), key=lambda entry: entry.name):
        try:
            is_folder = entry.is_dir()
        except OSError as error:
            if error.errno != errno.ELOOP:
                raise
            raise ValueError(f"{entry.path!r} is a link that leads back to itself. Remove it, or "
                             "give another folder.") from error
        if is_folder:
            yield from _files(entry.path, f"{prefix}{entry.name}/", (*above, here))
        elif entry.is_file():  # a link to nothing, a pipe or a socket is none
            yield prefix + entry.name, entry.path


def _key(status: os.stat_result) -> list[int]:
    """What changes if a file is written again or another one takes its place."""
    return [status.st_size, status.st_mtime_ns, status.st_ctime_ns, status.st_ino, status.st_dev]


def _read_all(files: list[tuple[str, str, int]], folder: str
              ) -> Iterator[tuple[str, list[int], str, bool]]:
    """Hashes files, with a progress bar; yields what `_read` returns of each."""
    if not files:
        return
    with (concurrent.futures.ThreadPoolExecutor(NUM_THREADS) as threads,
          tqdm.tqdm(total=sum(size for *_, size in files), unit="B", unit_scale=True, delay=2.0,
                    desc=f"Reading {folder} once", file=sys.stderr, mininterval=1.0) as progress):
        yield from threads.map(lambda file: _read(*file[:2], progress.update), files)


def _read(name: str, path: str, count: Callable[[int], object]
          ) -> tuple[str, list[int], str, bool]:
    """Hashes a file: its name, key, digest, and whether the key is safe to know it by again."""
    began, digest = time.time(), hashlib.sha256()
    with open(path, "rb") as file:
        before = os.fstat(file.fileno())
        while block := file.read(2 ** 20):
            digest.update(block)
            count(len(block))
        after = os.fstat(file.fileno())
    written = max(before.st_mtime, before.st_ctime)
    safe = (_key(before) == _key(after) and before.st_ino != 0
            and written < began - UNSAFE_SECONDS)
    return name, _key(before), digest.hexdigest(), safe


def _cache_path(folder: str | os.PathLike, cache_folder: str | os.PathLike) -> pathlib.Path | None:
    if "://" in os.fspath(cache_folder):  # a bucket
        return None
    real = os.path.realpath(folder).encode(errors="surrogateescape")
    return pathlib.Path(cache_folder) / f".{hashlib.sha256(real).hexdigest()[:LETTERS]}.files.json"


def _read_cache(path: pathlib.Path | None) -> dict[str, list]:
    """What is known of files: {name: [*_key, digest]}; nothing of a file that is damaged."""
    if path is None:
        return {}
    try:
        known = json.loads(path.read_text(encoding="utf-8"))
        entries, checksum = known["files"], known["checksum"]
        if checksum != _checksum(entries):
            raise ValueError("its checksum is another one")
        return entries
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        logging.warning("%s is damaged (%s): all files are read once more.", path, error)
        return {}


def _write_cache(path: pathlib.Path | None, entries: dict[str, list]) -> None:
    if path is None:
        return
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        # All hosts of a run read at once where they share a disk.
        whole.write_whole(path, json.dumps({"checksum": _checksum(entries), "files": entries}),
                          shared=True)
    except OSError as error:
        logging.warning("%s cannot be written (%s): next time all files are read once more.",
                        path, error)


def _checksum(entries: dict[str, list]) -> str:
    return hashlib.sha256(json.dumps(entries, sort_keys=True).encode()).hexdigest()
