"""The formulas of flops.py against XLA's own count, and the JSON of a step."""

import json
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from benchmarks import flops, step
from configs import grid_lstm_balls, parts_clevrer
from parts_jax.devices import sharding
from parts_jax.models.parts import family

B, K, S = 2, 3, 16
ALL_PIXELS = {"data.train_frames": 0, "train.pixels": (1, 1), "train.encoder_pooling": (1, 1)}


def make_config(**changes):
    """The demo's config; wide enough that matrix products dominate. Keys are dotted."""
    config = parts_clevrer.get_config("demo")
    config.update_from_flattened_dict({
        "model.num_slots": K, "model.decoder.channels": (96, 96), "model.slot_size": 32,
        "model.encoder.channels": (48, 48), "model.encoder.output_size": 64,
        "model.attention.size": 64, "schedule.resolution": (16, 32), **ALL_PIXELS} | changes)
    return config


def xla_flops(function, *shapes) -> float:
    return jax.jit(function).lower(*shapes).cost_analysis()["flops"]


def shape(*sizes):
    return jax.ShapeDtypeStruct(sizes, jnp.float32)


def lone_network(config, name, *arguments, method=None):
    """(apply, shapes of its parameters) of one network of the model, by itself."""
    network = getattr(family.build(config), name)
    params = jax.eval_shape(lambda *a: network.init(jax.random.key(0), *a), *arguments)
    return lambda params, *a: network.apply(params, *a, method=method), params


def with_gradients(function):
    """(cotangents, *arguments) -> the function's value and the gradients to all arguments."""
    def both(given, *arguments):
        value, pull_back = jax.vjp(function, *arguments)
        return value, pull_back(given)
    return both


def assert_close(counted: float, formula: int, tolerance: float) -> None:
    """XLA counts operations per element as well: it may find more, by `tolerance`, not less."""
    assert 1 - 1e-3 <= counted / formula <= 1 + tolerance, counted / formula


# ---- flops.py -------------------------------------------------------------------------------


@pytest.mark.parametrize("kernel_size, colour", [(1, "full"), (1, "affine"), (1, "shaded"),
                                                 (1, "quadratic"), (1, "fields"), (3, "full"),
                                                 (3, "affine")])
def test_decoder_is_as_xla_counts(kernel_size, colour):
    config = make_config(**{"model.decoder.kernel_size": kernel_size,
                            "model.decoder.colour": colour})
    decoder = family.build(config).decoder
    z = shape(B, K, config.model.slot_size)
    params = jax.eval_shape(lambda z: decoder.init(jax.random.key(0), z, (S, S)), z)
    decode = lambda params, z: decoder.apply(params, z, (S, S))
    own, shared = flops.decoder(config.model, S) * (B * K), flops.decoder_shared(config.model, S)
    assert_close(xla_flops(decode, params, z), (own + shared).forward, 0.05)

    given = jax.eval_shape(decode, params, z)
    counted = xla_flops(with_gradients(decode), given, params, z)
    assert_close(counted, (own + shared).total, 0.05)


@pytest.mark.parametrize("kernel_size, use_likelihood", [(3, False), (5, True)])
def test_encoder_is_as_xla_counts(kernel_size, use_likelihood):
    config = make_config(**{"model.encoder.kernel_size": kernel_size,
                            "model.encoder.use_likelihood": use_likelihood,
                            "data.resolution": S})
    image = shape(B, S, S, 3 + use_likelihood)
    encode, params = lone_network(config, "encoder", image)
    own, shared = flops.encoder(config.model, S) * B, flops.encoder_shared(config.model, S)
    expected = own.forward + shared.forward
    assert_close(xla_flops(encode, params, image), expected, 0.05)

    to_parameters = lambda given, params, image: with_gradients(
        lambda params: encode(params, image))(given, params)
    given = shape(B, S, S, config.model.encoder.output_size)
    expected = own.total + shared.total
    assert_close(xla_flops(to_parameters, given, params, image), expected, 0.05)


