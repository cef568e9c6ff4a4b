"""The networks of SPACE's foreground: cells, glimpses, objects (Algorithm 1, appendix D.3)."""

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from parts_jax.models.space import spatial_transformer
from parts_jax.models.space.blocks import GroupBlock, SubPixelDecoder, scaled
from parts_jax.models.space.composition import Glimpses
from parts_jax.models.space.latents import GREATEST_LOGIT, CellPosterior, softplus_gaussian
from parts_jax.networks import layers

GLIMPSES = (8, 16, 32)  # sizes that there are networks for
# Pixels of a picture along a cell's edge: strides of the encoder's five convolutions.
STRIDES = {4: (2, 2, 1, 1, 1), 8: (2, 2, 2, 1, 1), 16: (2, 2, 2, 1, 2), 32: (2, 2, 2, 2, 2)}
# Channels, and channels a group, as in the authors' code; the paper's table is not legible here.
ENCODER = ((16, 4), (32, 4), (64, 8), (128, 8), (256, 8))
FEATURES, FEATURES_PER_GROUP = 128, 8
# Kernel size, stride, zeros at each side, channels, channels a group: of a glimpse of 32. A stage
# of a smaller one is left out, from the last on.
GLIMPSE_ENCODER = ((3, 1, 1, 16, 4), (4, 2, 1, 32, 4), (3, 1, 1, 32, 8), (4, 2, 1, 64, 8),
                   (4, 2, 1, 128, 16), (4, 1, 0, 256, 16))
GLIMPSE_DECODER = ((2, 128, 8), (2, 128, 8), (2, 64, 8), (2, 32, 4), (2, 16, 4))


class ForegroundNetworks(nn.Module):
    """All networks of the foreground.

    Attributes:
      image_size: of what is encoded.
      grid: G; `image_size` is 4, 8, 16 or 32 times as much.
      glimpse_size: g, one of GLIMPSES.
      what_size: of z^what.
      width: of all networks, as a share of the paper's.
      dtype: of convolutions and matrix products.
    """

    image_size: int
    grid: int
    glimpse_size: int
    what_size: int
    width: float = 1.0
    dtype: Any = None

    def setup(self):
        block = lambda channels, *args, **kwargs: GroupBlock(
            scaled(channels, self.width), *args, dtype=self.dtype, **kwargs)
        strides = STRIDES[self.image_size // self.grid]
        self.image_encoder = [
            block(channels, per_group, 4 if i < 3 and stride == 2 else 3, stride, 1)
            for i, ((channels, per_group), stride) in enumerate(zip(ENCODER, strides, strict=True))]
        self.image_features = block(FEATURES, FEATURES_PER_GROUP)
        self.lateral = [block(FEATURES, FEATURES_PER_GROUP, 3, 1, 1) for _ in range(2)]
        self.joined = block(FEATURES, FEATURES_PER_GROUP, 3, 1, 1)
        head = lambda outputs: nn.Conv(outputs, (1, 1), dtype=self.dtype)
        self.presence, self.depth = head(1), head(2)
        self.scale, self.shift = head(4), head(4)
        smaller = (32 // self.glimpse_size).bit_length() - 1  # stages that a smaller glimpse lacks
        stages = [stage for i, stage in enumerate(GLIMPSE_ENCODER) if i not in (4, 3)[:smaller]]
        self.glimpse_encoder = [block(channels, per_group, *of_kernel)
                                for *of_kernel, channels, per_group in stages]
        self.what = nn.Dense(2 * self.what_size, dtype=self.dtype)
        self.glimpse_decoder = SubPixelDecoder(
            scaled(256, self.width), [(factor, scaled(channels, self.width), per_group) for
                                      factor, channels, per_group in GLIMPSE_DECODER[smaller:]],
            dtype=self.dtype)
        last = lambda outputs: nn.Conv(outputs, (3, 3), padding=1, dtype=self.dtype)
        self.colours, self.alpha = last(3), last(1)

    def cells(self, x: jax.Array) -> CellPosterior:
        """x [B, S, S, 3], S the image size -> the posterior of G G cells, row by row."""
        h = x
        for layer in (*self.image_encoder, self.image_features):
            h = layer(h)
        lateral = h
        for layer in self.lateral:
            lateral = layer(lateral)
        h = self.joined(jnp.concatenate([h, lateral], axis=-1))
        of_cells = lambda head: layers.at_least_float32(head(h)).reshape(
            h.shape[0], self.grid**2, -1)
        presence = GREATEST_LOGIT * jnp.tanh(of_cells(self.presence))[..., 0]
        return CellPosterior(presence, *(softplus_gaussian(of_cells(head))
                                         for head in (self.depth, self.scale, self.shift)))

    def what_posterior(self, x: jax.Array, where: jax.Array) -> Any:
        """q(z^what | z^where, x): x [B, S, S, 3], boxes [B, N, 4] -> Gaussian of [B, N, D]."""
        h = spatial_transformer.extract(x, where, self.glimpse_size)
        h = h.reshape(-1, *h.shape[2:])
        for layer in self.glimpse_encoder:
            h = layer(h)
        h = self.what(h.reshape(*where.shape[:2], -1))
        return softplus_gaussian(layers.at_least_float32(h))

    def glimpses(self, what: jax.Array, presence: jax.Array, depth: jax.Array,
                 where: jax.Array) -> Glimpses:
        """What cells show: z^what [B, N, D], z^pres [B, N], z^depth [B, N], boxes [B, N, 4]."""
        h = self.glimpse_decoder(what)
        shape = h.shape
        h = h.reshape(-1, *shape[-3:])
        picture = lambda head: nn.sigmoid(layers.at_least_float32(head(h))).reshape(
            *shape[:-1], -1)
        alpha = picture(self.alpha)[..., 0] * presence[..., None, None]
        return Glimpses(picture(self.colours), alpha, presence, depth, where)
