"""The networks of SPACE's background: K components (Algorithms 2 and 3, appendix D.3)."""

from collections.abc import Callable
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp

from parts_jax.equations import gaussian
from parts_jax.equations.notation import Gaussian
from parts_jax.models.space.blocks import NormBlock, SubPixelDecoder, scaled
from parts_jax.models.space.latents import softplus_gaussian
from parts_jax.networks import broadcast_decoder, layers
from parts_jax.networks.convolution import Conv

DECODERS = ("broadcast", "strong")
HIDDEN = 64  # of LSTMs, of the image's code, of the components' prior
LEAST_STD = 1e-4
# Factors of the sub-pixel layers by the size of the picture that they make.
FACTORS = {16: (2, 2, 2, 2), 32: (4, 2, 2, 2), 64: (4, 2, 4, 2), 128: (4, 2, 4, 4),
           256: (4, 4, 4, 4)}
SUB_PIXEL = ((256, 16), (128, 8), (64, 8), (16, 4))  # channels, and channels a group
BORDER = 4  # pixels that the component decoder's valid convolutions take off each side


class Background(NamedTuple):
    """What is inferred of a background.

    Attributes:
      mask: z^m, [B, K, D].
      component: z^c, [B, K, D].
      kl: of both, in nats, summed over components, [B].
      portions: what each component takes of what is left, of z^m, [B, K, S, S].
    """

    mask: jax.Array
    component: jax.Array
    kl: jax.Array
    portions: jax.Array


def stick_breaking(portions: jax.Array) -> jax.Array:
    """Masks that sum to 1 (as in GENESIS): each takes its portion of what is left, the last all.

    Args:
      portions: in (0, 1), [B, K, H, W]; the last is not read.

    Returns:
      [B, K, H, W].
    """
    ones = jnp.ones_like(portions[:, :1])
    left = jnp.concatenate([ones, jnp.cumprod(1 - portions[:, :-1], axis=1)], axis=1)
    return left * jnp.concatenate([portions[:, :-1], ones], axis=1)


class ConvEncoder(nn.Module):
    """Four 3x3 convolutions of stride 2, flattened, and a linear layer.

    Attributes:
      channels: of each convolution.
      outputs: of the linear layer.
      norm: see `NormBlock`.
      dtype: of convolutions and matrix products.
    """

    channels: tuple[int, ...]
    outputs: int
    norm: str
    dtype: Any = None

    @nn.compact
    def __call__(self, h: jax.Array) -> jax.Array:
        """[B, S, S, .] -> [B, outputs]."""
        for i, channels in enumerate(self.channels):
            h = NormBlock(channels, self.norm, 2, 1, self.dtype, name=f"conv_{i}")(h)
        h = h.reshape(h.shape[0], -1)
        return layers.at_least_float32(nn.Dense(self.outputs, dtype=self.dtype, name="output")(h))


