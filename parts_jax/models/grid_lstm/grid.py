"""The grid of Figure 2a: which cells (frame t, refinement r) there are, and in which order.

Frame t, counted from 0, has max(R - t, least) cells: R, R-1, ..., least, least, ... With `least` 1
that is the paper's efficient grid (section 3.2.1), R^2 / 2 + T cells in all; with `least` R the
whole rectangle, R T cells, of the paper's base model.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np


def cells_of_frame(t: jax.Array | int, num_refinements: int, least: int) -> jax.Array:
    """max(R - t, least): refinements of frame t, int32 of the shape of t."""
    return jnp.maximum(num_refinements - jnp.asarray(t), least)


def cells(num_frames: int, num_refinements: int,
          least: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The cells of a stretch of T frames, frame after frame, as if it began with frame 0.

    A stretch that begins later has fewer: no frame of it has more cells than are listed here.

    Args:
      num_frames: T.
      num_refinements: R.
      least: of a frame.

    Returns:
      For each cell its frame in the stretch and its refinement, from 0, int32 [cells] each; and
      for each frame the position of its first cell, [T].
    """
    counts = np.maximum(num_refinements - np.arange(num_frames), least)
    frames = np.repeat(np.arange(num_frames), counts)
    first = np.concatenate([[0], np.cumsum(counts)[:-1]])
    refinements = np.arange(counts.sum()) - first[frames]
    return frames.astype(np.int32), refinements.astype(np.int32), first.astype(np.int32)


def zeros_like_those_of(visit: Callable, state: Any) -> Any:
    """Zeros in place of what a cell returns beside its state, of the same device.

    Args:
      visit: state -> (state, outputs).
      state: with `frame`, [B].
    """
    zero = jnp.zeros_like(state.frame[0])
    return jax.tree.map(
        lambda a: jnp.broadcast_to(zero, a.shape).astype(a.dtype), jax.eval_shape(visit, state)[1])
