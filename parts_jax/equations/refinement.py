"""Iterative amortised inference (section 3.2): the ELBO (7), its gradient, refinement (3).

Nothing here knows a network: the algorithm is handed functions, so every relative of PARTS that
refines a posterior with the gradient of its own loss can use it. lambda, written `lambda_`, is
whatever is refined: a Gaussian of [B, K, D] in PARTS; any pytree of [B, ...] will do, such as a
pair of a Gaussian and a PixelMixture of zeros that is added to the decoded one, whose gradient then
is that of the component means and mask logits (IODINE's refinement sees both).
"""

import functools
import math
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from flax import struct

from parts_jax.equations import gaussian, pixel_mixture
from parts_jax.equations.notation import Gaussian, PixelMixture, Pixels


@struct.dataclass
class Score:
    """How well a sample explains its frame. None of it carries gradients, except `loss`.

    Attributes:
      loss: scalar, equation (7) with its sign turned, summed over the batch, in nats.
      gradient: nabla_lambda L, of the form of lambda, one example's own loss each.
      log_prob: log p(x_i | z), [B, H, W].
      kl: D_KL per slot, [B, K].
      mixture: the decoded frame.
    """

    loss: jax.Array
    gradient: Any
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
    """Returns objective(decoder_params, lambda_, prior, (x, noise, beta)) -> (loss, auxiliary).

    `loss` is minus the ELBO (7) summed over the batch, so that its gradient with respect to
    lambda holds each example's own gradient; `auxiliary` is (log_prob, kl, mixture). `prior` is
    p(z), a Gaussian of [B, K, D] such as the transition's prediction; None: N(0, I). x is a frame,
    [B, H, W, 3], or `Pixels` of it, whose `place` then is the last argument of
    decode(decoder_params, z).
    """
    def objective(decoder_params, lambda_, prior, inputs):
        x, noise, beta = inputs
        q = gaussian.from_parameters(lambda_, log_std_offset)
        frame, *place = (x.colours, x.place) if isinstance(x, Pixels) else (x,)
        mixture = decode(decoder_params, gaussian.sample(q, noise), *place)
        log_prob = pixel_mixture.log_prob(mixture, frame, sigma_x)
        kl = gaussian.kl_to_standard_normal(q) if prior is None else gaussian.kl(q, prior)
        return -jnp.sum(elbo(log_prob, kl, beta)), (log_prob, kl, mixture)
    return objective


def score(objective: Callable, decoder_params: Any, lambda_: Any, x: jax.Array | Pixels, noise: Any,
          beta: jax.Array | float, examples_at_once: int = 0, prior: Any = None) -> Score:
    """Decodes a sample of q_lambda, scores it by (7), and takes nabla_lambda L for (3).

    The gradient that refinement needs, dL/dlambda, is the very gradient that training needs
    through the decoder, up to the weight of L in the total: it is computed once, in the forward
    pass, and the backward pass only rescales it. The decoder's activations are never kept over
    time. This asks that L's weight be the same for all of the batch, and that gradient, mixture
    and log-likelihood be constants downstream; both hold here by construction.

    Args:
      objective: from `make_objective`, or of the same form.
      decoder_params: the decoder's parameters.
      lambda_: what is refined: Gaussian of [B, K, D], or another pytree of [B, ...].
      x: frame in [0, 1], [B, H, W, 3], or `Pixels` of it.
      noise: epsilon, [B, K, D], or another pytree of [B, ...].
      beta: weight of the KL.
      examples_at_once: the batch is decoded and differentiated in parts of so many examples (the
        greatest common divisor with B), one after the other, so that a part's activations fit
        the processor's cache, or the accelerator's memory; 0: all at once. Same numbers.
      prior: p(z), a pytree of [B, ...] that the objective understands; None: N(0, I).

    Returns:
      A Score. Only `loss` can be differentiated, by decoder_params, lambda_ and prior.
    """
    loss, gradient, auxiliary = _differentiate_once(
        objective, examples_at_once, decoder_params, lambda_, prior,
        (x, noise, jnp.asarray(beta, jax.tree.leaves(x)[0].dtype)))
    return Score(loss, *jax.lax.stop_gradient((gradient, *auxiliary)))


# What JAX sees of the following is one function (decoder_params, lambda_, prior, inputs) -> (loss,
# gradient, auxiliary) with a derivative of its own. Its three parts:
#
# - _differentiate_once: what is run where nobody differentiates further, as in evaluation. Only
#   dL/dlambda is taken: no work for the decoder's parameters.
# - _forward: what is run instead inside jax.grad. The same outputs, and beside them dL/dparameters
#   and dL/dprior from the same backward pass through the decoder. These gradients, not the
#   activations, are what is kept for later ("residuals" in JAX's words).
# - _backward: is handed the derivative of the total loss by each output. That by `loss` is L's
#   weight in the total, one number; so the total's gradients are that number times those kept.
#   The other outputs reach nothing that is differentiated, as `score` stops their gradients: their
#   cotangents are zeros and are not looked at. Whoever calls this without that stop gets wrong
#   gradients in silence, so `score` is the only one who calls it.


