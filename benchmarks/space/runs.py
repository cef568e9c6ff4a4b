"""What a run says of itself in its files: nothing is loaded or run."""

import pathlib
from typing import Any, NamedTuple

import ml_collections
import numpy as np

from parts_jax.report import numbers
from parts_jax.runs import configuration

CELLS = {"parallel": "SPACE", "sequential": "SPAIR's cells", "none": "background alone"}


class Run(NamedTuple):
    """A run.

    Attributes:
      workdir: its folder.
      config: of the run.
      log: lines of metrics.jsonl, with evaluations during training as `eval/<metric>`.
    """

    workdir: pathlib.Path
    config: ml_collections.ConfigDict
    log: list[dict[str, Any]]

    @property
    def model(self) -> str:
        """Its family, and of SPACE's which."""
        return model_name(self.config)


def model_name(config: ml_collections.ConfigDict) -> str:
    """What the model of a config is called in tables."""
    c = config.model
    return CELLS[c.foreground.cells] if c.name == "space" else c.name.upper()


def load(workdir: str | pathlib.Path) -> Run:
    """Reads a run's files.

    Raises:
      FileNotFoundError: there is no such run.
      ValueError: its config cannot be read.
    """
    path = pathlib.Path(workdir)
    config = configuration.load(str(path))
    return Run(path, config, numbers.read_metrics(path, config.data.name, config.eval.split))


def seconds_a_step(run: Run) -> float:
    """The median over the lines of the log, compiling and evaluations left out; nan: none."""
    seconds = [1 / line["train/steps_per_second"] for line in run.log
               if line.get("train/steps_per_second")]
    return float(np.median(seconds)) if seconds else float("nan")


def mse_by_minutes(run: Run) -> tuple[list[float], list[float]]:
    """Minutes of training at each evaluation during it, evaluations left out, and MSE there.

    Raises:
      ValueError: the log does not say how long training took, or has no such evaluation.
    """
    steps, minutes = [0.0], [0.0]
    for line in run.log:
        rate = line.get("train/steps_per_second")
        if rate:
            minutes.append(minutes[-1] + (line["step"] - steps[-1]) / rate / 60)
            steps.append(line["step"])
    found = [(line["step"], line["eval/mse"]) for line in run.log if "eval/mse" in line]
    if len(steps) == 1 or not found:
        raise ValueError(f"{run.workdir} was not evaluated while it was trained, or its "
                         "metrics.jsonl says no speed.")
    at = np.interp([step for step, _ in found], steps, minutes)
    return at.tolist(), [mse for _, mse in found]
