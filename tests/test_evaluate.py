"""--mode=evaluate on checkpoints that are untrained, damaged, still to come, or of another kind."""

import json
import os
import pathlib
import shutil
import subprocess
import sys

import grain
import jax
import numpy as np
import pytest

from parts_jax import evaluate, models, train
from parts_jax.evaluation import stages
from parts_jax.metrics import table
from parts_jax.runs import checkpoint, configuration
from parts_jax.training import optimizer

ROOT = pathlib.Path(__file__).parent.parent
LAST_STEP = 40


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> pathlib.Path:
    """Holds prepared data and the run of this file."""
    return tmp_path_factory.mktemp("evaluate")


@pytest.fixture(scope="module")
def workdir(folder, save_untrained):
    """A run that was killed after its seventh step, and has learned nothing."""
    return save_untrained(folder / "run", steps=(0, 7), data__data_dir=str(folder / "data"),
                          eval__num_sequences=6)


def command(workdir, *arguments: str) -> subprocess.CompletedProcess:
    environment = {k: v for k, v in os.environ.items() if k != "XLA_FLAGS"}
    return subprocess.run(
        [sys.executable, "-m", "parts_jax.main", "--mode=evaluate", f"--workdir={workdir}",
         *arguments], cwd=ROOT, env=environment, capture_output=True, text=True)


def record_of(workdir, step: int) -> dict:
    path = pathlib.Path(workdir) / "evaluation" / f"sim_clevrer_tiny-validation-{step}.json"
    return json.loads(path.read_text())


def segmentation_names() -> list[str]:
    return [metric.name for metric in table.TABLE if metric.of_ids]


def refused(workdir, *arguments: str) -> str:
    """The one sentence that the command ends with."""
    result = command(workdir, *arguments)
    assert result.returncode == 2, result.stderr
    *_, last = result.stderr.strip().splitlines()
    assert last.startswith("Error: ") and "Traceback" not in result.stderr
    return last


def test_an_untrained_checkpoint_has_numbers_a_report_and_a_folder_of_its_own(tmp_path, workdir):
    shutil.copytree(workdir, tmp_path / "run")
    result = command(tmp_path / "run", "--config.eval.report=True", "--config.eval.step=0")
    assert result.returncode == 0, result.stderr
    record = record_of(tmp_path / "run", 0)
    assert record["num_sequences"] == 6 and np.isfinite(record["neg_elbo"])
    assert abs(record["ari_last"]) < 0.3
    assigned = {name for name in record["median"] if name.endswith("_assigned")}
    assert assigned == {f"{name}{stage}_assigned" for name in segmentation_names()
                        if not name.startswith("mask_")  # of eval.mask_boxes
                        for stage in ("", "_predicted")} and len(assigned) == 16
    low, high = record["interval"]["mse"]
    assert low < record["mse"] < high
    page = (tmp_path / "run" / "report" / "index.html").read_text()
    assert "step 0" in page and "validation split" in page
    assert not (tmp_path / "run" / "metrics.jsonl").exists()  # that is for training to write
    lines = (tmp_path / "run" / "evaluation" / "metrics.jsonl").read_text().splitlines()
    assert all(json.loads(line)["step"] == 0 for line in lines)


def test_a_damaged_checkpoint_is_one_sentence(tmp_path, workdir):
    """Of ours: threads of tensorstore that were reading may say more, before or after it."""
    shutil.copytree(workdir, tmp_path / "run")
    for path in (tmp_path / "run" / "checkpoints" / "7").rglob("d/*"):
        path.write_bytes(path.read_bytes()[:100])
    result = command(tmp_path / "run")
    assert result.returncode == 2, result.stderr
    assert result.stderr.count("Error: The checkpoint of step 7 in "
                               f"'{tmp_path}/run' cannot be read: it is damaged") == 1
    assert "parts_jax/runs/checkpoint.py" not in result.stderr
    assert not list((tmp_path / "run").glob("evaluation/*.json"))


def test_a_model_with_actions_needs_a_set_with_actions(folder, save_untrained):
    workdir = save_untrained(folder / "actions", data__action_size=2,
                             data__data_dir=str(folder / "data"))
    message = refused(workdir)
    assert "data.action_size is 2, but the data have no actions" in message


@pytest.mark.parametrize("arguments, message", [
    (("--config.eval.step=3",), "no checkpoint of step 3"),
    (("--config.eval.watch=True", "--config.eval.step=7"),
     "eval.step is 7, but eval.watch evaluates every checkpoint: eval.step must be -1"),
])
def test_what_cannot_be_evaluated_is_refused(workdir, arguments, message):
    assert message in refused(workdir, *arguments)


def test_frames_of_another_size_are_evaluated(tmp_path, workdir):
    """No parameter depends on it."""
    shutil.copytree(workdir, tmp_path / "run", ignore=shutil.ignore_patterns("evaluation"))
    result = command(tmp_path / "run", "--config.data.resolution=32")
    assert result.returncode == 0, result.stderr
    assert record_of(tmp_path / "run", 7)["resolution"] == 32


def test_watching_evaluates_what_is_there_and_what_is_still_to_come(tmp_path, workdir, monkeypatch):
    """With one compilation of each program, until the last step of the schedule."""
    shutil.copytree(workdir, tmp_path / "run")
    config = configuration.load(str(tmp_path / "run")).unlock()
    config.eval.watch, config.eval.num_pictures = True, 0

    def save_the_last(seconds):
        model, tx = models.create(config), optimizer.create(config)
        state = jax.jit(lambda: train.create_state(config, model, tx))()
        with checkpoint.open_checkpoints(str(tmp_path / "run"), keep=3) as manager:
            checkpoint.save(manager, LAST_STEP, state,
                            iter(grain.MapDataset.range(1).to_iter_dataset()), config.to_dict())

    monkeypatch.setattr(checkpoint.time, "sleep", save_the_last)
    compiled = []
    monkeypatch.setattr(stages, "compile_stages", lambda *a, make=stages.compile_stages: (
        compiled.append(make(*a)) or compiled[0]))
    metrics = evaluate.evaluate(config, tmp_path / "run")
    evaluator, = compiled
    assert evaluator.infer._cache_size() == evaluator.predict._cache_size() == 1
    records = [record_of(tmp_path / "run", step) for step in (0, 7, LAST_STEP)]
    assert records[0]["mse"] != records[1]["mse"]
    assert records[2]["mse"] == records[0]["mse"] == metrics["mse"]  # the same parameters


def test_a_checkpoint_that_is_deleted_before_its_turn_is_passed_over(tmp_path, workdir, monkeypatch,
                                                                      caplog):
    shutil.copytree(workdir, tmp_path / "run", ignore=shutil.ignore_patterns("evaluation"))
    config = configuration.load(str(tmp_path / "run")).unlock()
    config.eval.watch, config.eval.num_pictures, config.eval.rollout_steps = True, 0, 0
    monkeypatch.setattr(checkpoint, "new_steps", lambda *a: [3, 7])
    evaluate.evaluate(config, tmp_path / "run")
    assert "The checkpoint of step 3 was deleted before its turn." in caplog.messages
    assert [path.stem for path in (tmp_path / "run" / "evaluation").glob("*.json")] == [
        "sim_clevrer_tiny-validation-7"]
