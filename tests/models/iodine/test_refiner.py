"""The refinement network: which inputs it takes, what is normalised, the gated head."""

import functools

import jax
import numpy as np
import pytest

from parts_jax.models.iodine import inputs
from parts_jax.models.iodine.refiner import RefinementNetwork
from parts_jax.networks.glimpses import glimpse

B, K, D, S, LSTM, WIDTH = 2, 3, 3, 8, 4, 5
EVERY = tuple(inputs.INPUTS)


def network(**changes) -> RefinementNetwork:
    return RefinementNetwork(**dict(
        inputs=EVERY, channels=(4,), kernel_size=3, stride=2, cells=1, mlp=(WIDTH,), lstm_size=LSTM,
        head="linear", slot_size=D, update_scale=1.0) | changes)


def arrays(seed=0):
    """Images and vectors of the table, and a memory, all of random numbers."""
    rng = np.random.default_rng(seed)
    of = lambda *shape: rng.normal(size=(B, K, *shape)).astype(np.float32)
    images = {name: of(S, S, inputs.INPUTS[name].channels) for name in inputs.IMAGES}
    return images, {name: of(2 * D) for name in inputs.VECTORS}, (of(LSTM), of(LSTM))


def parameters(module, given=None):
    return jax.eval_shape(module.init, jax.random.key(0), *(given or arrays()))["params"]


def of_random_numbers(module):
    rng = np.random.default_rng(1)
    return {"params": jax.tree.map(
        lambda p: (rng.normal(size=p.shape) * 0.4).astype(np.float32), parameters(module))}


@pytest.fixture(scope="module")
def applied():
    """Parameters of the network with every input, and it as a function."""
    return of_random_numbers(network()), jax.jit(network().apply)


@pytest.mark.parametrize("name", EVERY)
def test_an_input_that_is_switched_off_is_left_out(name):
    full = parameters(network())
    images, vectors, memory = arrays()
    module = network(inputs=tuple(other for other in EVERY if other != name))
    found = parameters(module)
    # Its numbers are not needed then, but for lambda, which a head may start from.
    without = {key: a for key, a in images.items() if key != name}, {
        key: a for key, a in vectors.items() if key != name or key == "posterior"}
    assert found == parameters(module, (*without, memory))
    assert (f"norm_{name}" in full) == inputs.INPUTS[name].layer_norm
    assert set(found) == set(full) - {f"norm_{name}"}
    layer, axis, size = (("conv_0", 2, images[name].shape[-1]) if name in images
                         else ("lstm", 0, 2 * D))
    kernel = lambda tree: (tree[layer] if name in images else tree[layer]["ii"])["kernel"].shape
    assert kernel(full)[axis] - kernel(found)[axis] == size


def test_the_order_of_a_dict_does_not_matter():
    """Functions that are compiled sort the keys of dicts on their way in: channels stay."""
    images, vectors, _ = arrays()
    bound = network(inputs=("posterior", "coordinates", "image", "means")).bind({})
    for group, names in ((images, ("image", "means", "coordinates")), (vectors, ("posterior",))):
        for order in (sorted, reversed):
            given = bound.given({name: group[name] for name in order(list(group))})
            assert [id(a) for a in given] == [id(group[name]) for name in names]


def test_normalised_inputs_may_be_of_any_scale_and_the_others_not(applied):
    params, apply = applied
    images, vectors, memory = arrays()
    plain, _ = apply(params, images, vectors, memory)
    for name in EVERY:
        changed = ({key: 100 * a + 7 if key == name else a for key, a in group.items()}
                   for group in (images, vectors))
        found, _ = apply(params, *changed, memory)
        if inputs.INPUTS[name].layer_norm:
            np.testing.assert_allclose(found, plain, rtol=1e-2, atol=1e-3, err_msg=name)
        else:
            assert np.abs(found - plain).max() > 1e-2, name


def test_a_norm_is_of_one_slots_pixels_and_channels_together(applied):
    params, _ = applied
    images, vectors, memory = arrays()
    _, kept = jax.jit(functools.partial(network().apply, capture_intermediates=True))(
        params, images, vectors, memory)
    for name, group, axes in (("means_gradient", images, (-3, -2, -1)),
                              ("posterior_gradient", vectors, (-1,))):
        array, norm = np.float64(group[name]), params["params"][f"norm_{name}"]
        centred = array - array.mean(axes, keepdims=True)
        expected = centred / np.sqrt(np.square(centred).mean(axes, keepdims=True) + 1e-5)
        expected = expected * np.asarray(norm["scale"]) + np.asarray(norm["bias"])
        found, = kept["intermediates"][f"norm_{name}"]["__call__"]
        np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-4)


