"""S-IODINE, OP3 and the rows between them and PARTS: switches of one model, and what they share."""

import functools
from unittest import mock

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from configs import parts_clevrer
from parts_jax import models
from parts_jax.equations import gaussian, pixel_mixture, refinement
from parts_jax.equations.notation import Gaussian, PixelMixture, Pixels
from parts_jax.models.contract import Clip
from parts_jax.models.parts import family, per_slot, transition
from parts_jax.runs import config_rules, configuration, earlier_configs

B, T, K, S, D, A = 2, 4, 3, 8, 4, 2
TINY = {"model.num_slots": K, "model.slot_size": D, "train.unroll": 1, "train.truncation": 3,
        "train.pixels": (1, 1), "train.encoder_pooling": (1, 1), "data.action_size": A,
        "model.decoder.channels": (8,), "model.encoder.channels": (4,),
        "model.encoder.output_size": 8, "model.attention.size": 8, "model.attention.mlp": (8,),
        "model.transition.width": 8, "model.transition.mlp_width": 8,
        "model.transition.lstm_size": 8, "model.transition.num_heads": 2,
        "model.transition.effect_size": 4, "model.per_slot.channels": (8,),
        "model.per_slot.mlp": (8,), "model.per_slot.lstm_size": 8}
PARTS = {}
S_IODINE = {"model.refiner": "per_slot", "model.transition.kind": "none",
            "model.transition.decay": 0.0, "data.action_size": 0}
OP3 = {"model.refiner": "per_slot", "model.per_slot.reset": True,
       "model.transition.kind": "graph", "model.prior": "predictive"}
LATEST = {"model.transition.kind": "graph", "model.prior": "latest"}


def config_of(changes):
    config = parts_clevrer.get_config("demo")
    config.update_from_flattened_dict(TINY | changes)
    config_rules.check(config, None)
    return config


def shapes_of(changes):
    """What parameters a row has, by path."""
    shapes = jax.eval_shape(models.create(config_of(changes)).init, jax.random.key(0))
    return {jax.tree_util.keystr(path): leaf.shape
            for path, leaf in jax.tree_util.tree_leaves_with_path(shapes)}


@functools.cache
def build(changes):
    """Config, model, parameters that are drawn, not initialised, and the compiled loss."""
    config = config_of(dict(changes))
    model, rng = models.create(config), np.random.default_rng(0)
    params = jax.tree.map(lambda p: 0.3 * rng.normal(size=p.shape).astype(np.float32),
                          jax.eval_shape(model.init, jax.random.key(0)))
    return config, model, params, jax.jit(
        lambda params, clip: model.loss(params, model.start(B, None), clip, None))


def made(changes):
    return build(tuple(changes.items()))


def clip_for(config):
    rng = np.random.default_rng(0)
    video = rng.uniform(size=(B, T, S, S, 3)).astype(np.float32)
    actions = rng.normal(size=(B, T, config.data.action_size)).astype(np.float32)
    noise = rng.normal(size=(B, T, family.build(config).num_scores, K, D)).astype(np.float32)
    return Clip(video, actions, noise, seen=np.ones((B, T), bool))


def test_rows_have_the_same_parameters_where_they_share_a_network():
    """Names and shapes; and, of one seed, the same decoder bit for bit."""
    parts, s_iodine, op3, latest = map(shapes_of, (PARTS, S_IODINE, OP3, LATEST))
    of = lambda row, *networks: {
        name: shape for name, shape in row.items() if name.split("'")[1] in networks}
    assert of(s_iodine, "decoder") == of(op3, "decoder") == of(parts, "decoder")
    assert of(latest, "decoder", "encoder", "attention") == of(
        parts, "decoder", "encoder", "attention")
    assert s_iodine == of(s_iodine, "decoder", "refiner")
    assert op3 == of(op3, "decoder", "refiner", "transition")
    assert of(op3, "transition") == of(latest, "transition")
    # S-IODINE's refiner is OP3's but for the layer that sees the action.
    assert {name for name in s_iodine if s_iodine[name] != op3[name]} == {
        "['refiner']['mlp_0']['kernel']"}
    decoders = [jax.jit(lambda key, row=row: models.create(config_of(row)).init(key)["decoder"])(
        jax.random.key(0)) for row in (PARTS, OP3)]
    chex.assert_trees_all_equal(*decoders)


