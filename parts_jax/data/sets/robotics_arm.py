"""`robotics_arm`: a real arm that lifts and stacks blocks, from DeepMind's Sketchy episodes.

The set of the paper was not published under a name of its own; Sketchy (Cabi et al. 2019,
https://github.com/google-deepmind/deepmind-research/tree/master/sketchy) is the public one that is
most like it. An episode is a TFRecord file of one tf.train.Example for each step of 0.1 s; archives
(.tar.bz2) hold about 100 of them. There are no masks. Sets of other arms: `rlds`.
"""

import bz2
import collections
import contextlib
import dataclasses
import itertools
import pathlib
import re
import tarfile
from collections.abc import Iterator, Sequence

import numpy as np
import tensorflow_datasets as tfds
import tqdm
from absl import logging

from parts_jax.data import episodes
from parts_jax.data.formats import reading, source_files, tfrecord

ACTION_SIZE = 7
CLIP_LENGTH = 16  # twice the 8 frames of the training config, so that windows can start anywhere
EPISODE = r"\d+_[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}|.+\.tfrecords?"
ARCHIVE = r".+\.tar\.bz2"
OF_MACOS = "._"  # kept beside files
MOST_NAMED = 5
BLOCK = 2 ** 20  # bytes
WHAT = ("archives (*.tar.bz2) of Sketchy, or unpacked episodes (TFRecord files with names such as "
        "10000313341320364033_b615a417-ce34-41a8-8411-2a1ce3f3bd07, or *.tfrecord)")

# The name of an episode, and its steps.
Episode = tuple[str, Iterator[tfrecord.Example]]


@dataclasses.dataclass
class RoboticsArmConfig(episodes.SourceConfig):
    """A variant of `robotics_arm`.

    Attributes:
      camera: the feature with the pictures.
      clip_length: frames of the clips into which episodes are cut; what is left over at the end
        of an episode is dropped.
      num_validation: so many episodes, the first of every archive (or folder, where they are
        unpacked), are for validation.
      num_test: so many after those are for testing, all others for training.
    """

    camera: str = "pixels/basket_front_left"
    clip_length: int = CLIP_LENGTH
    num_validation: int = 5
    num_test: int = 5


class RoboticsArm(tfds.core.GeneratorBasedBuilder):
    """Clips of an arm over a basket.

    An example has
      video: T strings, PNG of uint8 [H, W, 3];
      actions: float32 [T, 7], actions[t] taken in response to frame t;
      id: text, the name of the episode and the clip's first step in it.
    """

    name = "robotics_arm"
    VERSION = tfds.core.Version("1.0.0")
    code_path = tfds.core.Path(__file__)
    BUILDER_CONFIGS = [
        RoboticsArmConfig(name=camera, camera=f"pixels/{camera}",
                          description=f"64x64, clips of {CLIP_LENGTH} frames, camera {camera}.")
        for camera in ("basket_front_left", "basket_back_left", "basket_front_right")]

    def _info(self) -> tfds.core.DatasetInfo:
        return tfds.core.DatasetInfo(
            builder=self,
            description="A Sawyer arm that lifts and stacks blocks (Sketchy).",
            features=episodes.features(has_masks=False, has_actions=True),
            disable_shuffling=True)

    def _split_generators(self, dl_manager: tfds.download.DownloadManager) -> dict:
        config = self.builder_config
        held_out = config.num_validation + config.num_test
        parts = {"validation": (0, config.num_validation),
                 "test": (config.num_validation, held_out), "train": (held_out, None)}
        return {split: self._generate_examples(split, *part) for split, part in parts.items()}

    def _generate_examples(self, split: str, first: int,
                           last: int | None) -> Iterator[tuple[int, dict]]:
        config = self.builder_config
        left_out = reading.LeftOut("episodes", config.skip_bad)
        found = itertools.chain.from_iterable(
            itertools.islice(group, first, last) for group in _groups(config, left_out))
        progress = tqdm.tqdm(found, unit=" episodes", mininterval=1.0,
                             desc=f"Preparing {self.name}, {split}")
        count, too_short = 0, []
        for name, steps in progress:
            clips = left_out.attempt(_clips, name, steps, config)
            if clips is None:
                continue
            for example in clips:
                yield count, example
                count += 1
            if not clips:
                too_short.append(name)
        left_out.say(split)
        report_short(split, too_short, config.clip_length)
        if not count:
            raise ValueError(
                f"The folder {config.source_dir} has no clip of {config.clip_length} frames for "
                f"the split {split!r}: of each archive or folder, the first "
                f"{config.num_validation} episodes are for validation, {config.num_test} for "
                "testing and the others for training.")


