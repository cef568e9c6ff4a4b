"""A closer look at the pixels that a slot explains, which moves with it."""

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from parts_jax.networks import layers


class Glimpse(nn.Module):
    """A layer of what M x M Gaussian filters see around a slot's pixels, and where these are.

    As it moves with the slot, what it learns of a shape it knows at every place.

    Attributes:
      points: M, a side.
      spacing: between the points, in halves of a picture's side.
      width: F, of the layer.
      dtype: of its matrix product.
    """

    points: int
    spacing: float
    width: int
    dtype: Any = None

    def setup(self):
        self.dense = nn.Dense(self.width, dtype=self.dtype)
        nn.share_scope(self, self.dense)  # its kernel and bias have this module's name

    def __call__(self, images: jax.Array, shares: jax.Array, coordinates: jax.Array) -> jax.Array:
        """[B, K, H, W, C], [B, K, H, W], [B, K, H, W, 2], as of `glimpse` -> [B, K, F + 2]."""
        seen, centre = glimpse(images, shares, coordinates, self.points, self.spacing)
        features = layers.at_least_float32(self.dense(seen.reshape(*centre.shape[:-1], -1)))
        return jnp.concatenate([nn.elu(features), centre], axis=-1)


def glimpse(images: jax.Array, shares: jax.Array, coordinates: jax.Array, points: int,
            spacing: float) -> tuple[jax.Array, jax.Array]:
    """What M x M Gaussian filters see around each slot's pixels: DRAW's reading (Gregor et al.,
    2015, section 3.2), its grid centred on the mean place of the pixels that the slot explains.

    F_X[m, i] = exp(-(x_i - c_x - o_m)^2 / (2 s^2)) / Z, o_m = (m - (M - 1) / 2) spacing, and so for
    y; s is half the spacing. Z is a filter's sum over a picture without edges, so that beyond the
    edges there are zeros.

    Args:
      images: [B, K, H, W, C].
      shares: what a pixel counts for its slot's centre, [B, K, H, W]; divided by its sum over K.
      coordinates: x, y of each pixel in [-1, 1], [B, K, H, W, 2].
      points: M.
      spacing: between neighbours, in units of coordinates.

    Returns:
      [B, K, M, M, C], and the centres, [B, K, 2]. No gradient goes to where the grid lies.
    """
    shares = jax.lax.stop_gradient(shares)
    shares = shares / (jnp.sum(shares, axis=1, keepdims=True) + 1e-9)
    total = jnp.sum(shares, axis=(-2, -1))[..., None] + 1e-9
    centre = jnp.einsum("bkhw,bkhwc->bkc", shares, coordinates) / total
    offsets = (jnp.arange(points) - (points - 1) / 2) * spacing

    def filters(u: jax.Array, c: jax.Array) -> jax.Array:  # [B, K, S], [B, K] -> [B, K, M, S]
        at = c[..., None] + jnp.expand_dims(offsets, (0, 1))
        distance = u[..., None, :] - at[..., None]
        z = spacing / 2 * jnp.sqrt(2 * jnp.pi) * u.shape[-1] / 2
        return jnp.exp(-2 * (distance / spacing) ** 2) / z

    of_x = filters(coordinates[:, :, 0, :, 0], centre[..., 0])
    of_y = filters(coordinates[:, :, :, 0, 1], centre[..., 1])
    return jnp.einsum("bkmh,bknw,bkhwc->bkmnc", of_y, of_x, images), centre
