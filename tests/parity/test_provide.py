"""The 2D-LSTM model against the authors' own code: the cell, the decoder, a whole forward pass.

Their SqueezeNet, whose features join the refiner's inputs, was replaced by zeros, so its channels
are left out here.
"""

import math
import pathlib
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from configs import grid_lstm_balls
from parts_jax.equations.notation import Gaussian
from parts_jax.models.contract import Clip, View
from parts_jax.models.grid_lstm import family, grid, inputs, lstm, model, networks
from parts_jax.models.schedules import IN_USE
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
        if len(shape) >= 2:
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


class Cell(NamedTuple):
    """What one cell of the grid had, and made."""

    begun: model.GridState
    prior: Gaussian
    after: model.GridState
    latents: model.Latents
    metrics: dict[str, jax.Array]
    view: View


def walk(made, params, clip):
    """(the sum of all losses over the batch, cells), cell after cell of `GridLSTM.visit`.

    As in `GridLSTM.__call__`, whose scan XLA runs slowly on CPU with the flags that tests have.
    """
    def cell(params, state, x, noise, t, r, count):
        def visit(module, *given):
            nets = module.networks()
            begun = module.begin(nets, given[0], given[2], given[3], given[4])
            return begun, nets.prior(begun.time.h), module.visit(nets, *given, IN_USE)
        begun, prior, (after, (loss, latents, _, metrics, view)) = made.apply(
            {"params": params}, state, x, noise, t, r, count, method=visit)
        return loss, Cell(begun, prior, after, latents, metrics, view)

    cell = jax.jit(cell)
    num_frames = clip.video.shape[1]
    frame, index, _ = grid.cells(num_frames, made.num_refinements, made.least_refinements)
    state, total, found = made.initial_state(len(clip.video)), 0.0, []
    for t, r in zip(frame, index, strict=True):
        count = grid.cells_of_frame(t, made.num_refinements, made.least_refinements)
        loss, one = cell(params, state, clip.video[:, t], clip.noise[:, t, r], t, r, count)
        state, total = one.after, total + loss
        found.append(one)
    return total, found


class Forward(NamedTuple):
    """Their numbers, and ours."""

    data: dict[str, np.ndarray]
    made: model.GridLSTM
    loss: float
    cells: list[Cell]
    last: list[Cell]

    def __getitem__(self, name: str) -> np.ndarray:
        return self.data[name]


@pytest.fixture(scope="module")
def forward():
    data = load("full_forward")
    config = authors_config(data)
    made, clip = family.build(config), clip_of(data, config)
    total, cells = walk(made, whole(weights(data), config.model.slot_size), clip)
    frame, _, first = grid.cells(clip.video.shape[1], made.num_refinements, made.least_refinements)
    cells = jax.device_get(cells)
    return Forward(data, made, float(total) / len(clip.video), cells,
                   [cells[i] for i in (*(first[1:] - 1), len(frame) - 1)])


def constant(made) -> float:
    """What a density has that their log-likelihood of a frame, of 3 x 64 x 64 numbers, has not."""
    return 3 * 64 * 64 * (0.5 * math.log(2 * math.pi) + math.log(made.likelihood.scale))


def per_slot(gaussians) -> np.ndarray:
    """[cells, B K, 2 D]."""
    joined = np.stack([np.concatenate([g.mean, g.log_std], -1) for g in gaussians])
    return joined.reshape(len(joined), -1, joined.shape[-1])


def test_the_loss_is_theirs(forward):
    made, frames = forward.made, forward["video_u8"].shape[1]
    weight = sum((i + 1) / made.num_refinements for t in range(frames)
                 for i in range(max(made.num_refinements - t, made.least_refinements)))
    close(forward.loss - made.loss_scale * weight * constant(made), forward["total_loss"][0, 0],
          1e-4)
    metrics = forward.cells[-1].metrics
    close(np.mean(metrics["nll"]) - constant(made), forward["last_nll"], 1e-4)
    close(np.mean(metrics["mask_entropy"]) * 64 * 64, forward["last_entropy"], 1e-4)
    close(np.mean(metrics["kl"]), forward["last_div"], 1e-3)


def test_posteriors_priors_and_kls_are_theirs(forward):
    cells = forward.cells
    close([np.mean(cell.metrics["kl"]) for cell in cells], forward["div_per_step"], 1e-3)
    close(per_slot(cell.begun.posterior for cell in cells), forward["lambda_per_step"], 1e-3)
    priors = per_slot(cell.prior for cell in cells)
    priors[..., forward.made.slot_size:] = jax.nn.softplus(priors[..., forward.made.slot_size:])
    close(priors, forward["prior_per_step"], 1e-3)


def test_updates_are_theirs(forward):
    """In the first frame the last decoding is not refined."""
    count = forward.made.num_refinements
    updates = per_slot(jax.tree.map(np.subtract, cell.after.posterior, cell.begun.posterior)
                       for cell in forward.cells)
    assert not updates[count - 1].any()
    close(np.delete(updates, count - 1, 0), forward["delta_per_step"], 1e-3)
    close(forward.cells[-1].after.memory.h.reshape(forward["h_time_last"].shape),
          forward["h_time_last"], 1e-3)


def test_pictures_and_masks_are_theirs(forward):
    masks, means = (np.stack([getattr(cell.view, name) for cell in forward.last], 1)
                    for name in ("masks", "slots"))
    close(masks[..., ::8, ::8], forward["masks"][:, :, :, 0], 1e-3)
    close(np.moveaxis(means, -1, 3)[..., ::8, ::8], forward["mu_x"], 1e-3)


def test_the_refiner_sees_what_theirs_saw(forward):
    """Of the first refinement."""
    data, made, first = forward.data, forward.made, forward.cells[0]
    params = whole(weights(data), made.slot_size)
    video = data["video_u8"][:, 0].astype(np.float32).transpose(0, 2, 3, 1) / 255

    def see(module):
        images = module.images_of(module.decode(first.latents, (64, 64)), video,
                                  module.likelihood)
        return jnp.concatenate(
            [networks.normalised(image, (-3, -2, -1)) if name in inputs.NORMALISED else image
             for name, image in images._asdict().items()], axis=-1)

    seen = jax.jit(lambda p: made.apply({"params": p}, method=see))(params)
    seen = np.moveaxis(seen, -1, 2).reshape(-1, IMAGES, 64, 64)[:, :, ::4, ::4]
    order = [*range(IMAGES - 2), IMAGES - 1, IMAGES - 2]
    for ours, channel in enumerate(order):
        close(seen[:, ours], data["first_refine_img"][:, channel], 1e-3)
