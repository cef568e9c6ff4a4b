"""IODINE on images: what sees what, what is free at call time, gradients by naive ways, weights."""

import functools
from unittest import mock

import chex
import jax
import jax.numpy as jnp
import ml_collections
import numpy as np
import pytest
from scipy import special, stats

from configs import iodine_tetrominoes
from parts_jax import models
from parts_jax.equations import refinement
from parts_jax.equations.notation import Gaussian, Pixels
from parts_jax.models.contract import Clip, View
from parts_jax.models.iodine import family, model, objective
from parts_jax.runs import config_rules

B, T, N, K, D, S = 2, 2, 2, 3, 3, 8
TINY = {"model.num_slots": K, "model.slot_size": D, "model.num_iterations": N,
        "model.test_iterations": N,
        "model.decoder.kind": "broadcast", "model.decoder.colour": "full",
        "model.decoder.channels": (4,), "model.decoder.kernel_size": 3,
        "model.decoder.centred": False, "model.refiner.glimpse": 0,
        "model.refiner.channels": (4,), "model.refiner.mlp": (5,), "model.refiner.lstm_size": 4,
        "train.pixels": (1,), "train.encoder_pooling": (1,), "model.beta": 100.0}
PAPER = {}
OFFICIAL = {"model.likelihood": "logistic", "model.sigma_x": 0.1, "model.posterior": "softplus",
            "model.refiner.mask_gradient": "logits", "model.refiner.likelihood_form": "log",
            "model.refiner.lstm_size": 0, "model.weights": "linear_from_first",
            "model.decoder.kind": "coordinates", "model.decoder.kernel_size": 1,
            "model.decoder.colour": "affine"}
THROUGH = {"model.refiner.through_decoder": True, "model.decoder.examples_at_once": 1}


def config_of(changes) -> ml_collections.ConfigDict:
    config = iodine_tetrominoes.get_config("tiny")
    config.update_from_flattened_dict(TINY | dict(changes))
    config_rules.check(config, None)
    return config


@functools.cache
def build(changes=()):
    """Model, and parameters none of which are 0."""
    model, rng = models.create(config_of(changes)), np.random.default_rng(1)
    shapes = jax.eval_shape(model.init, jax.random.key(0))
    return model, jax.tree.map(
        lambda p: (rng.normal(size=p.shape) * 0.4).astype(np.float32), shapes)


@functools.cache
def compiled(changes=()):
    return jax.jit(build(changes)[0].loss)


def clip_of(num_slots=K, iterations=N, height=S, width=S, frames=T):
    rng = np.random.default_rng(0)
    video = rng.uniform(size=(B, frames, height, width, 3)).astype(np.float32)
    noise = rng.normal(size=(B, frames, 9, num_slots, D)).astype(np.float32)
    return Clip(video, np.zeros((B, frames, 0), np.float32), noise[:, :, :iterations + 1])


def run(changes, clip, step=None):
    changes = tuple(changes.items())
    return compiled(changes)(build(changes)[1], (), clip, step)


def to_double(tree):
    return jax.tree.map(lambda a: jnp.asarray(a, jnp.float64), tree)


@pytest.mark.parametrize("changes", [PAPER, OFFICIAL])
def test_permuting_slots_permutes_everything(changes):
    clip, order = clip_of(), np.asarray([2, 0, 1])
    loss, plain = run(changes, clip)
    other, permuted = run(changes, clip._replace(noise=clip.noise[:, :, :, order]))
    close = functools.partial(np.testing.assert_allclose, rtol=1e-3, atol=1e-3)
    close(other, loss)
    view, moved = plain.views["final"], permuted.views["final"]
    close(moved.masks, view.masks[:, :, order])
    close(moved.slots, view.slots[:, :, order])
    close(moved.recon, view.recon)
    close(permuted.iterations.masks, plain.iterations.masks[:, :, :, order])
    posteriors = (step.latents["final"].posterior for step in (permuted, plain))
    jax.tree.map(lambda a, b: close(a, b[:, :, order]), *posteriors)
    assert np.abs(view.masks[:, :, 0] - view.masks[:, :, 1]).max() > 1e-2  # slots do differ


