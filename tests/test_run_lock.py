"""Two runs never train in one workdir; a run that was killed is in nobody's way."""

import json
import os
import signal
import subprocess
import sys

import pytest

from parts_jax import run_lock

HOLD = ("import sys, time; from parts_jax import run_lock\n"
        "with run_lock.hold(sys.argv[1]): print('held', flush=True); time.sleep(100)")


@pytest.fixture
def holder(tmp_path):
    """A process that holds the lock of `tmp_path`/run."""
    process = subprocess.Popen([sys.executable, "-c", HOLD, str(tmp_path / "run")],
                               stdout=subprocess.PIPE, text=True)
    assert process.stdout.readline() == "held\n"
    yield process
    process.kill()
    process.wait()


def test_the_second_is_refused_and_told_who_holds_it(tmp_path, holder):
    with pytest.raises(ValueError, match=rf"Another process is training in '{tmp_path}/run': "
                                         rf"process {holder.pid} on .*, since 20"):
        with run_lock.hold(tmp_path / "run"):
            pass
    assert json.loads((tmp_path / "run" / "run.lock").read_text())["pid"] == holder.pid


def test_a_killed_holder_is_in_nobodys_way(tmp_path, holder):
    holder.send_signal(signal.SIGKILL)
    holder.wait()
    assert (tmp_path / "run" / "run.lock").exists()
    with run_lock.hold(tmp_path / "run"):
        held = json.loads((tmp_path / "run" / "run.lock").read_text())
        assert held["pid"] == os.getpid()
    assert os.listdir(tmp_path / "run") == []


def test_it_can_be_held_again_after_an_error(tmp_path):
    for _ in range(2):
        with pytest.raises(KeyError):
            with run_lock.hold(tmp_path):
                raise KeyError
    assert os.listdir(tmp_path) == []


def test_an_unwritable_workdir_is_named(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(OSError, match="The workdir '.*/file/run' cannot be written to: Not a dir"):
        with run_lock.hold(tmp_path / "file" / "run"):
            pass
