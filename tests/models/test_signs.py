"""The signs by which collapse shows, by hand: one slot does all, all do the same, all are alike."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from parts_jax.equations import refinement
from parts_jax.equations.notation import Gaussian, PixelMixture
from parts_jax.models import signs

B, K, D, S, BETA = 2, 2, 3, 4, 0.5


@pytest.fixture(scope="module")
def metrics() -> dict[str, np.ndarray]:
    """Of two frames. In the first the masks, of two slots, are undecided everywhere; in the second
    one slot has all of it."""
    logits = jnp.zeros((B, K, S, S)).at[1, 0].set(100.0)
    mixture = PixelMixture(jnp.full((B, K, S, S, 3), 0.25), logits)
    score = refinement.Score(loss=jnp.zeros(()), gradient=None, mixture=mixture,
                             log_prob=jnp.full((B, S, S), -0.5),
                             kl=jnp.asarray([[1.0, 3.0], [0.0, 2.0]]))
    mean = jnp.zeros((B, K, D)).at[0, 0].set(2.0)  # standard deviation over slots: 1, then 0
    q = Gaussian(mean, jnp.log(jnp.full((B, K, D), 0.25)))
    attn = jnp.full((B, K, S, S), 0.5)
    return jax.device_get(signs.frame_metrics(q, score, jnp.full((B, S, S, 3), 0.75), attn, BETA))


@pytest.mark.parametrize("name, expected", [
    ("nll", (8.0, 8.0)), ("kl", (4.0, 2.0)), ("neg_elbo", (10.0, 9.0)),
    ("kl_greatest_share", (0.75, 1.0)), ("mse", (0.25, 0.25)),
    ("mask_entropy", (np.log(2), 0.0)), ("effective_slots", (2.0, 1.0)),
    ("attention_entropy", (np.log(2), np.log(2))), ("slot_spread", (1.0, 0.0)),
    ("sigma_q", (0.25, 0.25))])
def test_signs_by_hand(metrics, name, expected):
    np.testing.assert_allclose(metrics[name], expected, rtol=1e-6, atol=1e-6)


def test_there_are_no_others(metrics):
    assert len(metrics) == 10 and all(values.shape == (B,) for values in metrics.values())
