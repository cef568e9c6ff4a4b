"""IODINE on sequences (appendix B.4): one frame an iteration, and the next frame in the loss."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from parts_jax.equations import gaussian, refinement
from parts_jax.equations.notation import Gaussian, Slots
from parts_jax.models import signs
from parts_jax.models.contract import Clip, Step, batch_first, time_first, view_of
from parts_jax.models.iodine.model import IN_USE, IODINE, Networks, Scales

STAGES = ("predicted", "refined")


class SequenceState(NamedTuple):
    """What is carried from frame to frame.

    Attributes:
      posterior: lambda, Gaussian of [B, K, D]; before the first frame it is not read.
      memory: the LSTM's (c, h), [B, K, lstm_size] each; () without one.
      frame: how many frames were seen, [B].
    """

    posterior: Gaussian
    memory: Any
    frame: jax.Array


class SequentialIODINE(IODINE):
    """The same networks, which go on from the last frame's posterior in place of the learned one.

    The posterior that saw frames before t is decoded and scored by frame t, which is the
    prediction in the loss, and refined by that frame. An image model's parameters may be used so
    without being trained so: paper 003 calls this SEQ-IODINE.

    Attributes:
      num_frames: T of the data, from which weights of the loss are had: t / (T - 1), so that the
        first frame, of which nothing is known, has none.
    """

    num_frames: int = 2

    def __call__(self, clip: Clip, state: SequenceState, scales: Scales = IN_USE,
                 clamp: float = 0.0) -> tuple[jax.Array, Step]:
        """Infers the slots of every frame, one after the other.

        Args:
          clip: video [B, T, H, W, 3]; noise [B, T, 1, K, D].
          state: where to go on from.
          scales: factors of beta and of sigma_x.
          clamp: bound of gradients by lambda and of updates; 0: none.

        Returns:
          The mean over batch and frames of w_t L^(t), in nats; and a `Step`: metrics and latents
          of the stages "predicted", before a frame was seen, and "refined".
        """
        networks = self.networks()
        frames = jax.tree.map(time_first, (clip.video, clip.noise, clip.pixels))

        def step(state, frame):
            return self.infer_frame(networks, state, *frame, scales, clamp)

        state, (losses, *outputs) = jax.lax.scan(
            step, state, frames, unroll=min(self.unroll, clip.video.shape[1]))
        loss = jnp.sum(losses) / (clip.video.shape[0] * clip.video.shape[1])
        latents, metrics, views = jax.tree.map(batch_first, outputs)
        return loss, Step(state, latents, metrics, {}, views)

    def infer_frame(self, networks: Networks, state: SequenceState, x: jax.Array,
                    noise: jax.Array, pixels: Any, scales: Scales,
                    clamp: float) -> tuple[SequenceState, tuple]:
        """One frame: sample, decode, score, refine once.

        Args:
          networks, pixels, scales: as in `IODINE.refine_image`.
          state: after frame t-1.
          x: frame t in [0, 1], [B, H, W, 3].
          noise: epsilon, [B, 1, K, D].
          clamp: as in `__call__`.
        """
        x, noise = x if pixels is None else pixels, noise[:, 0]
        first = state.frame[:, None, None] == 0
        start, _ = self.start_of(networks, noise)
        lambda_ = jax.tree.map(lambda new, old: jnp.where(first, new, old), start, state.posterior)
        score = self.score(networks, lambda_, x, noise, scales)
        update, memory = self.refinement_of(
            networks, lambda_, score, x, noise, state.memory, scales, clamp)
        refined = refinement.refine(lambda_, update)

        # All clips of a stretch are as far as each other, so the weight is one for the batch.
        weight = jnp.max(state.frame) / max(1, self.num_frames - 1)
        q, seen = self.posterior_of(lambda_), self.posterior_of(refined)
        latents = dict(predicted=Slots(gaussian.sample(q, noise), q),
                       refined=Slots(seen.mean, seen))
        frame = x if pixels is None else pixels.colours
        metrics = signs.frame_metrics(q, score, frame, None, self.beta_of(frame) * scales.beta)
        return (SequenceState(refined, memory, state.frame + 1),
                (weight * score.loss, latents, metrics, dict(predicted=view_of(score.mixture))))

    def initial_state(self, batch_size: int, num_slots: int | None = None) -> SequenceState:
        """Before the first frame; the learned posterior takes the place of these zeros in it."""
        shape = (batch_size, num_slots or self.num_slots)
        zeros, size = jnp.zeros((*shape, self.slot_size)), self.refiner.lstm_size
        hidden = jnp.zeros((*shape, size))
        return SequenceState(Gaussian(zeros, zeros), (hidden, hidden) if size else (),
                             jnp.zeros(batch_size))
