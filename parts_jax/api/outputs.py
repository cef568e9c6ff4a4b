"""What a command writes must be none of what it reads, nor of what it writes besides.

Files are the same whatever the name by which they are reached: through links of both kinds, and,
as not all disks tell them apart, in capital or in small letters.
"""

import contextlib
import os
import pathlib
import unicodedata
from collections.abc import Iterable, Iterator, Mapping, Sequence

from parts_jax.api import saving
from parts_jax.runs import checkpoint, shipped


def check(outputs: Mapping[str, str], inputs: Iterable[str | os.PathLike], workdir: str,
          folders: Sequence[str] = ()) -> None:
    """Looks over all paths before anything is written.

    Args:
      outputs: what is to be written, by the flag as it was given, such as "--out=a.mp4".
      inputs: files that are read.
      workdir: the run that is read, or one of its checkpoints.
      folders: in which clips are looked for, and of which no output may become another.

    Raises:
      ValueError: an output is a file that is read, a file of the run, another output, or lies
        where it would be the next time's clip, or in a run that comes with the package.
    """
    read: dict[object, str] = {}
    for path in inputs:
        for identity in _identities(path):
            read[identity] = os.fspath(path)
    run = _run_folder(workdir)
    written: dict[str, str] = {}
    for flag, path in outputs.items():
        # Its stand-in while it is written must not be a file of the user's either.
        same = [read[identity] for name in (path, saving.stand_in(path))
                for identity in _identities(name) if identity in read]
        if same:
            raise ValueError(f"{flag} would replace {same[0]}, which is read. Name another file.")
        if _is_below(path, run) and (os.path.lexists(path) or shipped.is_shipped(run)
                                     or _is_below(path, os.path.join(run, checkpoint.FOLDER))):
            raise ValueError(f"{flag} would change the run in {run}. Name another file.")
        for folder in folders:
            if not path.lower().endswith((".npz", ".json")) and _is_below(path, folder):
                raise ValueError(f"{flag} lies in {folder}, where it would be taken for a clip the "
                                 "next time. Name another place.")
        for name, other in written.items():
            if _is_below(path, name) or _is_below(name, path):
                raise ValueError(f"{flag} and {other} would replace each other. Name two files.")
        written[os.fspath(path)] = flag


def check_parent(flag: str, path: str) -> None:
    """Raises FileNotFoundError, with the folder's name, if there is none to write a file to."""
    parent = os.path.dirname(os.path.abspath(path))
    if not os.path.isdir(parent):
        raise FileNotFoundError(f"The folder {parent} of {flag} does not exist; make it first.")


@contextlib.contextmanager
def making_folder(path: str | os.PathLike) -> Iterator[None]:
    """Makes a folder, and those above it; after an error those that are still empty go again."""
    made = []
    folder = pathlib.Path(os.path.abspath(path))
    while not folder.exists():
        made.append(folder)
        folder = folder.parent
    os.makedirs(path, exist_ok=True)
    try:
        yield
    except BaseException:
        for folder in made:
            with contextlib.suppress(OSError):  # it holds what was written before
                folder.rmdir()
        raise


def _identities(path: str | os.PathLike) -> list[object]:
    """What two names of the same file have in common."""
    known: list[object] = [_key(path)]
    if os.path.exists(path):
        status = os.stat(path)
        known.append((status.st_dev, status.st_ino))
    return known


def _key(path: str | os.PathLike) -> str:
    return unicodedata.normalize("NFC", os.path.realpath(path)).casefold()


def _is_below(path: str | os.PathLike, folder: str | os.PathLike) -> bool:
    """Whether a path is a folder or a file, or lies in it."""
    if os.path.exists(path) and os.path.exists(folder) and os.path.samefile(path, folder):
        return True
    return pathlib.PurePath(_key(path)).is_relative_to(_key(folder))


def _run_folder(workdir: str) -> str:
    path = shipped.find_model(workdir)
    return str(path.parents[1] if path.parent.name == checkpoint.FOLDER else path)
