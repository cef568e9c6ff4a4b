"""The model families, by the name that a config gives: each module has `create(config)`."""

import jax
import jax.numpy as jnp

from parts_jax.models import parts

CREATE = {"parts": parts.create}


def create(config):
    """Builds the linen model that a config describes.

    Raises:
      ValueError: the config names a model that does not exist, or asks for float64 of a JAX that
        has it switched off.
    """
    name = config.model.name
    if name not in CREATE:
        raise ValueError(f"config.model.name is {name!r}; there is: {', '.join(CREATE)}.")
    if config.model.get("dtype") == "float64" and not jax.config.jax_enable_x64:
        raise ValueError("config.model.dtype is 'float64', which JAX computes in only if the "
                         "environment variable JAX_ENABLE_X64 is set to 1.")
    return CREATE[name](config)


def initial_parameters(config, model, key: jax.Array):
    """New parameters of a model; their shapes depend on neither batch, T, K, nor resolution.

    Args:
      config: as of configs/.
      model: from `create`.
      key: of the random initialisation.

    Returns:
      A pytree of arrays: float32, or float64 if JAX has that switched on.
    """
    video = jnp.zeros((1, 1, 8, 8, 3))
    c = config.model
    actions = jnp.zeros((1, 1, config.data.action_size))
    noise = jnp.zeros((1, 1, c.num_refinements, c.num_slots, c.slot_size))
    params = model.init(key, video, actions, noise)["params"]
    return jax.tree.map(lambda p: p.astype(video.dtype), params)
