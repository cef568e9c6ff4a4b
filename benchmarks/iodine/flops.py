"""FLOPs of IODINE's train step over the least that it needs, by formula.

Counted as in benchmarks/flops.py: multiply-adds of matrix products and convolutions, 2 FLOPs each,
and of convolutions only the taps that fall inside the picture; nothing per element. The least is

- the decoder: N + 1 times forward, and one backward each to z and to the parameters, by which both
  refinement and training are served; no second decoding. Its first layer by linearity, its spatial
  basis once a step.
- the refinement network: N times forward and backward. Its images are constants, so that its first
  convolution sends a gradient to those channels alone that are layer-normalised, for the scales and
  offsets of that; vectors get one.

What one might leave out beyond that is not taken off: the gradient to the decoder's parameters of
the first guess where its weight is 0, and the zeros that the LSTM starts from.
"""

import argparse
import dataclasses
from typing import Any

import jax
import ml_collections
import numpy as np

from benchmarks import flops, step
from benchmarks.flops import Cost
from benchmarks.iodine.ablation import name_of
from benchmarks.iodine.writing import Made, config_of
from parts_jax.devices import sharding
from parts_jax.models.iodine.inputs import IMAGES, INPUTS, VECTORS
from parts_jax.networks import decoders
from parts_jax.runs import config_rules

MOST = 1.15  # what is asked for
HEAD_WIDTH = 64  # of the gated head's MLP


def decoder(model: ml_collections.ConfigDict, size: int) -> Cost:
    """One slot of one image, without `decoder_shared`: of either kind."""
    c = model.decoder
    if c.kind == "broadcast":
        cost, outputs = Cost(), 4
    elif decoders.DEGREES.get(c.colour, 1):  # "full" has none
        cost = flops.decoder(model, size)
        if not c.centred:
            return cost
        more, less = centred(model, size), first_layer(model, size)
        return Cost(*(a + b - c for a, b, c in zip(*map(dataclasses.astuple, (cost, more, less)),
                                                   strict=True)))
    else:  # the colour is the same all over a slot: its network is all that it takes
        width = decoders.SpatialBroadcastDecoder.colour_width
        cost, outputs = flops.mlp(1, (model.slot_size, width, flops.COLOUR_CHANNELS)), 1
    cost += (centred if c.centred else first_layer)(model, size)
    for layer in zip(c.channels, (*c.channels[1:], outputs), strict=True):
        cost += flops.convolution(size, c.kernel_size, *layer)
    return cost


def first_layer(model: ml_collections.ConfigDict, size: int) -> Cost:
    """A slot's part of the first layer, the same for all its pixels."""
    c = model.decoder
    return flops.linear(c.kernel_size**2, model.slot_size, c.channels[0])


def centred(model: ml_collections.ConfigDict, size: int) -> Cost:
    """The first layer of a `decoders.CentredPixelNetwork`: of rows, of columns, of the slot."""
    width, features = model.decoder.channels[0], 2 + 2 * model.decoder.frequencies
    return (flops.linear(2 * size, features, width) + flops.linear(1, model.slot_size, 2)
            + flops.linear(1, model.slot_size, 2 * width))


def decoder_shared(model: ml_collections.ConfigDict, size: int) -> Cost:
    """The spatial basis, once a step; for "broadcast" two coordinates, which get no gradient."""
    c = model.decoder
    if c.kind != "broadcast":
        return Cost() if c.centred else flops.decoder_shared(model, size)
    return flops.convolution(size, c.kernel_size, 2, c.channels[0]).of_constant()