@pytest.mark.parametrize("changes", [PAPER, OFFICIAL])
def test_images_do_not_see_each_other(changes):
    clip = clip_of()
    changed = clip.video.copy()
    changed[1, 0] = 1 - changed[1, 0]
    a, b = run(changes, clip)[1], run(changes, clip._replace(video=changed))[1]
    same = np.ones((B, T), bool)
    same[1, 0] = False
    for x, y in zip(*map(jax.tree.leaves, (a.latents, b.latents)), strict=True):
        np.testing.assert_array_equal(x[same], y[same])
        assert np.abs(x[1, 0] - y[1, 0]).max() > 1e-4


def test_pixels_in_the_middle_of_their_blocks_are_a_smaller_image():
    """Only `pixels` is explained and refined by, at whatever place; `video` is not looked at."""
    clip = clip_of()
    loss, plain = run(OFFICIAL, clip)
    of = lambda place: run(OFFICIAL, clip._replace(
        video=1 - clip.video, pixels=Pixels(clip.video, np.full((B, T, 2), place, np.float32))))
    same, subset = of(0.5)
    np.testing.assert_allclose(same, loss, rtol=1e-3)
    np.testing.assert_allclose(
        subset.views["final"].masks, plain.views["final"].masks, rtol=1e-2, atol=1e-3)
    elsewhere, _ = of(0.9)
    assert abs(elsewhere - loss) > 1e-2 * abs(loss)


def test_slots_iterations_and_resolution_are_free_at_call_time():
    num_slots, iterations, height, width = 5, 3, 8, 12
    loss, step = run(PAPER, clip_of(num_slots, iterations, height, width))
    assert np.isfinite(loss) and step.state == ()
    assert step.latents["final"].z.shape == (B, T, num_slots, D)
    assert step.iterations.masks.shape == (B, T, iterations + 1, num_slots, height, width)
    assert step.iterations.recon.shape == (B, T, iterations + 1, height, width, 3)
    np.testing.assert_allclose(step.iterations.masks.sum(3), 1, rtol=1e-5)
    np.testing.assert_array_equal(step.iterations.masks[:, :, -1], step.views["final"].masks)
    # What evaluation would decode anew is what was scored.
    model, params = build()
    first = jax.tree.map(lambda a: a[:, 0], step.latents["final"])
    view = jax.jit(model.decode, static_argnums=2)(params, first, (height, width))
    np.testing.assert_allclose(view.masks, step.views["final"].masks[:, 0], rtol=1e-4, atol=1e-5)


def test_a_model_refines_more_often_in_use_than_in_training():
    model, params = build((("model.test_iterations", N + 1),))
    clip = clip_of()._replace(noise=model.noise(jax.random.split(jax.random.key(3), B), T, None))
    assert model.num_iterations == N + 1 and clip.noise.shape[2] == N + 2
    run = jax.jit(lambda step: model.loss(params, (), clip, step)[1].iterations.masks)
    used, trained = run(None), run(100)  # beta has its end by then
    assert used.shape[2] == N + 2 and trained.shape[2] == N + 1
    np.testing.assert_allclose(used[:, :, :N + 1], trained, atol=1e-5)


def test_the_likelihood_is_wider_in_stages_that_say_so():
    """Of stages of 5 steps: the loss of step 4 has twice the sigma_x of use, that of 5 the same."""
    changes = {"schedule.steps": (5, 5), "schedule.resolution": (35, 35),
               "schedule.learning_rate": (1e-3,) * 2, "schedule.warmup_steps": (1, 1),
               "schedule.final_scale": (1.0, 1.0), "train.pixels": (1, 1),
               "train.encoder_pooling": (1, 1), "model.beta_scale": (1.0, 1.0),
               "model.beta_warmup_steps": 0}
    narrowing, params = build(tuple((changes | {"model.sigma_scale": (2.0, 1.0)}).items()))
    sigma_x = config_of(changes | {"model.sigma_scale": (2.0, 1.0)}).model.sigma_x
    wide, _ = build(tuple((changes | {
        "model.sigma_scale": (1.0, 1.0), "model.sigma_x": 2 * sigma_x}).items()))
    clip = clip_of()
    loss = lambda model, step: float(model.loss(params, (), clip, step)[0])
    np.testing.assert_allclose(loss(narrowing, 4), loss(wide, None), rtol=1e-5)
    np.testing.assert_allclose(loss(narrowing, 5), loss(narrowing, None), rtol=1e-5)
    assert abs(loss(narrowing, 4) / loss(narrowing, 5) - 1) > 0.01


