"""What befalls a run from outside, through the public command: TERM, a second run, a full disk,
damaged checkpoints. Nothing is lost, and the end is that of an undisturbed run."""

import contextlib
import json
import os
import pathlib
import shutil
import signal
import subprocess
import sys
import time

import pytest

from benchmarks import kills
from parts_jax.devices import distributed, signals
from parts_jax.runs import checkpoint

ROOT = pathlib.Path(__file__).parent.parent
LAST_STEP = 24


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> pathlib.Path:
    return tmp_path_factory.mktemp("faults")


@pytest.fixture(scope="module")
def command(folder, tiny, one_device):
    """Makes the command line and environment of a run of `LAST_STEP` steps, on one device."""
    values = tiny | {
        "data.data_dir": str(folder / "data"), "schedule.steps": (LAST_STEP,),
        "schedule.resolution": (16,), "train.pixels": (2,),
        "train.encoder_pooling": (1,), "schedule.learning_rate": (3e-3,),
        "schedule.warmup_steps": (2,), "schedule.final_scale": (0.3,),
        "model.beta_scale": (1.0,), "train.log_every": 1, "train.evaluate_every": 8,
        "train.checkpoint_every": 6, "train.keep_checkpoints": 2}
    arguments = [f"--config.{key}={value}" for key, value in values.items()]

    def make(workdir: pathlib.Path, *more: str) -> dict:
        return {"args": [sys.executable, "-m", "parts_jax.main",
                         f"--config={ROOT}/configs/parts_clevrer.py:demo", *arguments,
                         f"--workdir={workdir}", *more], "env": one_device, "cwd": folder}

    return make


def run(call: dict, code: int = 0) -> str:
    """Runs a command to its end, which must be that exit code, and returns what it said."""
    result = subprocess.run(**call, capture_output=True, text=True, timeout=300)
    assert result.returncode == code, result.stderr
    return result.stderr


@pytest.fixture(scope="module")
def undisturbed(folder, command) -> pathlib.Path:
    run(command(folder / "undisturbed"))
    return folder / "undisturbed"


def steps_of(workdir: pathlib.Path) -> list[int]:
    return checkpoint.complete_steps(workdir / checkpoint.FOLDER)


def start_and_wait_for(call: dict, workdir: pathlib.Path, step: int) -> subprocess.Popen:
    """Starts a run, and returns when it has a line of metrics for that step."""
    process = subprocess.Popen(**call, stderr=subprocess.PIPE, text=True)
    metrics, end = workdir / "metrics.jsonl", time.monotonic() + 200
    while not (metrics.exists() and f'{{"step": {step},' in metrics.read_text()):
        assert process.poll() is None and time.monotonic() < end
        time.sleep(0.002)
    return process


def test_the_files_of_a_run(undisturbed):
    assert sorted(name.split(".")[0] for name in os.listdir(undisturbed)) == [
        "best", "checkpoints", "config", "evaluation", "events", "metrics"]
    best = json.loads((undisturbed / "best.json").read_text())
    assert {18, LAST_STEP, best["step"]} <= set(steps_of(undisturbed)) < {8, 16, 18, LAST_STEP}
    assert best["metric"] == "miou_last_assigned"
    lines = [json.loads(line) for line in (undisturbed / "metrics.jsonl").read_text().splitlines()]
    name = "sim_clevrer_tiny-validation"
    scores = {line["step"]: line[f"{name}/miou_last_assigned"] for line in lines
              if f"{name}/mse" in line}
    assert sorted(scores) == [8, 16, LAST_STEP]
    assert best["value"] == max(scores.values()) == scores[best["step"]]


def test_term_and_ctrl_c_save_and_the_same_command_goes_on(folder, command, undisturbed):
    """To the same end, bit for bit."""
    workdir = folder / "term"
    process = start_and_wait_for(command(workdir), workdir, 9)
    process.send_signal(signal.SIGTERM)
    message = process.communicate(timeout=120)[1]
    assert process.returncode == distributed.START_AGAIN == 75
    saved = steps_of(workdir)[-1]
    assert (f"TERM: left after step {saved} of {LAST_STEP}; the newest checkpoint is of step "
            f"{saved}. The same command goes on from there.") in message
    assert saved >= 9 and saved < LAST_STEP and "Traceback" not in message
    assert not (workdir / "run.lock").exists()

    call = command(workdir)
    call["args"] = ["env", "--default-signal=INT", *call["args"]]
    process = start_and_wait_for(call, workdir, saved + 2)
    process.send_signal(signal.SIGINT)
    message = process.communicate(timeout=120)[1]
    assert process.returncode == signals.INTERRUPTED == 130
    saved = steps_of(workdir)[-1]
    assert (f"Ctrl-C: left after step {saved} of {LAST_STEP}; the newest checkpoint is of step "
            f"{saved}. The same command goes on from there.") in message
    assert saved < LAST_STEP and "Traceback" not in message
    assert f"From step {saved} of {LAST_STEP}" in run(command(workdir))
    a, b = kills.outcome(undisturbed), kills.outcome(workdir)
    assert kills.differences(a, b) in ([], ["files"])  # the step of TERM may be the best one kept
    assert a["lines"] == b["lines"]


