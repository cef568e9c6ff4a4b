"""The 2D-LSTM model: spatio-temporal iterative inference on a grid of frames and refinements.

Read from `GridLSTM.__call__`: the whole grid is one `jax.lax.scan` over its cells, so that the
compiled program is of one size whatever T and R, while it computes R^2 / 2 + T cells. What each
cell does is `GridLSTM.visit`.
"""

from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
from flax import struct

from parts_jax.equations import gaussian, pixel_mixture, refinement
from parts_jax.equations.notation import Gaussian, PixelMixture, Pixels
from parts_jax.models import signs
from parts_jax.models.contract import Clip, Step, batch_first, time_first, view_of
from parts_jax.models.grid_lstm import grid, inputs, objective
from parts_jax.models.grid_lstm.lstm import Memory
from parts_jax.models.schedules import IN_USE, Scales
from parts_jax.networks.functions import Function, as_function

STAGES = ("predicted", "refined")
STARTS = ("learned", "carried", "moved", "prior")
SAMPLES = ("fresh", "once")
REPORTS = ("refined", "scored", "scored_mean")
WEIGHTS = ("of_all", "of_frame")


@struct.dataclass
class Latents:
    """What a frame is decoded from: z, [B, K, D], and h_{t-1}, the temporal state, [B, K, S]."""

    z: jax.Array
    h: jax.Array


@struct.dataclass
class GridState:
    """What is carried from cell to cell, and from stretch to stretch.

    Attributes:
      posterior: lambda, Gaussian of [B, K, D]; before the first frame it is not read.
      memory: after the last refinement, [B, K, S] each; zeros before the first frame.
      time: of the frame before this one, the same.
      z: the sample of the first frame that "once" uses again, [B, K, D].
      frame: how many frames were seen, int32 [B]; of a batch all the same.
    """

    posterior: Gaussian
    memory: Memory
    time: Memory
    z: jax.Array
    frame: jax.Array


class Networks(NamedTuple):
    """The networks as plain functions, and the learned lambda."""

    decoder: Function
    prior: Function
    refiner: Function
    motion: Function | None
    start: Gaussian


