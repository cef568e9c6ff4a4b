"""Tables 1 and 2: ARI, F-ARI and MSE of held-out clips, of their first 10 frames, 20, 30, 40.

Scores are of each frame by itself, then means over frames and clips. A model sees the frames of a
clip one after the other, so one pass over the longest clips gives all lengths.
"""

import argparse
from collections.abc import Sequence
from typing import Any

import numpy as np

from benchmarks import step, trivial_answers
from benchmarks.grid_lstm import seen
from benchmarks.iodine.writing import Made, place_of

TRIVIAL = {"strips": "strips", "kmeans_colour": "k-means on colours",
           "kmeans_colour_position": "k-means on colours and places"}
# Table 1 of the paper, at 10, 20, 30, 40 frames: (ARI, F-ARI, MSE). The row of IODINE, which knows
# no lengths, has one number each.
Quoted = tuple[Sequence[float], Sequence[float], Sequence[float]]
PUBLISHED: dict[str, dict[str, Quoted]] = {
    "binary balls": {
        "R-NEM": ((.5031, .6199, .6632, .6833), (.6259, .7325, .7708, .7899),
                  (.0252, .0138, .0096, .0076)),
        "IODINE, each frame": ((.0318,) * 4, (.9986,) * 4, (.0018,) * 4),
        "SEQ-IODINE": ((.0230, .0223, .0021, -.0201), (.8645, .6028, .5444, .4063),
                       (.0385, .0782, .0846, .0968)),
        "2D-LSTM": ((.7169, .7263, .7286, .7294), (.9999,) * 4, (.0004,) * 4)},
    "coloured balls": {
        "IODINE, each frame": ((.5841,) * 4, (.9752,) * 4, (.0014,) * 4),
        "SEQ-IODINE": ((.3789, .3743, .3225, .2654), (.7517, .8159, .7537, .6734),
                       (.0160, .0164, .0217, .0270)),
        "2D-LSTM": ((.7275, .7291, .7298, .7301), (1.0, 1.0, .9999, .9999), (.0002,) * 4)},
    "CLEVRER, 3 to 5 objects": {
        "IODINE, each frame": ((.1791,) * 4, (.9316,) * 4, (.0004,) * 4),
        "SEQ-IODINE": ((.1171, .1378, .1558, .1684), (.8520, .8774, .8780, .8759),
                       (.0009, .0009, .0010, .0010)),
        "2D-LSTM": ((.2220, .2403, .2555, .2681), (.9182, .9258, .9309, .9312), (.0003,) * 4)},
}
PUBLISHED_LENGTHS = (10, 20, 30, 40)
# Sets of 6 to 8 balls for those of 4 that a model was trained on.
CROWDS = {"demo": ("demo_678", "demo_678_4"), "demo_binary": ("demo_678_binary",),
          "balls4": ("balls678",), "balls4_colour": ("balls678_colour", "balls678_colour_4")}


def published_as(dataset: str) -> str | None:
    """Which part of the paper's Table 1 is of such a set; None: none."""
    family, _, variant = dataset.partition("/")
    if family in ("clevrer", "sim_clevrer"):
        return "CLEVRER, 3 to 5 objects"
    if family in ("bouncing_balls", "sim_balls"):
        return "binary balls" if variant in ("balls4", "demo_binary") else "coloured balls"
    return None


# ---- Table 1 --------------------------------------------------------------------------------


def make_table1(flags: argparse.Namespace) -> Made:
    """All rows at all lengths, with trivial answers on the same clips, and what is published."""
    lengths = sorted(set(flags.frames))
    runs = [seen.on(run, run.config.data.name, lengths[-1])
            for run in seen.load_all(flags.runs, flags.step)]
    dataset = runs[0].config.data.name
    rows = {name: dict(runs=[run.name for run in members], step=members[0].step, scores=by_score(
        [seen.at_lengths(seen.measure(run, flags.clips, flags.batch_size), lengths)
         for run in members])) for name, members in seen.rows_of(runs).items()}
    config = runs[0].config
    config.eval.batch_size = flags.batch_size
    clips = trivial_answers.clips(config, "test", flags.clips)
    numbers = dict(
        dataset=dataset, lengths=lengths, clips=sum(len(batch["video"]) for batch in clips),
        resolution=config.data.resolution, num_slots=config.model.num_slots, rows=rows,
        trivial=trivial_of(clips, config.model.num_slots, lengths))
    return Made(place_of("table1", dataset), numbers, words_of_table1(numbers))


def by_score(found: Sequence[dict[str, list[float]]]) -> dict[str, list[list[float]]]:
    """By score, of each length, the values of all seeds."""
    return {name: [list(values) for values in zip(*(one[name] for one in found), strict=True)]
            for name in seen.SCORES if name in found[0]}


def trivial_of(clips: Sequence[dict], num_slots: int,
               lengths: Sequence[int]) -> dict[str, dict[str, list[float]]]:
    """ARI and F-ARI at each length of answers of no model: `TRIVIAL` and one of their names."""
    answers, result = trivial_answers.answers(num_slots, 0), {}
    for name, words in TRIVIAL.items():
        parts = []
        for batch in clips:
            ids = np.ascontiguousarray(answers[name](batch["video"]))
            no_picture = np.zeros(ids.shape[:2])
            parts.append(seen.scores_of(seen.Frames(no_picture, ids), batch["segmentation"]))
        result[words] = seen.at_lengths(
            {score: np.concatenate([part[score] for part in parts]) for score in ("ari", "fg_ari")},
            lengths)
    return result


