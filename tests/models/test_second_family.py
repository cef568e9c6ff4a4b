"""A family that is no PARTS, through the public command: it trains, evaluates, reports, resumes.

blobs.py is the family: nothing in the package knows it but the line that gives it its name.
"""

import ast
import json
import os
import pathlib
import re
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
from tensorboard.backend.event_processing import event_accumulator

import parts_jax
from benchmarks import kills
from parts_jax import models

ROOT, HERE = pathlib.Path(__file__).parents[2], pathlib.Path(__file__).parent
LAST_STEP = 24
MAIN = """
from absl import app
import blobs
from parts_jax import main, models
models.FAMILIES["blobs"] = blobs
app.run(main.main, flags_parser=main.parse_flags)
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> pathlib.Path:
    return tmp_path_factory.mktemp("blobs")


@pytest.fixture(scope="module")
def command(folder, one_device):
    """Makes the arguments of a run with the family known."""
    environment = one_device | {"PYTHONPATH": os.pathsep.join([str(ROOT), str(HERE)])}

    def make(workdir: pathlib.Path, *more: str, config: bool = True) -> dict:
        given = [f"--config={HERE}/blobs_config.py"] if config else []
        return {"args": [sys.executable, "-c", MAIN, *given,
                         *([f"--config.data.data_dir={folder / 'data'}"] if config else []),
                         f"--workdir={workdir}", *more], "env": environment, "cwd": folder}
    return make


def run(call: dict, code: int = 0) -> str:
    result = subprocess.run(**call, capture_output=True, text=True, timeout=300)
    assert result.returncode == code, result.stderr
    return result.stderr


@pytest.fixture(scope="module")
def finished(folder, command) -> pathlib.Path:
    run(command(folder / "finished"))
    return folder / "finished"


def lines_of(workdir: pathlib.Path) -> list[dict]:
    return list(map(json.loads, (workdir / "metrics.jsonl").read_text().splitlines()))


def test_the_family_imports_the_contract_and_networks_alone():
    source = (HERE / "blobs.py").read_text()
    assert len(source.splitlines()) <= 120
    modules = {node.module for node in ast.walk(ast.parse(source))
               if isinstance(node, ast.ImportFrom) and node.module.startswith("parts_jax")}
    assert modules == {"parts_jax.models", "parts_jax.models.contract", "parts_jax.networks"}


def test_it_trains_and_says_how(finished):
    lines = [line for line in lines_of(finished) if "train/loss" in line]
    assert [line["step"] for line in lines] == list(range(1, LAST_STEP + 1))
    losses = [line["train/loss"] for line in lines]
    assert np.mean(losses[-4:]) < 0.8 * np.mean(losses[:4])
    heat = [line["train/temperature"] for line in lines]
    np.testing.assert_allclose(heat, 0.5 + np.exp(-0.1 * np.arange(LAST_STEP)), rtol=1e-4)


def test_it_is_evaluated_and_reported(finished):
    record = json.loads(
        (finished / "evaluation" / f"sim_clevrer_tiny-test-{LAST_STEP}.json").read_text())
    assert record["stages"] == ["final"] and record["num_sequences"] == 6
    assert record["temperature"] == pytest.approx(0.5)  # nothing is annealed any more
    assert {"mse", "mse_last", "fg_ari_last", "ari_last", "miou"} <= record.keys()
    assert not [name for name in record if name.endswith(("_final", "_assigned"))]
    assert not list((finished / "evaluation").glob("*rollout*"))
    name = f"sim_clevrer_tiny-test-{LAST_STEP}-length.json"
    record = json.loads((finished / "evaluation" / name).read_text())
    assert record["moving"].keys() == {"mse", "ari", "fg_ari", "miou"} and not record["ahead"]
    assert len(record["moving"]["mse"]) == record["tested_frames"] == 3
    assert json.loads((finished / "best.json").read_text())["metric"] == "mse"
    page = (finished / "report" / "index.html").read_text()
    assert "temperature" in page and 'id="clips-player"' in page and "sharpness" in page
    assert 'id="iterations-player"' in page and page.count('aria-label="iteration 2"') == 6
    shown = re.sub(r"<script.*?</script>|base64,[^\"]*", "", page, flags=re.DOTALL)
    assert "<h3>Image 5</h3>" in shown and "Worst images" in shown and "6 images of the" in shown
    assert not re.search(r">Play<|Clip \d|>Clips<|Worst clips", shown)


def test_its_iterations_are_in_tensorboard(finished):
    """Two rows of 18 pixels an image: the frame and N + 1 = 3 pictures; twice as large."""
    events = event_accumulator.EventAccumulator(str(finished), size_guidance={"tensors": 0})
    events.Reload()
    for name, steps in (("validation", [8, 16, 24]), ("test", [24])):
        found = events.Tensors(f"sim_clevrer_tiny-{name}/iterations")
        assert [event.step for event in found] == steps
        width, height, _ = found[-1].tensor_proto.string_val
        assert (int(width), int(height)) == (2 + 4 * 34, 16 + 2 * 2 * 34)


def test_a_killed_run_ends_bit_for_bit_alike(folder, command, finished):
    workdir = folder / "killed"
    process = subprocess.Popen(**command(workdir), stderr=subprocess.DEVNULL)
    metrics, end = workdir / "metrics.jsonl", time.monotonic() + 200
    while not (metrics.exists() and '{"step": 14,' in metrics.read_text()):
        assert process.poll() is None and time.monotonic() < end
        time.sleep(0.002)
    process.send_signal(signal.SIGKILL)
    process.wait()
    run(command(workdir))
    ours, theirs = kills.outcome(workdir), kills.outcome(finished)
    assert not kills.differences(ours, theirs)
    assert any("rest" in name for name in ours["arrays"])  # the second group of parameters


def test_another_evaluation_gives_the_same_numbers(command, finished):
    path = finished / "evaluation" / f"sim_clevrer_tiny-test-{LAST_STEP}.json"
    before = json.loads(path.read_text())
    run(command(finished, "--mode=evaluate", "--config.eval.split=test",
                "--config.eval.report=False", config=False))
    after = json.loads(path.read_text())
    assert after | {"commit": None} == before | {"commit": None}  # files may be edited meanwhile


@pytest.mark.parametrize("argument, message", [
    ("--config.model.num_slot=3", "no key 'model.num_slot'; the nearest is 'model.num_slots'"),
    ("--config.model.coldest=-1.0", "model.coldest is -1.0, but must be a finite number above 0"),
    ("--config.model.name=blob", "config.model.name is 'blob'"),
    ("--config.eval.rollout_steps=2", "models of the family 'blobs' predict no frames"),
])
def test_what_it_cannot_be_is_refused(folder, command, argument, message):
    said = run(command(folder / "refused", argument), code=2)
    assert message in said and "Traceback" not in said
    assert not (folder / "refused").exists()


def test_a_key_that_the_family_does_not_know_is_refused(folder, command):
    """Also where it stands in the config file."""
    text = (HERE / "blobs_config.py").read_text().replace("cooling=0.1", "colling=0.1")
    (folder / "misspelt.py").write_text(text)
    said = run(command(folder / "refused", f"--config={folder}/misspelt.py", config=False), code=2)
    assert "model.colling" in said and "'cooling'" in said and "Traceback" not in said


@pytest.fixture
def pretrained(finished, monkeypatch):
    monkeypatch.syspath_prepend(str(HERE))
    import blobs
    monkeypatch.setitem(models.FAMILIES, "blobs", blobs)
    return parts_jax.load(finished)


def test_in_python(pretrained):
    images = np.random.default_rng(0).integers(0, 256, (2, 16, 16, 3), np.uint8)
    result = pretrained.segment(images, num_slots=4)
    assert result.masks.shape == (2, 4, 16, 16) and result.posterior is None
    assert result.attention is None and result.maps["sharpness"].shape == (2, 4, 16, 16)
    np.testing.assert_allclose(result.masks.sum(1), 1, rtol=1e-5)
    assert result.masks_are == "decoder" and result.predicted_masks is None  # one stage alone
    with pytest.raises(ValueError, match="family 'blobs' give no posterior .* ask for 'decoder'"):
        pretrained.segment(images, masks="assigned")
    assert result.table().ndim == 3 and pretrained.num_slots == 3
    second = pretrained.segment(images[1], num_slots=4)  # alone it is the same
    np.testing.assert_allclose(second.masks, result.masks[1], atol=1e-5)
    for call, message in ((lambda: pretrained.predict(images, None, 2), "predict no frames"),
                          (lambda: pretrained.traverse(images, 0, 0, [1]), "latents are slots"),
                          (lambda: pretrained.decode(np.zeros((1, 3, 4))), "latents are slots")):
        with pytest.raises(ValueError, match=message):
            call()
