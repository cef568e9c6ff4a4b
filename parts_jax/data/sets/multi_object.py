"""`multi_object`: DeepMind's multi-object sets, CATER among them, from their TFRecord files.

Source: https://github.com/google-deepmind/multi_object_datasets. All have instance masks. CATER has
videos; the others are still pictures, whose examples here are videos of one frame.
"""

import dataclasses
import itertools
import pathlib
import re
from collections.abc import Iterator

import numpy as np
import tensorflow_datasets as tfds
import tqdm

from parts_jax.data import episodes
from parts_jax.data.formats import reading, source_files, tfrecord

NUM_HELD_OUT = 320  # scenes that are tested on in the papers of IODINE and Slot Attention
SHARD = re.compile(r"-of-(\d{5})$")
OUTSIDE, INSIDE = 0, 255  # values of a mask


@dataclasses.dataclass
class MultiObjectConfig(episodes.SourceConfig):
    """A variant of `multi_object`.

    Attributes:
      train_files: names of the files for training, a regular expression.
      test_files: of those for testing; "" if there are none.
      num_validation: so many scenes, the first ones of the training files, are for validation.
      num_test: so many after those are for testing, where there are no files for testing.
      num_frames: frames of an example (T); 1 for still pictures.
      size: height and width of the pictures in the files (H, W).
      channels: 3, or 1 for grey pictures.
      num_masks: masks of a scene (K), for the background and for every object there could be.
      mask_axes: the order in the file, such as "TKHW".
      num_background: so many masks, the first ones, are background.
      box: rows and columns to cut out, (top, bottom, left, right); None: the whole picture.
      max_objects: leaves out scenes with more objects; 0: none.
    """

    train_files: str = ""
    test_files: str = ""
    num_validation: int = NUM_HELD_OUT
    num_test: int = NUM_HELD_OUT
    num_frames: int = 1
    size: tuple[int, int] = (64, 64)
    channels: int = 3
    num_masks: int = 1
    mask_axes: str = "TKHW"
    num_background: int = 1
    box: tuple[int, int, int, int] | None = None
    max_objects: int = 0


def _clevr(**changes) -> MultiObjectConfig:
    """CLEVR with masks, cut as IODINE does."""
    return MultiObjectConfig(
        train_files=r"clevr_with_masks_train\.tfrecords", size=(240, 320), num_masks=11,
        box=(29, 221, 64, 256), resolution=128, **changes)


def _multi_dsprites(kind: str, num_masks: int, channels: int = 3) -> MultiObjectConfig:
    return MultiObjectConfig(
        name=f"multi_dsprites_{kind}", train_files=rf"multi_dsprites_{kind}\.tfrecords",
        num_masks=num_masks, channels=channels, mask_axes="THWK",
        description=f"64x64, up to {num_masks - 1} flat shapes that overlap ({kind}).")


class MultiObject(tfds.core.GeneratorBasedBuilder):
    """Scenes of several objects.

    An example has
      video: T strings, PNG of uint8 [H, W, 3]; T = 1 for still pictures;
      segmentation: T strings, PNG of uint8 [H, W], 0 for background, 1..N the objects;
      id: text, such as "train-00012".
    """

    name = "multi_object"
    VERSION = tfds.core.Version("1.0.0")
    code_path = tfds.core.Path(__file__)
    BUILDER_CONFIGS = [
        _clevr(name="clevr_with_masks",
               description="The middle of CLEVR's pictures at 128x128, 3-10 objects."),
        _clevr(name="clevr6", max_objects=6,
               description="The scenes of clevr_with_masks with at most 6 objects."),
        _multi_dsprites("binarized", num_masks=4, channels=1),
        _multi_dsprites("colored_on_grayscale", num_masks=6),
        _multi_dsprites("colored_on_colored", num_masks=5),
        MultiObjectConfig(
            name="objects_room", train_files=r"objects_room_train\.tfrecords", num_masks=7,
            num_background=4, description="64x64, a room with up to 3 objects; sky, floor and two "
                                          "halves of the wall are background."),
        MultiObjectConfig(
            name="tetrominoes", train_files=r"tetrominoes_train\.tfrecords", size=(35, 35),
            resolution=35, num_masks=4, description="35x35, 3 tetrominoes on black."),
        MultiObjectConfig(
            name="cater_with_masks",
            train_files=r"cater_with_masks_train\.tfrecords-\d{5}-of-\d{5}",
            test_files=r"cater_with_masks_test\.tfrecords-\d{5}-of-\d{5}",
            num_frames=33, num_masks=11,
            description="64x64, videos of 33 frames, 5-10 objects, moving camera."),
    ]

    def _info(self) -> tfds.core.DatasetInfo:
        return tfds.core.DatasetInfo(
            builder=self,
            description="Scenes of several objects, with masks.",
            features=episodes.features(has_masks=True, has_actions=False),
            disable_shuffling=True)

    def _split_generators(self, dl_manager: tfds.download.DownloadManager) -> dict:
        config = self.builder_config
        train = _find(config.source_dir, config.train_files)
        first, second = config.num_validation, config.num_validation + config.num_test
        if config.test_files:
            test = _find(config.source_dir, config.test_files)
            parts = {"validation": (train, 0, first), "test": (test, 0, None),
                     "train": (train, first, None)}
        else:
            parts = {"validation": (train, 0, first), "test": (train, first, second),
                     "train": (train, second, None)}
        return {split: self._generate_examples(split, *part) for split, part in parts.items()}

    def _generate_examples(self, split: str, paths: list[pathlib.Path], first: int,
                           last: int | None) -> Iterator[tuple[int, dict]]:
        config = self.builder_config
        left_out = reading.LeftOut("scenes", config.skip_bad)
        progress = tqdm.tqdm(itertools.islice(_scenes(paths, config, left_out), first, last),
                             unit=" scenes", total=None if last is None else last - first,
                             mininterval=1.0, desc=f"Preparing {paths[0].name}, {split}")
        count = 0
        for index, scene in enumerate(progress):
            example = left_out.attempt(_example, scene, f"{split}-{index:05d}", config)
            if example is not None:
                yield count, example
                count += 1
        left_out.say(split)
        if not count:
            raise ValueError(
                f"There is no scene for the split {split!r} in {paths[0]}"
                f"{' and the files beside it' if len(paths) > 1 else ''}: it begins after the "
                f"first {first} scenes, those that are left out not counted.")


