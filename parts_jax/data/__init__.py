"""Data sets as TFDS builders, read by grain; nothing here needs TensorFlow.

`prepare` resolves a name and builds the set on first use; `pipeline` makes iterators of it. Names
are "family/variant", such as "sim_clevrer/demo"; "family" alone is its first variant.
"""

import contextlib
import dataclasses
import difflib
import hashlib
import io
import json
import os
import pathlib
from collections.abc import Iterator

import tensorflow_datasets as tfds
from absl import logging

from parts_jax.data import episodes
from parts_jax.data.formats import limits, spool
from parts_jax.data.sets.bouncing_balls import BouncingBalls
from parts_jax.data.sets.clevrer import Clevrer, check_available
from parts_jax.data.sets.folder import Folder
from parts_jax.data.sets.movi import Movi
from parts_jax.data.sets.multi_object import MultiObject
from parts_jax.data.sets.playroom import Playroom
from parts_jax.data.sets.rlds import Rlds
from parts_jax.data.sets.robotics_arm import RoboticsArm
from parts_jax.data.sets.sim_clevrer import SimClevrer
from parts_jax.data.sets.sim_playroom import SimPlayroom
from parts_jax.data.sets.sim_robotics_arm import SimRoboticsArm
from parts_jax.files import lock, whole

BUILDERS = {builder.name: builder for builder in (
    Clevrer, Playroom, RoboticsArm, SimClevrer, SimPlayroom, SimRoboticsArm,
    Rlds, Movi, MultiObject, BouncingBalls, Folder)}
KNOWN_NAMES = tuple(f"{name}/{config.name}" for name, builder in BUILDERS.items()
                    for config in builder.BUILDER_CONFIGS)
LENGTHS = "lengths.json"


def prepare(name: str, data_dir: str = "", source_dir: str = "",
            download: bool = True, max_bytes: int = limits.MAX_BYTES,
            skip_bad: bool = False, camera: str = "",
            actions: str = "") -> tfds.core.DatasetBuilder:
    """The builder of a set, which it first builds if that was not done before.

    Args:
      name: such as "sim_clevrer/demo", or "sim_clevrer" for its first variant.
      data_dir: where prepared sets are; empty: TFDS's default (the environment variable
        TFDS_DATA_DIR, or ~/tensorflow_datasets).
      source_dir: the folder with the files that the set is made from. A set that cannot be
        downloaded needs one; what is prepared belongs to this very content of the folder.
      download: whether a set that can be downloaded may be.
      max_bytes: of memory that one file may ask for; see formats/limits.py.
      skip_bad: whether an episode that cannot be read is left out, with a warning. What is
        prepared so is another set than without.
      camera: the feature with the pictures, of sets that have several; empty: the variant's.
      actions: the features that make the action, one after the other, with commas between them;
        empty: the variant's. What is prepared with another camera or action is another set.

    Returns:
      A TFDS builder whose data are on disk.

    Raises:
      ValueError: if there is no set of this name, a folder in its place that is not one, or a
        file that cannot be read as what it should be.
      OSError: if a file or the network is missing, or the disk is full.
    """
    family, config = _resolve(name)
    config = _with_source(family, _with_features(family, config, camera, actions), source_dir,
                          max_bytes, skip_bad)
    builder = _builder(family, config, data_dir)
    if _is_finished(builder):
        return builder
    if builder.data_path.exists():
        raise ValueError(f"The folder {builder.data_dir} is not a finished data set: it has no "
                         "dataset_info.json. Delete it, and the set is built again.")
    if family == Clevrer.name:
        check_available(config, builder.data_dir, download)
    with _alone(builder):
        if not _is_finished(builder):
            build(builder)
    return _builder(family, config, data_dir)


@contextlib.contextmanager
def _alone(builder: tfds.core.DatasetBuilder) -> Iterator[None]:
    """Waits while another process builds the same set, such as another host on a shared disk."""
    folder = os.path.dirname(builder.data_dir)
    path = os.path.join(folder, ".building.lock")
    os.makedirs(folder, exist_ok=True)
    with contextlib.ExitStack() as held:
        try:
            held.enter_context(lock.hold(path))
        except lock.HeldError as error:
            logging.info("Waiting for another process that builds %s: %s.",
                         builder.info.full_name, error)
            held.enter_context(lock.hold(path, wait=True))
        yield


def fewest_frames(builder: tfds.core.DatasetBuilder, split: str) -> int:
    """Frames of the shortest clip of a split, kept beside the data once they were counted."""
    path = builder.data_path / LENGTHS
    if not path.exists():
        lengths = {name: min((len(example["video"]) for example in builder.as_data_source(name)),
                             default=0) for name in builder.info.splits}
        # All hosts of a run count at once where they share a disk.
        whole.write_whole(path, json.dumps(lengths), shared=True)
    return json.loads(path.read_text())[split]


