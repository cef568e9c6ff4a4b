"""The loss of one cell of the grid, equations (3), (5), (6), (7), and the Gaussians in it."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from parts_jax.equations import component_likelihood, gaussian, refinement
from parts_jax.equations.notation import Gaussian, PixelMixture, Pixels

PRIORS = ("log_std", "softplus_log_variance")


class Context(NamedTuple):
    """What the loss of a cell depends on beside lambda and the decoder: gradients go to it.

    Attributes:
      prior: p(z_t | x_{<t}, z_{<t}), Gaussian of [B, K, D]; None: N(0, I).
      h: h_{t-1}, the temporal state that the decoder is given, [B, K, S]; None: it is not.
      z: the sample that is decoded where one is used again, [B, K, D]; None: there is none.
    """

    prior: Gaussian | None
    h: jax.Array | None
    z: jax.Array | None


class Noise(NamedTuple):
    """Of a cell: epsilon, [B, K, D], and whether `Context.z` is decoded in its place, bool [B]."""

    epsilon: jax.Array
    again: jax.Array


class Spread(NamedTuple):
    """How log sigma of q is told from lambda.

    Attributes:
      offset: added to it; 0 in the authors' code.
      most: it is no greater, which the authors' code does not see to. Where refinement runs away
        it is sigma that does so, by a factor each time, and a single clip is a step into nowhere.
    """

    offset: float = 0.0
    most: float = 3.0


LEAST_LOG_STD = -5.0


def posterior(lambda_: Gaussian, spread: Spread) -> Gaussian:
    """q_lambda(z | x): lambda's second half is log sigma^2, as in the authors' code.

    Args:
      lambda_: Gaussian of [..., K, D].
      spread: of log sigma.
    """
    return gaussian.from_parameters(Gaussian(lambda_.mean, 0.5 * lambda_.log_std), spread.offset,
                                    (LEAST_LOG_STD, spread.most))


def prior_of(outputs: Gaussian, form: str) -> Gaussian:
    """p(z_t | x_{<t}, z_{<t}) of the outputs of xi_theta, equation (5).

    Args:
      outputs: of the two last layers, Gaussian of [..., K, D].
      form: "log_std": the second is log sigma_t, as the paper says; "softplus_log_variance": its
        softplus is log sigma_t^2, as in the authors' code, so that sigma_t is above 1.
    """
    if form == "log_std":
        return outputs
    return Gaussian(outputs.mean, 0.5 * jax.nn.softplus(outputs.log_std))


def sample(lambda_: Gaussian, spread: Spread, context: Context, noise: Noise) -> jax.Array:
    """z_{t,r}, of equation (4), or the one that is used again, [B, K, D]."""
    z = gaussian.sample(posterior(lambda_, spread), noise.epsilon)
    if context.z is None:
        return z
    return jnp.where(noise.again[:, None, None], context.z, z)


def mask_entropy(mixture: PixelMixture) -> jax.Array:
    """-sum_k m_k log m_k per pixel, in nats, of equation (7): [..., K, H, W] -> [..., H, W]."""
    log_masks = jax.nn.log_softmax(mixture.mask_logits, axis=-3)
    return -jnp.sum(jnp.exp(log_masks) * log_masks, axis=-3)


def make_objective(decode: Callable[..., PixelMixture], likelihood: str, spread: Spread,
                   entropy: float, loss_scale: float) -> Callable:
    """Returns objective(decoder_params, lambda_, context, (x, noise, weights)) for `score`.

    It is loss_scale times (-log p(x_t | z, h_{t-1}) + beta D_KL(q | p) + entropy H), summed over
    the batch, with H the entropy of the masks, summed over pixels: the terms of (3) and (7) with
    their sign turned. Formula (7) makes H small, though the text before it says the opposite; the
    code does as the formula. In the paper's letters loss_scale is beta, beta is psi / beta, entropy
    is gamma / beta. weights are its beta, and the scale of the likelihood, sigma_x: [2].

    Args:
      decode: (decoder parameters, z, h, and the place of `Pixels`) -> PixelMixture.
      likelihood: of a pixel under one component.
      spread: see `posterior`.
      entropy: weight of H; below 0 it is made large.
      loss_scale: of all.
    """
    def objective(decoder_params: Any, lambda_: Gaussian, context: Context, given: tuple) -> tuple:
        x, noise, (beta, sigma_x) = given
        frame, *place = (x.colours, x.place) if isinstance(x, Pixels) else (x,)
        z = sample(lambda_, spread, context, noise)
        mixture = decode(decoder_params, z, context.h, *place)
        log_prob = component_likelihood.log_prob(
            mixture, component_likelihood.component_log_density(
                mixture, frame, sigma_x, likelihood))
        q = posterior(lambda_, spread)
        kl = (gaussian.kl_to_standard_normal(q) if context.prior is None
              else gaussian.kl(q, context.prior))
        loss = -jnp.sum(refinement.elbo(log_prob, kl, beta))
        if entropy:
            loss = loss + entropy * jnp.sum(mask_entropy(mixture))
        return loss_scale * loss, (log_prob, kl, mixture)
    return objective
