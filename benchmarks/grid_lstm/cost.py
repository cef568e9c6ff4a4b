"""What a train step costs against R and T, beside the cells of the grid: R (R + 1) / 2 + T - R.

FLOPs are XLA's, of the lowered step with its loops written out, as of a loop it counts the body
once; time, memory and compiled size are of the step that trains. Compiled size is the length of the
lowered program as text.
"""

import argparse
from typing import Any

import jax
import ml_collections
import numpy as np

from benchmarks import growth, step
from benchmarks.iodine import drawing
from benchmarks.iodine.ablation import name_of
from benchmarks.iodine.writing import Made, config_of
from parts_jax.devices import sharding
from parts_jax.models.grid_lstm import grid
from parts_jax.runs import config_rules

COLUMNS = {"gflops": "GFLOPs", "milliseconds": "ms a step", "mebibytes": "peak MiB",
           "characters": "program, thousands of characters", "compile_seconds": "s to compile"}


def make(flags: argparse.Namespace) -> Made:
    """Measures each R at the greatest T, and each T at the config's R; of the last stage."""
    config = config_of(flags.config, flags.more)
    if config.model.name != "grid_lstm":
        raise ValueError(f"--config={flags.config} is of the family {config.model.name!r}; the "
                         "cells that are counted here are those of grid_lstm.")
    config_rules.check(config, 1)
    jax.config.update("jax_enable_compilation_cache", False)
    longest, own = max(flags.frames), config.model.num_refinements
    points = sorted({(own, t) for t in flags.frames} | {(r, longest) for r in flags.refinements})
    cells = {point: cells_of(config, *point) for point in points}
    measured = measure(config, points, flags.num_steps, flags.flops)
    numbers = dict(config=flags.config, flags=flags.more, own=own, longest=longest,
                   batch_size=config.train.batch_size, truncation=config.train.truncation,
                   hardware=step.hardware(sharding.make_mesh(jax.local_devices()[:1])),
                   points=[dict(refinements=r, frames=t, cells=cells[r, t], **measured[r, t])
                           for r, t in points])
    return Made(f"cost-{name_of(flags.config)}", numbers, words_of(numbers), picture_of(numbers))


def cells_of(config: ml_collections.ConfigDict, refinements: int, frames: int) -> int:
    """Cells of a clip that is seen whole."""
    least = min(config.model.least_refinements, refinements)
    return len(grid.cells(frames, refinements, least)[0])


def sized(config: ml_collections.ConfigDict, refinements: int,
          frames: int) -> ml_collections.ConfigDict:
    """The config with other R and T, `train.batch_size` clips, and one cell after the other."""
    config = growth.resized(config, "frames", frames)
    config.model.num_refinements = refinements
    config.model.least_refinements = min(config.model.least_refinements, refinements)
    config.train.unroll = 1
    return config


def measure(config: ml_collections.ConfigDict, points: list[tuple[int, int]], num_steps: int,
            with_flops: bool) -> dict[tuple[int, int], dict[str, float]]:
    """`COLUMNS` by (R, T) on one device; times of all points in turn, medians."""
    mesh, result, runs = sharding.make_mesh(jax.local_devices()[:1]), {}, {}
    for point in points:
        here = sized(config, *point)
        program, arguments, start = step.train_program(here, -1, mesh)
        described, compiled = step.describe_compiled(program, arguments)
        found = dict(characters=len(program.lower(*arguments).as_text()) / 1e3,
                     compile_seconds=described["compile_seconds"])
        if "memory_bytes" in described:
            found["mebibytes"] = described["memory_bytes"]["peak"] / 2**20
        if with_flops:
            found["gflops"] = flops_of(here, cells_of(config, *point), mesh) / 1e9
        result[point], runs[f"{point}"] = found, start(compiled)
    seconds = step.time_in_turn(runs, num_steps)
    for point in points:
        result[point]["milliseconds"] = 1e3 * float(np.median(seconds[f"{point}"]))
    return result


def flops_of(config: ml_collections.ConfigDict, cells: int, mesh: jax.sharding.Mesh) -> float:
    """FLOPs of a step that is written out; of parts of cells that are left out none.

    Raises:
      ValueError: the device is no CPU, where alone a lowered program is counted.
    """
    if mesh.devices.flat[0].platform != "cpu":
        raise ValueError("FLOPs are counted on the CPU only: set JAX_PLATFORMS=cpu, or --no-flops.")
    written = config.copy_and_resolve_references().unlock()
    written.train.unroll, written.model.decoder.examples_at_once = cells, 0
    written.train.truncation = written.data.num_frames  # else stretches have cells to leave out
    program, arguments, _ = step.train_program(written, -1, mesh)
    counted = step.xla_flops(program.lower(*arguments), mesh)
    assert counted is not None  # of a CPU
    return counted


def words_of(numbers: dict[str, Any]) -> str:
    """The table: a row a point, and each cost over the cells."""
    there = [name for name in COLUMNS if all(name in point for point in numbers["points"])]
    rows = []
    for point in numbers["points"]:
        per_cell = [f"{point[name] / point['cells']:.3g}" for name in there[:2]]
        rows.append((str(point["refinements"]), str(point["frames"]), str(point["cells"]),
                     *(f"{point[name]:.4g}" for name in there), *per_cell))
    header = ("R", "T", "cells", *(COLUMNS[name] for name in there),
              *(f"{COLUMNS[name]} / cells" for name in there[:2]))
    about = (f"`{numbers['config']}`{' '.join(['', *numbers['flags']])}, one step of "
             f"{numbers['batch_size']} clips, gradients cut every {numbers['truncation']} frames; "
             f"{numbers['hardware']['cpu_model']}, {numbers['hardware']['num_cpus']} cores. Cells "
             "are R (R + 1) / 2 + T - R where a frame has at least one.")
    return f"{about}\n\n{step.table(header, rows)}"


def picture_of(numbers: dict[str, Any]) -> np.ndarray:
    """Time and memory by the number of cells, along T and along R."""
    lines = {f"R = {numbers['own']}": [p for p in numbers["points"]
                                       if p["refinements"] == numbers["own"]],
             f"T = {numbers['longest']}": [p for p in numbers["points"]
                                           if p["frames"] == numbers["longest"]]}
    charts = []
    for name in ("milliseconds", "mebibytes", "characters"):
        if all(name in point for point in numbers["points"]):
            charts.append(drawing.curves(f"{COLUMNS[name]} by cells", {
                words: drawing.Curve([p["cells"] for p in points], np.asarray(
                    [p[name] for p in points])) for words, points in lines.items()}))
    return drawing.beside(charts)
