"""`rooms`: the 3D rooms of SPACE (Lin et al., 2020), from the folders that its authors publish.

`OBJ3D_LARGE` and `OBJ3D_SMALL` have the folders train, val and test. In each lie pictures, NUMBER-*
.png or .jpg, and in its folder `bb` a text file for each, bb_0.txt, bb_1.txt, ..., in the order of
the pictures' numbers: a line a box, "centre x, centre y, width, height", in pixels of a picture
that has 128. There are no masks.
"""

import dataclasses
import math
import pathlib
from collections.abc import Iterator

import numpy as np
import tensorflow_datasets as tfds
import tqdm

from parts_jax.data import episodes
from parts_jax.data.formats import frame_folders, limits, reading, source_files
from parts_jax.data.sets import splits

WHAT = "folders of pictures (train, val, test), as OBJ3D_LARGE of SPACE's authors"
BOXES = "bb"
MOST_BOXES = 32  # rows of every example; the fullest rooms have 24 objects
IN_PIXELS_OF = 128
NEED_BOXES = ("validation", "test")


@dataclasses.dataclass
class RoomsConfig(episodes.SourceConfig):
    """A variant of `rooms`."""


class Rooms(tfds.core.GeneratorBasedBuilder):
    """Pictures of rooms with true boxes.

    An example is a video of one frame; it has
      video: 1 string, PNG of uint8 [H, W, 3];
      boxes: float32 [1, MOST_BOXES, 4], y0, x0, y1, x1 as shares of the picture, whose edges they
        may pass; rows of 0 after those there are, and nothing else where a split has no `bb`, which
        that of training need not have;
      id: text, the path of the picture in its folder, such as "val/12-000345.png".
    """

    name = "rooms"
    VERSION = tfds.core.Version("1.0.0")
    # TFDS finds this path by itself, but with a package that it needs and does not declare.
    code_path = tfds.core.Path(__file__)
    BUILDER_CONFIGS = [RoomsConfig(name="128", resolution=128, description="128x128."),
                       RoomsConfig(name="64", resolution=64, description="64x64.")]

    def _info(self) -> tfds.core.DatasetInfo:
        boxes = tfds.features.Tensor(shape=(1, MOST_BOXES, 4), dtype=np.float32)
        return tfds.core.DatasetInfo(
            builder=self,
            description="3D rooms of SPACE.",
            homepage="https://github.com/zhixuan-lin/SPACE",
            features=episodes.features(has_masks=False, has_actions=False, boxes=boxes),
            disable_shuffling=True)

    def _split_generators(self, dl_manager: tfds.download.DownloadManager) -> dict:
        found = find_splits(self.builder_config.source_dir)
        return {split: self._generate_examples(split, folder) for split, folder in found.items()}

    def _generate_examples(self, split: str, folder: pathlib.Path) -> Iterator[tuple[int, dict]]:
        left_out = reading.LeftOut("pictures", self.builder_config.skip_bad)
        pairs = list(zip(*find_files(folder, split in NEED_BOXES), strict=True))
        count = 0
        for picture, boxes in tqdm.tqdm(pairs, unit=" pictures", mininterval=1.0,
                                        desc=f"Preparing {self.name}, {split}"):
            example = left_out.attempt(self._example, picture, boxes)
            if example is not None:
                yield count, example
                count += 1
        left_out.say(split)

    def _example(self, picture: pathlib.Path, boxes: pathlib.Path | None) -> dict:
        config = self.builder_config
        frame = frame_folders.read_picture(picture, config.max_bytes)
        if frame.shape[0] != frame.shape[1]:
            raise ValueError(f"The picture {picture} must be a square, as its boxes are in pixels "
                             f"of one; got {frame.shape[1]}x{frame.shape[0]}.")
        rows = np.zeros((1, MOST_BOXES, 4), np.float32)
        if boxes is not None:
            found = read_boxes(boxes)
            rows[0, :len(found)] = found
        return episodes.encode(
            str(picture), frame[None], id=str(picture.relative_to(picture.parents[1])),
            resolution=config.resolution, crop=config.crop, boxes=rows)


def find_splits(source_dir: str) -> dict[str, pathlib.Path]:
    """The folders of the splits.

    Raises:
      ValueError: no folder is named, or it has none of them.
      OSError: there is no such folder.
    """
    if not source_dir:
        raise ValueError(f"This data set is made from {WHAT}: name theirs with "
                         "--config.data.source_dir=PATH.")
    folder = source_files.existing_folder(source_dir)
    found = splits.split_folders(folder)
    if not found:
        raise ValueError(f"There are no {WHAT}, in {folder}.")
    return found


def find_files(folder: pathlib.Path, needs_boxes: bool
               ) -> tuple[list[pathlib.Path], list[pathlib.Path] | list[None]]:
    """The pictures of a split by their numbers, and the file of boxes of each; None: no `bb`.

    Raises:
      ValueError: there are no pictures, a name does not begin with a number and a dash, two begin
        with the same, or there is no `bb` and must be, or it has not a file for each picture.
    """
    pictures = [path for path in folder.iterdir() if frame_folders.is_frame(path)]
    numbers: dict[int, pathlib.Path] = {}
    for path in sorted(pictures):
        number = path.name.partition("-")[0]
        if not number.isdecimal() or "-" not in path.name:
            raise ValueError(f"The picture {path} must have a number and a dash at the start of "
                             "its name, such as 12-000345.png.")
        if numbers.setdefault(int(number), path) != path:
            raise ValueError(f"The pictures {numbers[int(number)]} and {path} have the same "
                             "number.")
    if not numbers:
        raise ValueError(f"There are no pictures (NUMBER-*.png) in the folder {folder}.")
    in_order = [numbers[number] for number in sorted(numbers)]
    beside = folder / BOXES
    if not beside.is_dir():
        if needs_boxes:
            raise ValueError(f"The folder {folder} must have a folder {BOXES} with the boxes of "
                             "its pictures.")
        return in_order, [None] * len(in_order)
    boxes = [beside / f"bb_{i}.txt" for i in range(len(in_order))]
    there = len(list(beside.glob("bb_*.txt")))
    missing = next((path for path in boxes if not path.is_file()), None)
    if missing or there != len(boxes):
        raise ValueError(f"{beside} must have files bb_0.txt to bb_{len(boxes) - 1}.txt, as there "
                         f"are {len(boxes)} pictures; it has {there}"
                         + (f", and not {missing.name}." if missing else "."))
    return in_order, boxes


def read_boxes(path: pathlib.Path) -> np.ndarray:
    """y0, x0, y1, x1 as shares of the picture, float32 [M, 4].

    Raises:
      ValueError: a line is not four finite numbers with commas between them, of which the last two
        are above 0; or there are more than MOST_BOXES.
    """
    limits.check_declared(path, path.stat().st_size, limits.MAX_BYTES)
    with reading.naming(path):
        lines = path.read_text(encoding="utf-8").splitlines()
    found = []
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        try:
            x, y, width, height = values = [float(part) for part in line.split(",")]
        except ValueError:
            values = []
        if not values or not all(map(math.isfinite, values)) or width <= 0 or height <= 0:
            raise ValueError(f"Line {number} of {path} must be centre x, centre y, width and "
                             f"height of a box, in pixels; got {line!r:.80}.")
        found.append([y - height / 2, x - width / 2, y + height / 2, x + width / 2])
    if len(found) > MOST_BOXES:
        raise ValueError(f"{path} has {len(found)} boxes, but at most {MOST_BOXES} are read.")
    return (np.array(found, np.float64).reshape(-1, 4) / IN_PIXELS_OF).astype(np.float32)
