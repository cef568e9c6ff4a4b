"""The model of PARTS: Predict, Attend, Refine with Transformers and Slots (section 3).

Read from `PARTS.__call__`: it spells out one scan over time. `PARTS.infer_frame` is one frame of
it: predict, sample, decode, score, attend, refine.
"""

from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp

from parts_jax.equations import gaussian, refinement, truncation
from parts_jax.equations.notation import (
    Gaussian,
    InferenceState,
    PixelMixture,
    Pixels,
    Slots,
)
from parts_jax.models import signs
from parts_jax.models.contract import Clip, Step, batch_first, time_first, view_of
from parts_jax.models.parts import per_slot, seen_frames
from parts_jax.networks.functions import Function, as_function


class Networks(NamedTuple):
    """The networks of PARTS as plain functions; those that a model refines without are None."""

    transition: Function
    decoder: Function
    encoder: Function | None
    attention: Function | None
    refiner: Function | None


class PARTS(nn.Module):
    """The model. No parameter's shape depends on K, T, H or W: all four are free at call time.

    Attributes:
      transition: P, predicts the posterior of the coming frame.
      decoder: D_theta, slots to a pixel mixture.
      encoder: bottom-up half of E_phi, frame to O; None where `refiner` is all of E_phi.
      attention: top-down half of E_phi, queries and update; None likewise.
      refiner: E_phi without slot attention, `per_slot.PerSlotRefiner`; None: PARTS' own.
      reset: the refiner's LSTM starts from zero in every frame, as OP3's; if not, it remembers.
      prior: what the KL of (7) is to. "fixed": N(0, I). "predictive": what the transition expects
        of the frame; as the KL of that to itself is 0, the refined posterior is decoded and scored
        as well. "latest": the refined posterior of the last frame. Before the first: N(0, I).
      num_slots: K of `noise` and `initial_state` where no other is asked for.
      slot_size: D.
      action_size: A; 0 where there are no actions.
      action_scale: what the transition's actions are multiplied by: one number for all A, or one
        for each. Beside lambda, which goes to 3, metres per frame are too small to be heeded.
      num_refinements: N, refinements per frame.
      truncation: gradients of the state are cut every so many frames.
      unroll: of the scan over time.
      sigma_x: standard deviation of the pixel likelihood.
      beta: weight of the KL for a frame of `beta_pixels` pixels, in proportion for others, so
        that the balance per pixel is the same at every resolution.
      beta_pixels: see beta.
      log_std_offset: posterior log sigma = parameter + this.
      residual: the transition predicts the change of lambda, not lambda.
      decay: of lambda from frame to frame where it is residual: (1 - decay) lambda + change. With
        0, what the clips of training were too short to show may grow for ever after them.
      bounded: the transition reads, and goes on from, log sigma in the range that is used of it.
        Refinements add to what is out of range without being felt, and no gradient brings it back;
        numbers of 20 and more then drown mean and action where the transition adds them up.
      use_likelihood: the encoder sees log p(x | z) beside the frame; if not, it runs once for all
        frames, outside the scan.
      top_down: gradient and action shape the queries.
      examples_at_once: how many examples are decoded at a time; see `refinement.score`.
    """

    transition: nn.Module
    decoder: nn.Module
    encoder: nn.Module | None
    attention: nn.Module | None
    num_slots: int
    slot_size: int
    action_size: int
    num_refinements: int
    truncation: int
    unroll: int
    sigma_x: float
    beta: float
    beta_pixels: int
    log_std_offset: float
    residual: bool
    decay: float
    use_likelihood: bool
    top_down: bool
    examples_at_once: int = 0
    bounded: bool = False
    action_scale: tuple[float, ...] = (1.0,)
    refiner: nn.Module | None = None
    reset: bool = False
    prior: str = "fixed"

    @property
    def num_scores(self) -> int:
        """How many posteriors of a frame are decoded and scored, each by noise of its own."""
        return self.num_refinements + (self.prior == "predictive")

    def __call__(self, clip: Clip, state: InferenceState,
                 beta_scale: jax.Array | float = 1.0) -> tuple[jax.Array, Step]:
        """Infers the slots of every frame, one after the other.

        Args:
          clip: video [B, T, H, W, 3], previous actions [B, T, A], noise [B, T, N, K, D], N being
            `num_scores`; K is free.
          state: where to go on from; `initial_state` before the first frame.
          beta_scale: factor of beta.

        Returns:
          L_total: the mean over batch and frames, with uniform weights 1/T, of the negative ELBO,
          in nats per frame; and a `Step`: `signs.frame_metrics` says which metrics, [B, T] each.
        """
        networks = Networks(*(module and as_function(module) for module in (
            self.transition, self.decoder, self.encoder, self.attention, self.refiner)))
        scored = clip.video if clip.pixels is None else clip.pixels.colours
        num_examples, num_frames, height, width, _ = scored.shape
        beta = self.beta * beta_scale * (height * width / self.beta_pixels)

        x, action, noise, pixels, seen = jax.tree.map(
            time_first, (clip.video, clip.actions, clip.noise, clip.pixels, clip.seen))
        depends = self.use_likelihood or self.encoder is None  # on lambda, so made in the scan
        encodings = None if depends else encode_all(networks.encoder, x)

        def step(state, inputs):
            t, frame = inputs
            state = truncation.truncate(state, t, self.truncation)
            return self.infer_frame(networks, state, *frame, beta)

        times = jnp.arange(num_frames)
        state, (losses, *outputs) = jax.lax.scan(
            step, state, (times, (x, action, noise, encodings, pixels, seen)),
            unroll=min(self.unroll, num_frames))
        loss = jnp.sum(losses) / (num_examples * num_frames)
        return loss, Step(state, *jax.tree.map(batch_first, outputs))

    def infer_frame(self, networks: Networks, state: InferenceState, x: jax.Array,
                    action: jax.Array, noise: jax.Array, encoding: jax.Array | None,
                    pixels: Pixels | None, seen: jax.Array | None,
                    beta: jax.Array) -> tuple[InferenceState, tuple]:
        """One frame: predict, then N times sample, decode, score, attend, refine.

        With one refinement the loss is that of the predicted posterior lambda^0, and the refined
        lambda^1 goes to the next frame undecoded; with more, the loss is the mean over lambda^0
        to lambda^{N-1}, and lambda^N with a predictive prior. A frame that is not seen refines none
        of them: all are lambda^0.

        Args:
          networks: as functions.
          state: after frame t-1.
          x: frame t in [0, 1], [B, H, W, 3].
          action: a_{t-1}, [B, A].
          noise: epsilon, [B, `num_scores`, K, D].
          encoding: O of the frame, [B, H, W, C]; None: it depends on lambda, and is made here.
          pixels: what is scored in place of x: `Pixels` of [B, ...]; None: all of x.
          seen: whether x refines the posterior, bool [B]; where not, lambda_t^0 stays; None: yes.
          beta: weight of the KL.

        Returns:
          The state after frame t; and its loss, summed over the batch, the `Slots` of each stage,
          metrics [B], maps [B, K, H, W], and the `View` of the first stage.
        """
        scored = x if pixels is None else pixels.colours

        def decode(decoder_params, z, *place):
            return networks.decoder.with_params(decoder_params)(z, scored.shape[1:3], *place)

        objective = refinement.make_objective(decode, self.sigma_x, self.log_std_offset)
        lambda_, hidden = self.predict(networks.transition, state, action)  # lambda_t^0
        predicted, scores = gaussian.from_parameters(lambda_, self.log_std_offset), []
        prior, memory = self.prior_of(state, predicted), self.memory_of(state)
        for n in range(self.num_scores):
            score = refinement.score(
                objective, networks.decoder.params, lambda_, x if pixels is None else pixels,
                noise[:, n], beta, self.examples_at_once, prior)
            scores.append(score)
            if n < self.num_refinements:
                update, attn, memory = self.refinement_of(
                    networks, lambda_, score, x, action, encoding, pixels, memory)
                lambda_ = seen_frames.where_seen(  # lambda_t^n, equation (3)
                    seen, refinement.refine(lambda_, update), lambda_)

        loss = sum(score.loss for score in scores) / self.num_scores
        refined = gaussian.from_parameters(lambda_, self.log_std_offset)
        latents = dict(predicted=Slots(gaussian.sample(predicted, noise[:, 0]), predicted),
                       refined=Slots(refined.mean, refined))
        judged = scores[0].replace(kl=scores[-1].kl) if self.prior == "predictive" else scores[0]
        metrics = signs.frame_metrics(predicted, judged, scored, attn, beta)
        maps = {} if attn is None else dict(attention=attn)
        views = dict(predicted=view_of(scores[0].mixture))
        state = InferenceState(lambda_, hidden, seen_frames.where_seen(seen, memory, state.refiner),
                               seen_frames.started_after(seen, state.started))
        return state, (loss, latents, metrics, maps, views)

    def prior_of(self, state: InferenceState, predicted: Gaussian) -> Gaussian | None:
        """p(z_t) of (7): Gaussian of [B, K, D]; None: N(0, I), which it is before the first frame.

        Args:
          state: after frame t-1.
          predicted: q of lambda_t^0.
        """
        if self.prior == "fixed":
            return None
        last = gaussian.from_parameters(state.posterior, self.log_std_offset)
        prior = predicted if self.prior == "predictive" else last
        return jax.tree.map(lambda p: jnp.where(state.started[:, None, None] > 0, p, 0.0), prior)

    def memory_of(self, state: InferenceState) -> Any:
        """The refiner's recurrent state at the first refinement of a frame."""
        return jax.tree.map(jnp.zeros_like, state.refiner) if self.reset else state.refiner

    def refinement_of(self, networks: Networks, lambda_: Gaussian, score: refinement.Score,
                      x: jax.Array, action: jax.Array, encoding: jax.Array | None,
                      pixels: Pixels | None, memory: Any) -> tuple[Gaussian, Any, Any]:
        """E_phi of (3), by slot attention or slot by slot.

        Args:
          networks, x, action, encoding, pixels: as in `infer_frame`.
          lambda_: lambda_t^{n-1}, Gaussian of [B, K, D].
          score: of its sample.
          memory: the refiner's recurrent state, () without one.

        Returns:
          The update, Gaussian of [B, K, D], attention weights, [B, K, H, W], or None without
          attention, and the new memory.
        """
        if networks.refiner is None:
            return *self.attend(networks, lambda_, score, x, action, encoding), memory
        scored = (x, None) if pixels is None else (pixels.colours, pixels.place)
        images = per_slot.images_of(score.mixture, scored[0], self.sigma_x, scored[1])
        update, memory = networks.refiner(
            images, *self.vectors_of(lambda_, score.gradient, action), memory)
        return Gaussian(*jnp.split(update, 2, axis=-1)), None, memory

    def vectors_of(self, lambda_: Gaussian, gradient: Gaussian,
                   action: jax.Array) -> tuple[jax.Array, jax.Array]:
        """What the refiner sees beside images: lambda, gradient [B, K, 4 D]; action [B, K, A]."""
        inputs = refinement.refinement_inputs(lambda_, gradient, action)
        return inputs[..., :4 * self.slot_size], inputs[..., 4 * self.slot_size:]

    def predict(self, transition: Any, state: InferenceState,
                action: jax.Array) -> tuple[Gaussian, Any]:
        """lambda_t^0 = P(lambda_{t-1}, a_{t-1}), section 3.2.1.

        Args:
          transition: the network as a function.
          state: after frame t-1.
          action: a_{t-1}, [B, A].

        Returns:
          lambda_t^0, Gaussian of [B, K, D], and the new hidden state.
        """
        last = state.posterior
        if self.bounded:
            log_std = gaussian.from_parameters(last, self.log_std_offset).log_std
            last = Gaussian(last.mean, log_std - self.log_std_offset)
        slots = jnp.concatenate([
            last.mean, last.log_std,
            refinement.tile_over_slots(self.scaled(action), last.mean.shape[-2])], axis=-1)
        output, hidden = transition(slots, state.hidden)
        predicted = Gaussian(*jnp.split(output, 2, axis=-1))
        if self.residual:
            kept = jax.tree.map(lambda parameters: (1 - self.decay) * parameters, last)
            predicted = refinement.refine(kept, predicted)
        return predicted, hidden

    def attend(self, networks: Networks, lambda_: Gaussian, score: refinement.Score, x: jax.Array,
               action: jax.Array, encoding: jax.Array | None) -> tuple[Gaussian, jax.Array]:
        """E_phi(lambda, x_t, a_{t-1}, nabla_lambda L, log p(x_t | z_t)) of equation (3).

        Args:
          networks, x, action, encoding: as in `infer_frame`.
          lambda_: lambda_t^{n-1}, Gaussian of [B, K, D].
          score: of its sample.

        Returns:
          The update, Gaussian of [B, K, D], and attention weights, [B, K, H, W].
        """
        if encoding is None:
            log_prob = refinement.standardise(score.log_prob)[..., None]
            encoding = networks.encoder(jnp.concatenate([2 * x - 1, log_prob], axis=-1))
        inputs = refinement.refinement_inputs(lambda_, score.gradient, action)
        update, attn = networks.attention(self.queries_from(inputs), inputs, encoding)
        return Gaussian(*jnp.split(update, 2, axis=-1)), attn

    def scaled(self, action: jax.Array) -> jax.Array:
        """The action as the transition is given it, [B, A] -> [B, A]."""
        return action * jnp.asarray(self.action_scale, action.dtype)[None]

    def queries_from(self, inputs: jax.Array) -> jax.Array:
        """What queries are made of: all of s_k, or lambda_k alone: [B, K, 4 D + A] -> [B, K, .]."""
        return inputs if self.top_down else inputs[..., :2 * self.slot_size]

    def decode(self, z: jax.Array, resolution: tuple[int, int]) -> PixelMixture:
        """Decodes slots, equation (1): z [..., K, D] -> PixelMixture of H x W pixels."""
        return self.decoder(z, resolution)

    def initial_state(self, batch_size: int, num_slots: int | None = None) -> InferenceState:
        """Before the first frame: posterior parameters and recurrent state all zero (section 4)."""
        num_slots = num_slots or self.num_slots
        zeros = jnp.zeros((batch_size, num_slots, self.slot_size))
        return InferenceState(
            Gaussian(zeros, zeros), self.transition.initial_hidden(batch_size, num_slots),
            self.refiner.initial_hidden(batch_size, num_slots) if self.refiner else (),
            () if self.prior == "fixed" else jnp.zeros(batch_size))

    def make_parameters(self) -> None:
        """Touches every network once so that `init` makes its parameters, on a frame of 8x8."""
        x, action = jnp.zeros((1, 8, 8, 3)), jnp.zeros((1, self.action_size))
        lambda_, _ = self.predict(self.transition, self.initial_state(1), action)
        mixture = self.decoder(lambda_.mean, x.shape[1:3])
        if self.refiner is not None:
            self.refiner(per_slot.images_of(mixture, x, self.sigma_x),
                         *self.vectors_of(lambda_, lambda_, action), self.initial_state(1).refiner)
            return
        encoding = self.encoder(jnp.zeros((*x.shape[:-1], 4 if self.use_likelihood else 3)))
        inputs = refinement.refinement_inputs(lambda_, lambda_, action)
        self.attention(self.queries_from(inputs), inputs, encoding)


def encode_all(encoder: Function, frames: jax.Array) -> jax.Array:
    """Encodes all frames at once, time first: [T, B, H, W, 3] -> O [T, B, H, W, C]."""
    encoding = encoder(2 * frames.reshape(-1, *frames.shape[2:]) - 1)
    return encoding.reshape(*frames.shape[:2], *encoding.shape[1:])
