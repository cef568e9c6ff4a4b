"""Truncated backpropagation through time (section 4), by one rule: the gradient of the state is
cut before each frame t, counted from the start of a stretch, with t a multiple of `truncation`.

`truncate` is the rule, for the scan over time of a model, so that a clip in one piece has the right
gradient. `truncated_value_and_grad` is how training takes that gradient: stretch by stretch, each
as long as `truncation`, so that every stretch begins with a cut. The same numbers, less memory.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp


def truncate(state: Any, t: jax.Array, truncation: int) -> Any:
    """Stops the gradients of all state before every `truncation`-th frame; a pytree as it came."""
    stop = t % truncation == 0
    return jax.tree.map(lambda s: jnp.where(stop, jax.lax.stop_gradient(s), s), state)


def truncated_value_and_grad(chunk_loss: Callable, truncation: int,
                             unroll: bool = False) -> Callable:
    """Loss and gradient of a clip, one chunk of `truncation` frames after the other.

    As gradients never cross a cut, those of each chunk can be taken on their own, with its first
    state as a constant, and added up: the same numbers as one long scan through which the gradient
    of the state is stopped every `truncation` frames. But the memory is that of one chunk whatever
    T: activations of a chunk are gone before the next begins, and only the sum of the gradients,
    as large as the parameters, is carried.

    Args:
      chunk_loss: f(params, state, inputs) -> (loss, (state, metrics)), the loss summed over the
        frames of `inputs`, a pytree of [B, t, ...] with t <= truncation; metrics [B, t] each.
      truncation: frames per chunk.
      unroll: chunks one after the other without a loop in the compiled program: faster where
        XLA's loops are slow (convolutions on CPU), longer to compile.

    Returns:
      f(params, state, inputs) -> ((loss, state, metrics), gradients) over all T frames of inputs;
      metrics [B, T]. T need not be a multiple of truncation.
    """
    take = jax.value_and_grad(chunk_loss, has_aux=True)

    def value_and_grad(params, state, inputs):
        def step(carry, chunk):
            state, gradients = carry
            (loss, (state, metrics)), chunk_gradients = take(params, state, chunk)
            return (state, jax.tree.map(jnp.add, gradients, chunk_gradients)), (loss, metrics)

        num_frames = jax.tree.leaves(inputs)[0].shape[1]
        num_looped = 0 if unroll else num_frames // truncation
        done = num_looped * truncation
        carry, pieces = (state, jax.tree.map(jnp.zeros_like, params)), []
        if num_looped:
            carry, (losses, metrics) = jax.lax.scan(step, carry, jax.tree.map(
                lambda a: into_chunks(a[:, :done], num_looped), inputs))
            pieces.append((jnp.sum(losses), jax.tree.map(out_of_chunks, metrics)))
        for start in range(done, num_frames, truncation):  # the last, shorter chunk, or all
            carry, piece = step(carry, jax.tree.map(
                lambda a, at=start: frames_of(a, at, truncation), inputs))
            pieces.append(piece)
        losses, metrics = zip(*pieces, strict=True)
        metrics = jax.tree.map(lambda *parts: jnp.concatenate(parts, axis=1), *metrics)
        state, gradients = carry
        return (sum(losses), state, metrics), gradients

    return value_and_grad


def frames_of(array: jax.Array, start: int, count: int) -> jax.Array:
    """Some frames of [B, T, ...], taken while time is first.

    A model puts time first for its scan. XLA cancels that turn against the second one here, and
    what is left to be turned is the array as it came, which is frames in uint8; else it turns, on
    CPU by a copy, what the model makes of them, in float32.
    """
    return jnp.swapaxes(jnp.swapaxes(array, 0, 1)[start:start + count], 0, 1)


def into_chunks(array: jax.Array, num_chunks: int) -> jax.Array:
    """[B, n t, ...] -> [n, B, t, ...], to be scanned over."""
    batch_size, num_frames = array.shape[:2]
    chunks = array.reshape(batch_size, num_chunks, num_frames // num_chunks, *array.shape[2:])
    return jnp.moveaxis(chunks, 1, 0)


def out_of_chunks(chunks: jax.Array) -> jax.Array:
    """[n, B, t, ...] -> [B, n t, ...]."""
    batch_first = jnp.moveaxis(chunks, 0, 1)
    return batch_first.reshape(batch_first.shape[0], -1, *batch_first.shape[3:])
