"""Batches of clips by grain: shuffled and endless for training, in order for evaluation.

The global batch of a step is the same for any number of processes: with P of them, process p reads
rows p*B to (p+1)*B of it.
"""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import grain
import ml_collections
import numpy as np

from parts_jax import data
from parts_jax.data import preprocess

NUM_PREFETCHED = 8  # batches
MAX_SEED = 2 ** 32 - 1

Source = Sequence[Mapping[str, Any]]


def train_iterator(data_config: ml_collections.ConfigDict, *, batch_size: int, seed: int,
                   process_index: int = 0, process_count: int = 1,
                   source: Source | None = None) -> grain.DatasetIterator:
    """Endless shuffled batches of random windows.

    Every epoch has an order of its own. What is drawn depends on `seed` and the position in the
    stream alone. The state of the iterator is saved and restored with
    `grain.checkpoint.CheckpointSave` and `CheckpointRestore`.

    Args:
        data_config: `name`, `data_dir`, `train_split`, `num_frames` (T), `stride`, `resolution`
            (H = W), `flip` and `num_threads`.
        batch_size: clips of a batch of this process (B).
        seed: 0 to 2**32-1.
        process_index: number of this process, 0 to `process_count` - 1.
        process_count: processes that share the data.
        source: examples to read in place of the set that `data_config` names; see
            `preprocess.read_window` for what an example holds.

    Returns:
        A grain iterator over dicts of numpy arrays: `video` uint8 [B,T,H,W,3]; `segmentation`
        uint8 [B,T,H,W] and `actions` float32 [B,T,A] where the set has them; `valid` bool [B], all
        True.

    Raises:
        ValueError: if a number is out of range, the split does not exist, the clips are too short,
            or the set has actions and `flip` or a stride is asked for.
    """
    _check_numbers(data_config, batch_size, process_index, process_count)
    if not 0 <= seed <= MAX_SEED:
        raise ValueError(f"The seed must be between 0 and {MAX_SEED}; got {seed}.")
    if source is None:
        source = open_split(data_config, data_config.train_split)
    _check_source(source, data_config, flip=data_config.flip)
    reader = _TrainReader(source, data_config.num_frames, data_config.stride,
                          data_config.resolution, data_config.flip)
    dataset = (grain.MapDataset.range(len(source))
               .seed(seed)
               .shuffle()
               .repeat()
               .random_map(reader)
               .batch(batch_size)
               .slice(slice(process_index, None, process_count)))
    return iter(dataset.to_iter_dataset(_read_options(data_config)))


