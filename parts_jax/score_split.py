"""One pass over a split: metrics of every clip, and arrays of the first ones to be shown."""

from collections.abc import Callable, Sequence

import jax
import ml_collections
import numpy as np

from parts_jax import sharding
from parts_jax.data import pipeline


def score_split(config: ml_collections.ConfigDict, params, mesh, split: str, infer: Callable,
                score: Callable[[dict], dict], shown: Sequence[str],
                unscored: Sequence[str] = ()) -> tuple[dict, dict]:
    """Runs a compiled step over a split.

    An example is scored on its own, and only where it is `valid`, so neither batches nor devices
    change a number by more than rounding.

    Args:
      config: of the run; `data.num_frames` are read of each clip.
      params: the model's parameters, replicated over the mesh.
      mesh: from `sharding.make_mesh`.
      split: name of the split.
      infer: (params, batch) -> dict of arrays by example, with `valid`, on all devices.
      score: dict of numpy arrays [B, ...] -> metrics, float64 [B, ...] each.
      shown: names of the arrays that pictures need, of those that there are.
      unscored: names of arrays that `score` does not need, so are not fetched for it.

    Returns:
      Metrics of each clip, a dict of float64 [number of clips, ...], and the arrays of the first
      config.eval.num_pictures clips; {} if none are to be shown.
    """
    batches = pipeline.eval_iterator(
        config.data, split, batch_size=config.eval.batch_size // jax.process_count(),
        num_sequences=config.eval.num_sequences, action_size=config.data.action_size,
        process_index=jax.process_index(), process_count=jax.process_count())
    scores, pictures, missing = [], [], config.eval.num_pictures
    for batch in batches:
        output = infer(params, sharding.split_batch(batch, mesh))
        numbers = sharding.fetch({k: v for k, v in output.items() if k not in unscored})
        valid = numbers.pop("valid")
        scores.append(score({k: v[valid] for k, v in numbers.items()}))
        if missing > 0:
            arrays = sharding.fetch({k: output[k] for k in shown if k in output})
            pictures.append({k: v[valid][:missing] for k, v in arrays.items()})
            missing -= min(missing, int(valid.sum()))
    return concatenate(scores), concatenate(pictures)


def name_of(config: ml_collections.ConfigDict, split: str) -> str:
    """The name of a split's evaluation in file names and among metrics."""
    return f"{config.data.name.replace('/', '_')}-{split}"


def concatenate(parts_of: list[dict]) -> dict:
    """Joins dicts of arrays along their first axis."""
    return {} if not parts_of else {
        k: np.concatenate([part[k] for part in parts_of]) for k in parts_of[0]}
