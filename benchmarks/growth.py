"""How the cost of a train step grows with frames, slots, pixels and batch: fitted exponents.

    python -m benchmarks.growth --config=configs/parts_clevrer.py:demo
    python -m benchmarks.growth --config=configs/parts_clevrer.py:small --compile_only

Along each of the four axes the config's own value is halved and doubled, the others stay. Cost is
FLOPs and peak memory, as the compiler has them, and time; cost = c size^exponent is fitted by least
squares on logarithms, so 1 is a cost in proportion. Prints a table; --out=FILE gets the JSON,
`measure` says what stands in it. Single values of the config are set with
--config.path.to.key=value.
"""

from typing import Any

import ml_collections
import numpy as np
from absl import app, flags

from benchmarks import step
from parts_jax.data import pipeline
from parts_jax.devices import sharding

AXES = ("frames", "slots", "pixels", "batch")
FACTORS = (0.5, 1.0, 2.0)


def sizes(config: ml_collections.ConfigDict, axis: str, stage: int) -> tuple[int, ...]:
    """What is set along an axis: T, K, H = W, or B of all devices together."""
    own = {"frames": pipeline.train_frames(config.data), "slots": config.model.num_slots,
           "pixels": config.schedule.resolution[stage], "batch": config.train.batch_size}[axis]
    return tuple(sorted({max(1, round(own * factor)) for factor in FACTORS}))


def resized(config: ml_collections.ConfigDict, axis: str, size: int) -> ml_collections.ConfigDict:
    """The config with another size along an axis; time stays unrolled if it was."""
    config = config.copy_and_resolve_references().unlock()
    config.schedule.train_frames = config.schedule.batch_size = ()
    if axis == "frames":
        if config.train.unroll >= pipeline.train_frames(config.data):
            config.train.unroll = size
        config.data.num_frames, config.data.train_frames = size, 0
    elif axis == "slots":
        config.model.num_slots = size
    elif axis == "pixels":
        config.data.resolution = size
        config.schedule.resolution = (size,) * len(config.schedule.resolution)
    else:
        config.train.batch_size = size
    return config


def measure(config: ml_collections.ConfigDict, stage: int = -1, num_steps: int = 10,
            compile_only: bool = False, devices: list | None = None,
            axes: tuple[str, ...] = AXES) -> dict[str, Any]:
    """Measures the train step at half, one and two times its own size along each axis.

    Args:
      config: as in configs/.
      stage: of config.schedule, whose resolution is varied; -1: the last.
      num_steps: how many steps of each size are timed, after 3 for warming up.
      compile_only: runs nothing: no times.
      devices: on which; None: all.
      axes: of `AXES`.

    Returns:
      `hardware`, `stage`, and `axes`: by axis `sizes` (frames, slots, pixels H W, clips), `flops`,
      `memory_bytes` (peak of a device), `seconds` (medians), one number a size, and `exponents` of
      the three. Sizes are timed in turn; the exponent of time is the median over the turns.
    """
    mesh = sharding.make_mesh(devices)
    return {"hardware": step.hardware(mesh), "stage": stage,
            "axes": {axis: along(config, axis, stage, num_steps, compile_only, mesh)
                     for axis in axes}}


def along(config, axis: str, stage: int, num_steps: int, compile_only: bool, mesh) -> dict:
    """One axis of the report."""
    costs, runs = {"flops": [], "memory_bytes": []}, {}
    for size in sizes(config, axis, stage):
        here = resized(config, axis, size)
        program, arguments, start = step.train_program(here, stage, mesh)
        described, compiled = step.describe_compiled(program, arguments)
        described |= step.describe_flops(here, "train_step", stage, mesh, compiled)
        costs["flops"].append(described["flops"])
        if "memory_bytes" in described:
            costs["memory_bytes"].append(described["memory_bytes"]["peak"])
        if not compile_only:
            runs[size ** 2 if axis == "pixels" else size] = start(compiled)
    measured = [s ** 2 if axis == "pixels" else s for s in sizes(config, axis, stage)]
    exponents = {name: exponent(measured, values) for name, values in costs.items() if values}
    if runs:
        seconds = np.stack(list(step.time_in_turn(runs, num_steps).values()))
        costs["seconds"] = np.median(seconds, axis=1).tolist()
        exponents["seconds"] = exponent(measured, seconds)
    return {"sizes": measured} | costs | {"exponents": exponents}


def exponent(sizes: list[int], costs: Any) -> float:
    """Least-squares slope of log cost over log size; costs [sizes], or the median of [sizes, n]."""
    costs = np.reshape(np.asarray(costs, np.float64), (len(sizes), -1))
    return float(np.median(np.polyfit(np.log(sizes), np.log(costs), 1)[0]))


def as_table(report: dict[str, Any]) -> str:
    """A row an axis: sizes, and the exponents of FLOPs, peak memory and time."""
    rows = []
    for axis, part in report["axes"].items():
        fitted = [part["exponents"].get(name) for name in ("flops", "memory_bytes", "seconds")]
        rows.append((axis, ", ".join(map(str, part["sizes"])),
                     *("" if value is None else f"{value:.2f}" for value in fitted),
                     ", ".join(f"{1e3 * value:.1f}" for value in part.get("seconds", ()))))
    return step.table(("axis", "sizes", "FLOPs", "peak memory", "time", "ms"), rows)


def main(arguments: list[str]) -> None:
    """Reads the flags, measures, prints and writes."""
    del arguments
    values, config = flags.FLAGS, step.read_config()
    report = {"config": values["config"].config_filename}
    report |= measure(config, values.stage, values.num_steps, values.compile_only,
                      axes=tuple(values.axes))
    print(as_table(report))
    step.write(report, values.out)


if __name__ == "__main__":
    step.define_flags()
    flags.DEFINE_list("axes", list(AXES), "Which axes.")
    flags.register_validator("axes", lambda axes: set(axes) <= set(AXES),
                             f"--axes must be of {', '.join(AXES)}.")
    app.run(main)