class BackgroundNetworks(nn.Module):
    """All networks of the background.

    Neither posterior nor prior sees z^fg, as in the authors' code, though equations (4) and (5)
    condition on it.

    Attributes:
      image_size: of what is encoded and of what masks are decoded as.
      mask_size: of z^m.
      component_size: of z^c.
      decoder: of components: "broadcast": spatial broadcast, which is weak, so that objects are
        left to the foreground. "strong": sub-pixel convolutions, which the authors have for K = 1.
      norm: of encoders and the broadcast decoder, see `NormBlock`.
      spread_offset: of posteriors, see `latents.softplus_gaussian`; priors have none.
      width: of convolutions, as a share of the paper's.
      dtype: of convolutions and matrix products.
    """

    image_size: int
    mask_size: int
    component_size: int
    decoder: str
    norm: str
    spread_offset: float = 0.0
    width: float = 1.0
    dtype: Any = None

    def setup(self):
        of = lambda *channels: tuple(scaled(c, self.width) for c in channels)
        dense = lambda outputs: nn.Dense(outputs, dtype=self.dtype)
        self.image_encoder = ConvEncoder(of(64, 64, 64, 64), HIDDEN, self.norm, self.dtype)
        self.component_encoder = ConvEncoder(of(32, 32, 64, 64), 2 * self.component_size,
                                             self.norm, self.dtype)
        stages = [(factor, *of(channels), per_group) for factor, (channels, per_group) in
                  zip(FACTORS[self.image_size], SUB_PIXEL, strict=True)]
        self.mask_decoder = SubPixelDecoder(*of(256), stages, 1, self.dtype)
        last = lambda outputs: Conv(outputs, (3, 3), padding=1, dtype=self.dtype)
        self.mask_output = last(1)
        if self.decoder == "strong":
            self.component_decoder = SubPixelDecoder(*of(256), stages, 1, self.dtype)
            self.component_output = last(3)
        else:
            self.component_decoder = [NormBlock(*of(32), self.norm, dtype=self.dtype)
                                      for _ in range(BORDER)]
            self.component_output = Conv(3, (1, 1), dtype=self.dtype)
        self.mask_lstm = nn.OptimizedLSTMCell(HIDDEN, dtype=self.dtype)
        self.mask_prior_lstm = nn.OptimizedLSTMCell(HIDDEN, dtype=self.dtype)
        self.mask_posterior = dense(2 * self.mask_size)
        self.mask_prior = dense(2 * self.mask_size)
        self.component_prior = [dense(HIDDEN), dense(HIDDEN), dense(2 * self.component_size)]
        start = lambda name, size: self.param(name, nn.initializers.zeros, (size,))
        self.first_mask = start("first_mask", self.mask_size)
        self.start = start("start_cell", HIDDEN), start("start_hidden", HIDDEN)
        self.prior_start = (start("prior_start_cell", HIDDEN), start("prior_start_hidden", HIDDEN))

    def infer(self, x: jax.Array, noise: dict[str, jax.Array]) -> Background:
        """Algorithm 2: one component after the other.

        Args:
          x: [B, S, S, 3], S the image size.
          noise: "mask" [B, K, D], "component" [B, K, D], standard normal.
        """
        code = nn.elu(self.image_encoder(x))
        each = lambda vector: jnp.broadcast_to(vector, (x.shape[0], vector.shape[0]))
        _, (z, posterior) = _over_components(BackgroundNetworks._next_mask)(
            self, (tuple(map(each, self.start)), each(self.first_mask)), (noise["mask"],), code)
        portions = self.portions(z)
        masks = stick_breaking(portions)
        seen = jnp.broadcast_to(x[:, None], (*masks.shape, 3))
        seen = jnp.concatenate([jnp.log(masks + 1e-5)[..., None], seen], axis=-1)
        code = self.component_encoder(seen.reshape(-1, *seen.shape[2:]))
        component = self._gaussian(code.reshape(*masks.shape[:2], -1), self.spread_offset)

        # Algorithm 3: the prior of a mask is had of the samples of those before.
        _, before = _over_components(BackgroundNetworks._next_prior)(
            self, tuple(map(each, self.prior_start)), (z,), code)
        kl = (gaussian.kl(component, self.prior_of_components(z))
              + gaussian.kl(posterior, self._gaussian(self.mask_prior(before))))
        return Background(z, gaussian.sample(component, noise["component"]), jnp.sum(kl, axis=-1),
                          portions)

    def _next_mask(self, carry: tuple, inputs: tuple, code: jax.Array) -> tuple:
        """One component of Algorithm 2: memory and the z^m before, and noise [B, D]."""
        memory, z = carry
        memory, h = self.mask_lstm(memory, jnp.concatenate([z, code], axis=-1))
        posterior = self._gaussian(self.mask_posterior(h), self.spread_offset)
        z = gaussian.sample(posterior, inputs[0])
        return (memory, z), (z, posterior)

    def _next_prior(self, memory: tuple, inputs: tuple, code: jax.Array) -> tuple:
        """One component of Algorithm 3: what is known before its z^m [B, D] is."""
        del code
        return self.mask_prior_lstm(memory, inputs[0])[0], memory[1]

    def prior_of_components(self, masks: jax.Array) -> Gaussian:
        """p(z^c | z^m), of z^m [B, K, D]."""
        h = masks
        for layer in self.component_prior[:-1]:
            h = nn.elu(layer(h))
        return self._gaussian(self.component_prior[-1](h))

    def portions(self, mask: jax.Array) -> jax.Array:
        """What each component takes of what is left: z^m [B, K, D] -> in (0, 1), [B, K, S, S]."""
        h = self.mask_decoder(mask)
        logits = self.mask_output(h.reshape(-1, *h.shape[2:]))
        return nn.sigmoid(layers.at_least_float32(logits)).reshape(h.shape[:-1])

    def components(self, component: jax.Array, resolution: tuple[int, int]) -> jax.Array:
        """mu_k, of z^c [B, K, D]: [B, K, H, W, 3]."""
        if self.decoder == "strong":
            h = self.component_decoder(component)
            h = self._coloured(h.reshape(-1, *h.shape[2:]), component.shape[:2])
            return jnp.moveaxis(resized(jnp.moveaxis(h, -1, 2), resolution), 2, -1)
        size = tuple(edge + 2 * BORDER for edge in resolution)
        grid = broadcast_decoder.corner_grid(*size)
        z = component.reshape(-1, 1, 1, component.shape[-1])
        h = jnp.concatenate([jnp.broadcast_to(z, (z.shape[0], *size, z.shape[-1])),
                             jnp.broadcast_to(grid, (z.shape[0], *grid.shape))], axis=-1)
        for layer in self.component_decoder:
            h = layer(h)
        return self._coloured(h, component.shape[:2])

    def _coloured(self, h: jax.Array, batch: tuple[int, ...]) -> jax.Array:
        colours = nn.sigmoid(layers.at_least_float32(self.component_output(h)))
        return colours.reshape(*batch, *colours.shape[1:])

    def _gaussian(self, parameters: jax.Array, offset: float = 0.0) -> Gaussian:
        return softplus_gaussian(layers.at_least_float32(parameters), LEAST_STD, offset)


def _over_components(step: Callable) -> Callable:
    """(networks, carry, inputs [B, K, ...], code) -> carry, outputs [B, K, ...], by a loop."""
    return nn.scan(step, variable_broadcast="params", split_rngs={"params": False},
                   in_axes=(1, nn.broadcast), out_axes=1)


def resized(pictures: jax.Array, resolution: tuple[int, int]) -> jax.Array:
    """[..., S, S] -> [..., H, W], bilinearly; as they are where that is their size."""
    shape = (*pictures.shape[:-2], *resolution)
    return pictures if pictures.shape == shape else jax.image.resize(pictures, shape, "bilinear")
