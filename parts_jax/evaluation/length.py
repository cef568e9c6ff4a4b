"""Scores by the number of the frame in clips far longer than those of training.

Clips become long by being played back and forth, and a second time by showing their first frame
again and again. Nothing runs backwards where there are actions or cues: there clips are as long as
they are, and the still ones are shown with actions of zero, or with cues not at all.
"""

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import jax
import numpy as np

from parts_jax.data import pipeline, preprocess
from parts_jax.devices import sharding
from parts_jax.evaluation import split as split_of
from parts_jax.evaluation.stages import Evaluator
from parts_jax.metrics import segmentation, table

PART = 20                 # frames that the program sees at a time
AHEAD = 50                # frames that are predicted, at the most
MARKS = (10, 50, 100, 200)  # frames whose scores are told among the metrics
REFERENCE = 10            # the frame that later ones are compared with
FLICKER = 8               # over so many frames at least are scores compared
MOST_ARI, MOST_MSE = 0.03, 0.2  # by which they may be worse: points, and a share
ASSIGNED = table.ASSIGNED


@dataclasses.dataclass(frozen=True)
class Curves:
    """What became of long clips.

    Attributes:
      num_frames: of the clips of the split, as far as they were read.
      moving, still: means over clips of each score, by the number of the frame: float64 [L] each,
        the first frame first; empty where there are no such clips.
      ahead: `mse` and `repeat_mse` by horizon, [S] each; empty where nothing is predicted.
      tested_frames: up to which frame scores hold: see `tested_frames`.
      num_clips: so many.
    """

    num_frames: int
    moving: dict[str, np.ndarray]
    still: dict[str, np.ndarray]
    ahead: dict[str, np.ndarray]
    tested_frames: int
    num_clips: int

    @property
    def length(self) -> int:
        """So many frames were tested: of the shorter kind, as not all clips can be made longer."""
        return min(len(values) for scores in (self.moving, self.still)
                   for values in scores.values())


