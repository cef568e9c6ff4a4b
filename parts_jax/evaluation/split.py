"""One pass over a split: metrics of every clip, and arrays of the first ones to be shown."""

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import numpy as np

from parts_jax.data import pipeline
from parts_jax.devices import sharding
from parts_jax.evaluation import by_clip
from parts_jax.evaluation.stages import BOXES, ROLLOUT, Evaluator

ITERATIONS = ("iterations_recon", "iterations_masks")  # among what is shown


def infer_split(evaluator: Evaluator, params: Any, split: str | pipeline.Split,
                num_shown: int = 0) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
    """Runs the model over a split; every stage of it is evaluated.

    Args:
      evaluator: from `stages.compile_stages`.
      params: the model's parameters, replicated over the mesh.
      split: name of the split, or clips to read in its place.
      num_shown: of how many clips arrays are returned.

    Returns:
      Metrics of each clip, float64 [number of clips] each, and what is shown of the first ones:
      video, segmentation if there is, what `View` has of the first stage, and `assigned`, the slots
      that pixels are assigned to by the last stage, if the family has `assign`; a row a clip; as
      `true_boxes`, those of the set, [., T, M, 4], if the family has boxes, and the set. And as
      ITERATIONS, `recon` and `masks` of each iteration, if the family has any.
    """
    stages = evaluator.model.stages
    return _run(evaluator, evaluator.infer, params, split, evaluator.config.data.num_frames,
                lambda output: by_clip.metrics_of_clips(output, stages), stages[0], num_shown,
                evaluator.iterate)


def predict_split(evaluator: Evaluator, params: Any, split: str | pipeline.Split,
                  num_shown: int = 0) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
    """Rolls out every clip of a split.

    Args:
      evaluator, params, split, num_shown: as for `infer_split`.

    Returns:
      As `infer_split`, with metrics by horizon: float64 [number of clips, S] each.
    """
    c = evaluator.config.eval
    return _run(
        evaluator, evaluator.predict, params, split, c.burn_in + c.rollout_steps,
        lambda output: by_clip.metrics_by_horizon(output, c.burn_in), ROLLOUT, num_shown)


def with_ids(split: pipeline.Split) -> tuple[pipeline.Split, Callable[[int], list[str]]]:
    """A split of which one can ask, when it was read, what its examples are called.

    Returns:
      The split, and a function of a number that gives the ids of so many of its first examples, as
      the data set has them; "" where it has none. An example that this process has not read, as
      another had it, is read for it.
    """
    examples = _WithIds(split.examples)
    return dataclasses.replace(split, examples=examples), examples.ids


class _WithIds(Sequence):
    """Examples whose ids are noted when they are read: none is read for its id alone."""

    def __init__(self, examples: Sequence[Mapping[str, Any]]):
        self.examples, self.noted = examples, {}

    def __len__(self) -> int:
        return len(self.examples)

    def __getitem__(self, index: int) -> Mapping[str, Any]:
        example = self.examples[index]
        name = example["id"] if "id" in example else ""
        self.noted[index] = name.decode() if isinstance(name, bytes) else str(name)
        return example

    def ids(self, count: int) -> list[str]:
        for index in range(count):
            if index not in self.noted:
                self[index]
        return [self.noted[index] for index in range(count)]


def _run(evaluator: Evaluator, program: Callable, params: Any, split: str | pipeline.Split,
         num_frames: int, metrics_of: Callable[[dict], dict], stage: str, num_shown: int,
         iterate: Callable | None = None) -> tuple[dict, dict]:
    """Runs a program of an evaluator over the first `num_frames` frames of each clip of a split.

    An example is evaluated on its own, and only where it is `valid`, so neither batches nor
    devices change a number by more than rounding: batches are as large as `eval.batch_size` says,
    or a little larger, so that every device has the same number of clips.
    """
    config = evaluator.config
    data_config = config.data.copy_and_resolve_references()
    data_config.num_frames = num_frames
    if isinstance(split, str):
        split = pipeline.open_split(data_config, split)
    boxes = (BOXES,) if has_boxes(split) and BOXES not in evaluator.model.cues else ()
    batches = pipeline.eval_iterator(
        data_config, split,
        batch_size=divisible(config.eval.batch_size, evaluator.mesh.size) // jax.process_count(),
        num_sequences=config.eval.num_sequences, action_size=config.data.action_size,
        cues=(*evaluator.model.cues, *boxes), process_index=jax.process_index(),
        process_count=jax.process_count())
    metrics, shown, missing = [], [], num_shown
    for batch in batches:
        placed = sharding.split_batch(batch, evaluator.mesh)
        output = program(params, placed)
        latents, video = output.pop("latents")[stage], output.pop("video")
        numbers = sharding.fetch(output)
        valid = numbers.pop("valid")
        numbers = jax.tree.map(lambda a, valid=valid: a[valid], numbers)
        metrics.append(metrics_of(numbers))
        if missing > 0:
            view = sharding.fetch(evaluator.show(params, latents, video))
            arrays = {k: v for k, v in view._asdict().items() if v is not None}
            if iterate is not None:
                made = sharding.fetch(iterate(params, placed))
                arrays |= dict(zip(ITERATIONS, (made.recon, made.masks), strict=True))
            arrays = {k: v[valid][:missing] for k, v in
                      (arrays | {"video": sharding.fetch(video)}).items()}
            if "segmentation" in numbers:
                arrays["segmentation"] = numbers["segmentation"][:missing]
            if BOXES in numbers and BOXES in arrays:
                arrays["true_boxes"] = numbers[BOXES][:missing]
            last = numbers["judged"].get(evaluator.model.stages[-1], {})  # none of a roll-out
            if "assigned" in last:
                arrays["assigned"] = last["assigned"][:missing]
            shown.append(arrays)
            missing -= min(missing, int(valid.sum()))
    return concatenate(metrics), concatenate(shown)


def has_boxes(split: pipeline.Split) -> bool:
    """Whether examples of a split have true boxes, [T, M, 4]."""
    boxes = split.examples[0].get(BOXES) if len(split.examples) else None
    return np.ndim(boxes) == 3 and np.shape(boxes)[-1] == 4


def divisible(batch_size: int, num_devices: int) -> int:
    """The least multiple of `num_devices` that is not less than `batch_size`."""
    return -(-batch_size // num_devices) * num_devices


def concatenate(parts_of: list[dict]) -> dict:
    """Joins dicts of arrays along their first axis."""
    return {} if not parts_of else {
        k: np.concatenate([part[k] for part in parts_of]) for k in parts_of[0]}
