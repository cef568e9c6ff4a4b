"""A run keeps the prepared data that it began with, whatever comes and goes in their source."""

import pathlib

import ml_collections

from parts_jax.runs import configuration


def keep_prepared(workdir: str, config: ml_collections.ConfigDict) -> None:
    """Gives `config` the prepared set that the run in `workdir`, if there is one, began with.

    Raises:
      ValueError: the config names another one.
    """
    if not (pathlib.Path(workdir) / configuration.FILE_NAME).is_file():
        return
    there, now = configuration.load(workdir).data.get("prepared", ""), config.data.prepared
    if there and now not in ("", there):
        raise ValueError(f"data.prepared is {now!r}, but the run in {workdir!r} began with "
                         f"{there!r}, which it keeps to. Leave the key out, or give another "
                         "--workdir.")
    config.data.prepared = there or now
