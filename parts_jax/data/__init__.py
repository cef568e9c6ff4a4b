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
import re
from collections.abc import Iterator

import tensorflow_datasets as tfds
from absl import logging
from tensorflow_datasets.core import constants

from parts_jax.data import episodes, fingerprint
from parts_jax.data import prepared as prepared_data
from parts_jax.data.formats import limits, spool
from parts_jax.data.prepared import LENGTHS, fewest_frames  # noqa: F401  (beside `prepare`)
from parts_jax.data.sets import atari
from parts_jax.data.sets.atari import Atari
from parts_jax.data.sets.bouncing_balls import BouncingBalls
from parts_jax.data.sets.clevrer import Clevrer, check_available
from parts_jax.data.sets.folder import Folder
from parts_jax.data.sets.movi import Movi
from parts_jax.data.sets.multi_object import MultiObject
from parts_jax.data.sets.playroom import Playroom
from parts_jax.data.sets.rlds import Rlds
from parts_jax.data.sets.robotics_arm import RoboticsArm
from parts_jax.data.sets.rooms import Rooms
from parts_jax.data.sets.sim_balls import SimBalls
from parts_jax.data.sets.sim_clevr import SimClevr
from parts_jax.data.sets.sim_clevrer import SimClevrer
from parts_jax.data.sets.sim_objects_room import SimObjectsRoom
from parts_jax.data.sets.sim_playroom import SimPlayroom
from parts_jax.data.sets.sim_robotics_arm import SimRoboticsArm
from parts_jax.data.sets.sim_rooms import SimRooms
from parts_jax.data.sets.sim_shapes import SimShapes
from parts_jax.data.sets.sim_sprites import SimSprites
from parts_jax.data.sets.sim_tetrominoes import SimTetrominoes
from parts_jax.files import lock

BUILDERS = {builder.name: builder for builder in (
    Clevrer, Playroom, RoboticsArm, SimClevrer, SimPlayroom, SimRoboticsArm, SimTetrominoes,
    SimSprites, SimShapes, SimClevr, SimObjectsRoom, SimBalls, SimRooms,
    Rlds, Movi, MultiObject, BouncingBalls, Rooms, Folder, Atari)}
INFO = "dataset_info.json"  # TFDS writes it last
KNOWN_NAMES = (*(f"{name}/{config.name}" for name, builder in BUILDERS.items()
                 for config in builder.BUILDER_CONFIGS),
               *(f"{Atari.name}/{pattern}" for pattern in atari.PATTERNS))


