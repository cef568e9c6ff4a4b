"""`folder`: the user's own videos, without masks.

Anywhere below a folder, split as `splits` says, lie video files (mp4, gif and others: see
`video_files.SUFFIXES`) and folders of numbered frames (png or jpg), each of them one video. Long
videos are cut into clips as they are read, so that a film need not fit into memory.
"""

import dataclasses
import pathlib
import re
from collections.abc import Iterable, Iterator

import numpy as np
import tensorflow_datasets as tfds
import tqdm
from PIL import Image, ImageOps

from parts_jax.data import episodes, preprocess
from parts_jax.data.formats import declared_size, video_files
from parts_jax.data.sets import splits

FRAME_SUFFIXES = (".png", ".jpg", ".jpeg")
WHAT = (f"videos ({', '.join(video_files.SUFFIXES)}, or a folder of its own for the numbered "
        f"frames ({', '.join(FRAME_SUFFIXES)}) of each)")
LEAST_FRAMES = 2


@dataclasses.dataclass
class FolderConfig(episodes.SourceConfig):
    """A variant of `folder`.

    Attributes:
      clip_frames: longer videos are cut into clips of so many frames; what is left for the last
        two is shared evenly between them, so that no frame is lost and no clip is tiny.
    """

    clip_frames: int = 128


class Folder(tfds.core.GeneratorBasedBuilder):
    """The user's own videos.

    An example has
      video: T strings, PNG of uint8 [H, W, 3]; T differs from clip to clip;
      id: text, the path of the video in its folder and the number of the clip's first frame,
        such as "train/walk.mp4:128".
    """

    name = "folder"
    VERSION = tfds.core.Version("1.0.0")
    # TFDS finds this path by itself, but with a package that it needs and does not declare.
    code_path = tfds.core.Path(__file__)
    BUILDER_CONFIGS = [
        FolderConfig(name="64", resolution=64, description="64x64."),
        FolderConfig(name="128", resolution=128, description="128x128."),
        FolderConfig(name="64_center", resolution=64, crop="center",
                     description="64x64, of the largest square in the middle."),
        FolderConfig(name="128_center", resolution=128, crop="center",
                     description="128x128, of the largest square in the middle."),
    ]

    def _info(self) -> tfds.core.DatasetInfo:
        return tfds.core.DatasetInfo(
            builder=self,
            description="Videos of the user.",
            features=episodes.features(has_masks=False, has_actions=False),
            disable_shuffling=True)

    def _split_generators(self, dl_manager: tfds.download.DownloadManager) -> dict:
        found = splits.find(self.builder_config.source_dir, find_videos, WHAT)
        for paths in found.values():
            for path in paths:
                look_over(path)
        return {split: self._generate_examples(split, paths) for split, paths in found.items()}

    def _generate_examples(self, split: str,
                           paths: list[pathlib.Path]) -> Iterator[tuple[int, dict]]:
        config = self.builder_config
        index = 0
        progress = tqdm.tqdm(paths, unit=" videos", mininterval=1.0,
                             desc=f"Preparing {self.name}, {split}")
        for path in progress:
            first = 0
            for clip in cut(iter_resized(path, config.resolution, config.crop), config.clip_frames):
                name = f"{path.relative_to(config.source_dir).as_posix()}:{first}"
                yield index, episodes.encode(str(path), clip, id=name, resolution=config.resolution)
                first += len(clip)
                index += 1
                progress.set_postfix(clips=index, refresh=False)
            if first < LEAST_FRAMES:
                raise ValueError(f"The video {path} has {first} frame{'s' * (first != 1)}, but "
                                 f"must have at least {LEAST_FRAMES}.")


def find_videos(folder: pathlib.Path) -> list[pathlib.Path]:
    """The video files and the folders of frames below a folder, hidden ones left out."""
    visible = [path for path in folder.rglob("*")
               if not any(part.startswith(".") for part in path.relative_to(folder).parts)]
    return sorted({path for path in visible if path.is_file() and video_files.is_video(path)}
                  | {path.parent for path in visible if _is_frame(path)} - {folder})


