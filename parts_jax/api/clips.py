"""The clips that a user names: video files, folders of frames, and folders of these."""

import dataclasses
import os
import pathlib
from collections import Counter
from collections.abc import Iterator, Sequence

import numpy as np

from parts_jax.data.formats import video_files
from parts_jax.data.sets import folder

FRAME_SUFFIXES = (".png", ".jpg", ".jpeg")
# Masks that lie beside the videos in DAVIS and YouTube-VOS are no videos.
VIDEOS, MASKS = "JPEGImages", "Annotations"
WHAT = (f"a video ({', '.join(video_files.SUFFIXES)}), a folder of its numbered frames "
        f"({', '.join(FRAME_SUFFIXES)}), or a folder of such clips")


@dataclasses.dataclass(frozen=True)
class Clip:
    """A video as it lies on the disk.

    Attributes:
      path: of the file, or of the folder of frames.
      name: of what is written for it, without a suffix; with slashes where it lay in subfolders.
    """

    path: pathlib.Path
    name: str

    def iter_frames(self) -> Iterator[np.ndarray]:
        """Yields uint8 [H, W, 3]; raises ValueError or OSError where a frame cannot be read."""
        if self.path.is_dir():
            return folder.iter_pictures(self.path)
        return video_files.iter_frames(self.path)

    def frame_rate(self) -> float | None:
        """Frames a second as the file says; None where it does not. Raises as `iter_frames`."""
        if self.path.is_dir():
            next(self.iter_frames())  # says what is wrong with the first one
            return None
        return video_files.frame_rate(self.path)

    def files(self) -> list[pathlib.Path]:
        """All files that are read."""
        return folder.find_frames(self.path) if self.path.is_dir() else [self.path]


def find(paths: Sequence[str]) -> tuple[list[Clip], bool]:
    """The clips that paths stand for, and whether they are more than one, or a folder of clips.

    Raises:
      FileNotFoundError: there is nothing of that name.
      ValueError: a folder holds no clips, or clips beside frames; or two clips have the same name.
    """
    found, many = [], len(paths) > 1
    for text in paths:
        path = pathlib.Path(text)
        if path.is_dir():
            root = pathlib.Path(os.path.abspath(path))
            below = list(_iter_below(root, frozenset()))
            many = many or below != [root]
            found += [(clip, root.name if clip == root else clip.relative_to(root).as_posix())
                      for clip in below]
            if not below:
                raise ValueError(f"There is no clip in {path}. Give {WHAT}.")
        elif path.exists():
            found.append((path, path.name))
        else:
            raise FileNotFoundError(f"There is no video file {path}.")
    return _named(found), many


def _iter_below(path: pathlib.Path, above: frozenset[str]) -> Iterator[pathlib.Path]:
    """The clips in a folder, which may be one itself; hidden files and folders are left out."""
    real = os.path.realpath(path)
    if real in above:
        raise ValueError(f"The folder {path} is a link to a folder that it lies in.")
    entries = sorted(entry for entry in path.iterdir() if not entry.name.startswith("."))
    has_frames = any(entry.suffix.lower() in FRAME_SUFFIXES for entry in entries
                     if entry.is_file())
    if {VIDEOS, MASKS} <= {entry.name for entry in entries}:
        entries = [entry for entry in entries if entry.name != MASKS]
    clips = [entry for entry in entries if entry.is_file() and video_files.is_video(entry)]
    for entry in entries:
        if entry.is_dir():
            clips += _iter_below(entry, above | {real})
    if has_frames and clips:
        raise ValueError(f"The folder {path} holds frames and, beside them, {clips[0]}; it must be "
                         "one clip's frames or hold clips, not both.")
    yield from [path] if has_frames else sorted(clips)


def _named(found: Sequence[tuple[pathlib.Path, str]]) -> list[Clip]:
    """Clips by their names without suffixes; with them, as _mp4, where others would be the same."""
    def short(path: pathlib.Path, name: str) -> str:
        return name if path.is_dir() else str(pathlib.PurePosixPath(name).with_suffix(""))

    times = Counter(short(*clip).casefold() for clip in found)
    clips: dict[str, Clip] = {}
    for path, name in found:
        if times[short(path, name).casefold()] == 1:
            name = short(path, name)
        elif not path.is_dir():
            name = f"{short(path, name)}_{path.suffix[1:]}"
        other = clips.setdefault(name.casefold(), Clip(path, name))
        if other.path != path:
            raise ValueError(f"What is written is named after each clip, but {other.path} and "
                             f"{path} have the same name. Segment them one by one.")
    return list(clips.values())