class GridLSTM(nn.Module):
    """The model. No parameter's shape depends on T, R, K, H or W: all but R are free at call time.

    Attributes:
      decoder, prior, refiner, motion: see networks.py; motion is None but for one kind of start.
      num_slots: K of `start` and noise where no other is asked for.
      slot_size: D.
      num_refinements: R.
      least_refinements: of a frame; see grid.py.
      refine_first_fully: the first frame's last decoding is refined, too; not in the authors' code.
      conditional: decoder and prior are given h_{t-1}, (5) and (6); else the prior is N(0, I).
      prior_form: what the prior's numbers are, see `objective.prior_of`.
      likelihood: form and scale.
      spread: see `objective.posterior`.
      loss_scale, beta, entropy: weights, see `objective.make_objective`; beta is of a frame of
        `beta_pixels` pixels, in proportion for others.
      start: lambda_{t,1}. "learned": the same numbers in every frame, as in the authors' code;
        "carried": what the frame before ended with; "moved": that, its mean moved by `motion` of
        h_{t-1}, so that no refinement has to be ahead of its frame; "prior": that of p(z_t | ...).
      samples: "fresh" noise for every decoding; or "once", as in the authors' code: what a frame
        decodes first is one sample of the first's start; lambda_{t,1} gets the KL's gradient alone.
      reported: latents of the stage "refined": the mean of q after the last refinement, "refined";
        the last sample that was scored, "scored", as in the authors' code; or its mean,
        "scored_mean", as what comes later is scored in the next frame alone, and may be ahead.
      weights: of a frame's r-th decoding: r / R of the config, "of_all", or of the frame.
      mask_posterior, mask_gradient, corners: see `inputs.images`.
      through_decoder: gradients go through what the refiner sees of the decoded frame, at the cost
        of a second decoding, as in the authors' code; else that is a constant for it.
      predicted_size: H = W of the pictures that are fed back where frames are predicted.
      unroll: of the scan over cells.
      examples_at_once: how many examples are decoded at a time; see `refinement.score`.
    """

    decoder: nn.Module
    prior: nn.Module
    refiner: nn.Module
    motion: nn.Module | None
    num_slots: int
    slot_size: int
    num_refinements: int
    least_refinements: int
    refine_first_fully: bool
    conditional: bool
    prior_form: str
    likelihood: inputs.Likelihood
    spread: objective.Spread
    loss_scale: float
    beta: float
    beta_pixels: int
    entropy: float
    start: str
    samples: str
    reported: str
    weights: str
    mask_posterior: str
    mask_gradient: str
    corners: bool
    through_decoder: bool
    predicted_size: int
    unroll: int = 1
    examples_at_once: int = 0

    def setup(self):
        # U(-0.5, 0.5), the paper's appendix C.
        draw = lambda key, shape: jax.random.uniform(key, shape, minval=-0.5, maxval=0.5)
        self.start_mean = self.param("start_mean", draw, (self.slot_size,))
        self.start_log_variance = self.param("start_log_variance", draw, (self.slot_size,))

    # ---- The grid ---------------------------------------------------------------------------

    def __call__(self, clip: Clip, state: GridState,
                 scales: Scales = IN_USE) -> tuple[jax.Array, Step]:
        """Infers the slots of every frame, cell after cell.

        Args:
          clip: video [B, T, H, W, 3]; noise [B, T, R, K, D].
          state: where to go on from.
          scales: factors of beta and of sigma_x.

        Returns:
          The mean over batch and frames of a frame's summed losses; and a `Step`: latents of the
          stages, "predicted", before it is seen, and "refined"; metrics of its last decoding.
        """
        networks, num_frames = self.networks(), clip.video.shape[1]
        frames = jax.tree.map(time_first, (clip.video, clip.pixels, clip.noise))
        seen = jnp.max(state.frame)  # before this stretch; all of a batch are as far as each other
        of_frame = grid.cells_of_frame(seen + jnp.arange(num_frames), self.num_refinements,
                                       self.least_refinements)
        frame, index, first = grid.cells(num_frames, self.num_refinements, self.least_refinements)

        def cell(state, place):
            i, r = place
            x, pixels, noise = jax.tree.map(lambda a: a[i], frames)
            visit = lambda state: self.visit(
                networks, state, x if pixels is None else pixels, noise[:, r], seen + i, r,
                of_frame[i], scales)
            # A later stretch has fewer cells than are listed; those there are not cost nothing.
            nothing = lambda state: (state, grid.zeros_like_those_of(visit, state))
            return jax.lax.cond(r < of_frame[i], visit, nothing, state)

        state, (losses, *found) = jax.lax.scan(
            cell, state, (frame, index), unroll=max(1, min(self.unroll, len(frame))))
        loss = jnp.sum(losses) / (clip.video.shape[0] * num_frames)
        latents, reported, metrics, view = found
        last = first + of_frame - 1
        at = lambda tree, cells: jax.tree.map(lambda a: batch_first(a[cells]), tree)
        return loss, Step(
            state.replace(frame=state.frame + num_frames),
            dict(predicted=at(latents, first), refined=at(reported, last)), at(metrics, last), {},
            dict(predicted=at(view, first)))

    def visit(self, networks: Networks, state: GridState, x: jax.Array | Pixels, noise: jax.Array,
              t: jax.Array, r: jax.Array, count: jax.Array,
              scales: Scales) -> tuple[GridState, tuple]:
        """One cell: sample, decode, score, refine, equation (4).

        Args:
          networks: as functions.
          state: after the cell before.
          x: frame t, [B, H, W, 3], or `Pixels` of it.
          noise: epsilon, [B, K, D].
          t: number of the frame, from 0.
          r: of the refinement, from 0.
          count: of the frame's refinements.
          scales: factors of beta and of sigma_x.

        Returns:
          The state after it; and its weighted loss, summed over the batch, `Latents` that were
          scored and those that are `reported`, metrics [B], `View`.
        """
        state = self.begin(networks, state, noise, t, r)
        context, drawn = self.context_of(networks, state), self.noise_of(noise, r)
        frame, place = (x.colours, (x.place,)) if isinstance(x, Pixels) else (x, ())
        beta = self.beta * frame.shape[1] * frame.shape[2] / self.beta_pixels * scales.beta
        likelihood = self.likelihood._replace(scale=self.likelihood.scale * scales.sigma)
        weights = jnp.stack([jnp.asarray(value, frame.dtype) for value in (beta, likelihood.scale)])

        def decode(decoder_params, z, h, *place):
            return networks.decoder.with_params(decoder_params)(z, h, frame.shape[1:3], *place)

        score = refinement.score(
            objective.make_objective(decode, likelihood.form, self.spread, self.entropy,
                                     self.loss_scale),
            networks.decoder.params, state.posterior, x, drawn, weights, self.examples_at_once,
            context)
        z = objective.sample(state.posterior, self.spread, context, drawn)
        mixture = (networks.decoder(z, context.h, frame.shape[1:3], *place)
                   if self.through_decoder else score.mixture)
        images = self.images_of(mixture, frame, likelihood, *place)
        update, memory = networks.refiner(images, state.posterior, score.gradient, state.time,
                                          state.memory)
        after = state.replace(posterior=refinement.refine(state.posterior, update), memory=memory)
        if not self.refine_first_fully:
            after = _where((t == 0) & (r == count - 1), state, after)

        q, seen = (objective.posterior(lambda_, self.spread)
                   for lambda_ in (state.posterior, after.posterior))
        weight = (r + 1) / (self.num_refinements if self.weights == "of_all" else count)
        shown = {"refined": seen.mean, "scored": z, "scored_mean": q.mean}[self.reported]
        return after, (weight * score.loss, Latents(z, state.time.h),
                       Latents(shown, state.time.h),
                       signs.frame_metrics(q, score, frame, None, beta), view_of(score.mixture))

    def begin(self, networks: Networks, state: GridState, noise: jax.Array, t: jax.Array,
              r: jax.Array) -> GridState:
        """A frame's first cell hands the memory on over time, and starts from lambda_{t,1}."""
        begun = self.begin_frame(networks, state, t == 0)
        if self.samples == "once":
            z = gaussian.sample(objective.posterior(begun.posterior, self.spread), noise)
            begun = begun.replace(z=jnp.where(t == 0, z, state.z))
        return _where(r == 0, begun, state)

    def begin_frame(self, networks: Networks, state: GridState,
                    is_first: jax.Array | bool) -> GridState:
        """Before a frame is seen: time has the last memory, refinement none, lambda its start."""
        zeros = jnp.zeros_like(state.z)  # of the device whose examples these are
        learned = jax.tree.map(lambda numbers: jnp.expand_dims(numbers, (0, 1)) + zeros,
                               networks.start)
        if self.start == "carried":
            lambda_ = _where(is_first, learned, state.posterior)
        elif self.start == "moved":
            moved = state.posterior.mean + networks.motion(state.memory.h)
            lambda_ = _where(is_first, learned, Gaussian(moved, state.posterior.log_std))
        elif self.start == "prior":
            prior = self.prior_given(networks, state.memory.h)
            lambda_ = Gaussian(prior.mean, 2 * (prior.log_std - self.spread.offset))
        else:
            lambda_ = learned
        return state.replace(posterior=lambda_, time=state.memory,
                             memory=jax.tree.map(jnp.zeros_like, state.memory))

    def context_of(self, networks: Networks, state: GridState) -> objective.Context:
        """What frame t is given of those before: prior, temporal state, a sample used again."""
        prior = self.prior_given(networks, state.time.h) if self.conditional else None
        return objective.Context(prior, state.time.h if self.conditional else None,
                                 state.z if self.samples == "once" else None)

    def prior_given(self, networks: Networks, h: jax.Array) -> Gaussian:
        """p(z_t | x_{<t}, z_{<t}), equation (5)."""
        return objective.prior_of(networks.prior(h), self.prior_form)

    def noise_of(self, noise: jax.Array, r: jax.Array | int) -> objective.Noise:
        """Of a cell: epsilon [B, K, D], unless "once" uses a sample again."""
        return objective.Noise(noise, jnp.zeros_like(noise[:, 0, 0]) + r == 0)

    def images_of(self, mixture: PixelMixture, frame: jax.Array, likelihood: inputs.Likelihood,
                  *place: jax.Array) -> inputs.Images:
        """What the refiner sees of a decoded frame."""
        return inputs.images(mixture, frame, likelihood, self.entropy, self.loss_scale,
                             self.mask_posterior, self.mask_gradient, self.corners, *place)

    # ---- The future -------------------------------------------------------------------------

    def predict(self, state: GridState, noise: jax.Array) -> Latents:
        """Frames that are not seen: what was decoded is fed back in their place (section 3.2.3).

        The gradients by lambda, means and masks are zero then; refinements, as few as a seen frame
        has at least, move the temporal state on.

        Args:
          state: after the last frame that was seen.
          noise: epsilon, [B, S, R, K, D]; the first of each frame are used.

        Returns:
          Latents of [B, S, ...].
        """
        networks, size = self.networks(), (self.predicted_size,) * 2

        def refine(state, cell):
            context, drawn = self.context_of(networks, state), self.noise_of(*cell)
            z = objective.sample(state.posterior, self.spread, context, drawn)
            mixture = networks.decoder(z, context.h, size)
            images = inputs.without_gradients(
                self.images_of(mixture, pixel_mixture.mean(mixture), self.likelihood))
            zeros = jax.tree.map(jnp.zeros_like, state.posterior)
            update, memory = networks.refiner(images, state.posterior, zeros, state.time,
                                              state.memory)
            lambda_ = refinement.refine(state.posterior, update)
            return state.replace(posterior=lambda_, memory=memory), z

        def step(state, noise):
            state = self.begin_frame(networks, state, False)
            cells = jnp.arange(self.least_refinements)
            after, z = jax.lax.scan(refine, state, (time_first(noise[:, cells]), cells))
            return after, Latents(z[0], state.time.h)

        _, latents = jax.lax.scan(step, state, time_first(noise))
        return jax.tree.map(batch_first, latents)

    # ---- Parts ------------------------------------------------------------------------------

    def networks(self) -> Networks:
        """As functions, for scans and gradients to hold."""
        parts = (self.decoder, self.prior, self.refiner, self.motion)
        return Networks(*(as_function(part) if part else None for part in parts),
                        Gaussian(self.start_mean, self.start_log_variance))

    def decode(self, latents: Latents, resolution: tuple[int, int]) -> PixelMixture:
        """Latents of [..., K, .] -> PixelMixture of H x W pixels."""
        return self.decoder(latents.z, latents.h if self.conditional else None, resolution)

    def initial_state(self, batch_size: int, num_slots: int | None = None) -> GridState:
        """Before the first frame."""
        shape = (batch_size, num_slots or self.num_slots)
        z, h = (jnp.zeros((*shape, size)) for size in (self.slot_size, self.refiner.lstm_size))
        frame = jnp.zeros(batch_size, jnp.int32)
        return GridState(Gaussian(z, z), Memory(h, h), Memory(h, h), z, frame)

    def make_parameters(self) -> None:
        """Touches every network once so that `init` makes its parameters, on a frame of 8x8."""
        state, frame = self.initial_state(1, 1), jnp.zeros((1, 8, 8, 3))
        mixture = self.decode(Latents(state.z, state.time.h), frame.shape[1:3])
        if self.conditional or self.start == "prior":
            self.prior(state.time.h)
        if self.motion:
            self.motion(state.time.h)
        self.refiner(self.images_of(mixture, frame, self.likelihood), state.posterior,
                     state.posterior, state.time, state.memory)


def _where(condition: jax.Array | bool, one: Any, other: Any) -> Any:
    """One tree or another of the same form."""
    return jax.tree.map(lambda a, b: jnp.where(condition, a, b), one, other)
