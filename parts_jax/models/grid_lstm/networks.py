"""The networks: decoder conditioned on the temporal state, prior, refinement network."""

from collections.abc import Sequence
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from parts_jax.equations.notation import Gaussian, PixelMixture
from parts_jax.models.grid_lstm.inputs import NORMALISED, Images
from parts_jax.models.grid_lstm.lstm import LSTM2D, Memory
from parts_jax.networks import layers
from parts_jax.networks.convolution import Conv
from parts_jax.networks.glimpses import Glimpse

EPSILON = 1e-5  # of layer norms, as in PyTorch
SMALL = 0.1      # initial scale of what is added to z, which it should not drown


class ConditionalDecoder(nn.Module):
    """g_theta of equation (6): an MLP of (z, h_{t-1}), then a spatial broadcast decoder.

    Attributes:
      body: of slots [..., K, D].
      slot_size: D.
      residual: a third, linear layer's outputs are added to z; else the MLP's are decoded, as in
        the authors' code. Of a body that finds a slot's place in z by a linear layer the MLP would
        hide it.
      dtype: of the MLP's matrix products.
    """

    body: nn.Module
    slot_size: int
    residual: bool = False
    dtype: Any = None

    @nn.compact
    def __call__(self, z: jax.Array, h: jax.Array | None, resolution: tuple[int, int],
                 *place: jax.Array) -> PixelMixture:
        """Decodes slots.

        Args:
          z: [..., K, D].
          h: h_{t-1}, [..., K, S]; None: the body alone decodes z.
          resolution: (H, W).
          place: of a subset of pixels, of bodies that take one.
        """
        if h is not None:
            given = jnp.concatenate([z, h], axis=-1)
            for i in range(2):
                layer = nn.Dense(self.slot_size, dtype=self.dtype, name=f"condition_{i}")
                given = nn.elu(layer(given))
            if self.residual:
                layer = nn.Dense(self.slot_size, kernel_init=layers.scaled_init(SMALL),
                                 dtype=self.dtype, name="condition_added")
                given = z + layer(given)
            z = layers.at_least_float32(given)
        return self.body(z, resolution, *place)


class Prior(nn.Module):
    """xi_theta of equation (5): h_{t-1} to the numbers of a Gaussian, see `objective.prior_of`.

    Attributes:
      width: of its hidden layer.
      slot_size: D.
      dtype: of the matrix products.
    """

    width: int
    slot_size: int
    dtype: Any = None

    @nn.compact
    def __call__(self, h: jax.Array) -> Gaussian:
        """[..., K, S] -> Gaussian of [..., K, D]."""
        h = nn.relu(nn.Dense(self.width, dtype=self.dtype, name="hidden")(h))
        return Gaussian(*(layers.at_least_float32(
            nn.Dense(self.slot_size, dtype=self.dtype, name=name)(h))
            for name in ("mean", "log_std")))


class Motion(nn.Module):
    """How z moves from a frame to the next: linear in h_{t-1}, none at first. Ours.

    Attributes:
      slot_size: D.
      dtype: of the matrix product.
    """

    slot_size: int
    dtype: Any = None

    @nn.compact
    def __call__(self, h: jax.Array) -> jax.Array:
        """[..., K, S] -> what is added to the mean of q, [..., K, D]."""
        layer = nn.Dense(self.slot_size, kernel_init=nn.initializers.zeros_init(),
                         dtype=self.dtype, name="layer")
        return layers.at_least_float32(layer(h))


