"""The 2D-LSTM model: its grid, its loss and what the refiner sees against independent formulas."""

import functools
from unittest import mock

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from configs import grid_lstm_balls
from parts_jax import models
from parts_jax.equations import gaussian, refinement
from parts_jax.equations.notation import Gaussian
from parts_jax.models.contract import Clip
from parts_jax.models.grid_lstm import family, grid, model, objective
from parts_jax.runs import config_rules

B, T, R, K, S, D = 2, 4, 3, 3, 8, 4
TINY = {"model.num_slots": K, "model.num_refinements": R, "train.pixels": (1,),
        "data.resolution": S, "schedule.resolution": (S,), "model.refiner.channels": (4,),
        "model.refiner.cells": 2, "data.num_frames": T, "data.train_frames": 0,
        "model.log_std_offset": -2.0, "model.greatest_log_std": 3.0, "model.start": "learned",
        "model.reported": "refined", "model.decoder.extent": 0.0}
CODE = {"model.least_refinements": 2, "model.refine_first_fully": False, "model.samples": "once",
        "model.reported": "scored", "model.prior.form": "softplus_log_variance",
        "model.likelihood": "gaussian_per_channel", "model.entropy": 0.01,
        "model.refiner.mask_posterior": "softmax_of_likelihood",
        "model.refiner.through_decoder": True}


def config_of(**changes):
    config = grid_lstm_balls.get_config("tiny")
    config.update_from_flattened_dict(TINY | {
        f"model.{key}" if "." not in key else key: value for key, value in changes.items()})
    config_rules.check(config, None)
    return config


def parameters(made):  # drawn, not initialised: no layer's output is zero, or alike for all
    rng = np.random.default_rng(0)
    return jax.tree.map(lambda p: 0.5 * rng.normal(size=p.shape).astype(np.float32),
                        jax.eval_shape(made.init, jax.random.key(0)))


@functools.cache
def build(changes=()):
    """(model, parameters, its compiled loss) of the tiny config."""
    made = models.create(config_of(**dict(changes)))
    return made, parameters(made), jax.jit(
        lambda params, state, clip: made.loss(params, state, clip, None))


def clip_of(made, num_frames=T, num_slots=None, size=(S, S)):
    video = np.random.default_rng(1).uniform(size=(B, num_frames, *size, 3)).astype(np.float32)
    noise = made.noise(jax.random.split(jax.random.key(2), B), num_frames, num_slots)
    return Clip(video, np.zeros((B, num_frames, 0), np.float32), noise)


def part(clip, start, stop):
    return jax.tree.map(lambda a: a[:, start:stop], clip)


def one_by_one(made, params, loss, clip):
    """`Step` and loss of each frame that is handed over by itself."""
    state, steps = made.start(B, None), []
    for t in range(clip.video.shape[1]):
        value, step = loss(params, state, part(clip, t, t + 1))
        state = step.state
        steps.append((value, step))
    return steps


def close(found, expected, rtol=1e-4, atol=1e-5):
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol, atol), found, expected)


# ---- The grid -----------------------------------------------------------------------------------


@pytest.mark.parametrize("least", [1, 2, 4])
def test_cells_are_those_of_two_loops(least):
    frames, refinements, first = grid.cells(6, 4, least)
    expected = [(t, r) for t in range(6) for r in range(max(4 - t, least))]
    assert list(zip(frames, refinements, strict=True)) == expected
    assert [expected[i] for i in first] == [(t, 0) for t in range(6)]


class Counted(nn.Module):
    """A decoder that tells each time that it runs."""

    body: nn.Module
    tell: object

    def __call__(self, *args):
        jax.debug.callback(self.tell)
        return self.body(*args)


@pytest.mark.parametrize("least, expected", [(1, [3, 2, 1, 1, 1]), (2, [3, 2, 2, 2, 2])])
def test_decodes_of_each_frame_are_counted(least, expected):
    """Of frames that are handed over one by one; and of all of them at once."""
    counts, body_of = [0], family.decoder_body
    def tell():
        counts[-1] += 1
    with mock.patch.object(family, "decoder_body", lambda config: Counted(body_of(config), tell)):
        made = models.create(config_of(least_refinements=least))
    params, clip = parameters(made), clip_of(made, 5)
    loss = jax.jit(lambda state, clip: made.loss(params, state, clip, None)[1].state)
    state = made.start(B, None)
    for t in range(5):
        state = jax.block_until_ready(loss(state, part(clip, t, t + 1)))
        jax.effects_barrier()
        counts.append(0)
    assert counts[:-1] == expected
    jax.block_until_ready(jax.jit(made.predict)(params, state, clip.actions, clip.noise))
    jax.effects_barrier()
    assert counts[-1] == 5 * least  # of frames that are not seen
    if least == 1:
        jax.block_until_ready(loss(made.start(B, None), clip))
        jax.effects_barrier()
        assert counts[-1] == 5 * least + sum(expected)