@pytest.mark.parametrize("top_down", [True, False])
def test_attention_is_as_xla_counts(top_down):
    config = make_config(**{"model.attention.top_down": top_down, "data.action_size": 3})
    c = config.model
    wide = shape(B, K, 4 * c.slot_size + config.data.action_size)
    narrow = wide if top_down else shape(B, K, 2 * c.slot_size)
    arguments = (narrow, wide, shape(B, S, S, c.encoder.output_size))
    attend, params = lone_network(config, "attention", *arguments)
    expected = flops.attention(config, S) * B
    assert_close(xla_flops(attend, params, *arguments), expected.forward, 0.10)

    given = jax.eval_shape(attend, params, *arguments)
    counted = xla_flops(with_gradients(attend), given, params, *arguments)
    assert_close(counted, expected.total, 0.15)


def test_transition_is_as_xla_counts():
    config = make_config(**{"model.transition.num_layers": 2})
    c = config.model
    slots, hidden = shape(B, K, 2 * c.slot_size), (shape(B, K, c.transition.lstm_size),) * 2
    predict, params = lone_network(config, "transition", slots, hidden)
    expected = flops.transition(config) * B
    assert_close(xla_flops(predict, params, slots, hidden), expected.forward, 0.10)
    given = jax.eval_shape(predict, params, slots, hidden)
    counted = xla_flops(with_gradients(predict), given, params, slots, hidden)
    assert_close(counted, expected.total, 0.15)
    to_parameters = lambda given, params, *a: with_gradients(
        lambda params: predict(params, *a))(given, params)
    counted = xla_flops(to_parameters, given, params, slots, hidden)
    assert_close(counted, expected.total - B * flops.transition_to_state(config), 0.15)


