"""`folder`: the user's own videos, with masks where they lie as in DAVIS or YouTube-VOS.

Anywhere below a folder, split as `splits` says, lie video files (mp4, gif and others: see
`video_files.SUFFIXES`) and folders of numbered frames (png or jpg), each of them one video; masks
as `vos_layout` says. Long videos are cut into clips as they are read, so that a film need not fit
into memory.
"""

import collections
import contextlib
import dataclasses
import functools
import itertools
import os
import pathlib
from collections.abc import Iterable, Iterator, Sequence

import numpy as np
import tensorflow_datasets as tfds
import tqdm
from absl import logging

from parts_jax.data import episodes, preprocess
from parts_jax.data.formats import frame_folders, limits, source_files, video_files
from parts_jax.data.formats.frame_folders import find_frames, iter_pictures
from parts_jax.data.sets import splits, vos_layout

WHAT = (f"videos ({', '.join(video_files.SUFFIXES)}, or a folder of its own for the numbered "
        f"frames ({', '.join(frame_folders.SUFFIXES)}) of each)")
LEAST_FRAMES = 2


@dataclasses.dataclass
class FolderConfig(episodes.SourceConfig):
    """A variant of `folder`.

    Attributes:
      clip_frames: longer videos are cut into clips of so many frames; what is left for the last
        two is shared evenly between them, so that no frame is lost and no clip is tiny.
      use_masks: whether the masks of DAVIS and YouTube-VOS are read, if there are any.
    """

    clip_frames: int = 128
    use_masks: bool = True


