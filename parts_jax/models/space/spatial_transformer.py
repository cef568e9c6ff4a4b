"""The spatial transformer of upright boxes, both ways (Jaderberg et al., 2015): pure functions.

A box is where = (s_x, s_y, t_x, t_y): its width and height as shares of the picture, and its
centre, from -1 at the left or upper edge of the picture to 1 at the other. Pixels are squares,
sampled at their centres, bilinearly, with zeros around the picture.

As a box is upright, the two axes part: a sample is a row's weights times the picture times a
column's, which is two matrix products in place of a gather. The result is that of a gather.
"""

import jax
import jax.numpy as jnp

EPSILON = 1e-9  # beside the size of a box in a fraction, as in the authors' code


def extract(image: jax.Array, where: jax.Array, size: int) -> jax.Array:
    """Cuts glimpses out of a picture: one of each box, stretched to a square.

    Args:
      image: [..., H, W, C].
      where: boxes, [..., N, 4].
      size: g, of a glimpse.

    Returns:
      [..., N, g, g, C]. A box larger than g pixels is sampled, not averaged.
    """
    scale, centre = _by_axis(where)
    points = jnp.multiply.outer(scale, centres(size)) + centre[..., None]  # [..., N, 2, g]
    columns = weights(points[..., 0, :], image.shape[-2])
    rows = weights(points[..., 1, :], image.shape[-3])
    return jnp.einsum("...ngh,...hwc,...nvw->...ngvc", rows, image, columns, optimize="optimal")


def place(glimpses: jax.Array, where: jax.Array, resolution: tuple[int, int]) -> jax.Array:
    """Puts glimpses into pictures of their own, zero outside of their boxes.

    Args:
      glimpses: [..., N, g, g, C].
      where: boxes, [..., N, 4].
      resolution: (H, W).

    Returns:
      [..., N, H, W, C].
    """
    scale, centre = _by_axis(where)
    inverse = 1 / (scale + EPSILON)

    def along(axis: int, pixels: int, cells: int) -> jax.Array:
        offset = jnp.subtract.outer(centre[..., axis], centres(pixels))
        return weights(-inverse[..., axis, None] * offset, cells)

    columns = along(0, resolution[1], glimpses.shape[-2])
    rows = along(1, resolution[0], glimpses.shape[-3])
    return jnp.einsum("...hu,...uvc,...wv->...hwc", rows, glimpses, columns, optimize="optimal")


def centres(size: int) -> jax.Array:
    """Centres of pixels along an axis that goes from -1 to 1, [size]."""
    return (jnp.arange(size) + 0.5) / size * 2 - 1


def weights(points: jax.Array, size: int) -> jax.Array:
    """How much of each pixel a sample takes, along one axis.

    Args:
      points: where samples are taken, [..., P]; the axis goes from -1 to 1.
      size: pixels on the axis, S.

    Returns:
      [..., P, S]: two neighbours of each point have some, by nearness; 1 together but for points
      less than half a pixel from the edge, or beyond it.
    """
    index = ((points + 1) * size - 1) / 2
    return jnp.maximum(0.0, 1 - jnp.abs(jnp.subtract.outer(index, jnp.arange(size))))


def boxes(where: jax.Array) -> jax.Array:
    """y0, x0, y1, x1 of boxes, as shares of the picture, in which not all need lie: [..., 4]."""
    scale, centre = _by_axis(where)
    middle = (centre + 1) / 2
    low, high = middle - scale / 2, middle + scale / 2
    return jnp.concatenate([low[..., ::-1], high[..., ::-1]], axis=-1)


def _by_axis(where: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Sizes and centres, each (x, y), [..., 2]."""
    return where[..., :2], where[..., 2:]
