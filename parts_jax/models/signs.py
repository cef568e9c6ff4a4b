"""What training says of a model of slots: parts of the loss, and signs by which collapse shows."""

import jax
import jax.numpy as jnp

from parts_jax.equations import pixel_mixture, refinement
from parts_jax.equations.notation import Gaussian


def frame_metrics(q: Gaussian, score: refinement.Score, x: jax.Array, attn: jax.Array | None,
                  beta: jax.Array) -> dict[str, jax.Array]:
    """The parts of the loss and the signs by which collapse shows, per example.

    Mask entropy near ln K: all slots paint the same. KL in one slot alone: it does everything.
    Slot spread near 0: slots are identical. Effective slots is the exponential of the entropy of
    the masks' shares of the picture. Entropies are in nats, means over pixels.

    Args:
      q: the posterior that was scored, Gaussian of [B, K, D].
      score: of its sample.
      x: the frame, [B, H, W, 3].
      attn: attention weights, [B, K, H, W]; None: there is no attention, nor its entropy.
      beta: weight of the KL.

    Returns:
      Arrays [B]; `kl` is summed over slots, `kl_greatest_share` that of the slot with most of it.
    """
    masks = pixel_mixture.masks(score.mixture)
    shares = jnp.mean(masks, axis=(-2, -1))
    nll, kl = -jnp.sum(score.log_prob, axis=(-2, -1)), jnp.sum(score.kl, axis=-1)
    metrics = dict(
        neg_elbo=-refinement.elbo(score.log_prob, score.kl, beta),
        nll=nll,
        kl=kl,
        # 0 / 0 where the prior is the posterior itself: a prediction's, of a frame not seen
        kl_greatest_share=jnp.max(score.kl, axis=-1) / jnp.maximum(kl, 1e-30),
        mse=jnp.mean(jnp.square(pixel_mixture.mean(score.mixture) - x), axis=(-3, -2, -1)),
        mask_entropy=mean_entropy(masks),
        effective_slots=jnp.exp(jnp.sum(jax.scipy.special.entr(shares), axis=-1)),
        attention_entropy=None if attn is None else mean_entropy(attn),
        slot_spread=jnp.mean(jnp.std(q.mean, axis=-2), axis=-1),
        sigma_q=jnp.mean(jnp.exp(q.log_std), axis=(-2, -1)))
    return jax.lax.stop_gradient(
        {name: metric for name, metric in metrics.items() if metric is not None})


def mean_entropy(weights: jax.Array) -> jax.Array:
    """Entropy over K, mean over pixels, in nats: [B, K, H, W] -> [B]. 0 log 0 = 0."""
    return jnp.mean(jnp.sum(jax.scipy.special.entr(weights), axis=-3), axis=(-2, -1))