def test_a_row_without_transition_is_parts_whose_transition_says_nothing():
    """The same encoder, attention and decoder: the same numbers, but for rounding."""
    _, _, params, of_parts = made({"model.transition.decay": 0.0})
    config, _, shapes, of_row = made({"model.transition.kind": "none",
                                      "model.transition.decay": 0.0})
    assert set(params) == {*shapes, "transition"} and "transition" not in shapes
    clip = clip_for(config)
    value, step = of_parts(
        params | {"transition": jax.tree.map(np.zeros_like, params["transition"])}, clip)
    expected, row = of_row({name: params[name] for name in shapes}, clip)
    np.testing.assert_allclose(value, expected, rtol=1e-6)
    chex.assert_trees_all_close(step.latents, row.latents, atol=1e-5)
    assert abs(of_parts(params, clip)[0] - value) > 1e-3  # what it says does matter


@pytest.mark.parametrize("row", [S_IODINE, OP3], ids=["s_iodine", "op3"])
def test_permuting_slots_permutes_everything(row):
    config, _, params, loss = made(row)
    clip = clip_for(config)
    order = np.asarray([2, 0, 1])
    (plain, ours), (permuted, theirs) = loss(params, clip), loss(
        params, clip._replace(noise=clip.noise[:, :, :, order]))
    np.testing.assert_allclose(permuted, plain, rtol=1e-5)
    for leaf, moved in zip(*map(jax.tree.leaves, (ours.latents, theirs.latents)), strict=True):
        np.testing.assert_allclose(moved, np.asarray(leaf)[:, :, order], atol=5e-4)
    mean = np.asarray(ours.latents["refined"].posterior.mean)
    assert np.abs(mean[:, -1, 0] - mean[:, -1, 1]).max() > 1e-3  # slots do differ
    assert not ours.maps and "attention_entropy" not in ours.metrics


def test_gradient_equals_naive_differentiation():
    """Every parameter of a refiner with a memory and a predictive prior, which is S-IODINE's
    last posterior here; the state's gradient is cut at frame 3; in float64."""
    with jax.enable_x64(True):
        config, model, params, _ = made(
            S_IODINE | {"model.prior": "predictive", "data.action_size": A})
        params, clip, start = jax.tree.map(
            lambda a: jnp.asarray(a, jnp.float64), (params, clip_for(config), model.start(B, None)))
        clip = clip._replace(seen=None)
        take = lambda: jax.jit(jax.grad(lambda p: model.loss(p, start, clip, None)[0]))(params)
        once = take()
        with mock.patch.object(refinement, "score", refinement.score_naively):
            naive = take()
    chex.assert_trees_all_close(once, naive, rtol=1e-5, atol=1e-9)
    assert all(np.abs(g).max() > 0 for g in jax.tree.leaves(once))


def test_kl_of_the_predictive_prior_is_measured():
    """By hand from the posteriors that it leaves: to N(0, I) first, to the prediction after."""
    config, _, params, loss = made(OP3)
    clip = clip_for(config)
    value, step = loss(params, clip)
    predicted, refined = (jax.tree.map(np.asarray, step.latents[stage].posterior)
                          for stage in ("predicted", "refined"))
    expected = np.array(gaussian.kl(refined, predicted).sum(-1))
    at_first = lambda q: gaussian.kl_to_standard_normal(jax.tree.map(lambda a: a[:, 0], q)).sum(-1)
    expected[:, 0] = at_first(refined)
    np.testing.assert_allclose(step.metrics["kl"], expected, rtol=1e-4)
    assert expected.min() > 1e-4
    # The loss is the mean over prediction and refinement; the first has no KL but at frame 0.
    beta = config.model.beta * S * S / config.model.beta_pixels
    mixture = family.build(config).apply(
        {"params": params}, gaussian.sample(refined, clip.noise[:, :, 1]), (S, S), method="decode")
    again = -pixel_mixture.log_prob(mixture, clip.video, config.model.sigma_x).sum((1, 2, 3))
    total = step.metrics["nll"].sum(1) + again + beta * (expected.sum(1) + at_first(predicted))
    np.testing.assert_allclose(value, total.mean() / (2 * T), rtol=1e-4)


def test_a_frame_that_is_not_seen_changes_nothing_but_by_the_transition():
    config, _, params, loss = made(OP3)
    clip = clip_for(config)
    clip.seen[0, 1] = False
    _, step = loss(params, clip)
    predicted, refined = (step.latents[stage].posterior for stage in ("predicted", "refined"))
    same = np.abs(np.asarray(predicted.mean) - refined.mean).max((2, 3)) == 0
    np.testing.assert_array_equal(same, ~clip.seen)
    np.testing.assert_array_equal(np.asarray(step.metrics["kl"]) == 0, ~clip.seen)
    assert all(np.isfinite(metric).all() for metric in step.metrics.values())


