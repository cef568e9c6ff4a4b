"""Several refinements of an image from other noises, of which the greatest ELBO's is kept."""

import argparse
from collections.abc import Mapping
from typing import Any

import numpy as np

from benchmarks import step
from benchmarks.iodine import drawing, seen
from benchmarks.iodine.writing import Made, place_of

SHOWN = ("fg_ari", "ari", "fg_ari_assigned", "ari_assigned", "mse")


def make(flags: argparse.Namespace) -> Made:
    """Mean scores of the best of 1, 2, 4, ... restarts, to --restarts, of every run."""
    runs = [seen.with_fewest_slots(run, flags.fewest_slots)
            for run in seen.load_all(flags.runs, flags.step)]
    counts = [2**i for i in range(flags.restarts.bit_length())]
    found = [measure(run, flags.images, flags.batch_size, counts[-1]) for run in runs]
    numbers: dict[str, Any] = dict(
        dataset=runs[0].dataset, runs=[run.name for run in runs],
        images=found[0]["mse"].shape[1], best_of={
            count: {name: [float(best_of(scores, count)[name].mean()) for scores in found]
                    for name in SHOWN} for count in counts})
    return Made(place_of("restarts", runs[0].dataset), numbers, words_of(numbers),
                picture_of(numbers))


def measure(run: seen.Run, count: int, size: int, restarts: int) -> dict[str, np.ndarray]:
    """`SHOWN` and neg_elbo, of beta 1, of the last iteration of test images: [restarts, images]."""
    parts = []
    for batch in seen.batches(run.config, count, size):
        keys, valid = seen.keys_of(run, batch["index"]), batch["valid"]
        of_batch = []
        for restart in range(restarts):
            found = seen.trace(run, batch["video"], keys, restart=restart)
            scores = seen.scores_of(found, batch["segmentation"])
            scores["neg_elbo"] = found.nll + found.kl  # as models/restarts.py chooses by
            of_batch.append({name: scores[name][valid, -1] for name in (*SHOWN, "neg_elbo")})
        parts.append({name: np.stack([one[name] for one in of_batch]) for name in of_batch[0]})
    return {name: np.concatenate([part[name] for part in parts], axis=1) for name in parts[0]}


def best_of(scores: Mapping[str, np.ndarray], count: int) -> dict[str, np.ndarray]:
    """Of each image the scores of the greatest ELBO among its first restarts: [R, images] ->
    [images]."""
    best = np.argmin(scores["neg_elbo"][:count], axis=0)
    return {name: values[best, np.arange(values.shape[1])] for name, values in scores.items()}


def words_of(numbers: dict[str, Any]) -> str:
    """A table: a row a number of restarts, the mean over runs, and every run's."""
    rows = []
    for count, found in numbers["best_of"].items():
        show = lambda name, values: f"{seen.show(name, np.mean(values))} (" + ", ".join(
            seen.show(name, value) for value in values) + ")"
        rows.append([str(count), *(show(name, found[name]) for name in SHOWN)])
    about = (f"{numbers['dataset']}, test: {numbers['images']} images; runs "
             f"{', '.join(numbers['runs'])}. Means over images and runs, in brackets each run's.")
    return f"{about}\n\n{step.table(('restarts', *(seen.SCORES[name] for name in SHOWN)), rows)}"


def picture_of(numbers: dict[str, Any]) -> np.ndarray:
    """A chart a score, a line a run."""
    x = list(numbers["best_of"])
    charts = [drawing.curves(f"{seen.SCORES[score]} by restarts", {
        name: drawing.Curve(x, np.asarray([numbers["best_of"][count][score][i] for count in x]))
        for i, name in enumerate(numbers["runs"])}) for score in ("fg_ari", "fg_ari_assigned")]
    return drawing.beside(charts)
