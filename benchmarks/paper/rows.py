"""The runs that a table or figure is of: which there are, and how those that are missing are made.

A run is a row of configs/ablations.py at a size and a seed, in RUNS/ROW_SIZE-SEED.
"""

import concurrent.futures
import csv
import json
import os
import pathlib
import shlex
import shutil
import subprocess
import sys
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from benchmarks import seeds
from configs import ablations

ROOT = pathlib.Path(__file__).parent.parent.parent
SPLIT = "test"  # eval.final_split of the configs


class Run(NamedTuple):
    """One run of a row.

    Attributes:
      row, size, seed: as configs/ablations.py has them.
      runs: the folder of all runs.
      flags: of the config, as --config.train.batch_size=4, beyond the row's own.
    """

    row: str
    size: str
    seed: int
    runs: pathlib.Path
    flags: tuple[str, ...] = ()

    @property
    def workdir(self) -> pathlib.Path:
        return self.runs / f"{self.row}_{self.size}-{self.seed}"

    @property
    def command(self) -> list[str]:
        """What makes it, or goes on with it."""
        return [sys.executable, "-m", "parts_jax.main",
                f"--config={ROOT / 'configs' / 'ablations.py'}:{self.row}_{self.size}",
                f"--workdir={self.workdir}", f"--config.seed={self.seed}", *self.flags]

    def record(self) -> dict | None:
        """Its evaluation after its last step; None: it has not come so far."""
        path = self.workdir / "config.json"
        if not path.is_file():
            return None
        steps = sum(json.loads(path.read_text(encoding="utf-8"))["schedule"]["steps"])
        try:
            found = seeds.newest_evaluation(self.workdir, SPLIT)
        except FileNotFoundError:
            return None
        return found if found["step"] == steps and self._file(found, ".csv").is_file() else None

    def clips(self) -> dict[str, np.ndarray]:
        """Scores of each clip by name, float64 [N], and "id", of a run that is done."""
        with self._file(self.record(), ".csv").open(encoding="utf-8", newline="") as file:
            lines = list(csv.DictReader(file))
        return {name: np.asarray([line[name] for line in lines], None if name == "id" else float)
                for name in lines[0] if name != "clip"}

    def rollout(self) -> dict:
        """What its evaluation has of roll-outs, of a run that is done.

        Raises:
          FileNotFoundError: it has none, as its config asked for none.
        """
        path = self._file(self.record(), "-rollout.json")
        if not path.is_file():
            raise FileNotFoundError(f"{path} is not there: the run was evaluated without roll-outs "
                                    "(eval.rollout_steps).")
        return json.loads(path.read_text(encoding="utf-8"))

    def _file(self, record: dict, suffix: str) -> pathlib.Path:
        name = f"{record['dataset'].replace('/', '_')}-{SPLIT}-{record['step']}{suffix}"
        return self.workdir / "evaluation" / name


def every(rows: Sequence[str], size: str, num_seeds: int, runs: pathlib.Path,
          flags: Sequence[str] = ()) -> list[Run]:
    """All runs of some rows, seed after seed, so that a table that is stopped has whole columns.

    Raises:
      ValueError: there is no such size, or no seed is asked for.
    """
    if size not in ablations.SIZES:
        raise ValueError(f"--size is {size!r}, but must be one of {', '.join(ablations.SIZES)}.")
    if num_seeds < 1:
        raise ValueError(f"--seeds is {num_seeds}, but must be a whole number, 1 or more.")
    return [Run(row, size, seed, runs, tuple(flags)) for seed in range(num_seeds) for row in rows]


def make_missing(runs: Sequence[Run], num_jobs: int) -> None:
    """Trains and evaluates the runs that are not done, `num_jobs` at a time on cores of their own.

    A run that was stopped goes on from its newest checkpoint, and one that is done is left alone.

    Raises:
      ValueError: there is no job to be had, or a run failed; its log is in its workdir.
    """
    if num_jobs < 1:
        raise ValueError(f"--jobs is {num_jobs}, but must be a whole number, 1 or more.")
    missing = [run for run in runs if run.record() is None]
    print(f"{len(runs) - len(missing)} of {len(runs)} runs are done.", flush=True)
    cores = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else []
    shares = [cores[i::num_jobs] for i in range(num_jobs)]
    free = list(shares)

    def work(run: Run) -> None:
        share = free.pop()
        try:
            _make(run, share if num_jobs > 1 else [])
        finally:
            free.append(share)

    with concurrent.futures.ThreadPoolExecutor(num_jobs) as pool:
        futures = [pool.submit(work, run) for run in missing]
        try:
            for future in concurrent.futures.as_completed(futures):
                future.result()
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise


def _make(run: Run, cores: list[int]) -> None:
    """Runs a run's command, pinned to some cores where that can be done; none: not pinned."""
    run.workdir.mkdir(parents=True, exist_ok=True)
    pin = (["taskset", "-c", ",".join(map(str, cores))]
           if cores and shutil.which("taskset") else [])
    log = run.workdir.with_suffix(".log")
    print(f"{run.workdir} ...", flush=True)
    with log.open("a", encoding="utf-8") as file:
        code = subprocess.run([*pin, *run.command], cwd=ROOT, stdout=file, stderr=file,
                              check=False).returncode
    if code or run.record() is None:
        raise ValueError(f"The run in {run.workdir} ended with exit code {code} before it was "
                         f"done; {log} says why. The same command goes on from its newest "
                         f"checkpoint: {shlex.join(run.command)}")