def test_priors_of_a_frame():
    """N(0, I) before the first; the prediction, or the last posterior, after it."""
    q = Gaussian(np.full((B, K, D), 2.0, np.float32), np.full((B, K, D), 3.0, np.float32))
    for row, mean, log_std in ((OP3, 2.0, 3.0), (LATEST, 1.0, -1.0)):  # offset -2
        parts = family.build(config_of(row))
        state = parts.initial_state(B).replace(
            started=jnp.asarray([0.0, 1.0]),
            posterior=Gaussian(jnp.ones((B, K, D)), jnp.ones((B, K, D))))
        prior = parts.prior_of(state, q)
        np.testing.assert_array_equal(prior.mean[:, 0, 0], [0, mean])
        np.testing.assert_array_equal(prior.log_std[:, 1, 1], [0, log_std])
    assert family.build(config_of(PARTS)).prior_of(state, q) is None
    assert family.build(config_of(PARTS)).initial_state(B).started == ()
    before = jax.tree.leaves(family.build(config_of(LATEST)).initial_state(B))
    assert all(np.abs(leaf).max() == 0 for leaf in before)


def test_op3_forgets_and_s_iodine_remembers():
    """The refiner's LSTM at the start of a frame: zeros, or what the last frame left."""
    for row, kept in ((S_IODINE, 1.0), (OP3, 0.0)):
        parts = family.build(config_of(row))
        state = parts.initial_state(B)
        state = state.replace(refiner=jax.tree.map(jnp.ones_like, state.refiner))
        assert len(jax.tree.leaves(state.refiner)) == 2
        for leaf in jax.tree.leaves(parts.memory_of(state)):
            np.testing.assert_array_equal(leaf, np.full((B, K, 8), kept))


@pytest.mark.parametrize("row", [S_IODINE, OP3, LATEST], ids=["s_iodine", "op3", "latest"])
def test_frames_ahead_and_other_sizes_can_be_traced(row):
    """Roll-outs, another K and size, a subset of pixels, bfloat16."""
    config = config_of(row | {"model.dtype": "bfloat16"})
    model = models.create(config)
    params = jax.eval_shape(model.init, jax.random.key(0))
    state = model.start(B, 5)
    actions = jnp.zeros((B, T, config.data.action_size))
    ahead = jax.eval_shape(model.predict, params, state, actions, None)
    assert ahead.z.shape == (B, T, 5, D)
    noise = model.noise(jax.random.split(jax.random.key(0), B), T, 5)
    pixels = Pixels(jnp.zeros((B, T, 6, 6, 3)), jnp.zeros((B, T, 2)))
    loss, step = jax.eval_shape(
        lambda *a: model.loss(*a, None), params, state,
        Clip(jnp.zeros((B, T, 6, 6, 3)), actions, noise, pixels=pixels))
    assert loss.dtype == jnp.float32 and step.latents["refined"].z.shape == (B, T, 5, D)


images_of = jax.jit(per_slot.images_of)


def test_images_of_a_slot_are_gradients_of_the_mixture():
    """Against automatic differentiation; by the mask means after its softmax."""
    rng = np.random.default_rng(0)
    mixture = PixelMixture(*(jnp.asarray(rng.normal(size=shape), jnp.float32) for shape in (
        (B, K, S, S, 3), (B, K, S, S))))
    x, sigma = rng.uniform(size=(B, S, S, 3)).astype(np.float32), 0.7
    images = images_of(mixture, x, sigma)

    def loss(means, masks):
        log_normal = pixel_mixture.component_log_prob(
            PixelMixture(means, jnp.zeros_like(masks)), x, sigma) + jnp.log(K)
        return -jnp.sum(jnp.log(jnp.sum(masks * jnp.exp(log_normal), axis=1)))

    masks = jax.nn.softmax(mixture.mask_logits, axis=1)
    by_means, by_masks = jax.jit(jax.grad(loss, (0, 1)))(mixture.means, masks)
    named = images.normalised
    np.testing.assert_allclose(named["mean_gradient"], by_means, rtol=2e-4, atol=1e-6)
    np.testing.assert_allclose(named["mask_gradient"][..., 0], by_masks, rtol=2e-4, atol=1e-6)
    frame, means, mask, logit, weights = np.split(images.plain, [3, 6, 7, 8], axis=-1)
    np.testing.assert_array_equal(frame[:, 1], x)
    np.testing.assert_array_equal(means, mixture.means)
    np.testing.assert_allclose(mask[..., 0], masks, rtol=1e-5)
    np.testing.assert_array_equal(logit[..., 0], mixture.mask_logits)
    squares = np.square(x[:, None] - mixture.means).sum(-1) / (2 * sigma**2)
    np.testing.assert_allclose(weights[..., 0], jax.nn.softmax(-squares, axis=1), rtol=1e-4)
    without = PixelMixture(mixture.means[:, 1:], mixture.mask_logits[:, 1:])
    others = jnp.exp(pixel_mixture.log_prob(without, x, sigma)) * (1 - masks[:, 0])
    np.testing.assert_allclose(named["leave_one_out"][:, 0, ..., 0], others, rtol=1e-3, atol=1e-5)