@functools.partial(jax.custom_vjp, nondiff_argnums=(0, 1))
def _differentiate_once(objective, examples_at_once, decoder_params, lambda_, prior, inputs):
    take = jax.value_and_grad(objective, argnums=1, has_aux=True)

    def part(_, share):
        lambda_, prior, x, noise = share
        (loss, auxiliary), gradient = take(decoder_params, lambda_, prior, (x, noise, inputs[2]))
        return None, (loss, gradient, auxiliary)

    return _in_parts(part, None, examples_at_once, (lambda_, prior, *inputs[:2]))[1]


def _forward(objective, examples_at_once, decoder_params, lambda_, prior, inputs):
    take = jax.value_and_grad(objective, argnums=(0, 1, 2), has_aux=True)

    def part(of_params, share):
        lambda_, prior, x, noise = share
        (loss, auxiliary), (more, of_lambda, of_prior) = take(
            decoder_params, lambda_, prior, (x, noise, inputs[2]))
        # Examples share the decoder: its gradients add up; all else belongs to one example.
        return jax.tree.map(jnp.add, of_params, more), (loss, (of_lambda, of_prior), auxiliary)

    zeros = jax.tree.map(jnp.zeros_like, decoder_params)
    of_params, (loss, (of_lambda, of_prior), auxiliary) = _in_parts(
        part, zeros, examples_at_once, (lambda_, prior, *inputs[:2]))
    return (loss, of_lambda, auxiliary), (of_params, of_lambda, of_prior)


def _backward(objective, examples_at_once, gradients, cotangents):
    del objective, examples_at_once
    weight = cotangents[0]  # of L in the total; the same for all of the batch, as L is its sum
    # None: frame, noise and beta are data, and get no gradient.
    return *jax.tree.map(lambda g: weight * g, gradients), None


_differentiate_once.defvjp(_forward, _backward)


def _in_parts(part: Callable, carry: Any, examples_at_once: int, examples: Any) -> tuple[Any, Any]:
    """Scans `part` over shares of the batch and joins what it returns for each.

    Args:
      part: (carry, share) -> (carry, (loss, gradient, auxiliary)); the loss is summed over a share.
      carry: its start.
      examples_at_once: see `score`.
      examples: pytree of [B, ...].
    """
    batch_size = jax.tree.leaves(examples)[0].shape[0]
    size = math.gcd(examples_at_once, batch_size) if examples_at_once else batch_size
    if size == batch_size:
        return part(carry, examples)
    shares = jax.tree.map(
        lambda a: a.reshape(batch_size // size, size, *a.shape[1:]), examples)
    carry, (losses, gradient, auxiliary) = jax.lax.scan(part, carry, shares)
    gradient, auxiliary = jax.tree.map(
        lambda a: a.reshape(batch_size, *a.shape[2:]), (gradient, auxiliary))
    return carry, (jnp.sum(losses), gradient, auxiliary)


def score_naively(objective: Callable, decoder_params: Any, lambda_: Any, x: jax.Array, noise: Any,
                  beta: jax.Array | float, examples_at_once: int = 0, prior: Any = None) -> Score:
    """The same as `score` by plain automatic differentiation: the oracle, and the dearer way."""
    del examples_at_once
    (loss, auxiliary), gradient = jax.value_and_grad(objective, argnums=1, has_aux=True)(
        decoder_params, lambda_, prior, (x, noise, beta))
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


def refinement_inputs(lambda_: Gaussian, gradient: Gaussian, action: jax.Array) -> jax.Array:
    """s_k = [lambda_k, nabla_lambda_k L, a_{t-1}], the slotted input of (4), tiled over slots.

    Args:
      lambda_: lambda, Gaussian of [B, K, D].
      gradient: nabla_lambda L, Gaussian of [B, K, D]; layer-normalised here.
      action: a_{t-1}, [B, A]; A may be 0.

    Returns:
      s, [B, K, 4 D + A].
    """
    return jnp.concatenate([
        lambda_.mean, lambda_.log_std,
        normalise(gradient.mean), normalise(gradient.log_std),
        tile_over_slots(action, lambda_.mean.shape[-2])], axis=-1)


def tile_over_slots(action: jax.Array, num_slots: int) -> jax.Array:
    """Joins the action to every slot: [B, A] -> [B, K, A]."""
    return jnp.broadcast_to(action[:, None, :], (action.shape[0], num_slots, action.shape[-1]))


def refine(lambda_: Any, update: Any) -> Any:
    """lambda_t^n = lambda_t^{n-1} + E_phi(...), equation (3).

    Args:
      lambda_: lambda_t^{n-1}, Gaussian of [B, K, D].
      update: the output of the encoder network E_phi, Gaussian of [B, K, D].

    Returns:
      lambda_t^n, Gaussian of [B, K, D].
    """
    return jax.tree.map(jnp.add, lambda_, update)
