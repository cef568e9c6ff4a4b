"""Writes metrics and pictures: to TensorBoard and to metrics.jsonl, by CLU's writers; and the files
of an evaluation.

CLU's own TensorBoard writer needs TensorFlow, which this project does without. `TensorBoardWriter`
does the same over TensorBoard's own file writer. Where TensorFlow is missing, importing this file
puts it where CLU looks for its own, so that all of `clu.metric_writers` and
`clu.periodic_actions` can be used; so import this file before them.
"""

import contextlib
import csv
import importlib.util
import io
import json
import math
import os
import pathlib
import sys
import time
import types
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import jax
import ml_collections
import numpy as np
from absl import logging
from tensorboard.compat.proto import event_pb2, summary_pb2, tensor_pb2, tensor_shape_pb2, types_pb2
from tensorboard.plugins.histogram import metadata as histogram_metadata
from tensorboard.plugins.hparams import summary_v2 as hparams_summary
from tensorboard.plugins.image import metadata as image_metadata
from tensorboard.plugins.text import metadata as text_metadata
from tensorboard.summary.writer.event_file_writer import EventFileWriter
from tensorboard.util import tensor_util

from parts_jax.files import json_text, whole
from parts_jax.pictures import grids
from parts_jax.runs import configuration

FILE_NAME = "metrics.jsonl"
EVALUATIONS = "evaluation"  # folder of a workdir


@contextlib.contextmanager
def _full_sentence(place: str) -> Iterator[None]:
    """Turns what the operating system says of a failed write into a sentence for the user."""
    try:
        yield
    except OSError as error:
        raise OSError(f"Metrics cannot be written to {place!r}: {error.strerror or error}. When "
                      "the cause is mended, the same command goes on from the newest checkpoint."
                      ) from error


class TensorBoardWriter:
    """CLU's `MetricWriter` for TensorBoard's event files, without TensorFlow.

    Args:
      logdir: where the event file is made.
      resume_step: tells TensorBoard to forget what was written there for later steps.
    """

    def __init__(self, logdir: str, resume_step: int | None = None):
        self._logdir = os.fspath(logdir)
        self._writer = EventFileWriter(self._logdir)
        if resume_step is not None:
            start = event_pb2.SessionLog(status=event_pb2.SessionLog.START)
            self._writer.add_event(event_pb2.Event(
                wall_time=time.time(), step=resume_step + 1, session_log=start))

    def write_summaries(
        self, step: int, values: Mapping[str, Any], metadata: Mapping[str, Any] | None = None
    ) -> None:
        """Writes arrays under the plugin that `metadata` (key to SummaryMetadata) names."""
        for key, value in values.items():
            self._add(step, tag=key, tensor=tensor_util.make_tensor_proto(np.asarray(value)),
                      metadata=(metadata or {}).get(key))

    def write_scalars(self, step: int, scalars: Mapping[str, Any]) -> None:
        """Writes numbers or arrays of one element, and flushes."""
        for key, value in scalars.items():
            self._add(step, tag=key, simple_value=_number(value))
        self.flush()

    def write_images(self, step: int, images: Mapping[str, Any]) -> None:
        """Writes images [N, H, W, C] or [H, W, C], uint8 or float in [0, 1], C of 1 or 3."""
        for key, value in images.items():
            value = np.asarray(value)
            batch = value[None] if value.ndim == 3 else value
            encoded = [grids.encode_png(image) for image in batch]
            self._add_encoded(step, key, batch.shape[-2], batch.shape[-3], encoded)

    def write_videos(self, step: int, videos: Mapping[str, Any]) -> None:
        """Writes videos [N, T, H, W, C] or [T, H, W, C] as animated images."""
        for key, value in videos.items():
            value = np.asarray(value)
            batch = value[None] if value.ndim == 4 else value
            encoded = [grids.animation(video) for video in batch]
            self._add_encoded(step, key, batch.shape[-2], batch.shape[-3], encoded)

    def write_audios(self, step: int, audios: Mapping[str, Any], *, sample_rate: int) -> None:
        """Writes nothing: this project has no sounds."""
        del step, sample_rate
        logging.log_first_n(logging.WARNING, "Audio is not written: %s.", 1, ", ".join(audios))

    def write_texts(self, step: int, texts: Mapping[str, str]) -> None:
        """Writes texts, shown as markdown."""
        for key, text in texts.items():
            self._add(step, tag=key, tensor=_strings([text.encode()], shape=()),
                      metadata=text_metadata.create_summary_metadata(None, None))

    def write_histograms(
        self, step: int, arrays: Mapping[str, Any], num_buckets: Mapping[str, int] | None = None
    ) -> None:
        """Writes histograms of arrays' elements, of 30 buckets if not said otherwise."""
        for key, value in arrays.items():
            values = np.asarray(value, np.float64).ravel()
            if not values.size:
                continue
            counts, edges = np.histogram(values, bins=(num_buckets or {}).get(key) or 30)
            rows = np.stack([edges[:-1], edges[1:], counts], axis=1)
            self._add(step, tag=key, tensor=tensor_util.make_tensor_proto(rows),
                      metadata=histogram_metadata.create_summary_metadata(None, None))

    def write_hparams(self, hparams: Mapping[str, Any]) -> None:
        """Writes a flat mapping of hyper-parameters; what is no number or text, as text."""
        plain = {key: value if isinstance(value, (bool, int, float, str)) else str(value)
                 for key, value in hparams.items()}
        summary = hparams_summary.hparams_pb(plain)
        self._writer.add_event(event_pb2.Event(wall_time=time.time(), step=0, summary=summary))

    def flush(self) -> None:
        """Puts what was written so far on disk."""
        with _full_sentence(self._logdir):
            self._writer.flush()

    def close(self) -> None:
        """Flushes and closes the file."""
        with _full_sentence(self._logdir):
            self._writer.close()

    def _add(self, step: int, **value: Any) -> None:
        summary = summary_pb2.Summary(value=[summary_pb2.Summary.Value(**value)])
        event = event_pb2.Event(wall_time=time.time(), step=step, summary=summary)
        with _full_sentence(self._logdir):
            self._writer.add_event(event)

    def _add_encoded(self, step: int, key: str, width: int, height: int, files: list[bytes]):
        strings = [str(width).encode(), str(height).encode(), *files]
        self._add(step, tag=key, tensor=_strings(strings, shape=(len(strings),)),
                  metadata=image_metadata.create_summary_metadata(None, None))


