"""A family of image models as small as one can be: what else than PARTS the contract must carry.

An image is encoded to one vector; K slots are drawn from it with noise of two kinds, refined N
times by what their picture leaves of it, and decoded to a mixture whose masks sharpen as a
temperature falls in training. No state, no prediction.
"""

import functools
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from parts_jax.models import contract
from parts_jax.models.contract import Model, Step, View, rules
from parts_jax.networks import decoders, encoders, layers

KEYS = {
    "name": rules.choice("blobs"),
    "num_slots": rules.whole(1),
    "num_iterations": rules.whole(1),
    "slot_size": rules.whole(1),
    "width": rules.whole(1),
    "coldest": rules.positive(),
    "cooling": rules.not_negative(),
}


class Blobs(nn.Module):
    """Encoder and decoder.

    Attributes:
      slot_size: D.
      width: of all layers.
    """

    slot_size: int
    width: int

    def setup(self):
        self.encoder = encoders.SizePreservingEncoder((self.width,), 3, self.width)
        self.head = layers.MLP((self.width,), self.slot_size)
        self.decoder = decoders.SpatialBroadcastDecoder((self.width,), 1, "affine")

    def encode(self, x: jax.Array, which: jax.Array, sample: jax.Array) -> jax.Array:
        """x [B, H, W, 3], noise of [B, K, D] each -> slots, [B, K, D]."""
        code = jnp.mean(self.encoder(2 * x - 1), axis=(1, 2))
        code = jnp.broadcast_to(code[:, None], (*which.shape[:2], code.shape[-1]))
        return self.head(jnp.concatenate([code, which], axis=-1)) + 0.1 * sample

    def decode(self, z: jax.Array, resolution: tuple[int, int]) -> Any:
        """z [B, K, D] -> PixelMixture."""
        return self.decoder(z, resolution)

    def __call__(self, x: jax.Array, noise: dict[str, jax.Array]) -> Any:
        """Both, so that all parameters are made."""
        return self.decode(self.encode(x, noise["which"], noise["sample"][:, 0]), x.shape[1:3])


def create(config: Any) -> Model:
    """The model that a config describes, by the contract of families."""
    c = config.model
    module = Blobs(c.slot_size, c.width)

    def draw(keys, num_frames, num_slots, num_iterations=None):
        slots, steps = num_slots or c.num_slots, (num_iterations or c.num_iterations) + 1
        normal = lambda key, i: jax.random.normal(
            jax.random.fold_in(key, i), (num_frames, slots, c.slot_size))
        return jax.vmap(lambda key: {"which": normal(key, 0), "sample": jnp.stack(
            [normal(key, i + 1) for i in range(steps)], axis=1)})(keys)

    def init(key):
        noise = jax.tree.map(lambda a: a[:, 0], draw(jax.random.split(key, 1), 1, None))
        return module.init(key, jnp.zeros((1, 8, 8, 3)), noise)["params"]

    def temperature(step):
        hot = 0.0 if step is None else jnp.exp(-c.cooling * step)
        return jnp.asarray(c.coldest + hot)

    def view_of(params, latents, resolution):
        mixture = module.apply({"params": params}, latents["z"], resolution, method="decode")
        masks = jax.nn.softmax(mixture.mask_logits / latents["heat"][:, None, None, None], axis=1)
        return View(jnp.sum(masks[..., None] * mixture.means, axis=1), masks, mixture.means)

    def loss(params, state, clip, step):
        def one_frame(inputs):
            x, noise = inputs
            encode = functools.partial(module.apply, {"params": params}, method="encode")
            heat, views, seen, z = jnp.broadcast_to(temperature(step), x.shape[:1]), [], x, 0.0
            for sample in jnp.moveaxis(noise["sample"], 1, 0):
                z = z + encode(seen, noise["which"], sample)
                latents = {"z": z, "heat": heat}
                views.append(view_of(params, latents, x.shape[1:3]))
                seen = (1 + x - views[-1].recon) / 2  # what is left of it, for the next iteration
            error = jnp.mean(jnp.square(views[-1].recon - x), axis=(1, 2, 3))
            shown = View(*(jnp.stack(arrays, 1) for arrays in list(zip(*views, strict=True))[:2]))
            return latents, error, views[-1].masks, shown

        frames = jax.tree.map(contract.time_first, (clip.video, clip.noise))
        latents, error, masks, shown = jax.tree.map(
            contract.batch_first, jax.lax.map(one_frame, frames))
        return jnp.mean(error), Step(
            state, {"final": latents}, {"mse": error, "temperature": latents["heat"]},
            {"sharpness": masks**2}, iterations=shown)

    return Model(init, lambda batch_size, num_slots: (), draw, loss, view_of, c.num_slots,
                 ("final",), num_iterations=c.num_iterations)
