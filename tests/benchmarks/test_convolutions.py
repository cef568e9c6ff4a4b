"""benchmarks/convolutions.py: which program is which, and ratios by hand."""

import json

import jax
import numpy as np
import pytest

from benchmarks import convolutions, step
from configs import iodine_sprites
from parts_jax.networks import convolution


@pytest.fixture
def programs(monkeypatch):
    """In place of train steps, a product; and what computed convolutions when each was made."""
    made = []

    def train_program(config, stage, mesh):
        del config, stage, mesh
        made.append(convolution.canonical)
        program = jax.jit(lambda weights, batch: batch["video"] @ weights)
        arguments = (np.ones((3, 8), np.float32), {"video": np.ones((2, 1, 4, 4, 3), np.float32)})
        return program, arguments, lambda compiled: lambda: compiled(*arguments)

    monkeypatch.setattr(step, "train_program", train_program)
    return made


def test_both_are_measured_in_turn(programs, monkeypatch):
    seconds = np.array([[1, 2, 4], [3, 4, 4]])
    monkeypatch.setattr(step, "time_in_turn",
                        lambda runs, num_steps: dict(zip(runs, seconds, strict=True)))
    ours = convolution.canonical
    report = convolutions.measure(iodine_sprites.get_config("demo"), num_steps=3,
                                  devices=jax.devices()[:1])
    assert programs == [ours, convolutions.convolve_as_jax_derives]
    assert convolution.canonical is ours
    assert json.loads(json.dumps(report)) == report
    assert [report["steps"][name]["ratio"] for name in ("ours", "derived by JAX")] == [1, 2]
    lines = convolutions.as_table(report).splitlines()
    assert lines[3].startswith("| derived by JAX | 4000.0 | 2.00 | ")
    assert len({line.count("|") for line in lines}) == 1
