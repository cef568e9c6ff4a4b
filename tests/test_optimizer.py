"""The learning rate by hand, the warm-up of beta, the rules, and the guard against NaN."""

import math

import jax
import jax.numpy as jnp
import ml_collections
import numpy as np
import optax
import pytest

from configs import parts_clevrer
from parts_jax import optimizer

STAGES = {"steps": (40, 20, 10), "learning_rate": (3e-3, 2e-3, 1e-3), "warmup_steps": (10, 4, 0),
          "final_scale": (0.3, 0.1, 0.5)}
BETA = {"beta_scale": (1.0, 0.3, 0.7), "beta_warmup_steps": 50, "beta_warmup_start": 0.02}
PARAMS = {"a": jnp.asarray([1.0, -2.0]), "b": jnp.asarray(0.5)}
GRADIENTS = {"a": jnp.asarray([0.3, -0.4]), "b": jnp.asarray(0.0)}  # of norm 0.5


def config_with(**changes) -> ml_collections.ConfigDict:
    """The paper's config with a constant learning rate of 0.1; keys of `changes` are dotted."""
    config = parts_clevrer.get_config()
    config.update_from_flattened_dict({
        "schedule.steps": (1_000,), "schedule.learning_rate": (0.1,),
        "schedule.warmup_steps": (0,), "schedule.final_scale": (1.0,)} | changes)
    return config


def by_hand(step: int) -> float:
    """Linear from 0 in warm-up, then half a cosine down to final_scale: the formula of STAGES."""
    stage, start = next((s, b) for s, b in ((2, 60), (1, 40), (0, 0)) if step >= b)
    step -= start
    steps, peak, warmup, final = (STAGES[key][stage] for key in
                                  ("steps", "learning_rate", "warmup_steps", "final_scale"))
    if step < warmup:
        return peak * step / warmup
    progress = min((step - warmup) / (steps - warmup), 1.0)
    return peak * (final + (1 - final) * (1 + math.cos(math.pi * progress)) / 2)


def test_learning_rate_is_the_hand_formula_at_every_step():
    """Every step of three stages, and after the end."""
    schedule = optimizer.learning_rate(ml_collections.ConfigDict(STAGES))
    rates = np.asarray(jax.vmap(schedule)(jnp.arange(80)))
    np.testing.assert_allclose(rates, [by_hand(step) for step in range(80)], rtol=2e-6, atol=1e-9)


def test_learning_rate_at_the_boundaries_of_stages():
    schedule = optimizer.learning_rate(ml_collections.ConfigDict(STAGES))
    for step, rate in {0: 0.0, 5: 1.5e-3, 10: 3e-3, 25: 3e-3 * 0.65, 40: 0.0, 42: 1e-3, 44: 2e-3,
                       52: 2e-3 * 0.55, 60: 1e-3, 65: 7.5e-4, 70: 5e-4, 99: 5e-4}.items():
        np.testing.assert_allclose(schedule(step), rate, rtol=1e-6, err_msg=f"step {step}")
    assert 3e-3 * 0.3 < schedule(39) < 3e-3 * 0.31  # about to reach the end of its stage
    assert 2e-3 * 0.1 < schedule(59) < 2e-3 * 0.11


@pytest.mark.parametrize("step, factor", [
    (0, 0.02), (25, 0.51), (39, 0.02 + 0.98 * 0.78), (40, 0.3 * (0.02 + 0.98 * 0.8)), (50, 0.3),
    (59, 0.3), (60, 0.7), (10_000, 0.7)])
def test_beta_is_warmed_up_and_scaled_by_stage(step, factor):
    schedule = optimizer.beta_scale(
        ml_collections.ConfigDict({"schedule": STAGES, "model": BETA}))
    np.testing.assert_allclose(schedule(jnp.int32(step)), factor, rtol=1e-5)


@pytest.mark.parametrize("step, factor", [(0, 1.0), (1, 1.0), (40, 0.3)])
def test_without_warm_up_beta_is_whole_from_the_start(step, factor):
    schedule = optimizer.beta_scale(ml_collections.ConfigDict(
        {"schedule": STAGES, "model": BETA | {"beta_warmup_steps": 0}}))
    np.testing.assert_allclose(schedule(jnp.int32(step)), factor, rtol=1e-6)


