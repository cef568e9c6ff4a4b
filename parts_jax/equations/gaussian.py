"""The diagonal Gaussian of the slots: posterior q_lambda(z | x) and prior p(z)."""

import jax
import jax.numpy as jnp

from parts_jax.equations.notation import Gaussian


def sample(q: Gaussian, noise: jax.Array) -> jax.Array:
    """z ~ q by reparametrisation: z = mu + sigma * epsilon (section 3.2).

    Args:
      q: Gaussian of [..., K, D].
      noise: standard normal epsilon, [..., K, D].

    Returns:
      z, [..., K, D].
    """
    return q.mean + jnp.exp(q.log_std) * noise


def kl_to_standard_normal(q: Gaussian) -> jax.Array:
    """D_KL(q_lambda(z) | p(z)) of equation (7), with the fixed prior p(z) = N(0, I).

    Args:
      q: Gaussian of [..., D].

    Returns:
      KL in nats summed over D, [...].
    """
    return 0.5 * jnp.sum(
        jnp.square(q.mean) + jnp.exp(2 * q.log_std) - 1.0 - 2 * q.log_std, axis=-1)


def kl(q: Gaussian, p: Gaussian) -> jax.Array:
    """D_KL(q | p) of two Gaussians, for a prior that is predicted: (7) with p(z_t | z_{<t}).

    Args:
      q: Gaussian of [..., D].
      p: Gaussian of [..., D].

    Returns:
      KL in nats summed over D, [...].
    """
    squares = jnp.square(q.mean - p.mean) * jnp.exp(-2 * p.log_std)
    log_ratio = q.log_std - p.log_std
    return 0.5 * jnp.sum(squares + jnp.exp(2 * log_ratio) - 1.0 - 2 * log_ratio, axis=-1)


def from_parameters(lambda_: Gaussian, log_std_offset: float,
                    log_std_range: tuple[float, float] = (-5.0, 3.0)) -> Gaussian:
    """The posterior q that the parameters lambda stand for.

    lambda starts at zero (section 4); with log sigma = 0 the noise would swamp a
    new model's slots, so log sigma is the parameter plus a fixed offset, clipped.

    Args:
      lambda_: lambda, Gaussian of [..., K, D].
      log_std_offset: what is added to lambda's log sigma.
      log_std_range: least and greatest log sigma.

    Returns:
      q, Gaussian of [..., K, D].
    """
    return Gaussian(lambda_.mean, jnp.clip(lambda_.log_std + log_std_offset, *log_std_range))
