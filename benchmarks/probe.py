"""What can be read off slots: position, size, colour, shape of the object that a slot has found.

    python -m benchmarks.probe runs/demo
    python -m benchmarks.probe demo --train_clips=200 --test_clips=64 --out=probe.json

Of the last frame of each clip, every true object is matched to the slot whose pixels overlap it
most, one slot an object. From the slot's numbers ridge regression then tells the object's centre,
the logarithm of its area and its mean colour, all of the true mask, and logistic regression the
first and the last word of its name where the set has names, as "red rubber sphere": colour and
shape. Fitted on clips of the train split, scored on those of --split: R2 (mean over numbers), and
accuracy. Beside it stand the same from a model of the same config that was never trained, and from
pixels: the frame in 8 x 8, which does not say which object is asked for. For any family with slots.
Needs scikit-learn (extra `test`).
"""

import argparse
import functools
import json
import pathlib
import sys
import warnings
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import jax
import numpy as np
import threadpoolctl
from scipy import optimize
from sklearn import dummy, exceptions, linear_model, preprocessing
from sklearn import pipeline as chain

from benchmarks.paper import clips
from parts_jax.api import inference
from parts_jax.data import pipeline, preprocess
from parts_jax.models import contract
from parts_jax.runs import checkpoint, quiet

NUMBERS = ("position", "size", "colour")   # R2 of ridge regression
CLASSES = ("colour name", "shape name")    # accuracy of logistic regression
SOURCES = ("slots", "untrained", "pixels")
LEAST_PIXELS = 6  # of an object: fewer have no colour or place to speak of
POOLED = 8
RIDGE = np.logspace(-2, 4, 7)


class Objects(NamedTuple):
    """Objects of many frames, a row each.

    Attributes:
      features: by source, float [N, .].
      factors: of `NUMBERS`, float [N, .]; of `CLASSES`, words [N], where the set has names.
      overlap: intersection over union of the object and the pixels of its slot, [N].
    """

    features: dict[str, np.ndarray]
    factors: dict[str, np.ndarray]
    overlap: np.ndarray


def factors_of(frame: np.ndarray, mask: np.ndarray) -> dict[str, np.ndarray]:
    """What an object is, by its true mask: uint8 [H, W, 3], bool [H, W] -> `NUMBERS`.

    Returns:
      position: x, y of the centre in [-1, 1]; size: log of the share of the frame; colour: mean
      red, green, blue in [0, 1].
    """
    y, x = np.nonzero(mask)
    height, width = mask.shape
    centre = [(x.mean() + 0.5) / width * 2 - 1, (y.mean() + 0.5) / height * 2 - 1]
    return {"position": np.asarray(centre), "size": np.log([mask.mean()]),
            "colour": frame[mask].mean(0) / 255}


def match(true: np.ndarray, found: np.ndarray, num_slots: int) -> list[tuple[int, int, float]]:
    """Objects and their slots, one slot an object, so that overlaps are most in all.

    Args:
      true: ids, whole numbers [H, W]; 0 is background.
      found: slot of each pixel, whole numbers [H, W].
      num_slots: K.

    Returns:
      (id, slot, intersection over union) of each object of `LEAST_PIXELS` pixels or more.
    """
    ids = [i for i in np.unique(true) if i and np.sum(true == i) >= LEAST_PIXELS]
    if not ids:
        return []
    overlap = np.asarray([[np.sum((true == i) & (found == k)) / max(
        1, np.sum((true == i) | (found == k))) for k in range(num_slots)] for i in ids])
    pairs = zip(*optimize.linear_sum_assignment(-overlap), strict=True)
    return [(int(ids[i]), int(k), float(overlap[i, k])) for i, k in pairs]


@functools.partial(jax.jit, static_argnums=(0, 1))
def last_frame(model: contract.Model, action_size: int, params: Any,
               batch: dict) -> tuple[jax.Array, jax.Array]:
    """Slots of the last frame, by the last stage, and the slot of each of its pixels.

    Returns:
      [B, K, D]: the posterior's mean where there is one, else the slots; and ids [B, H, W].
    """
    keys = contract.example_keys(jax.random.key(0), batch["index"])
    size = batch["video"].shape[2:4]
    video = preprocess.to_float(batch["video"])
    clip = inference.clip_of(model, batch | {"video": video}, keys, action_size)
    step = inference.see(model, params, model.start(len(video), None), clip)
    latents = jax.tree.map(lambda a: a[:, -1], step.latents[model.stages[-1]])
    view = model.decode(params, latents, size)
    weights = model.assign(view, video[:, -1]) if model.assign else view.masks
    slots = latents.z if latents.posterior is None else latents.posterior.mean
    return slots, weights.argmax(1)


