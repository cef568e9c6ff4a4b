"""Conversion of many clips of CLEVRER by several processes, that can be interrupted.

Clips are converted in chunks. A chunk is a file that has its name only when it is whole, and is not
made again. It is a zip, not compressed, of what cannot be executed:

    summary.json   what became of its clips;
    examples.json  of each example, in order, the features by name and where their values are;
    0/video        encoded frames of the first example, joined;
    0/location.npy an array of it; and so on.
"""

import collections
import contextlib
import dataclasses
import errno
import hashlib
import io
import json
import os
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import tqdm
from absl import logging

from parts_jax.data.clevrer import conversion, files
from parts_jax.data.formats import limits, npz, reading
from parts_jax.files import whole
from parts_jax.simulate import parallel

CLIPS_PER_CHUNK = 20
MOST_SKIPPED = 0.05  # of the clips of a split; more, and the files are taken for damaged ...
ALWAYS_SKIPPED = 20  # ... but so many are skipped of any split

SUMMARY, EXAMPLES = "summary.json", "examples.json"


@dataclasses.dataclass(frozen=True)
class Summary:
    """What became of the clips of a chunk.

    Attributes:
      skipped: those left out.
      notes: what was odd about the others, and how often.
      kept: of the others, in the order of their examples: number of the clip, number of objects,
        and the run of frames with all objects in view (see `conversion.Converted`).
    """

    skipped: tuple[conversion.Skipped, ...]
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
            kept = summary(path).kept
            for (number, count, run), example in zip(kept, _examples(path), strict=True):
                if self._takes(count, run):
                    cut = self.num_objects
                    yield number, conversion.cut_example(example, *run) if cut else example

    def _takes(self, count: int, run: tuple[int, int] | None) -> bool:
        return not self.num_objects or (run is not None and count in self.num_objects)


def convert_clips(clips: Mapping[str, Sequence[conversion.Clip]],
                  settings: conversion.Settings, folder: str,
                  num_workers: int = 0) -> dict[str, list[str]]:
    """Converts the clips of each split into chunks in a folder.

    Returns:
      The chunks of each split, in the order of the clips.

    Raises:
      ValueError: if a file is not in CLEVRER's format, too many clips are broken, or a chunk
        from before is damaged.
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


def _name(clips: Sequence[conversion.Clip], settings: conversion.Settings) -> str:
    """That of the chunk of some clips, which tells other files or settings from these."""
    digest = hashlib.sha256(repr((clips, settings)).encode()).hexdigest()[:8]
    return f"{clips[0].number:05d}-{clips[-1].number:05d}-{digest}.chunk"


def convert_chunk(path: str, clips: Sequence[conversion.Clip],
                  settings: conversion.Settings) -> int:
    """Converts some clips into one chunk; returns how many there were."""
    done = [conversion.convert(clip, settings) for clip in clips]
    skipped = [item for item in done if isinstance(item, conversion.Skipped)]
    kept = [item for item in done if isinstance(item, conversion.Converted)]
    write_chunk(path, Summary(
        tuple(skipped), sum((item.notes for item in kept), collections.Counter()),
        tuple((item.number, item.num_objects, item.run) for item in kept)),
        [item.example for item in kept])
    return len(clips)


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
    files.check_room(folder, sum(sizes) + max(sizes), "the records of the prepared set")


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


# --- The file ---


def write_chunk(path: str, outcome: Summary, examples: Sequence[Mapping[str, Any]]) -> None:
    """Writes a chunk, whose file has its name only when it is whole.

    Raises:
      TypeError: if a value of an example is no array, no text, and no list of texts or of bytes.
      OSError: if the disk is full.
    """
    try:
        with (whole.replacing(path, shared=True) as part,
              zipfile.ZipFile(part, "w") as archive):
            _add(archive, SUMMARY, json.dumps({
                "skipped": [dataclasses.asdict(clip) for clip in outcome.skipped],
                "notes": outcome.notes, "kept": outcome.kept}))
            _add(archive, EXAMPLES, json.dumps([
                {key: _add_value(archive, f"{i}/{key}", value) for key, value in example.items()}
                for i, example in enumerate(examples)]))
    except OSError as error:
        if error.errno == errno.ENOSPC:
            raise OSError(f"The disk is full: {path} cannot be written. What is converted is kept: "
                          "make room, and the same command goes on from there.") from error
        raise


def summary(path: str) -> Summary:
    """That of a chunk, without reading its examples.

    Raises:
      ValueError: if the file is no whole chunk.
    """
    with _opened(path) as archive:
        content = json.loads(archive.read(SUMMARY))
        return Summary(
            tuple(conversion.Skipped(**item) for item in content["skipped"]),
            collections.Counter(content["notes"]),
            tuple((number, count, run and tuple(run)) for number, count, run in content["kept"]))


def _examples(path: str) -> Iterator[dict[str, Any]]:
    """Those of a chunk, one in memory at a time; ValueError if the file is no whole chunk."""
    with _opened(path) as archive:
        for i, places in enumerate(json.loads(archive.read(EXAMPLES))):
            yield {key: _read_value(archive, f"{i}/{key}", *place)
                   for key, place in places.items()}


@contextlib.contextmanager
def _opened(path: str) -> Iterator[zipfile.ZipFile]:
    with open(path, "rb") as file:
        try:
            with zipfile.ZipFile(file) as archive:
                for member in archive.infolist():
                    if member.compress_type != zipfile.ZIP_STORED:
                        raise ValueError(f"{member.filename} is compressed")
                    limits.check_declared(member.filename, member.file_size, os.path.getsize(path))
                yield archive
        except Exception as error:
            raise ValueError(
                f"The file {path} is no whole chunk of converted clips: it is truncated, damaged "
                f"or of another kind ({reading.words(error)}). Delete it, and the same command "
                "converts its clips again.") from error


def _add(archive: zipfile.ZipFile, name: str, content: str | bytes) -> None:
    archive.writestr(zipfile.ZipInfo(name), content)  # without the time: all runs write the same


def _add_value(archive: zipfile.ZipFile, name: str, value: Any) -> tuple:
    """Adds a value of an example, and returns its place: what `_read_value` must know of it."""
    if isinstance(value, np.ndarray):
        content = io.BytesIO()
        np.lib.format.write_array(content, value, allow_pickle=False)
        _add(archive, f"{name}.npy", content.getvalue())
        return ("array",)
    if isinstance(value, str) or _is_list_of(str, value):
        return "text", value
    if _is_list_of(bytes, value):
        _add(archive, name, b"".join(value))
        return "bytes", [len(item) for item in value]
    raise TypeError(f"The value {name} of an example cannot be kept in a chunk: it must be an "
                    f"array, a text, a list of texts or a list of bytes; got {type(value)}.")


def _read_value(archive: zipfile.ZipFile, name: str, kind: str, detail: Any = None) -> Any:
    if kind == "array":
        content = archive.read(f"{name}.npy")
        declared = npz.header_bytes(io.BytesIO(content))
        if declared != len(content):
            raise ValueError(f"{name}.npy has {len(content)} bytes, but declares {declared}")
        content = io.BytesIO(content)
        return np.lib.format.read_array(content, allow_pickle=False)
    if kind == "text":
        return detail
    content = io.BytesIO(archive.read(name))
    return [content.read(length) for length in detail]


def _is_list_of(kind: type, value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(item, kind) for item in value)