class JsonLinesWriter:
    """CLU's `MetricWriter` for scalars only: one line of JSON a write, flushed at once.

    A line is {"step": 100, "loss": 1.5, ...}; what is not finite stands as null. There is no time
    in it, so the file of a run that was killed and went on equals that of one that was not.

    Args:
      path: the file; appended to. What a killed run or a full disk left of its last line is
        dropped; other lines that cannot be read are moved to a file beside it, with a warning.
      resume_step: step that the run goes on from. Lines of later steps are dropped first, and those
        of evaluations of this step, which comes first again; all lines if it is 0. None drops none.
    """

    def __init__(self, path: str, resume_step: int | None = None):
        path = pathlib.Path(path)
        with _full_sentence(os.fspath(path)):
            path.parent.mkdir(parents=True, exist_ok=True)
            if path.exists():
                _repair(path, resume_step)
            self._file = path.open("a", encoding="utf-8")

    def write_scalars(self, step: int, scalars: Mapping[str, Any]) -> None:
        """Writes one line."""
        numbers = {key: _number(value) for key, value in scalars.items()}
        line = {"step": int(step)} | {
            key: value if math.isfinite(value) else None for key, value in numbers.items()
        }
        with _full_sentence(self._file.name):
            self._file.write(json.dumps(line) + "\n")
            self._file.flush()

    def _write_nothing(self, *args: Any, **kwargs: Any) -> None:
        """Only scalars go into the file."""

    write_summaries = write_images = write_videos = write_audios = _write_nothing
    write_texts = write_histograms = write_hparams = _write_nothing

    def flush(self) -> None:
        """Puts what was written so far on disk, so that it outlives a crash of the machine."""
        self._file.flush()
        os.fsync(self._file.fileno())

    def close(self) -> None:
        """Closes the file; what could not be written then has been told of before."""
        with contextlib.suppress(OSError):
            self._file.close()


def create_writer(workdir: str, resume_step: int | None = None):
    """Returns one CLU MultiWriter to TensorBoard and metrics.jsonl of `workdir`.

    On processes other than the first it writes nothing. What the log says is not its affair: it
    has a line a write, by `progress.Log`.

    Args:
      workdir: the run's folder.
      resume_step: in training, the step that the run goes on from, 0 if it starts: what an earlier,
        killed start wrote for later steps is dropped. None keeps all, for a look from outside.
    """
    writers = []
    if jax.process_index() == 0:
        writers.append(TensorBoardWriter(workdir, resume_step))
        writers.append(JsonLinesWriter(os.path.join(workdir, FILE_NAME), resume_step))
    return metric_writers.MultiWriter(writers)


def write_config(writer: Any, config: ml_collections.ConfigDict) -> None:
    """Writes what a run was started with: its hyper-parameters, and as one text all of its config.

    Args:
      writer: from `create_writer`.
      config: of the run.
    """
    writer.write_hparams(configuration.flatten(config))
    lines = configuration.to_json(config).splitlines(keepends=True)
    writer.write_texts(0, {"config": "".join(f"    {line}" for line in lines)})  # code in Markdown


