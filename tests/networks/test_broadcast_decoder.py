"""The broadcast decoder against what it stands for: convolutions of a tiled slot and a grid."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from parts_jax.networks.broadcast_decoder import BroadcastDecoder

B, K, D, H, W, CHANNELS = 2, 3, 4, 6, 9, (5, 6)


class Plain(nn.Module):
    """Tile, append x and y, convolve: nothing saved. Parameters as in BroadcastDecoder."""

    kernel_size: int
    corners: bool

    @nn.compact
    def __call__(self, z):
        shape = (*z.shape[:-1], H, W)
        if self.corners:
            x, y = np.linspace(-1, 1, W), np.linspace(-1, 1, H)
        else:  # the centres of W pixels between -1 and 1
            x, y = ((np.arange(size) + 0.5) * 2 / size - 1 for size in (W, H))
        h = jnp.concatenate([
            jnp.broadcast_to(z[..., None, None, :], (*shape, D)),
            jnp.broadcast_to(np.float32(x)[:, None], (*shape, 1)),
            jnp.broadcast_to(np.float32(y)[:, None, None], (*shape, 1))], axis=-1)
        for i, width in enumerate((*CHANNELS, 4)):
            convolve = nn.Conv(width, (self.kernel_size,) * 2, name=f"layer_{i}")
            h = convolve(jax.nn.elu(h) if i else h)
        return h


@pytest.mark.parametrize("kernel_size, corners, sigmoid", [(3, False, False), (5, True, True)])
def test_it_is_convolutions_of_tiled_slot_and_coordinates(kernel_size, corners, sigmoid):
    """Borders, too, where a kernel hangs over the picture: all pixels are compared."""
    z = np.random.default_rng(0).normal(size=(B, K, D)).astype(np.float32)
    plain = Plain(kernel_size, corners)
    params = jax.jit(plain.init)(jax.random.key(0), z)
    params = jax.tree.map(lambda p: p + 0.1, params)  # biases that are not 0
    expected = np.asarray(jax.jit(plain.apply)(params, z))
    decoder = BroadcastDecoder(CHANNELS, kernel_size, corners, sigmoid)
    found = jax.jit(lambda params, z: decoder.apply(params, z, (H, W)))(params, z)
    means = 1 / (1 + np.exp(-expected[..., :3])) if sigmoid else expected[..., :3]
    np.testing.assert_allclose(found.means, means, rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(found.mask_logits, expected[..., 3], rtol=1e-4, atol=1e-4)
    assert np.abs(expected[:, :, 0] - expected[:, :, 2]).max() > 0.1  # the border does differ


def test_it_makes_the_parameters_of_plain_convolutions():
    decoder = BroadcastDecoder(CHANNELS, 3)
    of = lambda module, *more: jax.eval_shape(
        lambda key: module.init(key, jnp.zeros((B, K, D)), *more), jax.random.key(0))
    own, plain = of(decoder, (H, W)), of(Plain(3, False))
    assert jax.tree.map(jnp.shape, own) == jax.tree.map(jnp.shape, plain)
    assert own["params"]["layer_0"]["kernel"].shape == (3, 3, D + 2, CHANNELS[0])
