"""A trained model for those who want to use it: numpy in, numpy out.

    import parts_jax
    model = parts_jax.load("runs/demo")
    result = model.segment(video)                          # video: [T, H, W, 3], uint8 or in [0, 1]
    future = model.predict(video, actions=None, num_steps=6)
    change = model.traverse(video, slot=0, dim=3, values=[-2, -1, 0, 1, 2])

A model of images takes [H, W, 3], or a batch [B, H, W, 3] of images each on its own; see images.py.

Deterministic: slots are alike before the first frame, and what tells them apart is the noise of
the sampled posterior (section 3.2), so that noise comes from a fixed seed, `seed=`, and the number
of the frame, the same for every clip. All that is returned is decoded at the posterior's mean; the
masks of a frame that was seen are its pixels' posterior, see masks.py. Another seed gives objects
to other slots. Each method is compiled once for each shape.
"""

import functools
import os
import warnings
from collections.abc import Sequence
from typing import Any

import jax
import ml_collections
import numpy as np

from parts_jax import models
from parts_jax.api import checks, images, inference, lengths, places, restarting, results
from parts_jax.api import masks as masks_of
from parts_jax.api.iterations import of_view
from parts_jax.api.results import Decoded, Prediction, Segmentation, Traversal
from parts_jax.data import preprocess
from parts_jax.equations.notation import Slots
from parts_jax.models import rules
from parts_jax.runs import checkpoint, configuration, shipped


def load(workdir_or_checkpoint: str | os.PathLike, step: int = -1,
         resolution: int | None = None) -> "PretrainedModel":
    """Loads a trained model.

    Args:
      workdir_or_checkpoint: a run's folder, or that of one checkpoint, such as
        runs/demo/checkpoints/6800; or the name of a model that comes with the package, "demo".
      step: which checkpoint of a workdir; -1: the newest; -2: the best.
      resolution: height and width of the frames that it is to be given; None: those of training.
        Parameters hold at any, and on larger frames masks are sharper.

    Raises:
      FileNotFoundError: there is no such folder, no run in it, or no such checkpoint.
      ValueError: config.json, the checkpoint, or its evaluation of long clips cannot be read; or
        that is no resolution.
    """
    checks.check_resolution(resolution)
    path = shipped.find_model(workdir_or_checkpoint)
    if not path.is_dir():
        raise FileNotFoundError(f"There is no folder {str(path)!r} to load a model from"
                                f"{shipped.names_hint(workdir_or_checkpoint)}.")
    if path.parent.name == checkpoint.FOLDER and path.name.isdecimal():
        if step not in (-1, int(path.name)):
            raise ValueError(f"{str(path)!r} is the checkpoint of step {path.name}, but step is "
                             f"{step}; give the workdir, or leave out step.")
        path, step = path.parent.parent, int(path.name)
    workdir = str(path)
    config = configuration.load(workdir)
    shape = jax.eval_shape(models.create(config).init, jax.random.key(0))
    params, step = checkpoint.restore_params(workdir, shape, step)
    tested = lengths.find(path, config, step)
    if resolution is not None:
        config = config.copy_and_resolve_references()
        config.data.resolution = int(resolution)
    return PretrainedModel(config, params, step, tested)


