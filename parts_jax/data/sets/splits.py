"""Which of the user's files belong to which split.

A folder is split in one of two ways:

1. It has at least one of the folders `train`, `validation` and `test`: each of them is a split.
   Capital letters make no difference, and `training`, `valid`, `val` and `testing` will do, too.
2. It has none of them: its sources (files, or folders of frames) are put in the order of their
   paths; the last tenth (rounded down, but at least one) is `test`, as many before it are
   `validation`, the others are `train`.
"""

import pathlib
from collections.abc import Callable

from parts_jax.data.formats import source_files

SPLITS = ("train", "validation", "test")  # their positions are part of the seed of simulated clips
OTHER_NAMES = {"training": "train", "valid": "validation", "val": "validation", "testing": "test"}


def find(source_dir: str, find_sources: Callable[[pathlib.Path], list[pathlib.Path]],
         what: str) -> dict[str, list[pathlib.Path]]:
    """The sources of each split of a folder, in order.

    Args:
      source_dir: the folder.
      find_sources: all sources in a folder.
      what: the kind of source, for messages, such as "episodes (.npz)".

    Returns:
      The splits that there are; each has at least one source.

    Raises:
      ValueError: if no folder is named, a split has no sources, sources lie beside the folders of
        splits, or there are too few to be split.
      OSError: if there is no such folder.
    """
    if not source_dir:
        raise ValueError(f"This data set is made from your own {what}: name their folder with "
                         "--config.data.source_dir=PATH.")
    folder = source_files.existing_folder(source_dir)
    sources = sorted(find_sources(folder))
    folders = split_folders(folder)
    if folders:
        return _by_folder(folder, folders, sources, find_sources, what)
    if not sources:
        raise ValueError(f"There are no {what} in the folder {folder}.")
    return _by_order(folder, sources, what)


def split_of(name: str) -> str | None:
    """The split that a folder or a list of this name stands for; None if for none."""
    name = name.casefold()
    return name if name in SPLITS else OTHER_NAMES.get(name)


def split_folders(folder: pathlib.Path) -> dict[str, pathlib.Path]:
    """The folders of splits in a folder, in the order of SPLITS.

    Raises:
      ValueError: if two stand for the same split.
    """
    found = {}
    for path in sorted(folder.iterdir()):
        split = split_of(path.name)
        if split and path.is_dir() and found.setdefault(split, path) != path:
            raise ValueError(f"The folders {found[split]} and {path} both stand for the split "
                             f"{split}: make one of them.")
    return {split: found[split] for split in SPLITS if split in found}


def _by_folder(folder: pathlib.Path, folders: dict[str, pathlib.Path], sources: list[pathlib.Path],
               find_sources: Callable[[pathlib.Path], list[pathlib.Path]],
               what: str) -> dict[str, list[pathlib.Path]]:
    names = {path.name for path in folders.values()}
    for source in sources:
        if source.relative_to(folder).parts[0] not in names:
            raise ValueError(f"The folder {folder} is split by its folders "
                             f"{', '.join(sorted(names))}, but {source} lies beside them: move it "
                             "into one of them, or away.")
    found = {split: sorted(find_sources(path)) for split, path in folders.items()}
    for split, members in found.items():
        if not members:
            raise ValueError(f"There are no {what} in the folder {folders[split]}.")
    return found


def _by_order(folder: pathlib.Path, sources: list[pathlib.Path],
              what: str) -> dict[str, list[pathlib.Path]]:
    if len(sources) < len(SPLITS):
        raise ValueError(
            f"The folder {folder} has {len(sources)} of the {what} that can be read: at least "
            f"{len(SPLITS)} are needed to make {', '.join(SPLITS)} of them. Bring more, or put "
            "them into folders of these names; with train alone, evaluate on it by "
            "--config.eval.split=train --config.eval.final_split=train.")
    tenth = max(len(sources) // 10, 1)
    return {"train": sources[:-2 * tenth], "validation": sources[-2 * tenth:-tenth],
            "test": sources[-tenth:]}
