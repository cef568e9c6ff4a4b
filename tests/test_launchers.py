"""The launchers for many hosts: what they print, what they refuse, what they start again.

No cluster is asked: a dry run must need no tool of one, and otherwise tools stand in that note how
they were called.
"""

import pathlib
import re
import shutil
import signal
import subprocess
import sys
import time

import pytest

ROOT = pathlib.Path(__file__).parent.parent
LAUNCH = ROOT / "launch"
SCRIPTS = sorted(path for path in LAUNCH.rglob("*") if path.suffix in (".sh", ".sbatch"))
CONFIG = "--config=configs/parts_clevrer.py:demo"
POD = {"TPU_NAME": "parts", "ZONE": "us-east5-b", "PROJECT": "mine", "ACCELERATOR_TYPE": "v6e-16",
       "RUNTIME_VERSION": "v2-alpha-tpuv6e", "WORKDIR": "gs://bucket/runs/1"}
WHERE = "--zone=us-east5-b --project=mine"


def stand_in(tools: pathlib.Path, name: str, body: str) -> pathlib.Path:
    """Makes a tool that notes its arguments, a line a call, in the file that is returned."""
    calls = tools.parent / f"{name}.calls"
    calls.touch()
    tool = tools / name
    tool.write_text(f'#!/usr/bin/env bash\necho "$*" >>"{calls}"\n{body}\n')
    tool.chmod(0o755)
    return calls


def printed(result: subprocess.CompletedProcess) -> list[str]:
    assert result.returncode == 0, result.stderr
    assert result.stderr == ""
    return result.stdout.splitlines()


def test_shellcheck_finds_nothing():
    tool = pathlib.Path(sys.executable).parent / "shellcheck"
    result = subprocess.run([tool, "-x", *SCRIPTS], cwd=ROOT, capture_output=True, text=True)
    assert result.returncode == 0, result.stdout


# ---- What is refused -----------------------------------------------------------------------------
def without(settings: dict, name: str) -> dict:
    return {key: value for key, value in settings.items() if key != name}


@pytest.mark.parametrize("script, settings, arguments, message", [
    *(("tpu_pod.sh", without(POD, name), [CONFIG], f"{name} is not set") for name in POD),
    ("tpu_pod.sh", POD, [], "--config=FILE[:variant] is missing"),
    ("tpu_pod.sh", POD | {"WORKDIR": "runs/1"}, [CONFIG], "absolute path; got 'runs/1'"),
    ("tpu_pod.sh", POD | {"SPOT": "yes"}, [CONFIG], "SPOT must be 0 or 1; got 'yes'"),
    ("tpu_pod.sh", POD | {"MAX_RESTARTS": "-1"}, [CONFIG], "0 or more; got '-1'"),
    ("tpu_pod.sh", POD, [CONFIG, "train"], "'train' is no flag"),
    ("tpu_pod.sh", POD, [CONFIG, "--workdir=/x"], "is given as WORKDIR=..."),
    ("tpu_pod.sh", POD, [CONFIG], "The command gcloud is not installed"),
    ("tpu_worker.sh", {}, ["go"], "must be setup, run or stop; got 'go'"),
    ("tpu_worker.sh", {}, ["run"], "WORKDIR is missing"),
    ("slurm.sbatch", {}, ["--workdir=/x"], "--config=FILE[:variant] is missing"),
    ("slurm.sbatch", {}, [CONFIG], "--workdir=FOLDER is missing"),
    ("slurm.sbatch", {}, [CONFIG, "--workdir=/x"], "This is no Slurm job"),
    ("slurm.sbatch", {"SLURM_JOB_ID": "7"}, [CONFIG, "--workdir=/x"], "srun is not installed"),
    ("local_multihost.sh", {"NUM_PROCESSES": "two"}, [CONFIG], "1 or more; got 'two'"),
    ("local_multihost.sh", {"NUM_PROCESSES": "08"}, [CONFIG], "leading zeros, 1 or more; got '08'"),
    ("local_multihost.sh", {"DEVICES_PER_PROCESS": "010"}, [CONFIG], "1 or more; got '010'"),
    ("tpu_pod.sh", POD | {"POLL_SECONDS": "00"}, [CONFIG], "0 or more; got '00'"),
    ("local_multihost.sh", {}, ["-c"], "'-c' is no flag"),
])
def test_wrong_settings_are_refused_in_a_sentence(launch, script, settings, arguments, message):
    result = launch(script, *arguments, **settings)
    assert result.returncode == 2
    [line] = result.stderr.splitlines()
    assert line.startswith("Error: ") and line.endswith(".") and message in line
    assert result.stdout == ""


