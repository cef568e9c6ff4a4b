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
import json
import pathlib
import zipfile
import zlib
from collections.abc import Iterator, Mapping
from typing import Any

import h5py
import numpy as np
import tensorflow_datasets as tfds
import tqdm

from parts_jax.data import episodes
from parts_jax.data.sets import splits

SUFFIXES = (".npz", ".h5", ".hdf5")
WHAT = f"episodes ({', '.join(SUFFIXES)})"
ARRAYS = ("video", "actions", "segmentations")
NOTE = "source.json"
READING_ERRORS = (OSError, EOFError, KeyError, TypeError, ValueError, zipfile.BadZipFile,
                  zlib.error)


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
        source_dir = self.builder_config.source_dir
        if not source_dir and (self.data_path / "features.json").exists():  # it is prepared
            return tfds.core.DatasetInfo(
                builder=self, features=tfds.features.FeaturesDict.from_config(self.data_path),
                metadata=tfds.core.MetadataDict())
        first = splits.find(source_dir, find_episodes, WHAT)
        _, has_masks = read_header(next(iter(first.values()))[0])
        return tfds.core.DatasetInfo(
            builder=self,
            description="First-person episodes with actions.",
            features=episodes.features(has_masks=has_masks, has_actions=True),
            metadata=tfds.core.MetadataDict(source=read_note(source_dir)),
            disable_shuffling=True)

    def _split_generators(self, dl_manager: tfds.download.DownloadManager) -> dict:
        found = splits.find(self.builder_config.source_dir, find_episodes, WHAT)
        action_size = check_alike([path for paths in found.values() for path in paths])
        check_mirrored(self.info.metadata["source"], action_size)
        return {split: self._generate_examples(split, paths) for split, paths in found.items()}

    @property
    def MIRRORED_ACTIONS(self) -> tuple[int, ...] | None:
        """The components of an action whose sign a mirrored video turns; None: not known."""
        mirrored = self.info.metadata["source"].get("mirrored_actions")
        return None if mirrored is None else tuple(mirrored)

    def _generate_examples(self, split: str,
                           paths: list[pathlib.Path]) -> Iterator[tuple[int, dict]]:
        config = self.builder_config
        progress = tqdm.tqdm(paths, unit=" episodes", mininterval=1.0,
                             desc=f"Preparing {self.name}, {split}")
        for index, path in enumerate(progress):
            episode = read_episode(path)
            name = path.relative_to(config.source_dir).as_posix()
            yield index, episodes.encode(
                str(path), episode["video"], id=name, resolution=config.resolution,
                crop=config.crop, actions=episode["actions"],
                segmentation=episode.get("segmentations"))


def find_episodes(folder: pathlib.Path) -> list[pathlib.Path]:
    """The files of episodes in a folder, hidden ones left out."""
    return sorted(path for path in folder.iterdir()
                  if path.suffix.lower() in SUFFIXES and not path.name.startswith("."))


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
    try:
        note = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(f"The note {path} is not JSON: {error}.") from error
    source = note.get("source") if isinstance(note, dict) else None
    if not (isinstance(source, str) and source.strip()):
        raise ValueError(f'The note {path} must be a JSON object with a text "source"; got {note}.')
    return note


def read_header(path: pathlib.Path) -> tuple[int, bool]:
    """The size of an episode's actions, and whether it has masks, without its frames.

    Raises:
      ValueError: if the file cannot be read, an array is missing or unknown, or the actions are
        not finite numbers [T, A].
    """
    with _opened(path) as file:
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
    if not np.isfinite(actions).all():
        frame = int(np.argwhere(~np.isfinite(actions))[0, 0])
        raise ValueError(f"The actions of the episode {path} must be finite; got "
                         f"{actions[frame].tolist()} at frame {frame}.")
    return actions.shape[1], "segmentations" in names


def read_episode(path: pathlib.Path) -> dict[str, np.ndarray]:
    """The arrays of an episode.

    Raises:
      ValueError: as `read_header`.
    """
    read_header(path)
    with _opened(path) as file:
        return {name: np.asarray(file[name]) for name in ARRAYS if name in file}


def check_alike(paths: list[pathlib.Path]) -> int:
    """The size of the actions of all episodes.

    Raises:
      ValueError: as `read_header`; and if they differ in it, or in having masks.
    """
    headers = [read_header(path) for path in paths]
    episodes.check_same_action_size([str(path) for path in paths], [size for size, _ in headers])
    masks = {has_masks: path for path, (_, has_masks) in zip(paths, headers, strict=True)}
    if len(masks) > 1:
        raise ValueError("Either all episodes of a set have segmentations or none, but "
                         f"{masks[True]} has them and {masks[False]} has not.")
    return headers[0][0]


def check_mirrored(note: Mapping[str, Any], action_size: int) -> None:
    """Raises ValueError if the "mirrored_actions" of a note are no components of an action."""
    mirrored = note.get("mirrored_actions", [])
    if not (isinstance(mirrored, list)
            and all(type(part) is int and 0 <= part < action_size for part in mirrored)):
        raise ValueError(f'The "mirrored_actions" of {NOTE} must be a list of whole numbers from 0 '
                         f"to {action_size - 1}, as the actions have size {action_size}; "
                         f"got {mirrored}.")


@contextlib.contextmanager
def _opened(path: pathlib.Path) -> Iterator[Mapping[str, Any]]:
    """The arrays of a file by name, each read when it is asked for."""
    open_file = np.load if path.suffix.lower() == ".npz" else h5py.File
    try:
        with open_file(path) as file:
            yield file
    except READING_ERRORS as error:
        raise ValueError(f"The episode {path} cannot be read: it is truncated, damaged or of "
                         f"another kind ({error}).") from error