class PretrainedModel:
    """A model with its parameters. No file is needed any more.

    Args:
      config: of the run; `config.data.resolution` is the height and width of frames.
      params: parameters, as `checkpoint.restore_params` returns them.
      step: of training.
      tested: how long a video may be; None: as long as the clips of training.

    Attributes:
      takes_images: whether it looks at each image on its own; images.py says which models do.
    """

    def __init__(self, config: ml_collections.ConfigDict, params: Any, step: int,
                 tested: lengths.Tested | None = None):
        self.config, self.step = config, step
        self._params = jax.device_put(params)
        # Unrolling speeds gradients up, which are not taken here, and doubles the time to compile.
        config = config.copy_and_resolve_references().unlock()
        config.train.unroll = 1
        self.model = model = models.create(config)
        self.takes_images = images.are_taken(config, model)
        tested = tested or lengths.of_training(config)
        self.tested = lengths.EACH_ALONE if self.takes_images else tested
        self._segment = jax.jit(functools.partial(inference.segment, model),
                                static_argnames=("num_slots", "num_iterations"))
        self._roll_out = jax.jit(functools.partial(inference.roll_out, model),
                                 static_argnames=("resolution", "num_slots"))
        self._assign = jax.jit(functools.partial(inference.assign, model))
        self._decode = jax.jit(functools.partial(inference.decode, model), static_argnums=2)

    def __repr__(self) -> str:
        c = self.config
        return (f"PretrainedModel({c.model.name} of {c.data.name}, step {self.step}, "
                f"{self.resolution}x{self.resolution}, {self.num_slots} slots, actions of size "
                f"{c.data.action_size})")

    @property
    def resolution(self) -> int:
        """Height and width of the frames that it takes: of training, or as `load` was told."""
        return self.config.data.resolution

    @property
    def num_slots(self) -> int:
        """K of training."""
        return self.model.num_slots

    @property
    def can_predict(self) -> bool:
        """Whether the family predicts frames that are not seen."""
        return self.model.predict is not None

    @property
    def can_assign(self) -> bool:
        """Whether the family assigns the pixels of a frame that it has seen to slots."""
        return self.model.assign is not None

    @property
    def slot_size(self) -> int | None:
        """D; None if the family has no slots that could be read, traversed or made up."""
        return self.model.slot_size

    def resize(self, video: np.ndarray, crop: str = "center") -> np.ndarray:
        """Brings a video of any size to the model's resolution.

        Args:
          video: uint8 [T, H, W, 3]; or an image, [H, W, 3], which stays one.
          crop: "center": the largest square in the middle; "none": all, squeezed to a square;
            "pad": all, made a square by repeating the pixels at its edge.

        Returns:
          uint8 [T, resolution, resolution, 3].

        Raises:
          ValueError: it is no such video, or no such crop.
        """
        return places.fit(video, crop, self.resolution)

    def fit(self, video: np.ndarray, crop: str = "center") -> np.ndarray:
        """The name that `resize` had; it goes with the next version."""
        warnings.warn("PretrainedModel.fit is called resize now, as it trains nothing; this name "
                      "goes with the next version.", FutureWarning, stacklevel=2)
        return self.resize(video, crop)

    def segment(self, video: np.ndarray, actions: np.ndarray | None = None,
                num_slots: int | None = None, *, seed: int = 0,
                after: Segmentation | None = None, restart_every: int | None = None,
                cues: dict[str, np.ndarray] | None = None, masks: str | None = None,
                num_iterations: int | None = None) -> Segmentation:
        """Splits every frame of a video, of one frame or more, into slots; or images.

        Args:
          video: one clip [T, H, W, 3] or a batch [B, T, H, W, 3], uint8, or floats in [0, 1]. For
            a model of images (`takes_images`) an image [H, W, 3] or a batch [B, H, W, 3], each
            split as it would be alone, with results without T; or clips [B, T, H, W, 3] of such.
          actions: [T, A] or [B, T, A], actions[t] taken between frame t and t+1; None for a model
            without actions.
          num_slots: K; None: that of training.
          seed: of the noise; see the top of this file.
          after: goes on from the end of an earlier part of the same video, with the same numbers
            as if both parts had been given at once.
          restart_every: no state sees more frames than that: a new one sees the last three before
            once more, and slots keep their numbers by overlap. None: one state sees them all, with
            a `lengths.LengthWarning` where these are more than the checkpoint was tested for.
          cues: what else the family reads, by name, [T, ...] or [B, T, ...] each; None: nothing.
          masks: "assigned": p(k | x_i, z), which slot explains each pixel of the frame, see
            masks.py; "decoder": the decoder's own, after refinement, softer and rounder. None:
            assigned, or decoder if the family cannot assign (`can_assign`).
          num_iterations: N, how often each frame is refined, in place of that of training; for
            families that take any (`model.num_iterations`), whose results have `iterations`.

        Raises:
          ValueError: an argument is not as said.
        """
        checks.check_restart(restart_every, after)
        common: dict[str, Any] = dict(
            num_slots=num_slots, seed=seed, kind=self.check_masks(masks),
            num_iterations=checks.choose_num_iterations(
                num_iterations, self.model.num_iterations, self.config.model.name))
        if self.takes_images:
            images.check_alone(after, restart_every)
            video = checks.check_video(video, self.resolution, images=True)
            return images.without_time(self._segment_part(
                *images.as_clips(video, cues), actions, **common), video.ndim)
        if restart_every:
            if self._check_input(video, actions, 0)[0].shape[1] > restart_every:
                self.tested.warn(0, restart_every, stacklevel=2)
                return restarting.segment(
                    lambda *part: self._segment_part(part[0], part[2], part[1], **common),
                    np.asarray(video), None if actions is None else np.asarray(actions),
                    cues and checks.batched(cues, False), restart_every)
        result = self._segment_part(video, cues, actions, after=after, **common)
        self.tested.warn(after.num_frames if after else 0, result.num_frames, stacklevel=2)
        return result

    def _segment_part(self, video: np.ndarray, cues: dict[str, np.ndarray] | None,
                      actions: np.ndarray | None, *, num_slots: int | None, seed: int, kind: str,
                      num_iterations: int | None, after: Segmentation | None = None
                      ) -> Segmentation:
        """As `segment`, of one state."""
        video, actions, single = self._check_input(video, actions, 0)
        cues = checks.batched(cues, single)
        slots = checks.choose_num_slots(num_slots, self.num_slots)
        checks.check_seed(seed)
        if after is None:
            state = jax.tree.map(np.asarray, self.model.start(len(video), slots))
            first, start = np.zeros_like(actions[:, 0]), 0
        else:
            state, first, slots = checks.continue_after(after, len(video), num_slots, single)
            start = after.num_frames
        previous = np.concatenate([first[:, None], actions[:, :-1]], axis=1)
        frames = preprocess.to_float(video)
        numbers = (not self.takes_images) * np.arange(start, start + frames.shape[1])
        latents, view, before, step = self._segment(self._params, state, frames, previous, cues,
                                                    seed, numbers, slots, num_iterations)
        if kind == masks_of.ASSIGNED:
            view = view._replace(masks=self._assign(view, frames))
        posterior, before, maps, state, last, video, iterations, boxes = results.as_numpy(
            (_posterior(latents), before, step.maps, step.state, actions[:, -1], video,
             of_view(step.iterations), view.boxes), single)
        return Segmentation(
            video=video, posterior=posterior, maps=maps, state=state, last_action=last,
            segmentation=masks_of.ids(view, single), num_frames=start + previous.shape[1],
            masks_are=kind, predicted_masks=before, iterations=iterations, boxes=boxes,
            **masks_of.shown(view, single))

    def predict(self, video: np.ndarray, actions: np.ndarray | None, num_steps: int,
                num_slots: int | None = None, *, seed: int = 0,
                cues: dict[str, np.ndarray] | None = None,
                masks: str | None = None) -> Prediction:
        """Looks at a video, then predicts the frames that follow by the transition alone.

        Pixels of frames that were not seen cannot be assigned: their masks are the decoder's.

        Args:
          video: the frames to look at ("burn-in"), as for `segment`.
          actions: [T + num_steps, A], or a batch of that, of the frames given and those to come;
            the last one changes nothing. None for a model without actions.
          num_steps: how many frames to predict, 1 or more.
          num_slots, seed, cues, masks: as for `segment`; cues and masks are of the frames to look
            at, `Prediction.seen`.

        Raises:
          ValueError: an argument is not as said, or the family of the model cannot predict.
        """
        if not self.can_predict:
            raise ValueError(f"Models of the family {self.config.model.name!r} predict no frames; "
                             "segment(video) is what they do.")
        if not rules.is_whole(num_steps) or num_steps < 1:
            raise ValueError(f"num_steps is {num_steps!r}, but must be a whole number, 1 or more.")
        video, actions, single = self._check_input(video, actions, num_steps)
        burn_in = video.shape[1]
        given = actions[:, :burn_in] if self.config.data.action_size else None
        seen = self.segment(video, given, num_slots, seed=seed,
                            cues=checks.batched(cues, single), masks=masks)
        latents, view = self._roll_out(
            self._params, seen.state, actions[:, burn_in - 1:-1], (seed, burn_in),
            resolution=video.shape[2:4], num_slots=seen.masks.shape[2])
        seen, posterior = results.as_numpy((seen, _posterior(latents)), single)
        return Prediction(
            seen=seen, posterior=posterior, segmentation=masks_of.ids(view, single),
            **masks_of.shown(view, single))

    def traverse(self, video: np.ndarray, slot: int | None, dim: int, values: Sequence[float],
                 actions: np.ndarray | None = None, num_slots: int | None = None, *,
                 seed: int = 0, cues: dict[str, np.ndarray] | None = None) -> Traversal:
        """Changes one number of a slot of the last frame and decodes what comes of it.

        No frame was seen that looks like that, so masks are the decoder's.

        Args:
          video, actions, num_slots, seed, cues: as for `segment`.
          slot: which slot, from 0; None: all slots at once.
          dim: which of its D numbers, from 0.
          values: what that number becomes, one picture each; the prior has mean 0 and standard
            deviation 1.

        Raises:
          ValueError: slot or dim do not exist, values are not finite numbers, or the family of the
            model has no slots to change.
        """
        size = self._check_has_slots("traverse")
        slots = checks.choose_num_slots(num_slots, self.num_slots)
        checks.check_index("slot", slot, slots, "; None changes all slots at once",
                           none_allowed=True)
        checks.check_index("dim", dim, size)
        values = checks.check_values(values)
        seen = self.segment(video, actions, num_slots, seed=seed, cues=cues)
        mean, single = results.last_slots(seen)
        z = np.repeat(mean[:, None], len(values), axis=1)  # [B, V, K, D]
        z[:, :, slice(None) if slot is None else slot, dim] = (
            np.reshape(values, (-1, 1)) if slot is None else values)
        view = self._decode(self._params, Slots(z), seen.masks.shape[-2:])
        return Traversal(**masks_of.shown(view, single), values=values, slot=slot, dim=dim)

    def decode(self, slots: np.ndarray) -> Decoded:
        """Decodes slots of any origin; masks are the decoder's.

        Args:
          slots: finite numbers, [T, K, D] or [B, T, K, D]; or of one frame, [K, D].

        Returns:
          Masks, picture and slots' pictures, as numpy arrays with the same leading axes.

        Raises:
          ValueError: they are no such numbers, or the family of the model has no slots.
        """
        size, slots = self._check_has_slots("decode"), np.asarray(slots, np.float32)
        if slots.ndim not in (2, 3, 4) or slots.shape[-1] != size or not np.isfinite(slots).all():
            raise ValueError(f"Slots must be finite numbers of shape [K, {size}], [T, K, {size}] "
                             f"or [B, T, K, {size}]; got shape {list(slots.shape)}.")
        given = slots.reshape((1,) * (4 - slots.ndim) + slots.shape)
        view = self._decode(self._params, Slots(given), (self.resolution,) * 2)
        decoded = Decoded(**masks_of.shown(view, single=slots.ndim < 4))
        return jax.tree.map(lambda a: a[0], decoded) if slots.ndim == 2 else decoded

    def check_masks(self, masks: str | None) -> str:
        """The kind of masks that `segment(video, masks=masks)` gives; raises as it does."""
        return masks_of.choose(masks, self.can_assign, self.config.model.name)

    def _check_has_slots(self, what: str) -> int:
        """Returns D; raises a ValueError if there is none."""
        if self.slot_size is None:
            raise ValueError(f"{what} is for models whose latents are slots; those of the family "
                             f"{self.config.model.name!r} are not.")
        return self.slot_size

    def _check_input(self, video: np.ndarray, actions: np.ndarray | None,
                     num_steps: int) -> tuple[np.ndarray, np.ndarray, bool]:
        return checks.check_clip(video, actions, num_steps, self.resolution,
                                 self.config.data.action_size)


def _posterior(latents: Any) -> Any:
    return latents.posterior if isinstance(latents, Slots) else None
