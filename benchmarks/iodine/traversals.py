"""Traversals: single numbers of one object's slot moved, the other slots left as they are."""

import argparse
import functools
from typing import Any, NamedTuple

import jax
import numpy as np

from benchmarks import probe, step
from benchmarks.iodine import seen
from benchmarks.iodine.writing import Made, place_of
from benchmarks.paper import draw
from parts_jax.equations.notation import Gaussian, Slots
from parts_jax.models import contract
from parts_jax.models.iodine import objective

MOVES = np.linspace(-2, 2, 9)
NUM_DIMS = 8


class Traversal(NamedTuple):
    """What becomes of a picture when numbers of a slot are moved by MOVES, M of them.

    Attributes:
      pictures: by number of the slot, those with most KL first: floats [M, H, W, 3].
      rows: of each number what `effect` says, and its `kl`, in nats.
      slot: which, from 0.
    """

    pictures: dict[int, np.ndarray]
    rows: dict[int, dict[str, float]]
    slot: int


@functools.partial(jax.jit, static_argnums=(0, 3))
def _decode(model: contract.Model, params: Any, z: jax.Array,
            size: tuple[int, int]) -> contract.View:
    return model.decode(params, Slots(z), size)


def image_of(run: seen.Run, index: int) -> dict[str, np.ndarray]:
    """An image of the test split: `video` [H, W, 3], `segmentation` [H, W], `index`.

    Raises:
      ValueError: there is no such image.
    """
    batch = {}
    for batch in seen.batches(run.config, index + 1):
        if index in batch["index"][batch["valid"]]:
            at = int(np.flatnonzero(batch["index"] == index)[0])
            return {name: batch[name][at] for name in ("video", "segmentation", "index")}
    raise ValueError(f"--image is {index}, but the test split of {run.dataset} has "
                     f"{int(batch['index'][batch['valid']].max()) + 1} images, counted from 0.")


def traverse(run: seen.Run, image: dict[str, np.ndarray]) -> Traversal:
    """Moves the numbers with most KL of the slot that overlaps its object most.

    Raises:
      ValueError: no object is in view.
    """
    found = seen.trace(run, image["video"][None], seen.keys_of(run, image["index"][None]))
    q = Gaussian(found.posterior.mean[0, -1], found.posterior.log_std[0, -1])  # [K, D]
    num_slots = q.mean.shape[0]
    pairs = probe.match(image["segmentation"], found.assigned[0, -1], num_slots)
    if not pairs:
        raise ValueError(f"Image {int(image['index'])} shows no object to traverse.")
    slot = max(pairs, key=lambda pair: pair[2])[1]
    kl = kl_by_number(q, run.config.model.posterior)[slot]
    dims = np.argsort(-kl)[:NUM_DIMS].tolist()
    z = np.repeat(q.mean[None], len(dims) * len(MOVES), axis=0)
    for i, dim in enumerate(dims):
        z[i * len(MOVES):(i + 1) * len(MOVES), slot, dim] += MOVES
    view = jax.device_get(_decode(run.model, run.params, z, image["video"].shape[:2]))
    split = lambda a: np.split(a, len(dims))
    pictures = dict(zip(dims, split(view.recon), strict=True))
    rows = {dim: dict(kl=float(kl[dim]), **effect(pictures[dim], masks[:, slot],
                                                  image["segmentation"]))
            for dim, masks in zip(dims, split(view.masks), strict=True)}
    return Traversal(pictures, rows, slot)


def kl_by_number(q: Gaussian, form: str) -> np.ndarray:
    """KL to the prior of every number of every slot, nats: Gaussian of [K, D] -> [K, D]."""
    alone = Gaussian(q.mean[..., None], q.log_std[..., None])
    return np.asarray(objective.kl_to_prior(alone, form))


def effect(pictures: np.ndarray, masks: np.ndarray, true: np.ndarray) -> dict[str, float]:
    """What a move from the first picture to the last changes.

    Args:
      pictures: floats [M, H, W, 3].
      masks: of the slot, [M, H, W].
      true: ids of the image, [H, W].

    Returns:
      `change`: mean absolute change of the picture; `objects`: how many objects share it, the
      exponential of the entropy of their shares, where a pixel is of the object with the nearest
      centre; and of the slot's mask `moved`, by how many pixels its centre, and `area`, the factor
      of its area.
    """
    change = np.abs(pictures[-1] - pictures[0]).mean(-1)
    y, x = np.mgrid[:true.shape[0], :true.shape[1]]
    centres = [np.argwhere(true == i).mean(0) for i in np.unique(true) if i]
    nearest = np.argmin([np.hypot(y - cy, x - cx) for cy, cx in centres], axis=0)
    shares = np.bincount(nearest.ravel(), change.ravel(), minlength=len(centres))
    shares = shares / max(shares.sum(), 1e-12)
    entropy = -np.sum(shares * np.log(np.maximum(shares, 1e-12)))
    areas = np.maximum(masks.sum((1, 2)), 1e-6)
    middle = np.stack([(masks * y).sum((1, 2)), (masks * x).sum((1, 2))], -1) / areas[:, None]
    return dict(change=float(change.mean()), objects=float(np.exp(entropy)),
                moved=float(np.hypot(*(middle[-1] - middle[0]))),
                area=float(areas[-1] / areas[0]))


def table(found: Traversal, alone: bool = False) -> str:
    """A row a number. `alone`: the one slot paints all, so its mask says nothing."""
    header = ("number", "KL, nats", "change of the picture", "objects that share it",
              *(() if alone else ("centre moves, pixels", "area, factor")))
    return step.table(header, [
        (f"{dim + 1}", f"{row['kl']:.2f}", f"{row['change']:.4f}", f"{row['objects']:.2f}",
         *(() if alone else (f"{row['moved']:.1f}", f"{row['area']:.2f}")))
        for dim, row in found.rows.items()])


def picture_of(found: Traversal, scale: int = 1) -> np.ndarray:
    """A row a number, a column a move."""
    rows = {f"number {dim + 1}": pictures for dim, pictures in found.pictures.items()}
    return draw.over_time(rows, range(len(MOVES)), [f"{move:+g}" for move in MOVES], scale)


def make(flags: argparse.Namespace) -> Made:
    """Of one image of the test split."""
    run = seen.load(flags.run, flags.step)
    found = traverse(run, image_of(run, flags.image))
    numbers = dict(dataset=run.dataset, run=run.name, step=run.step, image=flags.image,
                   slot=found.slot, numbers={dim + 1: row for dim, row in found.rows.items()})
    words = (f"{run.name}, step {run.step:,}, {run.dataset}, test, image {flags.image}: the "
             f"{len(found.rows)} numbers with most KL of slot {found.slot + 1}, which overlaps its "
             f"object most, moved by {MOVES[0]:g} to {MOVES[-1]:g} from the posterior's mean. From "
             "the first to the last column: mean absolute change of the picture; how many objects "
             "share it (the exponential of the entropy of their shares, each pixel counted for the "
             "object with the nearest centre); and what becomes of the slot's mask.")
    scale = max(1, 64 // run.config.data.resolution)
    return Made(place_of("traversals", run.dataset), numbers, f"{words}\n\n{table(found)}",
                picture_of(found, scale))