def test_more_iterations_begin_with_the_same_ones():
    """Noise of an iteration is of its number alone, so those before do not notice."""
    model, _ = build()
    keys = jax.random.split(jax.random.key(3), B)
    few, config, many = (np.asarray(model.noise(keys, T, None, n)) for n in (1, None, 4))
    for n, noise in ((1, few), (N, config), (4, many)):
        assert noise.shape == (B, T, n + 1, K, D)
        np.testing.assert_array_equal(noise, many[:, :, :n + 1])
    assert len(np.unique(many)) == many.size
    few, more = (run(PAPER, clip_of()._replace(noise=n))[1].iterations.masks
                 for n in (few, config))
    np.testing.assert_allclose(more[:, :, :2], few, atol=1e-5)
    assert np.abs(more[:, :, 2] - more[:, :, 1]).max() > 1e-3


def test_losses_are_weighted_by_their_iteration():
    """Of one refinement the last loss alone counts; of two, half of the one before as well."""
    one, two = (run(PAPER, clip_of(iterations=n)) for n in (1, 2))
    of_one, of_two = (step.metrics["neg_elbo"].mean() for _, step in (one, two))
    assert abs(of_one - of_two) > 1
    np.testing.assert_allclose(one[0], of_one, rtol=1e-5)
    np.testing.assert_allclose(two[0], of_one / 2 + of_two, rtol=1e-5)


@pytest.mark.parametrize("weights, expected", [
    ("linear", [0, 1 / 4, 2 / 4, 3 / 4, 1]),
    ("linear_from_first", [1 / 5, 2 / 5, 3 / 5, 4 / 5, 1])])
def test_weights_by_hand(weights, expected):
    iodine = family.build(config_of({"model.weights": weights}))
    np.testing.assert_allclose(iodine.weights_of(len(expected)), expected, rtol=1e-6)
    np.testing.assert_array_equal(iodine.weights_of(1), 1)  # no refinement: that loss all the same


def test_beta_goes_with_the_pixels_and_with_the_step():
    config = config_of({})
    full = config.model.beta * S * S / config.model.beta_pixels
    for step, scale in ((None, 1.0), (0, config.model.beta_warmup_start), (10, 1.0)):
        metrics = run(PAPER, clip_of(), step)[1].metrics
        beta = (metrics["neg_elbo"] - metrics["nll"]) / metrics["kl"]
        np.testing.assert_allclose(beta, full * scale, rtol=5e-2, err_msg=str(step))