def test_taps_inside_by_counting():
    for size, kernel_size in ((1, 3), (4, 1), (5, 3), (2, 5)):
        pairs = [(i, o) for i in range(size) for o in range(kernel_size)
                 if 0 <= i + o - kernel_size // 2 < size]
        assert flops.taps_inside(size, kernel_size) == len(pairs)


def test_step_formulas_add_up_by_hand():
    """T=5, truncation 2: three chunks; refinement 5 of 5 is not needed, 1 and 3 go back."""
    config = make_config(**{"data.num_frames": 5, "train.truncation": 2, "train.batch_size": 2})
    minimum, size = flops.train_step(config, stage=0), config.schedule.resolution[0]
    attend, predict = flops.attention(config, size), flops.transition(config)
    assert minimum["attention"] == 2 * (4 * attend.forward + 2 * attend.backward)
    assert minimum["transition"] == 2 * (
        5 * predict.total - 3 * flops.transition_to_state(config))
    assert minimum["total"] == sum(v for name, v in minimum.items() if name != "total")
    config.model.num_refinements = 3
    encode, shared = flops.encoder(config.model, size), flops.encoder_shared(config.model, size)
    assert flops.train_step(config, stage=0)["encoder"] == 2 * 5 * encode.total + shared.total


# ---- step.py --------------------------------------------------------------------------------


def tiny_config(**changes):
    config = parts_clevrer.get_config("demo")
    config.update_from_flattened_dict({
        "data.num_frames": 2, "data.resolution": 8, "schedule.resolution": (4, 8), **ALL_PIXELS,
        "train.unroll": 5, "model.decoder.examples_at_once": 0,
        "model.slot_size": 8, "model.decoder.channels": (32, 32),
        "model.encoder.channels": (8,), "model.transition.width": 16,
        "model.transition.mlp_width": 16, "model.transition.lstm_size": 8,
        "train.batch_size": 2, "eval.batch_size": 4} | changes)
    return config


@pytest.fixture
def quick_compilation():
    name = "jax_disable_most_optimizations"
    before = jax.config.read(name)
    jax.config.update(name, True)
    yield
    jax.config.update(name, before)


def test_step_measures_what_it_says(quick_compilation):
    config = tiny_config(**{"train.unroll": 1, "model.decoder.examples_at_once": 1})
    report = step.measure(config, stage=0, num_steps=2, devices=jax.devices()[:1])
    assert json.loads(json.dumps(report)) == report
    assert report["resolution"] == 4 and report["hardware"]["num_devices"] == 1
    assert all(peak["flops_per_second"]["median"] > 1e8 for peak in report["peaks"].values())
    for name, batch_size in (("train_step", 2), ("inference_step", 4)):
        part = report[name]
        times, memory = part["step_seconds"], part["memory_bytes"]
        assert part["batch_size"] == batch_size and part["compile_seconds"] > 0
        assert part["flops"] == part["flops_of_scan_unrolled"] > 1.2 * part["compiled_flops"]
        assert "examples_at_once" in part["flops_note"]
        assert 0.9 < part["flops_over_minimum"] < 3
        assert 0 < times["min"] <= times["median"] <= times["max"] < math.inf
        assert part["frames_per_second"] == pytest.approx(batch_size * 2 / times["median"])
        assert all(0 < part["peak_share"][name] < 1 for name in report["peaks"])
        assert memory["peak"] == (memory["arguments"] + memory["outputs"] + memory["temporaries"]
                                  - memory["aliased"]) > 0


class Compiled:
    """A compiled program of 1,000 FLOPs a device."""

    def cost_analysis(self):
        return {"flops": 1000.0}


@pytest.mark.parametrize("name", ["train_step", "inference_step"])
@pytest.mark.parametrize("changes", [
    {}, {"data.train_frames": 3, "data.resolution": 16, "schedule.resolution": (8, 16),
         "train.pixels": (1, 2), "train.encoder_pooling": (1, 4)},
    {"model.encoder.use_likelihood": True, "model.decoder.kernel_size": 3,
         "model.decoder.colour": "full", "data.num_frames": 5, "model.num_refinements": 2,
         "train.truncation": 2, "data.action_size": 2}])
def test_the_whole_step_is_near_the_minimum_and_never_below(name, changes):
    """Narrow networks on small pictures, so operations per element weigh more than they would."""
    config = tiny_config(**{"model.decoder.channels": (64, 64)} | changes)
    mesh = sharding.make_mesh(jax.devices()[:2])
    described = step.describe_flops(config, name, -1, mesh, Compiled())
    assert described["flops"] == described["compiled_flops"] == 2000
    assert "no loops" in described["flops_note"]
    assert 1 <= described["flops_of_scan_unrolled"] / described["minimum_flops"]["total"] < 1.4


def test_a_family_without_formulas_is_timed_without_a_minimum():
    config = grid_lstm_balls.get_config("tiny")
    for formula in (flops.train_step, flops.inference_step):
        with pytest.raises(ValueError, match="of the family parts alone; got .*'grid_lstm'"):
            formula(config)
    compiled = jax.jit(lambda a: a @ a).lower(jnp.ones((4, 4))).compile()
    described = step.describe_flops(
        config, "train_step", -1, sharding.make_mesh(jax.devices()[:1]), compiled)
    assert described["compiled_flops"] == 2 * 4**3 and "parts alone" in described["flops_note"]
    assert described["minimum_flops"] is described["flops_over_minimum"] is None
    described |= {"batch_size": 2, "num_frames": 3}
    times = step.describe_times(described, np.full(4, 0.5), {"matrix_product": 1.0})
    assert times["frames_per_second"] == 12.0 and times["peak_share"] is None


def test_a_bar_in_a_cell_ends_no_column():
    assert step.table(("name", "value"), [("p(x | z)", "1")]) == (
        "| name | value |\n| --- | ---: |\n| p(x \\| z) | 1 |")
