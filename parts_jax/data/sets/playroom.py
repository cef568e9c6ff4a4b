"""`playroom`: first-person episodes with actions, in an interchange format for those who hold some.

The paper's Playroom videos were not released. An episode is one `.npz` or HDF5 file (`.h5`,
`.hdf5`) of these arrays, and no others:

    video          uint8 [T, H, W, 3], RGB;
    actions        float32 [T, A]; actions[t] is taken between the frames t and t+1;
    segmentations  uint8 or uint16 [T, H, W], 0 for background, other ids (at most 255) the same in
                   all frames; optional: all episodes have it, or none.

The folder of the episodes, split as `splits` says, also holds a note of where they come from,
`source.json`: {"source": "...", ...}, with whatever else is worth keeping. Its optional
"mirrored_actions" lists the components of an action (from 0) whose sign a mirrored video turns,
such as strafing and looking left or right; with it, data.flip can be used.
"""

import contextlib
import os
import pathlib
from collections.abc import Iterator, Mapping
from typing import Any

import h5py
import numpy as np
import tensorflow_datasets as tfds
import tqdm
from absl import logging

from parts_jax.data import episodes
from parts_jax.data.formats import hdf5, limits, npz, reading
from parts_jax.data.sets import splits

SUFFIXES = (".npz", ".h5", ".hdf5")
WHAT = f"episodes ({', '.join(SUFFIXES)})"
ARRAYS = ("video", "actions", "segmentations")
NOTE = "source.json"


class Playroom(tfds.core.GeneratorBasedBuilder):
    """Episodes with actions, from files of the interchange format.

    An example has
      video: T strings, PNG of uint8 [H, W, 3];
      segmentation: T strings, PNG of uint8 [H, W], where the episodes have segmentations;
      actions: float32 [T, A];
      id: text, the path of the file in its folder.
    `info.metadata["source"]` is the note.
    """

    name = "playroom"
    VERSION = tfds.core.Version("1.0.0")
    # TFDS finds this path by itself, but with a package that it needs and does not declare.
    code_path = tfds.core.Path(__file__)
    BUILDER_CONFIGS = [
        episodes.SourceConfig(name="64", resolution=64, description="64x64."),
        episodes.SourceConfig(name="128", resolution=128, description="128x128."),
    ]

    def _info(self) -> tfds.core.DatasetInfo:
        config = self.builder_config
        if not config.source_dir and (self.data_path / "features.json").exists():  # it is prepared
            return tfds.core.DatasetInfo(
                builder=self, features=tfds.features.FeaturesDict.from_config(self.data_path),
                metadata=tfds.core.MetadataDict())
        found = splits.find(config.source_dir, find_episodes, WHAT)
        has_masks = any_header([path for paths in found.values() for path in paths], config)[1]
        return tfds.core.DatasetInfo(
            builder=self,
            description="First-person episodes with actions.",
            features=episodes.features(has_masks=has_masks, has_actions=True),
            metadata=tfds.core.MetadataDict(source=read_note(config.source_dir)),
            disable_shuffling=True)

    def _split_generators(self, dl_manager: tfds.download.DownloadManager) -> dict:
        config = self.builder_config
        found = splits.find(config.source_dir, find_episodes, WHAT)
        say_skipped(config.source_dir, found)
        action_size = check_alike([path for paths in found.values() for path in paths], config)
        check_mirrored(self.info.metadata["source"], action_size)
        return {split: self._generate_examples(split, paths, action_size)
                for split, paths in found.items()}

    @property
    def MIRRORED_ACTIONS(self) -> tuple[int, ...] | None:
        """The components of an action whose sign a mirrored video turns; None: not known."""
        mirrored = self.info.metadata["source"].get("mirrored_actions")
        return None if mirrored is None else tuple(mirrored)

    def _generate_examples(self, split: str, paths: list[pathlib.Path],
                           action_size: int) -> Iterator[tuple[int, dict]]:
        progress = tqdm.tqdm(paths, unit=" episodes", mininterval=1.0,
                             desc=f"Preparing {self.name}, {split}")
        left_out = reading.LeftOut("episodes", self.builder_config.skip_bad)
        count = 0
        for path in progress:
            example = left_out.attempt(self._example, path, action_size)
            if example is not None:
                yield count, example
                count += 1
        left_out.say(split)
        if not count:
            raise ValueError(f"None of the {len(paths)} episodes of the split {split!r} in "
                             f"{self.builder_config.source_dir} can be read.")

    def _example(self, path: pathlib.Path, action_size: int) -> dict[str, Any]:
        config = self.builder_config
        episode = read_episode(path, config.max_bytes)
        has_masks = "segmentation" in self.info.features
        if (episode["actions"].shape[1], "segmentations" in episode) != (action_size, has_masks):
            raise ValueError(f"The episode {path} must have actions of size {action_size} and "
                             f"{'' if has_masks else 'no '}segmentations, as the others have.")
        return episodes.encode(
            f"the episode {path}", episode["video"],
            id=path.relative_to(pathlib.Path(config.source_dir).expanduser()).as_posix(),
            resolution=config.resolution, crop=config.crop, actions=episode["actions"],
            segmentation=episode.get("segmentations"))