def _resolve(name: str) -> tuple[str, tfds.core.BuilderConfig]:
    """Family and variant of a name; ValueError with the nearest names if there is none."""
    family, _, variant = name.partition("/")
    configs = {config.name: config for config in BUILDERS[family].BUILDER_CONFIGS} \
        if family in BUILDERS else {}
    if family in BUILDERS and not variant and "/" not in name:
        return family, next(iter(configs.values()))
    if variant not in configs:
        nearest = difflib.get_close_matches(name, (*KNOWN_NAMES, *BUILDERS), n=3, cutoff=0.4)
        hint = f"The nearest are: {', '.join(nearest)}. " if nearest else ""
        raise ValueError(f"There is no data set {name!r}. {hint}"
                         f"All data sets: {', '.join(KNOWN_NAMES)}.")
    return family, configs[variant]


def _with_features(family: str, config: tfds.core.BuilderConfig, camera: str,
                   actions: str) -> tfds.core.BuilderConfig:
    """The variant with another camera, or other actions, named after them."""
    keys = tuple(key.strip() for key in actions.split(",") if key.strip())
    changes = {key: value for key, value in (("camera", camera), ("actions", keys)) if value}
    for key in changes:
        if not hasattr(config, key):
            having = [name for name, builder in BUILDERS.items()
                      if hasattr(builder.BUILDER_CONFIGS[0], key)]
            raise ValueError(f"data.{key} is for {' and '.join(having)} alone, and must be empty "
                             f"for the data set {family!r}; got {camera or actions!r}.")
    if not changes:
        return config
    digest = hashlib.sha256(json.dumps(changes, sort_keys=True).encode()).hexdigest()[:8]
    if actions:
        changes["action_size"] = 0  # what it is, the files say
    return dataclasses.replace(config, name=f"{config.name}-{digest}", **changes)


def _with_source(family: str, config: tfds.core.BuilderConfig,
                 source_dir: str, max_bytes: int, skip_bad: bool) -> tfds.core.BuilderConfig:
    """The variant made from the files in `source_dir`, named after them."""
    if not isinstance(config, episodes.SourceConfig):
        if source_dir:
            raise ValueError(f"The data set {family!r} is simulated, not made from files: "
                             f"data.source_dir must be empty; got {source_dir!r}.")
        return config
    if not source_dir and family == Clevrer.name:
        # It can be downloaded, and is then of known size.
        return dataclasses.replace(config, name=f"{config.name}-skip_bad", skip_bad=True) \
            if skip_bad else config
    if not source_dir:
        raise ValueError(f"The data set {family!r} is made from files that you have: give their "
                         "folder with --config.data.source_dir=FOLDER. docs/data.md says which.")
    source_dir = os.path.abspath(os.path.expanduser(source_dir))
    if not os.path.isdir(source_dir):
        raise FileNotFoundError(f"data.source_dir is {source_dir!r}, but there is no such folder.")
    name = f"{config.name}-{_fingerprint(source_dir)}{'-skip_bad' * skip_bad}"
    return dataclasses.replace(config, name=name, source_dir=source_dir, max_bytes=max_bytes,
                               skip_bad=skip_bad)


def _fingerprint(folder: str) -> str:
    """Eight letters that change when a file below a folder comes, goes, or is written again."""
    listing = []
    for path in sorted(pathlib.Path(folder).rglob("*")):
        if path.is_file():
            status = path.stat()
            listing.append((str(path.relative_to(folder)), status.st_size, status.st_mtime_ns))
    return hashlib.sha256(json.dumps(listing).encode()).hexdigest()[:8]


def _builder(family: str, config: tfds.core.BuilderConfig,
             data_dir: str) -> tfds.core.DatasetBuilder:
    return BUILDERS[family](config=config, file_format="array_record",
                            data_dir=os.path.expanduser(data_dir) or None)


def _is_finished(builder: tfds.core.DatasetBuilder) -> bool:
    return (builder.data_path / "dataset_info.json").exists()


def build(builder: tfds.core.DatasetBuilder) -> None:
    """Builds a set, whatever its size: into a folder named `incomplete...`, renamed at the end."""
    logging.info("Building %s in %s.", builder.info.full_name, builder.data_dir)
    # The builders show their own progress, with totals; TFDS's bars and notes would be beside it.
    tfds.display_progress_bar(False)
    try:
        with contextlib.redirect_stdout(io.StringIO()), spool.installed():
            builder.download_and_prepare()
    except OSError:
        # Another process may have finished the same set first; its folder is as good.
        if not _is_finished(builder):
            raise
    finally:
        tfds.display_progress_bar(True)