def objects_of(trained: clips.Trained, untrained: Any, split: str, num_clips: int) -> Objects:
    """All objects of the last frames of a split's first clips, as both models find them.

    Args:
      trained: from `clips.load`.
      untrained: parameters of the same shapes that were never trained.
      split: of the set that the model was trained on.
      num_clips: 0: all.

    Raises:
      ValueError: the set has no true masks, or no object is seen.
    """
    config, model = trained.config, trained.model
    opened = pipeline.open_split(config.data, split)
    batches = pipeline.eval_iterator(
        config.data, opened, batch_size=min(32, config.eval.batch_size), num_sequences=num_clips,
        action_size=config.data.action_size, cues=model.cues)
    rows = []
    for batch in batches:
        if "segmentation" not in batch:
            raise ValueError(f"The data set {config.data.name!r} has no true masks, by which "
                             "objects are matched to slots.")
        given = {key: value for key, value in batch.items() if key not in ("segmentation", "valid")}
        found = {source: jax.device_get(last_frame(model, config.data.action_size, params, given))
                 for source, params in (("slots", trained.params), ("untrained", untrained))}
        for i in np.flatnonzero(batch["valid"]):
            names = opened.examples[int(batch["index"][i])].get("objects", ())
            rows += rows_of_frame(batch["video"][i, -1], batch["segmentation"][i, -1],
                                  {source: (slots[i], ids[i]) for source, (slots, ids)
                                   in found.items()}, names)
    if not rows:
        raise ValueError(f"No object is in view in the {split} split of {config.data.name!r}.")
    stack = lambda key: {name: np.stack([row[key][name] for row in rows]) for name in rows[0][key]}
    return Objects(stack("features"), stack("factors"),
                   np.asarray([row["overlap"] for row in rows]))


