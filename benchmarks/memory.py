"""Peak memory of a train step, by the compiler's own figure, for clips short and long.

    python -m benchmarks.memory --config=configs/parts_clevrer.py:demo
    python -m benchmarks.memory --config=configs/parts_clevrer.py:paper --budget_gb=80

Gradients are cut every few frames and taken chunk after chunk, so memory should not grow with the
length of the clip. Compiles, and runs nothing. Prints a table; --out=FILE gets the JSON, `measure`
says what stands in it. Single values of the config are set with --config.path.to.key=value.
"""

from collections.abc import Sequence
from typing import Any

import ml_collections
from absl import app, flags

from benchmarks import growth, step
from parts_jax.devices import sharding


def measure(config: ml_collections.ConfigDict, stage: int = -1,
            frames: Sequence[int] = (4, 25), devices: list | None = None) -> dict[str, Any]:
    """Compiles the train step for clips of each length.

    Args:
      config: as in configs/; all but the length stays.
      stage: of config.schedule; -1: the last.
      frames: lengths T.
      devices: on which; None: all.

    Returns:
      `hardware`, `stage`, `resolution`, `batch_size`, `truncation`; `lengths`: by T, `memory_bytes`
      of one device (arguments, outputs, temporaries, aliased, peak) and `compile_seconds`; and
      `ratio` of the peaks, last length over first.

    Raises:
      RuntimeError: the backend does not tell the memory of a program.
    """
    mesh, lengths = sharding.make_mesh(devices), {}
    for length in frames:
        here = growth.resized(config, "frames", length)
        program, arguments, _ = step.train_program(here, stage, mesh)
        described, _ = step.describe_compiled(program, arguments)
        if "memory_bytes" not in described:
            raise RuntimeError(
                f"The backend {mesh.devices.flat[0].platform!r} does not tell the memory of a "
                "compiled program.")
        lengths[str(length)] = {key: described[key] for key in ("memory_bytes", "compile_seconds")}
    peaks = [part["memory_bytes"]["peak"] for part in lengths.values()]
    return {"hardware": step.hardware(mesh), "stage": stage,
            "resolution": config.schedule.resolution[stage],
            "batch_size": config.train.batch_size, "truncation": config.train.truncation,
            "lengths": lengths, "ratio": peaks[-1] / peaks[0]}


def as_table(report: dict[str, Any], budget: float) -> str:
    """A row a length: its memory, its ratio to the first, and whether it fits `budget` bytes."""
    rows, first = [], None
    for length, part in report["lengths"].items():
        memory = part["memory_bytes"]
        first = first or memory["peak"]
        rows.append((f"T={length}", *(f"{memory[name] / 2**20:.1f}" for name in
                                      ("arguments", "temporaries", "peak")),
                     f"{memory['peak'] / first:.3f}",
                     "yes" if memory["peak"] <= budget else "no"))
    return step.table(("clip", "arguments MiB", "temporaries MiB", "peak MiB", "ratio",
                       f"within {budget / 1e9:g} GB"), rows)


def main(arguments: list[str]) -> None:
    """Reads the flags, measures, prints and writes."""
    del arguments
    values, config = flags.FLAGS, step.read_config()
    report = {"config": values["config"].config_filename}
    report |= measure(config, values.stage, [int(length) for length in values.frames])
    print(as_table(report, values.budget_gb * 1e9))
    step.write(report, values.out)


if __name__ == "__main__":
    step.define_flags()
    flags.DEFINE_list("frames", ["4", "25"], "Lengths of the clips.")
    flags.register_validator(
        "frames", lambda frames: frames and all(f.isdigit() and int(f) > 1 for f in frames),
        "--frames must be whole numbers, 2 or more each.")
    flags.DEFINE_float("budget_gb", 80.0, "Memory of a device, in 10^9 bytes.", lower_bound=0.0)
    app.run(main)
