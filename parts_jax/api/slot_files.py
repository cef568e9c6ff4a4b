"""Slots of many clips in one file, for what is learned from them."""

import os
import zipfile
from typing import Any

import numpy as np
import tqdm

from parts_jax.api import saving
from parts_jax.api.pretrained_model import PretrainedModel
from parts_jax.api.results import posterior_of
from parts_jax.data import pipeline
from parts_jax.equations.notation import Gaussian
from parts_jax.files import whole


class SlotCollector:
    """Gathers the slots of clips, a few kilobytes a frame, until they are saved."""

    def __init__(self) -> None:
        self._parts: list[dict[str, np.ndarray]] = []
        self._names: list[str] = []

    def add(self, name: str, posterior: Gaussian[np.ndarray], frames: np.ndarray) -> None:
        """Appends a clip, or the next part of the clip that was added last.

        Args:
          name: of the clip.
          posterior: of its slots, [T, K, D] each.
          frames: their numbers in the clip, [T].

        Raises:
          ValueError: the clip has another K than those before it.
        """
        mean = np.asarray(posterior.mean)
        if self._parts and self._parts[0]["slots"].shape[1:] != mean.shape[1:]:
            raise ValueError(f"Slots of one file must have the same shape; got {mean.shape[1:]} "
                             f"after {self._parts[0]['slots'].shape[1:]}.")
        if not self._names or self._names[-1] != name:
            self._names.append(name)
        self._parts.append({
            "slots": mean, "posterior_log_std": np.asarray(posterior.log_std),
            "clip": np.full(len(mean), len(self._names) - 1), "frame": np.asarray(frames)})

    def arrays(self) -> dict[str, np.ndarray]:
        """All clips, one after the other, with F frames together.

        Returns:
          `slots` and `posterior_log_std`, mean and log standard deviation of the posterior, float32
          [F, K, D]; `clip` [F], which of `names` [N] a frame is of; and `frame` [F], its number
          there.
        """
        if not self._parts:
            raise ValueError("There are no slots to save: no clip was given.")
        return {name: np.concatenate([part[name] for part in self._parts])
                for name in self._parts[0]} | {"names": np.array(self._names, dtype=np.str_)}


def check(path: str | os.PathLike) -> None:
    """Raises a ValueError if a name is not that of a file of slots."""
    if not os.fspath(path).lower().endswith(".npz") or os.path.isdir(path):
        raise ValueError(f"Slots are saved as a .npz file; got {os.fspath(path)!r}.")


def save_slots(path: str | os.PathLike, arrays: dict[str, np.ndarray]) -> None:
    """Writes what `slots_of_split` returns as .npz, whole or not at all.

    Raises:
      ValueError: the name ends otherwise.
      OSError: it cannot be written.
    """
    check(path)
    with whole.replacing(path) as part, zipfile.ZipFile(
            part, "w", zipfile.ZIP_DEFLATED, compresslevel=saving.FASTEST) as archive:
        saving.write_arrays(archive, arrays)


def slots_of_split(model: PretrainedModel, split: str, num_slots: int | None = None, *,
                   seed: int = 0, num_sequences: int = 0) -> dict[str, np.ndarray]:
    """Slots of every clip of a split of the data set that a model was trained on.

    Args:
      model: from `parts_jax.load`; its config says which set, how many frames and which stride.
      split: such as "validation".
      num_slots, seed: as for `PretrainedModel.segment`.
      num_sequences: only so many clips from the start; 0: all.

    Returns:
      What `SlotCollector.arrays` says; a clip's name is its split and its number there, such as
      "validation/17".

    Raises:
      ValueError: there is no such split, it cannot be read, or the family of the model has no
        slots.
    """
    check_has_slots(model)
    data = model.config.data
    batches: Any = pipeline.eval_iterator(
        data, split, batch_size=model.config.eval.batch_size, num_sequences=num_sequences,
        action_size=data.action_size, cues=model.model.cues)
    collector, frames = SlotCollector(), np.arange(data.num_frames) * data.stride
    with tqdm.tqdm(desc=split, unit=" clips", disable=None, leave=False) as progress:
        for batch in batches:
            cues = {name: batch[name] for name in model.model.cues}
            result = model.segment(batch["video"], batch.get("actions"), num_slots, seed=seed,
                                   cues=cues or None)
            q = posterior_of(result)
            for row in np.flatnonzero(batch["valid"]):
                posterior = Gaussian(q.mean[row], q.log_std[row])
                collector.add(f"{split}/{batch['index'][row]}", posterior, frames)
            progress.update(int(batch["valid"].sum()))
    return collector.arrays()


def check_has_slots(model: PretrainedModel) -> None:
    """Raises a ValueError if the family of a model has no slots."""
    if model.slot_size is None:
        raise ValueError(f"Models of the family {model.config.model.name!r} have no slots that "
                         "could be saved.")
