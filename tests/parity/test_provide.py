"""The 2D-LSTM model against the authors' own code: the cell, the decoder, a whole forward pass.

Their SqueezeNet, whose features join the refiner's inputs, was replaced by zeros, so its channels
are left out here.
"""

import math
import pathlib

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from configs import grid_lstm_balls
from parts_jax.models.contract import Clip
from parts_jax.models.grid_lstm import family, lstm, model, networks, objective
from parts_jax.networks import broadcast_decoder

FOLDER = pathlib.Path(__file__).parent
IMAGES = 16  # channels of the refiner's input without SqueezeNet's


def load(name: str) -> dict[str, np.ndarray]:
    with np.load(FOLDER / f"provide_{name}.npz", allow_pickle=False) as file:
        return dict(file)


def weights(data) -> dict[str, np.ndarray]:
    """Parameters by the formula of README.md, under the names of their source."""
    params = {}
    for j, (name, shape) in enumerate(zip(data["param_names"], data["param_shapes"], strict=True)):
        shape = tuple(int(size) for size in str(shape).strip("()").split(",") if size.strip())
        u = uniform(1000 * int(data["weight_seed"]) + j, math.prod(shape)).reshape(shape)
        if len(shape) >= 2 and name.endswith("weight"):
            u = u * math.sqrt(3 / math.prod(shape[1:]))
        else:
            u = u * (0.1 if name.endswith("bias") else 0.5)
        params[str(name)] = u.astype(np.float32)
    return params


def uniform(stream: int, count: int) -> np.ndarray:
    """Numbers in [-1, 1) of a stream, float64 [count]."""
    x = np.arange(count, dtype=np.uint32) * np.uint32(2654435761)
    x = x + np.uint32((stream + 1) * 2246822519 % 2**32)
    for shift, factor in ((15, 2246822519), (13, 3266489917)):
        x = (x ^ (x >> np.uint32(shift))) * np.uint32(factor)
    return (x ^ (x >> np.uint32(16))).astype(np.float64) / 2**31 - 1


def close(found, expected, tolerance):
    """Within a share of the greatest number of an array."""
    expected = np.asarray(expected)
    np.testing.assert_allclose(found, expected, rtol=0, atol=tolerance * np.abs(expected).max())


# ---- Their parameters as ours -------------------------------------------------------------------


def dense(params, name):
    return {"kernel": params[f"{name}.weight"].T, "bias": params[f"{name}.bias"]}


def convolution(params, name, channels=None):
    kernel = params[f"{name}.weight"].transpose(2, 3, 1, 0)
    return {"kernel": kernel if channels is None else kernel[:, :, channels],
            "bias": params[f"{name}.bias"]}


def cell(wide_x, wide_time, wide_refine, bias):
    return {"x": {"kernel": wide_x.T, "bias": bias}, "time": {"kernel": wide_time.T},
            "refine": {"kernel": wide_refine.T}}


def decoder(params, prefix, slot_size):
    """Their broadcast has row, column, z; ours z, x, y."""
    order = [*range(2, slot_size + 2), 1, 0]
    body = {f"layer_{i}": convolution(params, f"{prefix}conv_layer.{2 * i}",
                                      order if i == 0 else None) for i in range(5)}
    return {"body": body, **{f"condition_{i}": dense(params, f"{prefix}pre_mlp.{2 * i}")
                             for i in range(2)}}


def whole(params, slot_size):
    """Of `provide_full_forward`. Their coordinates are row, column, ours x, y."""
    order = [*range(IMAGES - 2), IMAGES - 1, IMAGES - 2]
    refiner = {f"conv_{i}": convolution(params, f"refine_net.convnet.model.{2 * i}",
                                        order if i == 0 else None) for i in range(4)}
    # They flatten channels first, we last: 64 channels of 16 x 16 cells.
    summary = params["refine_net.fc_in.0.weight"].reshape(-1, 64, 256).transpose(2, 1, 0)
    refiner["summary"] = {"kernel": summary.reshape(-1, summary.shape[-1]),
                          "bias": params["refine_net.fc_in.0.bias"]}
    # They join the vector before the picture, as we do.
    wide = [params[f"refine_net.lstm.W_{name}.weight"] for name in ("x", "hor", "ver")]
    refiner["lstm"] = cell(*wide, sum(params[f"refine_net.lstm.W_{name}.bias"]
                                      for name in ("x", "hor", "ver")))
    refiner["update"] = dense(params, "refine_net.fc_out")
    start = np.split(params["lmbda0"][0], 2)
    return {"decoder": decoder(params, "decoder.", slot_size), "refiner": refiner,
            "prior": {"hidden": dense(params, "prior.0"), "mean": dense(params, "prior_mean"),
                      "log_std": dense(params, "prior_var.0")},
            "start_mean": start[0], "start_log_variance": start[1]}