def test_images_stay_finite_where_a_mask_is_nothing():
    """The gradient by a mask of e^-200 of the one slot that explains the pixel."""
    logits = jnp.zeros((1, 2, 2, 2)).at[:, 0].set(-200.0)
    means = jnp.zeros((1, 2, 2, 2, 3)).at[:, 1].set(5.0)
    images = images_of(PixelMixture(means, logits), jnp.zeros((1, 2, 2, 3)), 0.1)
    norm, params = per_slot.ImageNorm(), {"params": {"scale": np.ones(1), "offset": np.zeros(1)}}
    for name, image in images.normalised.items():
        if name != "mean_gradient":
            assert np.isfinite(jax.jit(norm.apply)(params, image)).all()


def test_a_subset_of_pixels_is_seen_at_its_own_coordinates():
    mixture = PixelMixture(jnp.zeros((B, K, S, S, 3)), jnp.zeros((B, K, S, S)))
    middle = jnp.full((B, 2), 0.5)
    whole, part, moved = (images_of(mixture, jnp.zeros((B, S, S, 3)), 0.3, place).coordinates
                          for place in (None, middle, middle + 0.25))
    np.testing.assert_allclose(part, whole, atol=1e-6)
    np.testing.assert_allclose(moved - whole, 0.25 * 2 / S, atol=1e-6)


def test_an_action_moves_the_graphs_slots_and_another_slot_does():
    net = transition.GraphNetwork(width=8, effect_size=4, state_size=2, action_size=A,
                                  output_size=2 * D)
    rng = np.random.default_rng(0)
    slots = rng.normal(size=(B, K, 2 * D + A)).astype(np.float32)
    hidden = rng.normal(size=(B, K, 2)).astype(np.float32)
    params = jax.tree.map(lambda p: rng.normal(size=p.shape), jax.eval_shape(
        net.init, jax.random.key(0), slots, hidden))
    apply = jax.jit(net.apply)
    plain, state = apply(params, slots, hidden)
    assert plain.shape == (B, K, 2 * D) and state.shape == (B, K, 2)
    for change in (np.s_[:, :, -1], np.s_[:, 1, 0]):
        other = slots.copy()
        other[change] += 1
        moved = np.abs(apply(params, other, hidden)[0] - plain).max(-1)
        assert moved.min() > 1e-6  # slots 0 and 2 by slot 1, too


@pytest.mark.parametrize("changes, words", [
    ({"model.prior": "learned"}, "model.prior is 'learned', but must be one of fixed, predictive"),
    ({"model.refiner": "iodine"}, "model.refiner is 'iodine', but must be one of slot_attention"),
    ({"model.transition.kind": "lstm"}, "model.transition.kind is 'lstm', but must be one of"),
    ({"model.per_slot.stride": 0}, "model.per_slot.stride is 0, but must be a whole number, 1"),
    ({"model.transition.kind": "none"}, "residual is True and model.transition.decay is 0.1, but"),
    (S_IODINE | {"model.prior": "latest"}, "KL to that is 0 whatever the model learns"),
    (S_IODINE | {"train.pixels": (2, 1)}, "which sees the pixels that are explained and no others"),
])
def test_values_that_cannot_be_are_refused_in_a_sentence(changes, words):
    with pytest.raises(ValueError, match=words.replace("(", r"\(")):
        config_of(changes)


def test_configs_of_before_are_gone_on_with_as_parts():
    """A config.json without any of the keys reads as the default, which PARTS is."""
    config = parts_clevrer.get_config("demo")
    values = configuration.flatten(config)
    new = [key for key in values if key.startswith("model.per_slot.") or key in (
        "model.prior", "model.refiner", "model.transition.kind", "model.transition.effect_size")]
    assert len(new) == 11
    nested = config.to_dict()
    for name in ("prior", "refiner", "per_slot"):
        del nested["model"][name]
    for name in ("kind", "effect_size"):
        del nested["model"]["transition"][name]
    assert configuration.flatten(earlier_configs.modernised(nested)) == values
