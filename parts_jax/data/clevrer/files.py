"""CLEVRER's files: found in a folder, as they are or inside zips, and downloaded where missing."""

import dataclasses
import errno
import functools
import http.client
import os
import pathlib
import re
import shutil
import time
import urllib.error
import urllib.request
import zipfile
from collections.abc import Sequence
from typing import Any

import tqdm
from absl import logging

from parts_jax.data.clevrer import resumed
from parts_jax.data.formats import limits, reading, zips

BASE_URL = "http://data.csail.mit.edu/clevrer/"  # by https where the host has that
ZIPS = (  # below BASE_URL
    "videos/train/video_train.zip", "videos/validation/video_validation.zip",
    "videos/test/video_test.zip", "annotations/train/annotation_train.zip",
    "annotations/validation/annotation_validation.zip", "derender_proposals.zip")
# SHA-256 of those of which it is known; the authors published none. Of the others the first that is
# fetched is recorded, and must be the same whenever it is fetched again.
CHECKSUMS: dict[str, str] = {}
PATTERNS = {  # what a file is, by the end of its path, and the number of its clip
    "video": re.compile(r"(?:^|/)video_(\d{5})\.mp4$"),
    "annotation": re.compile(r"(?:^|/)annotation_(\d{5})\.json$"),
    "proposals": re.compile(r"(?:^|/)(?:proposal|sim)_(\d{5})\.json$"),
    "mask_video": re.compile(r"(?:^|/)[^/]*masks[^/]*/\d+/video_(\d{5})/video\.mp4$")}

ATTEMPTS = 5  # in a row without a byte
PAUSE = 5.0  # seconds before the next attempt
TIMEOUT = 60.0  # seconds
HTTPS_TIMEOUT = 10.0  # seconds, to find out whether the host has it


@dataclasses.dataclass(frozen=True)
class File:
    """A file on disk, or a member of a zip on disk."""

    path: str
    member: str = ""

    def __str__(self) -> str:
        return f"{self.member} in {self.path}" if self.member else self.path

    def read(self, max_bytes: int = limits.MAX_BYTES) -> bytes:
        """The bytes of the file.

        Raises:
          ValueError: if the zip is damaged, or the file is larger than allowed.
        """
        status = os.stat(self.path)
        if not self.member:
            limits.check_declared(self, status.st_size, max_bytes)
            with reading.naming(self.path):
                return pathlib.Path(self.path).read_bytes()
        with reading.naming(str(self), f"{self} is damaged, fetch the zip again"):
            archive = _open_zip(self.path, status.st_mtime_ns)
            limits.check_declared(str(self), archive.getinfo(self.member).file_size, max_bytes)
            return archive.read(self.member)

    def read_json(self, max_bytes: int = limits.MAX_BYTES) -> Any:
        """What a JSON file holds.

        Raises:
          ValueError: if it is no JSON, or larger than allowed.
        """
        return reading.parse_json(self.read(max_bytes), str(self))


Files = dict[str, dict[int, File]]


def find(folder: str) -> Files:
    """The files of CLEVRER below a folder: for each kind of `PATTERNS`, clip number to file.

    The names of the folders above a file do not matter. A file stands before its copy in a zip.

    Raises:
      ValueError: if a zip is truncated or damaged.
    """
    files: Files = {kind: {} for kind in PATTERNS}
    archives = []
    for root, folders, names in os.walk(folder, followlinks=True):
        folders.sort()
        for name in sorted(names):
            path = os.path.join(root, name)
            if name.startswith("._"):  # macOS keeps these beside files
                continue
            if name.endswith(".zip"):
                archives.append(path)
            else:
                _sort_in(files, File(path), pathlib.PurePath(path).as_posix())
    for path in sorted(archives):
        with reading.naming(path, f"The file {path} ({os.path.getsize(path):,} bytes) is no whole "
                                  "zip, delete it and fetch it again: it is truncated or damaged"):
            archive = _open_zip(path, os.stat(path).st_mtime_ns)
            zips.check_members(archive, path)
            members = _members(archive)
        for member in members:
            _sort_in(files, File(path, member), member)
    return files


def _members(archive: zipfile.ZipFile) -> list[str]:
    """The names in a zip, each of which stands in it twice and must be the same."""
    for member in archive.infolist():
        if not member.is_dir():
            archive.open(member).close()
    return archive.namelist()


def _sort_in(files: Files, file: File, name: str) -> None:
    for kind, pattern in PATTERNS.items():
        if match := pattern.search(name):
            files[kind].setdefault(int(match[1]), file)


@functools.lru_cache(maxsize=16)
def _open_zip(path: str, modified: int) -> zipfile.ZipFile:
    """Kept open, as its list of members is long; `modified` tells a new file of the same name."""
    return zipfile.ZipFile(path)


# --- Download ---


def missing_zips(folder: str) -> list[str]:
    """Those of `ZIPS` that are not in a folder of downloads."""
    return [name for name in ZIPS if not os.path.exists(_target(folder, name))]


def sizes_on_server(folder: str, zips: Sequence[str]) -> dict[str, int]:
    """The bytes of zips that are to be fetched into a folder.

    Raises:
      OSError: if the server cannot be reached, or the disk has not enough room for them.
    """
    return _sizes(base_url(), folder, zips)


