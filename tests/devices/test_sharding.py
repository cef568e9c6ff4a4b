"""One device and four do the same: a step under plain SGD, noise, evaluation, one all-reduce."""

import functools
import re

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from configs import parts_clevrer
from parts_jax import models, train
from parts_jax.data import pipeline
from parts_jax.devices import sharding
from parts_jax.evaluation import split as split_of
from parts_jax.evaluation import stages
from parts_jax.metrics import intervals

B, CLIPS = 4, 6


@pytest.fixture(scope="module")
def setup(tiny):
    """Config, model, plain SGD (Adam would hide a wrong scale of the gradient), and a state."""
    config = parts_clevrer.get_config("demo")
    config.update_from_flattened_dict(tiny)
    model = models.create(config)
    tx = optax.apply_if_finite(optax.sgd(1e-2), 2**31 - 1)
    state = jax.jit(functools.partial(train.create_state, config, model, tx))()
    # Larger than at the start of training, so that the masks are no near ties.
    rng = np.random.default_rng(0)
    params = jax.tree.map(lambda p: p + 0.3 * rng.normal(size=p.shape).astype(np.float32),
                          jax.device_get(state.params))
    return config, model, tx, state.replace(params=params)


def random_clips(count: int, config) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(1)
    shape = (count, config.data.num_frames, config.data.resolution, config.data.resolution)
    return {"video": rng.integers(0, 256, (*shape, 3), np.uint8),
            "segmentation": rng.integers(0, 3, shape, np.uint8)}


@functools.cache
def mesh_of(num_devices: int) -> jax.sharding.Mesh:
    return sharding.make_mesh(jax.devices()[:num_devices])


@pytest.fixture(scope="module")
def steps(setup):
    """One step from the same state with the same global batch, by number of devices: the new state,
    the metrics, and the compiled program."""
    config, model, tx, state = setup
    batch = random_clips(B, config) | {"valid": np.ones(B, bool)}
    results = {}
    for num_devices in (1, 4):
        mesh = mesh_of(num_devices)
        step = sharding.data_parallel(
            functools.partial(train.train_step, config=config, model=model, tx=tx, stage=0),
            mesh, in_split=(False, True), out_split=(False, False))
        arguments = sharding.replicate(state, mesh), sharding.split_batch(batch, mesh)
        compiled = step.lower(*arguments).compile()
        results[num_devices] = (*jax.device_get(compiled(*arguments)), compiled.as_text())
    return results


def assert_same_change(one, four):
    """Each leaf changed by the same, within a thousandth of the greatest change of the leaf.

    And 1e-4 of the greatest change of all, as some gradients are zero but for rounding: a bias of
    keys, which moves all slots' scores alike.
    """
    greatest = max(np.abs(change).max() for change in jax.tree.leaves(one))
    for path, change in jax.tree_util.tree_leaves_with_path(one):
        other = functools.reduce(lambda tree, key: tree[key.key], path, four)
        np.testing.assert_allclose(
            other, change, rtol=0, atol=1e-3 * np.abs(change).max() + 1e-4 * greatest,
            err_msg=jax.tree_util.keystr(path))


def test_one_and_four_devices_take_the_same_step(setup, steps):
    _, _, _, state = setup
    (one, metrics, _), (four, metrics_of_four, _) = steps[1], steps[4]
    assert metrics.keys() == metrics_of_four.keys()
    for name, value in metrics.items():
        np.testing.assert_allclose(metrics_of_four[name], value, rtol=1e-5, atol=1e-6, err_msg=name)
    assert metrics["skipped_steps"] == 0 and one.step == four.step == 1

    change, change_of_four = (jax.tree.map(np.subtract, new.params, state.params)
                              for new in (one, four))
    assert_same_change(change, change_of_four)
    # SGD's change is the gradient: its norm is the one that is logged.
    np.testing.assert_allclose(optax.tree.norm(change_of_four), 1e-2 * metrics["gradient_norm"],
                               rtol=1e-4)


@pytest.mark.parametrize("scale", [4.0, 0.25, 0.99])
def test_a_gradient_wrong_by_a_factor_would_be_seen(setup, steps, scale):
    """The comparison above can fail: a forgotten mean over 4 devices, one mean too many, less."""
    _, _, _, state = setup
    change = jax.tree.map(np.subtract, steps[1][0].params, state.params)
    with pytest.raises(AssertionError, match="Not equal to tolerance"):
        assert_same_change(change, jax.tree.map(lambda c: scale * c, change))


def test_forgetting_to_mark_parameters_as_varying_is_an_error(setup, monkeypatch):
    """The trap: gradients of replicated parameters would be summed by shard_map, then averaged."""
    config, model, tx, state = setup
    vary, is_params = sharding.vary, lambda tree: isinstance(tree, dict)
    monkeypatch.setattr(sharding, "vary", lambda tree: tree if is_params(tree) else vary(tree))
    step = sharding.data_parallel(
        functools.partial(train.train_step, config=config, model=model, tx=tx, stage=0),
        mesh_of(4), in_split=(False, True), out_split=(False, False))
    batch = random_clips(B, config) | {"valid": np.ones(B, bool)}
    with pytest.raises(ValueError, match="axis types|varying"):
        jax.eval_shape(step, state, batch)


