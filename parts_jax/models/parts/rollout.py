"""The future by the transition alone (sections 3.2.1 and 4.2)."""

from typing import Any

import jax

from parts_jax.equations import gaussian
from parts_jax.equations.notation import InferenceState, Slots
from parts_jax.models.contract import batch_first, time_first
from parts_jax.models.parts import model
from parts_jax.networks.functions import Function


def roll_out(parts: model.PARTS, params: Any, state: InferenceState, actions: jax.Array,
             noise: Any = None) -> Slots:
    """Predicts frames by the transition alone (section 3.2.1): no frame is seen, nothing refined.

    Args:
      parts: from `build`.
      params: its parameters.
      state: after the last frame that was seen.
      actions: a_{t-1} for each frame t to predict, [B, S, A]; A may be 0.
      noise: not needed, as posteriors are decoded at their means.

    Returns:
      Slots of [B, S, K, D].
    """
    del noise
    predict = Function(parts.transition, params.get("transition", {}))

    def step(state, action):
        lambda_, hidden = parts.predict(predict, state, action)  # lambda_t^0
        return state.replace(posterior=lambda_, hidden=hidden), lambda_

    _, lambdas = jax.lax.scan(step, state, time_first(actions))
    q = gaussian.from_parameters(jax.tree.map(batch_first, lambdas), parts.log_std_offset)
    return Slots(q.mean, q)
