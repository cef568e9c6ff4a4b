"""What a train step costs that explains a subset of the pixels, beside one that explains all.

    python -m benchmarks.pixels --config=configs/parts_clevrer.py:laptop --pixels=1,2,4,8
    python -m benchmarks.pixels --config=configs/parts_clevrer.py:hd --pixels=1,4,8 --num_steps=3

The steps of the config's last stage with one pixel out of each p x p block, and the encoder's
frames pooled by p as well, are timed in turn in one process: their ratios hold whatever else the
machine does. Prints a table: median seconds, and their ratio to the first; --out writes JSON.
"""

from typing import Any

import numpy as np
from absl import app, flags

from benchmarks import flops, step
from parts_jax.devices import sharding
from parts_jax.runs import config_rules


def measure(config, sizes: list[int], num_steps: int) -> dict[str, Any]:
    """Times train steps with subsets of several sizes, one step of each in turn.

    Args:
      config: as in configs/; its last stage is timed.
      sizes: edges p of the blocks; the first is what the others are compared with.
      num_steps: of each, after some to warm up.

    Returns:
      `hardware`, `resolution`, and by p: `step_seconds` and `ratio`, the median, over steps, of its
      time to that of the first; with `least_flops_ratio`, the same of the least FLOPs.
    """
    mesh, runs, least = sharding.make_mesh(), {}, {}
    for size in sizes:
        of_size = config.copy_and_resolve_references()
        stages = len(config.schedule.steps)
        of_size.train.pixels = of_size.train.encoder_pooling = (size,) * stages
        config_rules.check(of_size, mesh.size)
        program, arguments, start = step.train_program(of_size, -1, mesh)
        runs[size] = start(program.lower(*arguments).compile())
        least[size] = flops.train_step(of_size)["total"]
    seconds = step.time_in_turn(runs, num_steps)
    first = seconds[sizes[0]]
    return {"hardware": step.hardware(mesh), "resolution": config.schedule.resolution[-1],
            "pixels": {size: {"step_seconds": step.summarise(seconds[size]),
                              "ratio": float(np.median(seconds[size] / first)),
                              "least_flops_ratio": least[size] / least[sizes[0]]}
                       for size in sizes}}


def table(report: dict[str, Any]) -> str:
    """The report as markdown."""
    rows = [(str(size), f"{(report['resolution'] // size)**2:,}",
             f"{of_size['step_seconds']['median']:.3f}", f"{of_size['ratio']:.3f}",
             f"{of_size['least_flops_ratio']:.3f}") for size, of_size in report["pixels"].items()]
    return step.table(
        ("p", "pixels explained", "step, seconds", "to the first", "by the least FLOPs"), rows)


def main(arguments: list[str]) -> None:
    """Reads the flags, measures, prints and writes."""
    del arguments
    report = measure(step.read_config(), [int(size) for size in flags.FLAGS.pixels],
                     flags.FLAGS.num_steps)
    print(table(report))
    step.write(report, flags.FLAGS.out)


if __name__ == "__main__":
    step.define_flags()
    flags.DEFINE_list("pixels", "1,2,4,8", "Edges of the blocks; the first is the measure.")
    app.run(main)
