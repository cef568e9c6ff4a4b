"""SPACE's parts against plain ones, and the family by the contract, tiny."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from configs import space_rooms
from parts_jax import models
from parts_jax.models import space
from parts_jax.models.contract import Clip
from parts_jax.models.space import annealing, composition, family, latents, spatial_transformer
from parts_jax.models.space.composition import Foreground, Glimpses
from parts_jax.models.space.model import Decoded


def random(seed, *shape):
    return np.random.default_rng(seed).uniform(0, 1, shape).astype(np.float32)


# ---- Parts -----------------------------------------------------------------------------------


def test_a_glimpse_put_back_is_the_picture_within_its_box():
    """Of boxes with a pixel of the glimpse for each of theirs, exactly; zero outside."""
    image = random(0, 1, 16, 16, 3)
    where = np.array([[[0.5, 0.5, -0.25, 0.5], [0.5, 0.25, 0.0, -0.25]]], np.float32)
    cut = spatial_transformer.extract(image, where[:, :1], 8)
    put = spatial_transformer.place(cut, where[:, :1], (16, 16))[0, 0]
    y0, x0, y1, x1 = np.round(16 * spatial_transformer.boxes(where)[0, 0]).astype(int)
    assert (y0, x0, y1, x1) == (8, 2, 16, 10)
    np.testing.assert_allclose(cut[0, 0], image[0, y0:y1, x0:x1], atol=1e-5)
    inside = np.zeros((16, 16), bool)
    inside[y0:y1, x0:x1] = True
    np.testing.assert_allclose(put[inside], image[0][inside], atol=1e-5)
    outside = inside.copy()
    outside[y0 - 1:y1 + 1, x0 - 1:x1 + 1] = True
    assert np.abs(put)[~outside].max() == 0
    # A smooth picture comes back also where glimpse and box differ in size.
    rows = np.broadcast_to(np.linspace(0, 1, 16)[:, None, None], (16, 16, 1))[None]
    cut = spatial_transformer.extract(rows, where[:, 1:], 32)
    put = spatial_transformer.place(cut, where[:, 1:], (16, 16))[0, 0]
    y0, x0, y1, x1 = np.round(16 * spatial_transformer.boxes(where)[0, 1]).astype(int)
    np.testing.assert_allclose(put[y0:y1, x0:x1], rows[0, y0:y1, x0:x1], atol=1e-4)


def test_cold_presence_is_a_hard_sample_of_the_right_share():
    logits = np.repeat(np.float32([-2, 0, 1.5]), 4000)
    noise = np.random.default_rng(0).logistic(size=logits.shape).astype(np.float32)
    hard = logits + noise > 0
    np.testing.assert_allclose(latents.relaxed_bernoulli(logits, noise, 1e-6), hard, atol=1e-6)
    np.testing.assert_allclose(hard.reshape(3, -1).mean(1), 1 / (1 + np.exp([2, 0, -1.5])),
                               atol=0.03)
    assert 0.1 < latents.relaxed_bernoulli(0.0, 1.0, 2.0) < 0.9


def test_presence_kl_is_finite_at_the_coldest_prior():
    logits = np.float32([-8.8, 0, 8.8, -100, 100])
    value, gradient = jax.vmap(jax.value_and_grad(latents.presence_kl), (0, None))(logits, 1e-10)
    assert np.isfinite(value).all() and np.isfinite(gradient).all()
    p, rho = 1 / (1 + np.exp(-logits[:3].astype(np.float64))), 1e-10
    np.testing.assert_allclose(
        value[:3], p * np.log(p / rho) + (1 - p) * np.log((1 - p) / (1 - rho)), rtol=1e-4,
        atol=1e-6)


def test_gated_kls_of_absent_cells_are_their_presences_alone():
    of = lambda seed, size: latents.softplus_gaussian(random(seed, 1, 2, 2 * size))
    q = latents.CellPosterior(jnp.zeros((1, 2)), of(0, 1), of(1, 2), of(2, 2))
    what, priors = of(3, 3), latents.CellPriors(0.1, -1.0, 0.1)
    kls = functools.partial(latents.cell_kls, q, what, priors)
    absent, present = kls(jnp.array([[0.0, 0]]), "presence"), kls(jnp.array([[1.0, 1]]), "presence")
    free = kls(jnp.array([[0.0, 0]]), "none")
    for name in ("scale", "shift", "depth", "what"):
        assert absent[name] == 0 < present[name] == free[name]
    assert absent["presence"] == free["presence"] > 0


@pytest.mark.parametrize("order", composition.DEPTHS)
def test_rows_of_cells_are_composed_as_all_cells_at_once(order):
    """The softmax over all cells of the whole pictures, with numpy; and what each cell has."""
    where = np.concatenate([0.2 + 0.4 * random(0, 1, 9, 2), 2 * random(1, 1, 9, 2) - 1], -1)
    glimpses = Glimpses(random(2, 1, 9, 8, 8, 3), random(3, 1, 9, 8, 8), random(4, 1, 9),
                        4 * random(5, 1, 9) - 2, where)
    kernel = composition.boundary_kernel(8, 2, "code")
    found = composition.compose(glimpses, kernel, order, (12, 10))
    put = lambda a: np.asarray(spatial_transformer.place(a, where, (12, 10)), np.float64)
    depth = glimpses.depth[..., None, None]
    sigmoid = lambda v: 1 / (1 + np.exp(-v))
    signed = 100 * sigmoid(-depth) if order == "code" else -100 * sigmoid(depth)
    logits = put((signed * glimpses.alpha)[..., None])
    weights = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    alphas = weights * put(glimpses.alpha[..., None])
    np.testing.assert_allclose(found.alpha, alphas.sum(1)[..., 0], atol=1e-4)
    colours = weights * put(glimpses.colours * glimpses.alpha[..., None])
    np.testing.assert_allclose(found.mean, colours.sum(1), atol=1e-4)
    placed = put((kernel * glimpses.presence[..., None, None])[..., None])
    np.testing.assert_allclose(found.boundary, placed.sum(1)[..., 0], atol=1e-5)
    cells = composition.cell_alphas(glimpses, found.log_total, order, (12, 10))
    np.testing.assert_allclose(cells, alphas[..., 0], atol=1e-4)


def test_a_nearer_cell_hides_one_behind_it_and_the_papers_order_hides_both():
    where = np.tile(np.float32([[[1.0, 1, 0, 0]]]), (1, 4, 1))
    colours = np.broadcast_to(np.eye(4, 3, dtype=np.float32)[None, :, None, None], (1, 4, 8, 8, 3))
    alpha = np.ones((1, 4, 8, 8), np.float32) * np.float32([1, 1, 0, 0])[None, :, None, None]
    glimpses = Glimpses(colours, alpha, np.ones((1, 4), np.float32),
                        np.float32([[-2, 2, 0, 0]]), where)
    compose = functools.partial(composition.compose, glimpses, np.zeros((8, 8), np.float32))
    np.testing.assert_allclose(compose("code", (4, 4)).mean[0, 1, 1], [1, 0, 0], atol=1e-4)
    assert compose("paper", (4, 4)).alpha.max() < 1e-3


def test_boundary_losses():
    kernel = composition.boundary_kernel(8, 2, "paper")
    assert kernel.min() == -1 and kernel[1].max() == 0 and (kernel[2:6, 2:6] == -1).all()
    assert not composition.boundary_kernel(8, 2, "none").any()
    boundary, alpha = random(0, 2, 4, 4) / 1000, random(1, 2, 4, 4)
    nats = (1000 * boundary * alpha / 0.7) ** 2 / 2 + np.log(0.7 * np.sqrt(2 * np.pi))
    np.testing.assert_allclose(composition.boundary_loss(boundary, alpha, "code"),
                               nats.sum((1, 2)), rtol=1e-4)
    np.testing.assert_allclose(composition.boundary_loss(boundary, alpha, "paper"),
                               (boundary * alpha).mean((1, 2)), rtol=1e-4)
    assert (composition.boundary_loss(boundary, alpha, "none") == 0).all()


# ---- The family ------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def tiny():
    """(model, parameters, noise, clip of two frames, what the loss and decoding gave of it)."""
    config = space_rooms.get_config("tiny")
    config.model.alpha.fixed_steps, config.model.boundary.weight = 5, 1.0
    config.model.beta_pixels = 2 * 16 * 16  # KLs and boundary loss count half in 16x16 pixels
    config.model.beta_scale, config.model.spread_offset = (0.3,), -3.0
    model = models.create(config)
    params = model.init(jax.random.key(0))
    noise = model.noise(jax.random.split(jax.random.key(1), 2), 2, None)
    clip = Clip(random(0, 2, 2, 16, 16, 3), jnp.zeros((2, 2, 0)), noise)

    def both(params, clip, step):
        loss, made = model.loss(params, (), clip, step)
        scene = jax.tree.map(lambda a: a[:, 0], made.latents["final"])
        return loss, made, model.decode(params, scene, (16, 16))

    fast = {"xla_backend_optimization_level": 0}  # less to wait for
    run = jax.jit(both).lower(params, clip, jnp.int32(0)).compile(fast)
    return config, model, params, clip, functools.partial(run, params)


def test_views_are_as_the_contract_says(tiny):
    config, model, _, clip, run = tiny
    loss, made, view = run(clip, jnp.int32(0))
    assert model.num_slots == 4 + 2
    np.testing.assert_allclose(view.masks.sum(1), 1, atol=1e-5)
    assert view.masks.min() >= 0
    boxes, presence = np.asarray(view.boxes[..., :4]), np.asarray(view.boxes[..., 4])
    assert boxes.min() >= 0 and boxes.max() <= 1 and (boxes[..., :2] <= boxes[..., 2:]).all()
    assert (presence[:, 4:] == 0).all() and (presence[:, :4] > 0).all()
    assert np.isfinite(loss)
    metrics = made.metrics
    parts = sum(value for name, value in metrics.items() if name.startswith("kl_"))
    np.testing.assert_allclose(metrics["kl"], parts, rtol=1e-5)
    np.testing.assert_allclose(
        loss, np.mean(metrics["nll"] + (0.3 * metrics["kl"] + metrics["boundary"]) / 2), rtol=1e-5)


def test_alpha_is_fixed_at_first_and_the_boundary_loss_ends(tiny):
    config, _, _, clip, run = tiny
    fixed, free = (run(clip, jnp.int32(step))[1].metrics for step in (4, 5))
    assert np.abs(np.asarray(fixed["nll"] - free["nll"])).max() > 1
    np.testing.assert_allclose(fixed["alpha"], free["alpha"], rtol=0.02)
    np.testing.assert_allclose(fixed["boundary"], free["boundary"], rtol=0.1)
    at = annealing.values_at(config)
    assert at(99_999).boundary == 1 and at(100_000).boundary == 0
    assert at(4).alpha_fixed and not at(None).alpha_fixed
    assert at(None).temperature == at(sum(config.schedule.steps)).temperature


def test_posteriors_begin_narrow_and_priors_do_not(tiny):
    """Networks of zeros have means 0 and deviations of softplus(offset): KLs in closed form."""
    config, _, params, clip, run = tiny
    metrics = run.func(jax.tree.map(jnp.zeros_like, params), clip, jnp.int32(9))[1].metrics
    q, p = np.log1p(np.exp(-3.0)), np.log(2.0)
    kl = lambda q, p: np.log(p / q) + (q / p)**2 / 2 - 0.5
    numbers = config.model.background.mask_size + config.model.background.component_size
    for name, nats in {
            "what": 4 * config.model.foreground.what_size * kl(q, 1), "depth": 4 * kl(q, 1),
            "shift": 4 * 2 * kl(q, 1), "background": 2 * numbers * kl(q + 1e-4, p + 1e-4)}.items():
        np.testing.assert_allclose(metrics[f"kl_{name}"], nats, rtol=1e-4)


def test_sigma_of_a_stage_is_as_if_both_standard_deviations_were_that(tiny):
    config = tiny[0]
    masks = random(1, 1, 2, 4, 4)
    decoded = Decoded(Foreground(random(0, 1, 4, 4, 3), *random(2, 3, 1, 4, 4)),
                      masks / masks.sum(1), random(3, 1, 2, 4, 4, 3))
    alpha, x = random(4, 1, 4, 4), random(5, 1, 4, 4, 3)
    scaled = family.build(config).log_prob(decoded, alpha, x, 3.0)
    wider = config.copy_and_resolve_references()
    for part in (wider.model.foreground, wider.model.background):
        part.sigma_x *= 3
    np.testing.assert_allclose(scaled, family.build(wider).log_prob(decoded, alpha, x), rtol=1e-5)
    wider.schedule.steps, wider.model.sigma_scale = (5, 7), (3.0, 1.0)
    wider.model.beta_scale = (0.2, 0.4)
    at = annealing.values_at(wider)
    assert [float(at(step).scales.sigma) for step in (4, 5)] == [3, 1]
    np.testing.assert_allclose([at(step).scales.beta for step in (4, 5)], [0.2, 0.4])
    assert at(None).scales == (1, 1)
    wider.model.sigma_scale = (1.0, 3.0)
    with pytest.raises(ValueError, match="its last entry must be 1.0"):
        space.check(wider)


def test_frames_and_examples_are_each_by_themselves(tiny):
    """With group norms a frame's numbers depend on no other's; noise belongs to the example."""
    _, _, _, clip, run = tiny
    turned = jax.tree.map(lambda a: a[::-1, ::-1], clip)
    one, other = run(clip, jnp.int32(9))[1], run(turned, jnp.int32(9))[1]
    np.testing.assert_allclose(one.metrics["nll"], other.metrics["nll"][::-1, ::-1], rtol=1e-3)


def test_other_slots_frames_and_sizes_have_the_same_parameters(tiny):
    _, model, params, _, _ = tiny
    noise = model.noise(jax.random.split(jax.random.key(0), 1), 1, 7)
    clip = Clip(jnp.zeros((1, 1, 24, 32, 3)), jnp.zeros((1, 1, 0)), noise)
    _, made = jax.eval_shape(lambda p: model.loss(p, (), clip, None), params)
    scene = jax.tree.map(lambda a: jnp.zeros(a.shape[:1] + a.shape[2:]), made.latents["final"])
    view = jax.eval_shape(lambda p: model.decode(p, scene, (20, 12)), params)
    assert view.masks.shape == (1, 7, 20, 12) and view.boxes.shape == (1, 7, 5)
    more = model.noise(jax.random.split(jax.random.key(0), 1), 1, 9)
    np.testing.assert_array_equal(more["mask"][:, :, :3], noise["mask"])
    with pytest.raises(ValueError, match="num_slots is 4, but SPACE has 4 cells"):
        model.noise(jax.random.split(jax.random.key(0), 1), 1, 4)


def test_initial_parameters_have_the_spread_of_their_inputs(tiny):
    _, _, params, _, _ = tiny
    conv = params["background"]["image_encoder"]["conv_1"]["conv"]
    bound = np.prod(conv["kernel"].shape[:-1]) ** -0.5
    assert 0.9 * bound < np.abs(conv["kernel"]).max() <= bound
    assert 0 < np.abs(conv["bias"]).max() <= bound
    assert (params["background"]["image_encoder"]["conv_1"]["norm"]["scale"] == 1).all()
    assert not params["background"]["first_mask"].any()
    flat = np.concatenate([np.ravel(leaf) for leaf in jax.tree.leaves(params)])
    inner = flat[(flat != 0) & (flat != 1)]
    assert len(np.unique(inner)) > 0.95 * len(inner)  # no numbers are used twice


def run_of(cells):
    """A tiny model with such cells: (model, clip, (clip) -> what the loss gives and a view)."""
    config = space_rooms.get_config("tiny")
    config.model.foreground.cells = cells
    model = models.create(config)
    params = model.init(jax.random.key(0))
    if cells == "sequential":
        params["foreground"]["edge"] = random(5, *params["foreground"]["edge"].shape)
    noise = model.noise(jax.random.split(jax.random.key(1), 1), 1, None)
    clip = Clip(random(0, 1, 1, 16, 16, 3), jnp.zeros((1, 1, 0)), noise)

    def both(params, clip):
        loss, made = model.loss(params, (), clip, None)
        scene = jax.tree.map(lambda a: a[:, 0], made.latents["final"])
        return loss, made, model.decode(params, scene, (16, 16))

    fast = {"xla_backend_optimization_level": 0}
    return model, clip, functools.partial(jax.jit(both).lower(params, clip).compile(fast), params)


def test_cells_in_sequence_see_those_before_them_and_no_others():
    """Of the grid 0 1 / 2 3 another sample of cell 1 changes what is thought of 2 and 3 alone."""
    model, clip, run = run_of("sequential")
    other = clip._replace(noise=clip.noise | {"what": clip.noise["what"].at[:, :, 1].add(1.0)})
    one, another = (np.asarray(run(c)[1].latents["final"].probability)[0, 0] for c in (clip, other))
    changed = one != another
    assert changed.tolist() == [False, False, True, True]
    assert run(clip)[2].boxes.shape == (1, model.num_slots, 5)
    _, made, _ = run(clip)
    np.testing.assert_allclose(made.metrics["kl"], sum(
        value for name, value in made.metrics.items() if name.startswith("kl_")), rtol=1e-5)


def test_without_cells_components_are_all_there_is():
    """The loss is that of a mixture of components, by numpy; there are no boxes."""
    model, clip, run = run_of("none")
    loss, made, view = run(clip)
    assert model.num_slots == view.masks.shape[1] == 2 and view.boxes is None
    np.testing.assert_allclose(view.masks.sum(1), 1, atol=1e-5)
    metrics = made.metrics
    np.testing.assert_allclose(loss, (metrics["nll"] + metrics["kl"]).mean(), rtol=1e-6)
    np.testing.assert_array_equal(metrics["kl"], metrics["kl_background"])
    np.testing.assert_allclose(
        metrics["mse"][0, 0], np.square(view.recon[0] - clip.video[0, 0]).mean(), rtol=1e-4)
    # As both pictures are near each other, one Gaussian around the mean is near the mixture.
    nats = -0.5 * np.square((clip.video[0, 0] - np.asarray(view.recon[0], np.float64)) / 0.15)
    nats -= np.log(0.15 * np.sqrt(2 * np.pi))
    np.testing.assert_allclose(metrics["nll"][0, 0], -nats.sum(), rtol=0.02)
    with pytest.raises(ValueError, match="num_slots is -1, but SPACE has 0 cells"):
        model.noise(jax.random.split(jax.random.key(0), 1), 1, -1)


@pytest.mark.parametrize("key, value, message", [
    ("foreground.grid", 3, "config.model.foreground.grid is 3, .* it must be one of 4, 2"),
    ("boundary.gap", 4, "nothing is inside of such a boundary"),
])
def test_values_that_do_not_go_together(key, value, message):
    config = space_rooms.get_config("tiny")
    config.model.update_from_flattened_dict({key: value})
    with pytest.raises(ValueError, match=message):
        space.check(config)


@pytest.mark.parametrize("value", [(1.0, 2.0, 5, 5), (1.0, 2.0, 5), (0.0, 1.0, 0, 5), 2.0,
                                   (1.0, 2.0, 0.5, 5)])
def test_what_cannot_be_annealed_is_refused_in_a_sentence(value):
    rule = space.KEYS["foreground.temperature"]
    rule.check("temperature", (2.0, 2.0, 0, 0))
    with pytest.raises(ValueError, match=r"must be a tuple \(m, n, p, q\) of two numbers above 0"):
        rule.check("temperature", value)
