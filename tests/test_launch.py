"""The launchers are sound bash, work from anywhere, and install nothing that is not locked."""

import os
import pathlib
import re
import subprocess

import pytest

ROOT = pathlib.Path(__file__).parent.parent
SCRIPTS = sorted(path for path in (ROOT / "launch").rglob("*") if path.suffix in (".sh", ".sbatch")
                 ) + [ROOT / ".ci" / "run"]
LOCK = (ROOT / "requirements.txt").read_text()


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_scripts_are_sound_bash_that_stops_at_the_first_error(script):
    subprocess.run(["bash", "-n", str(script)], check=True)
    text = script.read_text()
    assert text.startswith("#!/usr/bin/env bash\n") and "\nset -euo pipefail\n" in text
    assert os.access(script, os.X_OK)


def test_ci_runs_the_test_launcher_and_nothing_else():
    commands = [line for line in (ROOT / ".ci" / "run").read_text().splitlines()
                if line and not line.startswith(("#", "set ", "cd "))]
    assert commands == ["./launch/test.sh"]


def fake_checkout(tmp_path: pathlib.Path) -> pathlib.Path:
    """A copy of the launchers with a .venv whose python only tells how it was called."""
    checkout = tmp_path / "checkout with space"
    (checkout / ".venv" / "bin").mkdir(parents=True)
    (checkout / "launch").mkdir()
    for script in ("common.sh", "install.sh", "local.sh", "test.sh"):
        (checkout / "launch" / script).write_bytes((ROOT / "launch" / script).read_bytes())
        (checkout / "launch" / script).chmod(0o755)
    for name in ("requirements.txt", "setup.py"):
        (checkout / name).write_bytes((ROOT / name).read_bytes())
    python = checkout / ".venv" / "bin" / "python"
    python.write_text('#!/usr/bin/env bash\n[ "$1" = -c ] || printf "%s|" "$PWD" "$@"\n')
    python.chmod(0o755)
    lock = subprocess.run("cat requirements.txt setup.py | cksum", shell=True, cwd=checkout,
                          capture_output=True, text=True, check=True).stdout.strip()
    (checkout / ".venv" / "installed").write_text(f"{lock} extras=\n")
    return checkout


@pytest.mark.parametrize("script, called", [("local.sh", "-m|parts_jax.main|--config=a b.py|"),
                                            ("test.sh", "-m|pytest|-q|--config=a b.py|")])
def test_launchers_pass_arguments_on_from_any_directory(tmp_path, script, called):
    checkout = fake_checkout(tmp_path)
    environment = {k: v for k, v in os.environ.items() if k != "PARTS_JAX_EXTRAS"}
    result = subprocess.run([str(checkout / "launch" / script), "--config=a b.py"], cwd=tmp_path,
                            env=environment, capture_output=True, text=True, check=True)
    assert result.stdout == f"{checkout}|{called}"


@pytest.mark.parametrize("script", [
    "install.sh", "local.sh", "local_multihost.sh", "test.sh", "tpu_pod.sh", "tpu_worker.sh",
    "slurm.sbatch", "kubernetes/launch.sh"])
@pytest.mark.parametrize("flag", ["--help", "-h"])
def test_launchers_print_their_head_and_do_nothing(launch, script, flag):
    """Not even install, or ask for settings; wherever the flag stands."""
    result = launch(script, "--config=x", flag)
    assert (result.returncode, result.stderr) == (0, "")
    head = result.stdout.splitlines()
    text = (ROOT / "launch" / script).read_text()
    assert len(head) > 4 and "set -euo" not in result.stdout and "SBATCH --" not in result.stdout
    assert f"# {head[0]}\n" in text and f"# {head[-1]}\n" in text
    path = ROOT / "launch" / script
    again = subprocess.run(["bash", f"./{path.name}", flag], cwd=path.parent, capture_output=True,
                           text=True, check=True)
    assert again.stdout == result.stdout


def test_an_unsuited_python_is_refused_in_a_sentence(tmp_path):
    checkout = fake_checkout(tmp_path)
    (checkout / ".venv" / "bin" / "python").unlink()
    old = tmp_path / "python3.9"
    old.write_text("#!/usr/bin/env bash\nexit 1\n")
    old.chmod(0o755)
    result = subprocess.run([str(checkout / "launch" / "local.sh")], text=True,
                            env=os.environ | {"PYTHON": str(old)}, capture_output=True)
    assert result.returncode != 0
    assert f"needs Python 3.11 or 3.12, and found none: tried {old}" in " ".join(
        result.stderr.split())


def test_the_lock_is_hashed_and_tells_nothing_of_the_machine_that_made_it():
    pinned = re.findall(r"^([a-z0-9-]+)==[^\s;]+.*\\$", LOCK, re.MULTILINE)
    entries = re.findall(r"^[a-z].*$", LOCK, re.MULTILINE)
    assert len(pinned) == len(entries) > 50
    assert LOCK.count("--hash=sha256:") > len(pinned)
    for word in ("tensorflow==", "torch==", "--index-url", "--extra-index-url", "--find-links",
                 "file:", "http", " @ "):
        assert word not in LOCK, word
    assert "clu==0.0.12" in LOCK
    assert re.search(r"^jax==0\.(10|11)\.", LOCK, re.MULTILINE)


def test_the_lock_has_what_setup_py_asks_for():
    setup = (ROOT / "setup.py").read_text()
    asked = re.findall(r'^    "([a-z-]+)[>=]', setup, re.MULTILINE)
    assert len(asked) > 10
    for name in asked:
        assert re.search(rf"^{name}==", LOCK, re.MULTILINE), name
