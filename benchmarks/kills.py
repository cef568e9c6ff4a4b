"""Kills a run at random moments, starts it again, and compares its end with an undisturbed run's.

    python -m benchmarks.kills --kills=30 --folder=runs/kills

Each of the runs is killed once by SIGKILL: every second one at a moment drawn from the whole time
of the undisturbed run, its start and its end included; the others while a checkpoint is being
written. Then the same command is run to its end. What must be equal: every array of the newest
checkpoint (parameters, optimizer, step), the place in the data, every line of metrics.jsonl but
its speed, the evaluations, and the list of files.

With --signal=TERM the run is asked to leave in place of being killed. It then has a line of metrics
and a checkpoint of the step at which it left, so lines and files are not compared.

Prints a line a run, and a summary as JSON. Flags of parts_jax.main may follow after `--`.
"""

import argparse
import json
import os
import pathlib
import random
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from typing import Any

import jax
import numpy as np
import orbax.checkpoint as ocp

from parts_jax.runs import checkpoint

SPEED = ("train/steps_per_second", "train/frames_per_second", "train/waiting_share",
         "train/compile_seconds")
# A demo run of 48 steps, with a checkpoint every four.
SETTINGS = (
    "--config=configs/parts_clevrer.py:demo", "--config.schedule.steps=(24, 24)",
    "--config.schedule.warmup_steps=(4, 4)", "--config.train.log_every=3",
    "--config.train.checkpoint_every=4", "--config.train.evaluate_every=16",
    "--config.eval.num_sequences=8", "--config.eval.report=False", "--config.eval.length=0")
NUM_SAVES = 12
COMPARED = {"KILL": ("arrays", "place", "lines", "evaluations", "files"),
            "TERM": ("arrays", "place", "evaluations")}
COMMIT = re.compile(rb'\n  "commit": "[^"]*",')  # in JSON: code may be edited meanwhile
TEMPORARY = "*.orbax-checkpoint-tmp*"  # what orbax calls a checkpoint that is being written


def start(workdir: pathlib.Path, settings: Sequence[str]) -> subprocess.Popen:
    """Starts training; its output goes to a file beside the workdir."""
    with workdir.with_suffix(".log").open("ab") as log:
        return subprocess.Popen(
            [sys.executable, "-m", "parts_jax.main", *settings, f"--workdir={workdir}"],
            stdout=log, stderr=log)


def finish(workdir: pathlib.Path, settings: Sequence[str]) -> float:
    """Trains to the end; returns seconds.

    Raises:
      RuntimeError: the run failed.
    """
    began = time.monotonic()
    code = start(workdir, settings).wait()
    if code:
        raise RuntimeError(f"Training in {workdir} ended with exit code {code}; its output is in "
                           f"{workdir.with_suffix('.log')}.")
    return time.monotonic() - began


def kill_at(workdir: pathlib.Path, settings: Sequence[str], seconds: float,
            number: signal.Signals = signal.SIGKILL) -> str | None:
    """Starts a run and kills it after so many seconds; None if it had ended before."""
    process = start(workdir, settings)
    try:
        process.wait(seconds)
        return None
    except subprocess.TimeoutExpired:
        return _kill(process, workdir, number)


def kill_in_save(workdir: pathlib.Path, settings: Sequence[str], save: int, delay: float,
                 number: signal.Signals = signal.SIGKILL) -> str | None:
    """Starts a run and kills it `delay` seconds after its `save`-th save (from 0) has begun."""
    process, seen, there = start(workdir, settings), -1, False
    while process.poll() is None:
        now = any((workdir / checkpoint.FOLDER).glob(TEMPORARY))
        seen, there = seen + (now and not there), now
        if seen == save:
            time.sleep(delay)
            return _kill(process, workdir, number) if process.poll() is None else None
        time.sleep(0.0005)
    return None


def _kill(process: subprocess.Popen, workdir: pathlib.Path, number: signal.Signals) -> str:
    process.send_signal(number)
    code = process.wait()
    steps = checkpoint.complete_steps(workdir / checkpoint.FOLDER)
    half = sorted(path.name for path in (workdir / checkpoint.FOLDER).glob(TEMPORARY))
    return f"exit code {code}, complete: {steps}, half-written: {len(half)}"


