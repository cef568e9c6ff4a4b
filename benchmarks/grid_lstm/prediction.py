"""Figures 5 and 4: frames that are predicted after 20 that were seen, and which way objects go.

Beside the model stands who repeats the last frame that was seen, with its true masks; and, of
velocities, who keeps the last true one.
"""

import argparse
import functools
from collections.abc import Sequence
from typing import Any

import jax
import numpy as np
from scipy.optimize import linear_sum_assignment

from benchmarks import step
from benchmarks.grid_lstm import seen
from benchmarks.iodine import drawing
from benchmarks.iodine.writing import Made, place_of
from parts_jax.api import inference
from parts_jax.evaluation import stages
from parts_jax.metrics import intervals, segmentation
from parts_jax.models import contract

FIRST = 3  # frames that must be better than repeating the last
STILL = 1e-6  # pixels a frame, at which there is no direction
SHOWN = {"mse": "MSE", "repeat_mse": "MSE, last repeated", "fg_ari": "F-ARI",
         "repeat_fg_ari": "F-ARI, last repeated", "cosine": "cosine of velocity",
         "kept_cosine": "cosine, last velocity kept"}
# By set, the cue that tells where objects are; of others the centres of true masks do.
POSITIONS = {"sim_balls": ("position",)}


def make(flags: argparse.Namespace) -> Made:
    """Curves by horizon of all rows, and a table at those that are asked for."""
    horizons = sorted(set(flags.horizons))
    runs = [run for run in seen.load_all(flags.runs, flags.step) if run.kind != "SEQ-IODINE"]
    for run in runs:
        if run.model.predict is None:
            raise ValueError(f"{run.name} is of the family {run.config.model.name!r}, which "
                             "predicts no frames.")
    length = flags.burn_in + horizons[-1]
    dataset = runs[0].config.data.name
    rows = {}
    for name, members in seen.rows_of(runs).items():
        found = [measure(seen.on(run, dataset, length), flags.burn_in, flags.clips,
                         flags.batch_size) for run in members]
        rows[name] = dict(runs=[run.name for run in members], curves=curves_of(found),
                          first=better_at_first(found))
    numbers = dict(dataset=dataset, burn_in=flags.burn_in, horizons=horizons, clips=flags.clips,
                   rows=rows)
    return Made(place_of("prediction", dataset), numbers, words_of(numbers), picture_of(rows))


# ---- What a model predicts ------------------------------------------------------------------


@functools.partial(jax.jit, static_argnums=(0, 1))
def _predict(model: contract.Model, burn_in: int, params: Any, clip: contract.Clip) -> tuple:
    before = jax.tree.map(lambda a: a[:, :burn_in], clip)
    ahead = jax.tree.map(lambda a: a[:, burn_in:], clip)
    step = inference.see(model, params, model.start(len(clip.video), None), before)
    last = jax.tree.map(lambda a: a[:, -1:], step.latents[model.stages[-1]])
    latents = model.predict(params, step.state, ahead.actions, ahead.noise)
    judge = functools.partial(inference.judge, model, params, metrics=stages.only_mse, seen=False)
    return judge(last, before.video[:, -1:]), judge(latents, ahead.video)


def measure(run: seen.Run, burn_in: int, count: int, size: int) -> dict[str, np.ndarray]:
    """Scores by horizon of the first test clips, [clips, S] each: `SHOWN`.

    Cosines are nan where nothing goes a way: means are over the others.
    """
    parts, cues = [], POSITIONS.get(run.config.data.name.partition("/")[0], ())
    for batch in seen.batches(run.config, count, size, cues):
        clip = seen.clip_of(run, batch, None)
        last, ahead = jax.device_get(_predict(run.model, burn_in, run.params, clip))
        found = scores_of(batch, burn_in, last["ids"][:, 0], ahead["ids"])
        found["mse"] = np.asarray(ahead["mse"], np.float64)
        parts.append({name: values[batch["valid"]] for name, values in found.items()})
    return {name: np.concatenate([part[name] for part in parts]) for name in SHOWN}


