"""Iterative amortised inference (section 3.2): the ELBO (7), its gradient, refinement (3).

Nothing here knows a network: the algorithm is handed functions, so every relative of PARTS that
refines a posterior with the gradient of its own loss can use it.
"""

import functools
import math
import operator
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from flax import struct

from parts_jax.equations import gaussian, pixel_mixture
from parts_jax.equations.notation import Gaussian, InferenceState, PixelMixture


@struct.dataclass
class Score:
    """How well a sample explains its frame. None of it carries gradients, except `loss`.

    Attributes:
      loss: scalar, equation (7) with its sign turned, summed over the batch, in nats.
      gradient: nabla_lambda L, Gaussian of [B, K, D], one example's own loss each.
      log_prob: log p(x_i | z), [B, H, W].
      kl: D_KL per slot, [B, K].
      mixture: the decoded frame.
    """

    loss: jax.Array
    gradient: Gaussian
    log_prob: jax.Array
    kl: jax.Array
    mixture: PixelMixture


def elbo(log_prob: jax.Array, kl: jax.Array, beta: jax.Array | float) -> jax.Array:
    """L_t = E_q[log p(x_t | z)] - beta D_KL(q | p), equation (7), by one sample of z.

    Args:
      log_prob: log-likelihood image, [..., H, W].
      kl: KL per slot, [..., K].
      beta: weight of the KL.

    Returns:
      [...], in nats per frame.
    """
    return jnp.sum(log_prob, axis=(-2, -1)) - beta * jnp.sum(kl, axis=-1)


def make_objective(decode: Callable[[Any, jax.Array], PixelMixture], sigma_x: float,
                   log_std_offset: float) -> Callable:
    """Returns objective(decoder_params, lambda, (x, noise, beta)) -> (loss, auxiliary).

    `loss` is minus the ELBO (7) summed over the batch, so that its gradient with respect to
    lambda holds each example's own gradient; `auxiliary` is (log_prob, kl, mixture).
    """
    def objective(decoder_params, parameters, inputs):
        x, noise, beta = inputs
        q = gaussian.from_parameters(parameters, log_std_offset)
        mixture = decode(decoder_params, gaussian.sample(q, noise))
        log_prob = pixel_mixture.log_prob(mixture, x, sigma_x)
        kl = gaussian.kl_to_standard_normal(q)
        return -jnp.sum(elbo(log_prob, kl, beta)), (log_prob, kl, mixture)
    return objective


@functools.partial(jax.custom_vjp, nondiff_argnums=(0, 1))
def _differentiate_once(objective, examples_at_once, decoder_params, parameters, inputs):
    take = jax.value_and_grad(objective, argnums=1, has_aux=True)

    def part(_, share):
        parameters, x, noise = share
        (loss, auxiliary), gradient = take(decoder_params, parameters, (x, noise, inputs[2]))
        return None, (loss, gradient, auxiliary)

    return _in_parts(part, None, examples_at_once, parameters, inputs)[1]


def _forward(objective, examples_at_once, decoder_params, parameters, inputs):
    take = jax.value_and_grad(objective, argnums=(0, 1), has_aux=True)

    def part(total, share):
        parameters, x, noise = share
        (loss, auxiliary), (of_params, of_lambda) = take(
            decoder_params, parameters, (x, noise, inputs[2]))
        return jax.tree.map(jnp.add, total, of_params), (loss, of_lambda, auxiliary)

    zeros = jax.tree.map(jnp.zeros_like, decoder_params)
    of_params, outputs = _in_parts(part, zeros, examples_at_once, parameters, inputs)
    return outputs, (of_params, outputs[1])


