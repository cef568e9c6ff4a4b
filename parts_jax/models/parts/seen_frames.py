"""What a frame changes, and where: one that may not be looked at changes nothing."""

from typing import Any

import jax
import jax.numpy as jnp


def where_seen(seen: jax.Array | None, new: Any, old: Any) -> Any:
    """What a frame has changed where it is seen, bool [B]: of two pytrees of [B, K, .]."""
    if seen is None:
        return new
    return jax.tree.map(lambda n, o: jnp.where(seen[:, None, None], n, o), new, old)


def started_after(seen: jax.Array | None, started: Any) -> Any:
    """`InferenceState.started` after a frame, seen or not, bool [B]; None: seen."""
    return jax.tree.map(lambda s: jnp.ones_like(s) if seen is None else jnp.where(seen, 1.0, s),
                        started)