@pytest.mark.parametrize("changes", [PAPER, OFFICIAL])
def test_the_inner_gradient_equals_finite_differences_in_float64(changes):
    """Minus the ELBO as sections 2.1 and 2.2 have it, by numpy and scipy but for the decoder."""
    config = config_of(changes)
    c, iodine = config.model, family.build(config)
    _, params = build(tuple(changes.items()))
    with jax.enable_x64(True):
        params = to_double(params)
        rng = np.random.default_rng(5)
        lambda_, noise = rng.normal(size=(2, B, K, D)), rng.normal(size=(B, K, D))
        x = np.float64(clip_of().video[:, 0])
        decode = jax.jit(lambda z: iodine.apply({"params": params}, z, (S, S), method="decode"))

        def score(module):
            return module.score(module.networks(), Gaussian(*map(jnp.asarray, lambda_)), x, noise,
                                model.Scales(0.7))

        found = jax.jit(lambda: iodine.apply({"params": params}, method=score))()

        def loss(lambda_):  # [n, 2, B, K, D] -> [n, B]
            mean, raw = lambda_[:, 0], lambda_[:, 1]
            if c.posterior == "exp":
                variance, of_prior = np.exp(2 * (raw + c.log_std_offset)), 1.0
            else:
                variance, of_prior = np.log1p(np.exp(raw)), np.log(2)
            kl = 0.5 * (variance / of_prior + mean**2 / of_prior - 1
                        - np.log(variance / of_prior)).sum((2, 3))
            mixture = jax.device_get(decode(mean + np.sqrt(variance) * noise))
            density = stats.logistic if c.likelihood == "logistic" else stats.norm
            log_density = density.logpdf(x[:, None], mixture.means, c.sigma_x).sum(-1)
            log_masks = special.log_softmax(mixture.mask_logits, axis=2)
            log_p = special.logsumexp(log_masks + log_density, axis=2).sum((2, 3))
            return 0.7 * c.beta * S * S / c.beta_pixels * kl - log_p

        np.testing.assert_allclose(found.loss, loss(lambda_[None]).sum(), rtol=1e-6)
        h, steps = 1e-5, np.eye(2 * K * D).reshape(-1, 2, 1, K, D)
        difference = (loss(lambda_ + h * steps) - loss(lambda_ - h * steps)) / (2 * h)
        expected = difference.T.reshape(B, 2, K, D)
    np.testing.assert_allclose(found.gradient.mean, expected[:, 0], rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(found.gradient.log_std, expected[:, 1], rtol=1e-5, atol=1e-5)
    assert np.abs(expected).min((0, 2, 3)).min() > 1e-6


@functools.cache
def value_and_gradient(changes, score_by):
    """Of every parameter, in float64, a score by `refinement.score` or by the naive way."""
    model, params = build(changes)
    with jax.enable_x64(True), mock.patch.object(refinement, "score", score_by):
        take = jax.jit(jax.value_and_grad(lambda p: model.loss(p, (), to_double(clip_of(frames=1)),
                                                               None)[0]))
        return jax.device_get(take(to_double(params)))


SCORE = refinement.score


def test_gradient_equals_naive_differentiation():
    once, naive = (value_and_gradient((), score_by)
                   for score_by in (SCORE, refinement.score_naively))
    chex.assert_trees_all_close(once, naive, rtol=1e-6, atol=1e-9)
    assert all(np.abs(g).max() > 0 for g in jax.tree.leaves(once[1]))


def test_gradients_through_the_decoder_change_gradients_but_no_value():
    constant, through = (value_and_gradient(tuple(changes.items()), SCORE)
                         for changes in (PAPER, THROUGH))
    assert constant[0] == pytest.approx(through[0], rel=1e-9)
    relative = lambda a, b: np.linalg.norm(a - b) / np.linalg.norm(a)
    change = jax.tree.map(relative, constant[1], through[1])
    assert min(jax.tree.leaves(change["decoder"])) > 1e-4
    assert change["start_mean"] > 1e-4
    assert change["refiner"]["update"]["bias"] > 1e-6


def test_without_an_lstm_nothing_is_remembered():
    with_lstm, without = (jax.eval_shape(models.create(config_of(changes)).init, jax.random.key(0))
                          for changes in ({}, {"model.refiner.lstm_size": 0}))
    assert "lstm" in with_lstm["refiner"] and "lstm" not in without["refiner"]
    assert without["refiner"]["update"]["kernel"].shape == (5 + 4 * D, 2 * D)
    assert with_lstm["refiner"]["update"]["kernel"].shape == (4, 2 * D)


@pytest.mark.parametrize("form, variance", [
    ("exp", lambda raw: np.exp(2 * (raw - 1.5))), ("log_variance", np.exp),
    ("softplus", lambda raw: np.log1p(np.exp(raw)))])
def test_posteriors_and_their_priors(form, variance):
    """By scipy: KL of two normal distributions is the difference of an entropy and a mean."""
    rng = np.random.default_rng(2)
    lambda_ = Gaussian(*rng.normal(size=(2, K, D)).astype(np.float32))
    q = objective.posterior(lambda_, form, -1.5)
    np.testing.assert_allclose(np.exp(2 * q.log_std), variance(lambda_.log_std), rtol=1e-4)
    np.testing.assert_array_equal(q.mean, lambda_.mean)
    prior = np.log(2) if form == "softplus" else 1.0
    expected = np.zeros(K)
    for k, d in np.ndindex(K, D):
        mean, var = np.float64(q.mean[k, d]), variance(np.float64(lambda_.log_std[k, d]))
        # E_q[-log p]: the log of a normal density is quadratic, so its mean needs two moments.
        cross = 0.5 * np.log(2 * np.pi * prior) + (var + mean**2) / (2 * prior)
        expected[k] += cross - stats.norm(mean, np.sqrt(var)).entropy()
    np.testing.assert_allclose(objective.kl_to_prior(q, form), expected, rtol=1e-4)


def test_responsibilities_of_a_view_are_those_of_its_mixture():
    model, _ = build()
    rng = np.random.default_rng(3)
    means, frame = rng.uniform(size=(B, K, S, S, 3)), rng.uniform(size=(B, S, S, 3))
    masks = special.softmax(rng.normal(size=(B, K, S, S)), axis=1)
    found = model.assign(View(None, *map(jnp.asarray, (masks, means))), jnp.asarray(frame))
    density = stats.norm.pdf(frame[:, None], means, config_of({}).model.sigma_x).prod(-1)
    expected = masks * density / (masks * density).sum(1, keepdims=True)
    np.testing.assert_allclose(found, expected, rtol=1e-2, atol=1e-4)
