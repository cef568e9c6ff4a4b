"""The refiner's images against loops over pixels with scipy, and against automatic gradients."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

from parts_jax.equations import component_likelihood
from parts_jax.equations.component_likelihood import LIKELIHOODS
from parts_jax.equations.notation import PixelMixture
from parts_jax.models.iodine import inputs

B, K, H, W, SIGMA = 2, 3, 3, 4, 0.2
DENSITIES = {"gaussian": stats.norm, "gaussian_per_channel": stats.norm,
             "logistic": stats.logistic}
FORMS = (("mask", "probability"), ("logits", "log"))  # of the paper, and of the authors' code
compiled = jax.jit(inputs.image_inputs, static_argnums=(2, 3, 4, 5))


def problem(num_slots=K, seed=0):
    rng = np.random.default_rng(seed)
    means = rng.uniform(-0.2, 1.2, size=(B, num_slots, H, W, 3)).astype(np.float32)
    logits = 2 * rng.normal(size=(B, num_slots, H, W)).astype(np.float32)
    return PixelMixture(means, logits), rng.uniform(size=(B, H, W, 3)).astype(np.float32)


def densities_of(mixture, x, likelihood, sigma=SIGMA):
    """p(x_i | mu_k), float64 [B, K, H, W, S]: each by scipy."""
    each = DENSITIES[likelihood].pdf(np.float64(x)[:, None], np.float64(mixture.means), sigma)
    return each if likelihood == "gaussian_per_channel" else each.prod(-1, keepdims=True)


def log_p_of(masks, means, x, likelihood):
    """log p(x_i | z) of masks that need not sum to 1, [B, H, W]: equation (1) as it is written."""
    density = jax.scipy.stats.logistic if likelihood == "logistic" else jax.scipy.stats.norm
    each = jnp.exp(density.logpdf(x[:, None], means, SIGMA))
    if likelihood != "gaussian_per_channel":
        each = jnp.prod(each, axis=-1, keepdims=True)
    return jnp.sum(jnp.log(jnp.sum(masks[..., None] * each, axis=1)), axis=-1)


@pytest.mark.parametrize("likelihood", LIKELIHOODS)
def test_densities_are_scipys_and_mix_as_in_equation_1(likelihood):
    mixture, x = problem()
    found = component_likelihood.component_log_density(mixture, x, SIGMA, likelihood)
    expected = densities_of(mixture, x, likelihood)
    np.testing.assert_allclose(np.exp(found), expected, rtol=1e-4, atol=1e-9)

    log_prob = component_likelihood.log_prob(mixture, found)
    shares = component_likelihood.responsibilities(mixture, found)
    for b, i, j in np.ndindex(B, H, W):
        logits = np.float64(mixture.mask_logits[b, :, i, j])
        masks = np.exp(logits) / np.exp(logits).sum()
        total, share = 0.0, np.zeros(K)
        for s in range(expected.shape[-1]):
            p = sum(masks[k] * expected[b, k, i, j, s] for k in range(K))
            total += np.log(p)
            share += masks * expected[b, :, i, j, s] / p / expected.shape[-1]
        np.testing.assert_allclose(log_prob[b, i, j], total, rtol=1e-4, atol=1e-4)
        np.testing.assert_allclose(shares[b, :, i, j], share, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("likelihood", LIKELIHOODS)
def test_the_gradient_of_a_density_by_its_mean_is_the_automatic_one(likelihood):
    mixture, x = problem()
    take = jax.grad(lambda means: jnp.sum(component_likelihood.component_log_density(
        mixture.replace(means=means), x, SIGMA, likelihood)))
    np.testing.assert_allclose(
        component_likelihood.component_log_density_gradient(mixture, x, SIGMA, likelihood),
        take(mixture.means), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("likelihood", LIKELIHOODS)
def test_gradients_among_the_inputs_are_those_of_the_loss(likelihood):
    """L = -log p(x | z) summed over pixels: by means, by masks after the softmax, by logits."""
    mixture, x = problem()
    masks = jax.nn.softmax(mixture.mask_logits, axis=1)

    def loss(masks, means):
        return -jnp.sum(log_p_of(masks, means, x, likelihood))

    by_masks, by_means = jax.jit(jax.grad(loss, argnums=(0, 1)))(masks, mixture.means)
    _, pull = jax.vjp(lambda logits: jax.nn.softmax(logits, axis=1), mixture.mask_logits)
    by_logits, = pull(by_masks)
    close = functools.partial(np.testing.assert_allclose, rtol=1e-3, atol=1e-4)
    paper, authors = (compiled(mixture, x, SIGMA, likelihood, *form) for form in FORMS)
    close(paper["means_gradient"], by_means)
    close(paper["mask_gradient"][..., 0], by_masks)
    close(authors["mask_gradient"][..., 0], by_logits)
    assert np.abs(by_masks - by_logits).max() > 0.1


@pytest.mark.parametrize("likelihood", LIKELIHOODS)
def test_likelihoods_are_those_with_all_slots_and_with_one_really_left_out(likelihood):
    mixture, x = problem()
    found, logs = (compiled(mixture, x, SIGMA, likelihood, *form) for form in FORMS)
    log_p = lambda mixture: np.asarray(component_likelihood.log_prob(
        mixture, component_likelihood.component_log_density(mixture, x, SIGMA, likelihood)))
    of_all = log_p(mixture)
    for k in range(K):
        np.testing.assert_allclose(found["likelihood"][:, k, ..., 0], np.exp(of_all), rtol=1e-4)
        np.testing.assert_allclose(logs["likelihood"][:, k, ..., 0], of_all, rtol=1e-4, atol=1e-4)
        rest = log_p(jax.tree.map(lambda a, k=k: np.delete(a, k, axis=1), mixture))
        np.testing.assert_allclose(found["leave_one_out"][:, k, ..., 0], np.exp(rest), rtol=1e-3)
        np.testing.assert_allclose(
            logs["leave_one_out"][:, k, ..., 0], of_all - rest, rtol=1e-3, atol=1e-4)


def test_leaving_out_the_slot_that_has_it_all_keeps_all_digits():
    """Where 1 - m_k and 1 - p(k | x) are 0 in float32, what the others say is still a number."""
    mixture, _ = problem()
    logits = np.zeros_like(mixture.mask_logits)
    logits[:, 1] = 40.0
    mixture, x = mixture.replace(mask_logits=logits), mixture.means[:, 1]
    p = densities_of(mixture, x, "gaussian")[0, :, 0, 0, 0]
    found, logs = (compiled(mixture, x, SIGMA, "gaussian", *form)["leave_one_out"]
                   for form in FORMS)
    np.testing.assert_allclose(found[0, 1, 0, 0, 0], (p[0] + p[2]) / 2, rtol=1e-4)
    np.testing.assert_allclose(logs[0, 1, 0, 0, 0], np.log(2 * p[1] / (p[0] + p[2])), rtol=1e-4)
    np.testing.assert_allclose(found[0, [0, 2], 0, 0, 0], p[1], rtol=1e-4)


@pytest.mark.parametrize("likelihood", LIKELIHOODS)
def test_the_mask_posterior_leaves_masks_out(likelihood):
    mixture, x = problem()
    p = densities_of(mixture, x, likelihood)
    found = compiled(mixture, x, SIGMA, likelihood, *FORMS[0])
    np.testing.assert_allclose(found["mask_posterior"],
                               (p / p.sum(1, keepdims=True)).mean(-1, keepdims=True),
                               rtol=1e-3, atol=1e-6)


def test_what_is_shown_as_it_is():
    mixture, x = problem()
    found = compiled(mixture, x, SIGMA, "gaussian", *FORMS[0])
    assert sorted(found) == sorted(inputs.IMAGES)
    for name, image in found.items():
        assert image.shape == (B, K, H, W, inputs.INPUTS[name].channels), name
    np.testing.assert_array_equal(found["image"], np.repeat(x[:, None], K, axis=1))
    np.testing.assert_array_equal(found["means"], mixture.means)
    np.testing.assert_array_equal(found["mask_logits"][..., 0], mixture.mask_logits)
    np.testing.assert_allclose(found["mask"].sum(1), 1, rtol=1e-5)
    coordinates = jax.jit(lambda mixture, x, place: inputs.image_inputs(
        mixture, x, SIGMA, place=place)["coordinates"])
    place = np.asarray([[0.25, 0.75], [0.5, 0.5]], np.float32)  # y, x; the second: the middle
    placed = coordinates(mixture, x, place)
    for i, j in np.ndindex(H, W):
        middle = ((j + 0.5) / W * 2 - 1, (i + 0.5) / H * 2 - 1)
        np.testing.assert_allclose(found["coordinates"][:, :, i, j], np.broadcast_to(
            middle, (B, K, 2)), atol=1e-6)
        np.testing.assert_allclose(placed[1, 0, i, j], middle, atol=1e-6)
        np.testing.assert_allclose(placed[0, 0, i, j], (
            (j + 0.75) / W * 2 - 1, (i + 0.25) / H * 2 - 1), atol=1e-6)


def test_gradients_are_stopped_where_the_table_says_so():
    mixture, x = problem()
    weights = np.random.default_rng(1).normal(size=(B, K, H, W, 3)).astype(np.float32)
    stopped = {name for name in inputs.IMAGES if inputs.INPUTS[name].stop_gradient}
    assert stopped == {"means_gradient", "mask_gradient", "likelihood", "leave_one_out"}

    @jax.jit
    def gradients(mixture):
        images, pull = jax.vjp(lambda mixture: inputs.image_inputs(mixture, x, SIGMA), mixture)
        zeros = jax.tree.map(jnp.zeros_like, images)
        cotangents = {name: weights[..., :image.shape[-1]] for name, image in images.items()}
        of = lambda names: pull(zeros | {name: cotangents[name] for name in names})[0]
        return of(stopped | {"image", "coordinates"}), {
            name: of({name}) for name in ("means", "mask", "mask_logits", "mask_posterior")}

    through, others = gradients(mixture)
    assert all(np.abs(g).max() == 0 for g in jax.tree.leaves(through))
    for name, gradient in others.items():
        greatest = max(np.abs(g).max() for g in jax.tree.leaves(gradient))
        assert np.isfinite(greatest) and greatest > 1e-3, name


@pytest.mark.parametrize("likelihood, form", [
    ("gaussian", FORMS[0]), ("gaussian_per_channel", FORMS[0]), ("logistic", FORMS[1])])
def test_one_slot_is_finite(likelihood, form):
    mixture, x = problem(num_slots=1)
    found = compiled(mixture, x, SIGMA, likelihood, *form)
    assert all(np.isfinite(image).all() for image in found.values())
    np.testing.assert_array_equal(found["leave_one_out"], 0)
    np.testing.assert_array_equal(found["mask_posterior"], 1)
    # p / (1 p) of each channel that is mixed; and the only logit changes nothing.
    expected = 0 if form[0] == "logits" else -densities_of(mixture, x, likelihood).shape[-1]
    np.testing.assert_allclose(found["mask_gradient"], expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("likelihood", LIKELIHOODS)
def test_extreme_values_and_their_squares_are_finite(likelihood, form):
    """Masks that are 0 in float32, one slot right and the others thousands of sigmas off."""
    mixture, x = problem()
    means = np.array(1e3 * mixture.means)
    means[:, 0] = x
    mixture = PixelMixture(means, 1e3 * mixture.mask_logits)
    found = compiled(mixture, x, SIGMA, likelihood, *form)
    assert found["mask"].min() == 0
    for name, image in found.items():
        assert np.isfinite(np.square(image)).all(), name
