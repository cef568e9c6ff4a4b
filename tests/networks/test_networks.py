"""Networks against loops and plain convolutions, and the traps of the one public attempt."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from parts_jax.models.parts import slot_attention, transition
from parts_jax.networks import decoders, encoders, layers


def random(*shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


def test_attention_weights_by_loops():
    """Equation (5) with keys formed; a map reshaped, not transposed, or a late scale fails here."""
    queries, kernel, encoding = random(2, 3, 5), random(7, 5, seed=1), random(2, 4, 6, 7, seed=2)
    attn = slot_attention.attention_weights(queries, kernel, encoding)
    assert attn.shape == (2, 3, 4, 6)
    for b, i, j in np.ndindex(2, 4, 6):
        key = encoding[b, i, j] @ kernel
        logits = np.asarray([queries[b, k] @ key / np.sqrt(5) for k in range(3)])
        expected = np.exp(logits) / np.exp(logits).sum()
        np.testing.assert_allclose(attn[b, :, i, j], expected, rtol=1e-4)
    np.testing.assert_allclose(attn.sum(1), 1, rtol=1e-5)


def test_attention_sits_where_the_pixel_is():
    """One pixel has the key of slot 1; H != W, so a transposed map shows it elsewhere."""
    encoding = np.zeros((1, 4, 6, 2), np.float32)
    encoding[..., 0] = 10.0
    encoding[0, 1, 4] = [0.0, 10.0]
    queries = 10 * np.eye(2, dtype=np.float32)[None]
    attn = np.array(slot_attention.attention_weights(queries, np.eye(2), encoding))
    assert attn[0, 1, 1, 4] > 0.99
    attn[0, 1, 1, 4] = 0
    assert attn[0, 1].max() < 0.01


def test_slot_outputs_by_loops():
    """Equation (6) with values formed."""
    attn, kernel, encoding = np.abs(random(2, 3, 4, 6)), random(7, 5), random(2, 4, 6, 7, seed=1)
    expected = np.zeros((2, 3, 5))
    for b, k in np.ndindex(2, 3):
        weights = attn[b, k] + 1e-6
        values = encoding[b] @ kernel
        expected[b, k] = (weights[..., None] * values).sum((0, 1)) / weights.sum()
    outputs = slot_attention.slot_outputs(attn, kernel, encoding)
    np.testing.assert_allclose(outputs, expected, rtol=1e-3, atol=1e-5)


def test_a_slot_without_pixels_stays_finite():
    outputs = slot_attention.slot_outputs(jnp.zeros((1, 2, 4, 4)), np.eye(3), random(1, 4, 4, 3))
    assert np.isfinite(outputs).all()


@pytest.mark.parametrize("kernel_size", [1, 3, 5])
def test_broadcast_conv_equals_convolving_the_tiled_slot(kernel_size):
    height, width, size, features = 6, 7, 4, 5
    z, basis = random(2, 3, size), random(height, width, size, seed=1)
    layer = layers.BroadcastConv(features, kernel_size)
    variables = layer.init(jax.random.key(0), z, basis)
    variables["params"]["bias"] = random(features, seed=2)
    tiled = z[:, :, None, None] + basis[None, None]
    plain = nn.Conv(features, (kernel_size, kernel_size)).apply(variables, tiled)
    np.testing.assert_allclose(layer.apply(variables, z, basis), plain, atol=1e-5)


def test_pixel_network_by_loops():
    """Channels first inside, but one and the same little network at every pixel of every slot."""
    z, basis = random(2, 3, 4), random(5, 7, 4, seed=1)
    network = decoders.PixelNetwork((6, 5, 2))
    variables = network.init(jax.random.key(0), z, basis)
    params = variables["params"]
    for i, width in enumerate((6, 5, 2)):
        params[f"bias_{i}"] = random(width, seed=2 + i)
    expected = np.zeros((2, 3, 5, 7, 2))
    for b, k, i, j in np.ndindex(2, 3, 5, 7):
        h = (z[b, k] + basis[i, j]) @ params["kernel_0"] + params["bias_0"]
        h = np.maximum(h, 0) @ params["kernel_1"] + params["bias_1"]
        expected[b, k, i, j] = np.maximum(h, 0) @ params["kernel_2"] + params["bias_2"]
    np.testing.assert_allclose(network.apply(variables, z, basis), expected, atol=1e-5)


def test_coordinates_are_the_same_scene_at_every_resolution():
    fine, coarse = layers.coordinates(8, 8, 2), layers.coordinates(4, 4, 2)
    np.testing.assert_allclose(fine[..., :2].reshape(4, 2, 4, 2, 2).mean((1, 3)), coarse[..., :2])
    assert coarse.shape == (4, 4, 12)
    np.testing.assert_allclose(coarse[0, :, 0], [-0.75, -0.25, 0.25, 0.75])  # x to the right
    np.testing.assert_allclose(coarse[:, 0, 1], [-0.75, -0.25, 0.25, 0.75])  # y down
    np.testing.assert_allclose(coarse[..., 2:4], -coarse[..., :2])


@pytest.mark.parametrize("colour", decoders.COLOURS)
@pytest.mark.parametrize("kernel_size", [1, 3])
def test_decoder_decodes_each_slot_on_its_own(colour, kernel_size):
    decoder = decoders.SpatialBroadcastDecoder((6, 6), kernel_size, colour, 1)
    z = random(2, 3, 4)
    params = decoder.init(jax.random.key(0), z, (5, 7))
    mixture = decoder.apply(params, z, (5, 7))
    assert mixture.means.shape == (2, 3, 5, 7, 3) and mixture.mask_logits.shape == (2, 3, 5, 7)
    alone = decoder.apply(params, z[:, 1:2], (5, 7))
    np.testing.assert_allclose(mixture.means[:, 1], alone.means[:, 0], atol=1e-5)
    np.testing.assert_allclose(mixture.mask_logits[:, 1], alone.mask_logits[:, 0], atol=1e-5)


def test_affine_colour_is_affine():
    decoder = decoders.SpatialBroadcastDecoder((6,), 1, "affine")
    z = random(1, 2, 4)
    means = decoder.apply(decoder.init(jax.random.key(0), z, (6, 8)), z, (6, 8)).means
    np.testing.assert_allclose(np.diff(means, 2, axis=-2), 0, atol=1e-5)
    np.testing.assert_allclose(np.diff(means, 2, axis=-3), 0, atol=1e-5)
    assert np.abs(np.diff(means, 1, axis=-2)).max() > 1e-3


def test_quadratic_colour_is_quadratic():
    decoder = decoders.SpatialBroadcastDecoder((6,), 1, "quadratic")
    z = random(1, 2, 4)
    means = decoder.apply(decoder.init(jax.random.key(0), z, (6, 8)), z, (6, 8)).means
    for axes in ((-2, -2, -2), (-3, -3, -3), (-3, -2, -2), (-3, -3, -2)):  # third differences
        left = means
        for axis in axes:
            left = np.diff(left, 1, axis=axis)
        np.testing.assert_allclose(left, 0, atol=1e-5)
    for axes in ((-2, -2), (-3, -2), (-3, -3)):  # x^2, x y and y^2 are there
        assert np.abs(np.diff(np.diff(means, 1, axis=axes[0]), 1, axis=axes[1])).max() > 1e-3


def test_fields_are_shared_by_all_slots():
    """Pictures of any slot, example and colour are mixtures of 3 monomials and 5 fields."""
    rank = {}
    for colour in ("affine", "fields"):
        decoder = decoders.SpatialBroadcastDecoder((6,), 1, colour, 2, num_fields=5)
        z = random(4, 6, 8)
        means = decoder.apply(decoder.init(jax.random.key(0), z, (8, 8)), z, (8, 8)).means
        pictures = np.moveaxis(np.asarray(means, np.float64), -1, 0).reshape(-1, 64)
        values = np.linalg.svd(pictures, compute_uv=False)
        rank[colour] = int((values > 1e-5 * values[0]).sum())
    assert rank == {"affine": 3, "fields": 8}


def test_monomials_by_hand():
    x, y = np.asarray([[2.0]]), np.asarray([[3.0]])
    np.testing.assert_array_equal(decoders.monomials(x, y, 1), [[[1, 2, 3]]])
    np.testing.assert_array_equal(decoders.monomials(x, y, 2), [[[1, 2, 3, 4, 6, 9]]])


def test_shaded_colour_keeps_its_hue():
    """One albedo under changing light: colours of a slot whose albedo is constant are parallel."""
    decoder = decoders.SpatialBroadcastDecoder((6,), 1, "shaded")
    z = random(1, 1, 4)
    params = decoder.init(jax.random.key(0), z, (6, 8))
    last = params["params"]["colour"]["Dense_1"]
    last["kernel"] = last["kernel"].reshape(-1, 3, 3).at[..., 1:].set(0).reshape(-1, 9)
    means = np.asarray(decoder.apply(params, z, (6, 8)).means)[0, 0]
    ratio = means / means[:1, :1]
    np.testing.assert_allclose(ratio, ratio[..., :1] * np.ones(3), rtol=1e-4)
    assert ratio.std() > 1e-3


def test_encoder_preserves_size_and_knows_position():
    encoder = encoders.SizePreservingEncoder((4, 4), 3, 6)
    image = np.zeros((1, 9, 11, 3), np.float32)
    params = encoder.init(jax.random.key(0), image)
    encoding = encoder.apply(params, image)
    assert encoding.shape == (1, 9, 11, 6)
    assert np.abs(encoding[0, 4, 4] - encoding[0, 4, 6]).max() > 1e-4


def test_transformer_block_has_residual_connections():
    """With all of attention's and the MLP's parameters zero, a block is the identity."""
    block = transition.TransformerBlock(2, 8)
    slots = random(2, 3, 8)
    params = jax.tree.map(jnp.zeros_like, block.init(jax.random.key(0), slots))
    np.testing.assert_array_equal(block.apply(params, slots), slots)


def test_transition_lets_slots_speak_and_remembers():
    network = transition.TransformerLSTM(8, 1, 2, 8, 6, 4)
    slots, hidden = random(1, 3, 5), network.initial_hidden(1, 3)
    params = network.init(jax.random.key(0), slots, hidden)
    output, after = network.apply(params, slots, hidden)
    assert output.shape == (1, 3, 4)
    moved = slots.copy()
    moved[0, 2] += 1
    assert np.abs(network.apply(params, moved, hidden)[0][0, 0] - output[0, 0]).max() > 1e-6
    assert np.abs(network.apply(params, slots, after)[0] - output).max() > 1e-6


@pytest.mark.parametrize("size, cells", [((8, 4), 4), ((9, 7), 4), ((5, 5), 1), ((3, 2), 4)])
def test_means_over_cells_weigh_a_pixel_by_its_share_of_each(size, cells):
    image = np.random.default_rng(0).normal(size=(2, *size, 3)).astype(np.float32)
    found = np.asarray(layers.mean_over_cells(jnp.asarray(image), cells))
    fine = image.repeat(cells, axis=1).repeat(cells, axis=2)  # then every cell has whole pixels
    expected = fine.reshape(2, cells, size[0], cells, size[1], 3).mean(axis=(2, 4))
    np.testing.assert_allclose(found, expected.reshape(2, -1), atol=1e-6)


def test_a_centred_network_is_its_formula():
    network = decoders.CentredPixelNetwork((6, 2), frequencies=1)
    z, x, y = random(2, 3, 4), random(2, 5), random(2, 7, seed=1)
    params = network.init(jax.random.key(0), z, x, y)["params"]
    p, z_, x_, y_ = jax.tree.map(np.asarray, (params, z, x, y))
    linear = lambda name, inputs: inputs @ p[name]["kernel"] + p[name]["bias"]
    features = lambda u: np.array([u, u * u, np.sin(np.pi / 2 * u), np.cos(np.pi / 2 * u)])
    expected = np.zeros((2, 3, 7, 5, 2))
    for b, k, i, j in np.ndindex(2, 3, 7, 5):
        c = linear("centre", z_[b, k])
        h = (linear("from_x", features(x_[b, j] - c[0]))
             + linear("from_y", features(y_[b, i] - c[1])))
        scale, shift = np.split(linear("modulation", z_[b, k]), 2)
        h = np.maximum((1 + scale) * h + shift, 0)
        expected[b, k, i, j] = h @ p["kernel_1"] + p["bias_1"]
    np.testing.assert_allclose(network.apply({"params": params}, z, x, y), expected, atol=1e-5)


def test_compact_mask_logits_are_their_formula():
    m, d2, e = 9 * random(3, 2, 4), np.square(random(3, 2, 4)), np.exp(random(3, 1, 1))
    found = decoders.compact(m, d2, e, 0.3)
    np.testing.assert_array_equal(found[0], 0.0)  # the first slot is the background
    for k, i, j in np.ndindex(2, 2, 4):
        k += 1
        greatest = 12 / (1 + (e[k, 0, 0] / 0.3) ** 2)
        expected = greatest * np.tanh(m[k, i, j] / 12) - d2[k, i, j] / e[k, 0, 0] ** 2
        np.testing.assert_allclose(found[k, i, j], expected, rtol=1e-5)


def test_a_compact_slot_cannot_draw_two_distant_things():
    x = np.linspace(-1.5, 1.5, 61)
    everywhere = np.full((2, 1, 61), 1e3)  # what any network may ask for
    for extent in 0.2 * np.exp(np.linspace(-0.7, 0.7, 9)):
        logits = decoders.compact(everywhere, np.square(x)[None, None], extent, 0.2)
        drawn = np.abs(x[np.asarray(logits[1, 0] > logits[0, 0])])
        assert 0.2 < drawn.max() < 0.65, (extent, drawn.max())


def test_a_compact_network_is_its_formula():
    z, x, y = random(2, 3, 4), random(2, 5), random(2, 7, seed=1)
    network = decoders.CentredPixelNetwork((6, 2), frequencies=1, extent=0.3)
    p = jax.tree.map(np.asarray, network.init(jax.random.key(0), z, x, y)["params"])
    extent = 0.3 * np.exp(0.7 * np.tanh(z @ p["extent"]["kernel"] + p["extent"]["bias"]))
    cx, cy = np.moveaxis(z @ p["centre"]["kernel"] + p["centre"]["bias"], -1, 0)[..., None, None]
    d2 = (x[:, None, None] - cx) ** 2 + (y[:, None, :, None] - cy) ** 2
    free = decoders.CentredPixelNetwork((6, 2), frequencies=1).apply({"params": p}, z, x, y)
    expected = decoders.compact(free[..., 1], d2, extent[..., None], 0.3)
    found = network.apply({"params": p}, z, x, y)
    np.testing.assert_array_equal(found[..., 0], free[..., 0])
    np.testing.assert_allclose(found[..., 1], expected, rtol=1e-5, atol=1e-5)


def test_what_a_centred_decoder_draws_moves_with_its_centre():
    decoder = decoders.SpatialBroadcastDecoder((8, 8), 1, "constant", frequencies=2, centred=True)
    z = random(1, 2, 4)
    params = decoder.init(jax.random.key(0), z, (6, 8))["params"]
    draw = lambda params: decoder.apply({"params": params}, z, (6, 8)).mask_logits
    moved = jax.tree.map(jnp.copy, params)
    moved["pixels"]["centre"]["bias"] += jnp.array([2 * 2 / 8, 2 / 6])  # two columns and a row
    before, after = draw(params), draw(moved)
    np.testing.assert_allclose(after[..., 1:, 2:], before[..., :-1, :-2], atol=1e-4)
    assert np.max(np.abs(after - before)) > 1e-2