def find_episodes(folder: pathlib.Path) -> list[pathlib.Path]:
    """The files of episodes in a folder, hidden ones left out."""
    return sorted(path for path in folder.iterdir()
                  if path.suffix.lower() in SUFFIXES and not path.name.startswith("."))


def say_skipped(source_dir: str, found: Mapping[str, list[pathlib.Path]]) -> None:
    """Says how many files of episodes are there and not read: hidden ones, and those in folders."""
    read = {path for paths in found.values() for path in paths}
    folder = pathlib.Path(source_dir).expanduser()
    skipped, seen = [], {os.path.realpath(folder)}  # links may lead back
    for root, folders, names in os.walk(folder, followlinks=True):
        folders[:] = [name for name in sorted(folders)
                      if (place := os.path.realpath(os.path.join(root, name))) not in seen
                      and not seen.add(place)]
        skipped += [path for name in sorted(names)
                    if (path := pathlib.Path(root, name)) not in read
                    and path.suffix.lower() in SUFFIXES]
    hidden = sum(path.name.startswith(".") for path in skipped)
    if skipped:
        logging.warning(
            "Not read in %s: %d files of episodes, %d of them hidden (such as ._ files of macOS), "
            "%d in folders below those that are read. The first is %s.", source_dir, len(skipped),
            hidden, len(skipped) - hidden, skipped[0])


def read_note(source_dir: str) -> dict[str, Any]:
    """The note of where the episodes of a folder come from.

    Raises:
      FileNotFoundError: if it is missing.
      ValueError: if it is no JSON object with a text "source".
    """
    path = pathlib.Path(source_dir, NOTE)
    if not path.is_file():
        raise FileNotFoundError(
            f"The note {path} is missing. It says where the episodes come from: a JSON object "
            'such as {"source": "Playroom, recorded in 2021 by a random agent"}.')
    note = reading.parse_json(path.read_bytes(), path, "The note")
    source = note.get("source") if isinstance(note, dict) else None
    if not (isinstance(source, str) and source.strip()):
        raise ValueError(f'The note {path} must be a JSON object with a text "source"; got '
                         f"{note!r:.200}.")
    return note


