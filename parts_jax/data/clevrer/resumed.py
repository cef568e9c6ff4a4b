"""Downloads that go on where they broke off, and never join parts of two versions of a file.

Beside a file that is begun (NAME.part) lies what the server said of it (NAME.part.json): its size,
ETag and Last-Modified. The rest is asked for on the condition that they still hold (If-Range), and
what comes is held against them (RFC 9110, sections 13.1.5 and 14.4).
"""

import hashlib
import http.client
import json
import os
import re
import urllib.request
import zipfile
from typing import Any

import tqdm
from absl import logging

from parts_jax.data.formats import reading
from parts_jax.files import whole

BLOCK = 1 << 20  # bytes
VALIDATORS = ("ETag", "Last-Modified")


class ChangedError(OSError):
    """The server has another version of the file than was begun."""


def append(url: str, partial: str, start: int, size: int, progress: tqdm.tqdm,
           timeout: float) -> None:
    """Writes what the server sends from byte `start` on, at most up to `size` bytes.

    Raises:
      OSError: the server cannot be reached, or sends another part, or one of another version.
      http.client.HTTPException: it breaks off.
    """
    known = _known(partial)
    headers = {"Range": f"bytes={start}-"} if start else {}
    if start and (condition := _condition(known)):
        headers["If-Range"] = condition
    request = urllib.request.Request(url, headers=headers)
    with urllib.request.urlopen(request, timeout=timeout) as response:
        joins = bool(start) and response.status == http.client.PARTIAL_CONTENT
        try:
            _check_answer(response, url, start if joins else 0, size, known if joins else {})
        except ChangedError:
            if joins:
                forget(partial)  # what is there may not be joined with anything
            raise
        if not joins:  # it sends all again
            progress.reset()
            whole.write_whole(f"{partial}.json", json.dumps({"size": size} | {
                name: response.headers[name] for name in VALIDATORS if response.headers[name]}))
        left = size - start if joins else size
        with open(partial, "ab" if joins else "wb") as file:
            while left and (block := response.read(min(BLOCK, left))):
                file.write(block)
                file.flush()
                progress.update(len(block))
                left -= len(block)


def forget_changed(partial: str, size: int) -> None:
    """Forgets what was begun of a file that had another size then, or is longer than it."""
    there = os.path.getsize(partial) if os.path.exists(partial) else 0
    if there and (there > size or _known(partial).get("size", size) != size):
        logging.warning("%s is of another version of the file: it is fetched anew.", partial)
        forget(partial)


def forget(partial: str) -> None:
    """Removes what was begun."""
    for path in (partial, f"{partial}.json"):
        if os.path.exists(path):
            os.remove(path)


def check(partial: str, url: str, record: str, pinned: str | None, joined: bool) -> None:
    """Looks at a whole file before it gets its name, and records its checksum.

    Args:
      partial: the file, a zip.
      url: where it is from.
      record: the file of the checksums of what was fetched before.
      pinned: its SHA-256, if it is known.
      joined: whether it was fetched in parts, so that all of the zip has to be read.

    Raises:
      OSError: it is another one than is known or was fetched before, or no whole zip. It is
        removed.
    """
    name, recorded = url.rsplit("/", 1)[-1], _read_record(record)
    with open(partial, "rb") as file:
        found = hashlib.file_digest(file, "sha256").hexdigest()
    before = recorded.get(name, {}).get("sha256")
    problem = ""
    if found != (pinned or found):
        problem = f"its SHA-256 is {found}, but must be {pinned}"
    elif found != (before or found):
        problem = (f"its SHA-256 is {found}, but was {before} when it was fetched first. If its "
                   f"authors changed it, remove it from {record}")
    elif joined:
        try:
            with reading.naming(partial), zipfile.ZipFile(partial) as archive:
                broken = archive.testzip()
            problem = broken and f"its member {broken} is damaged"
        except ValueError as error:
            problem = f"it is no whole zip: {error}"
    if problem:
        forget(partial)
        raise OSError(f"What came from {url} is refused and was removed: {problem}.")
    recorded[name] = {"sha256": found, "bytes": os.path.getsize(partial), "url": url}
    whole.write_whole(record, json.dumps(recorded, indent=1))


def _check_answer(response: Any, url: str, start: int, size: int, known: dict) -> None:
    """Raises OSError unless a server sends the file from byte `start` on, as it was begun."""
    for name in VALIDATORS:
        before, now = known.get(name), response.headers[name]
        if before and now and before != now:
            raise ChangedError(f"the file changed on the server: its {name} is {now}, and was "
                               f"{before}")
    ranged = response.headers["Content-Range"]
    if ranged and response.status == http.client.PARTIAL_CONTENT:
        match = re.fullmatch(r"bytes (\d+)-(\d+)/(\d+|\*)", ranged.strip())
        if match and match[3] not in ("*", str(size)):
            raise ChangedError(f"the file changed on the server: it has {match[3]} bytes, and had "
                               f"{size}")
        if not match or int(match[1]) != start:
            raise OSError(f"the server sent {ranged}, but was asked for bytes {start}-{size - 1} "
                          f"of {size}")
    length = response.headers["Content-Length"]
    if length and length != str(size - start):
        raise OSError(f"the server sends {length} bytes from byte {start} on, but the file has "
                      f"{size}: it changed, or another part was sent")


def _condition(known: dict) -> str | None:
    """What If-Range may say: a weak ETag may not."""
    tag = known.get("ETag", "")
    return tag if tag and not tag.startswith("W/") else known.get("Last-Modified")


def _known(partial: str) -> dict:
    """What the server said when a file was begun; nothing if that is not known, or damaged."""
    try:
        return _read_json(f"{partial}.json")
    except ValueError:
        return {}


def _read_record(path: str) -> dict:
    recorded = _read_json(path)
    return {name: entry for name, entry in recorded.items() if isinstance(entry, dict)}


def _read_json(path: str) -> dict:
    if not os.path.exists(path):
        return {}
    with open(path, "rb") as file:
        content = reading.parse_json(file.read(), path)
    if not isinstance(content, dict):
        raise ValueError(f"The file {path} must be a JSON object: remove it.")
    return content