def scores_of(batch: dict[str, np.ndarray], burn_in: int, last_ids: np.ndarray,
              ids: np.ndarray) -> dict[str, np.ndarray]:
    """All of `SHOWN` but MSE, [B, S] each, of masks that were predicted.

    Args:
      batch: video uint8 [B, T, H, W, 3], segmentation [B, T, H, W], position [B, T, N, 2] if the
        set has it.
      burn_in: frames that were seen.
      last_ids: of the slots in the last of them, [B, H, W].
      ids: of those that were predicted, [B, S, H, W].
    """
    video, true = batch["video"] / 255, batch["segmentation"]
    ahead, repeated = true[:, burn_in:], np.repeat(true[:, burn_in - 1:burn_in], ids.shape[1], 1)
    error = np.square(video[:, burn_in:] - video[:, burn_in - 1:burn_in]).mean((-3, -2, -1))
    found = {"fg_ari": segmentation.mask_metrics(ahead, ids)["fg_ari"],
             "repeat_fg_ari": segmentation.mask_metrics(ahead, repeated)["fg_ari"],
             "repeat_mse": error}
    cosines, kept = [], []
    for i in range(len(true)):
        count = int(true[i].max())
        places = batch["position"][i, :, :count] if "position" in batch else np.swapaxes(
            centroids(true[i], np.arange(1, count + 1)), 0, 1)
        slots = slots_of(true[i, burn_in - 1], last_ids[i], count)
        shown = centroids(np.concatenate([last_ids[i][None], ids[i]]), slots)
        velocity = np.diff(places[burn_in - 2:], axis=0)  # from two frames before the first ahead
        cosines.append(cosine(np.diff(shown, axis=1), np.swapaxes(velocity[1:], 0, 1)))
        kept.append(cosine(np.repeat(velocity[:1], len(velocity) - 1, 0), velocity[1:]).T)
    mean = lambda values: np.stack([_nanmean(one) for one in values])
    return found | {"cosine": mean(cosines), "kept_cosine": mean(kept)}


def _nanmean(values: np.ndarray) -> np.ndarray:
    """Means over objects, [N, S] -> [S]; nan where no object has a number."""
    there = np.isfinite(values)
    with np.errstate(invalid="ignore"):
        return np.where(there, values, 0).sum(0) / there.sum(0)


def slots_of(true: np.ndarray, ids: np.ndarray, count: int) -> np.ndarray:
    """The slot of each object 1 to N, by the IoU of their masks in one frame (Hungarian).

    Args:
      true: ids of objects, 0 the background, [H, W].
      ids: of slots, [H, W].
      count: N.

    Returns:
      [N]; -1 of an object that gets no slot, or one that shows nothing of it.
    """
    table = segmentation.contingency_tables(true.reshape(1, -1), ids.reshape(1, -1))[0]
    table = np.pad(table, ((0, max(0, count + 1 - len(table))), (0, 0)))
    union = table.sum(1, keepdims=True) + table.sum(0) - table
    iou = (table / np.maximum(union, 1))[1:count + 1]
    result = np.full(count, -1)
    for one, slot in zip(*linear_sum_assignment(iou, maximize=True), strict=True):
        result[one] = slot if iou[one, slot] > 0 else -1
    return result


def centroids(ids: np.ndarray, which: Sequence[int] | np.ndarray) -> np.ndarray:
    """Centres of masks, y and x in pixels, (0, 0) that of the first pixel.

    Args:
      ids: [T, H, W].
      which: ids whose centres are asked for; of those below 0 there are none.

    Returns:
      float64 [ids, T, 2]; nan where a mask is empty.
    """
    y, x = np.indices(ids.shape[1:])
    result = np.full((len(which), len(ids), 2), np.nan)
    for i, one in enumerate(which):
        mask = ids == one
        area = mask.sum((1, 2))
        there = (area > 0) & (one >= 0)
        sums = np.stack([(mask * axis).sum((1, 2)) for axis in (y, x)], -1)
        result[i, there] = sums[there] / area[there, None]
    return result


