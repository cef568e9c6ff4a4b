"""The same run on one device, on four, and in two processes of two: how far do numbers part?

    python -m benchmarks.topologies --folder=runs/topologies
    python -m benchmarks.topologies --folder=runs/topologies --tiny --learning_rate=2e-4

Prints a Markdown table: the greatest difference of the loss from that of one device, over the first
steps and over all 50, and of any number of the two evaluations at the end, in float64 and float32.
All on this machine's CPU; processes speak by gloo. Flags of parts_jax.main may follow after `--`.
"""

import argparse
import json
import os
import pathlib
import shutil
import socket
import subprocess
import sys
from collections.abc import Mapping, Sequence

LAYOUTS = ((1, 1), (1, 4), (2, 2))  # processes, devices of each
STEPS = 50
DTYPES = ("float64", "float32")
SETTINGS = (
    "--config=configs/parts_clevrer.py:demo", f"--config.schedule.steps=({STEPS},)",
    "--config.schedule.warmup_steps=(10,)", "--config.schedule.final_scale=(0.3,)",
    "--config.model.beta_scale=(1.0,)", "--config.train.log_every=1",
    "--config.train.pixels=(2,)", "--config.train.encoder_pooling=(1,)",
    "--config.eval.num_sequences=16", "--config.eval.report=False", "--config.eval.length=0")
DEMO = ("--config.schedule.resolution=(32,)",)
# A model of some thousand parameters at 16x16, in which gradients stay small.
TINY = tuple(f"--config.{flag}" for flag in (
    "data.name=sim_clevrer/tiny", "data.num_frames=4", "data.resolution=16",
    "schedule.resolution=(16,)", "model.num_slots=3", "model.slot_size=4", "train.truncation=2",
    "train.unroll=1", "model.decoder.channels=(8, 8)", "model.encoder.channels=(4,)",
    "model.encoder.output_size=8", "model.attention.size=8", "model.attention.mlp=(8,)",
    "model.transition.width=8", "model.transition.num_heads=2", "model.transition.mlp_width=8",
    "model.transition.lstm_size=8", "eval.rollout_steps=2", "eval.batch_size=8"))


def start(workdir: pathlib.Path, processes: int, devices: int, settings: Sequence[str],
          environment: Mapping[str, str] | None = None) -> list[subprocess.Popen]:
    """Starts training in processes of so many CPU devices each; output goes to WORKDIR.N.log.

    Args:
      workdir: of the run.
      processes, devices: how many processes, and devices of each.
      settings: flags of parts_jax.main.
      environment: variables beside those of this process.
    """
    flags = [flag for flag in os.environ.get("XLA_FLAGS", "").split() if "device_count" not in flag]
    flags.append(f"--xla_force_host_platform_device_count={devices}")
    variables = os.environ | dict(environment or {}) | {
        "JAX_PLATFORMS": "cpu", "XLA_FLAGS": " ".join(flags)}
    with socket.socket() as listener:
        listener.bind(("", 0))
        port = listener.getsockname()[1]
    started = []
    for number in range(processes):
        place = [f"--coordinator_address=localhost:{port}", f"--num_processes={processes}",
                 f"--process_id={number}"] if processes > 1 else []
        with log_of(workdir, number).open("a") as log:
            started.append(subprocess.Popen(
                [sys.executable, "-m", "parts_jax.main", *settings, f"--workdir={workdir}", *place],
                env=variables, stdout=log, stderr=log))
    return started


def log_of(workdir: pathlib.Path, number: int) -> pathlib.Path:
    """The output of a process."""
    return workdir.with_suffix(f".{number}.log")


def losses(workdir: pathlib.Path) -> dict[int, float]:
    """The loss of every step that has a line of its own."""
    lines = [json.loads(line) for line in (workdir / "metrics.jsonl").read_text().splitlines()]
    return {line["step"]: line["train/loss"] for line in lines if "train/loss" in line}


def evaluations(workdir: pathlib.Path) -> dict[str, float]:
    """Every mean of the evaluations after training, roll-outs' by horizon."""
    numbers = {}
    for path in sorted((workdir / "evaluation").glob("*.json")):
        record = json.loads(path.read_text(encoding="utf-8"))
        for name, value in record.items():
            if isinstance(value, float):
                numbers[f"{path.stem}/{name}"] = value
        for name, values in record.get("metrics", {}).items():
            numbers |= {f"{path.stem}/{name}/{h}": v for h, v in enumerate(values["mean"], 1)}
    return numbers


def greatest_difference(a: Mapping, b: Mapping) -> float:
    """The greatest absolute difference between values of the same key; all keys must be in both."""
    if a.keys() != b.keys():
        raise ValueError(f"These are not in both: {sorted(map(str, a.keys() ^ b.keys()))}.")
    return max(abs(a[key] - b[key]) for key in a)


def row(one: pathlib.Path, other: pathlib.Path, dtype: str, layout: tuple[int, int]) -> str:
    """A row of the table."""
    a, b = losses(one), losses(other)
    cells = [greatest_difference({k: v for k, v in a.items() if k <= last},
                                 {k: v for k, v in b.items() if k <= last})
             for last in (1, 10, 20, STEPS)]
    scores = evaluations(one)
    relative = {key: value / max(1, abs(scores[key])) for key, value in evaluations(other).items()}
    cells.append(greatest_difference(
        {key: value / max(1, abs(value)) for key, value in scores.items()}, relative))
    numbers = " | ".join(f"{cell:.1e}" for cell in cells)
    return f"| {dtype} | {layout[0]} x {layout[1]} | {numbers} |"


def main(arguments: Sequence[str]) -> int:
    """Does what the head of the file says."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--folder", type=pathlib.Path, default=pathlib.Path("runs/topologies"))
    parser.add_argument("--tiny", action="store_true")
    parser.add_argument("--learning_rate", type=float, default=3e-3)
    parser.add_argument("settings", nargs="*", help="flags of parts_jax.main, after --")
    options = parser.parse_args(arguments)
    shutil.rmtree(options.folder, ignore_errors=True)
    options.folder.mkdir(parents=True)
    print("| type | processes x devices | loss, step 1 | to step 10 | to step 20 | "
          f"to step {STEPS} | evaluation |\n|---|---|---:|---:|---:|---:|---:|")
    for dtype in DTYPES:
        for processes, devices in LAYOUTS:
            workdir = options.folder / f"{dtype}-{processes}x{devices}"
            settings = [*SETTINGS, *(TINY if options.tiny else DEMO),
                        f"--config.schedule.learning_rate=({options.learning_rate},)",
                        f"--config.model.dtype={dtype}", *options.settings]
            codes = [process.wait() for process in start(workdir, processes, devices, settings)]
            if any(codes):
                raise RuntimeError(f"Training ended with exit codes {codes}; see "
                                   f"{log_of(workdir, 0)}.")
            if (processes, devices) == LAYOUTS[0]:
                one = workdir
                print(f"| {dtype} | 1 x 1: loss {losses(one)[1]:.3f} at step 1, "
                      f"{losses(one)[STEPS]:.3f} at step {STEPS} | | | | | |", flush=True)
            else:
                print(row(one, workdir, dtype, (processes, devices)), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