@pytest.mark.parametrize("changes", [(), tuple(CODE.items())], ids=["paper", "code"])
def test_stretches_give_what_the_whole_gives(changes):
    made, params, loss = build(changes)
    clip = clip_of(made)
    whole, step = loss(params, made.start(B, None), clip)
    losses, steps = zip(*one_by_one(made, params, loss, clip), strict=True)
    close(np.mean(losses), whole)
    joined = jax.tree.map(lambda *parts: np.concatenate(parts, 1),
                          *((one.latents, one.metrics, one.views) for one in steps))
    close(joined, (step.latents, step.metrics, step.views))
    close(steps[-1].state, step.state)


def test_the_program_does_not_grow_with_the_number_of_frames():
    made, params, _ = build()
    take = jax.jit(jax.value_and_grad(
        lambda params, clip: made.loss(params, made.start(B, None), clip, None)[0]))
    sizes = {frames: len(take.lower(params, clip_of(made, frames)).as_text())
             for frames in (10, 40)}
    assert sizes[40] < 1.2 * sizes[10]


# ---- Slots and sizes ----------------------------------------------------------------------------


def test_permuted_noise_permutes_the_slots():
    made, params, loss = build()
    params = jax.tree.map(lambda p: 0.4 * p, params)  # larger ones blow up how sums are rounded
    clip, order = clip_of(made), np.array([2, 0, 1])
    value, step = loss(params, made.start(B, None), clip)
    again, permuted = loss(params, made.start(B, None),
                           clip._replace(noise=clip.noise[:, :, :, order]))
    close(again, value)
    close(permuted.latents, jax.tree.map(lambda a: a[:, :, order], step.latents), atol=1e-4)
    masks = step.views["predicted"].masks
    close(permuted.views["predicted"].masks, masks[:, :, order], atol=1e-4)
    assert np.abs(masks[:, :, 0] - masks[:, :, 1]).max() > 1e-2


@pytest.mark.parametrize("frames, slots, size", [(1, 1, (8, 8)), (7, 5, (6, 11))])
def test_frames_slots_and_pixels_are_free(frames, slots, size):
    made, params, _ = build()
    clip = clip_of(made, frames, slots, size)
    _, step = jax.eval_shape(made.loss, params, made.start(B, slots), clip, None)
    for stage in made.stages:
        latents = jax.eval_shape(lambda a: a[:, 0], step.latents[stage].z)
        assert latents.shape == (B, slots, D)
    assert step.views["predicted"].masks.shape == (B, frames, slots, *size)
    future = jax.eval_shape(made.predict, params, step.state, clip.actions, clip.noise)
    assert future.h.shape == (B, frames, slots, 8)


# ---- The loss -----------------------------------------------------------------------------------


def test_sigma_of_a_stage_is_that_of_a_model_with_another():
    """And not that of use, which has no stage."""
    stages = {"train.pixels": (1, 1), "train.encoder_pooling": (1, 1), "model.beta_scale": (1., 1.),
              "model.beta_warmup_steps": 0,
              **{f"schedule.{name}": (value,) * 2 for name, value in (
                  ("steps", 3), ("resolution", S), ("learning_rate", 1e-3), ("warmup_steps", 0),
                  ("final_scale", 1.0))}}
    sigma_x = config_of().model.sigma_x
    narrowing, wide = (models.create(config_of(**changes | stages)) for changes in (
        {"sigma_scale": (2.0, 1.0)}, {"sigma_scale": (1.0, 1.0), "sigma_x": 2 * sigma_x}))
    params, clip = build()[1], clip_of(narrowing, 1)
    of_stage, of_wide = jax.jit(narrowing.loss), jax.jit(wide.loss)
    state = narrowing.start(B, None)
    first, last = (of_stage(params, state, clip, step)[0] for step in (0, 4))
    close(first, of_wide(params, state, clip, 0)[0])
    close(last, build()[2](params, state, clip)[0], rtol=1e-3)
    assert abs(last - first) > 0.1 * last


