"""Files of a public set in a folder of the machine's user."""

import os
import pathlib
import re
from collections.abc import Iterator


def find(source_dir: str | os.PathLike, name: re.Pattern[str] | str, what: str,
         ) -> list[pathlib.Path]:
    """All files of some name in a folder or below it, in the order of their paths.

    Args:
      source_dir: the folder.
      name: regular expression that names of files match from start to end.
      what: the kind of file, for messages, such as "archives (*.tar.bz2) of Sketchy".

    Raises:
      ValueError: if no folder is named.
      OSError: if there is no such folder, or no such file in it.
    """
    if not source_dir:
        raise ValueError(f"This data set is made from files on this machine, {what}: name their "
                         "folder with --config.data.source_dir=PATH.")
    folder = existing_folder(source_dir)
    paths = sorted(path for path in below(folder)
                   if re.fullmatch(name, path.name) and path.is_file()
                   and not path.name.startswith("._"))  # macOS keeps these beside files
    if not paths:
        raise FileNotFoundError(f"There are no {what} in the folder {folder} or below it.")
    return paths


def below(folder: pathlib.Path) -> Iterator[pathlib.Path]:
    """Yields all that is in a folder or below it and is no folder; links are followed.

    Raises:
      ValueError: if a link leads back to a folder that it lies in.
      OSError: if a folder cannot be read.
    """
    waiting = [(folder, frozenset())]
    while waiting:
        here, above = waiting.pop()
        status = here.stat()
        place = (status.st_dev, status.st_ino)
        if place in above:
            raise ValueError(f"The link {here} leads back to a folder that it lies in: remove it.")
        with os.scandir(here) as entries:
            for entry in sorted(entries, key=lambda entry: entry.name):
                if entry.is_dir():
                    waiting.append((here / entry.name, above | {place}))
                else:
                    yield here / entry.name


def existing_folder(source_dir: str | os.PathLike) -> pathlib.Path:
    """The folder that `source_dir` names; OSError if there is none."""
    folder = pathlib.Path(os.path.expanduser(source_dir))
    if not folder.is_dir():
        problem = NotADirectoryError if folder.exists() else FileNotFoundError
        raise problem(f"There is no folder {folder}, which --config.data.source_dir names.")
    return folder
