"""The least FLOPs that a step needs, by formula.

What is counted: the multiply-adds of matrix products and convolutions, 2 FLOPs each, that the loss
and its gradients (or the outputs of inference) need. A size-preserving convolution has only the
taps that fall inside the picture. What is not: anything per element (ReLU, softmax, norms, the
likelihood, the optimizer), noise, pooling, what is read off for the logs, and the sums of 0 or 1
times a tap by which `BroadcastConv` places a slot's colours. No fast algorithms (Winograd, FFT,
Strassen) are assumed, and no advantage is taken of the zeros that the state starts from.

What makes it the minimum:

- The decoder: one forward, one backward to z and the parameters, for each score. The gradient that
  refinement needs is the one that training needs.
- Its first layer by linearity: z meets each tap of the kernel once, not once a pixel; the spatial
  basis, the same for all examples, slots and frames, is convolved once a step, and its gradient,
  summed over all of them, goes back once a step.
- Inference takes the decoder's gradient to z alone.
- Nothing goes back to the encoder's input: pixels are data, the log-likelihood is a constant.
- The encoder runs once a frame if it does not see the log-likelihood, else once a refinement.
- Keys and values are never formed: W_K meets each query, W_V each slot's output, not each pixel.
- The last refinement of all is not needed for the loss, and the last refinement before each cut of
  truncated time is needed forward only. The first frame after a cut sends no gradient to the state.

All sizes are of one example unless said. K, D and the others as in parts_jax/equations/notation.py.
"""

from __future__ import annotations

import dataclasses

import ml_collections

from parts_jax.data import pipeline
from parts_jax.networks import decoders

COLOUR_CHANNELS = 3
GRID_CHANNELS = 4  # (x, y, -x, -y)


@dataclasses.dataclass(frozen=True)
class Cost:
    """FLOPs of a network.

    Attributes:
      forward: of its output.
      to_inputs: of the gradient to its inputs, given that to its output.
      to_parameters: of the gradient to its parameters, given that to its output.
    """

    forward: int = 0
    to_inputs: int = 0
    to_parameters: int = 0

    def __add__(self, other: Cost) -> Cost:
        return Cost(self.forward + other.forward, self.to_inputs + other.to_inputs,
                    self.to_parameters + other.to_parameters)

    def __mul__(self, times: int) -> Cost:
        return Cost(self.forward * times, self.to_inputs * times, self.to_parameters * times)

    @property
    def backward(self) -> int:
        return self.to_inputs + self.to_parameters

    @property
    def total(self) -> int:
        return self.forward + self.backward

    def of_constant(self) -> Cost:
        """The same for an input that needs no gradient."""
        return dataclasses.replace(self, to_inputs=0)


# ---- Pieces ---------------------------------------------------------------------------------


def linear(rows: int, inputs: int, outputs: int) -> Cost:
    """A linear layer: 2 rows inputs outputs, and as much for each of its two gradients."""
    flops = 2 * rows * inputs * outputs
    return Cost(flops, flops, flops)


def mlp(rows: int, widths: tuple[int, ...]) -> Cost:
    """Linear layers one after the other: the sum of `linear` over neighbours in `widths`."""
    layers = zip(widths, widths[1:], strict=False)
    return sum((linear(rows, *layer) for layer in layers), Cost())


def product(rows: int, inner: int, columns: int) -> Cost:
    """A product of two computed matrices: 2 rows inner columns, and as much for each factor's."""
    flops = 2 * rows * inner * columns
    return Cost(flops, 2 * flops, 0)


def taps_inside(size: int, kernel_size: int) -> int:
    """Pairs (pixel, tap) along one axis whose tap falls inside: sum_o max(size - |o|, 0)."""
    reach = kernel_size // 2
    return sum(max(size - abs(offset), 0) for offset in range(-reach, reach + 1))


def convolution(size: int, kernel_size: int, inputs: int, outputs: int) -> Cost:
    """A size-preserving convolution: 2 taps_inside^2 inputs outputs, and as much per gradient."""
    return linear(taps_inside(size, kernel_size) ** 2, inputs, outputs)


# ---- Networks: `model` is config.model, `size` is H = W ------------------------------------


