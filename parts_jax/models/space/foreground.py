"""The networks of SPACE's foreground: cells, glimpses, objects (Algorithm 1, appendix D.3)."""

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from parts_jax.equations import gaussian
from parts_jax.equations.notation import Gaussian
from parts_jax.models.space import latents, spatial_transformer
from parts_jax.models.space.blocks import GroupBlock, SubPixelDecoder, scaled
from parts_jax.models.space.composition import Glimpses
from parts_jax.models.space.latents import (
    GREATEST_LOGIT,
    CellPosterior,
    Cells,
    softplus_gaussian,
)
from parts_jax.networks import layers
from parts_jax.networks.convolution import Conv

CELLS = ("parallel", "sequential", "none")
HIDDEN = (100, 100)  # of what joins a cell with its neighbours, as in a port of SPAIR
NEIGHBOURS = 4  # above to the left, above, above to the right, and to the left
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
      cells: "parallel"; "sequential": each cell sees the samples of the four that come before it
        and touch it, as in SPAIR (Crawford and Pineau, 2019), one cell after the other.
      spread_offset: of posteriors, see `latents.softplus_gaussian`.
      width: of all networks, as a share of the paper's.
      dtype: of convolutions and matrix products.
    """

    image_size: int
    grid: int
    glimpse_size: int
    what_size: int
    cells: str = "parallel"
    spread_offset: float = 0.0
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
        head = lambda outputs: Conv(outputs, (1, 1), dtype=self.dtype)
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
        last = lambda outputs: Conv(outputs, (3, 3), padding=1, dtype=self.dtype)
        self.colours, self.alpha = last(3), last(1)
        if self.cells == "sequential":
            self.joined_cell = layers.MLP(HIDDEN, scaled(FEATURES, self.width), dtype=self.dtype)
            self.edge = self.param("edge", nn.initializers.zeros, (6 + self.what_size,))

    def infer(self, x: jax.Array, noise: dict[str, jax.Array], temperature: jax.Array) -> Cells:
        """Samples q(z^fg | x).

        Args:
          x: pictures, [B, S, S, 3], S the image size.
          noise: "presence" [B, N] of the logistic distribution, else standard normal.
          temperature: tau.
        """
        h = self.features(x)
        h = h.reshape(h.shape[0], self.grid**2, -1)
        if self.cells == "parallel":
            return self._sampled(x, h, noise, temperature)
        noise = {name: noise[name] for name in ("presence", "depth", "scale", "shift", "what")}
        grid = jnp.broadcast_to(
            self.edge, (h.shape[0], self.grid + 1, self.grid + 2, self.edge.shape[0]))
        scan = nn.scan(ForegroundNetworks._next_cell, variable_broadcast="params",
                       split_rngs={"params": False}, out_axes=1,
                       in_axes=(0, 1, 1, nn.broadcast, nn.broadcast))
        return scan(self, grid, jnp.arange(self.grid**2), h, noise, x, temperature)[1]

    def _next_cell(self, grid: jax.Array, number: jax.Array, h: jax.Array,
                   noise: dict[str, jax.Array], x: jax.Array,
                   temperature: jax.Array) -> tuple[jax.Array, Cells]:
        """One cell: the samples of those before it, [B, G + 1, G + 2, .], with an edge around."""
        row, column = jnp.divmod(number, self.grid)
        zero = jnp.zeros_like(row)
        near = jax.lax.dynamic_slice(grid, (zero, row, column, zero),
                                     (grid.shape[0], 2, 3, grid.shape[3]))
        near = near.reshape(grid.shape[0], 6, -1)[:, :NEIGHBOURS].reshape(grid.shape[0], -1)
        h = self.joined_cell(jnp.concatenate([h, near], axis=-1))
        one = self._sampled(x, h[:, None], jax.tree.map(lambda a: a[:, None], noise), temperature,
                            number[None])
        kept = jnp.concatenate([one.presence[..., None], one.depth[..., None], one.where, one.what],
                               axis=-1)
        grid = jax.lax.dynamic_update_slice(
            grid, kept[:, None].astype(grid.dtype), (zero, row + 1, column + 1, zero))
        return grid, jax.tree.map(lambda a: a[:, 0], one)

    def _sampled(self, x: jax.Array, h: jax.Array, noise: dict[str, jax.Array],
                 temperature: jax.Array, number: jax.Array | None = None) -> Cells:
        """Cells of features [B, N, .], of these numbers; None: all of them."""
        q = self.posterior(h)
        presence = latents.relaxed_bernoulli(q.presence, noise["presence"], temperature)
        depth, scale, shift = (gaussian.sample(getattr(q, name), noise[name])
                               for name in ("depth", "scale", "shift"))
        where = latents.boxes_of(scale, shift, self.grid, number)
        what = self.what_posterior(x, where)
        return Cells(q, what, presence, depth[..., 0], where,
                     gaussian.sample(what, noise["what"]))

    def features(self, x: jax.Array) -> jax.Array:
        """x [B, S, S, 3], S the image size -> what is known of the cells, [B, G, G, .]."""
        h = x
        for layer in (*self.image_encoder, self.image_features):
            h = layer(h)
        lateral = h
        for layer in self.lateral:
            lateral = layer(lateral)
        return self.joined(jnp.concatenate([h, lateral], axis=-1))

    def posterior(self, h: jax.Array) -> CellPosterior:
        """The posterior of cells by their features, [B, N, .]."""
        of_cells = lambda head: layers.at_least_float32(head(h[:, :, None]))[:, :, 0]
        presence = GREATEST_LOGIT * jnp.tanh(of_cells(self.presence))[..., 0]
        return CellPosterior(presence, *(self._gaussian(of_cells(head))
                                         for head in (self.depth, self.scale, self.shift)))

    def what_posterior(self, x: jax.Array, where: jax.Array) -> Gaussian:
        """q(z^what | z^where, x): x [B, S, S, 3], boxes [B, N, 4] -> Gaussian of [B, N, D]."""
        h = spatial_transformer.extract(x, where, self.glimpse_size)
        h = h.reshape(-1, *h.shape[2:])
        for layer in self.glimpse_encoder:
            h = layer(h)
        h = self.what(h.reshape(*where.shape[:2], -1))
        return self._gaussian(layers.at_least_float32(h))

    def _gaussian(self, parameters: jax.Array) -> Gaussian:
        return softplus_gaussian(parameters, offset=self.spread_offset)

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