def test_decoding_once_gives_the_gradients_of_plain_differentiation():
    """Of the authors' code: through the refiner's inputs and a sample that is used again, too."""
    made, params, _ = build(tuple(CODE.items()))
    clip = clip_of(made, 2)

    def gradients():
        return jax.jit(jax.grad(lambda params: made.loss(
            params, made.start(B, None), clip, None)[0]))(params)

    found = gradients()
    with mock.patch.object(refinement, "score", refinement.score_naively):
        expected = gradients()
    for path, leaf in jax.tree_util.tree_leaves_with_path(expected):
        assert np.abs(leaf).max() > 0, jax.tree_util.keystr(path)
    close(found, expected, rtol=1e-3, atol=1e-4 * max(
        np.abs(leaf).max() for leaf in jax.tree.leaves(expected)))


# ---- Time ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("start", ["learned", "carried", "moved", "prior"])
def test_where_a_frame_starts_from(start):
    """What is decoded first, less its noise: learned numbers, those of before, or the prior's."""
    changes = {} if start == "learned" else {"start": start}
    made, params, loss = build(tuple(changes.items()))
    clip = clip_of(made)
    before, step = (step for _, step in one_by_one(made, params, loss, clip)[-2:])
    module = family.build(config_of(**changes))
    h = before.state.memory.h
    prior = module.apply({"params": params}, h, method=lambda m, h: m.prior_given(m.networks(), h))
    spread = objective.Spread(-2.0)
    learned = objective.posterior(
        Gaussian(params["start_mean"], params["start_log_variance"]), spread)
    carried = objective.posterior(before.state.posterior, spread)
    q = {"learned": jax.tree.map(lambda a: jnp.broadcast_to(a, (B, K, D)), learned),
         "carried": carried, "prior": prior, "moved": carried}[start]
    if start == "moved":
        kernel, bias = (params["motion"]["layer"][name] for name in ("kernel", "bias"))
        q = Gaussian(np.asarray(q.mean) + np.asarray(h) @ kernel + bias, q.log_std)
        assert not any(map(np.any, made.init(jax.random.key(0))["motion"]["layer"].values()))
    close(step.latents["predicted"].z[:, 0], gaussian.sample(q, clip.noise[:, 3, 0]), atol=1e-4)
    close(step.latents["predicted"].h[:, 0], h)
    close(step.metrics["kl"][:, 0], gaussian.kl(q, prior).sum(-1), rtol=1e-3, atol=1e-3)
    assert (step.metrics["kl"].max() < 1e-3) == (start == "prior")


@pytest.mark.parametrize("changes", [(), tuple(CODE.items())], ids=["paper", "code"])
def test_the_first_frame_that_is_predicted_is_what_would_be_decoded_before_it_is_seen(changes):
    made, params, loss = build(changes)
    clip = clip_of(made)
    before, step, next_step = (
        step for _, step in one_by_one(made, params, loss, clip)[-3:])
    future = jax.jit(made.predict)(params, before.state, clip.actions[:, 2:], clip.noise[:, 2:])
    at = lambda tree, t: jax.tree.map(lambda a: a[:, t], tree)
    close(at(future, 0), at(step.latents["predicted"], 0))
    assert np.abs(future.h[:, 1] - future.h[:, 0]).max() > 1e-3  # the state moved on
    assert np.abs(future.h[:, 1] - next_step.latents["predicted"].h[:, 0]).max() > 1e-3


def test_more_refinements_in_use_than_in_training():
    """In training nothing changes, its noise neither; in use it is a model of that many."""
    few, many, both = (models.create(config_of(least_refinements=2, **changes)) for changes in (
        {}, {"num_refinements": 5}, {"test_refinements": 5}))
    params, clip = parameters(both), clip_of(both)
    assert clip.noise.shape == (B, T, 5, K, D)
    close(clip_of(few).noise, clip.noise[:, :, :R], atol=0)
    loss = lambda made, clip, step: made.loss(params, made.start(B, None), clip, step)[0]
    shown, training = loss(both, clip, None), loss(both, clip, 0)
    assert shown == loss(many, clip, None) != training == loss(few, clip_of(few), 0)


