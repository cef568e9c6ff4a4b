"""PARTS: Predict, Attend, Refine with Transformers and Slots (section 3).

Read from `PARTS.__call__`: it spells out one scan over time. `infer_frame` is one frame of it:
predict, sample, decode, score, attend, refine.
"""

from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import ml_collections

from parts_jax import distributions, inference, likelihood
from parts_jax.networks import decoders, encoders, slot_attention, transition
from parts_jax.types import Gaussian, InferenceState, ModelOutput, PixelMixture


def create(config: ml_collections.ConfigDict) -> "PARTS":
    """Builds the model that `config` describes."""
    c, dtype = config.model, compute_dtype(config.model)
    return PARTS(
        transition=transition.TransformerLSTM(
            width=c.transition.width, num_layers=c.transition.num_layers,
            num_heads=c.transition.num_heads, mlp_width=c.transition.mlp_width,
            lstm_size=c.transition.lstm_size, output_size=2 * c.slot_size, dtype=dtype),
        decoder=decoders.SpatialBroadcastDecoder(
            channels=tuple(c.decoder.channels), kernel_size=c.decoder.kernel_size,
            colour=c.decoder.colour, frequencies=c.decoder.frequencies,
            shade=c.decoder.shade, dtype=dtype),
        encoder=encoders.SizePreservingEncoder(
            channels=tuple(c.encoder.channels), kernel_size=c.encoder.kernel_size,
            output_size=c.encoder.output_size, dtype=dtype),
        attention=slot_attention.TopDownSlotAttention(
            size=c.attention.size, mlp=tuple(c.attention.mlp), update_size=2 * c.slot_size,
            update_scale=c.attention.update_scale, dtype=dtype),
        num_slots=c.num_slots, slot_size=c.slot_size, action_size=config.data.action_size,
        num_refinements=c.num_refinements, truncation=config.train.truncation,
        unroll=config.train.unroll,
        sigma_x=c.sigma_x, beta=c.beta, beta_pixels=c.beta_pixels,
        log_std_offset=c.log_std_offset, residual=c.transition.residual,
        use_likelihood=c.encoder.use_likelihood, top_down=c.attention.top_down,
        examples_at_once=c.decoder.examples_at_once)


def compute_dtype(config: ml_collections.ConfigDict) -> Any:
    """What convolutions and matrix products are computed in; None: as the parameters."""
    # Models that were trained before there was a choice have no such key, and were in float32.
    return jnp.bfloat16 if config.get("dtype", "float32") == "bfloat16" else None


PICTURES = ("recon", "masks", "means", "posterior", "attention")


class Function(NamedTuple):
    """A linen module and its parameters as a plain function, for lax.scan and gradients to hold."""

    module: nn.Module
    params: Any

    def __call__(self, *args, method: str | None = None):
        return self.module.apply({"params": self.params}, *args, method=method)

    def with_params(self, params: Any) -> "Function":
        return self._replace(params=params)


class Networks(NamedTuple):
    """The four networks of PARTS as plain functions."""

    transition: Function
    decoder: Function
    encoder: Function
    attention: Function


def as_function(module: nn.Module) -> Function:
    """Unbinds a linen module: inside jax transformations, linen modules must be plain functions."""
    unbound, variables = module.unbind()
    return Function(unbound, variables["params"])


