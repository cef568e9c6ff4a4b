"""benchmarks/variants.py, growth.py, memory.py: tiny steps, and exponents and ratios by hand."""

import functools
import json
import math
from unittest import mock

import jax
import numpy as np
import optax
import pytest

from benchmarks import flops, growth, memory, step, variants
from configs import parts_clevrer
from parts_jax import models, train
from parts_jax.data import pipeline
from parts_jax.devices import sharding
from parts_jax.training import optimizer


def tiny_config(**changes):
    config = parts_clevrer.get_config("demo")
    config.update_from_flattened_dict({
        "data.num_frames": 2, "data.resolution": 8, "schedule.resolution": (4, 8),
        "data.train_frames": 0, "train.pixels": (1, 1), "train.encoder_pooling": (1, 1),
        "train.unroll": 1, "train.truncation": 1, "model.decoder.examples_at_once": 0,
        "model.num_slots": 3, "model.slot_size": 8, "model.decoder.channels": (48, 48),
        "model.encoder.channels": (4,), "model.transition.width": 8,
        "model.transition.mlp_width": 8, "model.transition.lstm_size": 8,
        "train.batch_size": 2, "eval.batch_size": 2} | changes)
    return config


@pytest.fixture
def quick_compilation():
    name = "jax_disable_most_optimizations"
    before = jax.config.read(name)
    jax.config.update(name, True)
    yield
    jax.config.update(name, before)


@pytest.fixture
def program_of_known_cost(monkeypatch):
    """In place of the train step, a product with each pixel: of so many FLOPs, compiled at once."""

    def train_program(config, stage, mesh):
        del stage
        batch = step.random_batch(config, config.train.batch_size, config.data.num_frames)
        program = jax.jit(lambda weights, batch: batch["video"].astype(np.float32) @ weights)
        arguments = (np.ones((3, 64), np.float32), batch)
        return program, arguments, lambda compiled: lambda: jax.block_until_ready(
            compiled(*arguments))

    monkeypatch.setattr(step, "train_program", train_program)


# ---- variants.py --------------------------------------------------------------------------------


@functools.cache
def lowered(name):
    """A variant's step with time unrolled, lowered and not compiled: its FLOPs, its text."""
    variant = variants.variants(tiny_config())[name]
    config = step.without_loops(tiny_config()).unlock()
    config.update_from_flattened_dict(variant.changes)
    with variant.patched():
        program, arguments, _ = step.train_program(
            config, -1, sharding.make_mesh(jax.devices()[:1]))
        found = program.lower(*arguments)
        return found.cost_analysis()["flops"], found.as_text()


def test_variants_are_other_programs_in_the_order_of_their_flops():
    assert set(variants.variants(tiny_config())) == {
        "ours", "naive", "naive, remat", "twice", "tiled", "keys", "whole", "no inner gradient",
        "unroll T", "bfloat16"}
    names = ("no inner gradient", "ours", "twice", "naive", "naive, remat")
    flops = [lowered(name)[0] for name in names]
    assert flops[0] < 1.02 * flops[1]  # one decoder forward, one backward: so is the floor
    assert 1.2 * flops[1] < flops[2] < flops[3] and 1.2 * flops[3] < flops[4]
    ours, whole, half = (lowered(name)[1] for name in ("ours", "whole", "bfloat16"))
    assert "bf16" in half and "bf16" not in ours
    assert whole != ours  # and hardly another number of FLOPs


@pytest.mark.parametrize("name", ["tiled", "keys"])
def test_a_saving_alone_is_one(name):
    """What is replaced is what the step calls: else it would be ours once more."""
    flops, ours, naive = (lowered(each)[0] for each in (name, "ours", "naive"))
    assert 1.05 * ours < flops < naive


@pytest.mark.parametrize("kernel_size, use_likelihood, pixels", [(1, False, 2), (3, True, 1)])
def test_savings_change_no_number(kernel_size, use_likelihood, pixels):
    """One step from the same state: the same loss and, by plain SGD, the same gradients."""
    config = tiny_config(**{"model.decoder.kernel_size": kernel_size, "data.num_frames": 3,
                            "train.truncation": 2,
                            "model.encoder.use_likelihood": use_likelihood,
                            "train.pixels": (1, pixels)})
    mesh, every, found = sharding.make_mesh(jax.devices()[:1]), variants.variants(config), {}
    batch = sharding.split_batch(step.random_batch(config, 2, 3), mesh)
    with mock.patch.object(optimizer, "create", lambda config: optax.apply_if_finite(
            optax.sgd(1.0), 1)):
        for name in ("ours", "naive"):  # has all the others in it
            model, tx = models.create(config), optimizer.create(config)
            state = sharding.replicate(train.create_state(config, model, tx), mesh)
            with every[name].patched():
                program, _, _ = step.train_program(config, -1, mesh)
                found[name] = program(state, batch)
    ours, metrics = found.pop("ours")
    for name, (state, others) in found.items():
        np.testing.assert_allclose(others["loss"], metrics["loss"], rtol=1e-5, err_msg=name)
        for mine, other in zip(jax.tree.leaves(ours.params), jax.tree.leaves(state.params),
                               strict=True):
            np.testing.assert_allclose(other, mine, atol=2e-4, err_msg=name)


