"""An all-reduce by closed forms, the limits of efficiency, and the compiled step's own bytes."""

import dataclasses
import math
import pathlib

import jax
import jax.numpy as jnp
import pytest

from benchmarks import machines, scaling, step
from configs import parts_clevrer
from parts_jax import models
from parts_jax.devices import sharding

ROOT = pathlib.Path(__file__).parents[2]
CONFIGS = ROOT / "configs"
COUNTS = {"flops": 1e12, "moved_bytes": 1e9, "all_reduce_bytes": 4e6, "frames": 10,
          "state_bytes": 1e6, "memory_bytes": 1e6}


def ring(size: int, bandwidth: float = 1e9, latency: float = 0.0) -> machines.Ring:
    return machines.Ring(size, bandwidth, latency)


def machine(*rings: machines.Ring, **changes) -> machines.Machine:
    """1e13 FLOPs and 1e11 bytes a second, 1 GB; each ring as given."""
    made = machines.Machine("test", {"float32": 1e13, "bfloat16": 2e13}, 1e9, 1e11, rings)
    return dataclasses.replace(made, **changes)


# ---- All-reduce -------------------------------------------------------------------------------


def test_one_device_has_nothing_to_send():
    assert machines.all_reduce_seconds(1e9, (ring(1), ring(1, latency=1.0)), start=1.0) == 0
    assert machines.all_reduce_seconds(1e9, ()) == 0


def test_two_devices_send_their_bytes_once_in_two_steps():
    seconds = machines.all_reduce_seconds(1e9, (ring(2, latency=0.25),), start=0.5)
    assert seconds == pytest.approx(1.0 + 2 * 0.25 + 0.5)


@pytest.mark.parametrize("size", [3, 16, 256])
def test_a_ring_is_by_the_formula(size):
    seconds = machines.all_reduce_seconds(3e9, (ring(size, 2e9, 1e-3),))
    assert seconds == pytest.approx(2 * (size - 1) / size * 3e9 / 2e9 + 2 * (size - 1) * 1e-3)


def test_rings_of_one_bandwidth_send_as_much_as_one_ring_of_all():
    """And wait for fewer steps; a ring of one between them changes nothing."""
    two = machines.all_reduce_seconds(1e9, (ring(16), ring(1), ring(8)))
    assert two == pytest.approx(machines.all_reduce_seconds(1e9, (ring(128),)))
    waits = machines.all_reduce_seconds(0, (ring(16, latency=1.0), ring(8, latency=1.0)))
    assert waits == 2 * 15 + 2 * 7


def test_nodes_send_an_eighth_by_each_port():
    seconds = machines.all_reduce_seconds(8e9, (ring(8, math.inf), ring(2, 1e9)))
    assert seconds == pytest.approx(1.0)


def test_machines_are_those_of_the_data_sheets():
    pod, cluster = machines.v5e(16, 16), machines.h100(8)
    assert (pod.size, cluster.size) == (256, 64)
    # 2 (n - 1) / n S / bandwidth, without latencies
    waits = 60 * 2.7e-6
    assert machines.all_reduce_seconds(9e9, pod.rings) - waits == pytest.approx(0.2 * 255 / 256)
    slow = machines.h100(8, 12.5e9)  # a port of 100 Gb/s a node: 2 7/8 S / 12.5 GB/s, and NVLink
    assert slow.name == "64 x H100, 100 Gb/s"
    assert machines.all_reduce_seconds(12.5e9, slow.rings) == pytest.approx(1.75, rel=0.03)
    assert machines.v5e(4, 8).rings[0].bandwidth == pod.rings[0].bandwidth / 2  # not closed


def test_the_page_has_the_machines_as_they_are():
    assert scaling.machines_table() in (ROOT / "docs" / "scaling.md").read_text(encoding="utf-8")


# ---- What is expected of a step ---------------------------------------------------------------


