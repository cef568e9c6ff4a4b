"""Convolutions whose gradients are as fast inside of a loop as outside of it.

XLA's CPU compiler brings a convolution into the form that its fast kernels take (batch and rows and
columns and channels, in this order) where it stands in a program's outermost computation, and not
in the body of a loop or the branch of a condition. What is not in that form runs as plain nested
loops there, 10 to 50 times as long. A convolution as it is written is in that form; the gradients
that JAX derives from it, of its inputs and of its kernel, are not. Most models here are
`jax.lax.scan`s over frames or refinements, so they are written out in that form below.
"""

import functools
from collections.abc import Sequence
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

CHANNELS_LAST = ("NHWC", "HWIO", "NHWC")
Pads = tuple[tuple[int, int], ...]


def convolve(inputs: jax.Array, kernel: jax.Array, window_strides: Sequence[int],
             padding: str | Sequence[tuple[int, int]], **others: Any) -> jax.Array:
    """`jax.lax.conv_general_dilated` of pictures, without dilation and groups.

    Args:
      inputs: [B, H, W, C].
      kernel: [k, l, C, F].
      window_strides: of rows and columns.
      padding: "SAME", "VALID", or zeros before and after rows and columns.
      others: what `nn.Conv` hands over beside these. It must say nothing else than that.

    Returns:
      [B, H', W', F].

    Raises:
      ValueError: other axes, dilation or groups.
    """
    given = {name: value for name, value in others.items() if value is not None}
    ones = (1,) * (inputs.ndim - 2)
    axes = jax.lax.conv_dimension_numbers(inputs.shape, kernel.shape, CHANNELS_LAST)
    expected = dict(lhs_dilation=ones, rhs_dilation=ones, feature_group_count=1,
                    dimension_numbers=axes)
    wrong = {name: value for name, value in given.items() if expected.get(name) != value}
    if wrong:
        raise ValueError("A convolution here is of pictures [B, H, W, C] without dilation, groups "
                         f"and a precision of its own; got {wrong}.")
    strides = tuple(window_strides)
    if isinstance(padding, str):
        padding = jax.lax.padtype_to_pads(inputs.shape[1:3], kernel.shape[:2], strides, padding)
    # What all devices of a `shard_map` share, such as coordinates, has the sum of their gradients
    # for a gradient, and one written by hand has no such sum. Zeros of what differs from device to
    # device differ, too: with them added both arrays do, and JAX takes the sum here.
    inputs, kernel = (inputs + jnp.zeros_like(kernel, shape=()),
                      kernel + jnp.zeros_like(inputs, shape=()))
    return canonical(inputs, kernel, strides, tuple((int(a), int(b)) for a, b in padding))


@functools.partial(jax.custom_vjp, nondiff_argnums=(2, 3))
def canonical(inputs: jax.Array, kernel: jax.Array, strides: tuple[int, ...],
              pads: Pads) -> jax.Array:
    """y[i, j] = sum over a, b of kernel[a, b] x[s i + a - before, s j + b - before]."""
    return jax.lax.conv_general_dilated(inputs, kernel, strides, pads,
                                        dimension_numbers=CHANNELS_LAST)


def _forward(inputs: jax.Array, kernel: jax.Array, strides: tuple[int, ...],
             pads: Pads) -> tuple[jax.Array, tuple[jax.Array, jax.Array]]:
    return canonical(inputs, kernel, strides, pads), (inputs, kernel)


def _backward(strides: tuple[int, ...], pads: Pads, residuals: tuple[jax.Array, jax.Array],
              gradient: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Two convolutions in the form of the first. Pads may be below zero: rows are left out then."""
    inputs, kernel = residuals
    of_inputs, of_kernel = [], []
    for n, k, m, s, (before, _) in zip(inputs.shape[1:3], kernel.shape[:2], gradient.shape[1:3],
                                       strides, pads, strict=True):
        spread = (m - 1) * s + 1  # rows of the gradient, with s - 1 rows of zeros between them
        of_inputs.append((k - 1 - before, n + before - spread))
        of_kernel.append((before, spread + k - 1 - n - before))
    # By the inputs: the gradient, spread, with the kernel turned round, its channels exchanged.
    turned = jnp.swapaxes(kernel[::-1, ::-1], 2, 3)
    by_inputs = jax.lax.conv_general_dilated(gradient, turned, (1, 1), of_inputs,
                                             lhs_dilation=strides, dimension_numbers=CHANNELS_LAST)
    # By the kernel: the inputs with the gradient for a kernel, the sum being over examples. Input
    # channels stand where examples do otherwise: [C, H, W, B] with [H', W', B, F] is [C, k, l, F].
    by_kernel = jax.lax.conv_general_dilated(
        jnp.transpose(inputs, (3, 1, 2, 0)), jnp.transpose(gradient, (1, 2, 0, 3)), (1, 1),
        of_kernel, rhs_dilation=strides, dimension_numbers=CHANNELS_LAST)
    return by_inputs, jnp.transpose(by_kernel, (1, 2, 0, 3))


canonical.defvjp(_forward, _backward)

Conv = functools.partial(nn.Conv, conv_general_dilated=convolve)