def words_of_table1(numbers: dict[str, Any]) -> str:
    """The table: a row a model and score, a column a length."""
    lengths, rows = numbers["lengths"], []
    for name, found in numbers["rows"].items():
        seeds = len(found["runs"])
        label = f"{name}, {seeds} {'seed' if seeds == 1 else 'seeds'}"
        rows += [(label, words, *(seen.show(score, values) for values in found["scores"][score]))
                 for score, words in seen.SCORES.items() if score in found["scores"]]
    for name, found in numbers["trivial"].items():
        rows += [(name, seen.SCORES[score], *(seen.show(score, [value]) for value in values))
                 for score, values in found.items()]
    part = published_as(numbers["dataset"])
    for name, found in PUBLISHED.get(part or "", {}).items():
        for score, values in zip(seen.PUBLISHED, found, strict=True):
            known = dict(zip(PUBLISHED_LENGTHS, values, strict=True))
            cells = [f"*{known[length]:.4f}*" if length in known else "" for length in lengths]
            if any(cells):
                rows.append((f"*{name}, quoted*", seen.SCORES[score], *cells))
    runs = "; ".join(f"{name}: {', '.join(found['runs'])}, step {found['step']:,}"
                     for name, found in numbers["rows"].items())
    about = (f"{numbers['dataset']}, test: {numbers['clips']} clips of {numbers['resolution']}x"
             f"{numbers['resolution']}, K={numbers['num_slots']}. Runs: {runs}. Each frame by "
             "itself, means over frames and clips; ± is the standard deviation over seeds. Scores "
             "are of masks; assigned: of each pixel the slot that explains it best.")
    if part:
        about += (f" Rows marked as quoted are the paper's Table 1, of {part} at 64x64: other "
                  "clips than these, so they tell an order, no difference. DDPAE's authors give "
                  "figures alone, no number to quote.")
    header = ("", "", *(f"{length} frames" for length in lengths))
    return f"{about}\n\n{step.table(header, rows)}"


# ---- Table 2 --------------------------------------------------------------------------------


def crowds_of(dataset: str) -> tuple[str, ...]:
    """Sets of 6 to 8 balls that a model of a set of 4 is tried on, by their whole names.

    Raises:
      ValueError: there are none.
    """
    family, _, variant = dataset.partition("/")
    if family not in ("sim_balls", "bouncing_balls") or variant not in CROWDS:
        raise ValueError(f"No set of more objects is known for {dataset!r}; name some with --sets.")
    there = CROWDS[variant]
    return tuple(f"{family}/{name}" for name in there)


def make_table2(flags: argparse.Namespace) -> Made:
    """Each model on each set of more objects with other numbers of slots; nothing is trained."""
    lengths = sorted(set(flags.frames))
    runs = [seen.with_restarts(run, flags.restarts)
            for run in seen.load_all(flags.runs, flags.step)]
    dataset = runs[0].config.data.name
    sets = flags.sets or crowds_of(dataset)
    rows = {}
    for name, members in seen.rows_of(runs).items():
        rows[name] = dict(runs=[run.name for run in members], sets={
            other: {k: by_score([seen.at_lengths(
                seen.measure(seen.on(run, other, lengths[-1]), flags.clips, flags.batch_size, k),
                lengths) for run in members]) for k in flags.slots} for other in sets})
    numbers = dict(dataset=dataset, lengths=lengths, clips=flags.clips, slots=list(flags.slots),
                   trained=runs[0].config.model.num_slots, restarts=flags.restarts, rows=rows)
    return Made(place_of("table2", dataset), numbers, words_of_table2(numbers))


def words_of_table2(numbers: dict[str, Any]) -> str:
    """The table: a row a model, set and K, columns of each length's scores."""
    rows = []
    for name, found in numbers["rows"].items():
        for dataset, by_k in found["sets"].items():
            for k, scores in by_k.items():
                cells = [seen.show(score, scores[score][i]) if score in scores else ""
                         for i in range(len(numbers["lengths"])) for score in seen.SCORES]
                rows.append((f"{name}, {len(found['runs'])}", dataset, str(k), *cells))
    header = ("model, seeds", "set", "K", *(f"{words}, {length} frames"
                                            for length in numbers["lengths"]
                                            for words in seen.SCORES.values()))
    runs = ", ".join(name for found in numbers["rows"].values() for name in found["runs"])
    clips = f"the first {numbers['clips']} clips" if numbers["clips"] else "all clips"
    about = (f"Trained on {numbers['dataset']} with K={numbers['trained']} (runs {runs}), and not "
             f"again: {clips} of the test split of each set. Means as in Table 1; ± over seeds.")
    if numbers["restarts"]:
        about += (f" Each clip is inferred from {numbers['restarts']} noises, and keeps that of "
                  "the greatest ELBO.")
    return f"{about}\n\n{step.table(header, rows)}"
