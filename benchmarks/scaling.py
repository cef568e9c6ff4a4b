"""What many devices would give, on paper: all-reduce, memory and input against compute, per step.

    python -m benchmarks.scaling
    python -m benchmarks.scaling --dtype=bfloat16 --configs=configs/parts_clevrer.py:paper
    python -m benchmarks.scaling --configs=configs/parts_clevrer.py:paper --clips_per_second=5

Prints the tables of docs/scaling.md; --out=FILE gets the JSON, `measure` and `expect` say what
stands in it. Nothing is run: the train step is compiled for four pretended CPU devices, to read
from the program what it all-reduces and moves; devices are those of benchmarks/machines.py, by
their data sheets. With --clips_per_second, as benchmarks.step has it on one device
(frames_per_second over num_frames), that rate takes the place of the shares of the peak.
"""

import functools
import importlib.util
import math
import pathlib
import re
from collections.abc import Sequence
from typing import Any

import jax
import ml_collections
from absl import app, flags

from benchmarks import flops, growth, machines, step
from parts_jax.data import pipeline
from parts_jax.devices import sharding

# Frames a second that one process reads and decodes, of 64x64, whatever its number of threads:
# benchmarks.input on two cores of an AMD EPYC, see docs/scaling.md.
INPUT_RATE = 7300.0
# Machines, and clips a device. Batches of 32 are the paper's; the others are larger. The last has
# one port of 100 Gb/s a node.
LAYOUTS = ((machines.v5e(2, 4), 4), (machines.v5e(4, 8), 1), (machines.v5e(16, 16), 1),
           (machines.v5e(16, 16), 8), (machines.h100(1), 4), (machines.h100(4), 1),
           (machines.h100(8), 1), (machines.h100(8), 8), (machines.h100(8, 12.5e9), 1))
BYTES = {"pred": 1, "s8": 1, "u8": 1, "bf16": 2, "f16": 2, "f32": 4, "s32": 4, "u32": 4, "f64": 8,
         "s64": 8, "u64": 8}


# ---- What a step is: counted ------------------------------------------------------------------


def measure(config: ml_collections.ConfigDict, devices: list | None = None) -> dict[str, Any]:
    """Counts what one step computes, moves and sends, at the last stage, by clip or by step.

    The program is that of one clip a device in float32, of as many frames as backpropagation
    goes through, written out: XLA counts bodies of loops once. Bytes moved are scaled to T frames.

    Args:
      config: as in configs/.
      devices: two or more, for which it is compiled; None: all.

    Returns:
      - parameters: how many; scalars: the loss and the metrics that are averaged with it;
      - all_reduces: how many in the compiled program; all_reduce_bytes: of all of them;
      - flops: the least of a train step, a clip; inference_flops: of inference;
      - moved_bytes: of a clip, between memory and units, by XLA for the CPU; flops_per_byte: of
        XLA's own FLOPs;
      - state_bytes: parameters and optimizer; memory_bytes: temporaries of a clip;
      - video_bytes: of a clip as it comes from the host; frames: T;
      - clips: those of the last stage of the schedule.
    """
    mesh, size = sharding.make_mesh(devices), config.data.resolution
    frames = pipeline.train_frames(config.data)
    counted = min(frames, config.train.truncation)
    short = step.without_loops(growth.resized(config, "frames", counted))
    with short.unlocked():
        short.train.batch_size, short.model.dtype = mesh.size, "float32"
    program, arguments, _ = step.train_program(short, -1, mesh)
    described, compiled = step.describe_compiled(program, arguments)
    count, num_bytes = all_reduced(compiled.as_text())
    parameters = sum(p.size for p in jax.tree.leaves(arguments[0].params))
    cost, memory = compiled.cost_analysis(), described["memory_bytes"]
    return {"parameters": parameters, "scalars": num_bytes // 4 - parameters,
            "all_reduces": count, "all_reduce_bytes": num_bytes,
            "flops": flops.train_step(config)["total"] / config.train.batch_size,
            "inference_flops": flops.inference_step(config)["total"] / config.eval.batch_size,
            "moved_bytes": cost["bytes accessed"] * frames / counted,
            "flops_per_byte": cost["flops"] / cost["bytes accessed"],
            "state_bytes": sum(a.size * a.dtype.itemsize for a in jax.tree.leaves(arguments[0])),
            "memory_bytes": memory["temporaries"],
            "video_bytes": frames * size**2 * flops.COLOUR_CHANNELS, "frames": frames,
            "clips": config.train.batch_size * config.schedule.steps[-1]}