def decoder(model: ml_collections.ConfigDict, size: int) -> Cost:
    """D_theta for one slot of one frame, without what `decoder_shared` counts.

    taps x (D -> C_0), by linearity; then convolutions C_0 -> ... -> outputs at every pixel; for an
    smooth colour an MLP of z and coefficients [3, 3 or 6] times (1, x, y, ...) at every pixel.
    """
    c = model.decoder
    outputs = decoders.OUTPUTS[c.colour]
    cost = linear(c.kernel_size**2, model.slot_size, c.channels[0])
    for layer in zip(c.channels, (*c.channels[1:], outputs), strict=True):
        cost += convolution(size, c.kernel_size, *layer)
    if c.colour != "full":
        hidden = decoders.SpatialBroadcastDecoder.colour_width
        terms = {1: 3, 2: 6}[decoders.DEGREES[c.colour]]
        terms += c.num_fields if c.colour == "fields" else 0
        cost += mlp(1, (model.slot_size, hidden, COLOUR_CHANNELS * terms))
        picture = 2 * COLOUR_CHANNELS * terms * size**2
        cost += Cost(picture, picture, 0)  # (1, x, y) needs no gradient
    return cost


def decoder_shared(model: ml_collections.ConfigDict, size: int) -> Cost:
    """The spatial basis, once a step: coordinates -> D at every pixel, convolution D -> C_0."""
    c = model.decoder
    grid = GRID_CHANNELS * (1 + c.frequencies)
    cost = (linear(size**2, grid, model.slot_size).of_constant()
            + convolution(size, c.kernel_size, model.slot_size, c.channels[0]))
    if c.colour == "fields":
        hidden = decoders.SpatialBroadcastDecoder.colour_width
        cost += linear(size**2, grid, hidden).of_constant() + linear(size**2, hidden, c.num_fields)
    return cost


def encoder(model: ml_collections.ConfigDict, size: int) -> Cost:
    """The encoder for one frame: convolutions, C_last -> C at every pixel.

    Without `encoder_shared`. Nothing goes back to its input.
    """
    c = model.encoder
    channels = (COLOUR_CHANNELS + c.use_likelihood, *c.channels)
    layers = [convolution(size, c.kernel_size, *layer)
              for layer in zip(channels, channels[1:], strict=False)]
    cost = sum(layers[1:], layers[0].of_constant())
    return cost + linear(size**2, channels[-1], c.output_size)


def encoder_shared(model: ml_collections.ConfigDict, size: int) -> Cost:
    """The encoder's position, once a step: coordinates -> C_last at every pixel."""
    return linear(size**2, GRID_CHANNELS, model.encoder.channels[-1]).of_constant()


def attention(config: ml_collections.ConfigDict, size: int) -> Cost:
    """One refinement: queries (4), weights (5), slot outputs (6), and the update's MLP.

    K (4 D + A -> D_q -> C), as keys are not formed; K x C x H W twice; K (C -> D_q), as values are
    not; K (D_q + 4 D + A -> ... -> 2 D).
    """
    model, c = config.model, config.model.attention
    slots, d, seen = model.num_slots, model.slot_size, model.encoder.output_size
    inputs = 4 * d + config.data.action_size
    cost = linear(slots, inputs if c.top_down else 2 * d, c.size)
    cost += linear(slots, c.size, seen) + linear(slots, seen, c.size)
    cost += product(slots, seen, size**2) + product(slots, size**2, seen)
    return cost + mlp(slots, (c.size + inputs, *c.mlp, 2 * d))


def transition(config: ml_collections.ConfigDict) -> Cost:
    """P for one frame: 2 D + A -> width, transformer blocks over K slots, LSTM, -> 2 D.

    A block: queries, keys, values and output width -> width; K x K x width twice; its MLP. The
    LSTM: width -> 4 L and L -> 4 L, L its size.
    """
    slots, d, c = config.model.num_slots, config.model.slot_size, config.model.transition
    block = linear(slots, c.width, c.width) * 4
    block += product(slots, c.width, slots) + product(slots, slots, c.width)
    block += mlp(slots, (c.width, c.mlp_width, c.width))
    cost = linear(slots, 2 * d + config.data.action_size, c.width) + block * c.num_layers
    cost += linear(slots, c.width, 4 * c.lstm_size) + linear(slots, c.lstm_size, 4 * c.lstm_size)
    return cost + linear(slots, c.lstm_size, 2 * d)