def test_a_step_is_the_slower_of_units_and_memory_and_then_the_all_reduce():
    """10 TFLOP/s at half: 0.2 s a clip; 1 GB at 100 GB/s: 0.01 s; 4 MB twice halved: 0.004 s."""
    report = scaling.expect(COUNTS, machine(ring(2)), 3, share=0.5, input_rate=1e6)
    assert report["batch"] == 6
    assert report["seconds"] == pytest.approx(
        {"matrix units": 0.6, "memory": 0.03, "all-reduce": 0.004, "input": 6e-5})
    assert report["step_seconds"] == pytest.approx(0.604) and report["binds"] == "matrix units"
    assert report["efficiency"] == report["all_reduce_efficiency"] == pytest.approx(0.6 / 0.604)
    assert report["clips_per_second"] == pytest.approx(6 / 0.604)
    assert report["slack"] == pytest.approx(0.6 / 9 / 0.004)

    moves = scaling.expect(COUNTS | {"moved_bytes": 1e11}, machine(ring(2)), 3, share=0.5)
    assert moves["binds"] == "memory" and moves["compute_seconds"] == pytest.approx(3.0)
    assert moves["seconds"]["matrix units"] == pytest.approx(0.6)
    bfloat16 = scaling.expect(COUNTS, machine(ring(2)), 3, share=0.5, dtype="bfloat16")
    assert bfloat16["compute_seconds"] == pytest.approx(0.3)


def test_a_measured_rate_takes_the_place_of_the_shares():
    report = scaling.expect(COUNTS, machine(ring(2)), 3, clips_per_second=6, input_rate=1e6)
    assert report["seconds"].keys() == {"measured", "all-reduce", "input"}
    assert report["compute_seconds"] == 0.5 and report["step_seconds"] == pytest.approx(0.504)


def test_input_is_waited_for_only_where_it_is_slower():
    """8 devices of a host share one reader: 8 clips of 10 frames at 40 a second are 2 s."""
    slow = scaling.expect(COUNTS, machine(ring(8), ring(2)), 1, share=1.0, input_rate=40)
    assert slow["binds"] == "input"
    assert slow["step_seconds"] == slow["seconds"]["input"] == pytest.approx(2.0)
    assert slow["efficiency"] == pytest.approx(0.25 / 2)  # one device alone waits 10 / 40 s
    assert slow["all_reduce_efficiency"] > 0.9
    few = scaling.expect(COUNTS, machine(ring(2)), 1, share=1.0, input_rate=40)
    assert few["seconds"]["input"] == pytest.approx(0.5)  # a host with two devices


def test_the_limits_of_efficiency():
    one = scaling.expect(COUNTS, machine(ring(1)), 1, input_rate=1e9)
    assert one["efficiency"] == 1 and one["slack"] == math.inf
    shares = [scaling.expect(COUNTS, machine(ring(4)), 1, share=share, input_rate=1e9)
              for share in (1e-6, 0.1, 0.5)]
    values = [report["efficiency"] for report in shares]
    assert values == sorted(values, reverse=True) and values[0] == pytest.approx(1, abs=1e-4)
    slower = scaling.expect(COUNTS, machine(ring(4, 1e9 / shares[1]["slack"])), 1, share=0.1,
                            input_rate=1e9)
    assert slower["efficiency"] == pytest.approx(0.9)
    nothing = scaling.expect(COUNTS, machine(ring(4, 1.0)), 1, input_rate=1e9)
    assert nothing["efficiency"] < 1e-6 and nothing["binds"] == "all-reduce"


def test_what_does_not_fit_is_said():
    fits = [scaling.expect(COUNTS, machine(ring(2)), clips)["fits"] for clips in (999, 1000)]
    assert fits == [True, False]
    row = [[scaling.expect(COUNTS, machine(ring(2)), 1000, share=share) for share in (0.1, 0.5)]]
    lines = scaling.expected_table(row, (0.1, 0.5), 2_000_000).splitlines()
    assert "ms at .1 | ms at .5" in lines[0] and "hours, 2M clips" in lines[0]
    assert lines[2].startswith("| test | 1000 (too many) | 2000 | 1,000,004 | 200,004 | ")