# ---- A TPU pod -----------------------------------------------------------------------------------
def test_dry_run_of_a_pod(launch):
    ssh = f"gcloud compute tpus tpu-vm ssh parts {WHERE} --worker=all --batch-size=all"
    lines, again = (printed(launch("tpu_pod.sh", "--dry-run", CONFIG, "--config.x=a b", SPOT="1",
                                   DELETE="1", **POD)) for _ in range(2))
    archive = lines[2].split("--output=")[1].split()[0]  # a name that nobody can foresee
    assert re.fullmatch(r"/tmp/parts_jax\.\w{10}\.tar\.gz", archive)
    assert archive not in again[2] and not pathlib.Path(archive).exists()
    assert lines == [
        f"gcloud compute tpus tpu-vm list {WHERE} '--filter=name~/parts$' '--format=value(state)'",
        f"gcloud compute tpus tpu-vm create parts {WHERE} --accelerator-type=v6e-16 --spot "
        "--version=v2-alpha-tpuv6e",
        f"git archive --format=tar.gz --output={archive} HEAD",
        f"gcloud compute tpus tpu-vm scp {archive} parts:parts_jax.tar.gz {WHERE} "
        "--worker=all --batch-size=all",
        f"{ssh} '--command=mkdir -p parts_jax && tar -xzf parts_jax.tar.gz -C parts_jax'",
        f"{ssh} '--command=cd parts_jax && ./launch/tpu_worker.sh setup gs://bucket/runs/1'",
        f"{ssh} '--command=cd parts_jax && ./launch/tpu_worker.sh run gs://bucket/runs/1 "
        f"{CONFIG} '\\''--config.x=a b'\\'''",
        f"gcloud compute tpus tpu-vm delete parts {WHERE} --quiet"]


def test_dry_run_of_a_queued_pod(launch):
    lines = printed(launch("tpu_pod.sh", "--dry-run", CONFIG, QUEUED="1", **POD))
    assert (f"gcloud compute tpus queued-resources create parts --node-id=parts {WHERE} "
            "--accelerator-type=v6e-16 --runtime-version=v2-alpha-tpuv6e") in lines


@pytest.fixture
def pod(launch, tools):
    """Runs tpu_pod.sh on a slice whose states and whose runs' exit codes are given in order."""
    def call(states: list[str], codes: list[int], **settings):
        for name, values in (("states", states), ("codes", codes)):
            (tools.parent / name).write_text("".join(f"{value}\n" for value in values))
        calls = stand_in(tools, "gcloud", f'''
            next() {{ read -r line <"$1"; rest="$(tail -n +2 "$1")"; echo "$rest" >"$1"; }}
            case "$*" in
              *" list "*) next {tools.parent}/states; [ "$line" = NONE ] || echo "$line" ;;
              *"tpu_worker.sh run"*) next {tools.parent}/codes; exit "$line" ;;
            esac''')
        result = launch("tpu_pod.sh", CONFIG, **(POD | {"POLL_SECONDS": "0", "ALLOW_DIRTY": "1"}
                                                 | settings))
        words = [line.split()[2:4] if " list " not in line else ["look"]
                 for line in calls.read_text().splitlines()]
        done = [" ".join(word for word in pair if word != "tpu-vm") for pair in words]
        return result, [word for word in done if word not in ("look", "scp")]

    return call


