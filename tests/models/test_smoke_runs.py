"""The variant `tiny` of every family but PARTS, through the public command: a run from end to end.

That of PARTS is in tests/test_train.py and others.
"""

import json
import math
import pathlib
import subprocess
import sys

import pytest

ROOT = pathlib.Path(__file__).parents[2]
OF_MASKS = {"fg_ari_last", "ari_last", "miou_last", "mse", "kl", "nll"}
EXPECTED = {  # set of the config, last step, metrics of the test split
    "iodine_tetrominoes": ("sim_tetrominoes_tiny", 20, OF_MASKS | {"fg_ari_last_assigned"}),
    "grid_lstm_balls": ("sim_balls_tiny", 20, OF_MASKS | {"fg_ari_last_refined", "mse_refined"}),
    "space_rooms": ("sim_rooms_tiny", 12, OF_MASKS | {"ap_50", "ap", "count_error"}),
}


@pytest.mark.parametrize("config", EXPECTED)
def test_a_smoke_run_trains_evaluates_and_reports(tmp_path, one_device, config):
    dataset, steps, metrics = EXPECTED[config]
    workdir = tmp_path / "run"
    found = subprocess.run(
        [sys.executable, "-m", "parts_jax.main", f"--config=configs/{config}.py:tiny",
         f"--workdir={workdir}", f"--config.data.data_dir={tmp_path / 'data'}"],
        env=one_device, cwd=ROOT, capture_output=True, text=True, timeout=580)
    assert found.returncode == 0, found.stderr
    lines = [json.loads(line) for line in (workdir / "metrics.jsonl").read_text().splitlines()]
    assert lines[-1]["step"] == steps
    assert all(math.isfinite(value) for line in lines for value in line.values()
               if isinstance(value, float))
    record = json.loads((workdir / "evaluation" / f"{dataset}-test-{steps}.json").read_text())
    assert metrics <= set(record)
    assert (workdir / "checkpoints" / str(steps)).is_dir()
    page = (workdir / "report" / "index.html").read_text()
    assert dataset.replace("_tiny", "/tiny") in page
