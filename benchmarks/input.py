"""How fast a set is read, and what share of a training step would be spent waiting for it.

    python -m benchmarks.input --config=configs/parts_clevrer.py:small
    python -m benchmarks.input --config=configs/parts_clevrer.py:small --sets=sim_playroom/small
    python -m benchmarks.input --config=configs/parts_clevrer.py:demo --step

Prints JSON; `measure` says what stands in it. The set is read through the training pipeline as the
config describes it (frames, stride, resolution, flips, threads, batch size), and prepared first if
need be. Single values of the config are set with --config.path.to.key=value.
"""

import json
import pathlib
import time
from typing import Any

import jax
import ml_collections
import numpy as np
from absl import app, flags
from ml_collections import config_flags

from benchmarks import step
from parts_jax.data import pipeline
from parts_jax.devices import sharding

NUM_WARM_UP = 8  # batches: what is read ahead


def measure(config: ml_collections.ConfigDict, num_batches: int = 100) -> dict[str, Any]:
    """Measures the rate of the training pipeline alone.

    Args:
      config: as in configs/.
      num_batches: how many batches are timed.

    Returns:
      `data`: name, frames, resolution, stride, batch size, threads; and of three passes over
      num_batches each, median, min and max: `sequences_per_second` and `frames_per_second`.
    """
    data, size = config.data, config.train.batch_size
    batches = pipeline.train_iterator(data, batch_size=size, seed=config.seed)
    for _ in range(NUM_WARM_UP):
        next(batches)
    rates = []
    for _ in range(3):
        start = time.perf_counter()
        for _ in range(num_batches):
            next(batches)
        rates.append(num_batches * size / (time.perf_counter() - start))
    described = {key: data[key] for key in ("name", "resolution", "stride", "num_threads")}
    num_frames = pipeline.train_frames(data)
    return {"data": described | {"num_frames": num_frames, "batch_size": size},
            "sequences_per_second": summarise(rates),
            "frames_per_second": summarise([rate * num_frames for rate in rates])}


def measure_waiting(config: ml_collections.ConfigDict, num_steps: int = 100) -> dict[str, Any]:
    """Trains at the last stage of the schedule and times what waits for input.

    Args:
      config: as in configs/.
      num_steps: how many steps are timed.

    Returns:
      `step_seconds` (median) and `waiting_share`, the time spent waiting for batches over all.
    """
    mesh = sharding.make_mesh()
    compiled_step, arguments, start = step.train_program(config, -1, mesh)
    call = start(compiled_step.lower(*arguments).compile())
    batches = pipeline.train_iterator(
        config.data, batch_size=config.train.batch_size, seed=config.seed)
    for _ in range(NUM_WARM_UP):
        next(batches)
        jax.block_until_ready(call())
    seconds, waited = [], []
    for _ in range(num_steps):
        begin = time.perf_counter()
        sharding.split_batch(next(batches), mesh)
        got = time.perf_counter()
        jax.block_until_ready(call())
        waited.append(got - begin)
        seconds.append(time.perf_counter() - begin)
    return {"step_seconds": float(np.median(seconds)),
            "waiting_share": float(np.sum(waited) / np.sum(seconds))}


def summarise(values: list[float]) -> dict[str, float]:
    """Median, min and max."""
    return {"median": float(np.median(values)), "min": min(values), "max": max(values)}


def main(arguments) -> None:
    """Prints the JSON, and writes it to --out."""
    del arguments
    values = flags.FLAGS
    config, reports = values.config, []
    for name in values.sets or [config.data.name]:
        with config.unlocked():
            config.data.name = name
        report = measure(config, values.num_batches)
        if values.step:
            report |= measure_waiting(config)
        reports.append(report)
    text = json.dumps(reports, indent=2)
    print(text)
    if values.out:
        pathlib.Path(values.out).write_text(text + "\n")


if __name__ == "__main__":
    config_flags.DEFINE_config_file("config", help_string="Config file, FILE or FILE:variant.")
    flags.DEFINE_list("sets", [], "Sets to read in place of the config's own.")
    flags.DEFINE_integer("num_batches", 100, "Batches timed, three times over.")
    flags.DEFINE_bool("step", False, "Also run training steps, and time what waits for input.")
    flags.DEFINE_string("out", "", "Where the JSON is written, too.")
    app.run(main)