def all_reduced(program: str) -> tuple[int, int]:
    """All-reduces in the text of a compiled program: how many, and the bytes of their results."""
    program = re.sub(r"/\*.*?\*/", "", program)
    results = re.findall(r"= (\([^=]*?\)|\S+) all-reduce(?:-start)?\(", program)
    arrays = [array for result in results for array in re.findall(r"(\w+)\[([\d,]*)\]", result)]
    return len(results), sum(
        BYTES[kind] * math.prod(int(n) for n in sizes.split(",") if n) for kind, sizes in arrays)


# ---- What it would take: calculated -----------------------------------------------------------


def compute_seconds(counts: dict[str, Any], machine: machines.Machine, dtype: str, clips: int,
                    share: float) -> dict[str, float]:
    """What one device takes for its clips, were it bound by one thing alone.

    Args:
      counts: of `measure`.
      machine: its peak and memory bandwidth are taken.
      dtype: config.model.dtype.
      clips: on each device.
      share: of the peak, at which the least FLOPs are done.

    Returns:
      Seconds by "matrix units" and by "memory".
    """
    return {"matrix units": clips * counts["flops"] / (machine.peak[dtype] * share),
            "memory": clips * counts["moved_bytes"] / machine.memory_bandwidth}


def efficiency(alone: float, together: float) -> float:
    """Seconds of a device by itself over its seconds among others, for the same clips a device."""
    return alone / together


def slack(compute: float, all_reduce: float, least: float = 0.9) -> float:
    """How many times slower the all-reduce may be until compute is only `least` of both."""
    return compute * (1 / least - 1) / all_reduce if all_reduce else math.inf


def expect(counts: dict[str, Any], machine: machines.Machine, clips: int, dtype: str = "float32",
           share: float = 0.4, clips_per_second: float = 0.0,
           input_rate: float = INPUT_RATE) -> dict[str, Any]:
    """Expects a step of a machine.

    Args:
      counts: of `measure`.
      machine: of benchmarks/machines.py.
      clips: on each device.
      dtype: config.model.dtype.
      share: of the matrix units' peak.
      clips_per_second: of one device, as measured; 0: by `share` and the memory's bandwidth.
      input_rate: frames a second that a host reads.

    Returns:
      batch, of all devices; seconds by what could bind ("matrix units" and "memory", or
      "measured"; "all-reduce"; "input"); compute_seconds, the greatest of those of the device;
      step_seconds; efficiency, against one device on a host of its own; all_reduce_efficiency,
      were input no matter; slack; clips_per_second of all devices; binds, the longest of seconds;
      fits, in the memory of a device.

    A step is compute, then all-reduce: all gradients are sent at once after the last of them, and
    none is used before the norm of all is known, so nothing is left to overlap with. Input is read
    meanwhile, by one process a host, and is waited for if it takes longer.
    """
    compute = ({"measured": clips / clips_per_second} if clips_per_second else
               compute_seconds(counts, machine, dtype, clips, share))
    device = max(compute.values())
    all_reduce = machines.all_reduce_seconds(
        counts["all_reduce_bytes"], machine.rings, machine.start)
    one_reads = clips * counts["frames"] / input_rate
    seconds = compute | {"all-reduce": all_reduce,
                         "input": one_reads * min(machine.devices_per_host, machine.size)}
    whole, batch = max(device + all_reduce, seconds["input"]), clips * machine.size
    return {"machine": machine.name, "clips": clips, "batch": batch, "seconds": seconds,
            "compute_seconds": device, "step_seconds": whole,
            "efficiency": efficiency(max(device, one_reads), whole),
            "all_reduce_efficiency": efficiency(device, device + all_reduce),
            "slack": slack(device, all_reduce),
            "clips_per_second": batch / whole, "binds": max(seconds, key=seconds.get),
            "fits": counts["state_bytes"] + clips * counts["memory_bytes"] <= machine.memory}


# ---- Tables -------------------------------------------------------------------------------------


def counts_table(by_config: dict[str, dict[str, Any]]) -> str:
    """A row a config: what its step computes, moves and sends."""
    header = ("config", "parameters", "all-reduces a step", "of bytes", "TFLOP a clip",
              "GB moved a clip", "FLOPs a byte", "state GB", "GB a clip", "video kB a clip",
              "inference / train FLOPs")
    return step.table(header, [
        (name, f"{c['parameters']:,}", str(c["all_reduces"]), f"{c['all_reduce_bytes']:,}",
         f"{c['flops'] / 1e12:.3g}", f"{c['moved_bytes'] / 1e9:.3g}", f"{c['flops_per_byte']:.0f}",
         f"{c['state_bytes'] / 1e9:.2g}", f"{c['memory_bytes'] / 1e9:.2g}",
         f"{c['video_bytes'] / 1e3:.0f}", f"{c['inference_flops'] / c['flops']:.2f}")
        for name, c in by_config.items()])


