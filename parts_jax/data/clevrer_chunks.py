"""Conversion of many clips of CLEVRER by several processes, that can be interrupted.

Clips are converted in chunks. A chunk is a file that holds first what became of its clips, then
their examples; it has its name only when it is whole, and is not made again.
"""

import collections
import dataclasses
import errno
import hashlib
import os
import pathlib
import pickle
from collections.abc import Iterator, Mapping, Sequence

import tqdm
from absl import logging

from parts_jax.data import clevrer_clips, clevrer_files
from parts_jax.simulate import parallel

CLIPS_PER_CHUNK = 20
MOST_SKIPPED = 0.05  # of the clips of a split; more, and the files are taken for damaged ...
ALWAYS_SKIPPED = 20  # ... but so many are skipped of any split


@dataclasses.dataclass(frozen=True)
class Summary:
    """What became of the clips of a chunk.

    Attributes:
        skipped: those left out.
        notes: what was odd about the others, and how often.
        kept: of the others, in the order of their examples: number of the clip, number of objects,
            and the run of frames with all objects in view (see `clevrer_clips.Converted`).
    """

    skipped: tuple[clevrer_clips.Skipped, ...]
    notes: collections.Counter
    kept: tuple[tuple[int, int, tuple[int, int] | None], ...]


@dataclasses.dataclass(frozen=True)
class Selection:
    """The examples of some chunks, in order, with the numbers of their clips.

    Attributes:
        chunks: the files.
        num_objects: only clips with so many objects, cut to their run; empty: all, and whole.
    """

    chunks: Sequence[str]
    num_objects: tuple[int, ...] = ()

    def __len__(self) -> int:
        return sum(self._takes(*item[1:]) for path in self.chunks for item in summary(path).kept)

    def __iter__(self) -> Iterator[tuple[int, dict]]:
        for path in self.chunks:
            with open(path, "rb") as file:
                kept, examples = pickle.load(file).kept, pickle.load(file)
            for (number, count, run), example in zip(kept, examples, strict=True):
                if self._takes(count, run):
                    cut = self.num_objects
                    yield number, clevrer_clips.cut_example(example, *run) if cut else example

    def _takes(self, count: int, run: tuple[int, int] | None) -> bool:
        return not self.num_objects or (run is not None and count in self.num_objects)


def convert_clips(clips: Mapping[str, Sequence[clevrer_clips.Clip]],
                  settings: clevrer_clips.Settings, folder: str,
                  num_workers: int = 0) -> dict[str, list[str]]:
    """Converts the clips of each split into chunks in a folder.

    Returns:
        The chunks of each split, in the order of the clips.

    Raises:
        ValueError: if a file is not in CLEVRER's format, or too many clips are broken.
        OSError: if the disk is full.
    """
    os.makedirs(folder, exist_ok=True)
    chunks = {}
    for split, all_clips in clips.items():
        parts = [all_clips[i:i + CLIPS_PER_CHUNK]
                 for i in range(0, len(all_clips), CLIPS_PER_CHUNK)]
        parts = {os.path.join(folder, _name(part, settings)): part for part in parts}
        left = {path: part for path, part in parts.items() if not os.path.exists(path)}
        tasks = ((path, part, settings) for path, part in left.items())
        with tqdm.tqdm(total=len(all_clips), unit=" clips", mininterval=1.0,
                       initial=len(all_clips) - sum(map(len, left.values())),
                       desc=f"Converting clevrer, {split}") as progress:
            # A single chunk is not worth starting processes for.
            for count in parallel.ordered_map(convert_chunk, tasks,
                                              1 if len(left) == 1 else num_workers):
                progress.update(count)
        chunks[split] = list(parts)
        _check_skipped(split, chunks[split])
    return chunks


def _name(clips: Sequence[clevrer_clips.Clip], settings: clevrer_clips.Settings) -> str:
    """That of the chunk of some clips, which tells other files or settings from these."""
    digest = hashlib.sha256(repr((clips, settings)).encode()).hexdigest()[:8]
    return f"{clips[0].number:05d}-{clips[-1].number:05d}-{digest}"


def convert_chunk(path: str, clips: Sequence[clevrer_clips.Clip],
                  settings: clevrer_clips.Settings) -> int:
    """Converts some clips into one chunk; returns how many there were."""
    done = [clevrer_clips.convert(clip, settings) for clip in clips]
    skipped = [item for item in done if isinstance(item, clevrer_clips.Skipped)]
    kept = [item for item in done if isinstance(item, clevrer_clips.Converted)]
    partial = f"{path}.{os.getpid()}.part"
    try:
        with open(partial, "wb") as file:
            pickle.dump(Summary(
                tuple(skipped), sum((item.notes for item in kept), collections.Counter()),
                tuple((item.number, item.num_objects, item.run) for item in kept)), file)
            pickle.dump([item.example for item in kept], file)
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        pathlib.Path(partial).unlink(missing_ok=True)
        if error.errno == errno.ENOSPC:
            raise OSError(f"The disk is full: {path} cannot be written. What is converted is kept: "
                          "make room, and the same command goes on from there.") from error
        raise
    os.replace(partial, path)
    return len(clips)


def summary(path: str) -> Summary:
    """That of a chunk, without reading its examples."""
    with open(path, "rb") as file:
        return pickle.load(file)


def report(chunks: Mapping[str, Sequence[str]]) -> dict[str, dict[str, int]]:
    """What was kept, what was left out and what was odd, counted by split; also logs it."""
    counts = {}
    for split, paths in chunks.items():
        summaries = [summary(path) for path in paths]
        counter = collections.Counter({"clips": sum(len(item.kept) for item in summaries)})
        for clip in (clip for item in summaries for clip in item.skipped):
            logging.warning("CLEVRER: clip %d is left out. %s", clip.number, clip.detail)
            counter[f"left out: {clip.reason}"] += 1
        counts[split] = dict(sum((item.notes for item in summaries), counter))
    logging.info("CLEVRER is converted. %s.", ". ".join(
        f"{split}: " + ", ".join(f"{count} {what}" for what, count in counter.items())
        for split, counter in counts.items()))
    return counts


def check_room_for_records(folder: str, chunks: Mapping[str, Sequence[str]]) -> None:
    """Raises OSError if the disk has no room for what TFDS writes: one split twice at a time."""
    sizes = [sum(map(os.path.getsize, paths)) for paths in chunks.values()]
    clevrer_files.check_room(folder, sum(sizes) + max(sizes), "the records of the prepared set")


def _check_skipped(split: str, paths: Sequence[str]) -> None:
    """Raises ValueError if too many clips were skipped, and forgets them, to be tried again."""
    summaries = {path: summary(path) for path in paths}
    details = [clip.detail for item in summaries.values() for clip in item.skipped]
    kept = sum(len(item.kept) for item in summaries.values())
    if kept and len(details) <= max(ALWAYS_SKIPPED, MOST_SKIPPED * (kept + len(details))):
        return
    for path, item in summaries.items():
        if item.skipped:
            os.remove(path)
    raise ValueError(f"{len(details)} of the {kept + len(details)} clips of {split} cannot be "
                     f"used: the files are damaged or not CLEVRER's. {' '.join(details[:3])}")