def test_a_config_is_not_measured_against_itself():
    assert "unroll T" not in variants.variants(tiny_config(**{"train.unroll": 2}))
    half = variants.variants(tiny_config(
        **{"data.num_frames": 4, "model.dtype": "bfloat16", "train.unroll": 2}))
    assert {"unroll 1", "unroll T", "float32"} < set(half) and "bfloat16" not in half
    with pytest.raises(ValueError, match="'nave' is no variant of this config; it has: ours, nai"):
        variants.measure(tiny_config(), names=["nave"])


def test_variants_measure_what_they_say(program_of_known_cost):
    report = variants.measure(tiny_config(), stage=0, num_steps=2, devices=jax.devices()[:1],
                              names=["no inner gradient"])
    assert json.loads(json.dumps(report)) == report
    ours, floor = report["variants"]["ours"], report["variants"]["no inner gradient"]
    assert ours["ratios"] == {"flops": 1, "memory": 1, "seconds": 1}
    assert ours["flops"] == pytest.approx(2 * 3 * 64 * 2 * 2 * 8 * 8, rel=0.1)
    assert floor["ratios"]["flops"] == floor["flops"] / ours["flops"] == 1
    assert 0 < floor["step_seconds"]["median"] < math.inf and floor["ratios"]["seconds"] > 0
    lines = variants.as_table(report).splitlines()
    assert len(lines) == 4 and lines[2].startswith("| ours: the config's own | ")
    assert " | 1.00 | " in lines[2] and len({line.count("|") for line in lines}) == 1


# ---- growth.py ---------------------------------------------------------------------------------


def test_exponents_by_hand():
    assert growth.exponent([2, 4, 8], [3 * 2**1.5, 3 * 4**1.5, 3 * 8**1.5]) == pytest.approx(1.5)
    turns = np.asarray([[1.0, 1.0, 9.0], [2.0, 4.0, 9.0], [4.0, 16.0, 9.0]])  # slopes 1, 2, 0
    assert growth.exponent([1, 2, 4], turns) == pytest.approx(1.0)


def test_an_axis_alone_is_resized():
    config = tiny_config(**{"data.num_frames": 4, "train.unroll": 4, "train.truncation": 2})
    assert growth.sizes(config, "frames", -1) == (2, 4, 8)
    assert growth.sizes(config, "slots", -1) == (2, 3, 6)
    assert growth.sizes(config, "pixels", 0) == (2, 4, 8)
    assert growth.sizes(tiny_config(**{"train.batch_size": 1}), "batch", -1) == (1, 2)
    longer = growth.resized(config, "frames", 8)
    assert (longer.data.num_frames, longer.train.unroll, longer.train.batch_size) == (8, 8, 2)
    assert growth.resized(tiny_config(), "frames", 8).train.unroll == 1
    larger = growth.resized(config, "pixels", 16)
    assert larger.data.resolution == 16 and larger.schedule.resolution == (16, 16)
    assert growth.resized(config, "slots", 6).model.num_slots == 6
    assert growth.resized(config, "batch", 4).train.batch_size == 4
    assert config.data.num_frames == 4 and config.data.resolution == 8


def test_frames_are_those_of_training():
    """Which may be more than those of evaluation, and then are what the step costs."""
    config = tiny_config(**{"data.train_frames": 8, "train.unroll": 8, "train.truncation": 2})
    assert growth.sizes(config, "frames", -1) == (4, 8, 16)
    costs = {}
    for size in (4, 16):
        resized = growth.resized(config, "frames", size)
        assert pipeline.train_frames(resized.data) == resized.train.unroll == size
        costs[size] = flops.train_step(resized)["total"]
    assert costs[16] > 3 * costs[4]
    every = variants.variants(tiny_config(**{"data.train_frames": 8}))
    assert every["unroll T"].changes == {"train.unroll": 8}
    one = tiny_config(**{"data.num_frames": 1, "data.train_frames": 8,
                         "train.truncation": 2})  # truncation 2, unroll 1
    assert step.loops(one, "train_step", 1) and not step.loops(one, "inference_step", 1)


def test_growth_measures_what_it_says(program_of_known_cost):
    report = growth.measure(tiny_config(), num_steps=2, devices=jax.devices()[:1],
                            axes=("batch", "pixels"))
    assert json.loads(json.dumps(report)) == report
    assert report["axes"]["batch"]["sizes"] == [1, 2, 4]
    assert report["axes"]["pixels"]["sizes"] == [16, 64, 256]
    for part in report["axes"].values():
        assert len(part["seconds"]) == 3 and part["exponents"]["flops"] == pytest.approx(1.0)
        assert 0.3 < part["exponents"]["memory_bytes"] <= 1  # weights are always there
        assert math.isfinite(part["exponents"]["seconds"])
    lines = growth.as_table(report).splitlines()
    assert lines[2].startswith("| batch | 1, 2, 4 | ") and len(lines) == 4
    assert len({line.count("|") for line in lines}) == 1


# ---- memory.py ---------------------------------------------------------------------------------


def test_memory_hardly_grows_with_the_clip(quick_compilation):
    report = memory.measure(tiny_config(**{"train.truncation": 2}), frames=(2, 8),
                            devices=jax.devices()[:1])
    assert json.loads(json.dumps(report)) == report
    short, long = (report["lengths"][length]["memory_bytes"] for length in ("2", "8"))
    assert report["ratio"] == long["peak"] / short["peak"] < 1.25
    lines = memory.as_table(report, budget=short["peak"]).splitlines()
    assert lines[2].startswith("| T=2 | ") and lines[2].endswith(" | 1.000 | yes |")
    assert lines[3].endswith(" | no |") == (report["ratio"] > 1)