def prepare(name: str, data_dir: str = "", source_dir: str = "",
            download: bool = True, max_bytes: int = limits.MAX_BYTES,
            skip_bad: bool = False, prepared: str = "", camera: str = "",
            actions: str = "", action_size: int = 0) -> tfds.core.DatasetBuilder:
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
      action_size: of the actions that will be read; 0: none will. A set that would be played or
        simulated, and have others, is not built.
      prepared: the name that a set made from files has in `data_dir`, as the builder's config
        has it. While that set is there, the source is not looked at.

    Returns:
      A TFDS builder whose data are on disk.

    Raises:
      ValueError: if there is no set of this name, a folder in its place that is not one, or a
        file that cannot be read as what it should be; if the set `prepared` is gone, and the
        source holds other files now; if a file changed while the set was built; if a game is to be
        played, and ale-py is missing; if actions will be of another size.
      OSError: if a file or the network is missing, or the disk is full.
    """
    family, variant = _resolve(name)
    variant = _with_features(family, variant, camera, actions)
    kept = _kept(family, variant, data_dir, prepared)
    if prepared and (kept / INFO).exists():
        return _builder(family, dataclasses.replace(variant, name=prepared), data_dir)
    gone = f"The prepared set that the run began with, {kept}, is gone: " if prepared else ""
    try:
        config = _with_source(family, variant, data_dir, source_dir, max_bytes, skip_bad)
    except (ValueError, OSError) as error:
        if not prepared:
            raise
        kind = ValueError if isinstance(error, ValueError) else OSError
        raise kind(f"{gone}{error}") from error
    if prepared not in ("", config.name):
        raise ValueError(f"{gone}data.source_dir, {source_dir!r}, holds other files now than those "
                         "that it was made from. Put either back, or start another run with "
                         "another --workdir.")
    builder = _builder(family, config, data_dir)
    if _is_finished(builder):
        return builder
    if builder.data_path.exists():
        raise ValueError(f"The folder {builder.data_dir} is not a finished data set: it has no "
                         f"{INFO}. Delete it, and the set is built again.")
    if family == Clevrer.name:
        check_available(config, builder.data_dir, download)
    if family == Atari.name:
        atari.check_action_size(builder, action_size)
    _check_action_size(builder, action_size)
    with _alone(builder):
        if not _is_finished(builder):
            build(builder)
            after = _with_source(family, variant, data_dir, source_dir, max_bytes, skip_bad)
            if after.name != config.name:
                builder.data_path.rmtree()
                raise ValueError(f"Files in {source_dir!r} changed while {name} was made from "
                                 "them. When they are complete, the same command starts again.")
    return _builder(family, config, data_dir)


def _check_action_size(builder: tfds.core.DatasetBuilder, asked: int) -> None:
    """Raises ValueError if a set has no actions of the size asked for, where that is known before
    it is built: of simulated sets."""
    there = getattr(builder, "ACTION_SIZE", asked)
    if asked not in (0, there):
        raise ValueError(f"data.action_size is {asked}, but the data have "
                         f"{f'actions of size {there}' if there else 'no actions'}; 0 leaves "
                         "actions out.")


def _kept(family: str, variant: tfds.core.BuilderConfig, data_dir: str,
          prepared: str) -> tfds.core.Path:
    """The folder of a prepared set that is made from files, by its name."""
    if not prepared:
        return _folder(family, data_dir)
    if not isinstance(variant, episodes.SourceConfig):
        raise ValueError(f"The data set {family!r} is simulated, not made from files: "
                         f"data.prepared must be empty; got {prepared!r}.")
    if not re.fullmatch(rf"{re.escape(variant.name)}-[-\w]+", prepared):
        raise ValueError(f"data.prepared is {prepared!r}, but what is prepared of "
                         f"{family}/{variant.name} is called {variant.name}-LETTERS.")
    return _folder(family, data_dir) / prepared / str(BUILDERS[family].VERSION)


def _folder(family: str, data_dir: str) -> tfds.core.Path:
    """Where the prepared sets of a family are, as TFDS says."""
    return tfds.core.Path(os.path.expanduser(data_dir or constants.DATA_DIR)) / family


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


def _resolve(name: str) -> tuple[str, tfds.core.BuilderConfig]:
    """Family and variant of a name; ValueError with the nearest names if there is none."""
    family, _, variant = name.partition("/")
    if family == Atari.name and variant:
        return family, atari.variant(variant)
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


def _with_source(family: str, config: tfds.core.BuilderConfig, data_dir: str, source_dir: str,
                 max_bytes: int, skip_bad: bool) -> tfds.core.BuilderConfig:
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
    beside = _folder(family, data_dir)
    skipping = f"-skip_bad-{max_bytes}" if skip_bad else ""  # what is skipped depends on it
    name = f"{config.name}-{fingerprint.fingerprint(source_dir, beside)}{skipping}"
    return dataclasses.replace(config, name=name, source_dir=source_dir, max_bytes=max_bytes,
                               skip_bad=skip_bad)


def _builder(family: str, config: tfds.core.BuilderConfig,
             data_dir: str) -> tfds.core.DatasetBuilder:
    """The builder of a set; what is prepared of it is read, if there is."""
    arguments = dict(config=config, file_format="array_record",
                     data_dir=os.path.expanduser(data_dir) or None)
    folder = _folder(family, data_dir) / config.name / str(BUILDERS[family].VERSION)
    if not (folder / INFO).exists():
        return BUILDERS[family](**arguments)
    try:
        return BUILDERS[family](**arguments)
    except Exception as error:  # of many kinds, from protobuf and TFDS
        raise prepared_data.damaged(folder / INFO, folder, error) from error


def _is_finished(builder: tfds.core.DatasetBuilder) -> bool:
    return (builder.data_path / INFO).exists()


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