ATTEMPT = ["ssh", "ssh", "ssh"]  # unpack, set up, run


@pytest.mark.parametrize("states, codes, done, exit_code", [
    (["READY"], [0], ATTEMPT, 0),
    (["NONE", "CREATING", "READY"], [0], ["create", *ATTEMPT], 0),
    (["READY", "READY", "READY"], [75, 0], ATTEMPT * 2, 0),
    (["READY", "PREEMPTED", "PREEMPTED", "NONE", "READY"], [255, 0],
     [*ATTEMPT, "delete", "create", *ATTEMPT], 0),
    (["READY", "NONE", "NONE", "READY"], [134, 0], [*ATTEMPT, "create", *ATTEMPT], 0),
    (["READY", "READY"], [1], ATTEMPT, 1),
    (["READY", "READY"], [2], ATTEMPT, 2),
    (["READY"] * 6, [75, 75, 75], ATTEMPT * 3, 75),
])
def test_a_pod_is_started_again_when_it_was_taken_away(pod, states, codes, done, exit_code):
    result, called = pod(states, codes, MAX_RESTARTS="2")
    assert (result.returncode, called) == (exit_code, done), result.stderr


def test_a_pod_is_deleted_at_the_end_if_asked(pod):
    result, called = pod(["READY", "READY"], [3], DELETE="1")
    assert (result.returncode, called) == (3, [*ATTEMPT, "delete"])


def test_a_stopped_slice_is_left_alone(pod):
    result, called = pod(["STOPPED"], [])
    assert result.returncode == 2 and "The slice parts is STOPPED" in result.stderr
    assert called == []