def cosine(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    """Cosine of the angle between velocities [..., 2]; nan where one of them is none, or zero."""
    lengths = np.linalg.norm(one, axis=-1), np.linalg.norm(other, axis=-1)
    moves = (lengths[0] > STILL) & (lengths[1] > STILL)  # False of nan
    product = np.where(moves, lengths[0] * lengths[1], 1)
    return np.where(moves, (one * other).sum(-1) / product, np.nan)


# ---- Tables ---------------------------------------------------------------------------------


def curves_of(found: Sequence[dict[str, np.ndarray]]) -> dict[str, list[list[float]]]:
    """By score, of each horizon, means over clips of all seeds."""
    return {name: np.stack([np.nanmean(one[name], 0) for one in found], -1).tolist()
            for name in SHOWN}


def better_at_first(found: Sequence[dict[str, np.ndarray]]) -> dict[str, Any]:
    """By how much the MSE of the first frames is below that of the last frame repeated.

    Returns:
      `less`, the mean over clips of the difference, and `interval`, 95% over clips, each clip's
      being its mean over seeds and the first 3 frames.
    """
    less = np.mean([(one["repeat_mse"] - one["mse"])[:, :FIRST].mean(1) for one in found], 0)
    low, high = intervals.confidence_interval(less)
    return dict(less=float(less.mean()), interval=[float(low), float(high)])


def at_horizons(curves: dict[str, list[list[float]]],
                horizons: Sequence[int]) -> list[tuple[str, ...]]:
    """Cells of a table: a row a score, a column a horizon; horizon 1 is the first frame ahead."""
    rows = []
    for name, words in SHOWN.items():
        of_seeds = slice(None if name in ("mse", "fg_ari", "cosine") else 1)  # rivals have no seeds
        rows.append((words, *(seen.show("mse" if "mse" in name else name,
                                        curves[name][h - 1][of_seeds]) for h in horizons)))
    return rows


def words_of(numbers: dict[str, Any]) -> str:
    """A sentence and a table for each row."""
    clips = f"the first {numbers['clips']} clips" if numbers["clips"] else "all clips"
    parts = [f"{numbers['dataset']}, test: {clips}. {numbers['burn_in']} frames are seen; a column "
             "is one frame, so many after them; ± is the standard deviation over seeds. Velocities "
             "are ways between the centres of a slot's mask in two frames, of the slot that has "
             "the object in the last frame seen, against those of the object; the mean is over "
             "objects whose slot shows something and that move."]
    for name, found in numbers["rows"].items():
        less, (low, high) = found["first"]["less"], found["first"]["interval"]
        verdict = "better than" if low > 0 else "worse than" if high < 0 else "not told apart from"
        parts += [f"{name} (runs {', '.join(found['runs'])}): in the first {FIRST} frames "
                  f"{verdict} repeating the last frame, whose MSE less the model's is {less:.5f} "
                  f"({low:.5f} to {high:.5f}, 95% over clips).",
                  step.table(("frames ahead", *map(str, numbers["horizons"])),
                             at_horizons(found["curves"], numbers["horizons"]))]
    return "\n\n".join(parts)


def picture_of(rows: dict[str, Any]) -> np.ndarray:
    """A chart a score, a line a row, and one of the rival."""
    charts = []
    for name, rival in (("mse", "repeat_mse"), ("fg_ari", "repeat_fg_ari"),
                        ("cosine", "kept_cosine")):
        first = next(iter(rows.values()))["curves"]
        x = list(range(1, len(first[name]) + 1))
        lines = {row: drawing.Curve(x, np.mean(found["curves"][name], 1))
                 for row, found in rows.items()}
        lines["kept" if name == "cosine" else "repeated"] = drawing.Curve(
            x, np.mean(first[rival], 1))
        lines = {row: line for row, line in lines.items() if np.isfinite(line.y).all()}
        if lines:
            charts.append(drawing.curves(f"{SHOWN[name]} by frames ahead", lines))
    return drawing.beside(charts)
