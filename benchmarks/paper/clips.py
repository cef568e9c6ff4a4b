"""What a trained model makes of one clip: what figures are drawn of."""

import functools
import pathlib
from typing import Any, NamedTuple

import jax
import ml_collections
import numpy as np

from parts_jax import models
from parts_jax.api import inference
from parts_jax.data import pipeline, preprocess
from parts_jax.equations import gaussian
from parts_jax.models import contract
from parts_jax.models.contract import Model
from parts_jax.runs import checkpoint, configuration, shipped


class Trained(NamedTuple):
    """A model of any family with its parameters, as a run left it."""

    config: ml_collections.ConfigDict
    model: Model
    params: Any
    step: int


class Seen(NamedTuple):
    """Of a clip of T frames, numpy arrays.

    Attributes:
      metrics: what the family tells of each frame, [T] each.
      recon: of each stage, [T, H, W, 3].
      masks: of each stage, [T, K, H, W].
      maps: what else it shows, [T, K, H, W] each.
      kl: of the last stage's posterior to N(0, I), summed over slots, [T]; None: it has none.
    """

    metrics: dict[str, np.ndarray]
    recon: dict[str, np.ndarray]
    masks: dict[str, np.ndarray]
    maps: dict[str, np.ndarray]
    kl: np.ndarray | None


def load(workdir: str | pathlib.Path, step: int = checkpoint.NEWEST) -> Trained:
    """Loads a run's model.

    Raises:
      FileNotFoundError: there is no such run or checkpoint.
      ValueError: it cannot be read.
    """
    folder = shipped.find_model(workdir)
    if not folder.is_dir():
        raise FileNotFoundError(f"There is no folder {str(folder)!r} of a run.")
    config = configuration.load(str(folder)).copy_and_resolve_references().unlock()
    if "unroll" in config.train:
        config.train.unroll = 1  # as parts_jax.load: nothing is differentiated by time here
    model = models.create(config)
    shape = jax.eval_shape(model.init, jax.random.key(0))
    return Trained(config, model, *checkpoint.restore_params(str(folder), shape, step))


def of_split(config: ml_collections.ConfigDict, index: int,
             split: str = "test") -> dict[str, np.ndarray]:
    """One clip of a split: video uint8 [T, H, W, 3], and what else the pipeline gives of it.

    Raises:
      ValueError: the split has no such clip.
    """
    opened = pipeline.open_split(config.data, split)
    if not 0 <= index < len(opened.examples):
        raise ValueError(f"--clip is {index}, but the {split} split of {config.data.name} has "
                         f"{len(opened.examples)} clips, counted from 0.")
    return _clips(config, [opened.examples[index]], opened.fewest_frames)[0]


def first_of_split(config: ml_collections.ConfigDict, count: int,
                   split: str = "test") -> list[dict[str, np.ndarray]]:
    """The first clips of a split, or all where there are fewer, each as of `of_split`."""
    opened = pipeline.open_split(config.data, split)
    count = min(count, len(opened.examples))
    return _clips(config, [opened.examples[i] for i in range(count)], opened.fewest_frames)


def _clips(config: ml_collections.ConfigDict, examples: list,
           fewest_frames: int) -> list[dict[str, np.ndarray]]:
    """Examples as the pipeline gives them, each by itself."""
    batches = pipeline.eval_iterator(config.data, pipeline.Split(examples, fewest_frames),
                                     batch_size=1, action_size=config.data.action_size)
    return [{name: np.asarray(value)[0] for name, value in next(batches).items()}
            for _ in examples]


def still(clip: dict[str, np.ndarray], num_frames: int) -> dict[str, np.ndarray]:
    """The first frame of a clip again and again, with actions of zero."""
    found = {name: np.repeat(clip[name][:1], num_frames, axis=0)
             for name in ("video", "segmentation", "actions") if name in clip}
    if "actions" in found:
        found["actions"] = np.zeros_like(found["actions"])
    return found


@functools.partial(jax.jit, static_argnums=(0, 1))
def _see(model: Model, action_size: int, params: Any, batch: dict) -> dict[str, Any]:
    keys = contract.example_keys(jax.random.key(0), np.arange(1))
    clip = inference.clip_of(model, batch, keys, action_size)
    step = inference.see(model, params, model.start(1, None), clip)
    size = batch["video"].shape[2:4]
    views = {stage: inference.decode(model, params, latents, size)
             for stage, latents in step.latents.items()}
    posterior = getattr(step.latents[model.stages[-1]], "posterior", None)
    kl = None if posterior is None else gaussian.kl_to_standard_normal(posterior).sum(-1)
    return dict(metrics=step.metrics, maps=step.maps, kl=kl,
                recon={stage: view.recon for stage, view in views.items()},
                masks={stage: view.masks for stage, view in views.items()})


def see(trained: Trained, clip: dict[str, np.ndarray]) -> Seen:
    """Shows a model a clip, frame by frame.

    Args:
      trained: from `load`.
      clip: video uint8 [T, H, W, 3] and, if the model acts, actions [T, A].
    """
    batch = {"video": preprocess.to_float(clip["video"])[None]}
    size = trained.config.data.action_size
    if size:
        batch["actions"] = clip["actions"][None]
    found = jax.device_get(_see(trained.model, size, trained.params, batch))
    return Seen(**jax.tree.map(lambda a: np.asarray(a)[0], found))