@pytest.mark.parametrize("by_hand, exit_code", [(True, 0), (False, 75)])
def test_a_host_of_a_pod_tells_a_stop_by_hand_from_one_by_the_cluster(tools, tmp_path, by_hand,
                                                                      exit_code):
    """After the one the run stays ended; the other is TERM, too, and it is started again."""
    repository = tmp_path / "repository"
    shutil.copytree(LAUNCH, repository / "launch")
    python = repository / ".venv" / "bin" / "python"
    python.parent.mkdir(parents=True)
    python.write_text(f"#!/usr/bin/env bash\ntrap 'exit 75' TERM\necho >{tmp_path / 'ready'}\n"
                      "while true; do sleep 0.05; done\n")
    python.chmod(0o755)
    stand_in(tools, "curl", "echo 0")
    worker = ["bash", str(repository / "launch" / "tpu_worker.sh")]
    environment = {"PATH": str(tools), "HOME": str(tmp_path)}
    process = subprocess.Popen([*worker, "run", "/shared/run", CONFIG], env=environment,
                               stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    wait_for(tmp_path / "ready", tmp_path / ".parts_jax.pid")
    if by_hand:
        subprocess.run([*worker, "stop"], env=environment, check=True)
    else:
        process.send_signal(signal.SIGTERM)
    assert process.wait(20) == exit_code


@pytest.mark.parametrize("began", ["", "1", "its own"])
def test_a_stop_spares_another_process_that_has_the_number_now(launch, tmp_path, began):
    """One that began at another time, or does something else."""
    other = subprocess.Popen(["sleep", "60"])
    try:
        if began == "its own":
            stat = pathlib.Path(f"/proc/{other.pid}/stat").read_text()
            began = stat.rpartition(") ")[2].split()[19]
        (tmp_path / ".parts_jax.pid").write_text(f"{other.pid} {began}\n")
        result = launch("tpu_worker.sh", "stop")
        assert result.returncode == 0, result.stderr
        assert result.stderr == "No run is going on on this host.\n"
        with pytest.raises(subprocess.TimeoutExpired):
            other.wait(0.2)
    finally:
        other.kill()
        other.wait()


@pytest.mark.parametrize("content", [None, "", "\n", "-1 0", "x y", "99999999 5"])
def test_a_stop_where_nothing_goes_on_says_so(launch, tmp_path, content):
    if content is not None:
        (tmp_path / ".parts_jax.pid").write_text(content)
    result = launch("tpu_worker.sh", "stop")
    assert (result.returncode, result.stderr) == (0, "No run is going on on this host.\n")


# ---- Slurm ---------------------------------------------------------------------------------------
RUN = ["srun", "--ntasks-per-node=1", "--cpus-per-task=1", "--kill-on-bad-exit=0", "--wait=30"]


def test_dry_run_of_slurm(launch):
    assert printed(launch("slurm.sbatch", "--dry-run", CONFIG, "--workdir=/shared/1")) == [
        "env PARTS_JAX_EXTRAS=cuda ./launch/install.sh",
        " ".join([*RUN, ".venv/bin/python -m parts_jax.main", CONFIG, "--workdir=/shared/1"]),
        "scontrol requeue JOB '# after exit code 75'"]


def test_slurm_directives():
    text = (LAUNCH / "slurm.sbatch").read_text()
    for line in ("--requeue", "--signal=B:USR1@120", "--ntasks-per-node=1"):
        assert f"\n#SBATCH {line}\n" in text


@pytest.mark.parametrize("code", [0, 1, 75])
def test_slurm_puts_nothing_in_the_queue_that_it_did_not_tell_to_leave(launch, tools, code):
    stand_in(tools, "srun", f"exit {code}")
    requeued = stand_in(tools, "scontrol", "")
    result = launch("slurm.sbatch", CONFIG, "--workdir=/x", SLURM_JOB_ID="7",
                    PARTS_JAX_PYTHON="python", SLURM_SUBMIT_DIR=str(ROOT))
    assert result.returncode == code and requeued.read_text() == ""


@pytest.mark.parametrize("number, again", [(signal.SIGUSR1, "requeue 7\n"), (signal.SIGTERM, "")],
                         ids=["time is up", "scancel"])
def test_slurm_passes_term_on_and_waits(tools, tmp_path, number, again):
    """The run saves, which takes a while, and its exit code counts, not that of the signal."""
    ready = tmp_path / "ready"
    stand_in(tools, "srun", f"trap 'sleep 0.5; exit 75' TERM; echo >{ready}\n"
             "while true; do sleep 0.05; done")
    requeued = stand_in(tools, "scontrol", "")
    process = subprocess.Popen(
        ["bash", str(LAUNCH / "slurm.sbatch"), CONFIG, "--workdir=/x"], stderr=subprocess.PIPE,
        env={"PATH": str(tools), "SLURM_JOB_ID": "7", "PARTS_JAX_PYTHON": "python",
             "SLURM_SUBMIT_DIR": str(ROOT)})
    wait_for(ready)
    process.send_signal(number)
    assert process.wait(20) == 75
    assert requeued.read_text() == again


def test_slurm_puts_in_the_queue_again_what_was_told_before_it_listened(tools, tmp_path):
    """While packages were installed, or while Python started: TERM ends it, with 143."""
    ready = tmp_path / "ready"
    repository = tmp_path / "repository"
    shutil.copytree(LAUNCH, repository / "launch")
    (repository / "launch" / "install.sh").write_text(f"echo >{ready}; sleep 0.5\n")
    stand_in(tools, "srun", "sleep 20 & wait")
    requeued = stand_in(tools, "scontrol", "")
    process = subprocess.Popen(
        ["bash", str(repository / "launch" / "slurm.sbatch"), CONFIG, "--workdir=/x"],
        stderr=subprocess.DEVNULL, env={"PATH": str(tools), "SLURM_JOB_ID": "7",
                                        "SLURM_SUBMIT_DIR": str(repository)})
    wait_for(ready)
    process.send_signal(signal.SIGUSR1)
    assert process.wait(20) == 75
    assert requeued.read_text() == "requeue 7\n"


# ---- Several processes on this machine -----------------------------------------------------------
def wait_for(*paths: pathlib.Path, seconds: float = 20) -> None:
    end = time.monotonic() + seconds
    while not all(path.exists() for path in paths):
        assert time.monotonic() < end, f"{paths} did not come"
        time.sleep(0.02)


@pytest.fixture
def local(tools, tmp_path):
    """Starts local_multihost.sh with a python that does what `behaviour` says for its number."""
    def start(behaviour: str, **settings) -> subprocess.Popen:
        stand_in(tools, "python", f'''
            [ "$1" != -c ] || {{ echo 1234; exit; }}
            number="${{!#}}" number="${{number#--process_id=}}"
            echo "I am $number with $XLA_FLAGS"; echo $$ >{tmp_path}/$number.pid
            {behaviour}''')
        return subprocess.Popen(
            # Who starts the tests in the background may have Ctrl-C ignored, which is inherited.
            ["env", "--default-signal=INT", "bash", str(LAUNCH / "local_multihost.sh"), CONFIG],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE, text=True, start_new_session=True,
            env={"PATH": str(tools), "PARTS_JAX_PYTHON": "python",
                 "LOG_DIR": str(tmp_path / "logs"), "GRACE_SECONDS": "1"} | settings)

    return start


WAIT = "while true; do sleep 0.05; done"


def test_local_processes_have_numbers_devices_and_logs(local, tmp_path):
    process = local("", NUM_PROCESSES="3", DEVICES_PER_PROCESS="2")
    out, err = process.communicate(timeout=20)
    assert process.returncode == 0, err
    assert str(tmp_path / "logs") in err
    flag = "--xla_force_host_platform_device_count=2"
    for number in range(3):
        assert f"I am {number} with  {flag}\n" == (tmp_path / "logs" / f"{number}.log").read_text()
    assert out == f"I am 0 with  {flag}\n"
    calls = (tmp_path / "python.calls").read_text()
    for number in range(3):
        assert f"-m parts_jax.main {CONFIG} --coordinator_address=localhost:1234 " \
            f"--num_processes=3 --process_id={number}\n" in calls


@pytest.mark.parametrize("ignores", ["", "trap '' TERM;"], ids=["leaves", "must be killed"])
def test_when_a_local_process_fails_the_others_are_stopped(local, ignores):
    start = time.monotonic()
    process = local(f'[ "$number" != 1 ] || {{ sleep 0.3; exit 7; }}; {ignores} {WAIT}',
                    NUM_PROCESSES="3")
    process.communicate(timeout=20)
    assert process.returncode == 7 and time.monotonic() - start < 10


def test_a_local_process_that_term_ends_before_it_listens_is_to_be_started_again(local, tmp_path):
    process = local(WAIT)
    wait_for(tmp_path / "0.pid", tmp_path / "1.pid")
    time.sleep(0.2)
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=20)
    assert process.returncode == 75


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_signals_go_to_all_local_processes(local, tmp_path, number):
    process = local(f"trap 'echo saved; exit 75' TERM; {WAIT}")
    wait_for(tmp_path / "0.pid", tmp_path / "1.pid")
    time.sleep(0.2)
    process.send_signal(number)
    process.communicate(timeout=20)
    assert process.returncode == 75, process.stderr
    for log in (tmp_path / "logs").iterdir():
        assert log.read_text().endswith("saved\n")


def test_dry_run_of_local_processes(launch):
    lines = printed(launch("local_multihost.sh", "--dry-run", CONFIG))
    assert lines[0] == "./launch/install.sh"
    assert lines[1:] == [
        "env JAX_PLATFORMS=cpu 'XLA_FLAGS= --xla_force_host_platform_device_count=1' "
        f".venv/bin/python -m parts_jax.main {CONFIG} --coordinator_address=localhost:12321 "
        f"--num_processes=2 --process_id={number}" for number in range(2)]