def strided(size: int, kernel_size: int, stride: int) -> tuple[int, int]:
    """A strided convolution with "SAME" padding, along one axis.

    Returns:
      Pixels of its output, and pairs (output pixel, tap) whose tap falls inside the picture.
    """
    out = -(-size // stride)
    before = max((out - 1) * stride + kernel_size - size, 0) // 2
    at = np.arange(out)[:, None] * stride + np.arange(kernel_size) - before
    return out, int(np.sum((at >= 0) & (at < size)))


def refiner(model: ml_collections.ConfigDict, size: int) -> Cost:
    """f_phi of one slot of one image."""
    c, given = model.refiner, set(model.refiner.inputs)
    images = [INPUTS[name] for name in IMAGES if name in given]
    channels = sum(one.channels for one in images)
    normalised = sum(one.channels for one in images if one.layer_norm)
    cost, width, whole = Cost(), channels, size
    for i, outputs in enumerate(c.channels):
        size, pairs = strided(size, c.kernel_size, c.stride)
        layer = flops.linear(pairs**2, width, outputs)
        if i == 0:
            layer = dataclasses.replace(layer, to_inputs=layer.to_inputs * normalised // channels)
        cost, width = cost + layer, outputs
    if c.cells > 1:  # two products with constants, of rows and of columns
        for rows in (size * width, c.cells * width):
            cost += dataclasses.replace(flops.linear(rows, size, c.cells), to_parameters=0)
        width *= c.cells**2
    if c.glimpse:
        cost += glimpse(model, whole, channels, normalised)
        width += c.mlp[0] + 2
    cost += flops.mlp(1, (width, *c.mlp))
    width = (width, *c.mlp)[-1] + 2 * model.slot_size * len(given & set(VECTORS))
    if c.lstm_size:
        cost += flops.linear(1, width, 4 * c.lstm_size)
        cost += flops.linear(1, c.lstm_size, 4 * c.lstm_size)
        width = c.lstm_size
    size_of_lambda = 2 * model.slot_size
    cost += flops.linear(1, width, size_of_lambda)
    if c.head == "gated":
        cost += flops.linear(1, width, size_of_lambda)
        cost += flops.mlp(1, (size_of_lambda, HEAD_WIDTH, 2 * size_of_lambda))
    return cost


def glimpse(model: ml_collections.ConfigDict, size: int, channels: int, normalised: int) -> Cost:
    """Filters along columns, then rows, and the layer that reads what they see, of one slot.

    Only channels that are layer-normalised get a gradient, for the scales and offsets of that.
    """
    c = model.refiner
    read = flops.linear(1, c.glimpse**2 * channels, c.mlp[0])
    filters = (flops.linear(size * channels, size, c.glimpse)
               + flops.linear(c.glimpse * channels, size, c.glimpse))
    share = lambda cost: dataclasses.replace(
        cost, to_inputs=cost.to_inputs * normalised // channels)
    return share(read) + dataclasses.replace(share(filters), to_parameters=0)


def minimum(config: ml_collections.ConfigDict, stage: int = -1) -> dict[str, int]:
    """The least FLOPs of a train step of the whole batch: by network, and `total`.

    Args:
      config: of IODINE on images.
      stage: of the schedule, which sets the resolution; -1: the last.
    """
    model, n = config.model, config.model.num_iterations
    scored = config.schedule.resolution[stage] // config.train.pixels[stage]
    slots = config.train.batch_size * config.data.num_frames * model.num_slots
    # Of pixels that are given beside the frame, each image has coordinates of its own.
    grids = config.train.batch_size if config.train.pixels[stage] > 1 else 1
    found = {"decoder": (slots * (n + 1) * decoder(model, scored).total
                         + grids * decoder_shared(model, scored).total),
             "refinement network": slots * n * refiner(model, scored).total}
    return found | {"total": sum(found.values())}


def written_out(config: ml_collections.ConfigDict) -> ml_collections.ConfigDict:
    """The same step without loops, whose bodies XLA counts once."""
    config = config.copy_and_resolve_references()
    with config.unlocked():
        config.train.unroll = config.model.num_iterations
        config.model.decoder.examples_at_once = 0
    return config


def measure(config: ml_collections.ConfigDict, stage: int = -1) -> dict[str, Any]:
    """Counts the compiled train step on one device of the CPU.

    Returns:
      `minimum`, as of that function; `compiled`, of the program written out and compiled, and
      `over_minimum`, their ratio.

    Raises:
      ValueError: the config is not one of IODINE on images, one image an example; or the devices
        are no CPUs, where XLA does not count calls of libraries.
    """
    c = config.model
    if c.name != "iodine" or c.sequential or config.data.num_frames != 1:
        raise ValueError("FLOPs are counted of IODINE on images: config.model.name 'iodine', "
                         "sequential False, config.data.num_frames 1.")
    mesh = sharding.make_mesh(jax.local_devices()[:1])
    if mesh.devices.flat[0].platform != "cpu":
        raise ValueError("FLOPs are counted on the CPU only; set JAX_PLATFORMS=cpu.")
    program, arguments, _ = step.train_program(written_out(config), stage, mesh)
    compiled = step.xla_flops(program.lower(*arguments).compile(), mesh)
    least = minimum(config, stage)
    return dict(minimum=least, compiled=compiled, over_minimum=compiled / least["total"],
                hardware=step.hardware(mesh))


def make(flags: argparse.Namespace) -> Made:
    """The ratio of every stage of a config."""
    config = config_of(flags.config, flags.more)
    config_rules.check(config, 1)
    stages = [dict(resolution=config.schedule.resolution[i], pixels=config.train.pixels[i],
                   **measure(config, i)) for i in range(len(config.schedule.steps))]
    numbers = dict(config=flags.config, flags=flags.more, batch_size=config.train.batch_size,
                   stages=stages)
    return Made(f"flops-{name_of(flags.config)}", numbers, words_of(numbers))


def words_of(numbers: dict[str, Any]) -> str:
    """A sentence, and a table with a row a stage."""
    stages = numbers["stages"]
    networks = list(stages[0]["minimum"])
    rows = []
    for i, one in enumerate(stages):
        size = one["resolution"] // one["pixels"]
        rows.append((str(i + 1), f"{size}x{size}",
                     *(f"{one['minimum'][name] / 1e9:.4f}" for name in networks),
                     f"{one['compiled'] / 1e9:.4f}", f"{one['over_minimum']:.3f}"))
    worst = max(one["over_minimum"] for one in stages)
    header = ("stage", "pixels", *(f"least, {name}" for name in networks), "compiled",
              "compiled over least")
    return (f"`{numbers['config']}`{' '.join(['', *numbers['flags']])}, a batch of "
            f"{numbers['batch_size']}, GFLOPs a step: {worst:.3f} at the most, "
            f"{'within' if worst <= MOST else 'beyond'} {MOST}.\n\n{step.table(header, rows)}")