def eval_iterator(data_config: ml_collections.ConfigDict, split: str, *, batch_size: int,
                  num_sequences: int = 0, process_index: int = 0, process_count: int = 1,
                  source: Source | None = None) -> grain.DatasetIterator:
    """The first window of every example of a split, once and in order.

    All processes get the same number of batches.

    Args:
        data_config: as for `train_iterator`; clips are not flipped.
        split: name of the split, such as "validation".
        batch_size: clips of a batch of this process (B).
        num_sequences: only so many examples from the start of the split; 0: all.
        process_index: number of this process, 0 to `process_count` - 1.
        process_count: processes that share the data.
        source: examples to read in place of the set that `data_config` names.

    Returns:
        As `train_iterator`, and `index` int32 [B], the position of the example in the split. The
        last batch is filled up with clips that are all zero, whose `valid` is False and whose
        `index` runs on past the end.

    Raises:
        ValueError: as `train_iterator`, and if `num_sequences` is negative.
    """
    _check_numbers(data_config, batch_size, process_index, process_count)
    if num_sequences < 0:
        raise ValueError("num_sequences must be 0 (the whole split) or more; "
                         f"got {num_sequences}.")
    if source is None:
        source = open_split(data_config, split)
    _check_source(source, data_config, flip=False)
    count = min(num_sequences or len(source), len(source))
    global_batch = batch_size * process_count
    padded = -(-count // global_batch) * global_batch
    reader = _EvalReader(source, data_config.num_frames, data_config.stride,
                         data_config.resolution, count)
    dataset = (grain.MapDataset.range(padded)
               .map(reader)
               .batch(batch_size)
               .slice(slice(process_index, None, process_count)))
    return iter(dataset.to_iter_dataset(_read_options(data_config)))


def check(data_config: ml_collections.ConfigDict, train_split: str | None = None,
          eval_splits: Sequence[str] = ()) -> None:
    """Builds the set if need be, and looks whether its splits can be read as they will be.

    Args:
        data_config: as for `train_iterator`.
        train_split: the split that will be trained on, if any.
        eval_splits: the splits that will be evaluated.

    Raises:
        ValueError: if there is no such set or split, the clips are too short, an array of the
            first example has a wrong shape or dtype, or the set has actions and `flip` or a stride
            is asked for.
    """
    for split in eval_splits:
        _check_source(open_split(data_config, split), data_config, flip=False)
    if train_split is not None:
        _check_source(open_split(data_config, train_split), data_config, flip=data_config.flip)


def open_split(data_config: ml_collections.ConfigDict, split: str) -> Source:
    """Random access to the examples of a split of the set that `data_config` names.

    Raises:
        ValueError: if there is no such set or split.
    """
    builder = data.prepare(data_config.name, data_config.data_dir)
    if split not in builder.info.splits:
        raise ValueError(f"The data set {data_config.name!r} has no split {split!r}; "
                         f"it has: {', '.join(builder.info.splits)}.")
    return builder.as_data_source(split=split)


@dataclasses.dataclass(frozen=True)
class _TrainReader(grain.transforms.RandomMap):
    """Index of an example -> a random window of it."""

    source: Source
    num_frames: int
    stride: int
    resolution: int
    flip: bool

    def random_map(self, element: int, rng: np.random.Generator) -> dict[str, np.ndarray]:
        example = self.source[int(element)]
        num_starts = len(example["video"]) - (self.num_frames - 1) * self.stride
        start = int(rng.integers(max(num_starts, 1)))
        flipped = self.flip and rng.random() < 0.5
        clip = preprocess.resize(
            preprocess.read_window(example, start, self.num_frames, self.stride), self.resolution)
        clip = preprocess.flip_left_right(clip) if flipped else clip
        return {**clip, "valid": np.True_}


@dataclasses.dataclass(frozen=True)
class _EvalReader(grain.transforms.Map):
    """Index of an example -> its first window, or zeros past the end."""

    source: Source
    num_frames: int
    stride: int
    resolution: int
    count: int

    def map(self, element: int) -> dict[str, np.ndarray]:
        index = int(element)
        example = self.source[min(index, self.count - 1)]
        clip = preprocess.resize(
            preprocess.read_window(example, 0, self.num_frames, self.stride), self.resolution)
        if index >= self.count:
            clip = {key: np.zeros_like(value) for key, value in clip.items()}
        return {**clip, "valid": np.bool_(index < self.count), "index": np.int32(index)}


def _read_options(data_config: ml_collections.ConfigDict) -> grain.ReadOptions:
    threads = data_config.num_threads
    return grain.ReadOptions(num_threads=threads,
                             prefetch_buffer_size=max(NUM_PREFETCHED, threads) if threads else 0)


def _check_numbers(data_config: ml_collections.ConfigDict, batch_size: int, process_index: int,
                   process_count: int) -> None:
    """Raises ValueError if a number is out of its range."""
    least = {"num_frames": 1, "stride": 1, "resolution": 1, "num_threads": 0}
    numbers = {f"data.{key}": (data_config[key], value) for key, value in least.items()}
    numbers["batch_size"] = (batch_size, 1)
    numbers["process_count"] = (process_count, 1)
    for name, (value, lowest) in numbers.items():
        if value < lowest:
            raise ValueError(f"{name} must be at least {lowest}; got {value}.")
    if not 0 <= process_index < process_count:
        raise ValueError(f"process_index must be between 0 and {process_count - 1}, as there are "
                         f"{process_count} processes; got {process_index}.")


def _check_source(source: Source, data_config: ml_collections.ConfigDict, *, flip: bool) -> None:
    """Raises ValueError if the first example does not allow what is asked for."""
    if len(source) == 0:
        raise ValueError("There are no examples to read.")
    example = source[0]
    length = len(example["video"])
    num_frames, stride = data_config.num_frames, data_config.stride
    if (num_frames - 1) * stride + 1 > length:
        raise ValueError(
            f"data.num_frames is {num_frames} with data.stride {stride}, but the clips have "
            f"{length} frames: at most {(length - 1) // stride + 1} frames can be read with this "
            "stride.")
    if "actions" in example and (flip or stride > 1):
        raise ValueError("The data have actions, which hold for unflipped frames one step apart: "
                         f"data.flip must be False and data.stride 1; got {flip} and "
                         f"{stride}.")
    preprocess.read_window(example, 0, 1, 1)
