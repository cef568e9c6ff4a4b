"""Networks of the 2D-LSTM model by themselves: what is decoded, what the refiner looks at."""

import flax.linen as nn
import jax
import numpy as np
import pytest

from parts_jax.equations.notation import Gaussian
from parts_jax.models.grid_lstm import inputs, networks
from parts_jax.networks import glimpses

B, K, S, D = 2, 3, 8, 4


def parameters_of(module, arguments):
    """Of a network by itself, drawn too."""
    rng = np.random.default_rng(4)
    shapes = jax.eval_shape(lambda: module.init(jax.random.key(0), *arguments))["params"]
    return jax.tree.map(lambda p: 0.3 * rng.normal(size=p.shape).astype(np.float32), shapes)


def close(found, expected, rtol=1e-4, atol=1e-5):
    np.testing.assert_allclose(found, expected, rtol, atol)


class AsItIs(nn.Module):
    """A decoder that gives back what it is given."""

    def __call__(self, z, resolution):
        return z


@pytest.mark.parametrize("residual", [False, True])
def test_what_is_decoded_of_z_and_the_temporal_state(residual):
    rng = np.random.default_rng(5)
    z, h = (rng.normal(size=(B, K, size)).astype(np.float32) for size in (D, 5))
    module = networks.ConditionalDecoder(AsItIs(), D, residual)
    params = parameters_of(module, (z, h, (S, S)))
    found = module.apply({"params": params}, z, h, (S, S))
    elu = lambda x: np.where(x > 0, x, np.expm1(np.minimum(x, 0)))
    layer = lambda name, x: x @ params[name]["kernel"] + params[name]["bias"]
    expected = np.concatenate([z, h], axis=-1)
    for i in range(2):
        expected = elu(layer(f"condition_{i}", expected))
    if residual:
        expected = z + layer("condition_added", expected)
    close(found, expected)
    close(module.apply({"params": params}, z, None, (S, S)), z, atol=0)  # without conditions


def test_the_refiner_looks_closely_at_the_pixels_that_a_slot_explains():
    """The glimpse is of what convolutions see, around mask times posterior; before `summary`."""
    rng = np.random.default_rng(3)
    of = lambda channels: rng.uniform(size=(B, K, S, S, channels)).astype(np.float32)
    images = inputs.Images(*(of(c) for c in (3, 3, 1, 1, 3, 1, 1, 1, 2)))
    vector, memory = (rng.normal(size=(B, K, size)).astype(np.float32) for size in (D, 8))
    lambda_, memory = Gaussian(vector, vector), networks.Memory(memory, memory)
    arguments = (images, lambda_, lambda_, memory, memory)
    network = lambda points: networks.RefinementNetwork(
        (4,), 3, 2, 2, 5, 8, D, 1.0, glimpse=points, glimpse_spacing=0.3)
    without, module = parameters_of(network(0), arguments), network(3)
    params = parameters_of(module, arguments)
    assert set(params) == set(without) | {"glimpse"}
    _, seen = module.apply({"params": params}, *arguments, capture_intermediates=True)
    given = np.concatenate(
        [networks.normalised(image, (-3, -2, -1)) if name in inputs.NORMALISED else image
         for name, image in images._asdict().items()], axis=-1)
    cut, centre = glimpses.glimpse(given, (images.mask * images.mask_posterior)[..., 0],
                                   images.coordinates, 3, 0.3)
    layer = params["glimpse"]
    features = nn.elu(np.asarray(cut).reshape(B, K, -1) @ layer["kernel"] + layer["bias"])
    close(seen["intermediates"]["glimpse"]["__call__"][-1],
          np.concatenate([features, centre], axis=-1))
    assert params["summary"]["kernel"].shape[0] - without["summary"]["kernel"].shape[0] == 5 + 2


@pytest.mark.parametrize("size, cells", [(8, 4), (6, 4), (3, 5), (7, 7)])
def test_means_of_cells(size, cells):
    """By a loop over hundredths of pixels."""
    image = np.random.default_rng(0).normal(size=(size, size, 2)).astype(np.float32)
    fine = image.repeat(cells, 0).repeat(cells, 1)
    found = networks.means_of_cells(image, cells)
    for row in range(cells):
        for column in range(cells):
            cut = fine[row * size:(row + 1) * size, column * size:(column + 1) * size]
            np.testing.assert_allclose(found[row, column], cut.mean((0, 1)), atol=1e-5)
