"""Figure 5: factors that the set was drawn from, told by the slot of each object.

As benchmarks/probe.py, whose factors are read off true masks: the same matching of objects to slots
by masks, the same features.
"""

import argparse
from typing import Any

import jax
import numpy as np
import threadpoolctl
from sklearn import dummy, linear_model, preprocessing
from sklearn import pipeline as chain

from benchmarks import probe, step
from benchmarks.iodine import drawing, seen
from benchmarks.iodine.writing import Made, place_of
from parts_jax.data import pipeline

SOURCES = ("slots", "untrained")
# Of an object, where a set has them: an array [1, N] or [1, N, .], in order of the ids from 1.
FACTORS = ("shape", "material", "size", "colour", "position", "scale", "orientation")


def factors_of(examples: Any) -> tuple[str, ...]:
    """Which of `FACTORS` the examples of a set have.

    Raises:
      ValueError: none.
    """
    example = examples[0]
    found = tuple(name for name in FACTORS if np.ndim(example.get(name, 0)) >= 2)
    if not found:
        raise ValueError("The set has no factors that it was drawn from; benchmarks.probe reads "
                         "some off its true masks.")
    return found


def objects_of(run: seen.Run, untrained: Any, split: str, count: int,
               size: int) -> probe.Objects:
    """All objects of a split's first images as both models find them, without specks.

    Args:
      run: the model.
      untrained: parameters of the same shapes that were never trained.
      split: of the set.
      count: images; 0: all.
      size: of a batch.
    """
    opened = pipeline.open_split(run.config.data, split)
    names = factors_of(opened.examples)
    features: dict[str, list] = {source: [] for source in SOURCES}
    factors: dict[str, list] = {name: [] for name in names}
    overlaps = []
    for batch in seen.batches(run.config, count, size, split, names):
        given = dict(video=batch["video"][:, None], index=batch["index"])
        found = {source: jax.device_get(probe.last_frame(run.model, 0, params, given))
                 for source, params in (("slots", run.params), ("untrained", untrained))}
        for i in np.flatnonzero(batch["valid"]):
            pairs = {source: {true: (slot, overlap) for true, slot, overlap in probe.match(
                batch["segmentation"][i], ids[i], slots.shape[1])}
                for source, (slots, ids) in found.items()}
            for true in sorted(set.intersection(*map(set, pairs.values()))):
                for source, (slots, _) in found.items():
                    features[source].append(slots[i, pairs[source][true][0]])
                for name in names:
                    factors[name].append(batch[name][i, true - 1])
                overlaps.append(pairs["slots"][true][1])
    if not overlaps:
        raise ValueError(f"No object is in view in the {split} split of {run.dataset!r}.")
    return probe.Objects({source: np.stack(rows) for source, rows in features.items()},
                         {name: as_told(name, np.stack(rows)) for name, rows in factors.items()},
                         np.asarray(overlaps))


def as_told(name: str, values: np.ndarray) -> np.ndarray:
    """A factor as probes tell it: whole numbers [N] are kinds, angles go round, others [N, .].

    Colours that are only ever the corners of the cube are kinds as well, as of tetrominoes.
    """
    if np.issubdtype(values.dtype, np.integer):
        return values
    if name == "colour" and np.isin(values, (0, 1)).all():
        return (values @ [4, 2, 1]).astype(int)
    if name == "orientation":
        return np.stack([np.sin(values), np.cos(values)], axis=-1)
    return values.reshape(len(values), -1)


def is_kind(values: np.ndarray) -> bool:
    return np.issubdtype(values.dtype, np.integer)


def scores_of(train: probe.Objects, test: probe.Objects) -> dict[str, dict[str, float]]:
    """Accuracy of kinds and R2 of numbers on held-out objects: of each source, and of nothing.

    "nothing" is the most frequent kind, or the mean. Factors of which there is one kind are left
    out.
    """
    found: dict[str, dict[str, float]] = {}
    with threadpoolctl.threadpool_limits(1):
        for name, values in train.factors.items():
            if is_kind(values) and len(np.unique(values)) < 2:
                continue
            make = (lambda: linear_model.LogisticRegression(max_iter=2000)) if is_kind(values) \
                else (lambda: linear_model.RidgeCV(probe.RIDGE))
            guess = dummy.DummyClassifier() if is_kind(values) else dummy.DummyRegressor()
            models = {source: (make(), source) for source in SOURCES} | {
                "nothing": (guess, SOURCES[0])}
            found[name] = {}
            for column, (model, source) in models.items():
                fitted = chain.make_pipeline(preprocessing.StandardScaler(), model)
                fitted.fit(train.features[source], values)
                found[name][column] = float(
                    fitted.score(test.features[source], test.factors[name]))
    return found


def make(flags: argparse.Namespace) -> Made:
    """Probes of a run.

    Raises:
      ValueError: see `factors_of`.
    """
    run = seen.load(flags.run, flags.step)
    untrained = jax.jit(run.model.init)(jax.random.key(run.config.seed + 1))
    train, test = (objects_of(run, untrained, split, count, flags.batch_size) for split, count in (
        (run.config.data.train_split, flags.train_images), ("test", flags.images)))
    kinds = [name for name, values in train.factors.items() if is_kind(values)]
    numbers = dict(dataset=run.dataset, run=run.name, step=run.step, kinds=kinds,
                   train_objects=len(train.overlap), test_objects=len(test.overlap),
                   overlap=float(test.overlap.mean()), scores=scores_of(train, test))
    picture = drawing.beside([drawing.bars(source, {
        name: max(0.0, found[source]) for name, found in numbers["scores"].items()})
        for source in (*SOURCES, "nothing")])
    return Made(place_of("probe", run.dataset), numbers, words_of(numbers), picture)


def words_of(numbers: dict[str, Any]) -> str:
    """A sentence, and a row a factor."""
    columns = (*SOURCES, "nothing")
    rows = [(name, "accuracy" if name in numbers["kinds"] else "R2",
             *(f"{found[column]:.3f}" for column in columns))
            for name, found in numbers["scores"].items()]
    return (f"{numbers['run']}, step {numbers['step']:,}, {numbers['dataset']}, test: "
            f"{numbers['test_objects']} objects, told by {numbers['train_objects']} of training; "
            f"mean overlap of an object with its slot's pixels {numbers['overlap']:.3f}."
            f"\n\n{step.table(('factor', '', *columns), rows)}")
