"""`bouncing_balls`: balls of different mass, by van Steenkiste et al. (R-NEM, ICLR 2018).

The files are `balls4mass64.h5` (4 balls) and `balls678mass64.h5` (6 to 8). Each has the groups
`training`, `validation` and `test` with the datasets `features` (0 or 1) and `groups` (0, or the
number of the ball), both with time first: [T=51, N, 64, 64, 1].

In colour, as others evaluate on it, each ball of a clip is painted in a colour of its own as far as
there are enough of them.
"""

import dataclasses
import pathlib
from collections.abc import Iterator

import numpy as np
import tensorflow_datasets as tfds
import tqdm

from parts_jax.data import episodes
from parts_jax.data.formats import hdf5, limits, reading
from parts_jax.simulate.balls import PALETTE

GROUPS = {"train": "training", "validation": "validation", "test": "test"}
LARGEST_WHOLE = 2.0 ** 53
CLIPS_AT_ONCE = 64  # time comes first, so that single clips would be read from all over the file


@dataclasses.dataclass
class BouncingBallsConfig(episodes.SourceConfig):
    """A variant of `bouncing_balls`.

    Attributes:
      file: the file in `source_dir`.
      num_colours: 0: white balls; otherwise balls in the first so many colours of `PALETTE`, in
        an order that is drawn for each clip.
    """

    file: str = "balls4mass64.h5"
    num_colours: int = 0


class BouncingBalls(tfds.core.GeneratorBasedBuilder):
    """Balls on black that bounce off each other and off the walls, with instance masks.

    An example has
      video: T strings, PNG of uint8 [H, W, 3];
      segmentation: T strings, PNG of uint8 [H, W], 0 for background, 1..N the balls;
      id: text, such as "train-00012"; the number is that of the clip in the file.
    """

    name = "bouncing_balls"
    VERSION = tfds.core.Version("1.0.0")
    # TFDS finds this path by itself, but with a package that it needs and does not declare.
    code_path = tfds.core.Path(__file__)
    BUILDER_CONFIGS = [
        BouncingBallsConfig(name="balls4", description="4 white balls."),
        BouncingBallsConfig(name="balls678", file="balls678mass64.h5",
                            description="6 to 8 white balls."),
        BouncingBallsConfig(name="balls4_colour", num_colours=4,
                            description="4 balls in 4 colours."),
        BouncingBallsConfig(name="balls678_colour", file="balls678mass64.h5", num_colours=8,
                            description="6 to 8 balls in 8 colours."),
        BouncingBallsConfig(name="balls678_colour_4", file="balls678mass64.h5", num_colours=4,
                            description="6 to 8 balls in the colours of balls4_colour."),
    ]

    def _info(self) -> tfds.core.DatasetInfo:
        return tfds.core.DatasetInfo(
            builder=self,
            description="Balls of different mass that bounce.",
            homepage="https://github.com/sjoerdvansteenkiste/Relational-NEM",
            features=episodes.features(has_masks=True, has_actions=False),
            disable_shuffling=True)

    def _split_generators(self, dl_manager: tfds.download.DownloadManager) -> dict:
        sizes = read_sizes(self._path)
        return {split: self._generate_examples(split, size) for split, size in sizes.items()}

    def _generate_examples(self, split: str, num_clips: int) -> Iterator[tuple[int, dict]]:
        config = self.builder_config
        clips = tqdm.tqdm(read_clips(self._path, split, config.max_bytes), total=num_clips,
                          unit=" clips", mininterval=1.0, desc=f"Preparing {self.name}, {split}")
        left_out = reading.LeftOut("clips", config.skip_bad)
        count = 0
        for clip, (features, groups) in enumerate(clips):
            example = left_out.attempt(self._example, split, clip, features, groups)
            if example is not None:
                yield count, example
                count += 1
        left_out.say(split)

    def _example(self, split: str, clip: int, features: np.ndarray, groups: np.ndarray) -> dict:
        config, source = self.builder_config, f"{self._path}, {GROUPS[split]} {clip}"
        video, ids = _white(source, features), _integers(source, groups)
        if config.num_colours:
            seed = (tuple(GROUPS).index(split), clip)
            video = paint(ids, draw_colours(config.num_colours, seed))
        return episodes.encode(
            source, video, id=f"{split}-{clip:05d}",
            resolution=config.resolution, crop=config.crop, segmentation=ids)

    @property
    def _path(self) -> pathlib.Path:
        config = self.builder_config
        if not config.source_dir:
            raise ValueError(f"This data set is made from {config.file}: name the folder that it "
                             "is in with --config.data.source_dir=PATH.")
        return pathlib.Path(config.source_dir, config.file).expanduser()


