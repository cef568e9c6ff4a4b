"""Several processes find each other, and wait for nobody for ever; how they train is tested in
test_topologies.py."""

import contextlib
import os
import pathlib
import signal
import socket
import subprocess
import sys
import time
from concurrent import futures

import numpy as np
import pytest
from absl import flags
from absl.testing import flagsaver
from jax._src import clusters

from parts_jax import main
from parts_jax.devices import distributed, signals

ROOT = pathlib.Path(__file__).parents[2]


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> pathlib.Path:
    """Holds prepared data, compiled programs and runs of this file."""
    return tmp_path_factory.mktemp("distributed")


@pytest.fixture(scope="module")
def arguments(folder, tiny) -> list[str]:
    values = tiny | {"data.data_dir": str(folder / "data")}
    return [f"--config={ROOT}/configs/parts_clevrer.py:demo",
            *(f"--config.{key}={value}" for key, value in values.items())]


@pytest.fixture(scope="module")
def environment(folder) -> dict[str, str]:
    flags = [flag for flag in os.environ["XLA_FLAGS"].split() if "device_count" not in flag]
    return os.environ | {"PYTHONPATH": str(ROOT), "XLA_FLAGS": " ".join(flags),
                         "JAX_COMPILATION_CACHE_DIR": str(folder / "programs"),
                         "PARTS_JAX_PYTHON": sys.executable, "LOG_DIR": str(folder / "logs")}


# ---- Processes that do not come, or go -----------------------------------------------------------
def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("", 0))
        return listener.getsockname()[1]