def report_short(split: str, too_short: Sequence[str], clip_length: int) -> None:
    """Says which episodes of a split were left out as too short, the first of them by name."""
    if too_short:
        more = ", ..." if len(too_short) > MOST_NAMED else ""
        logging.warning("Left out of the split %r: %d episodes of fewer than %d frames: %s%s.",
                        split, len(too_short), clip_length, ", ".join(too_short[:MOST_NAMED]), more)


def _clips(name: str, steps: Iterator[tfrecord.Example], config: RoboticsArmConfig) -> list[dict]:
    """The examples of an episode, read with the frames of one of them in memory at a time."""
    clips = []
    while len(clip := list(itertools.islice(steps, config.clip_length))) == config.clip_length:
        for step in clip:
            episodes.check_same_action_size(
                ("robotics_arm", step.source), (ACTION_SIZE, step.numbers("actions").size))
        clips.append(episodes.encode(
            clip[0].source, _video(clip, config.camera),
            id=f"{name}-{len(clips) * config.clip_length:05d}",
            actions=np.stack([step.numbers("actions") for step in clip]),
            resolution=config.resolution, crop=config.crop))
    return clips


def _video(clip: list[tfrecord.Example], camera: str) -> np.ndarray:
    """The pictures of a camera in some steps: uint8 [T, H, W, 3]."""
    pictures = [step.pictures(camera) for step in clip]
    for step, picture in zip(clip, pictures, strict=True):
        if picture.shape != pictures[0].shape or len(picture) != 1:
            raise ValueError(
                f"Every step must have one picture {camera!r}, of the size of the others; got "
                f"{list(pictures[0].shape)} in {clip[0].source} and {list(picture.shape)} in "
                f"{step.source}.")
    return np.concatenate(pictures)


def _groups(config: RoboticsArmConfig, left_out: reading.LeftOut) -> Iterator[Iterator[Episode]]:
    """The episodes of each folder of unpacked ones, or, if there are none, of each archive.

    Raises:
      ValueError: if no folder is named.
      OSError: if there is no such folder, or it has neither.
    """
    paths = [path for path in source_files.find(config.source_dir, f"{EPISODE}|{ARCHIVE}", WHAT)
             if not path.name.startswith(OF_MACOS)]
    folders = collections.defaultdict(list)
    for path in paths:
        if re.fullmatch(EPISODE, path.name):
            folders[path.parent].append(path)
    if not folders:
        for path in paths:
            yield _read_archive(path, config.max_bytes, left_out)
        return
    if num_archives := len(paths) - sum(map(len, folders.values())):
        logging.info("The folder %s has unpacked episodes; its %d archives are not read.",
                     config.source_dir, num_archives)
    for members in folders.values():
        yield ((path.name, tfrecord.read_examples(path, config.max_bytes)) for path in members)


def _read_archive(path: pathlib.Path, max_bytes: int,
                  left_out: reading.LeftOut) -> Iterator[Episode]:
    """The episodes of an archive in its order; the steps of one are read before the next one."""
    try:
        with (_archive_errors(path), bz2.open(path) as decompressed,
              tarfile.open(fileobj=decompressed, mode="r|") as tar):
            for member in tar:
                name = pathlib.PurePosixPath(member.name).name
                if (member.isfile() and re.fullmatch(EPISODE, name)
                        and not name.startswith(OF_MACOS)):
                    yield name, _read_member(path, tar, member, max_bytes)
            while decompressed.read(BLOCK):  # the archive may end before the compressed file does
                pass
    except (ValueError, OSError) as error:
        left_out.note(error)


def _read_member(path: pathlib.Path, tar: tarfile.TarFile, member: tarfile.TarInfo,
                 max_bytes: int) -> Iterator[tfrecord.Example]:
    with _archive_errors(path):
        yield from tfrecord.read_stream(tar.extractfile(member), f"{path}/{member.name}", max_bytes)


def _archive_errors(path: pathlib.Path) -> contextlib.AbstractContextManager:
    """Turns what goes wrong in the archive itself into a ValueError that names it."""
    return reading.naming(path, f"The archive {path} is truncated or damaged")