def look_over(path: pathlib.Path) -> None:
    """Raises ValueError for what can be seen without decoding, before anything is written."""
    if path.is_dir():
        find_frames(path)
    else:
        with path.open("rb") as file:
            declared_size.check_whole(path, file)


def find_frames(folder: pathlib.Path) -> list[pathlib.Path]:
    """The frames of a folder in the order of the last number in their names.

    Raises:
      ValueError: if a name has no number, two have the same, or some are left out.
    """
    numbered = {}
    for path in sorted(path for path in folder.iterdir() if _is_frame(path)):
        numbers = re.findall(r"\d+", path.stem)
        if not numbers:
            raise ValueError(f"The frame {path} must have its number in its name, such as "
                             "00012.png.")
        other = numbered.setdefault(int(numbers[-1]), path)
        if other != path:
            raise ValueError(f"The frames {other} and {path} have the same number "
                             f"{int(numbers[-1])}.")
    order = sorted(numbered)
    steps = np.diff(order)
    if len(set(steps)) > 1:
        uneven = int(np.flatnonzero(steps != steps.min())[0])
        raise ValueError(f"Frames are missing in {folder}: after {numbered[order[uneven]].name} "
                         f"comes {numbered[order[uneven + 1]].name}, but the others are "
                         f"{steps.min()} apart.")
    return [numbered[number] for number in order]


def iter_resized(path: pathlib.Path, resolution: int, crop: str) -> Iterator[np.ndarray]:
    """Yields the frames of a video file or a folder, cropped and resized: uint8 [H, W, 3].

    Raises:
      ValueError: if a frame cannot be read, or has not the size of the first one.
    """
    size = None
    frames = iter_pictures(path) if path.is_dir() else video_files.iter_frames(path)
    for number, frame in enumerate(frames):
        size = size or frame.shape
        if frame.shape != size:
            raise ValueError(f"All frames of a video must have the same size, but {path} has "
                             f"{size[0]}x{size[1]} pixels in its first frame and "
                             f"{frame.shape[0]}x{frame.shape[1]} in frame {number}.")
        clip = preprocess.crop({"video": frame[None]}, crop)
        yield preprocess.resize(clip, resolution)["video"][0]


def iter_pictures(folder: pathlib.Path) -> Iterator[np.ndarray]:
    """Yields the frames of a folder, uint8 [H, W, 3], upright; transparency is left out.

    Raises:
      ValueError: if one cannot be read, or has more than 8 bits a channel.
    """
    for path in find_frames(folder):
        try:
            with Image.open(path, formats=("PNG", "JPEG")) as picture:
                mode = picture.mode
                frame = np.asarray(ImageOps.exif_transpose(picture).convert("RGB"))
        except (OSError, SyntaxError, ValueError) as error:
            raise ValueError(f"The frame {path} cannot be read: it is truncated, damaged or no "
                             f"PNG or JPEG file ({error}).") from error
        if mode.startswith(("I", "F")):
            raise ValueError(f"The frame {path} must have 8 bits a channel; its mode is {mode}.")
        yield frame


def cut(frames: Iterable[np.ndarray], clip_frames: int) -> Iterator[np.ndarray]:
    """Cuts a stream of frames [H, W, 3] into clips [T, H, W, 3] of at most `clip_frames`.

    Few frames are held at any time. All but the last two clips have `clip_frames` frames.
    """
    held = []
    for frame in frames:
        held.append(frame)
        if len(held) == 2 * clip_frames:
            yield np.stack(held[:clip_frames])
            del held[:clip_frames]
    middle = len(held) if len(held) <= clip_frames else -(-len(held) // 2)
    for rest in (held[:middle], held[middle:]):
        if rest:
            yield np.stack(rest)


def _is_frame(path: pathlib.Path) -> bool:
    return path.suffix.lower() in FRAME_SUFFIXES and path.is_file() and path.name[0] != "."
