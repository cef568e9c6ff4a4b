"""`movi`: MOVi-A to MOVi-E of Kubric, with instance masks, from a local TFDS copy.

Kubric (Greff et al. 2022, https://github.com/google-research/kubric/tree/main/challenges/movi):
rigid bodies that fall and collide, 24 frames at 12 frames a second; from C on with scanned objects
and photographed surroundings, in D most objects at rest, in E with a moving camera.
"""

import dataclasses
from collections.abc import Iterator

import numpy as np
import tensorflow_datasets as tfds
import tqdm

from parts_jax.data import episodes
from parts_jax.data.formats import local_tfds, reading, tfrecord

LETTERS = "abcde"


@dataclasses.dataclass
class MoviConfig(episodes.SourceConfig):
    """A variant of `movi`.

    Attributes:
      dataset: TFDS's name of the set.
    """

    dataset: str = ""


class Movi(tfds.core.GeneratorBasedBuilder):
    """Clips of falling objects, with the splits of the copy (see `local_tfds.open_set`).

    An example has
      video: T strings, PNG of uint8 [H, W, 3];
      segmentation: T strings, PNG of uint8 [H, W], 0 for background, 1..N the objects;
      id: text, such as "train-movi_a_0012": split, and Kubric's name of the clip.
    """

    name = "movi"
    VERSION = tfds.core.Version("1.0.0")
    code_path = tfds.core.Path(__file__)
    BUILDER_CONFIGS = [
        MoviConfig(name=letter, dataset=f"movi_{letter}",
                   description=f"MOVi-{letter.upper()} at 64x64, from 128x128 or 256x256.")
        for letter in LETTERS]

    def _info(self) -> tfds.core.DatasetInfo:
        return tfds.core.DatasetInfo(
            builder=self,
            description="Falling and colliding objects (MOVi).",
            features=episodes.features(has_masks=True, has_actions=False),
            disable_shuffling=True)

    def _split_generators(self, dl_manager: tfds.download.DownloadManager) -> dict:
        config = self.builder_config
        source = local_tfds.open_set(config.source_dir, config.dataset, config.max_bytes)
        return {split: self._generate_examples(source, split) for split in source.splits}

    def _generate_examples(self, source: local_tfds.LocalSet,
                           split: str) -> Iterator[tuple[int, dict]]:
        config = self.builder_config
        left_out = reading.LeftOut("clips", config.skip_bad)
        progress = tqdm.tqdm(source.read(split, left_out), total=source.num_examples(split),
                             unit=" clips", mininterval=1.0,
                             desc=f"Preparing {config.dataset}, {split}")
        count = 0
        for clip in progress:
            example = left_out.attempt(self._example, split, clip)
            if example is not None:
                yield count, example
                count += 1
        left_out.say(split)
        if not count:
            raise ValueError(f"The split {split!r} of the TFDS set in {source.folder} has no clip "
                             "that can be read.")

    def _example(self, split: str, clip: tfrecord.Example) -> dict:
        config = self.builder_config
        return episodes.encode(
            clip.source, clip.pictures("video"), id=f"{split}-{_name(clip)}",
            segmentation=_segmentation(clip), resolution=config.resolution, crop=config.crop)


def _name(example: tfrecord.Example) -> str:
    return b"".join(example.strings("metadata/video_name")).decode(errors="replace")


def _segmentation(example: tfrecord.Example) -> np.ndarray:
    """Ids of a clip: unsigned integers [T, H, W]."""
    segmentation = example.pictures("segmentations")
    if segmentation.ndim != 3:
        raise ValueError(f"The masks of {example.source} must be pictures with one channel; got "
                         f"{segmentation.shape[-1]}.")
    return segmentation