def write_evaluation(workdir: str | os.PathLike, name: str, record: Mapping[str, Any],
                     picture: np.ndarray | None,
                     clips: Mapping[str, Sequence] | None = None) -> None:
    """Writes `workdir`/evaluation/`name`.csv, .png and .json, each whole or not at all.

    The .json is the last: where it is, all are.

    Args:
      workdir: the run's folder.
      name: of the files, without ending.
      record: what goes into the JSON.
      picture: [H, W, 3], or None for no picture.
      clips: columns of the CSV by name, a row a clip; numbers get six digits. None: no CSV.
    """
    folder = pathlib.Path(workdir) / EVALUATIONS
    text = (json.dumps(record, indent=2) + "\n").encode()
    folder.mkdir(exist_ok=True)
    contents = {} if clips is None else {".csv": _csv(clips).encode()}
    if picture is not None:
        contents[".png"] = grids.encode_png(picture)
    contents[".json"] = text
    for ending, content in contents.items():
        whole.write_whole(folder / f"{name}{ending}", content)


def _csv(columns: Mapping[str, Sequence]) -> str:
    file = io.StringIO()
    rows = csv.writer(file, lineterminator="\n")
    rows.writerow(columns)
    rows.writerows([f"{value:.6g}" if isinstance(value, float) else value for value in row]
                   for row in zip(*columns.values(), strict=True))
    return file.getvalue()


def _repair(path: pathlib.Path, resume_step: int | None) -> None:
    """Leaves whole lines in a file of metrics, and of them those that `resume_step` keeps.

    Bytes of lines that are kept stay as they are.
    """
    content = path.read_bytes()
    lines, ended = content.splitlines(), content.endswith(b"\n")
    kept, damaged = [], []
    for number, line in enumerate(lines, start=1):
        try:
            values = json_text.parse(line)
            step = values["step"]
            if not isinstance(step, int) or isinstance(step, bool):
                raise TypeError(f"step is {step!r}")
        except (ValueError, KeyError, TypeError):
            if ended or number < len(lines):  # else half a line, of a run that was killed
                damaged.append(line)
            continue
        of_training = any(key.startswith("train/") for key in values)
        if resume_step is None or 0 < resume_step and (
                step < resume_step or step == resume_step and of_training):
            kept.append(line)
    if damaged:
        aside = path.with_name(f"{path.name}.damaged")
        with aside.open("ab") as file:
            file.write(b"".join(line + b"\n" for line in damaged))
        logging.warning("%d of the %d lines of %s cannot be read; they are moved to %s. Curves "
                        "lack them; the run itself needs none.", len(damaged), len(lines), path,
                        aside)
    if len(kept) < len(lines) or not ended:
        whole.write_whole(path, b"".join(line + b"\n" for line in kept))


def _number(value: Any) -> int | float:
    return np.asarray(value).item()


def _strings(values: list[bytes], shape: tuple[int, ...]) -> tensor_pb2.TensorProto:
    dims = [tensor_shape_pb2.TensorShapeProto.Dim(size=size) for size in shape]
    return tensor_pb2.TensorProto(dtype=types_pb2.DT_STRING, string_val=values,
                                  tensor_shape=tensor_shape_pb2.TensorShapeProto(dim=dims))


def _install_in_clu() -> None:
    """Puts `TensorBoardWriter` where CLU has the one file that needs TensorFlow.

    `import clu.metric_writers` imports all of CLU's writers, among them that file, which imports
    TensorFlow at its head: without it, no writer of CLU's can be had. Python looks into sys.modules
    before it looks for a file, so a module of that name, put there first, is what CLU finds: its
    package gets our class as `SummaryWriter`, which is all that it takes from there. Where
    TensorFlow is installed, or CLU was imported before, nothing is replaced.

    What would break this: another place of that file in CLU. So setup.py pins CLU's version, and a
    test writes by CLU, without TensorFlow.
    """
    name = "clu.metric_writers.tf.summary_writer"
    if importlib.util.find_spec("tensorflow") is None and name not in sys.modules:
        module = types.ModuleType(name)
        module.SummaryWriter = TensorBoardWriter
        sys.modules[name] = module


_install_in_clu()  # before the import below, not at the end of the file
from clu import metric_writers  # noqa: E402  (only now can it be imported)

# `MultiWriter` takes any, but who asks isinstance(..., MetricWriter) is to hear yes of ours too.
for _writer in (TensorBoardWriter, JsonLinesWriter):
    metric_writers.MetricWriter.register(_writer)
