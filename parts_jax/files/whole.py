"""Files that are there whole or not at all."""

import contextlib
import os
import pathlib
import socket
from collections.abc import Iterator


def write_whole(path: str | os.PathLike, content: bytes | str, *, shared: bool = False) -> None:
    """Writes a file so that a reader, or a crash at any moment, finds the old or the new one.

    Args:
      path: of the file, whose folder is there.
      content: bytes, or text, which is written as UTF-8.
      shared: see `replacing`.

    Raises:
      OSError: it cannot be written; the old file is as it was, and nothing is left beside it.
    """
    with replacing(path, shared=shared) as part:
        part.write_bytes(content.encode() if isinstance(content, str) else content)


@contextlib.contextmanager
def replacing(path: str | os.PathLike, *, shared: bool = False) -> Iterator[pathlib.Path]:
    """The same for what is not written at once: yields a file's stand-in, which replaces it.

        with whole.replacing("clip.zip") as part, zipfile.ZipFile(part, "w") as archive:
            ...

    The stand-in is a hidden file beside it, which has to be there at the end. After an error it is
    removed, and the old file is as it was. What a killed process leaves, the next one takes over.

    Args:
      path: of the file, whose folder is there.
      shared: whether other processes, on other hosts too, may write the same file meanwhile. Each
        has a stand-in of its own then, the last one to end wins, and what a killed process leaves
        stays there.

    Raises:
      OSError: it cannot be written.
    """
    path = pathlib.Path(path)
    writer = f".{socket.gethostname()}-{os.getpid()}" if shared else ""
    part = path.with_name(f".{path.name}{writer}.part")
    try:
        yield part
        # On the disk before it has the name: else a crash could leave the name, and no content.
        with part.open("rb") as file:
            os.fsync(file.fileno())
        os.replace(part, path)
    except BaseException:
        part.unlink(missing_ok=True)
        raise
