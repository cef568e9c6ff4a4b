"""A family without networks whose boxes and masks are known: what is made of boxes can be told."""

import jax.numpy as jnp
import ml_collections
import numpy as np

from parts_jax.models.contract import Model, Step, View, rules
from tests.models import blobs_config

S, K = 8, 3
FIRST, SECOND = (0, 0, 0.5, 0.5), (0.5, 0.5, 1, 1)
BOXES = np.array([[0, 0, 1, 1, 0], [*FIRST, 0.9], [*SECOND, 0.8]], np.float32)
KEYS = {"name": rules.choice("by_hand")}


def create(config: ml_collections.ConfigDict) -> Model:
    """Three slots: what is left, the upper left quarter and the lower right."""
    del config

    def decode(params, latents, resolution):
        masks = np.zeros((K, S, S), np.float32)
        masks[1, :4, :4], masks[2, 4:, 4:] = 0.9, 0.8
        masks[0] = 1 - masks.sum(0)
        each = lambda a: jnp.broadcast_to(a, (len(latents), *a.shape)) + 0 * latents[0, 0, 0, 0]
        return View(latents, each(masks), None, each(BOXES))

    def loss(params, state, clip, step):
        return jnp.zeros(()), Step(state, {"final": clip.video}, {}, {})

    noise = lambda keys, num_frames, num_slots: jnp.zeros((len(keys), num_frames))
    return Model(lambda key: {}, lambda *_: (), noise, loss, decode, K, ("final",))


def get_config() -> ml_collections.ConfigDict:
    """Images of 8x8 pixels."""
    config = blobs_config.get_config()
    config.data.resolution, config.eval.batch_size, config.eval.num_sequences = S, 2, 0
    config.model = ml_collections.ConfigDict({"name": "by_hand"})
    return config