def test_term_before_the_first_step_asks_for_another_start(folder, command, undisturbed):
    workdir = folder / "early"
    process = subprocess.Popen(**command(workdir), stderr=subprocess.PIPE, text=True)
    while "train of" not in (line := process.stderr.readline()):
        assert line
    process.send_signal(signal.SIGTERM)
    assert process.wait(120) == distributed.START_AGAIN
    process.stderr.close()
    run(command(workdir))
    assert kills.differences(kills.outcome(undisturbed), kills.outcome(workdir)) in ([], ["files"])


def test_a_second_run_in_the_same_workdir_is_refused(folder, command):
    workdir = folder / "twice"
    process = start_and_wait_for(command(workdir), workdir, 2)
    try:
        process.send_signal(signal.SIGSTOP)  # so that it is still there
        message = run(command(workdir), code=2)
        assert message.splitlines()[-1].startswith(
            f"Error: Another process is training in '{workdir}': process {process.pid} on ")
    finally:
        process.send_signal(signal.SIGCONT)
        process.kill()
        process.communicate()
    process = start_and_wait_for(command(workdir), workdir, 4)  # a killed one is in nobody's way
    process.kill()
    process.communicate()


def test_a_damaged_checkpoint_costs_its_steps_and_nothing_else(folder, command, undisturbed):
    workdir = folder / "damaged"
    process = start_and_wait_for(command(workdir), workdir, 17)
    process.kill()
    process.communicate()
    newest = steps_of(workdir)[-1]
    for path in (workdir / checkpoint.FOLDER / str(newest) / "state").rglob("*"):
        if path.is_file():
            path.write_bytes(path.read_bytes()[:10])
    message = run(command(workdir))
    assert f"The checkpoint of step {newest} in" in message and "cannot be read" in message
    assert os.listdir(workdir / "damaged") == [str(newest)]
    shutil.rmtree(workdir / "damaged")
    assert kills.differences(kills.outcome(undisturbed), kills.outcome(workdir)) == []


# ---- A disk of 20 MB -----------------------------------------------------------------------------
@pytest.fixture
def small_disk(tmp_path):
    """A file system of 20 MB; only root may make one."""
    disk = tmp_path / "disk"
    disk.mkdir()
    made = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=20m", "tmpfs", str(disk)],
                          capture_output=True, text=True)
    if made.returncode:
        pytest.skip(f"This machine lets nobody mount a file system: {made.stderr.strip()}")
    yield disk
    subprocess.run(["umount", "--lazy", str(disk)], check=True)


def fill(disk: pathlib.Path, leave: int) -> None:
    """Fills a file system, but for so many bytes."""
    with contextlib.suppress(OSError), (disk / "filler").open("wb") as file:
        file.write(bytes(shutil.disk_usage(disk).free - leave))


def test_too_little_room_stops_before_training(command, small_disk, undisturbed):
    fill(small_disk, leave=2_000_000)
    message = run(command(small_disk / "run"), code=2)
    assert "MB left, but 3 checkpoints and one that is being written, of" in message
    assert "Traceback" not in message and "metrics.jsonl" not in os.listdir(small_disk / "run")


def test_a_disk_that_fills_in_the_run_leaves_the_checkpoint_before(command, small_disk,
                                                                   undisturbed):
    workdir = small_disk / "run"
    process = start_and_wait_for(command(workdir), workdir, 9)
    fill(small_disk, leave=0)
    message = process.communicate(timeout=120)[1]
    assert process.returncode == 2, message
    assert "Traceback" not in message  # of none of the threads that were writing
    last = message.splitlines()[-1]
    assert "No space left on device" in message and "the same command goes on from" in message, last
    steps = steps_of(workdir)
    assert steps and steps[-1] < LAST_STEP
    (small_disk / "filler").unlink()
    assert f"From step {steps[-1]} of {LAST_STEP}" in run(command(workdir))
    assert kills.differences(kills.outcome(undisturbed), kills.outcome(workdir)) == []