class PARTS(nn.Module):
    """The model. No parameter's shape depends on K, T, H or W: all four are free at call time.

    Attributes:
      transition: P, predicts the posterior of the coming frame.
      decoder: D_theta, slots to a pixel mixture.
      encoder: bottom-up half of E_phi, frame to O.
      attention: top-down half of E_phi, queries and update.
      num_slots: K of `noise` and `initial_state` where no other is asked for.
      slot_size: D.
      action_size: A; 0 where there are no actions.
      num_refinements: N, refinements per frame.
      truncation: gradients of the state are cut every so many frames.
      unroll: of the scan over time.
      sigma_x: standard deviation of the pixel likelihood.
      beta: weight of the KL for a frame of `beta_pixels` pixels, in proportion for others, so
        that the balance per pixel is the same at every resolution.
      beta_pixels: see beta.
      log_std_offset: posterior log sigma = parameter + this.
      residual: the transition predicts the change of lambda, not lambda.
      use_likelihood: the encoder sees log p(x | z) beside the frame; if not, it runs once for all
        frames, outside the scan.
      top_down: gradient and action shape the queries.
      examples_at_once: how many examples are decoded at a time; see `inference.score`.
    """

    transition: nn.Module
    decoder: nn.Module
    encoder: nn.Module
    attention: nn.Module
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
    use_likelihood: bool
    top_down: bool
    examples_at_once: int = 0

    def __call__(self, video: jax.Array, actions: jax.Array, noise: jax.Array,
                 state: InferenceState | None = None, beta_scale: jax.Array | float = 1.0,
                 keep_pictures: bool = True) -> ModelOutput:
        """Infers the slots of every frame, one after the other.

        Args:
          video: frames in [0, 1], [B, T, H, W, 3].
          actions: previous actions: actions[:, t] is a_{t-1}, zeros before the first, [B, T, A].
          noise: standard normal epsilon, [B, T, N, K, D]; K is free.
          state: where to go on from; None: before the first frame, all zeros.
          beta_scale: factor of beta, for its warm-up.
          keep_pictures: False leaves recon, masks, means, posterior and attention out (training).

        Returns:
          A ModelOutput; `frame_metrics` says which metrics, [B, T] each and `kl` [B, T, K].
        """
        if self.is_initializing():
            self.make_parameters(video)
        networks = Networks(*map(as_function, (
            self.transition, self.decoder, self.encoder, self.attention)))
        if state is None:
            state = self.initial_state(video.shape[0], noise.shape[-2])
        beta = self.beta * beta_scale * (video.shape[2] * video.shape[3] / self.beta_pixels)

        frames = jax.tree.map(time_first, (video, actions, noise))
        encodings = None if self.use_likelihood else encode_all(networks.encoder, frames[0])

        def step(state, inputs):
            t, frame = inputs
            state = inference.truncate(state, t, self.truncation)
            return self.infer_frame(networks, state, *frame, beta, keep_pictures)

        times = jnp.arange(video.shape[1])
        state, (losses, metrics, pictures) = jax.lax.scan(
            step, state, (times, (*frames, encodings)), unroll=min(self.unroll, video.shape[1]))
        loss = jnp.sum(losses) / (video.shape[0] * video.shape[1])  # uniform weights 1/T
        pictures = dict.fromkeys(PICTURES) | jax.tree.map(batch_first, pictures)
        return ModelOutput(loss, jax.tree.map(batch_first, metrics), state=state, **pictures)

    def infer_frame(self, networks, state, x, action, noise, encoding, beta, keep_pictures):
        """One frame: predict, then N times sample, decode, score, attend, refine.

        With one refinement the loss is that of the predicted posterior lambda^0, and the refined
        lambda^1 goes to the next frame undecoded; with more, the loss is the mean over lambda^0
        to lambda^{N-1}.
        """
        def decode(decoder_params, z):
            return networks.decoder.with_params(decoder_params)(z, x.shape[1:3])

        objective = inference.make_objective(decode, self.sigma_x, self.log_std_offset)
        posterior, hidden = self.predict(networks.transition, state, action)  # lambda_t^0
        predicted, scores = posterior, []
        for n in range(self.num_refinements):
            score = inference.score(
                objective, networks.decoder.params, posterior, x, noise[:, n], beta,
                self.examples_at_once)
            update, attn = self.attend(networks, posterior, score, x, action, encoding)
            posterior = inference.refine(posterior, update)  # lambda_t^n, equation (3)
            scores.append(score)

        loss = sum(score.loss for score in scores) / self.num_refinements
        q = distributions.from_parameters(predicted, self.log_std_offset)
        metrics = frame_metrics(q, scores[0], x, attn, beta)
        pictures = {}
        if keep_pictures:
            mixture = scores[0].mixture
            pictures = dict(recon=likelihood.mean(mixture), masks=likelihood.masks(mixture),
                            means=mixture.means, posterior=posterior, attention=attn)
        return InferenceState(posterior, hidden), (loss, metrics, pictures)

    def predict(self, transition, state: InferenceState, action: jax.Array):
        """lambda_t^0 = P(lambda_{t-1}, a_{t-1}), section 3.2.1.

        Args:
          transition: the network as a function.
          state: after frame t-1.
          action: a_{t-1}, [B, A].

        Returns:
          lambda_t^0, Gaussian of [B, K, D], and the new hidden state.
        """
        last = state.posterior
        slots = jnp.concatenate([
            last.mean, last.log_std,
            inference.tile_over_slots(action, last.mean.shape[-2])], axis=-1)
        output, hidden = transition(slots, state.hidden)
        predicted = Gaussian(*jnp.split(output, 2, axis=-1))
        return (inference.refine(last, predicted) if self.residual else predicted), hidden

    def attend(self, networks, posterior, score, x, action, encoding):
        """E_phi(lambda, x_t, a_{t-1}, nabla_lambda L, log p(x_t | z_t)) of equation (3).

        Returns:
          The update, Gaussian of [B, K, D], and attention weights, [B, K, H, W].
        """
        if encoding is None:
            log_prob = inference.standardise(score.log_prob)[..., None]
            encoding = networks.encoder(jnp.concatenate([2 * x - 1, log_prob], axis=-1))
        inputs = inference.refinement_inputs(posterior, score.gradient, action)
        queries_from = inputs if self.top_down else inputs[..., :2 * self.slot_size]
        update, attn = networks.attention(queries_from, inputs, encoding)
        return Gaussian(*jnp.split(update, 2, axis=-1)), attn

    def decode(self, z: jax.Array, resolution: tuple[int, int]) -> PixelMixture:
        """Decodes slots, equation (1): z [..., K, D] -> PixelMixture of H x W pixels."""
        return self.decoder(z, resolution)

    def initial_state(self, batch_size: int, num_slots: int | None = None) -> InferenceState:
        """Before the first frame: posterior parameters and recurrent state all zero (section 4)."""
        num_slots = num_slots or self.num_slots
        zeros = jnp.zeros((batch_size, num_slots, self.slot_size))
        return InferenceState(
            Gaussian(zeros, zeros), self.transition.initial_hidden(batch_size, num_slots))

    def make_parameters(self, video: jax.Array) -> None:
        """Touches every network once so that `init` makes its parameters: video [B, T, H, W, 3]."""
        x = video[:, 0]
        action = jnp.zeros((x.shape[0], self.action_size))
        posterior, _ = self.predict(self.transition, self.initial_state(x.shape[0]), action)
        self.decoder(posterior.mean, x.shape[1:3])
        channels = 4 if self.use_likelihood else 3
        encoding = self.encoder(jnp.zeros((*x.shape[:-1], channels)))
        inputs = inference.refinement_inputs(posterior, posterior, action)
        queries_from = inputs if self.top_down else inputs[..., :2 * self.slot_size]
        self.attention(queries_from, inputs, encoding)


