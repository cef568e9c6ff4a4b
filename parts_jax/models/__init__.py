"""The model families, by the name that a config gives; contract.py says what a family is."""

import difflib
import types
from collections.abc import Mapping
from typing import Any

import jax
import ml_collections

from parts_jax.models import contract, grid_lstm, iodine, parts, space

FAMILIES = {"parts": parts, "iodine": iodine, "grid_lstm": grid_lstm, "space": space}


def family_of(model_config: ml_collections.ConfigDict) -> types.ModuleType:
    """The module of the family that the `model` part of a config names.

    Raises:
      ValueError: there is no such family.
    """
    name = model_config.name
    if name not in FAMILIES:
        nearest = difflib.get_close_matches(str(name), FAMILIES, n=1)
        hint = f"; the nearest is {nearest[0]!r}" if nearest else ""
        raise ValueError(f"config.model.name is {name!r}; there is: {', '.join(FAMILIES)}{hint}.")
    return FAMILIES[name]


def later_keys(model_config: Mapping[str, Any]) -> dict[str, Any]:
    """Keys that earlier runs of a family did not have, with what they are gone on with.

    Args:
      model_config: the `model` part of a config, of whatever version.
    """
    return getattr(FAMILIES.get(model_config.get("name")), "LATER_KEYS", {})


def create(config: ml_collections.ConfigDict) -> contract.Model:
    """Builds the model that a config describes; shapes are checked where they enter it.

    Args:
      config: a whole config, as in configs/.

    Raises:
      ValueError: the config names a family that does not exist, or asks for float64 of a JAX that
        has it switched off.
    """
    family = family_of(config.model)
    if config.model.get("dtype") == "float64" and not jax.config.jax_enable_x64:
        raise ValueError("config.model.dtype is 'float64', which JAX computes in only if the "
                         "environment variable JAX_ENABLE_X64 is set to 1.")
    return contract.checked(family.create(config), config.data.action_size)
