"""What training says of itself while it runs: mean metrics, speed, time left."""

import contextlib
import time

import jax
import ml_collections
import numpy as np
from absl import logging

SHOWN = ("loss", "nll", "kl", "mse", "mask_entropy")


class Log:
    """Collects the metrics of steps and writes their means.

    Metrics stay on the device until they are written, so that no step waits for them.
    """

    def __init__(self, writer, config: ml_collections.ConfigDict, step: int):
        self.writer = writer
        self.last_step = sum(config.schedule.steps)
        self.frames_per_step = config.train.batch_size * config.data.num_frames
        self.start(step)

    def start(self, step: int) -> None:
        """Begins to collect anew."""
        self.metrics, self.step = [], step
        self.since, self.waited = time.monotonic(), 0.0

    def append(self, metrics: dict[str, jax.Array]) -> None:
        """Keeps the metrics of one step, scalars on the device."""
        self.metrics.append(metrics)

    def write(self, step: int) -> None:
        """Writes the means since the last write, and speed, to the metric writer and the log."""
        fetched = jax.device_get(self.metrics)
        means = {k: float(np.mean([m[k] for m in fetched])) for k in fetched[0]}
        seconds = time.monotonic() - self.since
        steps_per_second = (step - self.step) / seconds
        means |= {"steps_per_second": steps_per_second,
                  "frames_per_second": steps_per_second * self.frames_per_step,
                  "waiting_share": self.waited / seconds}
        self.writer.write_scalars(step, {f"train/{k}": v for k, v in means.items()})
        left = (self.last_step - step) / steps_per_second
        logging.info("step %d/%d: %s, %.3g steps/s, %.1f min left", step, self.last_step,
                     ", ".join(f"{k} {means[k]:.4g}" for k in SHOWN), steps_per_second, left / 60)
        self.start(step)

    @contextlib.contextmanager
    def waiting(self):
        """Times what waits for input: `waiting_share` is its share of the time between writes.

        It bounds from above how long the devices wait, which may still be busy meanwhile.
        """
        start = time.monotonic()
        yield
        self.waited += time.monotonic() - start

    @contextlib.contextmanager
    def paused(self):
        """Stops the clock, for what is not training."""
        start = time.monotonic()
        yield
        self.since += time.monotonic() - start
