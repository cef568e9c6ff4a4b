"""One run at a time trains in a workdir: a lock that ends with its process, however that ends."""

import contextlib
import fcntl
import json
import os
import pathlib
import socket
import time
from collections.abc import Iterator

FILE_NAME = "run.lock"


@contextlib.contextmanager
def hold(workdir: str | os.PathLike) -> Iterator[None]:
    """Holds the lock of a workdir, by process 0 of a run alone; removes its file at the end.

    The operating system keeps the lock (flock) and drops it with the process, so a run that was
    killed leaves a file, but no lock. On a network file system it holds between hosts where that
    keeps locks, as NFS does; Cloud Storage FUSE does not.

    Args:
      workdir: the run's folder, made if need be.

    Raises:
      ValueError: another process holds it.
      OSError: the file cannot be written.
    """
    path = pathlib.Path(workdir) / FILE_NAME
    try:
        os.makedirs(workdir, exist_ok=True)
        file = _open_locked(path)
    except OSError as error:
        raise OSError(f"The workdir {str(workdir)!r} cannot be written to: "
                      f"{error.strerror or error}.") from error
    if file is None:
        raise ValueError(f"Another process is training in {str(workdir)!r}: {_holder(path)}. Wait "
                         "for its end, stop it, or give another --workdir.")
    with file:
        file.truncate(0)
        file.write(json.dumps({"host": socket.gethostname(), "pid": os.getpid(),
                               "since": time.strftime("%Y-%m-%d %H:%M:%S %Z")}) + "\n")
        file.flush()
        try:
            yield
        finally:
            path.unlink(missing_ok=True)


def _open_locked(path: pathlib.Path):
    """The open and locked file, or None if another process has the lock."""
    while True:
        file = path.open("a+", encoding="utf-8")
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if os.fstat(file.fileno()).st_ino == path.stat().st_ino:
                return file
        except FileNotFoundError:
            pass  # the run that held it ended between the two, and removed the file: once more
        except BlockingIOError:
            file.close()
            return None
        file.close()


def _holder(path: pathlib.Path) -> str:
    try:
        holder = json.loads(path.read_text(encoding="utf-8"))
        return f"process {holder['pid']} on {holder['host']}, since {holder['since']}"
    except (OSError, ValueError, KeyError):  # it has only just begun to write
        return f"it holds {path}"