def outcome(workdir: pathlib.Path) -> dict[str, Any]:
    """All that a run leaves, but for its speed and TensorBoard's files, one of each start.

    Returns:
      `arrays` of the newest checkpoint by path, `place` in the data, `lines` of metrics,
      `evaluations`, and `files`, the paths of all files whose names are not drawn at random.
    """
    step = checkpoint.complete_steps(workdir / checkpoint.FOLDER)[-1]
    newest = workdir / checkpoint.FOLDER / str(step)
    reader = ocp.PyTreeCheckpointer()
    as_numpy = jax.tree.map(lambda _: ocp.RestoreArgs(restore_type=np.ndarray),
                            reader.metadata(newest / "state").item_metadata.tree)
    arrays = reader.restore(newest / "state", restore_args=as_numpy)
    lines = [json.loads(line) for line in (workdir / "metrics.jsonl").read_text().splitlines()]
    return {
        "arrays": {jax.tree_util.keystr(path): np.asarray(leaf)
                   for path, leaf in jax.tree_util.tree_leaves_with_path(arrays)},
        "place": next((newest / "iterator").glob("process_0-of-*.json")).read_text(),
        "lines": [{k: v for k, v in line.items() if k not in SPEED} for line in lines],
        "evaluations": {path.name: COMMIT.sub(b"", path.read_bytes())
                        for path in sorted((workdir / "evaluation").iterdir())},
        "files": sorted(str(path.relative_to(workdir)) for path in workdir.rglob("*")
                        if path.is_file() and not path.name.startswith("events.")
                        and "state" not in path.relative_to(workdir).parts)}


def differences(a: dict[str, Any], b: dict[str, Any]) -> list[str]:
    """Names of the parts of two outcomes that are not equal, bit for bit."""
    same_arrays = a["arrays"].keys() == b["arrays"].keys() and all(
        a["arrays"][key].dtype == b["arrays"][key].dtype
        and a["arrays"][key].tobytes() == b["arrays"][key].tobytes() for key in a["arrays"])
    return ([] if same_arrays else ["arrays"]) + [
        key for key in ("place", "lines", "evaluations", "files") if a[key] != b[key]]


def trial(workdir: pathlib.Path, settings: Sequence[str], in_save: bool, seconds: float,
          draw: random.Random, number: signal.Signals) -> str:
    """Starts a run anew until a kill has hit it; returns what was on disk then."""
    state = None
    while state is None:  # else it was faster than the draw
        shutil.rmtree(workdir, ignore_errors=True)
        if in_save:
            state = kill_in_save(workdir, settings, draw.randrange(NUM_SAVES), draw.uniform(0, .15),
                                 number)
        else:
            state = kill_at(workdir, settings, draw.uniform(0.2, seconds), number)
    return state


def main(arguments: Sequence[str]) -> int:
    """Does what the head of the file says; exit code 1 if any end differs."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kills", type=int, default=30)
    parser.add_argument("--signal", choices=COMPARED, default="KILL")
    parser.add_argument("--folder", type=pathlib.Path, default=pathlib.Path("runs/kills"))
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("settings", nargs="*", help="flags of parts_jax.main, after --")
    options = parser.parse_args(arguments)
    if options.kills < 1:
        parser.error(f"--kills must be 1 or more; got {options.kills}")
    shutil.rmtree(options.folder, ignore_errors=True)
    options.folder.mkdir(parents=True)
    settings = [*SETTINGS, *options.settings]
    finish(options.folder / "first", settings)  # prepares the data and compiles
    seconds = finish(options.folder / "undisturbed", settings)
    expected = outcome(options.folder / "undisturbed")
    repeated = not differences(expected, outcome(options.folder / "first"))
    draw, equal, half = random.Random(options.seed), 0, 0
    for number in range(1, options.kills + 1):
        workdir = options.folder / f"killed-{number}"
        state = trial(workdir, settings, number % 2 == 0, seconds, draw,
                      signal.Signals[f"SIG{options.signal}"])
        finish(workdir, settings)
        found = [part for part in differences(expected, outcome(workdir))
                 if part in COMPARED[options.signal]]
        equal, half = equal + (not found), half + ("half-written: 0" not in state)
        print(f"{workdir.name}: {state}; {'differs in ' + ', '.join(found) if found else 'equal'}",
              flush=True)
        if not found:
            shutil.rmtree(workdir)
    print(json.dumps({"signal": options.signal, "kills": options.kills, "equal": equal,
                      "killed_in_a_save": half, "two_undisturbed_runs_equal": repeated,
                      "seconds_undisturbed": round(seconds, 1), "cores": os.cpu_count()}))
    return 0 if equal == options.kills and repeated else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
