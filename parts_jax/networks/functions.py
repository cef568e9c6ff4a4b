"""Linen modules as plain functions of their parameters."""

from typing import Any, NamedTuple

import flax.linen as nn


class Function(NamedTuple):
    """A linen module and its parameters as a plain function, for lax.scan and gradients to hold."""

    module: nn.Module
    params: Any

    def __call__(self, *args, method: str | None = None):
        return self.module.apply({"params": self.params}, *args, method=method)

    def with_params(self, params: Any) -> "Function":
        return self._replace(params=params)


def as_function(module: nn.Module) -> Function:
    """Unbinds a linen module: inside jax transformations, linen modules must be plain functions."""
    unbound, variables = module.unbind()
    return Function(unbound, variables.get("params", {}))  # {}: a module without parameters
