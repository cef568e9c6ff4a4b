"""The loss of IODINE's section 2.2, minus the ELBO, and what the numbers lambda are of q."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from parts_jax.equations import component_likelihood, gaussian, refinement
from parts_jax.equations.notation import Gaussian, PixelMixture, Pixels

POSTERIORS = ("exp", "log_variance", "softplus")


def posterior(lambda_: Gaussian, form: str, log_std_offset: float = 0.0) -> Gaussian:
    """q_lambda(z | x), of the numbers lambda.

    Args:
      lambda_: lambda, Gaussian of [..., K, D]; what its second half means is `form`'s to say.
      form: "exp": log sigma less an offset; "log_variance": log sigma^2; "softplus": softplus of
        it is sigma^2, as in the authors' code.
      log_std_offset: of "exp".

    Returns:
      q, Gaussian of [..., K, D].
    """
    if form == "exp":
        return gaussian.from_parameters(lambda_, log_std_offset)
    if form == "log_variance":
        return Gaussian(lambda_.mean, 0.5 * lambda_.log_std)
    return Gaussian(lambda_.mean, 0.5 * jnp.log(jax.nn.softplus(lambda_.log_std) + 1e-12))


def prior_numbers(form: str, log_std_offset: float = 0.0) -> tuple[float, float]:
    """Mean and second half of the lambda of which q is the prior p(z_k), see `posterior`."""
    return 0.0, -log_std_offset if form == "exp" else 0.0


def kl_to_prior(q: Gaussian, form: str) -> jax.Array:
    """D_KL(q_lambda(z_k | x) | p(z_k)) in nats, [..., K].

    p is N(0, I), the paper's; for "softplus" its variance is softplus(0) = log 2, as in the
    authors' code, whose prior is of the same form as its posterior.
    """
    if form != "softplus":
        return gaussian.kl_to_standard_normal(q)
    zeros = jnp.zeros_like(q.mean)
    return gaussian.kl(q, posterior(Gaussian(zeros, zeros), form))


def make_objective(decode: Callable[..., PixelMixture], likelihood: str,
                   posterior_of: Callable[[Gaussian], Gaussian], form: str) -> Callable:
    """Returns objective(decoder_params, lambda_, prior, (x, noise, weights)) for `score`.

    The loss is L = D_KL(q_lambda(z | x) | p(z)) - log p(x | z), z a sample of q, summed over the
    batch. `prior` must be None: it is fixed. x is an image [B, H, W, 3], or `Pixels` of it. weights
    are that of the KL, and the scale of the likelihood, sigma_x: [2].

    Args:
      decode: (decoder parameters, z, and the place of `Pixels`) -> PixelMixture.
      likelihood: of a pixel under one component.
      posterior_of: lambda -> q.
      form: of the posterior, which says the prior.
    """
    def objective(decoder_params: Any, lambda_: Gaussian, prior: None, given: tuple) -> tuple:
        x, noise, (beta, sigma_x) = given
        q = posterior_of(lambda_)
        frame, *place = (x.colours, x.place) if isinstance(x, Pixels) else (x,)
        mixture = decode(decoder_params, gaussian.sample(q, noise), *place)
        log_prob = component_likelihood.log_prob(
            mixture, component_likelihood.component_log_density(
                mixture, frame, sigma_x, likelihood))
        kl = kl_to_prior(q, form)
        return -jnp.sum(refinement.elbo(log_prob, kl, beta)), (log_prob, kl, mixture)
    return objective
