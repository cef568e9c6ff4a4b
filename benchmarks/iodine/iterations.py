"""Figure 8: scores by iteration at test time, beyond as many as there were in training."""

import argparse
from collections.abc import Mapping
from typing import Any

import numpy as np

from benchmarks import step
from benchmarks.iodine import drawing, seen
from benchmarks.iodine.writing import Made, place_of
from parts_jax.metrics import intervals

QUARTILES = (0.25, 0.5, 0.75)
SHOWN = ("fg_ari", "fg_ari_assigned", "mse", "kl")
JUDGED = {"fg_ari": 1, "fg_ari_assigned": 1, "mse": -1}  # and which direction is better


def make(flags: argparse.Namespace) -> Made:
    """Medians and quartiles over images by iteration, of runs by the N of their training.

    Each image's score is the mean over the runs of the same N, which are its seeds.
    """
    runs = seen.load_all(flags.runs, flags.step)
    by_n: dict[int, list[dict[str, np.ndarray]]] = {}
    for run in runs:
        by_n.setdefault(run.config.model.num_iterations, []).append(seen.measure(
            run, flags.images, flags.batch_size, num_iterations=flags.iterations))
    numbers: dict[str, Any] = dict(
        dataset=runs[0].dataset, runs=[run.name for run in runs], iterations=flags.iterations,
        images=len(next(iter(by_n.values()))[0]["mse"]), trained={
            n: dict(runs=len(found), quartiles=quartiles_of(found), beyond=beyond(found, n))
            for n, found in sorted(by_n.items())})
    return Made(place_of("iterations", runs[0].dataset), numbers, words_of(numbers),
                picture_of(numbers))


def quartiles_of(found: list[Mapping[str, np.ndarray]]) -> dict[str, np.ndarray]:
    """Quartiles over images of every score, means over runs: [3, N+1] each."""
    return {name: np.quantile(seen.mean_over(found, name), QUARTILES, axis=0) for name in SHOWN}


def beyond(found: list[Mapping[str, np.ndarray]], trained: int) -> dict[str, Any] | None:
    """What twice as many iterations as in training change; None: so many were not made.

    Args:
      found: of `seen.measure`, a run each.
      trained: N of training.

    Returns:
      By score: `change`, the mean over images of the difference, `interval` of it, 95% over images,
      and `worse`, whether all of that is on the worse side.
    """
    if 2 * trained >= found[0]["mse"].shape[1]:
        return None
    result = {}
    for name, better in JUDGED.items():
        scores = seen.mean_over(found, name)
        change = scores[:, 2 * trained] - scores[:, trained]
        low, high = intervals.confidence_interval(change)
        result[name] = dict(change=float(change.mean()), interval=[float(low), float(high)],
                            worse=bool(high < 0 if better > 0 else low > 0))
    return result


def words_of(numbers: dict[str, Any]) -> str:
    """A sentence and a table for each N of training, its own row marked."""
    parts = [f"{numbers['dataset']}, test: {numbers['images']} images; runs "
             f"{', '.join(numbers['runs'])}. Medians over images, quartiles in brackets; the row "
             "of the N of training is marked."]
    for n, found in numbers["trained"].items():
        rows = []
        for t in range(numbers["iterations"] + 1):
            cells = [f"{seen.show(name, middle[t])} ({seen.show(name, low[t])} - "
                     f"{seen.show(name, high[t])})"
                     for name, (low, middle, high) in found["quartiles"].items()]
            rows.append([f"**{t}**" if t == n else str(t), *cells])
        header = ("iterations", *(seen.SCORES[name] for name in SHOWN))
        parts += [f"Trained with N={n} ({found['runs']} "
                  f"{'run' if found['runs'] == 1 else 'runs'}). {verdict(found['beyond'], n)}",
                  step.table(header, rows)]
    return "\n\n".join(parts)


def verdict(found: dict[str, Any] | None, trained: int) -> str:
    """Whether twice as many iterations hurt, in a sentence."""
    if found is None:
        return f"{2 * trained} iterations, twice as many, were not made."
    changes = "; ".join(
        f"{seen.SCORES[name]} {one['change']:+.{seen.DIGITS.get(name, 3)}f} "
        f"({one['interval'][0]:+.{seen.DIGITS.get(name, 3)}f} to "
        f"{one['interval'][1]:+.{seen.DIGITS.get(name, 3)}f})" for name, one in found.items())
    worse = [seen.SCORES[name] for name, one in found.items() if one["worse"]]
    said = f"worse by {', '.join(worse)}" if worse else "not worse by any of these"
    return (f"{2 * trained} iterations in place of {trained} change means over images by (95% over "
            f"images): {changes}: {said}.")


def picture_of(numbers: dict[str, Any]) -> np.ndarray:
    """A chart a score, a line an N of training, with quartiles, and a dot at that N."""
    x = list(range(numbers["iterations"] + 1))
    charts = []
    for name in ("fg_ari", "mse", "kl"):
        lines = {f"N={n}": drawing.Curve(x, middle, low, high, n) for n, (low, middle, high) in (
            (n, found["quartiles"][name]) for n, found in numbers["trained"].items())}
        charts.append(drawing.curves(f"{seen.SCORES[name]} by iteration", lines,
                                     log=name == "mse"))
    return drawing.beside(charts)
