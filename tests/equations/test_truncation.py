"""Chunked gradients against one long scan whose state is cut by stop_gradient."""

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from parts_jax.equations import truncation

B, CUT = 2, 4


def chunk_loss(params, state, inputs):
    """A recurrence whose gradient through time can be followed by hand: inputs [B, t]."""
    def step(h, x):
        h = jnp.tanh(params["w"] * h + x)
        return h, jnp.square(h)
    h, losses = jax.lax.scan(step, state, inputs.T)
    return jnp.sum(losses), (h, {"loss": losses.T})


@pytest.mark.parametrize("num_frames", [3, 4, 6, 8, 9])
@pytest.mark.parametrize("unroll", [False, True])
def test_chunks_equal_one_scan_with_stopped_gradients(num_frames, unroll):
    params, start = {"w": jnp.asarray(0.8)}, jnp.asarray([0.3, -0.2])
    xs = jnp.asarray(np.random.default_rng(0).normal(size=(B, num_frames)).astype(np.float32))

    def whole(params):
        def step(h, inputs):
            t, x = inputs
            h = jnp.where(t % CUT == 0, jax.lax.stop_gradient(h), h)  # by hand
            h = jnp.tanh(params["w"] * h + x)
            return h, jnp.square(h)
        h, losses = jax.lax.scan(step, start, (jnp.arange(num_frames), xs.T))
        return jnp.sum(losses), (h, {"loss": losses.T})

    (loss, (state, metrics)), gradients = jax.value_and_grad(whole, has_aux=True)(params)
    chunked = truncation.truncated_value_and_grad(chunk_loss, CUT, unroll)
    chex.assert_trees_all_close(chunked(params, start, xs), ((loss, state, metrics), gradients),
                                rtol=1e-5)
    if num_frames > CUT:  # and the cut is real: the uncut gradient is another
        uncut = jax.grad(lambda p: chunk_loss(p, start, xs)[0])(params)
        assert abs(float(uncut["w"] - gradients["w"])) > 1e-3


def test_truncate_cuts_every_fourth_frame():
    def through(scale, t):
        state = {"posterior": scale * jnp.ones((1, 2)), "hidden": (scale * jnp.ones(2),)}
        return sum(jnp.sum(leaf) for leaf in jax.tree.leaves(truncation.truncate(state, t, CUT)))

    assert [float(jax.grad(through)(1.0, t)) for t in range(9)] == [0, 4, 4, 4, 0, 4, 4, 4, 0]


def test_into_chunks_and_out_of_them():
    array = np.arange(B * 6 * 3).reshape(B, 6, 3)
    chunks = truncation.into_chunks(jnp.asarray(array), 2)
    for n in range(2):
        np.testing.assert_array_equal(chunks[n], array[:, 3 * n:3 * n + 3])
    np.testing.assert_array_equal(truncation.out_of_chunks(chunks), array)