def _sizes(base: str, folder: str, zips: Sequence[str]) -> dict[str, int]:
    sizes = {name: _size_on_server(base + name) for name in zips}
    check_room(folder, sum(sizes.values()) - _bytes_here(folder, zips), "CLEVRER's zips")
    return sizes


def download(folder: str) -> None:
    """Fetches those of `ZIPS` that a folder lacks, each going on where it was interrupted.

    Says before what it fetches and how large it is. A zip has its name only once it is whole.

    Raises:
      OSError: if the server cannot be reached or breaks off again and again, or the disk is full.
    """
    zips = missing_zips(folder)
    if not zips:
        return
    base = base_url()
    sizes = _sizes(base, folder, zips)
    logging.info(
        "CLEVRER is fetched from %s into %s: %s; %.2f GB in all, of which %.2f GB are there. It "
        "can be interrupted: the same command goes on where it was.", base, folder,
        ", ".join(f"{os.path.basename(name)} ({size / 1e9:.2f} GB)"
                  for name, size in sizes.items()),
        sum(sizes.values()) / 1e9, _bytes_here(folder, zips) / 1e9)
    os.makedirs(folder, exist_ok=True)
    for name, size in sizes.items():
        _fetch(base, folder, name, size)


def check_room(folder: str, needed: int, what: str) -> None:
    """Raises OSError if fewer than `needed` bytes are free where a folder is or will be."""
    while not os.path.isdir(folder):
        folder = os.path.dirname(os.path.abspath(folder))
    free = shutil.disk_usage(folder).free
    if free < needed:
        raise OSError(f"The disk of {folder} has no room for {what}: they take {needed / 1e9:.2f} "
                      f"GB, but {free / 1e9:.2f} GB are free. What is finished is kept: make room, "
                      "and the same command goes on from there.")


def base_url() -> str:
    """BASE_URL by https if the host has that; as it is, which is said, if it has not."""
    secure = BASE_URL.replace("http://", "https://", 1)
    if secure == BASE_URL:
        return BASE_URL
    try:
        request = urllib.request.Request(secure + ZIPS[-1], method="HEAD")
        with urllib.request.urlopen(request, timeout=HTTPS_TIMEOUT):
            return secure
    except (OSError, http.client.HTTPException) as error:
        logging.warning("%s does not answer by https (%s): what is fetched from it is not "
                        "encrypted. Checksums of what is fetched are recorded.", BASE_URL, error)
        return BASE_URL


def _fetch(base: str, folder: str, name: str, size: int) -> None:
    """Fetches one zip of `size` bytes."""
    partial, url = _partial(folder, name), base + name
    resumed.forget_changed(partial, size)
    failures, most, joined = 0, _size(partial), _size(partial) > 0
    with tqdm.tqdm(total=size, initial=_size(partial), unit="B", unit_scale=True, mininterval=1.0,
                   desc=f"Downloading {os.path.basename(name)}") as progress:
        while (start := _size(partial)) != size:
            try:
                joined |= start > 0
                resumed.append(url, partial, start, size, progress, TIMEOUT)
                error = "the connection was closed"
            except (OSError, http.client.HTTPException) as caught:
                if getattr(caught, "errno", None) == errno.ENOSPC:
                    raise OSError(
                        f"The disk is full: {url} has {size:,} bytes, of which {partial} holds "
                        f"{_size(partial):,}. Make room, and the same command goes on from "
                        "there.") from caught
                error = caught
            # What was begun anew is no progress before it is longer than what there was.
            failures = 0 if _size(partial) > most else failures + 1
            most = max(most, _size(partial))
            if failures == ATTEMPTS:
                raise OSError(_unreachable(url, error))
            if failures:
                time.sleep(PAUSE)
    resumed.check(partial, url, f"{folder}.checksums.json", CHECKSUMS.get(name), joined)
    os.replace(partial, _target(folder, name))
    resumed.forget(partial)


def _size_on_server(url: str) -> int:
    try:
        request = urllib.request.Request(url, method="HEAD")
        with urllib.request.urlopen(request, timeout=TIMEOUT) as response:
            return int(response.headers["Content-Length"])
    except (OSError, http.client.HTTPException, TypeError, ValueError) as error:
        raise OSError(_unreachable(url, error)) from error


def _unreachable(url: str, error: Exception | str) -> str:
    return (f"{url} cannot be fetched ({error}). What has arrived is kept, and the same command "
            "goes on from there. Or get the files in another way, put them into one folder, "
            "zipped or not, and name it: --config.data.source_dir=FOLDER. The simulated "
            "stand-in 'sim_clevrer' needs no network: --config=configs/parts_clevrer.py:small "
            "(one GPU) or --config=configs/parts_clevrer.py:demo (two CPU cores).")


def _bytes_here(folder: str, zips: Sequence[str]) -> int:
    """Of zips that were begun."""
    return sum(_size(_partial(folder, name)) for name in zips)


def _target(folder: str, name: str) -> str:
    return os.path.join(folder, os.path.basename(name))


def _partial(folder: str, name: str) -> str:
    return f"{_target(folder, name)}.part"


def _size(path: str) -> int:
    return os.path.getsize(path) if os.path.exists(path) else 0