@pytest.mark.parametrize("value, text", [
    (1234.5, "1,234"), (123.4, "123"), (12.34, "12.3"), (0.01234, "0.0123"), (1, "1.00"), (0, "0")])
def test_numbers_are_brief(value, text):
    assert scaling.brief(value) == text


# ---- What the compiled step sends -------------------------------------------------------------


def test_bytes_are_read_from_a_program():
    program = """
      %all-reduce = (f32[3,5]{1,0}, f32[], /*index=2*/bf16[7]{0}) all-reduce(%a, %b, %c), to=%add
      %all-reduce.1 = s32[2]{0} all-reduce-start(%d), to_apply=%add
      %done = s32[2]{0} all-reduce-done(%all-reduce.1)
      %get-tuple-element = f32[3,5]{1,0} get-tuple-element(%all-reduce), index=0
    """
    assert scaling.all_reduced(program) == (2, 4 * 16 + 2 * 7 + 4 * 2)
    assert scaling.all_reduced("%add = f32[] add(%a, %b)") == (0, 0)


@pytest.fixture(scope="module")
def config(tiny):
    config = parts_clevrer.get_config("demo")
    config.update_from_flattened_dict(tiny)
    return config


def test_a_step_sends_its_gradients_and_scalars_once(config):
    """The train step as it is, its loops over time and all: 4 bytes a parameter and a scalar."""
    program, arguments, _ = step.train_program(config, -1, sharding.make_mesh())
    params = jax.eval_shape(models.create(config).init, jax.random.key(0))
    _, metrics = jax.eval_shape(program, *arguments)
    # The loss is one of the metrics; the others of these are known to each device after the mean.
    own = {"gradient_norm", "skipped_steps", "skipped_in_a_row"}
    scalars = len(metrics.keys() - own)
    assert own < metrics.keys() and "loss" in metrics
    count, num_bytes = scaling.all_reduced(program.lower(*arguments).compile().as_text())
    parameters = sum(p.size for p in jax.tree.leaves(params))
    assert (count, num_bytes) == (1, 4 * (parameters + scalars))


def test_a_second_all_reduce_would_be_counted():
    """One that needs what the first gives cannot be joined with it."""
    def twice(x):
        return jax.lax.psum(jnp.sin(jax.lax.psum(x, sharding.AXIS)) * x, sharding.AXIS)

    for send, expected in ((sharding.mean_over_devices, 1), (twice, 2)):
        program = sharding.data_parallel(send, sharding.make_mesh(), (True,), False)
        compiled = program.lower(jax.ShapeDtypeStruct((64,), jnp.float32)).compile()
        share = 4 * 64 // jax.device_count()
        assert scaling.all_reduced(compiled.as_text()) == (expected, expected * share)


def test_counts_of_a_config(config):
    counts = scaling.measure(config)
    assert counts["all_reduces"] == 1
    assert counts["all_reduce_bytes"] == 4 * (counts["parameters"] + counts["scalars"])
    assert 10 < counts["scalars"] < 30
    assert counts["video_bytes"] == 4 * 16 * 16 * 3 and counts["clips"] == 4 * 20
    assert counts["flops"] > 0 and counts["moved_bytes"] > 0 and counts["flops_per_byte"] > 0
    assert counts["state_bytes"] > 2 * 4 * counts["parameters"]  # Adam: two more a parameter
    assert "| name | " in scaling.counts_table({"name": counts})
    assert scaling.machines_table().count("\n") == 8


def test_a_config_is_loaded_by_file_and_variant():
    small = scaling.load_config(f"{CONFIGS}/parts_clevrer.py:small")
    assert small.data.name == "sim_clevrer/small"
    assert scaling.load_config(f"{CONFIGS}/parts_clevrer.py").train.batch_size == 32
