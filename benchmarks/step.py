"""What a train step and an inference step cost: time, FLOPs, memory, share of the machine's peak.

    python -m benchmarks.step --config=configs/parts_clevrer.py:demo
    python -m benchmarks.step --config=configs/iodine_sprites.py:demo
    python -m benchmarks.step --config=configs/parts_clevrer.py:demo --stage=0 --out=step.json
    python -m benchmarks.step --config=configs/parts_clevrer.py --compile_only

Prints JSON; `measure` says what stands in it. The steps are those of training and evaluation, on
random video, over all devices. The matrix product and the convolution that peak shares refer to
are timed between the steps, so that a machine shared with other work shows the same shares. Single
values of the config are set with --config.path.to.key=value. Without an accelerator, compile the
paper's config only.
"""

import functools
import json
import os
import pathlib
import platform
import time
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import ml_collections
import numpy as np
from absl import app, flags
from jax.sharding import NamedSharding
from jax.sharding import PartitionSpec as P
from ml_collections import config_flags

from benchmarks import flops
from parts_jax import models, train
from parts_jax.data import curriculum
from parts_jax.devices import sharding
from parts_jax.evaluation import stages
from parts_jax.runs import config_rules
from parts_jax.training import optimizer

NUM_WARM_UP = 3
# What the peaks are measured on: a product of square matrices of so many rows, and a convolution
# of so many square pictures of a size, of so many channels in and out, with a kernel of a size.
PEAKS = {"cpu": dict(matrix_product=2048, convolution=[4, 64, 128, 3])}
PEAKS_ELSEWHERE = dict(matrix_product=8192, convolution=[64, 64, 512, 3])
FLOPS_NOTES = {
    False: "flops is compiled_flops: the compiled program has no loops.",
    True: "flops is flops_of_scan_unrolled: the compiled program has loops (over time or over "
          "parts of the batch), whose bodies XLA counts once; so the same step is lowered, not "
          "compiled, with unroll set to T and decoder.examples_at_once to 0.",
}
NO_FLOPS = ("null: XLA counts a program that is lowered, not compiled, on the CPU only, and of a "
            "compiled one it counts loop bodies once and no calls of cuDNN or cuBLAS.")
NOT_PARTS = ("null: formulas of the least FLOPs, and loops that can be written out to be counted, "
             "are of the family parts alone.")


def measure(config: ml_collections.ConfigDict, stage: int = -1, num_steps: int = 20,
            compile_only: bool = False, devices: list | None = None) -> dict[str, Any]:
    """Measures both steps at one stage of the schedule.

    Args:
      config: as in configs/.
      stage: of config.schedule; -1: the last.
      num_steps: how many steps are timed, after 3 for warming up.
      compile_only: runs nothing: no times, no peak.
      devices: on which; None: all.

    Returns:
      `hardware`; `stage`, `resolution`, `num_frames`, `unroll`; `peaks`: of `matrix_product` and
      `convolution` what was run, in the model's dtype, and FLOPs a second of all devices together;
      and for `train_step` and `inference_step`:
      - batch_size, num_frames: clips of all devices together, and T: those of training may be
        longer; frames_per_second follows from them;
      - compile_seconds: tracing, lowering and compiling, nothing of it cached;
      - step_seconds: median, min and max, each step waited for;
      - compiled_flops, flops_of_scan_unrolled: by XLA, of the compiled program with loop bodies
        counted once, and of the lowered program without loops; operations per element included;
      - flops: one of the two, flops_note says which; of all devices together; null where it says
        so, and flops_over_minimum with it: FLOPs are counted on the CPU, of PARTS only;
      - minimum_flops: by benchmarks/flops.py, by network and total; flops_over_minimum; null
        where the family is not PARTS, and peak_share with it;
      - memory_bytes of one device: arguments, outputs and temporaries, aliased (outputs that take
        an argument's place), and peak, the sum of the first three less the fourth;
      - peak_share: minimum FLOPs a second over those of each peak, median over the steps.
    """
    mesh = sharding.make_mesh(devices)
    programs = {"train_step": train_program, "inference_step": inference_program}
    report, runs = {}, {}
    for name, make in programs.items():
        step, arguments, start = make(config, stage, mesh)
        report[name], compiled = describe_compiled(step, arguments)
        report[name] |= describe_flops(config, name, stage, mesh, compiled)
        if not compile_only:
            runs[name] = start(compiled)
    peaks = PEAKS.get(mesh.devices.flat[0].platform, PEAKS_ELSEWHERE)
    measured = {name: {"size": size, "dtype": config.model.dtype} for name, size in peaks.items()}
    if runs:
        dtype = jnp.dtype(config.model.dtype)
        product, convolved = peaks["matrix_product"], peaks["convolution"]
        runs["matrix_product"], product_flops = matrix_product(product, dtype, mesh)
        runs["convolution"], convolution_flops = convolution(*convolved, dtype, mesh)
        seconds = time_in_turn(runs, num_steps)
        rates = {"matrix_product": product_flops / seconds["matrix_product"],
                 "convolution": convolution_flops / seconds["convolution"]}
        for name, rate in rates.items():
            measured[name]["flops_per_second"] = summarise(rate)
        for name in programs:
            report[name] |= describe_times(report[name], seconds[name], rates)
    return {"hardware": hardware(mesh), "stage": stage,
            "resolution": config.schedule.resolution[stage], "num_frames": config.data.num_frames,
            "unroll": config.train.unroll, "peaks": measured} | report