class Folder(tfds.core.GeneratorBasedBuilder):
    """The user's own videos.

    An example has
      video: T strings, PNG of uint8 [H, W, 3]; T differs from clip to clip;
      segmentation: T strings, PNG of uint8 [H, W], where the videos have masks;
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
        FolderConfig(name="64_no_masks", resolution=64, use_masks=False,
                     description="64x64; masks are left out."),
        FolderConfig(name="128_no_masks", resolution=128, use_masks=False,
                     description="128x128; masks are left out."),
    ]

    def _info(self) -> tfds.core.DatasetInfo:
        return tfds.core.DatasetInfo(
            builder=self,
            description="Videos of the user.",
            features=episodes.features(has_masks=self._has_masks(), has_actions=False),
            disable_shuffling=True)

    def _has_masks(self) -> bool:
        """Whether examples have masks: a prepared set says so itself, without its source."""
        config = self.builder_config
        if (self.data_path / "features.json").exists():
            return "segmentation" in tfds.features.FeaturesDict.from_config(self.data_path)
        if not config.source_dir or not config.use_masks:
            return False
        folder = source_files.existing_folder(config.source_dir)
        return vos_layout.have_masks(find_videos(folder), folder)

    def _split_generators(self, dl_manager: tfds.download.DownloadManager) -> dict:
        found = find_splits(self.builder_config.source_dir)
        folder = source_files.existing_folder(self.builder_config.source_dir)
        has_masks = "segmentation" in self.info.features
        say_left_out(folder, list(itertools.chain(*found.values())), has_masks)
        bad = []
        for split, videos in found.items():
            checked = tqdm.tqdm(videos, unit=" videos", disable=not self.builder_config.skip_bad,
                                desc=f"Checking {self.name}, {split}", mininterval=1.0)
            found[split] = [video for video in checked if self._is_good(video, has_masks, bad)]
            if not found[split]:
                raise ValueError(f"None of the {len(videos)} videos of the split {split} in "
                                 f"{folder} can be read. {bad[-1]}")
        if bad:
            logging.warning("Left out %d of %d videos that cannot be read, by data.skip_bad.",
                            len(bad), len(bad) + sum(map(len, found.values())))
        return {split: self._generate_examples(split, paths) for split, paths in found.items()}

    def _is_good(self, video: pathlib.Path, has_masks: bool, bad: list[str]) -> bool:
        """Whether a video is to be read: with `skip_bad` bad ones are said, and put into `bad`."""
        config = self.builder_config
        try:
            look_over(video)
            if has_masks:
                vos_layout.find_masks(video, source_files.existing_folder(config.source_dir))
            if config.skip_bad:  # all of it, as its first clips would be written before its end
                self._check_length(video, sum(len(clip) for clip in self._clips(video, has_masks)))
        except (ValueError, OSError) as error:
            if not config.skip_bad:
                raise _with_hint(error) from error
            logging.warning("Left out: %s", error)
            bad.append(str(error))
            return False
        return True

    def _clips(self, video: pathlib.Path, has_masks: bool) -> Iterator[np.ndarray]:
        """The clips of a video, uint8 [T, H, W, 3], or with ids [T, H, W, 4]."""
        config = self.builder_config
        masks = vos_layout.find_masks(
            video, source_files.existing_folder(config.source_dir)) if has_masks else None
        return cut(iter_resized(video, config.resolution, config.crop, masks, config.max_bytes),
                   config.clip_frames)

    def _check_length(self, video: pathlib.Path, length: int) -> None:
        if length < LEAST_FRAMES:
            raise ValueError(f"The video {video} has {length} frame{'s' * (length != 1)}, but "
                             f"must have at least {LEAST_FRAMES}.")

    def _generate_examples(self, split: str,
                           paths: list[pathlib.Path]) -> Iterator[tuple[int, dict]]:
        config = self.builder_config
        folder = source_files.existing_folder(config.source_dir)
        has_masks = "segmentation" in self.info.features
        index = 0
        progress = tqdm.tqdm(paths, unit=" videos", mininterval=1.0,
                             desc=f"Preparing {self.name}, {split}")
        for path in progress:
            first = 0
            with _hinting():
                for clip in self._clips(path, has_masks):
                    yield index, episodes.encode(
                        str(path), clip[..., :3], id=f"{_text(path.relative_to(folder))}:{first}",
                        resolution=config.resolution,
                        segmentation=clip[..., 3] if has_masks else None)
                    first += len(clip)
                    index += 1
                    progress.set_postfix(clips=index, refresh=False)
                self._check_length(path, first)


@contextlib.contextmanager
def _hinting() -> Iterator[None]:
    try:
        yield
    except ValueError as error:
        raise _with_hint(error) from error


def _with_hint(error: Exception) -> ValueError:
    return ValueError(f"{error} With --config.data.skip_bad=True videos that cannot be read are "
                      "named, counted and left out.")


def _text(path: pathlib.Path) -> str:
    """A path as text of UTF-8, which names of files need not be."""
    return os.fsencode(path.as_posix()).decode("utf-8", "backslashreplace")


def find_splits(source_dir: str) -> dict[str, list[pathlib.Path]]:
    """The videos of each split of a folder: by DAVIS's lists if it has some, or as `splits` says.

    Raises:
      ValueError, OSError: as `splits.find`.
    """
    if source_dir:
        folder = source_files.existing_folder(source_dir)
        if vos_layout.has_lists(folder) and (
                found := vos_layout.by_lists(find_videos(folder), folder)):
            return found
    return splits.find(source_dir, find_videos, WHAT)


def find_videos(folder: pathlib.Path) -> list[pathlib.Path]:
    """The video files and the folders of frames below a folder; hidden ones and masks left out."""
    parents = collections.defaultdict(list)
    for path in source_files.below(folder):
        if not _is_hidden(path.relative_to(folder)):
            parents[path.parent].append(path)
    videos = set()
    for parent, paths in parents.items():
        if vos_layout.is_of_masks(parent, folder):
            continue
        videos |= {path for path in paths if video_files.is_video(path) and path.is_file()}
        if parent != folder and any(frame_folders.is_frame(path) for path in paths):
            videos.add(parent)
    return vos_layout.smallest(sorted(videos), folder)


def _is_hidden(path: pathlib.Path) -> bool:
    return any(part.startswith(".") for part in path.parts)


def say_left_out(folder: pathlib.Path, videos: Sequence[pathlib.Path], has_masks: bool) -> None:
    """Says once, with counts, which files of a folder are not read."""
    used, left = set(videos), collections.Counter()
    is_of_masks = functools.cache(lambda parent: vos_layout.is_of_masks(parent, folder))
    for path in source_files.below(folder):
        if _is_hidden(path.relative_to(folder)):
            left["hidden"] += 1
        elif not path.is_file():
            left["links to nothing"] += 1
        elif is_of_masks(path.parent):
            left["masks"] += not (has_masks and path.suffix.lower() == frame_folders.MASK_SUFFIX)
        elif path not in used and not (path.parent in used and frame_folders.is_frame(path)):
            left[path.suffix.lower() or path.name] += 1
    if left := +left:
        logging.warning("Left out of %s, not being %s: %s.", folder, WHAT, ", ".join(
            f"{count} {kind}" for kind, count in sorted(left.items())))


def look_over(path: pathlib.Path) -> None:
    """Raises ValueError for what can be seen without decoding, before anything is written."""
    if path.is_dir():
        find_frames(path)
    else:
        with path.open("rb") as file:
            video_files.check_parts(path, file)


def iter_resized(path: pathlib.Path, resolution: int, crop: str,
                 masks: Sequence[pathlib.Path] | None = None,
                 max_bytes: int = limits.MAX_BYTES) -> Iterator[np.ndarray]:
    """Yields the frames of a video file or a folder, cropped and resized.

    Args:
      path: the file or folder.
      resolution: height and width of what is yielded.
      crop: see `episodes.SourceConfig`.
      masks: a file for each frame, if there are masks.
      max_bytes: of one frame as it is read.

    Yields:
      uint8 [H, W, 3]; or [H, W, 4], of which the last are ids.

    Raises:
      ValueError: if a frame or a mask cannot be read, or has not the size of the first frame.
    """
    size = None
    frames = iter_pictures(path, max_bytes) if path.is_dir() else \
        video_files.iter_frames(path, max_bytes=max_bytes)
    ids = frame_folders.iter_masks(masks, max_bytes) if masks else None
    for number, frame in enumerate(frames):
        size = size or frame.shape
        if frame.shape != size:
            raise ValueError(f"All frames of a video must have the same size, but {path} has "
                             f"{size[0]}x{size[1]} pixels in its first frame and "
                             f"{frame.shape[0]}x{frame.shape[1]} in frame {number}.")
        clip = {"video": frame[None]}
        if ids:
            mask = episodes.checked_ids(str(masks[number]), next(ids))
            if mask.shape != size[:2]:
                raise ValueError(f"The mask {masks[number]} must have the size of its frame, "
                                 f"{size[0]}x{size[1]}; got {mask.shape[0]}x{mask.shape[1]}.")
            clip["segmentation"] = mask[None]
        clip = preprocess.resize(preprocess.crop(clip, crop), resolution)
        yield np.concatenate([clip["video"][0], clip["segmentation"][0, ..., None]], -1) \
            if ids else clip["video"][0]


def cut(frames: Iterable[np.ndarray], clip_frames: int) -> Iterator[np.ndarray]:
    """Cuts a stream of frames [H, W, C] into clips [T, H, W, C] of at most `clip_frames`.

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