def rows_of_frame(frame: np.ndarray, true: np.ndarray,
                  found: Mapping[str, tuple[np.ndarray, np.ndarray]],
                  names: Sequence[bytes | str]) -> list[dict[str, Any]]:
    """The objects of one frame, a dict of the fields of `Objects` each.

    Args:
      frame: uint8 [H, W, 3].
      true: ids [H, W].
      found: by source, slots [K, D] and the slot of each pixel [H, W].
      names: of the objects, in order of the ids from 1; none: the set has none.
    """
    step = max(1, frame.shape[0] // POOLED), max(1, frame.shape[1] // POOLED)
    pixels = frame[:frame.shape[0] // step[0] * step[0], :frame.shape[1] // step[1] * step[1]]
    pixels = pixels.reshape(-1, step[0], pixels.shape[1] // step[1], step[1], 3).mean((1, 3)) / 255
    slots = {source: {i: (which[k], overlap) for i, k, overlap in match(true, ids, len(which))}
             for source, (which, ids) in found.items()}
    rows = []
    for i in set.intersection(*(set(of) for of in slots.values())):
        factors = factors_of(frame, true == i)
        if len(names):
            words = names[i - 1].decode() if isinstance(names[i - 1], bytes) else str(names[i - 1])
            factors |= dict(zip(CLASSES, (words.split()[0], words.split()[-1]), strict=True))
        features = {source: of[i][0] for source, of in slots.items()} | {"pixels": pixels.ravel()}
        rows.append(dict(features=features, factors=factors, overlap=slots["slots"][i][1]))
    return rows


def scores_of(train: Objects, test: Objects) -> dict[str, dict[str, float]]:
    """R2 and accuracy on held-out objects: by factor, of each source, and of knowing nothing.

    The last, "nothing", is 0 for R2, and the most frequent word for accuracy.
    """
    found = {}
    with threadpoolctl.threadpool_limits(1), warnings.catch_warnings():
        warnings.simplefilter("ignore", exceptions.ConvergenceWarning)
        for factor in train.factors:
            words = factor in CLASSES
            if words and len(set(train.factors[factor])) < 2:
                continue  # all are alike: nothing to tell
            found[factor] = {source: _fitted(
                linear_model.LogisticRegression(max_iter=500) if words
                else linear_model.RidgeCV(RIDGE),
                train, test, source, factor) for source in SOURCES}
            guess = dummy.DummyClassifier() if words else dummy.DummyRegressor()
            found[factor]["nothing"] = _fitted(guess, train, test, "pixels", factor)
    return found


def _fitted(model: Any, train: Objects, test: Objects, source: str, factor: str) -> float:
    fitted = chain.make_pipeline(preprocessing.StandardScaler(), model)
    fitted.fit(train.features[source], train.factors[factor])
    return float(fitted.score(test.features[source], test.factors[factor]))


def measure(workdir: str, split: str = "test", train_clips: int = 400, test_clips: int = 128,
            step: int = checkpoint.NEWEST) -> dict[str, Any]:
    """Probes a model.

    Args:
      workdir: a run's folder, or the name of a model that comes with the package.
      split: whose objects are told.
      train_clips: of the train split, that probes are fitted on; 0: all.
      test_clips: of `split`; 0: all.
      step: which checkpoint; -1: the newest; -2: the best.

    Returns:
      What was probed; `scores` as of `scores_of`; and `overlap`, the mean over held-out objects.

    Raises:
      ValueError: the family has no slots, the set no true masks, or a number is negative.
      FileNotFoundError: there is no such run or checkpoint.
    """
    for name, count in (("--train_clips", train_clips), ("--test_clips", test_clips)):
        if count < 0:
            raise ValueError(f"{name} is {count}, but must be 0 (all) or more.")
    trained = clips.load(workdir, step)
    config, model = trained.config, trained.model
    if model.slot_size is None:
        raise ValueError(f"Models of the family {config.model.name!r} have no slots to probe.")
    untrained = jax.jit(model.init)(jax.random.key(config.seed + 1))
    train, test = (objects_of(trained, untrained, name, count) for name, count in (
        (config.data.train_split, train_clips), (split, test_clips)))
    return {"workdir": str(workdir), "step": trained.step, "dataset": config.data.name,
            "split": split, "train_objects": len(train.overlap), "test_objects": len(test.overlap),
            "overlap": float(test.overlap.mean()), "scores": scores_of(train, test)}


def table(report: Mapping[str, Any]) -> str:
    """The Markdown table of what `measure` found, under a line that says of what."""
    columns = (*SOURCES, "nothing")
    lines = [["", "", *columns], ["---", "---", *["---:"] * len(columns)]]
    for factor, found in report["scores"].items():
        kind = "accuracy" if factor in CLASSES else "R2"
        lines.append([factor, kind, *(f"{found[source]:.3f}" for source in columns)])
    return "\n".join([
        f"{report['workdir']}, step {report['step']}, on {report['dataset']} {report['split']}: "
        f"{report['test_objects']} objects, told by {report['train_objects']} of training; mean "
        f"overlap with their slots {report['overlap']:.3f}.", "",
        *(f"| {' | '.join(line)} |" for line in lines)])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0], allow_abbrev=False)
    parser.add_argument("workdir", help="a run, or a model that comes with the package")
    parser.add_argument("--split", default="test", help="whose objects are told")
    parser.add_argument("--train_clips", type=int, default=400, help="probes are fitted on; 0: all")
    parser.add_argument("--test_clips", type=int, default=128, help="of the split; 0: all")
    parser.add_argument("--step", type=int, default=checkpoint.NEWEST,
                        help="which checkpoint; -1: the newest; -2: the best")
    parser.add_argument("--out", type=pathlib.Path, help="file that the JSON is written to")
    values = parser.parse_args()
    quiet.hush()
    try:
        if values.out and not values.out.absolute().parent.is_dir():
            raise FileNotFoundError(f"There is no folder for --out={values.out}.")
        report = measure(values.workdir, values.split, values.train_clips, values.test_clips,
                         values.step)
    except (OSError, ValueError) as error:
        sys.exit(f"Error: {error}")
    print(table(report))
    if values.out:
        values.out.write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
