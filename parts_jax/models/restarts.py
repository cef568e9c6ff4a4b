"""Refining images or clips from several noises; each keeps what explains it best.

Samples of one posterior are all that tells slots apart at first, and where that leads them to is a
local optimum: a piece may be left without a slot, or be cut between two. The papers refine once.
How many slots a picture needs the same bound can tell: a spare slot that cuts an object explains no
more, and has a KL of its own.
"""

import functools
from collections.abc import Callable

import jax
import jax.numpy as jnp

from parts_jax.models.contract import Step


def leave_out(noise: jax.Array, restart: jax.Array | int, fewest: int) -> jax.Array:
    """Noise of a restart with fewer slots, down to `fewest`: 0 is that of a slot left out.

    The first restart has all K slots, the next K - 1, and so on to the fewest, and then K again.

    Args:
      noise: epsilon, [..., K, D].
      restart: its number, from 0.
      fewest: 0: all restarts have all slots, as those of fewer slots than that do.

    Returns:
      [..., K, D].
    """
    num_slots = noise.shape[-2]
    kept = num_slots - restart % (num_slots - min(fewest or num_slots, num_slots) + 1)
    return jnp.where(jnp.arange(num_slots)[:, None] < kept, noise, 0)


def best_of(infer: Callable[[jax.Array], Step], noise: jax.Array, restarts: int,
            fewest: int = 0, whole_clips: bool = False) -> Step:
    """Infers every image `restarts` times, one after another, and keeps its greatest ELBO's.

    That is the bound itself, log p(x | z) - KL, whatever weight training gives the KL: with less, a
    slot that is not needed costs nothing, and what cuts an object in two would be kept.

    Args:
      infer: noise [B, T, N, K, D] to a `Step` of arrays [B, T, ...], with the metrics nll and kl.
      noise: epsilon of all of them, [B, T, restarts N, K, D]; the first N are those of an image
        that is refined once.
      restarts: how often.
      fewest: slots of a restart, see `leave_out`.
      whole_clips: a clip's frames are all of one restart, whose ELBOs have the greatest sum, and
        so is the state after it; else each frame is an image by itself, and there is no state.

    Returns:
      A `Step`; each image's, or clip's, is all of one restart.
    """
    batch, frames, count, *rest = noise.shape
    noise = noise.reshape(batch, frames, restarts, count // restarts, *rest)
    noise = jax.vmap(functools.partial(leave_out, fewest=fewest))(
        jnp.moveaxis(noise, 2, 0), jnp.arange(restarts))
    steps = jax.lax.map(infer, noise)
    bound = steps.metrics["nll"] + steps.metrics["kl"]  # [restarts, B, T]
    best = jnp.argmin(jnp.sum(bound, axis=2) if whole_clips else bound, axis=0)[None]
    return jax.tree.map(lambda array: jnp.take_along_axis(
        array, best.reshape(*best.shape, *(1,) * (array.ndim - best.ndim)), axis=0)[0], steps)