def machines_table(layouts: Sequence[tuple[machines.Machine, int]] = LAYOUTS) -> str:
    """A row a machine: its data sheet, as benchmarks/machines.py has it."""
    header = ("machine", "TFLOP/s, float32", "bfloat16", "memory GB", "GB/s",
              "rings: devices, GB/s out of one, us a step")
    return step.table(header, [
        (m.name, *(f"{m.peak[dtype] / 1e12:.0f}" for dtype in ("float32", "bfloat16")),
         f"{m.memory / 1e9:.0f}", f"{m.memory_bandwidth / 1e9:,.0f}",
         "; ".join(f"{r.size}, {r.bandwidth / 1e9:.3g}, {r.latency * 1e6:.1f}"
                   for r in m.rings if r.size > 1))
        for m in {machine.name: machine for machine, _ in layouts}.values()])


def expected_table(rows: Sequence[Sequence[dict[str, Any]]], shares: Sequence[float],
                   clips: int) -> str:
    """A row a layout.

    Args:
      rows: of each layout what is expected at each share, the greatest last; that one is shown
        where a column is not of all shares.
      shares: of the peak; none: the rate was measured.
      clips: of which a training's hours are told.
    """
    at = [f"ms at {share:g}".replace("0.", ".") for share in shares] or ["ms, measured"]
    header = ("machine", "clips a device", "batch", *at, "memory ms", "input ms", "all-reduce ms",
              "all-reduce alone: efficiency", "slack", "efficiency", "clips/s",
              f"hours, {clips / 1e6:g}M clips", "binds")
    lines = []
    for row in rows:
        last, seconds = row[-1], row[-1]["seconds"]
        rates = [part["clips_per_second"] for part in row]
        lines.append((
            last["machine"], f"{last['clips']}{'' if last['fits'] else ' (too many)'}",
            str(last["batch"]), *(brief(part["step_seconds"] * 1e3) for part in row),
            *(brief(seconds[name] * 1e3) if name in seconds else ""
              for name in ("memory", "input", "all-reduce")),
            f"{last['all_reduce_efficiency']:.3f}", brief(last["slack"]),
            f"{last['efficiency']:.3f}", span(rates),
            span([clips / rate / 3600 for rate in rates]), last["binds"]))
    return step.table(header, lines)


def brief(value: float) -> str:
    """Three digits, or all before the point."""
    digits = max(0, 2 - math.floor(math.log10(value))) if 0 < value < math.inf else 0
    return f"{value:,.{digits}f}"


def span(values: Sequence[float]) -> str:
    """First - last, or the one that both are."""
    return " - ".join(dict.fromkeys(brief(value) for value in (values[0], values[-1])))


# ---- The command line ---------------------------------------------------------------------------


def load_config(name: str) -> ml_collections.ConfigDict:
    """The config of FILE or FILE:variant, as --config takes it elsewhere."""
    path, _, variant = name.partition(":")
    spec = importlib.util.spec_from_file_location(pathlib.Path(path).stem, path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.get_config(*[variant] * bool(variant))


def main(arguments: list[str]) -> None:
    """Reads the flags, counts, calculates, prints and writes."""
    del arguments
    values = flags.FLAGS
    jax.config.update("jax_platforms", "cpu")
    jax.config.update("jax_num_cpu_devices", 4)
    jax.config.update("jax_enable_compilation_cache", False)
    by_config, expected = {}, {}
    shares = [] if values.clips_per_second else sorted(map(float, values.shares))
    for name in values.configs:
        config, key = load_config(name), name.rpartition(":")[2]
        by_config[key] = measure(config)
        form = functools.partial(
            expect, by_config[key], dtype=values.dtype or config.model.dtype,
            clips_per_second=values.clips_per_second, input_rate=values.input_rate)
        expected[key] = [[form(machine, clips, share=share) for share in shares or (1.0,)]
                         for machine, clips in LAYOUTS]
    print(counts_table(by_config), machines_table(), sep="\n\n")
    for key, rows in expected.items():
        print(f"\n`{key}`:\n\n{expected_table(rows, shares, by_config[key]['clips'])}")
    step.write({"counts": by_config, "expected": expected}, values.out)


if __name__ == "__main__":
    flags.DEFINE_list("configs", ["configs/parts_clevrer.py:small",
                                  "configs/parts_clevrer.py:paper"], "FILE:variant, of each.")
    flags.DEFINE_enum("dtype", None, ["float32", "bfloat16"], "Of products; none: the config's.")
    flags.DEFINE_list("shares", ["0.1", "0.2", "0.4", "0.55"], "Of the matrix units' peak.")
    flags.DEFINE_float("clips_per_second", 0.0, "Of one device, as measured.", lower_bound=0.0)
    flags.DEFINE_float("input_rate", INPUT_RATE, "Frames a second, a host.", lower_bound=1.0)
    flags.DEFINE_string("out", None, "File that the JSON is written to.")
    app.run(main)
