"""What the transition is given: that its gates stay open, and log sigma in its range."""

import types

import jax
import numpy as np
import pytest

from configs import parts_clevrer
from parts_jax import models
from parts_jax.equations.notation import Gaussian, InferenceState
from parts_jax.runs import config_rules
from tests.models.parts import test_parts
from tests.models.parts.test_parts import B, K


def moved_by_actions(normalise: bool) -> float:
    """How far the prediction goes with the action, when the blocks' sum has become large."""
    config, _, params = test_parts.build(
        (("data.action_size", 2), ("model.transition.normalise", normalise)))
    parts = models.parts.family.build(config)
    params = jax.tree.map(np.asarray, params)
    params["transition"]["input"]["bias"] = params["transition"]["input"]["bias"] + 300.0
    rng = np.random.default_rng(0)
    state = jax.tree.map(lambda a: rng.normal(size=a.shape).astype(np.float32),
                         parts.initial_state(B, K))
    actions = rng.normal(size=(2, B, 1, 2)).astype(np.float32)
    one, other = (models.parts.rollout.roll_out(parts, params, state, a).posterior.mean
                  for a in actions)
    return float(np.abs(one - other).max())


def test_normalised_the_lstm_heeds_the_action_however_large_its_input_grows():
    """A bias of 300 on every unit shuts the gates; a layer norm takes it away."""
    assert moved_by_actions(normalise=False) < 1e-6 < 1e-4 < moved_by_actions(normalise=True)


@pytest.mark.parametrize("raw, read", [(27.0, 5.0), (-40.0, -3.0), (1.5, 1.5)])
def test_bounded_a_log_std_out_of_range_is_that_at_its_end(raw, read):
    """log sigma is clipped to [-5, 3] and is the parameter - 2; what is beyond leaves no trace."""
    config, _, params = test_parts.build((("model.transition.normalise", True),))
    parts = models.parts.family.build(config)
    start = parts.initial_state(B, K)
    mean = np.random.default_rng(1).normal(size=start.posterior.mean.shape).astype(np.float32)
    actions = np.zeros((B, 3, 0), np.float32)
    slots = [models.parts.rollout.roll_out(parts, params, InferenceState(
        Gaussian(mean, np.full_like(mean, log_std)), start.hidden), actions)
        for log_std in (raw, read)]
    for one, other in zip(*map(jax.tree.leaves, slots), strict=True):
        np.testing.assert_allclose(one, other, atol=1e-6)
    unbounded = models.parts.rollout.roll_out(parts.clone(bounded=False), params, InferenceState(
        Gaussian(mean, np.full_like(mean, raw)), start.hidden), actions)
    gap = np.abs(unbounded.posterior.mean - slots[0].posterior.mean).max()
    assert (gap > 1e-3) == (raw != read)


def test_a_scale_of_actions_is_that_of_the_transitions_alone():
    """As if the clip's actions were so much larger, but for the attention, which has them raw."""
    scale, rng = np.array([3.0, 0.5], np.float32), np.random.default_rng(2)
    config, _, params = test_parts.build((("data.action_size", 2),))
    parts = models.parts.family.build(config)
    scaled = parts.clone(action_scale=tuple(scale.tolist()))
    state = jax.tree.map(lambda a: rng.normal(size=a.shape).astype(np.float32),
                         parts.initial_state(B, K))
    actions = rng.normal(size=(B, 3, 2)).astype(np.float32)
    by_scale, by_hand, raw = (
        models.parts.rollout.roll_out(each, params, state, given).posterior.mean
        for each, given in ((scaled, actions), (parts, actions * scale), (parts, actions)))
    np.testing.assert_allclose(by_scale, by_hand, atol=1e-6)
    assert np.abs(by_scale - raw).max() > 1e-3

    def attention(_, inputs, encoding):
        return inputs[..., :2 * config.model.slot_size], inputs[..., -2:]

    networks = models.parts.model.Networks(None, None, None, attention, None)
    score = types.SimpleNamespace(gradient=state.posterior)
    _, seen = scaled.attend(networks, state.posterior, score, None, actions[:, 0], encoding=0)
    np.testing.assert_array_equal(seen, np.repeat(actions[:, None, 0], K, axis=1))


@pytest.mark.parametrize("scale, message", [
    ((4.0, 4.0, 4.0), r"action_scale has 3 numbers, .* but data.action_size is 2: it must"),
    ((4.0, 0.0), r"action_scale is \(4.0, 0.0\), but must be a tuple of .* numbers above 0"),
    ((), r"action_scale is \(\), but must be a tuple of one or more"),
    (4.0, r"action_scale is 4.0, but must be a tuple"),
])
def test_a_scale_that_is_none_of_these_actions_is_refused(scale, message):
    config = parts_clevrer.get_config("tiny")
    config.data.action_size = 2
    with config.ignore_type():
        config.model.transition.action_scale = scale
    with pytest.raises(ValueError, match=message):
        config_rules.check(config, 1)
