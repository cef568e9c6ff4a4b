"""The learning rate by hand, the rules, groups of parameters, and the guard against NaN."""

import math

import grain
import jax
import jax.numpy as jnp
import ml_collections
import numpy as np
import optax
import pytest

from configs import parts_clevrer
from parts_jax import train
from parts_jax.runs import checkpoint
from parts_jax.training import optimizer

STAGES = {"steps": (40, 20, 10), "learning_rate": (3e-3, 2e-3, 1e-3), "warmup_steps": (10, 4, 0),
          "final_scale": (0.3, 0.1, 0.5)}
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


# ---- Groups of parameters -------------------------------------------------------------------

MANY = {"decoder": {"layer_0": {"kernel": jnp.asarray([[1.0, -2.0]]), "bias": jnp.asarray([0.5])},
                    "layer_01": jnp.asarray([3.0])},
        "encoder": jnp.asarray([1.0, 4.0])}
GROUPS = {"anything": dict(prefix="decoder", name="rmsprop", decay=0.8, momentum=0.5,
                           learning_rate_scale=0.25),
          "first": dict(prefix="decoder/layer_0", name="adam", decay=0.9, momentum=0.3,
                        learning_rate_scale=3.0)}


def config_with_groups(**groups) -> ml_collections.ConfigDict:
    """Adam with a clip that clips, and a learning rate that changes from step to step."""
    config = config_with(**{
        "optimizer.name": "adam", "optimizer.decay": 0.95, "optimizer.momentum": 0.8,
        "optimizer.clip_norm": 1.0, "schedule.warmup_steps": (3,)})
    config.optimizer.groups = ml_collections.ConfigDict(groups)
    return config


def gradients_of(step: int):
    rng = np.random.default_rng(step)
    return jax.tree.map(lambda p: jnp.asarray(3 * rng.normal(size=p.shape), jnp.float32), MANY)


def trained(config, gradients: list):
    """(Parameters, state of the optimizer) after a step for each of the gradients."""
    tx = optimizer.create(config)
    params, state = MANY, tx.init(MANY)
    for gradient in gradients:
        updates, state = jax.jit(tx.update)(gradient, state, params)
        params = optax.apply_updates(params, updates)
    return params, state


def test_the_longest_prefix_wins_and_ends_at_a_part_of_the_path():
    prefixes = {name: group["prefix"] for name, group in GROUPS.items()}
    assert optimizer.labels(MANY, prefixes) == {
        "decoder": {"layer_0": {"kernel": "first", "bias": "first"}, "layer_01": "anything"},
        "encoder": "rest"}


def test_groups_are_separate_optimizers_behind_one_clip():
    """Bit for bit as three optimizers of parameters of their own, after one clip of all."""
    config = config_with_groups(**GROUPS)
    rate = optimizer.learning_rate(config.schedule)
    parts = {"anything": (optax.rmsprop(lambda step: 0.25 * rate(step), decay=0.8, momentum=0.5),
                          lambda tree: tree["decoder"]["layer_01"]),
             "first": (optax.adam(lambda step: 3.0 * rate(step), b1=0.3, b2=0.9),
                       lambda tree: tree["decoder"]["layer_0"]),
             "rest": (optax.adam(rate, b1=0.8, b2=0.95), lambda tree: tree["encoder"])}
    clip = optax.clip_by_global_norm(1.0)

    @jax.jit
    def by_hand(gradients, states, params):
        clipped, _ = clip.update(gradients, optax.EmptyState())
        moved = {}
        for name, (rule, take) in parts.items():
            moved[name], states[name] = rule.update(take(clipped), states[name], params[name])
        return moved, states

    params = {name: take(MANY) for name, (_, take) in parts.items()}
    states = {name: rule.init(params[name]) for name, (rule, _) in parts.items()}
    gradients = [gradients_of(step) for step in range(6)]
    for gradient in gradients:
        assert optax.tree.norm(gradient) > 1
        moved, states = by_hand(gradient, states, params)
        params = optax.apply_updates(params, moved)
    found, _ = trained(config, gradients)
    for name, (_, take) in parts.items():
        jax.tree.map(np.testing.assert_array_equal, take(found), params[name])
        assert all(np.all(a != b) for a, b in zip(
            jax.tree.leaves(params[name]), jax.tree.leaves(take(MANY)), strict=True))