def _scenes(paths: list[pathlib.Path], config: MultiObjectConfig,
            left_out: reading.LeftOut) -> Iterator[tfrecord.Example]:
    """Yields the scenes of files that do not have too many objects."""
    for path in paths:
        try:
            for scene in tfrecord.read_examples(path, config.max_bytes):
                num_objects = left_out.attempt(_num_objects, scene) if config.max_objects else 0
                if num_objects is not None and num_objects <= config.max_objects:
                    yield scene
        except (ValueError, OSError) as error:
            left_out.note(error)


def _example(scene: tfrecord.Example, name: str, config: MultiObjectConfig) -> dict:
    video, segmentation = _read_scene(scene, config)
    return episodes.encode(scene.source, video, id=name, segmentation=segmentation,
                           resolution=config.resolution, crop=config.crop)


def _read_scene(scene: tfrecord.Example,
                config: MultiObjectConfig) -> tuple[np.ndarray, np.ndarray]:
    """The video, uint8 [T, H, W, 3], and the ids, uint8 [T, H, W], of a scene."""
    height, width = config.size
    video = scene.pixels("image", (config.num_frames, height, width, config.channels))
    sizes = {"T": config.num_frames, "K": config.num_masks, "H": height, "W": width}
    masks = scene.pixels("mask", [sizes[axis] for axis in config.mask_axes])
    masks = np.transpose(masks, [config.mask_axes.index(axis) for axis in "TKHW"])
    if not ((masks == OUTSIDE) | (masks == INSIDE)).all():
        raise ValueError(f"The masks of {scene.source} must hold {OUTSIDE} and {INSIDE} alone; "
                         f"got values from {masks.min()} to {masks.max()}.")
    # A pixel that no mask has becomes background.
    ids = np.maximum(np.argmax(masks, axis=1) - (config.num_background - 1), 0).astype(np.uint8)
    if config.box is not None:
        top, bottom, left, right = config.box
        video, ids = video[:, top:bottom, left:right], ids[:, top:bottom, left:right]
    return np.repeat(video, 3 // config.channels, axis=-1), ids


def _num_objects(scene: tfrecord.Example) -> int:
    """How many objects there are in a scene; the first entry is the background."""
    return int((scene.numbers("visibility")[1:] > 0.5).sum())


def _find(source_dir: str, name: str) -> list[pathlib.Path]:
    """The files of this name (a regular expression), all of one folder, in order.

    Raises:
      OSError: if there is none, or one of several shards is missing.
      ValueError: if no folder is named, or files of this name are in several folders.
    """
    paths = source_files.find(source_dir, name, f"files {name}")
    folders = sorted({str(path.parent) for path in paths})
    if len(folders) > 1:
        raise ValueError(f"There are files {name} in several folders: {', '.join(folders)}. Name "
                         "one of them with --config.data.source_dir=PATH.")
    shard = SHARD.search(paths[0].name)
    if shard and len(paths) != int(shard[1]):
        raise FileNotFoundError(f"The folder {folders[0]} must have {int(shard[1])} files {name}; "
                                f"it has {len(paths)}.")
    return paths
