"""Restarts, mostly IODINE's: what is kept of several, and restarts with fewer slots."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from parts_jax.api import inference
from parts_jax.equations.notation import Slots
from parts_jax.models import restarts
from parts_jax.models.contract import Step
from tests.models.iodine.test_iodine import PAPER, B, D, K, N, S, T, build, clip_of, run

FEWER = {"model.restarts": 2, "model.fewest_slots": K - 1}


def test_of_several_restarts_an_image_keeps_the_one_that_explains_it_best():
    clip = clip_of(iterations=2 * N + 1)
    halves = [run(PAPER, clip._replace(noise=noise))[1]
              for noise in np.split(clip.noise, 2, axis=2)]
    again = run({"model.restarts": 2}, clip)[1]
    bounds = [half.metrics["nll"] + half.metrics["kl"] for half in halves]
    first = bounds[0] < bounds[1]
    assert 0 < np.sum(first) < first.size  # so that neither is the best of all images
    for kept, *made in zip(*map(jax.tree.leaves, (again, *halves)), strict=True):
        shape = first.reshape(*first.shape, *(1,) * (kept.ndim - 2))
        np.testing.assert_allclose(kept, np.where(shape, *made), rtol=1e-4, atol=1e-4)


def test_the_bound_decides_between_restarts_not_what_training_makes_of_it():
    """One image, three restarts: neg_elbo, with a KL that counts a tenth, would keep the second."""
    nll, kl = jnp.asarray([10., 9., 12.]), jnp.asarray([3., 8., 0.5])

    def infer(noise):
        at = lambda values: values[noise[:, :, 0, 0, 0].astype(int)]
        metrics = dict(nll=at(nll), kl=at(kl), neg_elbo=at(nll + 0.1 * kl))
        return Step((), {}, metrics, {}, {}, noise)

    noise = jnp.arange(3.0).reshape(1, 1, 3, 1, 1)
    found = restarts.best_of(infer, noise, 3)
    assert found.metrics["nll"] == 12 and found.metrics["kl"] == 0.5
    np.testing.assert_array_equal(found.iterations, [[[[[2.]]]]])


def test_noise_of_one_restart_is_the_first_of_several():
    keys = jax.random.split(jax.random.key(0), B)
    once, often = (build(changes)[0].noise(keys, T, None)
                   for changes in ((), (("model.restarts", 3),)))
    assert once.shape == (B, T, N + 1, K, D) and often.shape == (B, T, 3 * (N + 1), K, D)
    np.testing.assert_array_equal(once, often[:, :, :N + 1])


@pytest.mark.parametrize("fewest, expected", [
    (0, [5, 5, 5, 5, 5]), (5, [5, 5, 5, 5, 5]), (7, [5, 5, 5, 5, 5]), (3, [5, 4, 3, 5, 4])])
def test_restarts_have_fewer_slots_down_to_the_fewest(fewest, expected):
    noise = np.ones((B, N, 5, D), np.float32)
    for restart, count in enumerate(expected):
        left = np.asarray(restarts.leave_out(jnp.asarray(noise), restart, fewest))
        np.testing.assert_array_equal(left[:, :, :count], 1)
        np.testing.assert_array_equal(left[:, :, count:], 0)


def test_a_restart_with_fewer_slots_is_that_of_a_model_with_fewer():
    """K slots, then K - 1: each image has what the better one of two models of one restart has."""
    clip = clip_of(iterations=2 * N + 1)
    of_all, rest = np.split(clip.noise, 2, axis=2)
    made = [run(PAPER, clip._replace(noise=noise))[1] for noise in (of_all, rest[..., :-1, :])]
    found = run(FEWER, clip)[1]
    bounds = [one.metrics["nll"] + one.metrics["kl"] for one in made]
    fewer = np.asarray(bounds[1] < bounds[0])
    assert 0 < fewer.sum() < fewer.size
    for name in ("nll", "kl", "mse"):
        expected = np.where(fewer, *(one.metrics[name] for one in made[::-1]))
        np.testing.assert_allclose(found.metrics[name], expected, rtol=1e-4, atol=1e-4)
    view = found.views["final"]
    for at in np.ndindex(B, T):
        kept = made[int(fewer[at])].views["final"].masks[at]
        np.testing.assert_allclose(view.masks[at][:len(kept)], kept, rtol=1e-3, atol=1e-5)
        np.testing.assert_array_equal(view.masks[at][len(kept):], 0)


def test_what_was_left_out_stays_so_when_slots_are_decoded_again():
    """By its z, and by the posterior's mean, which is what users have: both are exactly 0."""
    found = run(FEWER, clip_of(iterations=2 * N + 1))[1]
    model, params = build(tuple(FEWER.items()))
    slots, left = found.latents["final"], found.views["final"].masks.max((-2, -1)) == 0
    assert 0 < np.asarray(left[..., -1]).sum() < B * T
    np.testing.assert_array_equal(np.asarray(slots.posterior.mean)[left], 0)
    np.testing.assert_array_equal(np.asarray(slots.posterior.log_std)[left], 0)
    again = inference.decode(model, params, slots, (S, S))
    np.testing.assert_allclose(again.masks, found.views["final"].masks, rtol=1e-4, atol=1e-6)
    by_mean = inference.decode(model, params, Slots(slots.posterior.mean), (S, S))
    np.testing.assert_array_equal(np.asarray(by_mean.masks)[left], 0)


def test_a_clip_keeps_one_restart_for_all_of_its_frames_and_its_state():
    """Two clips of three frames, two restarts: neither the best frame nor the first one decides."""
    nll = jnp.asarray([[[1., 1., 9.], [2., 2., 2.]], [[4., 4., 1.], [5., 0., 2.]]])  # [R, B, T]
    numbers = jnp.arange(12.0).reshape(2, 2, 3)

    def infer(noise):
        restart = noise[0, 0, 0, 0, 0].astype(int)
        return Step(10 * restart + jnp.arange(2), dict(last=numbers[restart]),
                    dict(nll=nll[restart] - 1, kl=jnp.ones((2, 3))), {})

    noise = jnp.broadcast_to(jnp.arange(2.0).reshape(2, 1, 1), (2, 3, 2, 1, 1))
    found = restarts.best_of(infer, noise, 2, whole_clips=True)
    np.testing.assert_array_equal(found.state, [10, 1])
    np.testing.assert_array_equal(found.latents["last"], [numbers[1, 0], numbers[0, 1]])
    np.testing.assert_array_equal(found.metrics["nll"], [[3, 3, 0], [1, 1, 1]])
