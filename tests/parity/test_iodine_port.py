"""Two refinements of a port of IODINE, by this project's loss, decoder and inputs.

What no option of the family says stands here: the port's mask posterior and leave-one-out are of a
colour as one vector though its loss mixes channels each by itself; its layer norms have no
parameters, 1e-5 beside the standard deviation, and vectors' unbiased, mean and log-variance apart;
gradients are those of the ELBO, not of the loss; coordinates go to the edge; convolutions pad alike
on both sides; the MLP ends in two ELUs; the update reads the LSTM's cell; and no gradient goes
through lambda or the refiner's inputs.
"""

import pathlib
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from parts_jax.equations import refinement
from parts_jax.equations.notation import Gaussian
from parts_jax.models.iodine import inputs, model
from parts_jax.networks import broadcast_decoder
from parts_jax.networks.functions import Function

FILE = pathlib.Path(__file__).parent / "iodine_port_refinement.npz"


class Vectors(NamedTuple):
    """Numbers that the port gave, and the rest of its file."""

    data: dict[str, np.ndarray]
    params: dict[str, np.ndarray]
    gradients: dict[str, np.ndarray]


def load() -> Vectors:
    with np.load(FILE, allow_pickle=False) as file:
        data = dict(file)
    take = lambda prefix: {key.removeprefix(prefix): data.pop(key) for key in list(data)
                           if key.startswith(prefix)}
    params, gradients = take("param."), take("grad.")
    return Vectors(data, params, gradients)


