"""The fuzzer tells faults from refusals, ends what hangs, and finds nothing in a short run."""

import collections
import json
import os
import pathlib
import signal
import subprocess
import sys
import time
import zipfile

import numpy as np
import pytest

from benchmarks.fuzz import __main__ as fuzz
from benchmarks.fuzz import cases, damage, readers, records, texts
from tests.data.formats import tfrecord_writer

# Readers of what others give; those of a run's own files have their tests elsewhere.
SHORT = ("video.mp4", "video.mkv", "video.avi", "frames.png", "rlds", "movi", "dataset_info.json",
         "multi_object.gz", "robotics_arm.tar.bz2", "playroom.npz", "playroom.h5", "source.json",
         "bouncing_balls.h5", "clevrer.annotation", "clevrer.proposals", "clevrer.zip")
HEALTHY = b'{"a": [1, 2, 3], "b": "text"}'


def make(folder):
    path = folder / "some.json"
    path.write_bytes(HEALTHY)
    return path


def reads(result=None, error=None, checksums=False):
    """A reader that reads the healthy file as itself, and any other as told."""
    def read(folder, path):
        content = path.read_bytes()
        if content == HEALTHY:
            return content
        if error is not None:
            raise error(path) if callable(error) else error
        return result(path) if callable(result) else result

    return readers.Reader(make, read, (texts.json_value,), checksums)


def hang(path):
    end = time.process_time() + 20
    while time.process_time() < end:
        pass


@pytest.mark.parametrize("reader, outcomes", [
    (reads(error=lambda path: ValueError(f"The file {path} is damaged.")), {"refused"}),
    (reads(error=lambda path: OSError(f"There is no {path.name}.")), {"refused"}),
    (reads(error=ValueError("What is this?")), {"nameless"}),
    (reads(error=KeyError("a")), {"traceback"}),
    (reads(error=RecursionError()), {"traceback"}),
    (reads(error=MemoryError()), {"over"}),
    (reads(result=HEALTHY), {"equal"}),
    (reads(result=b"other"), {"altered"}),
    (reads(result=b"other", checksums=True), {"altered", "silent"}),
    (reads(result=lambda path: np.ones(2 ** 25).sum()), {"over"}),
    (reads(result=hang), {"hang"}),
])
def test_what_comes_of_a_case_is_named(tmp_path, monkeypatch, reader, outcomes):
    monkeypatch.setattr(cases, "SECONDS", 0.1 if "hang" in outcomes else 10.0)
    monkeypatch.setattr(cases, "MEMORY", 2 ** 25)
    monkeypatch.setattr(cases.resource, "setrlimit", lambda *_: None)  # it would stay set
    cases.limit()
    bench = cases.Bench("some", reader, tmp_path / "some")
    found = {bench.run(0, number).outcome for number in range(1 if "hang" in outcomes else 12)}
    assert found - {"equal"} == outcomes - {"equal"}
    assert bench.path.read_bytes() == HEALTHY


def test_a_case_follows_from_its_number_and_the_seed(tmp_path):
    bench = cases.Bench("some", reads(result=1), tmp_path / "some")
    again = [[bench.mutation(seed, number) for number in range(50)] for seed in (0, 0, 1)]
    assert again[0] == again[1] != again[2]
    assert len({mutation.content for mutation in again[0]}) > 40


def test_a_process_that_dies_is_a_crash_and_the_others_are_run(monkeypatch):
    def die(path):
        return os.kill(os.getpid(), signal.SIGKILL) if sum(path.read_bytes()) % 2 else 1

    monkeypatch.setitem(readers.READERS, "some", reads(result=die))
    found = fuzz.run(["some"], 12, 0, processes=1)["counts"]["some"]
    assert found.total() == 12 and found["crash"] > 0 and found["altered"] > 0


def test_checksums_are_made_right_again(tmp_path):
    rng = np.random.default_rng(0)
    record = tfrecord_writer.example({"a": np.zeros(3), "b": [b"text"]})
    assert records._framed(record, len(record)) == tfrecord_writer.frame(record)
    path = tmp_path / "a.zip"
    path.write_bytes(records._zip([["a.json", HEALTHY]]))
    for _ in range(50):
        mutation = records.CLEVRER_ZIP(path.read_bytes(), rng)
        if mutation.sealed and "bomb" not in mutation.what:
            (tmp_path / "b.zip").write_bytes(mutation.content)
            with zipfile.ZipFile(tmp_path / "b.zip") as archive:
                assert archive.testzip() is None


def test_the_table_and_the_file(tmp_path, monkeypatch, capsys):
    monkeypatch.setitem(readers.READERS, "some", reads(error=KeyError("a")))
    out = tmp_path / "fuzz.json"
    monkeypatch.setattr(sys, "argv", ["fuzz", "--readers=some", "--cases=20", "--processes=1",
                                      f"--out={out}"])
    with pytest.raises(SystemExit) as exit:
        fuzz.main()
    found = json.loads(out.read_text())
    counts = collections.Counter(found["counts"]["some"])
    assert exit.value.code == 1 and counts.total() == 20 and counts["traceback"] > 10
    assert found["faults"][0]["detail"].startswith("KeyError: 'a' at ")
    assert f"| some | 20 | 0 | {counts['equal']} | 0 |" in capsys.readouterr().out


def test_a_short_run_finds_no_fault():
    """In a process of its own: workers are forked, which one with threads of JAX should not be."""
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.fuzz", "--cases=150", "--processes=2", "--seed=0",
         f"--readers={','.join(SHORT)}"],
        cwd=pathlib.Path(__file__).parents[2], capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr


def test_mutations_change_something_nearly_always():
    rng = np.random.default_rng(0)
    same = sum(damage.damaged(bytes(range(256)), rng).content == bytes(range(256))
               for _ in range(500))
    assert same < 50