# ---- The two steps: (jitted, shapes of its arguments, compiled -> a call without arguments) ---


def train_program(config, stage: int, mesh) -> tuple[Callable, tuple, Callable]:
    """The train step, just as train.train makes it."""
    model, tx = models.create(config), optimizer.create(config)
    step = sharding.data_parallel(
        functools.partial(train.train_step, config=config, model=model, tx=tx, stage=stage),
        mesh, in_split=(False, True), out_split=(False, False), donate=(0,))
    make_state = functools.partial(train.create_state, config, model, tx)
    read = curriculum.stages(config)[stage]
    batch = random_batch(config, read.batch_size, read.num_frames)

    def start(compiled):
        state = sharding.replicate(jax.jit(make_state)(), mesh)
        on_device = sharding.split_batch(batch, mesh)

        def call():
            nonlocal state  # its memory is donated
            state, metrics = compiled(state, on_device)
            return metrics
        return call

    arguments = shapes(jax.eval_shape(make_state), mesh, P()), shapes(batch, mesh, P(sharding.AXIS))
    return step, arguments, start


def inference_program(config, stage: int, mesh) -> tuple[Callable, tuple, Callable]:
    """The inference step, just as training's evaluations and evaluate.evaluate make it."""
    model = models.create(config)
    factor = config.data.resolution // config.schedule.resolution[stage]
    step = stages.compile_stages(config, model, mesh, factor).infer
    make_parameters = functools.partial(model.init, jax.random.key(config.seed))
    batch = random_batch(config, config.eval.batch_size, config.data.num_frames)

    def start(compiled):
        params = sharding.replicate(jax.jit(make_parameters)(), mesh)
        return functools.partial(compiled, params, sharding.split_batch(batch, mesh))

    arguments = (shapes(jax.eval_shape(make_parameters), mesh, P()),
                 shapes(batch, mesh, P(sharding.AXIS)))
    return step, arguments, start


def random_batch(config, size: int, num_frames: int) -> dict[str, np.ndarray]:
    """A batch as the pipeline gives it, of noise: video, valid, index, and actions if any."""
    data, rng = config.data, np.random.default_rng(config.seed)
    frames = (size, num_frames)
    batch = {"video": rng.integers(
                 0, 256, (*frames, data.resolution, data.resolution, 3), dtype=np.uint8),
             "valid": np.ones(size, bool), "index": np.arange(size, dtype=np.int32)}
    if config.data.action_size:
        batch["actions"] = rng.normal(size=(*frames, config.data.action_size)).astype(np.float32)
    return batch


def shapes(tree: Any, mesh, spec) -> Any:
    """Arrays, or their shapes, as shapes that lie on the mesh: enough to compile."""
    where = NamedSharding(mesh, spec)
    return jax.tree.map(lambda a: jax.ShapeDtypeStruct(a.shape, a.dtype, sharding=where), tree)


# ---- FLOPs and memory -----------------------------------------------------------------------


