"""What a trained IODINE makes of images, iteration by iteration: what all experiments measure.

`IODINE.refine_image` keeps of its N + 1 posteriors what a run needs; here all that is asked of each
is kept, by the same methods in the same order. A test holds that the two agree.
"""

import functools
import pathlib
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import ml_collections
import numpy as np

from benchmarks.paper import clips
from parts_jax.data import pipeline, preprocess
from parts_jax.equations import component_likelihood, pixel_mixture, refinement
from parts_jax.equations.notation import Gaussian
from parts_jax.metrics import segmentation
from parts_jax.models import contract
from parts_jax.models.iodine import family, model
from parts_jax.models.restarts import leave_out
from parts_jax.runs import checkpoint

SCORES = {"fg_ari": "FG-ARI", "ari": "ARI", "fg_ari_assigned": "FG-ARI assigned",
          "ari_assigned": "ARI assigned", "mse": "MSE", "kl": "KL, nats"}
DIGITS = {"mse": 5, "kl": 1, "neg_elbo": 1, "nll": 1}  # of others: 3


class Run(NamedTuple):
    """A trained model of images.

    Attributes:
      name: of its folder.
      config: of the run; `module` and `model` are made of it.
      module: the linen module.
      model: the same by the contract of families.
      params: its parameters.
      step: of training.
    """

    name: str
    config: ml_collections.ConfigDict
    module: nn.Module
    model: contract.Model
    params: Any
    step: int

    @property
    def dataset(self) -> str:
        return self.config.data.name


class Trace(NamedTuple):
    """B images, and N + 1 posteriors of each, the first guess first.

    Attributes:
      mse, nll, kl, neg_elbo: [B, N+1], nats but for the first; the KL is summed over slots.
      ids: the slot of the greatest mask, uint8 [B, N+1, H, W].
      assigned: the slot that explains a pixel best, uint8 [B, N+1, H, W].
      recon: [B, N+1, H, W, 3].
      posterior: Gaussian of [B, N+1, K, D].
    """

    mse: np.ndarray
    nll: np.ndarray
    kl: np.ndarray
    neg_elbo: np.ndarray
    ids: np.ndarray
    assigned: np.ndarray
    recon: np.ndarray
    posterior: Gaussian


def load(workdir: str | pathlib.Path, step: int = checkpoint.NEWEST) -> Run:
    """Loads a run of IODINE on images.

    Raises:
      ValueError: it is of another family, or of sequences.
      FileNotFoundError: there is no such run or checkpoint.
    """
    trained = clips.load(workdir, step)
    c = trained.config.model
    if c.name != "iodine" or c.sequential:
        kind = "IODINE on sequences" if c.name == "iodine" else f"the family {c.name!r}"
        raise ValueError(f"{workdir} is a run of {kind}; these experiments are of IODINE on "
                         "images (config.model.name 'iodine', sequential False).")
    return Run(pathlib.Path(workdir).name, trained.config, family.build(trained.config),
               trained.model, trained.params, trained.step)


def load_all(workdirs: list[str], step: int = checkpoint.NEWEST) -> list[Run]:
    """Loads runs of one set, which are shown together.

    Raises:
      ValueError: see `load`; or they are of several sets, or resolutions.
    """
    runs = [load(workdir, step) for workdir in workdirs]
    kinds = sorted({f"{run.dataset} at {run.config.data.resolution}" for run in runs})
    if len(kinds) > 1:
        raise ValueError(f"The runs are of {', '.join(kinds)}; give those of one set at a time.")
    return runs


def on(run: Run, dataset: str) -> Run:
    """The same model, to be measured on another set of the same resolution."""
    config = run.config.copy_and_resolve_references().unlock()
    config.data.name, config.data.prepared = dataset, ""
    return run._replace(config=config)


def with_fewest_slots(run: Run, fewest: int | None) -> Run:
    """The same model, with restarts down to so many slots; None: as its config says."""
    if fewest is None:
        return run
    config = run.config.copy_and_resolve_references().unlock()
    config.model.fewest_slots = fewest
    return run._replace(config=config, module=family.build(config))


@functools.partial(jax.jit, static_argnums=0)
def _trace(module: nn.Module, params: Any, x: jax.Array, noise: jax.Array) -> Trace:
    """x [B, H, W, 3] in [0, 1], noise [B, N+1, K, D]."""
    def run(module: Any) -> Trace:
        networks = module.networks()

        def iterate(carry, noise):
            lambda_, memory = carry
            score = module.score(networks, lambda_, x, noise, model.IN_USE)
            update, memory = module.refinement_of(networks, lambda_, score, x, noise, memory)
            kept = _kept(module, lambda_, score, x)
            return (refinement.refine(lambda_, update), memory), kept

        first = contract.time_first(noise)
        return jax.lax.scan(iterate, module.start_of(networks, first[0]), first)[1]

    kept = module.apply({"params": params}, method=run)
    return jax.tree.map(contract.batch_first, kept)


