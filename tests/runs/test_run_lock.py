"""Two runs never train in one workdir; a run that was killed is in nobody's way."""

import errno
import fcntl
import json
import os
import signal
import subprocess
import sys

import pytest

from parts_jax.files import lock
from parts_jax.runs import run_lock

HOLD = ("import sys, time; from parts_jax.runs import run_lock\n"
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


# ---- Waiting, as for a data set that another process builds --------------------------------------
def test_who_waits_gets_it_when_the_holder_is_gone(tmp_path):
    path = tmp_path / "lock"
    source = ("import sys, time; from parts_jax.files import lock\n"
              "with lock.hold(sys.argv[1]): print('held', flush=True); time.sleep(1)")
    process = subprocess.Popen([sys.executable, "-c", source, str(path)], stdout=subprocess.PIPE,
                               text=True)
    assert process.stdout.readline() == "held\n"
    with pytest.raises(lock.HeldError, match=f"process {process.pid} on "):
        with lock.hold(path):
            pass
    with lock.hold(path, wait=True):
        assert json.loads(path.read_text())["pid"] == os.getpid()
    assert not path.exists() and process.wait(10) == 0


def test_two_processes_that_need_the_same_set_build_it_once(tmp_path):
    source = ("import sys; from absl import flags; flags.FLAGS(['x'])\n"
              "from absl import logging; logging.set_verbosity(logging.INFO)\n"
              "from parts_jax import data; data.prepare('sim_clevrer/tiny', sys.argv[1])")
    both = [subprocess.Popen([sys.executable, "-c", source, str(tmp_path)], stderr=subprocess.PIPE,
                             text=True, env=os.environ | {"JAX_PLATFORMS": "cpu"})
            for _ in range(2)]
    said = [process.communicate(timeout=200)[1] for process in both]
    assert [process.returncode for process in both] == [0, 0], said
    assert sum("Building sim_clevrer/tiny" in text for text in said) == 1, said
    assert sum("Waiting for another process that builds" in text for text in said) <= 1
    assert not list(tmp_path.rglob("*.lock"))


def test_without_locks_it_warns_and_goes_on(tmp_path, monkeypatch, caplog):
    def unsupported(*args):
        raise OSError(errno.ENOSYS, "Function not implemented")

    monkeypatch.setattr(fcntl, "flock", unsupported)
    with caplog.at_level("WARNING"), run_lock.hold(tmp_path / "run"):
        assert "keeps no locks (Function not implemented)" in caplog.text


@pytest.mark.parametrize("content", [b"", b"7", b"[]", b"{}", b"\xff", b"[" * 100_000],
                         ids=lambda content: repr(content)[:40])
def test_a_lock_that_does_not_say_whose_it_is_is_named(tmp_path, content):
    (tmp_path / "run.lock").write_bytes(content)
    assert lock.holder(tmp_path / "run.lock") == f"it holds {tmp_path / 'run.lock'}"