def tested_frames(mse: Sequence[float], ari: Sequence[float] | None = None,
                  period: int = 1) -> int:
    """Up to which frame scores hold: the MSE at most 20% above, the ARI at most .03 below frame 10.

    Where a clip is played back and forth, scores go up and down with what is seen; so means over
    one period from each frame on are compared, over a quarter of all frames at the most.

    Args:
      mse, ari: by the number of the frame, of one length L; no `ari`: true masks are not known.
      period: frames after which the same is seen again.

    Returns:
      The number of the last frame before the first that is worse than that, counted from 1; L
      where none is. Of fewer than 10 frames none can be told to be worse: all count. Scores that
      are not finite do not hold.
    """
    window = max(1, min(period, len(mse) // 4))

    def running(values: Sequence[float]) -> np.ndarray:
        return np.lib.stride_tricks.sliding_window_view(np.asarray(values), window).mean(-1)

    error, at = running(mse), REFERENCE - 1
    held = np.isfinite(error)
    if len(error) > at:
        held[at:] &= error[at:] <= (1 + MOST_MSE) * error[at]
        if ari is not None:
            agreement = running(ari)
            held[at:] &= agreement[at:] >= agreement[at] - MOST_ARI
    return len(mse) if held.all() else int(np.argmin(held))


def curves_of_split(evaluator: Evaluator, params: Any, split: str) -> Curves:
    """Runs the model over long clips made of the first ones of a split.

    Args:
      evaluator: from `stages.compile_stages`; `config.eval.length` says how many frames, and
        `length_clips` of how many clips.
      params: the model's parameters, replicated over the mesh.
      split: its name.
    """
    c, model = evaluator.config.eval, evaluator.model
    opened = pipeline.open_split(evaluator.config.data, split)
    num_frames = min(c.length, (opened.fewest_frames - 1) // evaluator.config.data.stride + 1)
    one_way = bool(evaluator.config.data.action_size or model.cues)
    order = np.arange(num_frames) if one_way else preprocess.back_and_forth(num_frames, c.length)
    found = {"moving": [], "still": [], "ahead": []}
    for batch in _batches(evaluator, opened, num_frames):
        if num_frames > 1 or model.cues:
            found["moving"].append(_scores(evaluator, params, batch, order))
        if not model.cues:
            still = batch if "actions" not in batch else batch | {
                "actions": np.zeros_like(batch["actions"])}
            found["still"].append(_scores(evaluator, params, still, np.zeros(c.length, int)))
        if evaluator.predict_ahead is not None and len(order) > c.burn_in:
            share = sharding.split_batch(
                _shown(evaluator, batch, order[:c.burn_in + AHEAD]), evaluator.mesh)
            found["ahead"].append(_valid(
                sharding.fetch(evaluator.predict_ahead(params, share)), batch, evaluator))
    clips = {kind: split_of.concatenate(parts) for kind, parts in found.items()}
    means = {kind: {name: values.astype(np.float64).mean(0) for name, values in scores.items()}
             for kind, scores in clips.items()}
    period = 1 if one_way or len(order) <= num_frames else 2 * num_frames - 2
    held = [held_by(means[kind], model.stages, repeats) for kind, repeats in (
        ("moving", period), ("still", 1)) if means[kind]]
    count = len(next(iter((clips["moving"] or clips["still"]).values())))
    return Curves(num_frames, **means, tested_frames=min(held), num_clips=count)


def held_by(scores: Mapping[str, np.ndarray], stages: Sequence[str], period: int) -> int:
    """`tested_frames` of one kind of clips, by what a user gets.

    Means over at least `FLICKER` frames are compared: slots are sampled, so that a frame by itself
    may be a fifth worse than its neighbours, on and on, where nothing is lost.
    """
    return tested_frames(*judging(scores, stages), max(period, FLICKER))


def judging(scores: Mapping[str, np.ndarray],
            stages: Sequence[str]) -> tuple[np.ndarray, np.ndarray | None]:
    """MSE and ARI of what a user gets: the last stage; assigned, where the family can do that."""
    ari = scores.get(f"ari_{ASSIGNED}")
    if ari is None:
        ari = scores.get(table.with_stage("ari", stages[-1], stages))
    return scores[table.with_stage("mse", stages[-1], stages)], ari


def told(curves: Curves) -> dict[str, float]:
    """What stands among the metrics, by name: scores at some frames, and how far they hold.

    `ari_at_10`, ..., `still_ari_at_10`, ... of ARI, MSE and `greatest_mean`; `tested_frames`; and
    `ahead_mse` and `ahead_repeat_mse`, means over all horizons: where a clip played back and forth
    comes back to the frame that was seen last, that one repeated is without fault.
    """
    found = marks(curves.moving) | {
        f"still_{name}": value for name, value in marks(curves.still).items()}
    found |= {f"ahead_{name}": float(values.mean()) for name, values in curves.ahead.items()}
    return found | {"tested_frames": curves.tested_frames}


def marks(scores: Mapping[str, np.ndarray]) -> dict[str, float]:
    """Scores at some frames, by name: `ari_at_10`, ...; of ARI, MSE and `greatest_mean` alone."""
    return {f"{name}_at_{frame}": float(values[frame - 1]) for name, values in scores.items()
            for frame in MARKS if name.startswith(("ari", "mse", "greatest")) if
            frame <= len(values)}


def _batches(evaluator: Evaluator, opened: pipeline.Split, num_frames: int) -> Iterator[dict]:
    """The clips, all of `num_frames`; the last batch is filled up with clips that are not valid."""
    config, model = evaluator.config, evaluator.model
    data_config = config.data.copy_and_resolve_references()
    data_config.num_frames = num_frames
    count = min(config.eval.length_clips, config.eval.num_sequences or config.eval.length_clips,
                len(opened.examples))
    return pipeline.eval_iterator(
        data_config, opened,
        batch_size=split_of.divisible(min(config.eval.batch_size, count),
                                      evaluator.mesh.size) // jax.process_count(),
        num_sequences=count, action_size=config.data.action_size, cues=model.cues,
        process_index=jax.process_index(), process_count=jax.process_count())


def _scores(evaluator: Evaluator, params: Any, batch: dict,
            order: np.ndarray) -> dict[str, np.ndarray]:
    """Scores of each valid clip and frame, float64 [B, L], seen in an order [L] part by part."""
    mesh, length = evaluator.mesh, len(order)
    order = np.pad(order, (0, -length % PART), "edge")
    state = sharding.split_batch(jax.tree.map(
        np.asarray, evaluator.model.start(len(batch["video"]), None)), mesh)
    parts = []
    for start in range(0, length, PART):
        shown = _shown(evaluator, batch, order, slice(start, start + PART))
        truth = shown.pop("segmentation", None)
        state, output = evaluator.see_part(
            params, state, sharding.split_batch(shown, mesh), np.int32(start))
        if truth is not None:
            output["segmentation"] = sharding.split_batch(truth, mesh)
        parts.append(_scores_of_frames(
            _valid(sharding.fetch(output), batch, evaluator), evaluator.model.stages))
    return {name: np.concatenate([part[name] for part in parts], axis=1)[:, :length]
            for name in parts[0]}


def _shown(evaluator: Evaluator, batch: dict, order: np.ndarray,
           part: slice = slice(None)) -> dict[str, np.ndarray]:
    """A part of clips as they are shown: frames, masks, previous actions and cues, [B, P, ...]."""
    names = {"video", "segmentation", *evaluator.model.cues} & set(batch)
    shown = {name: batch[name][:, order[part]] for name in names}
    before = np.zeros((len(batch["video"]), len(order), evaluator.config.data.action_size),
                      np.float32)
    if "actions" in batch:
        before[:, 1:] = batch["actions"][:, order[:-1]]
    return shown | {"actions": before[:, part]}


def _valid(tree: Any, batch: dict, evaluator: Evaluator) -> Any:
    """Of arrays of the clips of all processes those that are valid."""
    valid = sharding.fetch(sharding.split_batch(batch["valid"], evaluator.mesh))
    return jax.tree.map(lambda a: a[valid], tree)


def _scores_of_frames(output: dict[str, Any], stages: Sequence[str]) -> dict[str, np.ndarray]:
    """Scores of each clip and frame by name, float64 [B, P], of what `see_part` left."""
    found = {}
    truth = output.get("segmentation")
    for stage, judged in output["judged"].items():
        found[table.with_stage("mse", stage, stages)] = judged["mse"].astype(np.float64)
        if truth is None:
            continue
        of_masks = _agreement(truth, judged["ids"])
        found |= {table.with_stage(name, stage, stages): values
                  for name, values in of_masks.items()}
        if "assigned" in judged:
            found |= {f"{name}_{ASSIGNED}": values
                      for name, values in _agreement(truth, judged["assigned"]).items()}
    if "greatest_mean" in output:
        found["greatest_mean"] = output["greatest_mean"].astype(np.float64)
    return found


def _agreement(true: np.ndarray, ids: np.ndarray) -> dict[str, np.ndarray]:
    """`ari`, `fg_ari` and `miou` of each frame on its own: two of [B, P, H, W] -> [B, P] each."""
    true, ids = (a.reshape(*a.shape[:2], -1) for a in (true, ids))
    return {"ari": segmentation.ari(true, ids), "fg_ari": segmentation.fg_ari(true, ids),
            "miou": segmentation.miou(true, ids)}
