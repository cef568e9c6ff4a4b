"""Data sets as TFDS builders, read by grain; nothing here needs TensorFlow.

`prepare` resolves a name and builds the set on first use; `pipeline` makes iterators of it.
"""

import contextlib
import difflib
import io
import os

import tensorflow_datasets as tfds
from absl import logging

from parts_jax.data import sim_clevrer

BUILDERS = {"sim_clevrer": sim_clevrer.SimClevrer}
KNOWN_NAMES = tuple(f"{name}/{config.name}" for name, builder in BUILDERS.items()
                    for config in builder.BUILDER_CONFIGS)

CLEVRER_MESSAGE = (
    "The data set 'clevrer' has no builder in this version of parts_jax yet. The videos are at "
    "http://data.csail.mit.edu/clevrer/ (videos/train/video_train.zip, 12.4 GB; "
    "videos/validation/video_validation.zip, 6.2 GB; derender_proposals.zip, 0.4 GB, has the "
    "masks); keep them for the version that reads them. Until then the simulated stand-in "
    "'sim_clevrer' runs without any download: --config=configs/parts_clevrer.py:small (one GPU) "
    "or --config=configs/parts_clevrer.py:demo (two CPU cores).")


def prepare(name: str, data_dir: str = "") -> tfds.core.DatasetBuilder:
    """The builder of a set, which it first builds if that was not done before.

    Args:
        name: such as "sim_clevrer/demo".
        data_dir: where prepared sets are; empty: TFDS's default (the environment variable
            TFDS_DATA_DIR, or ~/tensorflow_datasets).

    Returns:
        A TFDS builder whose data are on disk.

    Raises:
        ValueError: if there is no set of this name, or a folder in its place that is not one.
    """
    if name.split("/")[0] == "clevrer":
        raise ValueError(CLEVRER_MESSAGE)
    if name not in KNOWN_NAMES:
        nearest = difflib.get_close_matches(name, (*KNOWN_NAMES, "clevrer"), n=3, cutoff=0.4)
        hint = f"The nearest are: {', '.join(nearest)}. " if nearest else ""
        raise ValueError(f"There is no data set {name!r}. {hint}"
                         f"All data sets: {', '.join(KNOWN_NAMES)}.")
    family, config = name.split("/")
    builder = _builder(family, config, data_dir)
    if _is_finished(builder):
        return builder
    if builder.data_path.exists():
        raise ValueError(f"The folder {builder.data_dir} is not a finished data set: it has no "
                         "dataset_info.json. Delete it, and the set is built again.")
    _build(builder)
    return _builder(family, config, data_dir)


def _builder(family: str, config: str, data_dir: str) -> tfds.core.DatasetBuilder:
    return BUILDERS[family](config=config, file_format="array_record",
                            data_dir=os.path.expanduser(data_dir) or None)


def _is_finished(builder: tfds.core.DatasetBuilder) -> bool:
    return (builder.data_path / "dataset_info.json").exists()


def _build(builder: tfds.core.DatasetBuilder) -> None:
    """Builds a set: into a folder named `incomplete...`, renamed when all is written."""
    logging.info("Building %s in %s.", builder.info.full_name, builder.data_dir)
    # The builders show their own progress, with totals; TFDS's bars and notes would be beside it.
    tfds.display_progress_bar(False)
    try:
        with contextlib.redirect_stdout(io.StringIO()):
            builder.download_and_prepare()
    except OSError:
        # Another process may have finished the same set first; its folder is as good.
        if not _is_finished(builder):
            raise
    finally:
        tfds.display_progress_bar(True)
