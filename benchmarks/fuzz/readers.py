"""Every reader: its healthy source, what mutates it, and how it is read, to the last frame.

Sets are read through their TFDS builders, all but the writing. Of those that make validation and
test of the first episodes of a file only training is read, with none held out.
"""

import functools
import json
import pathlib
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import ml_collections
import numpy as np
import tensorflow_datasets as tfds

from benchmarks.fuzz import damage, hdf5, pictures, records, sources, texts
from parts_jax.api import action_files
from parts_jax.data import episodes, pipeline
from parts_jax.data.clevrer import chunks
from parts_jax.data.formats import video_files
from parts_jax.data.sets import (
    bouncing_balls,
    clevrer,
    folder,
    movi,
    multi_object,
    playroom,
    rlds,
    robotics_arm,
)
from parts_jax.report import numbers
from parts_jax.runs import best_checkpoint, checkpoint_record, configuration, metric_writer
from tests.data.clevrer import writer as clevrer_writer

MAX_BYTES = 2 ** 28  # what a source may take by its declared sizes


class Reader(NamedTuple):
    """A reader.

    Attributes:
      make: writes the healthy source below a folder; returns the file that is mutated.
      read: takes that folder and that file, and returns all that it read.
      mutators: of its structure.
      checksums: whether its format has checksums over what is read.
      weight: of its number of cases.
    """

    make: Callable[[pathlib.Path], pathlib.Path]
    read: Callable[[pathlib.Path, pathlib.Path], Any]
    mutators: Sequence[damage.Mutator]
    checksums: bool = False
    weight: float = 1.0


def _video(place: pathlib.Path, path: pathlib.Path) -> Any:
    del place
    return video_files.read_video(path), video_files.frame_rate(path)


def _set(builder: type, config: Any, splits: Sequence[str] = ()) -> Callable:
    """Reads the set of a builder: all examples of all splits, or of some."""
    def read(place: pathlib.Path, path: pathlib.Path) -> Any:
        del path
        made = builder(data_dir=place / "data", file_format="array_record", config=config(
            name="fuzz", description="Mutated.", source_dir=str(place / "source"),
            max_bytes=MAX_BYTES))
        generators = made._split_generators(None)
        return {split: list(examples) for split, examples in generators.items()
                if not splits or split in splits}

    return read


def _variant(module: Any, config: type, name: str, **changes: Any) -> Callable:
    """A config as a shipped variant's, with changes."""
    builder = next(value for value in vars(module).values() if isinstance(value, type)
                   and issubclass(value, tfds.core.DatasetBuilder))
    shipped = next(one for one in builder.BUILDER_CONFIGS if one.name == name)
    return lambda **given: config(**(vars(shipped) | changes | given))


def _clevrer(masks: str) -> Callable:
    def read(place: pathlib.Path, path: pathlib.Path) -> Any:
        clevrer.NUM_FRAMES, clevrer.SHORTEST_RUN = clevrer_writer.NUM_FRAMES, 4
        return _set(clevrer.Clevrer, functools.partial(
            clevrer.ClevrerConfig, masks=masks, resolution=sources.SIZE, num_workers=1))(
                place, path)

    return read


def _chunk(place: pathlib.Path, path: pathlib.Path) -> Any:
    del place
    return chunks.summary(str(path)), list(chunks.Selection([str(path)]))


def _make_chunk(place: pathlib.Path) -> pathlib.Path:
    """That of a converted clip."""
    annotation = sources.clevrer(place, "annotation")
    examples = [example for _, example in _clevrer("proposals")(place, annotation)["validation"]]
    path = place / "some.chunk"
    kept = ((sources.MASKED_CLIP, 3, (0, 8)),)
    chunks.write_chunk(str(path), chunks.Summary((), chunks.collections.Counter(a=1), kept),
                       examples)
    return path


def _config(place: pathlib.Path, path: pathlib.Path) -> Any:
    del path
    return configuration.load(str(place)).to_dict()