def transition_to_state(config: ml_collections.ConfigDict) -> int:
    """The share of `transition(config).to_inputs` that only the last frame's state needs."""
    slots, c = config.model.num_slots, config.model.transition
    inputs = 2 * config.model.slot_size + config.data.action_size
    return (linear(slots, inputs, c.width).to_inputs
            + linear(slots, c.lstm_size, 4 * c.lstm_size).to_inputs)


# ---- Steps ------------------------------------------------------------------------------------


def counted(config: ml_collections.ConfigDict) -> bool:
    """Whether the formulas below are of the config's family: they are of PARTS alone."""
    return config.model.name == "parts"


def _check_counted(config: ml_collections.ConfigDict) -> None:
    if not counted(config):
        raise ValueError(
            f"The least FLOPs of a step are known of the family parts alone; got model.name="
            f"{config.model.name!r}. Time, memory and compilation of any family's steps are "
            "measured by benchmarks.step, benchmarks.memory and benchmarks.convolutions.")


def train_step(config: ml_collections.ConfigDict, stage: int = -1) -> dict[str, int]:
    """The least FLOPs of one train step of the whole batch, by network and as `total`.

    With B examples, T frames, N refinements, and ceil(T / truncation) chunks of frames:
    decoder: B T N K forward and backward; attention: B (T N - 1) forward, B (T N - chunks)
    backward; encoder the same, but B T of both where it runs once a frame and N > 1; transition:
    B T of both, without the gradient to the state at B chunks of them.

    Args:
      config: as in configs/.
      stage: of the schedule, which sets the resolution; -1: the last.

    Raises:
      ValueError: the config is not of PARTS.
    """
    _check_counted(config)
    model, size = config.model, config.schedule.resolution[stage]
    subset, pooling = config.train.pixels[stage], config.train.encoder_pooling[stage]
    scored, shown = size // subset, size // pooling
    batch, frames, refinements = (
        config.train.batch_size, pipeline.train_frames(config.data), model.num_refinements)
    scores = frames * refinements
    chunks = -(-frames // config.train.truncation)
    once_a_frame = not model.encoder.use_likelihood and refinements > 1
    encoded, encoded_backward = (frames, frames) if once_a_frame else (scores - 1, scores - chunks)
    attend, encode, predict = attention(config, shown), encoder(model, shown), transition(config)
    # Of pixels that are given beside the frame, each frame has coordinates of its own.
    grids = batch * frames if max(subset, pooling) > 1 else 1
    return _with_total({
        "decoder": (batch * scores * model.num_slots * decoder(model, scored).total
                    + grids * decoder_shared(model, scored).total),
        "encoder": (batch * (encoded * encode.forward + encoded_backward * encode.backward)
                    + encoder_shared(model, shown).total),
        "attention": batch * ((scores - 1) * attend.forward + (scores - chunks) * attend.backward),
        "transition": batch * (frames * predict.total - chunks * transition_to_state(config)),
    })


def inference_step(config: ml_collections.ConfigDict, stage: int = -1) -> dict[str, int]:
    """The least FLOPs of one inference step of config.eval.batch_size, by network and as `total`.

    decoder: B T N K forward and backward to z, and B T K forward for the refined posterior;
    attention: B T N; encoder: B T, or B T N where it sees the log-likelihood; transition: B T.

    Args:
      config: as in configs/.
      stage: of the schedule, which sets the resolution; -1: the last.

    Raises:
      ValueError: the config is not of PARTS.
    """
    _check_counted(config)
    model, size = config.model, config.schedule.resolution[stage]
    frames = config.eval.batch_size * config.data.num_frames
    scores = frames * model.num_refinements
    paint = decoder(model, size)
    decoded = scores * (paint.forward + paint.to_inputs) + frames * paint.forward
    encoded = scores if model.encoder.use_likelihood else frames
    return _with_total({
        "decoder": decoded * model.num_slots + decoder_shared(model, size).forward,
        "encoder": encoded * encoder(model, size).forward + encoder_shared(model, size).forward,
        "attention": scores * attention(config, size).forward,
        "transition": frames * transition(config).forward,
    })


def _with_total(by_network: dict[str, int]) -> dict[str, int]:
    return by_network | {"total": sum(by_network.values())}