def read_header(path: pathlib.Path, max_bytes: int = limits.MAX_BYTES) -> tuple[int, bool]:
    """The size of an episode's actions, and whether it has masks, without its frames.

    Raises:
      ValueError: if the file cannot be read, an array is missing or unknown, or the actions are
        not finite numbers [T, A].
      OSError: if it may not be read, or another program has it open.
    """
    with _opened(path, max_bytes) as file:
        names = set(file)
        actions = np.asarray(file["actions"]) if "actions" in names else None
    missing = {"video", "actions"} - names
    unknown = names - set(ARRAYS)
    if missing or unknown:
        problem = f"has no {' and no '.join(sorted(missing))}" if missing else \
            f"has an unknown array {', '.join(sorted(unknown))}"
        raise ValueError(f"The episode {path} {problem}. An episode has the arrays video, actions "
                         f"and, optionally, segmentations; got {', '.join(sorted(names))}.")
    if actions.ndim != 2 or actions.shape[1] == 0 or actions.dtype.kind not in "fiu":
        raise ValueError(f"The actions of the episode {path} must be float32 [frames, action "
                         f"size]; got {actions.dtype} {list(actions.shape)}.")
    episodes.checked_actions(f"the episode {path}", actions)
    return actions.shape[1], "segmentations" in names


def read_episode(path: pathlib.Path, max_bytes: int = limits.MAX_BYTES) -> dict[str, np.ndarray]:
    """The arrays of an episode.

    Raises:
      ValueError, OSError: as `read_header`.
    """
    read_header(path, max_bytes)
    with _opened(path, max_bytes) as file:
        return {name: np.asarray(file[name]) for name in ARRAYS if name in file}


def any_header(paths: list[pathlib.Path], config: episodes.SourceConfig) -> tuple[int, bool]:
    """That of the first episode; with skip_bad, of the first that can be read."""
    for path in paths:
        try:
            return read_header(path, config.max_bytes)
        except (ValueError, OSError):
            if not config.skip_bad or path == paths[-1]:
                raise
    raise ValueError("There are no episodes.")


def check_alike(paths: list[pathlib.Path], config: episodes.SourceConfig) -> int:
    """The size of the actions of all episodes; with skip_bad, of the first that can be read.

    Raises:
      ValueError, OSError: as `read_header`; and if they differ in it, or in having masks.
    """
    action_size, has_masks = any_header(paths, config)
    if not config.skip_bad:
        headers = [read_header(path, config.max_bytes) for path in paths]
        episodes.check_same_action_size([str(path) for path in paths],
                                        [size for size, _ in headers])
        masks = {has_masks: path for path, (_, has_masks) in zip(paths, headers, strict=True)}
        if len(masks) > 1:
            raise ValueError("Either all episodes of a set have segmentations or none, but "
                             f"{masks[True]} has them and {masks[False]} has not.")
    return action_size


def check_mirrored(note: Mapping[str, Any], action_size: int) -> None:
    """Raises ValueError if the "mirrored_actions" of a note are no components of an action."""
    mirrored = note.get("mirrored_actions", [])
    if not (isinstance(mirrored, list)
            and all(type(part) is int and 0 <= part < action_size for part in mirrored)):
        raise ValueError(f'The "mirrored_actions" of {NOTE} must be a list of whole numbers from 0 '
                         f"to {action_size - 1}, as the actions have size {action_size}; "
                         f"got {mirrored}.")


def _check_lengths(path: pathlib.Path, found: Mapping[str, h5py.Dataset]) -> None:
    """Raises ValueError if an array declares another number of frames than the video."""
    lengths = {name: found[name].shape[0] for name in ARRAYS
               if name in found and found[name].shape}
    for name, length in lengths.items():
        if "video" in lengths and length != lengths["video"]:
            raise ValueError(f"The episode {path} cannot be read as an episode. Its {name} must be "
                             f"as many as the video has frames ({lengths['video']}); got {length}.")


@contextlib.contextmanager
def _opened(path: pathlib.Path, max_bytes: int) -> Iterator[Mapping[str, Any]]:
    """The arrays of a file by name, each read when it is asked for."""
    if path.suffix.lower() != ".npz":
        with hdf5.opened(path, "The episode") as file:
            found = {name: hdf5.dataset(file, name) for name in file}
            hdf5.check_declared(path, list(found.values()), max_bytes)
            _check_lengths(path, found)  # what is declared may be huge: before anything is read
            yield found
        return
    with (reading.naming(path, f"The episode {path} cannot be read: it is truncated, damaged or of "
                               "another kind"),
          npz.Npz(path, max_bytes) as file):
        yield file
