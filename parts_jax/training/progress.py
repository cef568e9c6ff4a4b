"""What training says of itself while it runs: mean metrics, speed, time left."""

import contextlib
import functools
import sys
import time
from collections.abc import Callable
from concurrent import futures
from typing import Any

import jax
import ml_collections
import numpy as np
import tqdm
from absl import logging

from parts_jax.metrics import table

STEPS_AHEAD = 2  # of the device, at the most


class Log:
    """Collects the metrics of steps and writes their means, in a thread of its own.

    Neither device nor host waits for the other: metrics stay on the device until a write, which
    fetches them while the next steps run; the host keeps so few steps ahead of the device that
    their batches need little memory. On a terminal a bar shows every step; in a file, or a pipe,
    there is nothing of it.

    Attributes:
      latest: the metrics of the last step whose write was waited for, and its number `step`; empty
        before. It changes in `wait` and `write` alone, so all processes of a run see it change at
        the same step.
    """

    def __init__(self, writer, config: ml_collections.ConfigDict, step: int):
        self.writer = writer
        self.last_step = sum(config.schedule.steps)
        self.thread = futures.ThreadPoolExecutor(1, thread_name_prefix="log")
        self.writing = self.newest = None
        self.latest, self.evaluated = {}, ""
        self.bar = tqdm.tqdm(total=self.last_step, initial=step, unit=" steps", file=sys.stderr,
                             dynamic_ncols=True, disable=None)  # None: unless on a terminal
        self.metrics, self.step, self.waited, self.compiled = [], step, 0.0, 0.0
        self.frames = 0  # since the last write
        self.since = time.monotonic()
        jax.monitoring.register_event_duration_secs_listener(self._note_duration)

    def append(self, metrics: dict[str, jax.Array], num_frames: int) -> None:
        """Keeps the metrics of one step; waits if the host is too far ahead of the device.

        Args:
          metrics: scalars on the device.
          num_frames: that were trained on, of all clips and devices together.
        """
        self.metrics.append(metrics)
        self.frames += num_frames
        self.bar.update()
        self.newest = jax.tree.leaves(metrics)[0]
        if len(self.metrics) > STEPS_AHEAD:
            jax.block_until_ready(self.metrics[-1 - STEPS_AHEAD])

    def write(self, step: int) -> None:
        """Starts to write the means since the last write, and speed: metric writer and log.

        Raises:
          Exception: an error of the write before this one.
        """
        self.wait()
        self.writing = self.thread.submit(
            self._write, step, step - self.step, self.frames, self.metrics, self.waited,
            self.compiled)
        self.metrics, self.step, self.waited, self.compiled = [], step, 0.0, 0.0
        self.frames = 0

    def note_evaluation(self, step: int, metrics: dict[str, float]) -> None:
        """Takes the metrics of an evaluation: lines show the newest, and of which step they are."""
        shown = [f"{name} {metrics[name]:.3g}" for name in table.in_progress("eval")
                 if name in metrics]
        self.evaluated = f", {', '.join(shown)} (step {step})" if shown else ""

    def wait(self) -> None:
        """Waits until what was written is written; raises its error, if any."""
        if self.writing is not None:
            self.latest = self.writing.result()
            self.writing = None

    def _write(self, step: int, num_steps: int, num_frames: int, metrics: list, waited: float,
               compiled: float) -> dict[str, Any]:
        fetched = jax.device_get(metrics)  # waits for the last of the steps
        now = time.monotonic()
        seconds, self.since = now - self.since, now
        means = {k: float(np.mean([m[k] for m in fetched])) for k in fetched[0]}
        steps_per_second = num_steps / seconds
        means |= {"steps_per_second": steps_per_second,
                  "frames_per_second": num_frames / seconds,
                  "waiting_share": waited / seconds, "compile_seconds": compiled}
        self.writer.write_scalars(step, {f"train/{k}": v for k, v in means.items()})
        self._say_skipped(step, fetched)
        left = (self.last_step - step) / steps_per_second
        shown = ", ".join(f"{k} {means[k]:.4g}" for k in table.in_progress("train") if k in means)
        with tqdm.tqdm.external_write_mode(file=sys.stderr):  # no line in the middle of the bar
            logging.info("step %d/%d: %s%s, %.3g steps/s, %.4g frames/s, %.1f min left", step,
                         self.last_step, shown, self.evaluated, steps_per_second,
                         means["frames_per_second"], left / 60)
        return {"step": step} | fetched[-1]

    def _say_skipped(self, step: int, fetched: list) -> None:
        """Says how many of the steps since the last write changed nothing."""
        skipped = sum(bool(m.get("skipped_in_a_row", 0)) for m in fetched)
        if skipped:
            with tqdm.tqdm.external_write_mode(file=sys.stderr):
                logging.warning(
                    "step %d/%d: %d of the last %d batches were skipped, as loss or gradient was "
                    "not finite; %d so far.", step, self.last_step, skipped, len(fetched),
                    fetched[-1]["skipped_steps"])

    def _note_duration(self, event: str, seconds: float, **_: Any) -> None:
        """Adds up what JAX spends on compiling, or on loading what it had compiled before."""
        if event == "/jax/core/compile/backend_compile_duration":
            self.compiled += seconds

    @contextlib.contextmanager
    def waiting(self):
        """Times what waits for input: `waiting_share` is its share of the time between writes.

        A wait at whose end the step before is still being computed held up nobody. Any other
        counts whole, which bounds from above how long the devices stood idle.
        """
        start = time.monotonic()
        yield
        if self.newest is None or self.newest.is_ready():
            self.waited += time.monotonic() - start

    @contextlib.contextmanager
    def paused(self):
        """Stops the clock, for what is not training: when the steps and their write are done."""
        self.wait()
        jax.block_until_ready(self.metrics)
        self.bar.clear()
        start = time.monotonic()
        yield
        self.since += time.monotonic() - start

    def announcing(self, take_step: Callable, what: str) -> Callable:
        """A compiled step that says when it is compiled, and is left out of the speed until it is.

        Args:
          take_step: returns as soon as it is compiled, while devices still compute.
          what: it is compiled for, in words.

        Returns:
          The same step. Its first call waits for the steps before it.
        """
        def first(*arguments):
            with self.paused():
                logging.info("Compiling the training step for %s; this can take minutes.", what)
                before, start = self.compiled, time.monotonic()
                result = take_step(*arguments)
                logging.info("Compiled in %.0f s, %.0f s of them XLA's.", time.monotonic() - start,
                             self.compiled - before)
            calls[0] = take_step
            return result

        calls = [first]
        return functools.wraps(take_step)(lambda *arguments: calls[0](*arguments))

    def close(self) -> None:
        """Ends the thread, after the write that is going on, and the bar."""
        self.bar.close()
        jax.monitoring.unregister_event_duration_listener(self._note_duration)
        self.thread.shutdown()
