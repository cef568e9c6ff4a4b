"""A lock that ends with the process that holds it, however that ends; for one place at a time."""

import contextlib
import errno
import fcntl
import json
import os
import pathlib
import socket
import time
from collections.abc import Iterator
from typing import TextIO

from absl import logging

from parts_jax.files import json_text

# What a file system says that was mounted without locks, as Lustre often is.
NO_LOCKS = (errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP)


class HeldError(Exception):
    """Another process holds the lock; the message says which."""


@contextlib.contextmanager
def hold(path: str | os.PathLike, wait: bool = False) -> Iterator[None]:
    """Holds the lock of a file, which says by whom, and is removed at the end.

    The operating system keeps the lock (flock) and drops it with the process, so a process that was
    killed leaves a file, but no lock. On a network file system it holds between hosts where that
    keeps locks, as NFS does; Cloud Storage FUSE does not. Where there are none at all, this warns,
    and holds nothing.

    Args:
      path: of the file, whose folder is there.
      wait: for the end of another process that holds it; else that is an error.

    Raises:
      HeldError: another process holds it.
      OSError: the file cannot be written.
    """
    path = pathlib.Path(path)
    with _open_locked(path, wait) as file:
        file.truncate(0)
        file.write(json.dumps({"host": socket.gethostname(), "pid": os.getpid(),
                               "since": time.strftime("%Y-%m-%d %H:%M:%S %Z")}) + "\n")
        file.flush()
        try:
            yield
        finally:
            path.unlink(missing_ok=True)


def _open_locked(path: pathlib.Path, wait: bool) -> TextIO:
    """The file, open and locked."""
    while True:
        file = path.open("a+", encoding="utf-8")
        try:
            fcntl.flock(file, fcntl.LOCK_EX if wait else fcntl.LOCK_EX | fcntl.LOCK_NB)
            if os.fstat(file.fileno()).st_ino == path.stat().st_ino:
                return file
        except FileNotFoundError:
            pass  # who held it ended between the two, and removed the file: once more
        except BlockingIOError as error:
            file.close()
            raise HeldError(holder(path)) from error
        except OSError as error:
            if error.errno not in NO_LOCKS:
                file.close()
                raise
            logging.warning("The file system of %s keeps no locks (%s): nothing will stop a second "
                            "process there.", path, error.strerror)
            return file
        file.close()


def holder(path: str | os.PathLike) -> str:
    """Who holds a lock, by its file."""
    try:
        found = json_text.parse(pathlib.Path(path).read_bytes())
        return f"process {found['pid']} on {found['host']}, since {found['since']}"
    except (OSError, ValueError, KeyError, TypeError):  # it has only just begun to write
        return f"it holds {path}"