def test_a_process_that_never_comes_is_an_error_in_time(arguments, environment, tmp_path):
    start = time.monotonic()
    result = subprocess.run(
        [sys.executable, "-m", "parts_jax.main", *arguments, f"--workdir={tmp_path / 'run'}",
         f"--coordinator_address=localhost:{free_port()}", "--num_processes=2", "--process_id=0",
         "--initialization_timeout=3"], env=environment, cwd=tmp_path, capture_output=True,
        text=True, timeout=120)
    assert time.monotonic() - start < 60  # most of it imports, on a machine with other work
    assert result.returncode == distributed.UNAVAILABLE
    assert "Error: Process 0 did not meet all 2 processes at localhost:" in result.stderr
    assert "within 3 s" in result.stderr and "Traceback" not in result.stderr
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize("lost", [0, 1])
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSTOP], ids=["dies", "stands still"])
def test_a_lost_process_ends_the_other_in_time(environment, lost, number):
    """Even if nothing is sent between them, as while one waits for data."""
    source = "import sys, time; from parts_jax.devices import distributed\n" \
        f"distributed.initialize('localhost:{free_port()}', 2, int(sys.argv[1]), 60, 5)\n" \
        "print('met', flush=True); time.sleep(100)"
    both = [subprocess.Popen([sys.executable, "-c", source, str(number)], env=environment,
                             stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
            for number in (0, 1)]
    for process in both:
        assert process.stdout.readline() == "met\n"
    both[lost].send_signal(number)
    start = time.monotonic()
    assert both[1 - lost].wait(60) != 0
    assert time.monotonic() - start < 40
    both[lost].kill()
    both[lost].wait()


# ---- Flags and clusters --------------------------------------------------------------------------
@pytest.mark.parametrize("given, message", [
    (("host:1", 2, None), "given all three or not at all; missing: --process_id."),
    ((None, None, 0), "missing: --coordinator_address, --num_processes."),
    (("host:1", 2, 2), "--process_id must be from 0 to 1, as there are 2 processes; got 2."),
    (("host:1", 2, -1), "--process_id must be from 0 to 1, as there are 2 processes; got -1."),
    (("host:1", 0, 0), "--num_processes must be at least 1; got 0."),
    (("host", 2, 0), "must be host:port, with a port from 1 to 65535; got 'host'."),
    (("host:99999", 2, 0), "must be host:port, with a port from 1 to 65535; got 'host:99999'."),
    ((None, None, None, 0), "--initialization_timeout must be at least 1 second; got 0."),
    ((None, None, None, 1, -1), "--heartbeat_timeout must be at least 1 second; got -1."),
])
def test_wrong_settings_are_refused(given, message):
    with pytest.raises(ValueError) as error:
        distributed.initialize(*given)
    assert str(error.value).endswith(message)


def test_the_command_refuses_incomplete_flags(arguments, environment, tmp_path):
    result = subprocess.run(
        [sys.executable, "-m", "parts_jax.main", *arguments, "--num_processes=2"], cwd=tmp_path,
        env=environment, capture_output=True, text=True)
    assert result.returncode == 2
    assert result.stderr == (
        "Error: --coordinator_address, --num_processes, --process_id are given all three or not at "
        "all; missing: --coordinator_address, --process_id.\n")
    assert os.listdir(tmp_path) == []


SLURM = {"SLURM_JOB_ID": "4099", "SLURM_STEP_NODELIST": "gpu[3-4,7]", "SLURM_NTASKS": "2",
         "SLURM_PROCID": "1", "SLURM_LOCALID": "0", "SLURM_STEP_NUM_NODES": "2"}


@pytest.mark.parametrize("variables, place", [
    ({}, None),
    (SLURM, distributed.Place("gpu3:61443", 2, 1)),  # all of the node's devices
    (SLURM | {"SLURM_STEP_NUM_NODES": "1", "SLURM_LOCALID": "1"},
     distributed.Place("gpu3:61443", 2, 1, [1])),
    (SLURM | {"SLURM_NTASKS": "1", "SLURM_PROCID": "0", "SLURM_STEP_NUM_NODES": "1"}, None),
    ({"SLURM_JOB_ID": "7", "SLURM_NTASKS": "8"}, None),  # a shell within salloc
    ({"KUBERNETES_SERVICE_HOST": "10.0.0.1"}, None),     # a pod on its own
])
def test_the_place_in_a_cluster(monkeypatch, variables, place):
    for name in (*os.environ,):
        if name.startswith(("SLURM_", "OMPI_", "KUBERNETES_", "TPU_", "JOB_COMPLETION")):
            monkeypatch.delenv(name)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert distributed.detect() == place


@pytest.mark.parametrize("hosts, place", [
    ("localhost", None), ("localhost,b,c", distributed.Place("localhost:8482", 3, 2))])
def test_the_place_in_a_tpu_pod(monkeypatch, hosts, place):
    """As GKE names its hosts; on one host there is nobody to meet."""
    cluster = clusters.GkeTpuCluster
    monkeypatch.setattr(sys.modules[cluster.__module__], "running_in_cloud_tpu_vm", True)
    for name, value in {"TPU_WORKER_HOSTNAMES": hosts, "TPU_WORKER_ID": "2",
                        "MEGASCALE_COORDINATOR_ADDRESS": "", "MEGASCALE_NUM_SLICES": "1",
                        "MEGASCALE_SLICE_ID": "0"}.items():
        monkeypatch.setenv(name, value)
    assert distributed.detect() == place


# ---- TERM ----------------------------------------------------------------------------------------
def test_term_is_told_of_and_the_former_handler_comes_back():
    heard = []
    former = signal.signal(signal.SIGTERM, lambda *_: heard.append("former"))
    try:
        with distributed.preemption_notice() as (_, leaves_at):
            assert not leaves_at(1)
            os.kill(os.getpid(), signal.SIGTERM)
            assert leaves_at(2) and leaves_at(3) and heard == []
        os.kill(os.getpid(), signal.SIGTERM)
        assert heard == ["former"]
    finally:
        signal.signal(signal.SIGTERM, former)


def test_ctrl_c_is_told_of_and_a_second_one_ends_it(capfd):
    former = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        with distributed.preemption_notice() as (notice, leaves_at):
            assert not leaves_at(1)
            os.kill(os.getpid(), signal.SIGINT)
            assert leaves_at(2) and notice.interrupted
            assert "Ctrl-C: the run saves and leaves after this step" in capfd.readouterr().err
            with pytest.raises(KeyboardInterrupt):
                os.kill(os.getpid(), signal.SIGINT)
        assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # as a shell starts commands with &
        with distributed.preemption_notice():
            assert signal.getsignal(signal.SIGINT) == signal.SIG_IGN
        assert signal.getsignal(signal.SIGINT) == signal.SIG_IGN
    finally:
        signal.signal(signal.SIGINT, former)


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_that_fell_into_a_finalizer_is_heard_later(number):
    """Python cannot raise there, and goes on as if nothing had come."""
    class Finalized:
        def __del__(self):
            signal.raise_signal(number)
            sum(range(10))  # somewhere here the handler runs

    former = {n: signal.getsignal(n) for n in (signal.SIGTERM, signal.SIGINT)}
    signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        signals.leave_in_order()
        with distributed.preemption_notice() as (notice, leaves_at):
            assert not leaves_at(1)
        thing = Finalized()
        del thing
        with distributed.preemption_notice() as (notice, leaves_at):
            assert leaves_at(1) and notice.interrupted == (number == signal.SIGINT)
        signals.leave_in_order()
        with distributed.preemption_notice() as (notice, leaves_at):
            assert not leaves_at(1)
    finally:
        for n, handler in former.items():
            signal.signal(n, handler)


def test_ctrl_c_of_one_of_several_processes_goes_to_all_as_term(monkeypatch):
    """JAX's service hears TERM alone."""
    heard = []
    monkeypatch.setattr(distributed.jax.distributed, "is_initialized", lambda: True)
    former = signal.signal(signal.SIGTERM, lambda *_: heard.append("TERM"))
    interrupt = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        with distributed.preemption_notice() as (notice, _):
            os.kill(os.getpid(), signal.SIGINT)
        assert heard == ["TERM"] and notice.interrupted
    finally:
        signal.signal(signal.SIGTERM, former)
        signal.signal(signal.SIGINT, interrupt)


@pytest.mark.parametrize("number, code", [(signal.SIGTERM, 75), (signal.SIGINT, 130)])
def test_signals_are_heard_while_python_imports(tmp_path, number, code):
    """A package that never ends to be imported stands in for JAX."""
    (tmp_path / "jax").mkdir()
    (tmp_path / "jax" / "__init__.py").write_text(
        "import time\nprint('importing', flush=True)\ntime.sleep(60)\n")
    process = subprocess.Popen(
        ["env", "--default-signal=INT", sys.executable, "-m", "parts_jax.main"], text=True,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, cwd=ROOT,
        env=os.environ | {"PYTHONPATH": f"{tmp_path}:{ROOT}"})
    assert process.stdout.readline() == "importing\n"
    process.send_signal(number)
    message = process.communicate(timeout=20)[1]
    assert process.returncode == code and "Traceback" not in message


def test_in_another_thread_no_signal_is_asked_for():
    def ask():
        with distributed.preemption_notice() as (_, leaves_at):
            return leaves_at(1)

    before = signal.getsignal(signal.SIGTERM)
    with futures.ThreadPoolExecutor(1) as pool:
        assert pool.submit(ask).result() is False
    assert signal.getsignal(signal.SIGTERM) is before


def test_what_fails_for_the_first_process_ends_the_others(monkeypatch):
    told = []
    monkeypatch.setattr(distributed.jax, "process_count", lambda: 2)
    monkeypatch.setattr(distributed.multihost_utils, "broadcast_one_to_all",
                        lambda failed: told.append(int(failed)) or np.int32(first_failed))
    first_failed = 0
    with distributed.first_process_alone():
        pass
    first_failed = 1
    with pytest.raises(OSError):  # as process 0
        with distributed.first_process_alone():
            raise OSError
    with pytest.raises(ValueError, match="Process 0 could not begin"):  # as another
        with distributed.first_process_alone():
            pass
    assert told == [0, 1, 0]


def test_watching_is_for_one_process(monkeypatch, tmp_path, save_untrained, capsys):
    """The processes would not all see the same checkpoints."""
    workdir = save_untrained(tmp_path / "run")
    monkeypatch.setattr(main.jax, "process_count", lambda: 2)
    argv = ["main.py", "--mode=evaluate", f"--workdir={workdir}", "--config.eval.watch=True"]
    monkeypatch.setattr(sys, "argv", argv)
    saved = flagsaver.save_flag_values()
    try:
        main.parse_flags(argv)
        with contextlib.ExitStack() as held, pytest.raises(ValueError, match="this run has 2"):
            main.prepare(held)
    finally:
        flagsaver.restore_flag_values(saved)
        flags.FLAGS.mark_as_parsed()