@pytest.mark.parametrize("num_devices", [1, 2, 4])
def test_noise_belongs_to_the_example(num_devices):
    """Its key is folded from the place in the global batch, whatever device it is on."""
    def indices(share):
        return sharding.example_indices(share.shape[0])

    mesh = mesh_of(num_devices)
    find = sharding.data_parallel(indices, mesh, (True,), True)
    places = find(sharding.split_batch(np.zeros(8), mesh))
    np.testing.assert_array_equal(places, np.arange(8))


def test_noise_of_examples_on_different_devices_differs(setup, monkeypatch):
    """One clip four times, one on each device: the four losses differ, as the noise does."""
    config, model, _, state = setup
    clip = random_clips(1, config)
    batch = {key: np.repeat(value, B, axis=0) for key, value in clip.items()}
    batch |= {"valid": np.ones(B, bool), "index": np.arange(B, dtype=np.int32)}
    mesh = mesh_of(4)
    infer = stages.compile_stages(config, model, mesh).infer
    arguments = sharding.replicate(state.params, mesh), sharding.split_batch(batch, mesh)
    losses = sharding.fetch(infer(*arguments)["metrics"]["neg_elbo"])
    assert losses.shape == (B, config.data.num_frames)
    assert len(np.unique(losses[:, -1])) == B


def all_reduces(program: str) -> tuple[int, int, int]:
    """Counts in an HLO text: all-reduces, those inside loops, and loops over more than one turn."""
    computations = dict(re.findall(r"^(?:ENTRY )?%([\w.-]+) \(.*?\{\n(.*?)^\}", program,
                                   re.MULTILINE | re.DOTALL))
    pattern = r" all-reduce(?:-start)?\("
    reached, waiting = set(), set(re.findall(r"\bbody=%([\w.-]+)", program))
    while waiting:
        name = waiting.pop()
        reached.add(name)
        waiting |= {called for called in re.findall(r"%([\w.-]+)", computations[name])
                    if called in computations and called not in reached}
    inside = sum(len(re.findall(pattern, computations[name])) for name in reached)
    turns = [int(n) for n in re.findall(r'known_trip_count":\{"n":"(\d+)"', program)]
    return len(re.findall(pattern, program)), inside, sum(n > 1 for n in turns)


def test_devices_speak_once_a_step_after_the_loop_over_time(setup, steps):
    """One all-reduce of all gradients and metrics; the loops over chunks and time hold none."""
    count, inside, loops = all_reduces(steps[4][2])
    assert (count, inside) == (1, 0)
    assert loops >= 2
    assert all_reduces(steps[1][2])[0] <= 1


def test_an_all_reduce_in_a_loop_would_be_counted():
    """The count above can fail."""
    def share(x):
        total, _ = jax.lax.scan(lambda carry, a: (carry + jax.lax.psum(a, "data"), None),
                                jnp.zeros(()), x)
        return total

    step = sharding.data_parallel(share, mesh_of(4), (True,), False)
    program = step.lower(jax.ShapeDtypeStruct((64,), jnp.float32)).compile().as_text()
    assert all_reduces(program)[:2] == (1, 1)


def evaluated(setup, num_devices: int, batch_size: int, source):
    config, model, _, state = setup
    config = config.copy_and_resolve_references()
    config.eval.batch_size = batch_size
    mesh = mesh_of(num_devices)
    return split_of.infer_split(stages.compile_stages(config, model, mesh),
                                sharding.replicate(state.params, mesh), "test", num_shown=5)


def test_evaluation_is_the_same_for_any_number_of_devices_and_any_batch(setup, monkeypatch):
    """Six clips: whole batches of three on one device; on four, where that becomes four, ragged
    last ones of four and eight."""
    config, _, _, _ = setup
    clips = random_clips(CLIPS, config)
    source = [{key: value[i] for key, value in clips.items()} for i in range(CLIPS)]
    split = pipeline.Split(source, fewest_frames=len(source[0]["video"]))
    monkeypatch.setattr(pipeline, "open_split", lambda data_config, name: split)
    examples, pictures = evaluated(setup, 1, 3, source)
    assert all(values.shape == (CLIPS,) for values in examples.values())
    assert {"fg_ari_last", "ari_video_refined", "ari_video_assigned", "mse",
            "miou_predicted_assigned", "neg_elbo"} <= set(examples)
    assert len(np.unique(examples["mse"])) == CLIPS and np.ptp(examples["ari_frame"]) > 0
    for batch_size in (3, 8):
        others, shown = evaluated(setup, 4, batch_size, source)
        assert others.keys() == examples.keys()
        for name, values in examples.items():
            np.testing.assert_allclose(others[name], values, rtol=5e-5, atol=1e-6, err_msg=name)
        np.testing.assert_array_equal(shown["video"], pictures["video"])
        np.testing.assert_allclose(shown["masks"], pictures["masks"], atol=1e-5)
        assert (shown["assigned"] != pictures["assigned"]).mean() < 1e-3  # near ties
    assert len(pictures["video"]) == 5
    means = intervals.values(examples)
    np.testing.assert_allclose(means["mse"], examples["mse"].mean())
