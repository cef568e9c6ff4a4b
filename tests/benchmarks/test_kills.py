"""The comparison of runs finds what differs, down to a bit."""

import copy
import signal
import subprocess
import sys

import numpy as np
import pytest

from benchmarks import kills, topologies

OUTCOME = {"arrays": {"['a']": np.asarray([1.0, 0.0], np.float32)}, "place": "{}",
           "lines": [{"step": 1, "train/loss": 0.5}], "evaluations": {"a.json": b"1"},
           "files": ["config.json"]}


@pytest.mark.parametrize("change, found", [
    (lambda o: None, []),
    (lambda o: o["arrays"].update({"['a']": np.asarray([1.0, -0.0], np.float32)}), ["arrays"]),
    (lambda o: o["arrays"].update({"['a']": np.asarray([1.0, 0.0], np.float64)}), ["arrays"]),
    (lambda o: o["arrays"].update({"['b']": np.zeros(1)}), ["arrays"]),
    (lambda o: o["lines"][0].update({"train/loss": 0.5000001}), ["lines"]),
    (lambda o: o["files"].append(".config.json.part"), ["files"]),
    (lambda o: o.update(place="{1}", evaluations={}), ["place", "evaluations"]),
])
def test_every_difference_is_named(change, found):
    other = copy.deepcopy(OUTCOME)
    change(other)
    assert kills.differences(OUTCOME, other) == found
    assert kills.differences(other, OUTCOME) == found


def test_an_untrained_run_has_an_outcome(tmp_path, save_untrained):
    for name in "ab":
        workdir = save_untrained(tmp_path / name, steps=(1, 2), seed=0)
        (workdir / "metrics.jsonl").write_text(
            f'{{"step": 1, "train/loss": 0.5, "train/steps_per_second": {ord(name)}}}\n')
        (workdir / "evaluation").mkdir()
        (workdir / "events.out.tfevents.1").write_text(name)
    a, b = kills.outcome(tmp_path / "a"), kills.outcome(tmp_path / "b")
    assert kills.differences(a, b) == [] and a["lines"] == [{"step": 1, "train/loss": 0.5}]
    assert "checkpoints/2/record/metadata" in a["files"] and "config.json" in a["files"]
    (tmp_path / "b" / "checkpoints" / "3.orbax-checkpoint-tmp").write_text("")
    other = save_untrained(tmp_path / "c", steps=(1, 2), seed=1)
    assert kills.differences(a, kills.outcome(tmp_path / "b")) != []
    (other / "metrics.jsonl").write_text('{"step": 1, "train/loss": 0.5}\n')
    (other / "evaluation").mkdir()
    assert kills.differences(a, kills.outcome(other)) == ["arrays"]


@pytest.fixture
def sleeper(monkeypatch):
    """In place of training, a process that makes a half-written checkpoint and sleeps."""
    def start(workdir, settings):
        half = workdir / "checkpoints" / "4.orbax-checkpoint-tmp"
        source = f"import os, time; os.makedirs({str(half)!r}); time.sleep(60)"
        return subprocess.Popen([sys.executable, "-c", source])

    monkeypatch.setattr(kills, "start", start)


def test_kills_hit_a_time_or_a_save(tmp_path, sleeper):
    assert kills.kill_at(tmp_path / "a", (), 3.0) == (
        "exit code -9, complete: [], half-written: 1")
    assert kills.kill_in_save(tmp_path / "b", (), 0, 0.0, signal.SIGTERM) == (
        "exit code -15, complete: [], half-written: 1")


def test_a_run_that_ends_before_its_kill_is_told_apart(tmp_path, monkeypatch):
    monkeypatch.setattr(kills, "start", lambda *args: subprocess.Popen(["true"]))
    assert kills.kill_at(tmp_path, (), 5.0) is None
    assert kills.kill_in_save(tmp_path, (), 0, 0.0) is None


def test_a_run_that_fails_is_an_error(tmp_path, monkeypatch):
    monkeypatch.setattr(kills, "start", lambda *args: subprocess.Popen(["false"]))
    with pytest.raises(RuntimeError, match="ended with exit code 1; its output is in .*run.log"):
        kills.finish(tmp_path / "run", ())


def test_differences_of_layouts_by_hand(tmp_path):
    assert topologies.greatest_difference({1: 0.5, 2: 1.0}, {1: 0.25, 2: 1.125}) == 0.25
    with pytest.raises(ValueError, match="not in both: .'2'"):
        topologies.greatest_difference({1: 0.5}, {1: 0.5, 2: 0.0})
    for name, loss in (("one", 0.5), ("other", 0.75)):
        (tmp_path / name / "evaluation").mkdir(parents=True)
        (tmp_path / name / "metrics.jsonl").write_text("".join(
            f'{{"step": {step}, "train/loss": {loss if step > 5 else 0.5}}}\n'
            for step in range(1, 51)))
        (tmp_path / name / "evaluation" / "x-test-50.json").write_text(
            f'{{"step": 50, "mse": {loss}, "neg_elbo": {-100 * loss}}}')
    assert topologies.row(tmp_path / "one", tmp_path / "other", "float32", (2, 2)) == (
        "| float32 | 2 x 2 | 0.0e+00 | 2.5e-01 | 2.5e-01 | 2.5e-01 | 5.0e-01 |")