def _in_parts(part, carry, examples_at_once, parameters, inputs):
    """Scans `part` over shares of the batch and joins what it returns for each."""
    x, noise, _ = inputs
    batch_size = x.shape[0]
    size = math.gcd(examples_at_once, batch_size) if examples_at_once else batch_size
    if size == batch_size:
        return part(carry, (parameters, x, noise))
    shares = jax.tree.map(
        lambda a: a.reshape(batch_size // size, size, *a.shape[1:]), (parameters, x, noise))
    carry, (losses, gradient, auxiliary) = jax.lax.scan(part, carry, shares)
    gradient, auxiliary = jax.tree.map(
        lambda a: a.reshape(batch_size, *a.shape[2:]), (gradient, auxiliary))
    return carry, (jnp.sum(losses), gradient, auxiliary)


def _backward(objective, examples_at_once, gradients, cotangents):
    del objective, examples_at_once
    weight = cotangents[0]  # of the loss; the other outputs leave through stop_gradient
    return *jax.tree.map(lambda g: weight * g, gradients), None


_differentiate_once.defvjp(_forward, _backward)


def score(objective: Callable, decoder_params: Any, parameters: Gaussian, x: jax.Array,
          noise: jax.Array, beta: jax.Array | float, examples_at_once: int = 0) -> Score:
    """Decodes a sample of q_lambda, scores it by (7), and takes nabla_lambda L for (3).

    The gradient that refinement needs, dL/dlambda, is the very gradient that training needs
    through the decoder, up to the weight of L in the total: it is computed once, in the forward
    pass, and the backward pass only rescales it. The decoder's activations are never kept over
    time. This asks that L's weight be the same for all of the batch, and that gradient, mixture
    and log-likelihood be constants downstream; both hold here by construction.

    Args:
      objective: from `make_objective`.
      decoder_params: the decoder's parameters.
      parameters: lambda, Gaussian of [B, K, D].
      x: frame in [0, 1], [B, H, W, 3].
      noise: epsilon, [B, K, D].
      beta: weight of the KL.
      examples_at_once: the batch is decoded and differentiated in parts of so many examples (the
        greatest common divisor with B), one after the other, so that a part's activations fit
        the processor's cache, or the accelerator's memory; 0: all at once. Same numbers.

    Returns:
      A Score. Only `loss` can be differentiated, by decoder_params and parameters.
    """
    loss, gradient, auxiliary = _differentiate_once(
        objective, examples_at_once, decoder_params, parameters,
        (x, noise, jnp.asarray(beta, x.dtype)))
    return Score(loss, *jax.lax.stop_gradient((gradient, *auxiliary)))


def score_naively(objective: Callable, decoder_params: Any, parameters: Gaussian, x: jax.Array,
                  noise: jax.Array, beta: jax.Array | float, examples_at_once: int = 0) -> Score:
    """The same as `score` by plain automatic differentiation: the oracle, and the dearer way."""
    del examples_at_once
    (loss, auxiliary), gradient = jax.value_and_grad(objective, argnums=1, has_aux=True)(
        decoder_params, parameters, (x, noise, beta))
    return Score(loss, *jax.lax.stop_gradient((gradient, *auxiliary)))


def standardise(image: jax.Array) -> jax.Array:
    """Brings each image of [..., H, W] to mean 0 and standard deviation 1, without gradient."""
    image = jax.lax.stop_gradient(image)
    centred = image - jnp.mean(image, axis=(-2, -1), keepdims=True)
    variance = jnp.mean(jnp.square(centred), axis=(-2, -1), keepdims=True)
    return centred * jax.lax.rsqrt(variance + 1e-8)


def normalise(vector: jax.Array, epsilon: float = 1e-8) -> jax.Array:
    """Layer normalisation of [..., D] over D, without parameters: gradients of any scale."""
    centred = vector - jnp.mean(vector, axis=-1, keepdims=True)
    return centred * jax.lax.rsqrt(jnp.mean(jnp.square(centred), axis=-1, keepdims=True) + epsilon)


def refinement_inputs(parameters: Gaussian, gradient: Gaussian, action: jax.Array) -> jax.Array:
    """s_k = [lambda_k, nabla_lambda_k L, a_{t-1}], the slotted input of (4), tiled over slots.

    Args:
      parameters: lambda, Gaussian of [B, K, D].
      gradient: nabla_lambda L, Gaussian of [B, K, D]; layer-normalised here.
      action: a_{t-1}, [B, A]; A may be 0.

    Returns:
      s, [B, K, 4 D + A].
    """
    return jnp.concatenate([
        parameters.mean, parameters.log_std,
        normalise(gradient.mean), normalise(gradient.log_std),
        tile_over_slots(action, parameters.mean.shape[-2])], axis=-1)


def tile_over_slots(action: jax.Array, num_slots: int) -> jax.Array:
    """Joins the action to every slot: [B, A] -> [B, K, A]."""
    return jnp.broadcast_to(action[:, None, :], (action.shape[0], num_slots, action.shape[-1]))


def refine(parameters: Gaussian, update: Gaussian) -> Gaussian:
    """lambda_t^n = lambda_t^{n-1} + E_phi(...), equation (3).

    Args:
      parameters: lambda_t^{n-1}, Gaussian of [B, K, D].
      update: the output of the encoder network E_phi, Gaussian of [B, K, D].

    Returns:
      lambda_t^n, Gaussian of [B, K, D].
    """
    return jax.tree.map(jnp.add, parameters, update)


def truncate(state: InferenceState, t: jax.Array, truncation: int) -> InferenceState:
    """Stops the gradients of all state every `truncation` frames (section 4)."""
    stop = t % truncation == 0
    return jax.tree.map(lambda s: jnp.where(stop, jax.lax.stop_gradient(s), s), state)


def chunked_value_and_grad(chunk_loss: Callable, truncation: int,
                           unroll: bool = False) -> Callable:
    """Truncated backpropagation through time, one chunk of `truncation` frames at a time.

    Gradients never cross a cut, so the loss and gradient of each chunk can be taken on their own
    and added up: the same numbers as `truncate` in one long scan, with the memory of one chunk
    whatever T.

    Args:
      chunk_loss: f(params, state, inputs) -> (loss, (state, metrics)), the loss summed over the
        frames of `inputs`, a pytree of [t, ...] with time first and t <= truncation.
      truncation: frames per chunk.
      unroll: chunks one after the other without a loop in the compiled program: faster where
        XLA's loops are slow (convolutions on CPU), longer to compile.

    Returns:
      f(params, state, inputs) -> ((loss, state, metrics), gradients) over all T frames of inputs;
      metrics are stacked over time, [T, ...]. T need not be a multiple of truncation.
    """
    take = jax.value_and_grad(chunk_loss, has_aux=True)

    def value_and_grad(params, state, inputs):
        def step(carry, chunk):
            state, gradients = carry
            (loss, (state, metrics)), chunk_gradients = take(params, state, chunk)
            return (state, jax.tree.map(jnp.add, gradients, chunk_gradients)), (loss, metrics)

        num_frames = jax.tree.leaves(inputs)[0].shape[0]
        num_looped = 0 if unroll else num_frames // truncation
        done = num_looped * truncation
        carry, pieces = (state, jax.tree.map(jnp.zeros_like, params)), []
        if num_looped:
            chunks = jax.tree.map(
                lambda a: a[:done].reshape(num_looped, truncation, *a.shape[1:]), inputs)
            carry, (losses, metrics) = jax.lax.scan(step, carry, chunks)
            metrics = jax.tree.map(lambda a: a.reshape(done, *a.shape[2:]), metrics)
            pieces.append((jnp.sum(losses), metrics))
        for start in range(done, num_frames, truncation):  # the last, shorter chunk, or all
            here = slice(start, start + truncation)
            carry, piece = step(carry, jax.tree.map(operator.itemgetter(here), inputs))
            pieces.append(piece)
        losses, metrics = zip(*pieces, strict=True)
        metrics = jax.tree.map(lambda *parts: jnp.concatenate(parts), *metrics)
        state, gradients = carry
        return (sum(losses), state, metrics), gradients

    return value_and_grad