def describe_compiled(step: Callable, arguments: tuple) -> tuple[dict[str, Any], Any]:
    """Compiles a step: how long it took and what memory it takes, and the program."""
    start = time.perf_counter()
    compiled = step.lower(*arguments).compile()
    batch_size, num_frames = arguments[1]["video"].shape[:2]
    described = {"batch_size": batch_size, "num_frames": num_frames,
                 "compile_seconds": time.perf_counter() - start}
    memory = compiled.memory_analysis()
    if memory is not None:  # not every backend tells
        parts = {"arguments": memory.argument_size_in_bytes,
                 "outputs": memory.output_size_in_bytes,
                 "temporaries": memory.temp_size_in_bytes}
        aliased = memory.alias_size_in_bytes
        described["memory_bytes"] = parts | {
            "aliased": aliased, "peak": sum(parts.values()) - aliased}
    return described, compiled


def describe_flops(config, name: str, stage: int, mesh, compiled) -> dict[str, Any]:
    """FLOPs of a step, the minimum, and their ratio; see `measure`."""
    make, minimum = {"train_step": (train_program, flops.train_step),
                     "inference_step": (inference_program, flops.inference_step)}[name]
    least = minimum(config, stage) if flops.counted(config) else None
    if least is None or mesh.devices.flat[0].platform != "cpu":
        return {"compiled_flops": xla_flops(compiled, mesh), "flops_of_scan_unrolled": None,
                "flops": None, "flops_note": NO_FLOPS if least else NOT_PARTS,
                "minimum_flops": least, "flops_over_minimum": None}
    step, arguments, _ = make(without_loops(config), stage, mesh)
    lowered = step.lower(*arguments)
    has_loops = loops(config, name, arguments[1]["video"].shape[0] // mesh.size, stage)
    counted = xla_flops(lowered if has_loops else compiled, mesh)
    return {"compiled_flops": xla_flops(compiled, mesh),
            "flops_of_scan_unrolled": xla_flops(lowered, mesh), "flops": counted,
            "flops_note": FLOPS_NOTES[has_loops], "minimum_flops": least,
            "flops_over_minimum": counted / least["total"]}


def loops(config: ml_collections.ConfigDict, name: str, examples: int, stage: int = -1) -> bool:
    """Whether a step of so many examples a device has a loop over frames or parts of the batch."""
    at_once, longest = config.model.decoder.examples_at_once, config.data.num_frames
    if name == "train_step":  # chunks are not looped over where the frames of one are not
        longest = min(curriculum.stages(config)[stage].num_frames, config.train.truncation)
    return config.train.unroll < longest or bool(at_once and at_once % examples)


def without_loops(config: ml_collections.ConfigDict) -> ml_collections.ConfigDict:
    """The same step, written out: all frames one after the other, the batch in one piece."""
    config = config.copy_and_resolve_references()
    with config.unlocked():
        config.train.unroll = max(config.data.num_frames, config.data.train_frames)
        config.model.decoder.examples_at_once = 0
    return config


def xla_flops(step: Any, mesh) -> float | None:
    """FLOPs by XLA of a lowered or compiled step, of all devices; None if it counts none."""
    counted = step.cost_analysis()
    return counted["flops"] * mesh.size if counted and "flops" in counted else None


# ---- Time -------------------------------------------------------------------------------------


def matrix_product(size: int, dtype: Any, mesh) -> tuple[Callable, float]:
    """A call that multiplies two matrices [size, size] on every device, and its FLOPs on all."""
    multiply = sharding.data_parallel(
        lambda a: jnp.einsum("nij,njk->nik", a, a), mesh, (True,), True)
    matrices = noise((len(mesh.local_devices), size, size), dtype, mesh)
    return functools.partial(multiply, matrices), 2.0 * size**3 * mesh.size


def convolution(num: int, size: int, channels: int, kernel_size: int, dtype: Any,
                mesh) -> tuple[Callable, float]:
    """A call that convolves `num` pictures on every device, and its FLOPs on all.

    Only pixels whose whole neighbourhood lies inside the picture are computed.
    """
    convolve = sharding.data_parallel(
        lambda a, kernel: jax.lax.conv_general_dilated(
            a, kernel, (1, 1), "VALID", dimension_numbers=("NHWC", "HWIO", "NHWC")),
        mesh, (True, False), True)
    images = noise((num * len(mesh.local_devices), size, size, channels), dtype, mesh)
    kernel = jnp.full((kernel_size, kernel_size, channels, channels), 0.01, dtype)
    pixels = num * (size - kernel_size + 1) ** 2 * mesh.size
    return (functools.partial(convolve, images, sharding.replicate(kernel, mesh)),
            2.0 * pixels * kernel_size**2 * channels**2)


def noise(shape: tuple[int, ...], dtype: Any, mesh) -> jax.Array:
    """Numbers of a normal distribution, split over the devices along the first axis."""
    values = np.random.default_rng(0).standard_normal(shape, np.float32)
    return sharding.split_batch(values.astype(dtype), mesh)


def time_in_turn(runs: dict[str, Callable], num_steps: int) -> dict[str, np.ndarray]:
    """Seconds of each call, each waited for, one call of each in turn: float64 [num_steps]."""
    seconds = {name: [] for name in runs}
    for _ in range(NUM_WARM_UP + num_steps):
        for name, run in runs.items():
            start = time.perf_counter()
            jax.block_until_ready(run())
            seconds[name].append(time.perf_counter() - start)
    return {name: np.asarray(values[NUM_WARM_UP:]) for name, values in seconds.items()}


def describe_times(described: dict, seconds: np.ndarray, rates: dict) -> dict:
    """Step time, frames a second, and the share of each peak that was measured beside the step."""
    times = summarise(seconds)
    frames = described["batch_size"] * described["num_frames"]
    least = described["minimum_flops"]
    shares = least and {name: float(np.median(least["total"] / seconds / rate))
                        for name, rate in rates.items()}
    return {"step_seconds": times | {"num_steps": len(seconds)},
            "frames_per_second": frames / times["median"], "peak_share": shares}


def summarise(values: np.ndarray) -> dict[str, float]:
    """Median, least and greatest."""
    return {"median": float(np.median(values)), "min": float(values.min()),
            "max": float(values.max())}


def hardware(mesh) -> dict[str, Any]:
    """What was measured on: devices, CPU, versions."""
    return {"device_kind": mesh.devices.flat[0].device_kind, "num_devices": mesh.size,
            "cpu_model": cpu_model(), "num_cpus": len(os.sched_getaffinity(0)),
            "xla_flags": os.environ.get("XLA_FLAGS", ""), "jax": jax.__version__,
            "python": platform.python_version()}


def cpu_model() -> str:
    """The CPU's name, as Linux has it; elsewhere as Python has it."""
    path = pathlib.Path("/proc/cpuinfo")
    lines = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor()


# ---- The command line, in what it shares with the other benchmarks of a step --------------------


def main(arguments: list[str]) -> None:
    """Reads the flags, measures, prints and writes."""
    del arguments
    values, config = flags.FLAGS, read_config()
    report = {"config": values["config"].config_filename}
    report |= measure(config, values.stage, values.num_steps, values.compile_only)
    print(json.dumps(report, indent=2))
    write(report, values.out)


def read_config() -> ml_collections.ConfigDict:
    """The config of the flags, checked; and no compiled program is taken from a cache."""
    values = flags.FLAGS
    config = values.config
    if values.batch_size:
        config.train.batch_size = config.eval.batch_size = values.batch_size
    jax.config.update("jax_enable_compilation_cache", False)
    config_rules.check(config, jax.device_count())
    return config


def write(report: dict[str, Any], path: str | None) -> None:
    """Writes a report as JSON, if a path is given."""
    if path:
        pathlib.Path(path).write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")


def table(header: tuple[str, ...], rows: list[tuple[str, ...]]) -> str:
    """A Markdown table, numbers to the right of their columns; a bar in a cell is only a bar."""
    lines = [header, ("---", *["---:"] * (len(header) - 1)), *rows]
    cell = lambda text: text.replace("|", "\\|")
    return "\n".join("| " + " | ".join(map(cell, line)) + " |" for line in lines)


def define_flags() -> None:
    config_flags.DEFINE_config_file("config", help_string="Config file, FILE or FILE:variant.")
    flags.DEFINE_integer("stage", -1, "Stage of config.schedule; -1: the last.")
    flags.DEFINE_integer("batch_size", 0, "Of both steps; 0: the config's own.", lower_bound=0)
    flags.DEFINE_integer("num_steps", 20, "Timed steps.", lower_bound=1)
    flags.DEFINE_bool("compile_only", False, "Run nothing: FLOPs, memory and compile time only.")
    flags.DEFINE_string("out", None, "File that the JSON is written to as well.")
    flags.mark_flag_as_required("config")


if __name__ == "__main__":
    define_flags()
    app.run(main)
