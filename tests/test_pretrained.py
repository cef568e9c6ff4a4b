"""The checkpoint in pretrained/ gives the numbers stored beside it, and the notebook runs on it."""

import json
import os
import pathlib
import shutil
import subprocess
import sys

import nbclient
import nbformat
import numpy as np
import pytest

from docs import animation
from parts_jax import configuration, metrics, pretrained_model

ROOT = pathlib.Path(__file__).parent.parent
DEMO = ROOT / "pretrained" / "demo"
MOST_BYTES = 5 * 2**20


def stored() -> dict:
    """The evaluation that stands beside the checkpoint."""
    path, = (DEMO / "evaluation").glob("sim_clevrer_demo-test-[0-9]*[0-9].json")
    return json.loads(path.read_text())


def test_it_is_small_and_complete():
    files = [path for path in DEMO.rglob("*") if path.is_file()]
    assert sum(path.stat().st_size for path in files) <= MOST_BYTES
    assert not [path for path in files if "tfevents" in path.name]
    record = stored()
    assert (DEMO / "checkpoints" / str(record["step"])).is_dir()
    assert record["num_sequences"] == 256 and record["split"] == "test"
    assert set(record["interval"]) == set(record["median"])


@pytest.fixture(scope="module")
def clips():
    """The first clips of the test split: frames, and true masks."""
    return [animation.held_out_clip(number) for number in range(12)]


def test_it_finds_objects(clips):
    """Of new clips, in this process: far from what an untrained or a broken model gets."""
    model = pretrained_model.load(DEMO)
    config = configuration.load(str(DEMO))
    video = np.stack([clip["video"] for clip in clips])[:, :config.data.num_frames]
    result = model.segment(video)
    true = np.stack([clip["segmentation"] for clip in clips])[:, config.data.num_frames - 1]
    found = result.segmentation[:, -1]
    flat = (true.reshape(len(true), -1), found.reshape(len(true), -1))
    assert metrics.fg_ari(*flat).mean() > 0.5
    assert metrics.ari(*flat).mean() > 0.6
    assert np.abs(result.recon[:, -1] - video[:, -1] / 255).mean() < 0.06


@pytest.mark.parametrize("num_devices", [1])
def test_evaluate_gives_the_stored_numbers(tmp_path, num_devices):
    """Through the public command, on the whole split; simulates it where it is not there yet."""
    shutil.copytree(DEMO, tmp_path / "demo")
    for path in (tmp_path / "demo" / "evaluation").iterdir():
        path.unlink()
    environment = os.environ | {
        "XLA_FLAGS": f"--xla_force_host_platform_device_count={num_devices}"}
    result = subprocess.run(
        [sys.executable, "-m", "parts_jax.main", "--mode=evaluate", f"--workdir={tmp_path}/demo",
         "--config.eval.split=test"], cwd=ROOT, env=environment, capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    record = stored()
    path, = (tmp_path / "demo" / "evaluation").glob("*-test-[0-9]*[0-9].json")
    again = json.loads(path.read_text())
    assert again.keys() == record.keys()
    for name in record["median"]:  # every metric; the machine may round otherwise
        assert again[name] == pytest.approx(record[name], rel=2e-3, abs=2e-3), name


def test_the_tour_runs_and_its_cells_are_shown_executed(tmp_path):
    notebook = nbformat.read(ROOT / "docs" / "tour.ipynb", as_version=4)
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert all(cell.outputs for cell in code), "docs/tour.ipynb should be saved with its outputs"
    client = nbclient.NotebookClient(notebook, timeout=300, kernel_name="python3",
                                     resources={"metadata": {"path": str(ROOT / "docs")}})
    client.execute()
    shown = [output for cell in code for output in cell.outputs if "text/html" in output.get(
        "data", {})]
    assert len(shown) >= 5
