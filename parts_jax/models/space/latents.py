"""What SPACE's cells draw, and what that costs: section 2 and appendix B of the paper."""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from parts_jax.equations import gaussian
from parts_jax.equations.notation import Gaussian

GREATEST_LOGIT = 8.8  # of presence, as in the authors' code: probabilities from 1.5e-4 on
GATES = ("none", "presence")


class CellPosterior(NamedTuple):
    """q(z^fg | x) of all cells but for z^what, which needs a glimpse.

    Attributes:
      presence: logits, [B, N].
      depth: Gaussian of [B, N, 1].
      scale: (x, y), before the sigmoid, Gaussian of [B, N, 2].
      shift: (x, y), before the tanh, Gaussian of [B, N, 2].
    """

    presence: jax.Array
    depth: Gaussian
    scale: Gaussian
    shift: Gaussian


class CellPriors(NamedTuple):
    """What p(z^fg) has beside standard normals, each a scalar.

    Attributes:
      presence: rho, probability.
      scale_mean: mu^scale.
      scale_std: sigma^scale.
    """

    presence: jax.Array
    scale_mean: jax.Array
    scale_std: jax.Array


def softplus_gaussian(parameters: jax.Array, least: float = 1e-15,
                      offset: float = 0.0) -> Gaussian:
    """Means and, by softplus, standard deviations: [..., 2 D] -> Gaussian of [..., D].

    Args:
      parameters: of the distribution.
      least: added to the standard deviation.
      offset: added before the softplus. Networks begin with outputs near 0; with a standard
        deviation of softplus(0) = .69 their samples are more noise than signal for long.
    """
    mean, spread = jnp.split(parameters, 2, axis=-1)
    return Gaussian(mean, jnp.log(jax.nn.softplus(spread + offset) + least))


def relaxed_bernoulli(logits: jax.Array, logistic: jax.Array,
                      temperature: jax.Array | float) -> jax.Array:
    """A sample of the relaxed Bernoulli (Jang et al., 2016), in (0, 1).

    Args:
      logits: of being 1, [...].
      logistic: noise of the logistic distribution, [...].
      temperature: tau; towards 0 the sample becomes `logits + logistic > 0`, which is a sample of
        the Bernoulli itself.

    Returns:
      [...].
    """
    return jax.nn.sigmoid((logits + logistic) / temperature)


def presence_kl(logits: jax.Array, prior: jax.Array | float) -> jax.Array:
    """D_KL of two Bernoullis, in nats, [...]; finite whatever the logits.

    Of the probabilities before relaxation, as in the authors' code.

    Args:
      logits: of q, [...].
      prior: rho, a probability between 0 and 1, of which neither is allowed.
    """
    present = jax.nn.sigmoid(logits)
    return (present * (jax.nn.log_sigmoid(logits) - jnp.log(prior))
            + (1 - present) * (jax.nn.log_sigmoid(-logits) - jnp.log1p(-prior)))


class Cells(NamedTuple):
    """All that is inferred of a foreground, N = G G cells, row by row.

    Attributes:
      posterior: q of all but z^what.
      what_posterior: q(z^what), Gaussian of [B, N, D].
      presence: z^pres, relaxed, [B, N].
      depth: z^depth, [B, N].
      where: z^where, boxes, [B, N, 4], see spatial_transformer.py.
      what: z^what, [B, N, D].
    """

    posterior: CellPosterior
    what_posterior: Gaussian
    presence: jax.Array
    depth: jax.Array
    where: jax.Array
    what: jax.Array


def boxes_of(scale: jax.Array, shift: jax.Array, grid: int,
             number: jax.Array | None = None) -> jax.Array:
    """z^where of Algorithm 1: where a cell's box stands.

    A centre may lie one cell to any side of its cell's own.

    Args:
      scale: (x, y), before the sigmoid, [B, N, 2].
      shift: (x, y), before the tanh, [B, N, 2].
      grid: G.
      number: of the cells, row by row, [N]; None: all G G of them.

    Returns:
      (s_x, s_y, t_x, t_y), see spatial_transformer.py, [B, N, 4].
    """
    row, column = jnp.divmod(jnp.arange(grid * grid) if number is None else number, grid)
    index = jnp.stack([column, row], axis=-1)[None]
    centre = 2.0 / grid * (index + 0.5 + jnp.tanh(shift)) - 1
    return jnp.concatenate([jax.nn.sigmoid(scale), centre], axis=-1)


def cell_kls(q: CellPosterior, what: Gaussian, priors: CellPriors, presence: jax.Array,
             gate: str) -> dict[str, jax.Array]:
    """KLs of the foreground in nats, summed over cells: {name: [B]}.

    Args:
      q: of the cells.
      what: q(z^what), Gaussian of [B, N, D].
      priors: p.
      presence: z^pres, relaxed, [B, N].
      gate: "presence": appendix B, in which a cell without an object costs no more than its
        presence; "none": the authors' code, in which all latents of all cells count in full.
    """
    # The mean and standard deviation of the prior are of q's shape for gaussian.kl to sum over.
    of_scale = Gaussian(jnp.broadcast_to(priors.scale_mean, q.scale.mean.shape),
                        jnp.broadcast_to(jnp.log(priors.scale_std), q.scale.mean.shape))
    objects = {"scale": gaussian.kl(q.scale, of_scale),
               "shift": gaussian.kl_to_standard_normal(q.shift),
               "depth": gaussian.kl_to_standard_normal(q.depth),
               "what": gaussian.kl_to_standard_normal(what)}
    if gate == "presence":
        objects = {name: kl * presence for name, kl in objects.items()}
    kls = {"presence": presence_kl(q.presence, priors.presence)} | objects
    return {name: jnp.sum(kl, axis=-1) for name, kl in kls.items()}