@pytest.mark.parametrize("name", ["rmsprop", "adam"])
def test_without_groups_the_state_is_as_it_was_before_there_were_groups(name):
    """So that runs of before go on."""
    config = config_with(**{"optimizer.name": name, "optimizer.momentum": 0.5})
    c, rate = config.optimizer, optimizer.learning_rate(config.schedule)
    rule = {"rmsprop": optax.rmsprop(rate, decay=c.decay, momentum=0.5),
            "adam": optax.adam(rate, b1=0.5, b2=c.decay)}[name]
    expected = optax.apply_if_finite(
        optax.chain(optax.clip_by_global_norm(c.clip_norm), rule), 2**31 - 1).init(MANY)
    lacking = config.copy_and_resolve_references()
    del lacking.optimizer["groups"]
    for here in (config, lacking):
        state = optimizer.create(here).init(MANY)
        assert jax.tree.structure(state) == jax.tree.structure(expected)


def test_a_gradient_of_one_group_that_is_not_finite_stops_all_groups_and_is_counted():
    config, good = config_with_groups(**GROUPS), [gradients_of(0), gradients_of(1)]
    poisoned = gradients_of(2) | {"encoder": jnp.asarray([np.nan, 0.0])}
    params, state = trained(config, [good[0], poisoned, poisoned])
    expected, expected_state = trained(config, good[:1])
    jax.tree.map(np.testing.assert_array_equal, params, expected)
    jax.tree.map(np.testing.assert_array_equal, state.inner_state, expected_state.inner_state)
    assert (state.notfinite_count, state.total_notfinite) == (2, 2)
    params, state = trained(config, [good[0], poisoned, good[1]])
    jax.tree.map(np.testing.assert_array_equal, params, trained(config, good)[0])
    assert (state.notfinite_count, state.total_notfinite) == (0, 1)


@pytest.mark.parametrize("groups, message", [
    ({"mine": GROUPS["first"] | {"prefix": "decoder/layer"}},
     "groups.mine.prefix is 'decoder/layer', but no parameter's path begins with it; at the top "
     "there are: decoder, encoder."),
    ({"a": GROUPS["first"], "b": GROUPS["first"]}, "must have one of its own each"),
    ({"rest": GROUPS["first"]}, "none may be named 'rest'"),
    ({"mine": GROUPS["first"] | {"name": "sgd"}},
     "config.optimizer.groups.mine.name is 'sgd'; it must be rmsprop or adam"),
])
def test_groups_that_cannot_be_are_refused_when_parameters_are_known(groups, message):
    with pytest.raises(ValueError, match=message):
        jax.eval_shape(optimizer.create(config_with_groups(**groups)).init, MANY)


def test_the_state_of_groups_is_saved_and_restored(tmp_path):
    config = config_with_groups(**GROUPS)
    params, opt_state = trained(config, [gradients_of(0)])
    state = train.TrainState(jnp.int32(1), params, opt_state)
    data = grain.MapDataset.range(3).to_iter_dataset()
    with checkpoint.open_checkpoints(str(tmp_path), keep=1) as manager:
        checkpoint.save(manager, 1, state, iter(data), config.to_dict())
        checkpoint.wait(manager)
        shape = jax.tree.map(lambda a: jax.ShapeDtypeStruct(a.shape, a.dtype), state)
        restored = checkpoint.restore(manager, shape, iter(data), config=config.to_dict())
    assert jax.tree.structure(restored) == jax.tree.structure(state)
    jax.tree.map(np.testing.assert_array_equal, restored, state)