def _metrics(place: pathlib.Path, path: pathlib.Path) -> Any:
    """Training goes on from it; a report shows it."""
    curves = numbers.learning_curves(numbers.read_metrics(place, "a/b", "test"))
    metric_writer.JsonLinesWriter(str(path), resume_step=4).close()
    return path.read_bytes(), curves


def _best(place: pathlib.Path, path: pathlib.Path) -> Any:
    del path
    best = best_checkpoint.Best(place, ("ari_last",), (16, 32))
    best.offer(9, 1, {"ari_last": 0.5}, writes=False)
    return best_checkpoint.read(place), best.record


def _evaluation(place: pathlib.Path, path: pathlib.Path) -> Any:
    del path
    return numbers.metric_table(numbers.find_evaluation(place, "a/b", ("test",), 8, True))


def _record(place: pathlib.Path, path: pathlib.Path) -> Any:
    """As a run reads it that goes on from the checkpoint."""
    what = f"The checkpoint {path}"
    record = checkpoint_record.read(path.parents[1], what)
    checkpoint_record.check_config(record, sources.config().to_dict(), what)
    checkpoint_record.check_checksums(sources.arrays(), record, what)
    checkpoint_record.check_place(sources.PLACE, record, what)
    checkpoint_record.note_versions(record)
    return record


def _sealed(content: bytes, rng: np.random.Generator) -> damage.Mutation:
    """A record with one value changed, and its checksum made right."""
    mutation = texts.json_value(content, rng)
    record = json.loads(mutation.content)
    if isinstance(record, dict):
        record["checksum"] = checkpoint_record.json_checksum(
            {key: value for key, value in record.items() if key != "checksum"})
    return mutation._replace(content=json.dumps(record).encode())


def _unsealed(content: bytes, rng: np.random.Generator) -> damage.Mutation:
    """A record with one value changed, which its checksum tells."""
    return _JSON[rng.integers(len(_JSON))](content, rng)._replace(sealed=False)


def _actions(place: pathlib.Path, path: pathlib.Path) -> Any:
    del place
    return action_files.read(str(path))


def _prepared(place: pathlib.Path, path: pathlib.Path) -> Any:
    """A prepared set as training and evaluation open it."""
    del path
    split = pipeline.open_split(ml_collections.ConfigDict(dict(
        name="playroom/64", data_dir=str(place / "data"), source_dir=str(place / "source"),
        download=False, max_bytes=MAX_BYTES, skip_bad=False, prepared="")), "train")
    return split.fewest_frames, [split.examples[i] for i in range(len(split.examples))]


def _make_prepared(name: str) -> Callable[[pathlib.Path], pathlib.Path]:
    def make(place: pathlib.Path) -> pathlib.Path:
        sources.playroom(place, "npz")
        _prepared(place, place)
        return next((place / "data").rglob(name))

    return make


_PROTO = (records.tfrecord,)
_ARM = _set(robotics_arm.RoboticsArm, _variant(
    robotics_arm, robotics_arm.RoboticsArmConfig, "basket_front_left", clip_length=sources.LENGTH,
    num_validation=0, num_test=0, resolution=sources.SIZE), ("train",))
_SCENES = _set(multi_object.MultiObject, _variant(
    multi_object, multi_object.MultiObjectConfig, "tetrominoes", num_validation=0, num_test=0),
    ("train",))
_RLDS = _set(rlds.Rlds, _variant(
    rlds, rlds.RldsConfig, "utokyo_xarm_pick_and_place", clip_length=sources.LENGTH,
    resolution=sources.SIZE))
_MOVI = _set(movi.Movi, _variant(movi, movi.MoviConfig, "a", resolution=sources.SIZE))
_PLAYROOM = _set(playroom.Playroom, functools.partial(
    episodes.SourceConfig, resolution=sources.SIZE))
_BALLS = _set(bouncing_balls.BouncingBalls, functools.partial(
    bouncing_balls.BouncingBallsConfig, resolution=sources.SIZE))