def read_sizes(path: pathlib.Path) -> dict[str, int]:
    """How many clips each split of a file has; looks at the shapes of all that will be read.

    Raises:
      FileNotFoundError: if there is no such file.
      ValueError: if it is truncated or no HDF5 file, or a group or dataset is missing or has a
        wrong shape.
    """
    if not path.is_file():
        raise FileNotFoundError(f"There is no file {path}. The folder that "
                                f"--config.data.source_dir names must hold {path.name}.")
    with hdf5.opened(path) as file:
        found = {f"{group}/{name}": hdf5.dataset(file, f"{group}/{name}")
                 for group in GROUPS.values() for name in ("features", "groups")}
        shapes = {name: getattr(one, "shape", None) for name, one in found.items()}
    for name, shape in shapes.items():
        if shape is None:
            raise ValueError(f"The file {path} has no dataset {name}; it must have "
                             f"{', '.join(shapes)}.")
        if len(shape) != 5 or shape[-1] != 1 or shape != shapes[f"{name.split('/')[0]}/features"]:
            raise ValueError(
                f"The dataset {name} of {path} must be [frames, clips, height, width, 1], the "
                f"same for features and groups; got {list(shape)}.")
        if 0 in shape[:1] + shape[2:]:
            raise ValueError(f"The dataset {name} of {path} must have at least 1 frame of 1x1 "
                             f"pixels; got {list(shape)}.")
    return {split: shapes[f"{group}/features"][1] for split, group in GROUPS.items()}


def read_clips(path: pathlib.Path, split: str,
               max_bytes: int = limits.MAX_BYTES) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Yields features and groups of the clips of a split in order: numbers [T, H, W] each.

    Raises:
      ValueError: if the file is damaged, or its blocks of clips take more than max_bytes.
    """
    with hdf5.opened(path) as file:
        found = [hdf5.dataset(file, f"{GROUPS[split]}/{name}") for name in ("features", "groups")]
        num_clips = found[0].shape[1]
        share = min(CLIPS_AT_ONCE / max(num_clips, 1), 1.0)
        hdf5.check_declared(path, found, max_bytes, share)
        for first in range(0, num_clips, CLIPS_AT_ONCE):
            features, ids = (one[:, first:first + CLIPS_AT_ONCE, ..., 0] for one in found)
            yield from zip(np.moveaxis(features, 1, 0), np.moveaxis(ids, 1, 0), strict=True)


def draw_colours(num_colours: int, seed: tuple[int, ...]) -> np.ndarray:
    """The colours of the ids 0 (black) to 255, uint8 [256, 3], the palette again and again."""
    order = np.random.default_rng(seed).permutation(num_colours)
    colours = np.zeros((episodes.MAX_ID + 1, 3), np.uint8)
    colours[1:] = PALETTE[np.resize(order, episodes.MAX_ID)]
    return colours


def paint(ids: np.ndarray, colours: np.ndarray) -> np.ndarray:
    """ids uint8 [T, H, W] -> video uint8 [T, H, W, 3]."""
    return colours[ids]


def _white(source: str, features: np.ndarray) -> np.ndarray:
    """Numbers from 0 to 1, [...] -> grey uint8 [..., 3]."""
    low, high = features.min(), features.max()
    if not (low >= 0 and high <= 1):
        raise ValueError(f"The features of {source} must lie between 0 and 1; got {low} to {high}.")
    grey = np.rint(255 * features.astype(np.float32)).astype(np.uint8)
    return np.repeat(grey[..., None], 3, axis=-1)


def _integers(source: str, ids: np.ndarray) -> np.ndarray:
    """Ids that may be kept as floats, as uint8."""
    if ids.dtype.kind == "f":
        wrong = ids[~((np.rint(ids) == ids) & (np.abs(ids) < LARGEST_WHOLE))]
        if wrong.size:
            raise ValueError(f"The groups of {source} must be whole numbers; got {wrong.flat[0]}.")
        ids = ids.astype(np.int64)
    return episodes.checked_ids(source, ids)