def test_what_is_shown_of_a_frame():
    """Of no noise a sample is its mean; what comes after the last refinement is another number."""
    shown = {}
    for reported in ("scored", "scored_mean", "refined"):
        made, params, loss = build(tuple((CODE | {"model.reported": reported}).items()))
        clip, state = clip_of(made, 2), made.start(B, None)
        shown[reported] = [loss(params, state, clip._replace(noise=share * clip.noise))[1].latents[
            "refined"].z for share in (0.0, 1.0)]
    close(shown["scored"][0], shown["scored_mean"][0])
    assert np.abs(shown["scored"][1] - shown["scored_mean"][1]).max() > 0.01
    assert np.abs(shown["refined"][1] - shown["scored_mean"][1]).max() > 0.01


def test_one_sample_begins_every_frame_of_the_authors_code():
    made, params, loss = build(tuple(CODE.items()))
    _, step = loss(params, made.start(B, None), clip_of(made))
    z = step.latents["predicted"].z
    close(z, np.broadcast_to(z[:, :1], z.shape), atol=0)
    _, step = build()[2](params, made.start(B, None), clip_of(made))
    assert np.abs(np.diff(step.latents["predicted"].z, axis=1)).max() > 1e-2


def test_without_conditions_decoder_and_prior_do_not_see_the_past():
    made = models.create(config_of(conditional=False))
    shapes = jax.eval_shape(made.init, jax.random.key(0))
    assert set(shapes) == {"decoder", "refiner", "start_mean", "start_log_variance"}
    assert set(shapes["decoder"]) == {"body"}


@pytest.mark.parametrize("changes, words", [
    ({"least_refinements": 4}, "no frame can have more than config.model.num_refinements, 3"),
    ({"num_refinements": 1, "refine_first_fully": False}, "would not be refined at all"),
    ({"decoder.kind": "broadcast", "train.pixels": (2,)}, "only a network for each pixel"),
    ({"decoder.kernel_size": 3, "decoder.centred": True}, "coordinates from a slot's centre"),
    ({"decoder.extent": 0.2, "decoder.centred": False}, "a slot has no centre to be near to"),
    ({"greatest_log_std": -5.0}, "greatest_log_std is -5.0, .* must be more than that"),
    ({"corners": True}, "only 'broadcast' has the other ones"),
    ({"train.encoder_pooling": (2,)}, "has no encoder"),
    ({"start": "random"}, "must be one of learned, carried, moved, prior"),
    ({"test_refinements": 2}, "below config.model.num_refinements, 3; it must be 0"),
])
def test_values_that_do_not_go_together(changes, words):
    changes = {f"model.{key}" if key.startswith("decoder") else key: value
               for key, value in changes.items()}
    with pytest.raises(ValueError, match=words):
        config_of(**changes)


def test_the_paper_has_the_papers_numbers():
    """Section 4.1 and appendices C, D; they are not those of the demo that starts from them."""
    config = grid_lstm_balls.get_config("paper")
    model, optimizer = config.model, config.optimizer
    assert (model.num_slots, model.num_refinements, model.least_refinements) == (5, 6, 1)
    assert (model.sigma_x, model.loss_scale, model.beta, model.slot_size) == (0.3, 100, 0.1, 64)
    assert (optimizer.name, optimizer.clip_norm, model.restarts) == ("adam", 5.0, 1)
    assert config.schedule.learning_rate == (3e-4,) * 4


def test_names_of_the_stages():
    assert build()[0].stages == model.STAGES == ("predicted", "refined")


def test_in_use_a_clip_keeps_the_best_of_several_restarts_and_training_has_one():
    made, params, once = build()
    often = models.create(config_of(restarts=2))
    clip, state = clip_of(often), often.start(B, None)
    assert clip.noise.shape == (B, T, 2 * R, K, D)
    np.testing.assert_array_equal(clip.noise[:, :, :R], clip_of(made).noise)
    halves = [once(params, state, clip._replace(noise=noise))[1]
              for noise in np.split(clip.noise, 2, axis=2)]
    bounds = [(half.metrics["nll"] + half.metrics["kl"]).sum(1) for half in halves]
    found = jax.jit(often.loss)(params, state, clip, None)[1]
    for b in range(B):
        best = halves[int(bounds[1][b] < bounds[0][b])]
        for kept, made_there in zip(*map(jax.tree.leaves, (found, best)), strict=True):
            close(kept[b], made_there[b], rtol=1e-3, atol=1e-3)
    assert not np.allclose(*(half.metrics["nll"] for half in halves))
    loss = jax.jit(often.loss)(params, state, clip, 0)[0]
    close(loss, jax.jit(made.loss)(params, state, clip_of(made), 0)[0])