def test_the_gated_head_is_the_authors_for_sequences():
    """By its formula in numpy, from what the LSTM says and the lambda before."""
    module = network(head="gated")
    images, vectors, memory = arrays()
    params = of_random_numbers(module)
    update, (_, h) = jax.jit(module.apply)(params, images, vectors, memory)
    tree, before = jax.tree.map(np.float64, params)["params"], np.float64(vectors["posterior"])
    dense = lambda name, x: x @ tree[name]["kernel"] + tree[name]["bias"]
    sigmoid = lambda x: 1 / (1 + np.exp(-x))
    candidate = before + sigmoid(dense("gate", np.float64(h))) * (
        dense("update", np.float64(h)) - before)
    hidden = dense("drift_hidden", before)
    hidden = np.where(hidden > 0, hidden, np.expm1(hidden))
    assert hidden.shape[-1] == 64
    drift, gate = np.split(dense("drift", hidden), 2, axis=-1)
    after = candidate + sigmoid(gate) * (drift - candidate)
    np.testing.assert_allclose(update, after - before, rtol=1e-4, atol=1e-4)


def test_an_update_is_of_the_slot_itself_alone(applied):
    params, apply = applied
    given = arrays()
    changed = jax.tree.map(lambda a: np.concatenate([a[:, :2], 1 - a[:, 2:]], axis=1), given)
    plain, other = apply(params, *given), apply(params, *changed)
    for a, b in zip(*map(jax.tree.leaves, (plain, other)), strict=True):
        np.testing.assert_array_equal(a[:, :2], b[:, :2])
        assert np.abs(a[:, 2] - b[:, 2]).max() > 1e-3


def seen_by(images, shares, points, spacing):
    """`glimpse` in loops, of one slot: images [S, S, C], shares [S, S]."""
    size = len(images)
    at = (np.arange(size) + 0.5) / size * 2 - 1
    centre = np.array([np.sum(shares * at[None, :]), np.sum(shares * at[:, None])]) / np.sum(shares)
    seen = np.zeros((points, points, images.shape[-1]))
    z = np.sqrt(2 * np.pi) * (spacing / 2) / (2 / size)
    for m, n, i, j in np.ndindex(points, points, size, size):
        y, x = (centre[::-1] + (np.array([m, n]) - (points - 1) / 2) * spacing)
        weight = np.exp(-((at[i] - y) ** 2 + (at[j] - x) ** 2) / (2 * (spacing / 2) ** 2)) / z**2
        seen[m, n] += weight * images[i, j]
    return seen, centre


def grid(size):
    x = (np.arange(size) + 0.5) / size * 2 - 1
    return np.broadcast_to(np.stack(np.meshgrid(x, x), axis=-1), (1, 2, size, size, 2))


def test_a_glimpse_is_of_gaussian_filters_around_a_slots_pixels():
    rng = np.random.default_rng(0)
    images, shares = rng.normal(size=(1, 2, S, S, 3)), rng.uniform(0.1, 1, size=(1, 2, S, S))
    found, centres = glimpse(images, shares, grid(S), 3, 0.5)
    shares = shares / shares.sum(axis=1, keepdims=True)  # the slots share each pixel
    for k in range(2):
        seen, centre = seen_by(images[0, k], shares[0, k], 3, 0.5)
        np.testing.assert_allclose(found[0, k], seen, atol=1e-5)
        np.testing.assert_allclose(centres[0, k], centre, atol=1e-5)


def test_a_glimpse_moves_with_the_slot_and_is_empty_beyond_the_edges():
    size = 16
    images, shares = np.zeros((1, 2, size, size, 1)), np.zeros((1, 2, size, size))
    for k, (i, j) in enumerate(((5, 4), (9, 10))):  # the same shape at two places
        images[0, k, i - 1:i + 2, j] = 1
        shares[0, k, i, j] = 1
    first, second = glimpse(images, shares, grid(size), 5, 0.2)[0][0]
    np.testing.assert_allclose(first, second, atol=1e-5)
    assert np.max(first) > 0.3
    corner = np.zeros_like(shares)
    corner[..., 0, 0] = 1
    seen, _ = glimpse(np.ones_like(images), corner, grid(size), 5, 0.4)
    assert np.max(seen[0, 0, 0, 0]) < 1e-6 < 0.9 < seen[0, 0, 3, 3, 0]


def test_a_closer_look_joins_the_mlp_and_stops_where_it_lies(applied):
    module = network(glimpse=3)
    found, without = parameters(module), parameters(network())
    assert set(found) == set(without) | {"glimpse"}
    assert found["glimpse"]["kernel"].shape[1] == WIDTH
    more = found["mlp_0"]["kernel"].shape[0] - without["mlp_0"]["kernel"].shape[0]
    assert more == WIDTH + 2  # what it saw, and where
