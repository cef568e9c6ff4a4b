"""The model of IODINE: Iterative Object Decomposition Inference Network (paper, section 2).

Read from `IODINE.refine_image`: N refinements of one image, one `jax.lax.scan`. `sequences.py` has
the other way to run the same networks: one frame of a video an iteration.
"""

from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp

from parts_jax.equations import gaussian, refinement
from parts_jax.equations.notation import Gaussian, PixelMixture, Pixels, Slots
from parts_jax.models import signs
from parts_jax.models.contract import Clip, Step, View, batch_first, time_first, view_of
from parts_jax.models.iodine import inputs, objective
from parts_jax.models.schedules import IN_USE, Scales
from parts_jax.networks.functions import Function, as_function

LEFT_OUT = -1e4  # mask logit of a slot that is: exp of it, less any other, is 0
WEIGHTS = ("linear", "linear_from_first")


class Networks(NamedTuple):
    """The networks of IODINE as plain functions, and the posterior that refinement starts from."""

    decoder: Function
    refiner: Function
    start: Gaussian


class IODINE(nn.Module):
    """The model. No parameter's shape depends on N, K, H or W: all are free at call time.

    Attributes:
      decoder: slots to a pixel mixture.
      refiner: f_phi, `refiner.RefinementNetwork`.
      num_slots: K of `noise` where no other is asked for.
      slot_size: D.
      num_iterations: N of `noise` where no other is asked for; the posteriors before and after each
        are decoded and scored, N + 1 in all.
      likelihood: form of p(x_i | mu_k): equations/component_likelihood.py.
      sigma_x: its scale.
      posterior: what numbers lambda are of sigma, and the prior that goes with it: objective.py.
      log_std_offset: of the posterior "exp".
      beta: weight of the KL for an image of `beta_pixels` pixels, in proportion for others.
      beta_pixels: see beta.
      weights: of L^(t) in the loss. "linear": t / N, the paper's, so that of the first guess is 0;
        "linear_from_first": (t + 1) / (N + 1).
      mask_gradient, likelihood_form: forms of inputs, see `inputs.image_inputs`.
      through_decoder: gradients go through those of the refiner's images that have no SG in the
        table, as in the paper's text. It takes a second decoding; without it, what was decoded is
        a constant for the refiner, as its gradients are, and the decoder is differentiated once.
      clamp: bound of the gradient by lambda and of updates outside of training, as long videos
        need it; 0: none.
      unroll: of the scan over iterations.
      examples_at_once: how many examples are decoded at a time; see `refinement.score`.
      leaves_out: whether a slot without noise is left out of an image (models/restarts.py): its
        posterior stays the prior, its z that one's mean, all of its numbers exactly 0, and a slot
        of such numbers paints nothing. So what was inferred can be decoded again from its z.
    """

    decoder: nn.Module
    refiner: nn.Module
    num_slots: int
    slot_size: int
    num_iterations: int
    likelihood: str
    sigma_x: float
    posterior: str
    log_std_offset: float
    beta: float
    beta_pixels: int
    weights: str
    mask_gradient: str
    likelihood_form: str
    through_decoder: bool = False
    clamp: float = 0.0
    unroll: int = 1
    examples_at_once: int = 0
    leaves_out: bool = False

    def setup(self):
        zeros = nn.initializers.zeros
        self.start_mean = self.param("start_mean", zeros, (self.slot_size,))
        self.start_log_std = self.param("start_log_std", zeros, (self.slot_size,))

    def __call__(self, clip: Clip, state: tuple,
                 scales: Scales = IN_USE) -> tuple[jax.Array, Step]:
        """Infers the slots of every image, each by itself.

        Args:
          clip: video [B, T, H, W, 3], T images of an example; noise [B, T, N+1, K, D].
          state: (), as nothing is carried from image to image.
          scales: factors of beta and of sigma_x.

        Returns:
          The mean over batch and images of sum_t w_t L^(t), L^(t) the negative ELBO in nats after
          t refinements; and a `Step`: metrics and latents of the last.
        """
        networks = self.networks()
        images = jax.tree.map(time_first, (clip.video, clip.noise, clip.pixels))

        def step(state, image):
            return state, self.refine_image(networks, *image, scales)

        state, (losses, *outputs) = jax.lax.scan(step, state, images)
        loss = jnp.sum(losses) / (clip.video.shape[0] * clip.video.shape[1])
        latents, metrics, views, iterations = jax.tree.map(batch_first, outputs)
        return loss, Step(state, latents, metrics, {}, views, iterations)

    def refine_image(self, networks: Networks, x: jax.Array, noise: jax.Array,
                     pixels: Pixels | None, scales: Scales) -> tuple:
        """Algorithm 1: N times sample, decode, score, refine; then the last is scored.

        Args:
          networks: as functions.
          x: image in [0, 1], [B, H, W, 3].
          noise: epsilon, [B, N+1, K, D].
          pixels: what is explained in place of x: `Pixels` of [B, ...]; None: all of x.
          scales: factors of beta and of sigma_x.

        Returns:
          Its loss, summed over the batch; `Slots` of the last sample; metrics [B]; `View` of the
          last sample, and of all, with [B, N+1, ...].
        """
        x = x if pixels is None else pixels
        noise = time_first(noise)  # [N+1, B, K, D]

        def iterate(carry, noise):
            lambda_, memory = carry
            score = self.score(networks, lambda_, x, noise, scales)
            update, memory = self.refinement_of(networks, lambda_, score, x, noise, memory, scales)
            shown = _without_slots(view_of(score.mixture))
            return (refinement.refine(lambda_, update), memory), (score.loss, shown)

        start = self.start_of(networks, noise[0])
        (lambda_, _), (losses, shown) = jax.lax.scan(
            iterate, start, noise[:-1], unroll=max(1, min(self.unroll, len(noise) - 1)))
        score = self.score(networks, lambda_, x, noise[-1], scales)
        losses = jnp.append(losses, score.loss)
        loss = jnp.sum(losses * self.weights_of(len(losses)))

        view, q = view_of(score.mixture), self.posterior_of(lambda_)
        latents = dict(final=Slots(gaussian.sample(q, noise[-1]), q))
        frame = x if pixels is None else pixels.colours
        metrics = signs.frame_metrics(q, score, frame, None, self.beta_of(frame) * scales.beta)
        iterations = jax.tree.map(
            lambda before, last: batch_first(jnp.concatenate([before, last[None]])),
            shown, _without_slots(view))
        return loss, latents, metrics, dict(final=view), iterations

    def score(self, networks: Networks, lambda_: Gaussian, x: jax.Array | Pixels,
              noise: jax.Array, scales: Scales) -> refinement.Score:
        """L^(t) and what follows from decoding a sample of lambda^(t), once.

        Args:
          networks, x, scales: as in `refine_image`.
          lambda_: lambda^(t), Gaussian of [B, K, D].
          noise: epsilon, [B, K, D].
        """
        frame = x.colours if isinstance(x, Pixels) else x

        def decode(decoder_params, z, *place):
            mixture = networks.decoder.with_params(decoder_params)(z, frame.shape[1:3], *place)
            return self.without_left_out(mixture, z)

        negative_elbo = objective.make_objective(
            decode, self.likelihood, self.posterior_of, self.posterior)
        weights = jnp.stack([jnp.asarray(self.beta_of(frame) * scales.beta, frame.dtype),
                             jnp.asarray(self.sigma_x * scales.sigma, frame.dtype)])
        return refinement.score(negative_elbo, networks.decoder.params, lambda_, x, noise,
                                weights, self.examples_at_once)

    def refinement_of(self, networks: Networks, lambda_: Gaussian, score: refinement.Score,
                      x: jax.Array | Pixels, noise: jax.Array, memory: Any,
                      scales: Scales = IN_USE, clamp: float = 0.0) -> tuple[Gaussian, Any]:
        """f_phi(z, x, a) of Algorithm 1: the update of lambda, and the LSTM's new state.

        Args:
          networks, lambda_, x, noise, scales: as in `score`, which gave `score`.
          memory: the refiner's.
          clamp: bound of gradient and update; 0: none.
        """
        frame, place = (x.colours, x.place) if isinstance(x, Pixels) else (x, None)
        mixture = score.mixture
        if self.through_decoder:
            z = gaussian.sample(self.posterior_of(lambda_), noise)
            mixture = networks.decoder(z, frame.shape[1:3], *(() if place is None else (place,)))
            mixture = self.without_left_out(mixture, z)
        images = inputs.image_inputs(mixture, frame, self.sigma_x * scales.sigma, self.likelihood,
                                     self.mask_gradient, self.likelihood_form, place,
                                     _is_slot(noise) if self.leaves_out else None)
        vectors = dict(posterior=_joined(lambda_),
                       posterior_gradient=_clamped(_joined(score.gradient), clamp))
        update, memory = networks.refiner(images, vectors, memory)
        if self.leaves_out:
            update = jnp.where(_is_slot(noise)[..., None], update, 0)
        return Gaussian(*jnp.split(_clamped(update, clamp), 2, axis=-1)), memory

    def start_of(self, networks: Networks, like: jax.Array) -> tuple[Gaussian, Any]:
        """lambda^(1), learned and alike for all slots, and the LSTM's zeros.

        Samples alone tell the slots apart at first: `like` is their noise, [B, K, D].
        """
        zeros = jnp.zeros_like(like)  # of the device whose examples these are
        lambda_ = jax.tree.map(lambda numbers: jnp.expand_dims(numbers, (0, 1)) + zeros,
                               networks.start)
        if self.leaves_out:
            prior = objective.prior_numbers(self.posterior, self.log_std_offset)
            lambda_ = jax.tree.map(lambda numbers, of_prior: jnp.where(
                _is_slot(like)[..., None], numbers, of_prior), lambda_, Gaussian(*prior))
        size = self.refiner.lstm_size
        hidden = jnp.broadcast_to(zeros[..., :1], (*zeros.shape[:2], size))
        return lambda_, (hidden, hidden) if size else ()

    def posterior_of(self, lambda_: Gaussian) -> Gaussian:
        """q_lambda."""
        return objective.posterior(lambda_, self.posterior, self.log_std_offset)

    def beta_of(self, frame: jax.Array) -> float:
        """Weight of the KL of an image, or part of one, [B, H, W, 3]."""
        return self.beta * frame.shape[1] * frame.shape[2] / self.beta_pixels

    def weights_of(self, count: int) -> jax.Array:
        """w_t of the losses of `count` posteriors, [count]."""
        first = 0 if self.weights == "linear" and count > 1 else 1
        return jnp.arange(first, count + first) / max(1, count - 1 + first)

    def networks(self) -> Networks:
        """As functions, for scans and gradients to hold."""
        return Networks(as_function(self.decoder), as_function(self.refiner),
                        Gaussian(self.start_mean, self.start_log_std))

    def decode(self, z: jax.Array, resolution: tuple[int, int]) -> PixelMixture:
        """Decodes slots: z [..., K, D] -> PixelMixture of H x W pixels."""
        return self.without_left_out(self.decoder(z, resolution), z)

    def without_left_out(self, mixture: PixelMixture, z: jax.Array) -> PixelMixture:
        """The mixture of slots z [..., K, D]; the masks of those that are left out are 0."""
        if not self.leaves_out:
            return mixture
        there = _is_slot(z)[..., None, None]
        return mixture.replace(mask_logits=jnp.where(there, mixture.mask_logits, LEFT_OUT))

    def make_parameters(self) -> None:
        """Touches every network once so that `init` makes its parameters, on an image of 8x8."""
        x, zeros = jnp.zeros((1, 8, 8, 3)), jnp.zeros((1, 1, self.slot_size))
        mixture = self.decoder(zeros, x.shape[1:3])
        images = inputs.image_inputs(mixture, x, self.sigma_x, self.likelihood,
                                     self.mask_gradient, self.likelihood_form)
        vector = jnp.concatenate([zeros, zeros], axis=-1)
        memory = (jnp.zeros((1, 1, self.refiner.lstm_size)),) * 2 if self.refiner.lstm_size else ()
        self.refiner(images, dict(posterior=vector, posterior_gradient=vector), memory)


def _without_slots(view: View) -> View:
    return view._replace(slots=None)


def _is_slot(z: jax.Array) -> jax.Array:
    """Whether slots, or their noise, are not those of one left out: [..., K, D] -> [..., K]."""
    return jnp.any(z != 0, axis=-1)


def _joined(lambda_: Gaussian) -> jax.Array:
    """[B, K, 2 D]."""
    return jnp.concatenate([lambda_.mean, lambda_.log_std], axis=-1)


def _clamped(array: jax.Array, bound: float) -> jax.Array:
    return jnp.clip(array, -bound, bound) if bound else array
