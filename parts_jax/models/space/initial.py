"""Initial parameters of SPACE, drawn all at once.

It has a hundred layers. Were each initialised by itself, XLA would compile a generator of random
numbers for each, which takes it longer than the step of training.
"""

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np


def parameters(module: nn.Module, key: jax.Array, method: str) -> Any:
    """The parameters of a module, as PyTorch's layers are initialised, which the authors' are.

    Kernels, and the biases beside them, are uniform within 1 / sqrt(inputs of an output); what has
    no kernel beside it is as the module says: norms' scales 1, all else 0.

    Args:
      module: whose parameters are kernels, biases, scales of norms, and vectors that start at 0.
      key: of random numbers.
      method: of the module, without arguments, that touches all of its parameters.
    """
    shapes = jax.eval_shape(lambda key: module.init(key, method=method)["params"], key)
    size = sum(np.prod(leaf.shape, dtype=int) for leaf in jax.tree.leaves(shapes))
    numbers, used = jax.random.uniform(key, (size,), minval=-1.0), 0

    def made(tree: dict) -> dict:
        nonlocal used
        new = {}
        for name, leaf in tree.items():
            if isinstance(leaf, dict):
                new[name] = made(leaf)
            elif "kernel" in tree:
                count = int(np.prod(leaf.shape))
                bound = np.prod(tree["kernel"].shape[:-1]) ** -0.5
                new[name] = bound * numbers[used:used + count].reshape(leaf.shape)
                used += count
            else:
                new[name] = jnp.full(leaf.shape, float(name == "scale"))
        return new

    return made(shapes)