class PortRefiner(nn.Module):
    """Convolutions, their mean over space, an MLP with an ELU too many, an LSTM, and its cell."""

    channels: tuple[int, ...]
    kernel_size: int
    stride: int
    lstm_size: int
    slot_size: int

    @nn.compact
    def __call__(self, images: jax.Array, vectors: jax.Array, memory: Any) -> tuple[jax.Array, Any]:
        h = images
        for i, width in enumerate(self.channels):
            h = nn.elu(nn.Conv(width, (self.kernel_size,) * 2, strides=self.stride,
                               padding=self.kernel_size // 2, name=f"conv_{i}")(h))
        h = nn.elu(nn.Dense(self.lstm_size, name="mlp")(jnp.mean(h, axis=(-3, -2))))
        h = jnp.concatenate([nn.elu(h), vectors], axis=-1)
        memory, _ = nn.OptimizedLSTMCell(self.lstm_size, name="lstm")(memory, h)
        cell, _ = memory
        return nn.Dense(2 * self.slot_size, name="update")(cell), memory


def dense(params, name):
    return {"kernel": params[f"{name}.weight"].T, "bias": params[f"{name}.bias"]}


def convolution(params, name):
    return {"kernel": params[f"{name}.weight"].transpose(2, 3, 1, 0),
            "bias": params[f"{name}.bias"]}


def lstm(params, name):
    split = lambda leaf: jnp.split(params[f"{name}.{leaf}"], 4)
    gates = zip("ifgo", split("weight_ih"), split("weight_hh"), split("bias_ih"),
                split("bias_hh"), strict=True)
    tree = {}
    for gate, seen, kept, bias, other in gates:
        tree |= {f"i{gate}": {"kernel": seen.T},
                 f"h{gate}": {"kernel": kept.T, "bias": bias + other}}
    return tree


def networks_of(params, data) -> model.Networks:
    """The port's networks as ours."""
    count = lambda net: sum(f"{net}.mlc.layers.{i}.bias" in params for i in range(9))
    convolutions, hidden = count("refine"), count("decoder")
    tree = {f"layer_{i}": convolution(params, f"decoder.mlc.layers.{i}") for i in range(hidden)}
    tree[f"layer_{hidden}"] = convolution(params, "decoder.conv")
    width = lambda net, i: params[f"{net}.mlc.layers.{i}.bias"].shape[0]
    decoder = broadcast_decoder.BroadcastDecoder(
        [width("decoder", i) for i in range(hidden)], int(data["kernel"]), corners=True,
        sigmoid=True)
    refiner = PortRefiner(tuple(width("refine", i) for i in range(convolutions)),
                          int(data["kernel"]), int(data["stride"]),
                          params["refine.lstm.weight_hh"].shape[1],
                          params["posterior.init_mean"].shape[0])
    heads = [dense(params, f"refine.{name}_update") for name in ("mean", "logvar")]
    of_refiner = {f"conv_{i}": convolution(params, f"refine.mlc.layers.{i}")
                  for i in range(convolutions)}
    of_refiner |= {"mlp": dense(params, "refine.mlp.layers.0"), "lstm": lstm(params, "refine.lstm"),
                   "update": jax.tree.map(lambda *halves: jnp.concatenate(halves, -1), *heads)}
    start = Gaussian(params["posterior.init_mean"], params["posterior.init_logvar"])
    return model.Networks(Function(decoder, tree), Function(refiner, of_refiner), start)


def layer_norm(array, axes, ddof):
    spread = jnp.std(array, axis=axes, keepdims=True, ddof=ddof)
    return (array - jnp.mean(array, axis=axes, keepdims=True)) / (spread + 1e-5)


def images_of(mixture, x, sigma):
    """What the refinement network sees, [B, K, H, W, 17], in the port's order."""
    each, one = (inputs.image_inputs(mixture, x, sigma, likelihood)
                 for likelihood in ("gaussian_per_channel", "gaussian"))
    norm = lambda image: layer_norm(image, (-3, -2, -1), 0)
    rest = 1 - each["mask"]
    grid = broadcast_decoder.corner_grid(*x.shape[1:3])
    return jnp.concatenate([
        each["image"], each["means"], each["mask"], each["mask_logits"], one["mask_posterior"],
        norm(-each["means_gradient"]), norm(-each["mask_gradient"]), norm(each["likelihood"]),
        norm(one["leave_one_out"] * rest / (rest + 1e-5)),
        jnp.broadcast_to(grid, (*each["mask"].shape[:-1], 2))], axis=-1)


def refine(params, data):
    """(loss, what the port's file has of each iteration)."""
    networks = networks_of(params, data)
    sigma, noise = float(data["sigma"]), data["noise"]
    iodine = model.IODINE(
        networks.decoder.module, networks.refiner.module, int(data["K"]), noise.shape[-1],
        int(data["iters"]), "gaussian_per_channel", sigma, "log_variance", 0.0, beta=1.0,
        beta_pixels=data["image"][0, 0].size, weights="linear_from_first", mask_gradient="mask",
        likelihood_form="probability")
    x = data["image"].transpose(0, 2, 3, 1)
    lambda_, memory = iodine.start_of(networks, noise[0])
    found = {name: [] for name in ("mean", "logvar", "elbo", "spatial_input", "latent_input",
                                   "delta_mean", "delta_logvar")}
    keep = lambda **more: [found[name].append(array) for name, array in more.items()]
    for n in range(len(noise)):
        score = iodine.score(networks, lambda_, x, noise[n], model.IN_USE)
        keep(mean=lambda_.mean, logvar=lambda_.log_std, elbo=-score.loss / len(x))
        if n == len(noise) - 1:
            break
        halves = [layer_norm(-g, -1, 1) for g in (score.gradient.mean, score.gradient.log_std)]
        vectors = jnp.concatenate([lambda_.mean, lambda_.log_std, *halves], axis=-1)
        images, vectors = jax.lax.stop_gradient((images_of(score.mixture, x, sigma), vectors))
        update, memory = networks.refiner(images, vectors, memory)
        update = Gaussian(*jnp.split(update, 2, axis=-1))
        keep(spatial_input=jnp.moveaxis(images, -1, 2), latent_input=vectors,
             delta_mean=update.mean, delta_logvar=update.log_std)
        lambda_ = refinement.refine(jax.lax.stop_gradient(lambda_), update)
    elbos = jnp.stack(found["elbo"])
    return -jnp.sum(elbos * iodine.weights_of(len(elbos))), found


@pytest.fixture(scope="module")
def refined():
    vectors = load()
    take = jax.jit(jax.value_and_grad(lambda p: refine(p, vectors.data), has_aux=True))
    (loss, found), gradients = jax.device_get(take(vectors.params))
    return vectors, loss, found, gradients


def close(found, expected, tolerance=1e-4):
    """Within a share of the greatest number of an array."""
    np.testing.assert_allclose(found, expected, rtol=0, atol=tolerance * np.abs(expected).max())


@pytest.mark.parametrize("name", ["mean", "logvar", "elbo"])
def test_posteriors_and_elbos_are_the_ports(refined, name):
    vectors, _, found, _ = refined
    close(np.stack(found[name]), vectors.data[f"{name}_per_iter"])


def test_the_refinement_network_sees_what_the_ports_saw(refined):
    vectors, _, found, _ = refined
    expected = vectors.data["spatial_input_per_iter"]
    for channel in range(expected.shape[3]):
        close(np.stack(found["spatial_input"])[:, :, :, channel], expected[:, :, :, channel])
    close(np.stack(found["latent_input"]), vectors.data["latent_input_per_iter"])


@pytest.mark.parametrize("name", ["delta_mean", "delta_logvar"])
def test_updates_are_the_ports(refined, name):
    vectors, _, found, _ = refined
    close(np.stack(found[name]), vectors.data[name])


def test_the_loss_and_its_gradients_are_the_ports(refined):
    vectors, loss, _, gradients = refined
    close(loss, vectors.data["loss"])
    assert vectors.gradients.keys() == vectors.params.keys() and len(vectors.gradients) == 22
    for name, expected in vectors.gradients.items():
        assert np.abs(expected).max() > 0, name
        close(gradients[name], expected)
