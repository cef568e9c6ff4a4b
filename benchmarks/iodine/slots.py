"""Figure 9: other numbers of slots at test time, and images by how many objects they have."""

import argparse
from collections.abc import Mapping
from typing import Any

import numpy as np

from benchmarks import step
from benchmarks.iodine import drawing, seen
from benchmarks.iodine.writing import Made, place_of

FEWER, MORE = 1, 4
SHOWN = ("fg_ari", "ari", "fg_ari_assigned", "ari_assigned", "mse", "kl")


def make(flags: argparse.Namespace) -> Made:
    """Mean scores by K, trained K - 1 to trained K + 4, over all runs, all of one K.

    Args:
      flags: `set`, of another number of objects than that of training, "": that one; `restarts`;
        `fewest_slots`, of a restart.

    Raises:
      ValueError: the runs were trained with different K.
    """
    runs = [seen.with_fewest_slots(run, flags.fewest_slots)
            for run in seen.load_all(flags.runs, flags.step)]
    if flags.set:
        runs = [seen.on(run, flags.set) for run in runs]
    trained = sorted({run.config.model.num_slots for run in runs})
    if len(trained) > 1:
        raise ValueError(f"The runs were trained with {', '.join(map(str, trained))} slots; give "
                         "those of one number at a time.")
    found = {}
    for k in range(max(1, trained[0] - FEWER), trained[0] + MORE + 1):
        scores = [seen.measure(run, flags.images, flags.batch_size, num_slots=k,
                               restarts=flags.restarts) for run in runs]
        found[k] = by_count(scores)
    numbers: dict[str, Any] = dict(dataset=runs[0].dataset, runs=[run.name for run in runs],
                                   trained=trained[0], restarts=flags.restarts, by_slots=found,
                                   fewest=runs[0].config.model.fewest_slots)
    return Made(place_of("slots", runs[0].dataset), numbers, words_of(numbers), picture_of(numbers))


def by_count(found: list[Mapping[str, np.ndarray]]) -> dict[str, dict[str, float]]:
    """Means of the last iteration's scores, over images and runs.

    Args:
      found: of `seen.measure`, a run each, of the same images.

    Returns:
      "all", and each number of objects where there are several: `SHOWN`, `images`, so many of
      them, and `std`, that of FG-ARI over runs; nan of one run.
    """
    counts = found[0]["objects"]
    groups = {"all": np.ones(len(counts), bool)}
    if len(set(counts.tolist())) > 1:
        groups |= {str(n): counts == n for n in sorted(set(counts.tolist()))}
    result = {}
    for group, members in groups.items():
        result[group] = {name: float(np.mean([scores[name][members, -1].mean()
                                              for scores in found])) for name in SHOWN}
        by_run = [scores["fg_ari"][members, -1].mean() for scores in found]
        result[group] |= dict(images=int(members.sum()), std=float(
            np.std(by_run, ddof=1) if len(by_run) > 1 else np.nan))
    return result


def words_of(numbers: dict[str, Any]) -> str:
    """A table: a row a K and number of objects."""
    groups = list(next(iter(numbers["by_slots"].values())))
    rows = []
    for group in groups:
        for k, found in numbers["by_slots"].items():
            one = found[group]
            spread = "" if np.isnan(one["std"]) else f" ± {one['std']:.3f}"
            name = f"**{k}**" if k == numbers["trained"] else str(k)
            rows.append([group, name, *(seen.show(score, one[score]) + (
                spread if score == "fg_ari" else "") for score in SHOWN)])
    images = ", ".join(f"{group}: {numbers['by_slots'][numbers['trained']][group]['images']}"
                       for group in groups)
    down = f", down to {numbers['fewest']} slots" if numbers["fewest"] else ""
    about = (f"{numbers['dataset']}, test; runs {', '.join(numbers['runs'])}, trained with "
             f"K={numbers['trained']}, marked; the best of {numbers['restarts']} restarts{down}. "
             f"Images by objects: {images}. Means over images and runs; ± is the standard "
             "deviation over runs.")
    header = ("objects", "K", *(seen.SCORES[name] for name in SHOWN))
    return f"{about}\n\n{step.table(header, rows)}"


def picture_of(numbers: dict[str, Any]) -> np.ndarray:
    """A chart a score, a line a number of objects, with a dot at the K of training."""
    x = list(numbers["by_slots"])
    groups = list(numbers["by_slots"][x[0]])
    names = {group: "all" if group == "all" else f"{group} objects" for group in groups}
    charts = [drawing.curves(f"{seen.SCORES[score]} by slots", {
        names[group]: drawing.Curve(x, np.asarray([numbers["by_slots"][k][group][score]
                                                   for k in x]), mark=numbers["trained"])
        for group in groups}, log=score == "mse") for score in ("fg_ari", "mse", "kl")]
    return drawing.beside(charts)
