"""State and iterator come back together, exactly; half-written checkpoints do no harm."""

import os
from typing import Any

import grain
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import struct

from parts_jax import checkpoint

CONFIG = {"seed": 0, "eval": {"batch_size": 4}}


@struct.dataclass
class State:
    step: jax.Array
    params: Any
    opt_state: Any


def make_state(fill: float = 0.0) -> State:
    params = {"a": {"kernel": jnp.full((64, 32), fill)}, "b": jnp.arange(3.0)}
    return State(jnp.int32(fill), params, optax.adam(1e-3).init(params))


def make_iterator():
    data = grain.MapDataset.range(100).shuffle(seed=3).repeat()
    return iter(data.to_iter_dataset(grain.ReadOptions(num_threads=2)).batch(4))


def assert_equal(a: State, b: State) -> None:
    assert jax.tree.structure(a) == jax.tree.structure(b)
    jax.tree.map(np.testing.assert_array_equal, a, b)


@pytest.fixture
def workdir(tmp_path) -> str:
    """A run with checkpoints of steps 2 and 3, of states filled with 2 and 3."""
    iterator = make_iterator()
    manager = checkpoint.open_checkpoints(str(tmp_path), keep=2)
    for step in (1, 2, 3):
        next(iterator)
        assert checkpoint.save(manager, step, make_state(float(step)), iterator, CONFIG)
    manager.close()
    return str(tmp_path)


def test_state_and_iterator_come_back_together(workdir):
    straight = make_iterator()
    items = [next(straight) for _ in range(5)]
    manager = checkpoint.open_checkpoints(workdir, keep=2)
    for step in (2, 3):
        iterator = make_iterator()
        state = checkpoint.restore(manager, jax.eval_shape(make_state), iterator, step)
        assert_equal(state, make_state(float(step)))
        np.testing.assert_array_equal(next(iterator), items[step])
    newest = checkpoint.restore(manager, jax.eval_shape(make_state), make_iterator())
    assert newest.step == 3 and isinstance(newest.params["b"], np.ndarray)
    manager.close()


def test_keeps_the_newest_and_does_not_save_a_step_twice(workdir):
    manager = checkpoint.open_checkpoints(workdir, keep=2)
    assert sorted(manager.all_steps()) == [2, 3] and checkpoint.latest_step(manager) == 3
    assert not checkpoint.save(manager, 3, make_state(9.0), make_iterator(), CONFIG)
    assert checkpoint.save(manager, 4, make_state(4.0), make_iterator(), CONFIG)
    checkpoint.wait(manager)
    assert sorted(manager.all_steps()) == [3, 4]
    manager.close()


def test_arrays_may_be_donated_right_after_saving(tmp_path):
    """On several devices, as in training: what is saved is the state before the next step."""
    mesh = jax.make_mesh((4,), ("data",), axis_types=(jax.sharding.AxisType.Auto,))
    replicated = jax.sharding.NamedSharding(mesh, jax.sharding.PartitionSpec())
    advance = jax.jit(lambda state: jax.tree.map(lambda x: x + 1, state), donate_argnums=0)
    manager = checkpoint.open_checkpoints(str(tmp_path), keep=5)
    state, expected = jax.device_put(make_state(), replicated), make_state()
    for step in range(1, 6):
        state, expected = advance(state), jax.tree.map(lambda x: x + 1, expected)
        checkpoint.save(manager, step, state, make_iterator(), CONFIG)
    state = advance(state)
    restored = checkpoint.restore(manager, jax.eval_shape(make_state), make_iterator())
    assert_equal(restored, expected)
    manager.close()


def test_half_written_checkpoints_are_passed_over_and_removed(workdir):
    folder = os.path.join(workdir, checkpoint.FOLDER)
    half = os.path.join(folder, "5.orbax-checkpoint-tmp")
    os.makedirs(os.path.join(half, "state.orbax-checkpoint-tmp"))
    params, step = checkpoint.restore_params(workdir, jax.eval_shape(make_state).params)
    assert step == 3 and os.path.isdir(half)  # a look from outside changes nothing
    np.testing.assert_array_equal(params["a"]["kernel"], np.full((64, 32), 3.0))

    manager = checkpoint.open_checkpoints(workdir, keep=2)
    assert checkpoint.latest_step(manager) == 3
    assert checkpoint.save(manager, 4, make_state(4.0), make_iterator(), CONFIG)
    manager.close()
    assert not os.path.exists(half)
    assert checkpoint.choose_step(workdir) == 4


def test_parameters_alone(workdir):
    params, step = checkpoint.restore_params(workdir, jax.eval_shape(make_state).params, 2)
    assert step == 2
    jax.tree.map(np.testing.assert_array_equal, params, make_state(2.0).params)


def test_a_missing_checkpoint_is_named(workdir, tmp_path):
    with pytest.raises(FileNotFoundError, match="no checkpoint of step 7 in .*steps 2, 3"):
        checkpoint.choose_step(workdir, 7)
    empty = str(tmp_path / "empty")
    with pytest.raises(FileNotFoundError, match="no checkpoint in .*empty"):
        checkpoint.choose_step(empty)
    with pytest.raises(FileNotFoundError, match="no checkpoint in .*empty"):
        checkpoint.restore_params(empty, jax.eval_shape(make_state).params)
    manager = checkpoint.open_checkpoints(empty, keep=1)
    assert checkpoint.latest_step(manager) is None
    with pytest.raises(FileNotFoundError, match="no checkpoint in .*empty"):
        checkpoint.restore(manager, jax.eval_shape(make_state), make_iterator())
    manager.close()


def test_new_checkpoints_are_told_one_by_one_until_the_last(tmp_path, monkeypatch):
    """Two are there, the next is written while it waits; one was deleted before its turn."""
    iterator = make_iterator()
    manager = checkpoint.open_checkpoints(str(tmp_path), keep=2)

    def write(*steps):
        for step in steps:
            checkpoint.save(manager, step, make_state(float(step)), iterator, CONFIG)
        checkpoint.wait(manager)

    waits = iter([lambda: write(1, 2), lambda: write(3, 4, 5)])
    monkeypatch.setattr(checkpoint.time, "sleep", lambda seconds: next(waits)())
    assert list(checkpoint.new_steps(str(tmp_path), last_step=5)) == [1, 2, 4, 5]
    manager.close()


@pytest.mark.parametrize("shape", [{"a": {"kernel": jnp.zeros((64, 31))}, "b": jnp.zeros(3)},
                                   {"a": {"kernel": jnp.zeros((64, 32))}, "c": jnp.zeros(3)}])
def test_parameters_of_another_form_are_refused(workdir, shape):
    with pytest.raises(checkpoint.UnreadableError, match="checkpoint of step 3 .* is damaged, or"):
        checkpoint.restore_params(workdir, jax.eval_shape(lambda: shape))