def steps_with(config, gradients: list) -> tuple[dict, optax.ApplyIfFiniteState]:
    tx = optimizer.create(config)
    params, state = PARAMS, tx.init(PARAMS)
    for gradient in gradients:
        updates, state = jax.jit(tx.update)(gradient, state, params)
        params = optax.apply_updates(params, updates)
    return params, state


def test_rmsprop_by_hand():
    """Two steps of the paper's rule: v = d v + (1-d) g^2; x = x - rate g / sqrt(v)."""
    params, _ = steps_with(config_with(), [GRADIENTS, GRADIENTS])
    gradient = np.asarray(GRADIENTS["a"])
    first, second = (np.sqrt(square) for square in (0.1, 0.1 * 0.9 + 0.1))
    expected = np.asarray(PARAMS["a"]) - 0.1 * np.sign(gradient) * (1 / first + 1 / second)
    np.testing.assert_allclose(params["a"], expected, rtol=1e-4)
    np.testing.assert_array_equal(params["b"], PARAMS["b"])


def test_adam_by_hand():
    """`momentum` is b1 and `decay` b2; with a gradient that stays the same, a step is the rate."""
    config = config_with(**{"optimizer.name": "adam", "optimizer.momentum": 0.8,
                            "optimizer.decay": 0.95})
    other = {"a": jnp.asarray([-0.3, 0.1]), "b": jnp.asarray(0.0)}
    params, _ = steps_with(config, [GRADIENTS, other])
    expected, mean, square = np.asarray(PARAMS["a"]), 0.0, 0.0
    for count, gradient in enumerate((GRADIENTS["a"], other["a"]), start=1):
        mean = 0.8 * mean + 0.2 * np.asarray(gradient)
        square = 0.95 * square + 0.05 * np.asarray(gradient) ** 2
        expected = expected - 0.1 * (mean / (1 - 0.8 ** count)) / np.sqrt(
            square / (1 - 0.95 ** count))
    np.testing.assert_allclose(params["a"], expected, rtol=1e-4)


@pytest.mark.parametrize("scale, clipped", [(1.0, 1.0), (10.0, 1.0), (100.0, 0.1)])
def test_gradients_are_clipped_by_their_global_norm(scale, clipped):
    """The paper's 5.0: a norm of 0.5 or 5 stays, one of 50 becomes 5. Seen in rmsprop's memory."""
    gradients = jax.tree.map(lambda g: scale * g, GRADIENTS)
    _, state = steps_with(config_with(), [gradients])
    memory = [leaf for leaf in jax.tree.leaves(state.inner_state) if leaf.shape == (2,)]
    assert len(memory) == 1
    np.testing.assert_allclose(memory[0], 0.1 * (clipped * gradients["a"]) ** 2, rtol=1e-5)


def test_an_unknown_rule_is_named():
    with pytest.raises(ValueError, match="'sgd'; it must be rmsprop or adam"):
        optimizer.create(config_with(**{"optimizer.name": "sgd"}))


@pytest.mark.parametrize("name", ["rmsprop", "adam"])
@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_a_gradient_that_is_not_finite_changes_nothing_and_is_counted(name, bad):
    """One bad number in one leaf; the optimizer's memory is kept too."""
    config = config_with(**{"optimizer.name": name, "optimizer.momentum": 0.5})
    poisoned = GRADIENTS | {"a": jnp.asarray([0.3, bad])}
    params, state = steps_with(config, [GRADIENTS])
    skipped, skipped_state = steps_with(config, [GRADIENTS, poisoned, poisoned])
    jax.tree.map(np.testing.assert_array_equal, skipped, params)
    jax.tree.map(np.testing.assert_array_equal, skipped_state.inner_state, state.inner_state)
    assert (state.notfinite_count, state.total_notfinite) == (0, 0)
    assert (skipped_state.notfinite_count, skipped_state.total_notfinite) == (2, 2)

    straight, _ = steps_with(config, [GRADIENTS, GRADIENTS])
    after, state = steps_with(config, [GRADIENTS, poisoned, poisoned, GRADIENTS])
    jax.tree.map(np.testing.assert_array_equal, after, straight)  # as if they had not been
    assert (state.notfinite_count, state.total_notfinite) == (0, 2)
