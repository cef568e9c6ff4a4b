"""A train step of any family beside the same with the gradients of convolutions that JAX derives.

    python -m benchmarks.convolutions --config=configs/iodine_sprites.py:demo
    python -m benchmarks.convolutions --config=configs/grid_lstm_balls.py:demo --stage=0

Both are timed in turn, on random video; why they differ says parts_jax/networks/convolution.py.
Prints a table; --out=FILE gets the JSON. Single values of the config are set with
--config.path.to.key=value.
"""

import contextlib
from typing import Any
from unittest import mock

import jax
import ml_collections
import numpy as np
from absl import app, flags

from benchmarks import step
from parts_jax.devices import sharding
from parts_jax.networks import convolution

OURS, DERIVED = "ours", "derived by JAX"


def convolve_as_jax_derives(inputs, kernel, strides, pads):
    """`convolution.canonical` without gradients of its own."""
    return jax.lax.conv_general_dilated(inputs, kernel, strides, pads,
                                        dimension_numbers=convolution.CHANNELS_LAST)


def measure(config: ml_collections.ConfigDict, stage: int = -1, num_steps: int = 20,
            compile_only: bool = False, devices: list | None = None) -> dict[str, Any]:
    """Measures both.

    Args:
      config: as in configs/.
      stage: of config.schedule; -1: the last.
      num_steps: how many steps of each are timed, after 3 for warming up.
      compile_only: runs nothing: no times.
      devices: on which; None: all.

    Returns:
      `hardware`, `stage`, and `steps`, by name: what `step.measure` has of a train step
      (compilation, memory, times), and `ratio` of its time to ours, the median over turns.
    """
    mesh, report, runs = sharding.make_mesh(devices), {}, {}
    for name in (OURS, DERIVED):
        other = mock.patch.object(convolution, "canonical", convolve_as_jax_derives)
        with other if name == DERIVED else contextlib.nullcontext():
            program, arguments, start = step.train_program(config, stage, mesh)
            report[name], compiled = step.describe_compiled(program, arguments)
        if not compile_only:
            runs[name] = start(compiled)
    seconds = step.time_in_turn(runs, num_steps)
    for name, values in seconds.items():
        report[name]["step_seconds"] = step.summarise(values)
        report[name]["ratio"] = float(np.median(values / seconds[OURS]))
    return {"hardware": step.hardware(mesh), "stage": stage, "steps": report}


def as_table(report: dict[str, Any]) -> str:
    """A row each: times, memory, compilation."""
    rows = []
    for name, part in report["steps"].items():
        times, memory = part.get("step_seconds"), part.get("memory_bytes", {}).get("peak")
        rows.append((name, f"{1e3 * times['median']:.1f}" if times else "",
                     f"{part['ratio']:.2f}" if times else "",
                     f"{memory / 2**20:.0f}" if memory else "", f"{part['compile_seconds']:.0f}"))
    return step.table(("gradients of convolutions", "ms", "ratio", "peak MiB", "compile s"), rows)


def main(arguments: list[str]) -> None:
    """Reads the flags, measures, prints and writes."""
    del arguments
    values, config = flags.FLAGS, step.read_config()
    report = {"config": values["config"].config_filename}
    report |= measure(config, values.stage, values.num_steps, values.compile_only)
    print(as_table(report))
    step.write(report, values.out)


if __name__ == "__main__":
    step.define_flags()
    app.run(main)