# ---- Modules ------------------------------------------------------------------------------------


def test_weights_are_those_that_the_formula_gives():
    np.testing.assert_allclose(uniform(1000, 3), [0.6195934005, -0.5688139861, -0.4502421734],
                               atol=1e-9)


def test_two_steps_of_the_cell_are_theirs():
    data = load("lstm2d_cell")
    params = cell(data["W_x"], data["W_time"], data["W_refine"],
                  data["b_x"] + data["b_time"] + data["b_refine"])
    time, refine = (lstm.Memory(data[f"h_{name}"], data[f"c_{name}"])
                    for name in ("time", "refine"))
    step = lambda refine: lstm.LSTM2D(8).apply({"params": params}, data["x"], time, refine)
    once = step(refine)
    for found, end in ((once, ""), (step(once), "2")):
        close(found.h, data[f"h_out{end}"], 1e-5)
        close(found.c, data[f"c_out{end}"], 1e-5)


def test_the_decoder_is_theirs():
    data = load("decoder")
    body = broadcast_decoder.BroadcastDecoder((64,) * 4, 3, corners=True, sigmoid=True)
    decode = jax.jit(networks.ConditionalDecoder(body, 6).apply, static_argnums=3)
    mixture = decode({"params": decoder(weights(data), "", 6)}, data["z"], data["h_time"], (9, 9))
    close(jnp.moveaxis(mixture.means, -1, 1), data["out"][:, :3], 1e-4)
    close(mixture.mask_logits, data["out"][:, 3], 1e-4)


# ---- A whole forward pass -----------------------------------------------------------------------


def authors_config(data):
    """`code` at the size of the vectors."""
    config = grid_lstm_balls.get_config("code")
    config.model.num_slots, config.model.slot_size = int(data["K"]), int(data["z_dim"])
    config.model.num_refinements = int(data["R"])
    config.model.entropy = 0.001 if data["use_entropy"] else 0.0
    config.data.num_frames = data["video_u8"].shape[1]
    return config


def clip_of(data, config) -> Clip:
    """Their noise in our order: the first row begins every frame, the others follow."""
    c, video = config.model, data["video_u8"].astype(np.float32) / 255
    batch, frames = video.shape[:2]
    rows = data["noise"].reshape(-1, batch, c.num_slots, c.slot_size)
    noise = np.zeros((frames, c.num_refinements, *rows.shape[1:]), np.float32)
    after = 1
    for t in range(frames):
        count = max(c.num_refinements - t, c.least_refinements)
        noise[t, 0], noise[t, 1:count] = rows[0], rows[after:after + count - 1]
        after += count - 1
    assert after == len(rows) - 1  # the last is of a sample that they do not use
    return Clip(video.transpose(0, 1, 3, 4, 2), np.zeros((batch, frames, 0), np.float32),
                np.moveaxis(noise, 2, 0))


@pytest.fixture(scope="module")
def forward():
    data = load("full_forward")
    config = authors_config(data)
    made = family.build(config)
    params = whole(weights(data), config.model.slot_size)
    clip = clip_of(data, config)
    start = made.initial_state(len(clip.video))
    loss, step = jax.jit(made.apply)({"params": params}, clip, start)
    return data, config, float(loss), jax.device_get(step)


def test_x(forward):
    data, config, loss, step = forward
    c = config.model
    frames = data["video_u8"].shape[1]
    r = [(i + 1) / c.num_refinements for t in range(frames)
         for i in range(max(c.num_refinements - t, c.least_refinements))]
    pixels = 3 * 64 * 64
    constant = pixels * (0.5 * math.log(2 * math.pi) + math.log(c.sigma_x))
    print(loss * frames - c.loss_scale * sum(r) * constant, data["total_loss"][0, 0])
    print(step.metrics["nll"].mean(0) - constant, data["last_nll"])
    print(step.metrics["kl"].mean(0), data["last_div"], data["div_per_step"])
    print(step.metrics["mask_entropy"].mean(0) * 4096, data["last_entropy"])
    print(step.state.memory.h.reshape(6,-1)[0,:5], data["h_time_last"][0,:5])
