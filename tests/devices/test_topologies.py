"""The same run on one device; on four, one, two processes of two devices each, and four again; and
in two such processes, of which one is lost: equal numbers.

In float64, where another order of additions is far below what is compared; in float32 rounding
grows with the steps (docs/reliability.md).
"""

import json
import os
import pathlib
import signal
import subprocess
import time

import pytest

from benchmarks import topologies
from benchmarks.topologies import log_of, losses
from parts_jax.devices import distributed
from parts_jax.runs import checkpoint

ROOT = pathlib.Path(__file__).parents[2]
STEPS = 30
TOLERANCE = 1e-5  # what is promised; float64 is better by far
FLOAT64 = 1e-10


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> pathlib.Path:
    """Holds prepared data and runs of this file."""
    return tmp_path_factory.mktemp("topologies")


@pytest.fixture(scope="module")
def arguments(folder, tiny) -> list[str]:
    values = tiny | {
        "data.data_dir": str(folder / "data"), "model.dtype": "float64", "schedule.steps": (STEPS,),
        "schedule.resolution": (16,), "train.pixels": (2,),
        "train.encoder_pooling": (1,), "schedule.learning_rate": (3e-3,),
        "schedule.warmup_steps": (2,), "schedule.final_scale": (0.3,),
        "model.beta_scale": (1.0,), "train.log_every": 1, "train.evaluate_every": 15,
        "train.checkpoint_every": 6, "eval.report": True}
    return [f"--config={ROOT}/configs/parts_clevrer.py:demo",
            *(f"--config.{key}={value}" for key, value in values.items())]


@pytest.fixture(scope="module")
def start(folder, arguments):
    """Starts a run of so many processes and devices each."""
    return lambda workdir, processes, devices: topologies.start(
        workdir, processes, devices, arguments, {"PYTHONPATH": str(ROOT)})


def end(processes: list[subprocess.Popen], workdir: pathlib.Path, code: int = 0) -> None:
    """Waits for the end of all, which must be with that exit code."""
    for number, process in enumerate(processes):
        assert process.wait(300) == code, log_of(workdir, number).read_text()


def wait_for(processes: list[subprocess.Popen], workdir: pathlib.Path, step: int) -> None:
    """Returns when the metrics of a step are written."""
    metrics, latest = workdir / "metrics.jsonl", time.monotonic() + 300
    while not (metrics.exists() and f'{{"step": {step},' in metrics.read_text()):
        assert all(process.poll() is None for process in processes), (
            log_of(workdir, 0).read_text())
        assert time.monotonic() < latest
        time.sleep(0.002)


@pytest.fixture(scope="module")
def one(folder, start) -> pathlib.Path:
    """The workdir of a run in one process on one device."""
    end(start(folder / "1x1", 1, 1), folder / "1x1")
    return folder / "1x1"


@pytest.fixture(scope="module")
def moved(folder, start, one) -> pathlib.Path:
    """A run saved on 4 devices by TERM, on with 1, then 2 x 2, and back on 4."""
    workdir = folder / "moved"
    for layout, stop in (((1, 4), 5), ((1, 1), 11), ((2, 2), 17), ((1, 4), None)):
        processes = start(workdir, *layout)
        if stop:
            wait_for(processes, workdir, stop)
            processes[-1].send_signal(signal.SIGTERM)  # one of them is told, all leave
        end(processes, workdir, distributed.START_AGAIN if stop else 0)
        steps = checkpoint.complete_steps(workdir / checkpoint.FOLDER)
        assert steps[-1] >= (stop or STEPS) and not (workdir / "run.lock").exists()
        if stop:
            assert f"TERM: left after step {steps[-1]} of {STEPS}" in log_of(workdir, 0).read_text()
            assert steps[-1] < STEPS - 1
    return workdir


@pytest.fixture(scope="module")
def lost(folder, start, arguments, one) -> pathlib.Path:
    """A run of two processes: one is killed, the other ends by itself, and both go on."""
    workdir = folder / "lost"
    processes = topologies.start(workdir, 2, 2, [*arguments, "--heartbeat_timeout=10"],
                                 {"PYTHONPATH": str(ROOT)})
    wait_for(processes, workdir, 8)
    processes[1].kill()
    began = time.monotonic()
    assert processes[0].wait(120) != 0
    assert time.monotonic() - began < 60  # 10 s without a sign of life, and a margin
    processes[1].wait()
    saved = checkpoint.complete_steps(workdir / checkpoint.FOLDER)[-1]
    assert 6 <= saved < STEPS
    end(start(workdir, 2, 2), workdir)
    assert f"From step {saved} of {STEPS}" in log_of(workdir, 0).read_text()
    return workdir


@pytest.mark.parametrize("which", ["moved", "lost"])
def test_any_devices_and_processes_and_the_loss_of_one_give_the_same_run(which, one, request):
    """Losses of all steps, so the batches were the same; and every number of the evaluations."""
    workdir = request.getfixturevalue(which)
    assert sorted(losses(workdir)) == list(range(1, STEPS + 1))
    assert losses(workdir) == pytest.approx(losses(one), abs=FLOAT64)
    assert len(set(losses(one).values())) == STEPS  # no two batches give the same number
    a, b = topologies.evaluations(one), topologies.evaluations(workdir)
    assert len(a) > 30 and topologies.greatest_difference(a, b) < TOLERANCE
    record = next((workdir / "evaluation").glob(f"*-test-{STEPS}.json"))
    assert json.loads(record.read_text())["num_sequences"] == 8  # each clip once


def test_one_process_alone_writes(lost):
    names = os.listdir(lost)
    assert len([name for name in names if name.startswith("events")]) == 2  # of two starts
    assert sorted({name.split(".")[0] for name in names}) == [
        "best", "checkpoints", "config", "evaluation", "events", "metrics"]
    for number in (0, 1):
        log = log_of(lost, number).read_text()
        assert f"Process {number} of 2" in log and "python -m parts_jax.report" in log