class RefinementNetwork(nn.Module):
    """f_phi of equation (4): convolutions, means over cells of the picture, a layer, the 2D-LSTM.

    Layer norms have no parameters; statistics of an image are over its pixels and channels, slot by
    slot. All layers are ELU, all slots share all parameters.

    Attributes:
      channels: widths of the convolutions.
      kernel_size: odd.
      stride: of each convolution.
      cells: the picture is averaged over cells x cells parts, whatever its size.
      width: of the layer after them.
      lstm_size: S.
      slot_size: D.
      update_scale: initial scale of the last layer.
      glimpse: M of the M x M points around each slot's own pixels that it looks at closely, beside
        the means over cells; 0: none, as in the paper.
      glimpse_spacing: between the points, in halves of a picture's side.
      dtype: of convolutions and matrix products.
    """

    channels: Sequence[int]
    kernel_size: int
    stride: int
    cells: int
    width: int
    lstm_size: int
    slot_size: int
    update_scale: float
    glimpse: int = 0
    glimpse_spacing: float = 0.15
    dtype: Any = None

    @nn.compact
    def __call__(self, images: Images, lambda_: Gaussian, gradient: Gaussian, time: Memory,
                 refine: Memory) -> tuple[Gaussian, Memory]:
        """One refinement.

        Args:
          images: [B, K, H, W, .] each.
          lambda_: lambda_{t,r}, Gaussian of [B, K, D].
          gradient: of the loss by it, the same.
          time, refine: memories of the frame and of the refinement before, [B, K, S].

        Returns:
          The update of lambda, and the new memory.
        """
        vector = jnp.concatenate([lambda_.mean, lambda_.log_std, normalised(jnp.concatenate(
            [gradient.mean, gradient.log_std], axis=-1), (-1,))], axis=-1)
        given = h = jnp.concatenate(
            [normalised(image, (-3, -2, -1)) if name in NORMALISED else image
             for name, image in images._asdict().items()], axis=-1)
        for i, width in enumerate(self.channels):
            convolve = Conv(width, (self.kernel_size,) * 2, strides=self.stride,
                            dtype=self.dtype, name=f"conv_{i}")
            h = nn.elu(convolve(h))
        h = means_of_cells(layers.at_least_float32(h), self.cells)
        h = h.reshape(*h.shape[:-3], -1)
        if self.glimpse:
            look = Glimpse(self.glimpse, self.glimpse_spacing, self.width, self.dtype,
                           name="glimpse")
            shares = (images.mask * images.mask_posterior)[..., 0]
            h = jnp.concatenate([h, look(given, shares, images.coordinates)], axis=-1)
        h = nn.elu(nn.Dense(self.width, dtype=self.dtype, name="summary")(h))
        lstm = LSTM2D(self.lstm_size, self.dtype, name="lstm")
        memory = lstm(jnp.concatenate([vector, layers.at_least_float32(h)], axis=-1), time, refine)
        update = nn.Dense(2 * self.slot_size, kernel_init=layers.scaled_init(self.update_scale),
                          dtype=self.dtype, name="update")(memory.h)
        return Gaussian(*jnp.split(layers.at_least_float32(update), 2, axis=-1)), memory


def normalised(array: jax.Array, axes: tuple[int, ...]) -> jax.Array:
    """Layer norm over some axes, without parameters."""
    centred = array - jnp.mean(array, axis=axes, keepdims=True)
    variance = jnp.mean(jnp.square(centred), axis=axes, keepdims=True)
    return centred * jax.lax.rsqrt(variance + EPSILON)


def means_of_cells(image: jax.Array, cells: int) -> jax.Array:
    """Means over equal parts of a picture of any size: [..., H, W, C] -> [..., cells, cells, C].

    Where H is a multiple of `cells` they are those of average pooling. Else a pixel that lies in
    two parts counts for both, by how much of it does.
    """
    rows, columns = (jnp.asarray(shares(size, cells), image.dtype) for size in image.shape[-3:-1])
    return jnp.einsum("rh,cw,...hwx->...rcx", rows, columns, image)


def shares(size: int, cells: int) -> np.ndarray:
    """Which share of part c of a line lies in pixel i: rows that sum to 1, [cells, size]."""
    edges = np.arange(cells + 1)[:, None] * size / cells
    covered = np.clip(edges - np.arange(size), 0, 1)  # of pixel i, left of an edge
    return np.diff(covered, axis=0) * cells / size
