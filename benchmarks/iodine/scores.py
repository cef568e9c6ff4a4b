"""Scores of held-out images by seed, beside what trivial answers score on the same images.

They are those that a run's own evaluation wrote at its end.
"""

import argparse
import pathlib
from typing import Any

import ml_collections
import numpy as np

from benchmarks import seeds, step, trivial_answers
from benchmarks.iodine import seen
from benchmarks.iodine.writing import Made, place_of
from parts_jax.pictures import colours, grids

METRICS = {"fg_ari_last": "FG-ARI", "ari_last": "ARI", "miou_last": "mIoU",
           "fg_ari_last_assigned": "FG-ARI assigned", "ari_last_assigned": "ARI assigned",
           "miou_last_assigned": "mIoU assigned", "mse": "MSE", "kl": "KL, nats",
           "neg_elbo": "minus ELBO, nats", "training minutes": "minutes of training"}
TRIVIAL = ("strips", "kmeans_colour", "kmeans_colour_position")
SAME = ("split", "num_sequences", "resolution", "num_slots", "step")
NUM_SHOWN = 6


def make(flags: argparse.Namespace) -> Made:
    """The table of all runs, the trivial answers, and a picture of the first run's images.

    Raises:
      FileNotFoundError: a run has no evaluation of the test split.
      ValueError: the runs are of several sets, or were not evaluated alike.
    """
    runs = seen.load_all(flags.runs)
    dataset = runs[0].dataset
    records = [seeds.newest_evaluation(pathlib.Path(workdir), "test", dataset)
               for workdir in flags.runs]
    for key in SAME:
        found = [record[key] for record in records]
        if len(set(found)) > 1:
            raise ValueError(f"The runs cannot be compared: {key} is {', '.join(map(str, found))}.")
    trivial = trivial_of(runs[0].config, records[0]["num_sequences"])
    minutes = [seeds.training_minutes(pathlib.Path(workdir)) for workdir in flags.runs]
    values = values_of(records, minutes)
    numbers = dict(dataset=dataset, runs=[run.name for run in runs], trivial=trivial,
                   scores=values, **{key: records[0][key] for key in SAME},
                   seeds=[record["seed"] for record in records])
    return Made(place_of("scores", dataset), numbers, words_of(numbers), picture_of(runs[0]))


def values_of(records: list[dict], minutes: list[float]) -> dict[str, list[float]]:
    """`METRICS` that all records have, a value a run."""
    found = {name: [float(record[name]) for record in records] for name in METRICS
             if all(name in record for record in records)}
    return found | {"training minutes": minutes}


def trivial_of(config: ml_collections.ConfigDict, count: int) -> dict[str, dict[str, float]]:
    """Means over the same images of `TRIVIAL` segmentations, and MSE of the empty picture."""
    images = trivial_answers.clips(config, "test", count)
    if "segmentation" not in images[0]:
        raise ValueError(f"The data set {config.data.name!r} has no true masks to score by.")
    found = trivial_answers.score_segmentations(images, config.model.num_slots)
    train = trivial_answers.clips(config, config.data.train_split, trivial_answers.NUM_TRAIN_CLIPS)
    room = trivial_answers.background(np.concatenate([batch["video"] for batch in train]))
    errors = [trivial_answers.background_error(batch["video"], room)["mse"] for batch in images]
    return {name: {metric: found[name][metric]["mean"] for metric in METRICS
                   if metric in found[name]} for name in TRIVIAL} | {
        "median of training images": {"mse": float(np.concatenate(errors).mean())}}


def words_of(numbers: dict[str, Any]) -> str:
    """The table: a column a run, mean, spread, and a column a trivial answer."""
    trivial = numbers["trivial"]
    several = len(numbers["runs"]) > 1
    rows = []
    for name, values in numbers["scores"].items():
        write = seeds.formatter("mse") if name == "mse" else seeds.formatter(
            "minutes" if name in ("training minutes", "kl", "neg_elbo") else name)
        spread = [write(float(np.mean(values))), f"{write(min(values))} - {write(max(values))}",
                  write(float(np.std(values, ddof=1)))] if several else []
        rows.append([METRICS[name], *map(write, values), *spread,
                     *(write(one[name]) if name in one else "" for one in trivial.values())])
    header = ["", *(f"seed {seed}" for seed in numbers["seeds"]),
              *(["mean", "min - max", "std"] if several else []),
              *(name.replace("_", " ") for name in trivial)]
    about = (f"{numbers['dataset']}, test: {numbers['num_sequences']} images of "
             f"{numbers['resolution']}x{numbers['resolution']}, K={numbers['num_slots']}, step "
             f"{numbers['step']:,}; runs {', '.join(numbers['runs'])}. Means over images; std over "
             "seeds. FG-ARI, ARI and mIoU are of masks (the slot of the greatest), and of pixels "
             "assigned by p(k | x_i, z). The last columns are of no model: strips and clusters of "
             "pixels as many as slots, and one picture for all.")
    return f"{about}\n\n{step.table(tuple(header), rows)}"


def picture_of(run: seen.Run) -> np.ndarray:
    """The first test images: truth, assigned pixels, masks, picture."""
    batch = next(seen.batches(run.config, NUM_SHOWN, NUM_SHOWN))
    found = seen.trace(run, batch["video"], seen.keys_of(run, batch["index"]))
    slots = colours.palette(run.config.model.num_slots)
    scale = max(1, 70 // batch["video"].shape[1])
    rows = [[grids.enlarge(tile, scale) for tile in (
        batch["video"][i], colours.colour_segmentation(batch["segmentation"][i]),
        slots[found.assigned[i, -1]], slots[found.ids[i, -1]],
        colours.to_uint8(found.recon[i, -1]))] for i in np.flatnonzero(batch["valid"])]
    return grids.titled_table(rows, ("frame", "truth", "assigned", "masks", "recon"))