def _kept(module: Any, lambda_: Gaussian, score: refinement.Score, x: jax.Array) -> Trace:
    """What is kept of one posterior of each image, [B, ...]."""
    mixture = score.mixture
    recon = pixel_mixture.mean(mixture)
    weights = component_likelihood.responsibilities(
        mixture, component_likelihood.component_log_density(
            mixture, x, module.sigma_x, module.likelihood))
    nll, kl = -jnp.sum(score.log_prob, (-2, -1)), jnp.sum(score.kl, -1)
    slot = lambda image: jnp.argmax(image, axis=-3).astype(jnp.uint8)
    return Trace(jnp.mean(jnp.square(recon - x), (-3, -2, -1)), nll, kl,
                 nll + module.beta_of(x) * kl, slot(mixture.mask_logits), slot(weights), recon,
                 module.posterior_of(lambda_))


def trace(run: Run, images: np.ndarray, keys: jax.Array, num_slots: int | None = None,
          num_iterations: int | None = None, restart: int = 0) -> Trace:
    """Refines images, numpy in and out.

    Args:
      run: the model.
      images: uint8 [B, H, W, 3], or floats in [0, 1].
      keys: of the noise, one an image, [B].
      num_slots, num_iterations: K, N; None: those of the config, in use.
      restart: from which noise, of models/restarts.py; 0: that of the config's first.
    """
    once = (num_iterations or run.config.model.test_iterations) + 1
    of_all = run.model.noise(keys, 1, num_slots, (restart + 1) * once - 1)[:, 0]
    noise = leave_out(of_all[:, restart * once:(restart + 1) * once], restart,
                      run.config.model.fewest_slots)
    x = preprocess.to_float(images) if images.dtype == np.uint8 else images
    return jax.device_get(_trace(run.module, run.params, jnp.asarray(x, jnp.float32), noise))


def keys_of(run: Run, index: np.ndarray) -> jax.Array:
    """The noise that evaluation gives the images of these positions in their split, [B]."""
    return contract.example_keys(jax.random.key(run.config.seed), index)


def batches(config: ml_collections.ConfigDict, count: int, size: int = 16, split: str = "test",
            cues: tuple[str, ...] = ()) -> Iterator[dict[str, np.ndarray]]:
    """The first images of a split with their true masks.

    Args:
      config: of a run.
      count: so many images; 0: all.
      size: of a batch; the last is filled up with images that are not `valid`.
      split: of the set.
      cues: of its further arrays.

    Yields:
      video uint8 [B, H, W, 3], segmentation uint8 [B, H, W], index and valid [B], cues [B, ...].

    Raises:
      ValueError: there is no such split, or the set has no true masks.
    """
    found = pipeline.eval_iterator(config.data, split, batch_size=size, num_sequences=count,
                                   cues=cues)
    for batch in found:
        if "segmentation" not in batch:
            raise ValueError(f"The data set {config.data.name!r} has no true masks to score by.")
        yield {name: value if name in ("index", "valid") else value[:, 0]
               for name, value in batch.items()}


def scores_of(found: Trace, true: np.ndarray) -> dict[str, np.ndarray]:
    """`SCORES` of every posterior of images: true uint8 [B, H, W] -> float64 [B, N+1] each."""
    count = found.mse.shape[1]
    ids = np.repeat(true.reshape(len(true), 1, -1), count, axis=1)
    flat = lambda labels: labels.reshape(len(labels), count, -1)
    result = {}
    for suffix, labels in (("", found.ids), ("_assigned", found.assigned)):
        result |= {f"fg_ari{suffix}": segmentation.fg_ari(ids, flat(labels)),
                   f"ari{suffix}": segmentation.ari(ids, flat(labels))}
    return result | {name: np.asarray(getattr(found, name), np.float64) for name in ("mse", "kl")}


def measure(run: Run, count: int, size: int = 16, num_slots: int | None = None,
            num_iterations: int | None = None, restarts: int = 1) -> dict[str, np.ndarray]:
    """`SCORES` of the first test images, [images, N+1] each, and `objects`, how many each has.

    Of several restarts an image's are those of the best, as models/restarts.py chooses it.
    """
    parts: list[dict[str, np.ndarray]] = []
    for batch in batches(run.config, count, size):
        made = [trace(run, batch["video"], keys_of(run, batch["index"]), num_slots, num_iterations,
                      restart) for restart in range(restarts)]
        best = np.argmin([found.nll[:, -1] + found.kl[:, -1] for found in made], axis=0)
        of_all = [scores_of(found, batch["segmentation"]) for found in made]
        scores = {name: np.stack([one[name] for one in of_all])[best, np.arange(len(best))]
                  for name in of_all[0]}
        scores["objects"] = np.asarray([np.count_nonzero(np.unique(ids))
                                        for ids in batch["segmentation"]])
        parts.append({name: values[batch["valid"]] for name, values in scores.items()})
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


def show(name: str, value: float) -> str:
    """A score as tables have it."""
    return f"{value:.{DIGITS.get(name, 3)}f}"


def mean_over(found: list[Mapping[str, np.ndarray]], name: str) -> np.ndarray:
    """A score's mean over runs: [images, ...]."""
    return np.mean([scores[name] for scores in found], axis=0)
