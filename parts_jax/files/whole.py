"""Files that are there whole or not at all."""

import os
import pathlib


def write_whole(path: str | os.PathLike, content: bytes | str) -> None:
    """Writes a file so that a reader, or a crash at any moment, finds the old or the new one.

    What a killed process leaves is one hidden file beside it, which the next write takes over.

    Args:
      path: of the file, whose folder is there.
      content: bytes, or text, which is written as UTF-8.

    Raises:
      OSError: it cannot be written; the old file is as it was, and nothing is left beside it.
    """
    path = pathlib.Path(path)
    part = path.with_name(f".{path.name}.part")
    try:
        with part.open("wb") as file:
            file.write(content.encode() if isinstance(content, str) else content)
            file.flush()
            os.fsync(file.fileno())
        os.replace(part, path)
    except BaseException:
        part.unlink(missing_ok=True)
        raise