def encode_all(encoder: Function, frames: jax.Array) -> jax.Array:
    """Encodes all frames at once, time first: [T, B, H, W, 3] -> O [T, B, H, W, C]."""
    encoding = encoder(2 * frames.reshape(-1, *frames.shape[2:]) - 1)
    return encoding.reshape(*frames.shape[:2], *encoding.shape[1:])


def frame_metrics(q: Gaussian, score: inference.Score, x: jax.Array, attn: jax.Array,
                  beta: jax.Array) -> dict[str, jax.Array]:
    """The parts of the loss and the signs by which collapse shows, per example.

    Mask entropy near ln K: all slots paint the same. KL in one slot alone: it does everything.
    Slot spread near 0: slots are identical. Effective slots is the exponential of the entropy of
    the masks' shares of the picture. Entropies are in nats, means over pixels.

    Args:
      q: the predicted posterior, Gaussian of [B, K, D].
      score: of its sample.
      x: the frame, [B, H, W, 3].
      attn: attention weights, [B, K, H, W].
      beta: weight of the KL.

    Returns:
      Arrays [B]; `kl` is [B, K].
    """
    masks = likelihood.masks(score.mixture)
    shares = jnp.mean(masks, axis=(-2, -1))
    nll = -jnp.sum(score.log_prob, axis=(-2, -1))
    metrics = dict(
        negative_elbo=-inference.elbo(score.log_prob, score.kl, beta),
        nll=nll,
        kl=score.kl,
        mse=jnp.mean(jnp.square(likelihood.mean(score.mixture) - x), axis=(-3, -2, -1)),
        mask_entropy=mean_entropy(masks),
        effective_slots=jnp.exp(jnp.sum(jax.scipy.special.entr(shares), axis=-1)),
        attention_entropy=mean_entropy(attn),
        slot_spread=jnp.mean(jnp.std(q.mean, axis=-2), axis=-1),
        sigma_q=jnp.mean(jnp.exp(q.log_std), axis=(-2, -1)))
    return jax.lax.stop_gradient(metrics)


def mean_entropy(weights: jax.Array) -> jax.Array:
    """Entropy over K, mean over pixels, in nats: [B, K, H, W] -> [B]. 0 log 0 = 0."""
    return jnp.mean(jnp.sum(jax.scipy.special.entr(weights), axis=-3), axis=(-2, -1))


def example_keys(seed: int, indices: jax.Array) -> jax.Array:
    """Keys of the noise of examples, by seed and number alone: indices int32 [B] -> keys [B]."""
    key = jax.random.key(seed)
    return jax.vmap(lambda i: jax.random.fold_in(key, i))(indices)


def make_noise(keys: jax.Array, num_frames: int, num_refinements: int, num_slots: int,
               slot_size: int) -> jax.Array:
    """Standard normal epsilon for every frame; an example's depend on its own key alone.

    Args:
      keys: one key an example, [B].
      num_frames, num_refinements, num_slots, slot_size: T, N, K, D.

    Returns:
      [B, T, N, K, D].
    """
    shape = (num_frames, num_refinements, num_slots, slot_size)
    return jax.vmap(lambda key: jax.random.normal(key, shape))(keys)


def previous_actions(actions: jax.Array) -> jax.Array:
    """a_{t-1} at every t, zeros at the first: actions after each frame [B, T, A] -> [B, T, A]."""
    return jnp.pad(actions, ((0, 0), (1, 0), (0, 0)))[:, :-1]


def time_first(array: jax.Array) -> jax.Array:
    """[B, T, ...] -> [T, B, ...]."""
    return jnp.swapaxes(array, 0, 1)


batch_first = time_first
