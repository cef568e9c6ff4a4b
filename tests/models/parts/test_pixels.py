"""A subset of pixels, frames that are not seen, and lambda that decays: what training may do."""

import functools
import itertools

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from configs import parts_clevrer
from parts_jax import models, train
from parts_jax.api import inference
from parts_jax.data import preprocess
from parts_jax.equations.notation import Pixels
from parts_jax.models.contract import Clip
from parts_jax.runs import config_rules
from tests.models.parts import test_parts

B, K, S = test_parts.B, test_parts.K, test_parts.S


def clip_of(config, num_frames, **fields):
    video, actions, noise = test_parts.inputs_for(config)
    return Clip(video[:, :num_frames], actions[:, :num_frames], noise[:, :num_frames], **fields)


def subset(video, offset, size):
    offsets = jnp.broadcast_to(jnp.asarray(offset), (*video.shape[:2], 2))
    return Pixels(preprocess.pixel_subset(video, offsets, size), (offsets + 0.5) / size)


@pytest.mark.parametrize("size", [2, 4])
@pytest.mark.parametrize("colour", ["affine", "full", "shaded"])
def test_some_pixels_are_decoded_to_what_they_are_among_all(colour, size):
    config, model, params = test_parts.build((("model.decoder.colour", colour),))
    decoder = models.parts.family.build(config).decoder
    z = np.random.default_rng(0).normal(size=(B, K, config.model.slot_size)).astype(np.float32)
    decode = functools.partial(decoder.apply, {"params": params["decoder"]})
    whole = decode(z, (S, S))
    offsets = np.array([[1, 0], [size - 1, 1]])  # one for each example
    some = decode(z, (S // size, S // size), jnp.asarray((offsets + 0.5) / size, jnp.float32))
    for b, (y, x) in enumerate(offsets):
        np.testing.assert_allclose(
            some.mask_logits[b], whole.mask_logits[b, :, y::size, x::size], rtol=1e-4, atol=1e-5)
        np.testing.assert_allclose(
            some.means[b], whole.means[b, :, y::size, x::size], rtol=1e-4, atol=1e-5)


def test_the_mean_over_all_offsets_is_the_loss_of_all_pixels():
    """And so is its gradient: p^2 times the loss of a subset is an unbiased estimate."""
    config, model, params = test_parts.build()
    clip, size = clip_of(config, 1), 2

    @jax.jit
    def take(params, pixels):
        return jax.value_and_grad(lambda params: model.loss(
            params, model.start(B, None), clip._replace(pixels=pixels), None)[0])(params)

    expected = take(params, None)
    found = [jax.tree.map(lambda a: size**2 * a, take(params, subset(clip.video, offset, size)))
             for offset in itertools.product(range(size), repeat=2)]
    mean = jax.tree.map(lambda *parts: sum(parts) / len(parts), *found)
    chex.assert_trees_all_close(mean, expected, rtol=2e-4, atol=1e-3)
    assert abs(found[0][0] - expected[0]) > 1e-3 * abs(expected[0])  # one alone is another


def test_what_refines_is_the_gradient_of_the_same_pixels():
    """A pixel that is not of the subset changes nothing but what the encoder sees."""
    config, model, params = test_parts.build()
    clip = clip_of(config, 2)
    loss = jax.jit(lambda pixels: model.loss(
        params, model.start(B, None), clip._replace(pixels=pixels), None))
    other = np.array(clip.video)
    other[:, :, 1::2] = 0.5
    same, changed = (loss(subset(video, (0, 1), 2)) for video in (clip.video, other))
    chex.assert_trees_all_equal(same, changed)
    assert abs(loss(subset(other, (1, 1), 2))[0] - same[0]) > 1


def test_a_step_draws_places_anew_for_every_frame_of_every_example():
    config, model, _ = test_parts.build()
    video = np.random.default_rng(0).uniform(size=(16, 9, S, S, 3)).astype(np.float32)
    keys = jax.random.split(jax.random.key(3), 16)
    clip = Clip(video, np.zeros((16, 9, 0)), None)
    pixels = train.with_pixels(clip, keys, 1, 4).pixels
    offsets = np.asarray(pixels.place) * 4 - 0.5
    assert sorted(set(offsets.ravel())) == [0, 1, 2, 3]
    for b, t in np.ndindex(16, 9):
        y, x = offsets[b, t].astype(int)
        np.testing.assert_allclose(pixels.colours[b, t], video[b, t, y::4, x::4], rtol=1e-6)
    assert train.with_pixels(clip, keys, 1, 1) is clip
    every = train.with_pixels(clip, keys, 1, 1, encoder_pooling=2).pixels
    np.testing.assert_array_equal(every.colours, video)
    np.testing.assert_array_equal(every.place, 0.5)  # where they are in a frame without subsets


def test_frames_that_are_not_seen_are_predicted():
    """What is inferred of them is what `predict` says, and what lies in them changes nothing."""
    config, model, params = test_parts.build()
    whole = clip_of(config, 6)
    seen = np.arange(6) < 4
    clip = whole._replace(seen=np.stack([seen, np.ones(6, bool)]))
    run = jax.jit(lambda clip: model.loss(params, model.start(B, None), clip, None)[1])
    made = run(clip)
    state = run(jax.tree.map(lambda a: a[:, :4], whole)).state
    ahead = model.predict(params, state, whole.actions[:, 4:], None)
    refined = made.latents["refined"].posterior
    chex.assert_trees_all_close(jax.tree.map(lambda a: a[0, 4:], refined),
                                jax.tree.map(lambda a: a[0], ahead.posterior), rtol=1e-4, atol=1e-5)
    chex.assert_trees_all_close(jax.tree.map(lambda a: a[1], refined), jax.tree.map(
        lambda a: a[1], run(whole).latents["refined"].posterior), rtol=1e-4, atol=1e-5)
    other = np.array(whole.video)
    other[0, 4:] = 0.5
    chex.assert_trees_all_equal(jax.tree.map(lambda a: a[0], refined), jax.tree.map(
        lambda a: a[0], run(clip._replace(video=other)).latents["refined"].posterior))


def test_what_is_not_seen_is_scored_by_the_prediction_alone():
    """With two refinements, too: no term of its loss is of a posterior that knows the frame.

    So the two samples of the last frame are of one posterior, and their order changes nothing.
    """
    config, model, params = test_parts.build((("model.num_refinements", 2),))
    clip = clip_of(config, 2)
    swapped = np.array(clip.noise)
    swapped[:, 1] = swapped[:, 1, ::-1]

    @jax.jit
    def loss(noise, seen):
        return model.loss(params, model.start(B, None),
                          clip._replace(noise=noise, seen=seen), None)[0]

    for last, differs in ((False, False), (True, True)):
        seen = np.broadcast_to([True, last], (B, 2))
        there, back = loss(clip.noise, seen), loss(swapped, seen)
        assert (abs(there - back) > 1e-5 * abs(there)) == differs


def test_a_share_of_examples_sees_its_first_frames_only():
    keys = jax.random.split(jax.random.key(0), 2000)
    seen = np.asarray(train.frames_seen(keys, 8, (3, 7), 5, 0.25))
    lengths = seen.sum(1)
    assert (np.sort(seen, axis=1)[:, ::-1] == seen).all()  # the first ones, whatever their number
    assert set(lengths) == {3, 4, 5, 6, 7, 8}
    assert abs(np.mean(lengths < 8) - 0.25) < 0.03
    assert np.asarray(train.frames_seen(keys, 8, (3, 7), 5, 0.0)).all()


def test_what_comes_after_a_rollout_is_seen_again():
    keys = jax.random.split(jax.random.key(0), 300)
    seen = np.asarray(train.frames_seen(keys, 8, (2, 2), 3))
    np.testing.assert_array_equal(seen, np.broadcast_to([1, 1, 0, 0, 0, 1, 1, 1], seen.shape))
    drawn = np.asarray(train.frames_seen(keys, 8, (2, 4), 3))
    assert (drawn.sum(1) == 5).all() and set(np.argmin(drawn, axis=1)) == {2, 3, 4}
    assert np.asarray(train.frames_seen(keys, 8, (8, 8), 3)).all()


def test_lambda_decays_by_a_share_of_itself():
    """(1 - decay) lambda + change: what decays is the rest of lambda, not what is predicted."""
    config, _, params = test_parts.build()
    parts = models.parts.family.build(config)
    rng = np.random.default_rng(0)
    state = jax.tree.map(lambda a: rng.normal(size=a.shape).astype(np.float32),
                         parts.initial_state(B, K))
    actions = np.zeros((B, 1, 0), np.float32)
    slots = {decay: models.parts.rollout.roll_out(parts.clone(decay=decay), params, state, actions)
             for decay in (0.0, 0.25)}
    for name in ("mean", "log_std"):
        kept, decayed = (np.asarray(getattr(slots[decay].posterior, name))[:, 0]
                         for decay in (0.0, 0.25))
        np.testing.assert_allclose(
            kept - decayed, 0.25 * getattr(state.posterior, name), rtol=1e-4, atol=1e-5)


def test_lambda_that_decays_stays_bounded_however_long_the_clip():
    """Change and update come out of bounded networks, so lambda settles; without decay it grows."""
    config, _, params = test_parts.build((("model.transition.decay", 0.25),))
    model = models.create(config)
    video = np.broadcast_to(test_parts.inputs_for(config)[0][:, :1], (B, 200, S, S, 3))
    clip = inference.clip_of(
        model, {"video": video}, jax.random.split(jax.random.key(0), B), 0)
    # Parameters that push lambda one way in every frame, as training on short clips may leave them.
    params = jax.tree.map(lambda a: a, params)
    params["transition"]["output"]["bias"] = params["transition"]["output"]["bias"] + 1.0
    means = {}
    for decay in (0.0, 0.25):
        config.model.transition.decay = decay
        model = models.create(config)
        step = jax.jit(functools.partial(inference.see, model))(
            params, model.start(B, None), clip)
        means[decay] = np.abs(step.latents["refined"].posterior.mean).max((0, 2, 3))
    assert means[0.25][100:].max() < 1.2 * means[0.25][20:60].max()
    assert means[0.0][199] > 3 * means[0.0][20]


@pytest.mark.parametrize("changes, message", [
    ({"train.pixels": (17,)}, "train.pixels is .*none above schedule.resolution"),
    ({"train.pixels": (2, 2)}, "one entry per stage"),
    ({"train.encoder_pooling": (5,)}, "train.encoder_pooling is .*divisors"),
    ({"train.pixels": (2,), "model.decoder.kernel_size": 3}, "kernel_size is 3: only a decoder"),
    ({"train.pixels": (1,), "train.encoder_pooling": (2,), "model.decoder.kernel_size": 3},
     "encoder_pooling is .2,., but .*kernel_size is 3: only a decoder"),
    ({"train.pixels": (2,), "model.encoder.use_likelihood": True}, "must be the same in every"),
    ({"train.rollout_share": 1.5}, "rollout_share is 1.5, but must be a number from 0 to 1"),
    ({"train.burn_in": (4, 5)}, "burn_in is .4, 5. and train.rollout is 3, but .* have 6 frames"),
    ({"train.burn_in": (3, 7)}, "burn_in is .3, 7. and train.rollout is 3, but .* have 6 frames"),
    ({"train.burn_in": (3, 2)}, "burn_in is .3, 2., but must be a tuple of two whole numbers"),
    ({"train.burn_in": (3,)}, "burn_in is .3,., but must be a tuple of two whole numbers"),
    ({"model.transition.decay": -0.1}, "decay is -0.1, but must be a number from 0 to 1"),
    ({"model.transition.residual": False}, "decay is 0.1, but .*residual is False: .* must be 0"),
])
def test_values_that_cannot_be_trained_with_are_refused(changes, message):
    config = parts_clevrer.get_config("tiny")
    config.update_from_flattened_dict(changes)
    with pytest.raises(ValueError, match=message):
        config_rules.check(config, 1)


@pytest.mark.parametrize("key, value, what", [
    ("train.pixels", (2,), "SCORES_PIXELS"), ("train.encoder_pooling", (2,), "SCORES_PIXELS"),
    ("train.rollout", 3, "SCORES_UNSEEN")])
def test_families_that_know_nothing_of_it_refuse_it(monkeypatch, key, value, what):
    config = parts_clevrer.get_config("tiny")
    config.update_from_flattened_dict({
        "train.pixels": (1,), "train.encoder_pooling": (1,), "train.rollout": 0})
    monkeypatch.delattr(models.parts, what)
    config_rules.check(config, 1)
    config.update_from_flattened_dict({key: value})
    with pytest.raises(ValueError, match=f"{key} is .*, but models of the family 'parts' .* must"):
        config_rules.check(config, 1)
