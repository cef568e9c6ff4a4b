"""Figure 5, the chart to the left: time and memory of a step against how many parts it can tell.

Capacity is the paper's: cells and components of the background, or slots. Every step is that of
training with the config's batch, on random pictures, compiled by itself; memory is the compiler's.
"""

import argparse
import gc
from typing import Any, NamedTuple

import jax
import ml_collections

from benchmarks import step
from benchmarks.iodine.writing import config_of
from benchmarks.space.runs import CELLS, model_name
from benchmarks.space.writing import Made
from parts_jax.devices import sharding
from parts_jax.report import charts
from parts_jax.runs import config_rules


class Point(NamedTuple):
    """A step to be measured.

    Attributes:
      model: its line in the chart.
      capacity: cells and components, or slots.
      cells, components: of SPACE; of another, 0 and its slots.
      config: that it is the step of.
    """

    model: str
    capacity: int
    cells: int
    components: int
    config: ml_collections.ConfigDict


def make(flags: argparse.Namespace) -> Made:
    """Measures every point, one after the other.

    Raises:
      ValueError: a config cannot be read, or is not allowed, as with a number of cells that its
        picture does not have.
    """
    config = config_of(flags.config, flags.more)
    if config.model.name != "space":
        raise ValueError(f"--config={flags.config} is of the family {config.model.name!r}, but "
                         "must be of space.")
    points = points_of(config, flags.cells, flags.components, flags.slots,
                       [config_of(name, []) for name in flags.beside])
    for point in points:
        config_rules.check(point.config, 1)
    jax.config.update("jax_enable_compilation_cache", False)
    mesh = sharding.make_mesh(jax.local_devices()[:1])
    rows = [row_of(point, flags.num_steps, mesh) for point in points]
    numbers = dict(config=flags.config, flags=flags.more, batch_size=config.train.batch_size,
                   resolution=config.schedule.resolution[-1], num_steps=flags.num_steps,
                   hardware=step.hardware(mesh), rows=rows)
    return Made(f"steptime-{flags.config.rpartition('/')[2].replace('.py', '').replace(':', '_')}",
                numbers, words_of(numbers), charts_of(rows))


def points_of(config: ml_collections.ConfigDict, cells: list[int], components: list[int],
              slots: list[int], others: list[ml_collections.ConfigDict]) -> list[Point]:
    """All steps: SPACE and SPAIR's cells by cells, SPACE by components, others by their slots.

    Args:
      config: of SPACE.
      cells: numbers of cells, squares, with the config's own components.
      components: numbers of components, with the config's own cells.
      slots: of the background alone, and of `others`.
      others: configs of other families; what they see becomes what SPACE sees.
    """
    own = config.model.background.num_components
    found = [space_point(config, kind, count, own if kind == "parallel" else 1)
             for kind in ("parallel", "sequential") for count in cells]
    grid = config.model.foreground.grid**2
    found += [space_point(config, "parallel", grid, count) for count in components
              if not (count == own and grid in cells)]
    found += [space_point(config, "none", 0, count) for count in slots]
    return found + [other_point(other, config, count) for other in others for count in slots]


def space_point(config: ml_collections.ConfigDict, kind: str, cells: int,
                components: int) -> Point:
    """A step of SPACE with so many cells and components."""
    config = config.copy_and_resolve_references()
    model = config.model
    model.foreground.cells = kind
    if cells:
        model.foreground.grid = round(cells**0.5)
        if model.foreground.grid**2 != cells:
            raise ValueError(f"--cells has {cells}, but a grid has a square number of cells.")
    model.background.num_components = components
    if kind == "sequential":
        model.background.decoder = "strong"
    return Point(CELLS[kind], cells + components, cells, components, config)


def other_point(other: ml_collections.ConfigDict, like: ml_collections.ConfigDict,
                slots: int) -> Point:
    """A step of another family on the same pictures and batch, with so many slots."""
    other = other.copy_and_resolve_references()
    size, stages = like.schedule.resolution[-1], len(other.schedule.steps)
    other.data.resolution, other.schedule.resolution = size, (size,) * stages
    other.data.num_frames, other.data.train_frames = 1, 0
    other.train.batch_size = other.eval.batch_size = like.train.batch_size
    other.model.num_slots = slots
    return Point(model_name(other), slots, 0, slots, other)


def row_of(point: Point, num_steps: int, mesh: jax.sharding.Mesh) -> dict[str, Any]:
    """Compiles and times a step, and lets go of it."""
    program, arguments, start = step.train_program(point.config, -1, mesh)
    described, compiled = step.describe_compiled(program, arguments)
    seconds = step.time_in_turn({"step": start(compiled)}, num_steps)["step"]
    memory = described.get("memory_bytes", {}).get("peak")
    del program, compiled, start
    jax.clear_caches()
    gc.collect()
    return {"model": point.model, "capacity": point.capacity, "cells": point.cells,
            "components": point.components, "seconds": step.summarise(seconds),
            "peak_bytes": memory, "compile_seconds": described["compile_seconds"]}


def words_of(numbers: dict[str, Any]) -> str:
    """The table, and how time grows from the fewest cells to the most."""
    rows = [(row["model"], str(row["cells"] or ""), str(row["components"]), str(row["capacity"]),
             f"{row['seconds']['median']:.3f}", f"{row['seconds']['min']:.3f}",
             "" if row["peak_bytes"] is None else f"{row['peak_bytes'] / 2**20:,.0f}",
             f"{row['compile_seconds']:.0f}") for row in numbers["rows"]]
    hardware = numbers["hardware"]
    about = (f"{numbers['config']} {' '.join(numbers['flags'])}".strip()
             + f": batch {numbers['batch_size']}, {numbers['resolution']}x{numbers['resolution']}, "
             f"median and least of {numbers['num_steps']} steps on one {hardware['device_kind']} "
             f"({hardware['cpu_model']}, {hardware['num_cpus']} CPUs), jax {hardware['jax']}.")
    header = ("model", "cells", "components, or slots", "capacity", "s a step", "least", "peak MiB",
              "s to compile")
    return "\n\n".join([about, step.table(header, rows), *growth_of(numbers["rows"])])


def growth_of(rows: list[dict[str, Any]]) -> list[str]:
    """Of models with cells: how many times as long the step takes with the most of them."""
    said = []
    for name in dict.fromkeys(row["model"] for row in rows if row["cells"]):
        own = [row for row in rows if row["model"] == name]
        same = [row for row in own if row["components"] == own[0]["components"]]
        least, most = (pick(same, key=lambda row: row["cells"]) for pick in (min, max))
        if least["cells"] < most["cells"]:
            time = most["seconds"]["median"] / least["seconds"]["median"]
            said.append(f"{name}: {most['cells'] / least['cells']:g} times as many cells take "
                        f"{time:.2f} times as long.")
    return said


def charts_of(rows: list[dict[str, Any]]) -> dict[str, str]:
    """Seconds and memory against capacity."""
    def lines(value) -> dict[str, charts.Line]:
        found = {}
        for name in dict.fromkeys(row["model"] for row in rows):
            own = sorted((row["capacity"], value(row)) for row in rows
                         if row["model"] == name and value(row) is not None)
            if own:
                found[name] = charts.Line(*zip(*own, strict=True))
        return found

    drawn = {"seconds": ("Seconds a step", lines(lambda row: row["seconds"]["median"])),
             "memory": ("Peak MiB", lines(lambda row: row["peak_bytes"] and
                                          row["peak_bytes"] / 2**20))}
    return {name: charts.line_chart(title, of, "cells and components, or slots")
            for name, (title, of) in drawn.items()}
