"""Clips as runs show them: frames, true masks; and of each run its masks and its reconstruction.

A pixel's mask is the slot that explains it best, where the family tells that, else the slot of the
greatest mask. Colours are those of slots, so one that changes from frame to frame is a slot that
lost its object.
"""

import argparse
import functools
from collections.abc import Sequence
from typing import Any

import jax
import numpy as np

from benchmarks.grid_lstm import seen
from benchmarks.iodine.writing import Made, place_of
from benchmarks.paper import draw
from parts_jax.api import inference
from parts_jax.models import contract
from parts_jax.pictures import colours


def make(flags: argparse.Namespace) -> Made:
    """Rows of each clip, one under the other; columns are frames."""
    runs = [seen.with_restarts(run, flags.restarts)
            for run in seen.load_all(flags.runs, flags.step)]
    dataset = flags.set or runs[0].config.data.name
    frames = sorted({number - 1 for number in flags.frames})
    runs = [seen.on(run, dataset, frames[-1] + 1) for run in runs]
    shown = {title: show(run, flags.clips, flags.slots)
             for title, run in zip(titles(runs), runs, strict=True)}
    true, = seen.batches(runs[0].config, flags.clips, flags.clips)
    slots = flags.slots or max(run.config.model.num_slots for run in runs)
    blocks = [draw.over_time(rows_of(true, shown, clip, slots), frames, scale=flags.scale)
              for clip in range(flags.clips)]
    numbers = dict(dataset=dataset, clips=flags.clips, frames=[t + 1 for t in frames],
                   num_slots=slots, runs={run.name: run.step for run in runs})
    names = ", ".join(f"{run.name} (step {run.step:,})" for run in runs)
    words = (f"{dataset}, test: the first {flags.clips} clips, at frames "
             f"{', '.join(map(str, numbers['frames']))}. K={slots}. Runs: {names}.")
    return Made(place_of("clips", dataset), numbers, words, np.concatenate(blocks))


def titles(runs: Sequence[seen.Run]) -> list[str]:
    """What rows are called: the kind, or where two have the same one, the name of the folder."""
    kinds = [run.kind for run in runs]
    return [run.kind if kinds.count(run.kind) == 1 else run.name for run in runs]


def show(run: seen.Run, count: int, num_slots: int | None = None) -> dict[str, np.ndarray]:
    """`recon`, [clips, T, H, W, 3], and `ids`, [clips, T, H, W], of the first test clips."""
    batch, = seen.batches(run.config, count, count)
    found = jax.device_get(_show(run.model, num_slots, run.params,
                                 seen.clip_of(run, batch, num_slots)))
    return dict(recon=found["recon"], ids=found.get("assigned", found["ids"]))


@functools.partial(jax.jit, static_argnums=(0, 1))
def _show(model: contract.Model, num_slots: int | None, params: Any,
          clip: contract.Clip) -> dict[str, jax.Array]:
    step = inference.see(model, params, model.start(len(clip.video), num_slots), clip)
    return inference.judge(model, params, step.latents[model.stages[-1]], clip.video,
                           lambda true, recon: {"recon": recon})


def rows_of(true: dict[str, np.ndarray], shown: dict[str, dict[str, np.ndarray]],
            clip: int, num_slots: int) -> dict[str, np.ndarray]:
    """Pictures [T, H, W, 3] by the name of their row."""
    rows = {"frames": true["video"][clip],
            "true masks": colours.colour_segmentation(true["segmentation"][clip])}
    for title, found in shown.items():
        rows[title] = colours.palette(num_slots)[found["ids"][clip]]
        rows[f"{title}: picture"] = found["recon"][clip]
    return rows
