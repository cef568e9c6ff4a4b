"""Batches of clips by grain: shuffled and endless for training, in order for evaluation.

The global batch of a step is the same for any number of processes: with P of them, process p reads
rows p*B to (p+1)*B of it.
"""

import dataclasses
import itertools
from collections.abc import Callable, Sequence
from typing import Any

import grain
import ml_collections

from parts_jax import data
from parts_jax.data import prepared, preprocess, windows
from parts_jax.data.curriculum import Stage
from parts_jax.data.formats import limits

NUM_PREFETCHED = 8  # batches
NUM_PLACED = 2      # of them, placed on the devices ahead of their step
MAX_SEED = 2 ** 32 - 1


@dataclasses.dataclass(frozen=True)
class Split:
    """A split of a set, opened for reading.

    Attributes:
      examples: see `preprocess.read_window` for what an example holds.
      fewest_frames: of its shortest clip.
      mirrored_actions: the components of an action whose sign a mirrored video turns; None if
        the set does not say.
    """

    examples: windows.Source
    fewest_frames: int
    mirrored_actions: tuple[int, ...] | None = None


def train_iterator(data_config: ml_collections.ConfigDict, *, batch_size: int, seed: int,
                   action_size: int = 0, cues: Sequence[str] = (), process_index: int = 0,
                   process_count: int = 1, split: Split | None = None,
                   place: Callable[[dict], Any] | None = None,
                   stages: Sequence[Stage] = ()) -> grain.DatasetIterator:
    """Endless shuffled batches of random windows.

    Every epoch has an order of its own. What is drawn depends on `seed` and the position in the
    stream of clips alone: stages with clips of other lengths, and more or fewer of them a batch,
    take theirs from one stream, each from where the one before it ended. The state of the iterator
    is saved and restored with `grain.checkpoint.CheckpointSave` and `CheckpointRestore`.

    Args:
      data_config: `name`, `data_dir`, `train_split`, `num_frames` (T) or another `train_frames`,
        `stride`, `resolution` (H = W), `flip` and `num_threads`. Clips that are shorter than
        `train_frames` are played back and forth.
      batch_size: clips of a batch of this process (B).
      seed: 0 to 2**32-1.
      action_size: A, which the set must have; 0: actions are not read.
      cues: names of further arrays of the set to read, numbers [T, ...] such as optical flow,
        boxes or factors. Their numbers stay as the set has them: boxes in the pixels of its frames
        whatever the resolution, flow from each of its frames to the next whatever the stride.
      process_index: number of this process, 0 to `process_count` - 1.
      process_count: processes that share the data.
      split: clips to read in place of the set that `data_config` names.
      place: what puts a batch on the devices; done two batches ahead, in a thread of its own, so
        that no step waits for the transfer. The iterator's state stays that of the batches
        handed out.
      stages: what is read, stage after stage, in place of endless batches of `batch_size` clips of
        `train_frames` frames; each stage's batch size is that of all processes together.

    Returns:
      A grain iterator over dicts of numpy arrays, or what `place` makes of them: `video` uint8
      [B, T, H, W, 3]; `actions` float32 [B, T, A] if asked for; `valid` bool [B], all True; each
      cue by its name, [B, T, ...]. Masks are not read.

    Raises:
      ValueError: if a number is out of range, the split does not exist, clips are too short or
        have other actions or lack a cue, or with actions a stride is asked for, or flips that the
        set does not know to mirror, or flips with cues.
    """
    _check_numbers(data_config, batch_size, process_index, process_count)
    if not 0 <= seed <= MAX_SEED:
        raise ValueError(f"The seed must be between 0 and {MAX_SEED}; got {seed}.")
    if split is None:
        split = open_split(data_config, data_config.train_split)
    _check_split(split, data_config, action_size, flip=data_config.flip)
    _check_train_frames(split, data_config, action_size, cues)
    shapes = _check_cues(split, cues, flip=data_config.flip)
    keys = ("video", "actions") if action_size else ("video",)
    order = grain.MapDataset.range(len(split.examples)).seed(seed).shuffle().repeat()

    def windows_of(num_frames: int) -> grain.MapDataset:
        return order.random_map(windows.Training(
            split.examples, split.mirrored_actions, keys, num_frames, data_config.stride,
            data_config.resolution, data_config.flip, shapes))

    def share_of(clips: grain.MapDataset, size: int) -> grain.MapDataset:
        return clips.batch(size).slice(slice(process_index, None, process_count))

    if stages:
        ends = [0, *itertools.accumulate(stage.steps * stage.batch_size for stage in stages)]
        dataset = grain.MapDataset.concatenate([
            share_of(windows_of(stage.num_frames).slice(slice(*of_stage)),
                     stage.batch_size // process_count)
            for stage, of_stage in zip(stages, itertools.pairwise(ends), strict=True)])
    else:
        dataset = share_of(windows_of(train_frames(data_config)), batch_size)
    dataset = dataset.to_iter_dataset(_read_options(data_config))
    if place is not None:
        dataset = grain.experimental.ThreadPrefetchIterDataset(
            dataset.map(place), prefetch_buffer_size=NUM_PLACED)
    return iter(dataset)


def eval_iterator(data_config: ml_collections.ConfigDict, split: str | Split, *, batch_size: int,
                  num_sequences: int = 0, action_size: int = 0, cues: Sequence[str] = (),
                  process_index: int = 0, process_count: int = 1) -> grain.DatasetIterator:
    """The first window of every example of a split, once and in order.

    All processes get the same number of batches.

    Args:
      data_config: as for `train_iterator`; clips are not flipped.
      split: name of the split, such as "validation", or clips to read in its place.
      batch_size: clips of a batch of this process (B).
      num_sequences: only so many examples from the start of the split; 0: all.
      action_size, cues: as for `train_iterator`.
      process_index: number of this process, 0 to `process_count` - 1.
      process_count: processes that share the data.

    Returns:
      As `train_iterator`, and `segmentation` uint8 [B, T, H, W] where the set has masks, and
      `index` int32 [B], the position of the example in the split. The last batch is filled up with
      clips that are all zero, whose `valid` is False and whose `index` runs on past the end.

    Raises:
      ValueError: as `train_iterator`, and if `num_sequences` is negative.
    """
    _check_numbers(data_config, batch_size, process_index, process_count)
    if num_sequences < 0:
        raise ValueError("num_sequences must be 0 (the whole split) or more; "
                         f"got {num_sequences}.")
    if isinstance(split, str):
        split = open_split(data_config, split)
    _check_split(split, data_config, action_size, flip=False)
    shapes = _check_cues(split, cues, flip=False)
    keys = ("video", "segmentation", "actions") if action_size else ("video", "segmentation")
    count = min(num_sequences or len(split.examples), len(split.examples))
    global_batch = batch_size * process_count
    padded = -(-count // global_batch) * global_batch
    reader = windows.Evaluation(
        split.examples, keys, data_config.num_frames, data_config.stride, data_config.resolution,
        count, shapes)
    dataset = (grain.MapDataset.range(padded)
               .map(reader)
               .batch(batch_size)
               .slice(slice(process_index, None, process_count)))
    return iter(dataset.to_iter_dataset(_read_options(data_config)))


def check(data_config: ml_collections.ConfigDict, train_split: str | None = None,
          eval_splits: Sequence[str] = (), action_size: int = 0, burn_in: int = 0,
          rollout_steps: int = 0, cues: Sequence[str] = ()) -> None:
    """Builds the set if need be, and looks whether its splits can be read as they will be.

    Args:
      data_config: as for `train_iterator`.
      train_split: the split that will be trained on, if any.
      eval_splits: the splits that will be evaluated.
      action_size: as for `train_iterator`.
      burn_in: frames that are seen before a roll-out.
      rollout_steps: frames that are predicted then; 0: there are no roll-outs.
      cues: as for `train_iterator`.

    Raises:
      ValueError: if there is no such set or split, the clips are too short, for roll-outs too,
        an array of the first example has a wrong shape or dtype, a cue is not there, or the set
        has actions and `flip` or a stride is asked for, or there are cues and `flip`.
    """
    for name in eval_splits:
        split = open_split(data_config, name)
        _check_split(split, data_config, action_size, flip=False)
        _check_cues(split, cues, flip=False)
        if rollout_steps:
            _check_rollout(split, name, data_config.stride, burn_in, rollout_steps)
    if train_split is not None:
        split = open_split(data_config, train_split)
        _check_split(split, data_config, action_size, flip=data_config.flip)
        _check_train_frames(split, data_config, action_size, cues)
        _check_cues(split, cues, flip=data_config.flip)


def prepare(data_config: ml_collections.ConfigDict) -> str:
    """Builds a set that is made from files, if need be; returns its name, for `data.prepared`.

    A run keeps to what was prepared when it began: with that name its source is not read again,
    whatever comes and goes there. Of a set that is always the same the name is empty.

    Raises:
      ValueError, OSError: as `data.prepare`.
    """
    c = data_config
    if c.prepared or not c.source_dir:
        return c.prepared
    return data.prepare(c.name, c.data_dir, c.source_dir, c.download, *_choices(c)
                        ).builder_config.name


def _choices(data_config: ml_collections.ConfigDict) -> tuple:
    """What `data.prepare` may be told beside these, as far as a config has it, in its order."""
    defaults = {"max_bytes": limits.MAX_BYTES, "skip_bad": False, "prepared": "", "camera": "",
                "actions": "", "action_size": 0}
    return tuple(data_config.get(key, default) for key, default in defaults.items())


def train_frames(data_config: ml_collections.ConfigDict) -> int:
    """T of training: `train_frames`, or `num_frames` where that is 0."""
    return data_config.train_frames or data_config.num_frames


def open_split(data_config: ml_collections.ConfigDict, name: str) -> Split:
    """Opens a split of the set that `data_config` names, which is prepared first if need be.

    Raises:
      ValueError: if there is no such set or split.
      OSError: what is prepared of it is damaged.
    """
    c = data_config
    builder = data.prepare(c.name, c.data_dir, c.source_dir, c.download, *_choices(c))
    if name not in builder.info.splits:
        raise ValueError(f"The data set {c.name!r} has no split {name!r}; "
                         f"it has: {', '.join(builder.info.splits)}.")
    return Split(prepared.Examples(builder, name), data.fewest_frames(builder, name),
                 getattr(builder, "MIRRORED_ACTIONS", None))


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


def _check_rollout(split: Split, name: str, stride: int, burn_in: int, rollout_steps: int) -> None:
    """Raises ValueError if the clips of a split are too short for roll-outs."""
    possible = (split.fewest_frames - 1) // stride + 1
    if burn_in + rollout_steps > possible:
        raise ValueError(
            f"eval.burn_in is {burn_in} and eval.rollout_steps is {rollout_steps}, which takes "
            f"{burn_in + rollout_steps} frames, but of the shortest clip of the split {name!r} "
            f"{possible} can be read with data.stride {stride}: the two may be {possible} "
            "together at the most. With --config.eval.rollout_steps=0 no roll-outs are evaluated."
            + _name_short(split, (burn_in + rollout_steps - 1) * stride + 1))


def _name_short(split: Split, least: int) -> str:
    """Which clips have fewer frames than `least`: only where that is an error are all looked at."""
    short = []
    for number in range(len(split.examples)):
        example = split.examples[number]
        if len(example["video"]) < least:
            name = example.get("id", number)
            short.append((name.decode() if isinstance(name, bytes) else name,
                          len(example["video"])))
    return (f" {len(short)} of {len(split.examples)} clips have fewer than {least} frames, such as "
            f"{short[0][0]!r}, which has {short[0][1]}." if short else "")


def _check_split(split: Split, data_config: ml_collections.ConfigDict, action_size: int, *,
                 flip: bool) -> None:
    """Raises ValueError if a split does not allow what is asked for."""
    if len(split.examples) == 0:
        raise ValueError("There are no examples to read.")
    num_frames, stride, length = data_config.num_frames, data_config.stride, split.fewest_frames
    if (num_frames - 1) * stride + 1 > length:
        raise ValueError(
            f"data.num_frames is {num_frames} with data.stride {stride}, but the shortest clip has "
            f"{length} frames: at most {(length - 1) // stride + 1} frames can be read with this "
            f"stride.{_name_short(split, (num_frames - 1) * stride + 1)}")
    example = split.examples[0]
    preprocess.read_window(example, 0, 1, 1)
    if action_size == 0:
        return
    there = f"actions of size {example['actions'].shape[-1]}" if "actions" in example \
        else "no actions"
    if there != f"actions of size {action_size}":
        raise ValueError(f"data.action_size is {action_size}, but the data have {there}; "
                         "0 leaves actions out.")
    if stride > 1:
        raise ValueError("Actions hold for frames one step apart: data.stride must be 1 where "
                         f"data.action_size is not 0; got {stride}.")
    if flip and split.mirrored_actions is None:
        raise ValueError("The set does not say what its actions are in a mirrored video: "
                         "data.flip must be False where data.action_size is not 0; got True.")


def _check_train_frames(split: Split, data_config: ml_collections.ConfigDict, action_size: int,
                        cues: Sequence[str]) -> None:
    """Raises ValueError if clips of training would be played backwards, but must not be."""
    num_frames = train_frames(data_config)
    there = (split.fewest_frames - 1) // data_config.stride + 1
    if num_frames > there and (action_size or cues):
        raise ValueError(
            f"data.train_frames is {num_frames}, but of the shortest clip {there} frames can be "
            f"read, and what is read beside them ({'actions' if action_size else ', '.join(cues)}) "
            f"does not hold for a clip that is played backwards: it may be {there} at the most."
            + _name_short(split, (num_frames - 1) * data_config.stride + 1))


def _check_cues(split: Split, cues: Sequence[str], *, flip: bool) -> dict[str, tuple[int, ...]]:
    """The shape of each cue in one frame; ValueError if a split does not allow to read them."""
    if flip and cues:
        raise ValueError("What cues are in a mirrored video is not known: data.flip must be False "
                         f"where cues ({', '.join(cues)}) are read; got True.")
    return preprocess.cue_shapes(split.examples[0], cues)