_FOLDER = _set(folder.Folder, functools.partial(folder.FolderConfig, resolution=sources.SIZE))
_JSON = (texts.json_value, texts.json_value, texts.json_text)
_BOXES = (pictures.box,) * 30 + (pictures.concat_script,)

READERS = {
    **{f"video.{suffix}": Reader(functools.partial(sources.video, suffix=suffix), _video, mutators)
       for suffix, mutators in {
           "mp4": _BOXES, "mov": _BOXES, "mkv": (pictures.element,), "webm": (pictures.element,),
           "avi": (pictures.chunk,), "gif": (pictures.gif_header,)}.items()},
    "frames.png": Reader(functools.partial(sources.pictures, suffix="png"), _FOLDER,
                         (pictures.png_chunk,), checksums=True),
    "frames.jpg": Reader(functools.partial(sources.pictures, suffix="jpg"), _FOLDER,
                         (pictures.jpeg_segment,)),
    "masks.png": Reader(sources.masks, _FOLDER, (pictures.png_chunk,), checksums=True),
    "rlds": Reader(sources.rlds, _RLDS, _PROTO, checksums=True),
    "movi": Reader(sources.movi, _MOVI, _PROTO, checksums=True),
    "dataset_info.json": Reader(sources.rlds_info, _RLDS, _JSON),
    "multi_object": Reader(functools.partial(sources.multi_object, packed=False), _SCENES, _PROTO,
                           checksums=True),
    "multi_object.gz": Reader(functools.partial(sources.multi_object, packed=True), _SCENES,
                              (records.in_gzip(records.tfrecord),), checksums=True),
    "robotics_arm": Reader(functools.partial(sources.robotics_arm, archived=False), _ARM, _PROTO,
                           checksums=True),
    "robotics_arm.tar.bz2": Reader(functools.partial(sources.robotics_arm, archived=True), _ARM,
                                   (records.in_bzip(records.tar_header),), checksums=True),
    "playroom.npz": Reader(functools.partial(sources.playroom, suffix="npz"), _PLAYROOM,
                           (records.NPZ,), checksums=True),
    "playroom.h5": Reader(functools.partial(sources.playroom, suffix="h5"), _PLAYROOM,
                          (hdf5.dataset,)),
    "bouncing_balls.h5": Reader(sources.balls, _BALLS, (hdf5.dataset,)),
    "source.json": Reader(sources.note, _PLAYROOM, _JSON),
    "clevrer.annotation": Reader(functools.partial(sources.clevrer, kind="annotation"),
                                 _clevrer("proposals"), _JSON),
    "clevrer.proposals": Reader(functools.partial(sources.clevrer, kind="proposal"),
                                _clevrer("proposals"), (*_JSON, *(texts.run_lengths,) * 3)),
    "clevrer.zip": Reader(functools.partial(sources.clevrer, kind="zip"), _clevrer("proposals"),
                          (records.CLEVRER_ZIP,), checksums=True),
    "clevrer.masks": Reader(sources.mask_video, _clevrer("mask_videos"), (pictures.box,),
                            weight=0.2),
    "clevrer.chunk": Reader(_make_chunk, _chunk, (records.CHUNK,), checksums=True),
    "array_record": Reader(_make_prepared("*.array_record*"), _prepared, (damage.huge,),
                           weight=0.5),
    "lengths.json": Reader(_make_prepared("lengths.json"), _prepared, _JSON, weight=0.5),
    "config.json": Reader(sources.config_file, _config, _JSON),
    "metrics.jsonl": Reader(sources.metrics, _metrics, (texts.json_line,)),
    "best.json": Reader(sources.best, _best, _JSON),
    "evaluation.json": Reader(sources.evaluation, _evaluation, _JSON),
    "record": Reader(sources.record, _record, (_sealed, _unsealed), checksums=True),
    "actions.npy": Reader(sources.actions_file, _actions, (records.npy,)),
}
