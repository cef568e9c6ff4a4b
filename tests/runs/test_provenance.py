"""Which code ran, and on what: known in a repository, and not guessed anywhere else."""

import subprocess

from parts_jax.runs import provenance


def git(folder, *arguments: str) -> str:
    return subprocess.run(
        ["git", "-C", str(folder), "-c", "user.name=a", "-c", "user.email=a@b", *arguments],
        capture_output=True, text=True, check=True).stdout.strip()


def test_a_commit_and_whether_files_differ_from_it(tmp_path):
    git(tmp_path, "init")
    assert provenance.commit(tmp_path) is None  # there is none yet
    provenance.commit.cache_clear()
    (tmp_path / "a").write_text("1")
    git(tmp_path, "add", "a")
    git(tmp_path, "commit", "-m", "a")
    head = git(tmp_path, "rev-parse", "HEAD")
    assert provenance.commit(tmp_path) == head[:12]
    provenance.commit.cache_clear()
    (tmp_path / "untracked").write_text("1")
    (tmp_path / "a").write_text("2")
    assert provenance.commit(tmp_path) == head[:12] + "+changes"
    inside = tmp_path / "installed"  # in another project's repository, as a wheel in its .venv
    inside.mkdir()
    assert provenance.commit(inside) is None


def test_without_git_nobody_knows(tmp_path, monkeypatch):
    (tmp_path / ".git").mkdir()
    monkeypatch.setenv("PATH", str(tmp_path))
    assert provenance.commit(tmp_path) is None


def test_a_processor_is_named_with_its_cores():
    assert provenance.hardware().startswith("CPU, ") and "cores" in provenance.hardware()
