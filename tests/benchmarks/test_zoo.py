"""A run becomes a trained model to be passed on; what comes with the package stays as it is."""

import hashlib
import json
import os
import pathlib
import shutil
import subprocess
import sys

import jax
import numpy as np
import pytest
from absl.testing import flagsaver

import parts_jax
from benchmarks import zoo
from parts_jax import main
from parts_jax.report import numbers
from parts_jax.runs import checkpoint, configuration, init_from, shipped

ROOT = pathlib.Path(__file__).parents[2]
NAME = "sim_clevrer_tiny-test-7"


@pytest.fixture(scope="module")
def run(tmp_path_factory, save_untrained) -> pathlib.Path:
    """An untrained run with an evaluation written by hand."""
    run = save_untrained(tmp_path_factory.mktemp("zoo") / "run", steps=(0, 7), seed=5,
                         eval__num_sequences=2, eval__num_pictures=1, data__train_frames=9)
    (run / "evaluation").mkdir()
    record = dict(step=7, dataset="sim_clevrer/tiny", split="test", seed=5, num_sequences=8,
                  num_frames=4, resolution=16, num_slots=3, fg_ari_last=0.5, fg_ari_last_refined=1,
                  fg_ari_last_assigned=0.75, mse_last=0.01, median={},
                  interval={"fg_ari_last": [0.25, 0.75]},
                  hardware="a CPU")
    (run / "evaluation" / f"{NAME}.json").write_text(json.dumps(record))
    (run / "evaluation" / f"{NAME}-length.json").write_text(
        json.dumps({"tested_frames": 50, "length": 200}))
    (run / "metrics.jsonl").write_text('{"step": 6, "train/steps_per_second": 0.05}\n')
    return run


@pytest.fixture(scope="module")
def site(tmp_path_factory, run) -> pathlib.Path:
    """A checkout that has all of this one's package, and as its only trained model the run."""
    site = tmp_path_factory.mktemp("site")
    (site / "pretrained").mkdir()
    for name in ("parts_jax", "configs"):
        (site / name).symlink_to(ROOT / name)
    zoo.make(run, "demo", -1, "test", site / "pretrained")
    return site


@pytest.fixture
def entry(site, monkeypatch) -> pathlib.Path:
    monkeypatch.setattr(shipped, "PACKAGE", site / "parts_jax")
    return site / "pretrained" / "demo"


def hashes(folder: pathlib.Path) -> dict:
    return {path.relative_to(folder): (path.stat().st_mtime_ns, path.is_file() and hashlib.sha256(
        path.read_bytes()).hexdigest()) for path in [folder, *folder.rglob("*")]}


def params_of(workdir):
    shape = jax.eval_shape(parts_jax.models.create(configuration.load(str(workdir))).init,
                           jax.random.key(0))
    return checkpoint.restore_params(str(workdir), shape)


def test_an_entry_is_small_and_its_card_says_what_the_run_recorded(run, entry):
    assert not list(entry.rglob("iterator*"))
    assert {path.name for path in entry.parent.iterdir()} == {"demo"}
    (params, step), (expected, _) = params_of(entry), params_of(run)
    assert step == 7
    jax.tree.map(np.testing.assert_array_equal, params, expected)
    card = (entry / "README.md").read_text()
    for part in ("# demo: PARTS of sim_clevrer/tiny, 16x16, 3 slots", "2.0 minutes on a CPU",
                 "20 steps at 8x8, then 20 steps at 16x16, batch 4", "--config.seed=5`",
                 "`--config=configs/parts_clevrer.py:tiny ",
                 "| `fg_ari_last` | 0.500 (0.250 - 0.750) | 1.000 | 0.750 |",
                 "|  | predicted | refined | assigned |", "| `mse_last` | 0.01000 |  |  |",
                 "windows of 9 frames of 16x16",
                 "8 clips of the test split", f"## Fails at\n\n{zoo.TO_WRITE}"):
        assert part in card
    saved, config = configuration.load(str(entry)), configuration.load(str(run))
    assert parts_jax.load(entry).tested.frames == 50
    assert saved.data.data_dir == "" and saved.model == config.model


@pytest.mark.parametrize("name", shipped.trained_models())
def test_what_comes_with_the_package_is_small_finished_and_made_by_the_shipped_config(name):
    folder = ROOT / "pretrained" / name
    assert sum(path.stat().st_size for path in folder.rglob("*") if path.is_file()) <= 4e6
    card = (folder / "README.md").read_text()
    assert zoo.TO_WRITE not in card and card.split("## Fails at")[1].strip()
    command = zoo.command_of(configuration.load(str(folder)))
    start = command.count("--config.train.init_from=runs/")  # a run of another shipped config
    assert f"`{command}`" in card and command.count("--config") == 2 + start, "config and seed"
    assert {path.suffix for path in (folder / "evaluation").iterdir()} == {".json", ".png"}
    params, step = params_of(folder)
    assert step == int(next(iter(sorted(os.listdir(folder / "checkpoints"), reverse=True))))
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(params))


def test_a_card_says_batch_and_frames_of_stages_that_differ():
    config = configuration.read(f"{ROOT}/configs/grid_lstm_balls.py:paper")
    assert zoo.frames_of(config) == "4 to 40 frames"
    assert zoo.stages_of(config).startswith(
        "120,000 steps at 64x64, batch 32 of 4 frames, then 60,000 steps at 64x64, batch 16 of 8 ")


def test_the_command_in_a_card_makes_the_config_again(tiny):
    config = configuration.read(f"{ROOT}/configs/parts_clevrer.py:laptop").unlock()
    config.seed, config.eval.split, config.train.batch_size = 3, "other", 5
    config.schedule.learning_rate = (1e-3, 2e-3)
    command = zoo.command_of(config)
    assert command.startswith("--config=configs/parts_clevrer.py:laptop ")
    assert "--config.train.batch_size=5" in command and "--config.seed=3" in command
    assert "'--config.schedule.learning_rate=(0.001, 0.002)'" in command
    config.model = {"name": "other"}
    assert zoo.command_of(config) == "'a config of its own' --config.seed=3"


@pytest.mark.parametrize("name, step, split, message", [
    ("De mo", -1, "test", "--name is 'De mo', but must be of small letters"),
    ("taken", -1, "test", "'.*/taken' is there already"),
    ("demo", 3, "test", "no checkpoint of step 3"),
    ("demo", 0, "test", r"no '.*tiny-test-0.json'; this writes it: .* --config.eval.step=0 --conf"),
    ("demo", -1, "validation", "is of frames of size 8, in training; this is of those of 16: "),
    ("demo", -1, "test", "It would have .* MB, but may have 0.01 MB: a smaller model"),
])
def test_what_makes_no_entry_is_refused_and_leaves_nothing(run, tmp_path, monkeypatch, name, step,
                                                           split, message):
    (tmp_path / "taken").mkdir()
    copy = shutil.copytree(run, tmp_path.parent / f"{tmp_path.name}-run")
    record = json.loads((run / "evaluation" / f"{NAME}.json").read_text()) | {"resolution": 8}
    (copy / "evaluation" / "sim_clevrer_tiny-validation-7.json").write_text(json.dumps(record))
    monkeypatch.setattr(zoo, "MOST_BYTES", 10_000)
    with pytest.raises((ValueError, OSError), match=message):
        zoo.make(copy, name, step, split, tmp_path)
    assert os.listdir(tmp_path) == ["taken"]


def test_evaluating_what_comes_with_the_package_writes_beside_it(site, tmp_path, one_device):
    """By its name, with the report; its folder may be read only."""
    entry = site / "pretrained" / "demo"
    for folder, _, _ in os.walk(entry):
        os.chmod(folder, 0o555)
    before = hashes(entry)
    result = subprocess.run(
        [sys.executable, "-m", "parts_jax.main", "--mode=evaluate", "--workdir=demo",
         "--config.eval.split=test", "--config.eval.report=True",
         "--config.eval.rollout_steps=0"], cwd=tmp_path, text=True,
        capture_output=True, env=one_device | {"PYTHONPATH": str(site),
                                               "TFDS_DATA_DIR": str(tmp_path / "data")})
    for folder, _, _ in os.walk(entry):
        os.chmod(folder, 0o755)
    assert result.returncode == 0, result.stderr
    assert hashes(entry) == before
    assert result.stderr.count("What is found goes to runs/evaluations/demo: ") == 1
    out = tmp_path / "runs" / "evaluations" / "demo"
    record = json.loads((out / "evaluation" / f"{NAME}.json").read_text())
    assert record["num_sequences"] == 2 and np.isfinite(record["mse"])
    page = (out / "report" / "index.html").read_text()
    assert "2 clips of the test split." in page and "The scores of each clip were not" not in page
    assert sorted(os.listdir(tmp_path)) == ["data", "runs"]


def test_reports_find_what_came_with_it_where_nothing_was_evaluated(entry, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    asked = "sim_clevrer/tiny", ["test"], 7, False
    assert numbers.evaluated_folder(entry, *asked) == entry
    out = shipped.results_folder(entry)
    assert out == pathlib.Path("runs/evaluations/demo")
    shutil.copytree(entry / "evaluation", out / "evaluation")
    assert numbers.evaluated_folder(entry, *asked) == out
    assert shipped.results_folder(tmp_path / "run") == tmp_path / "run"


def test_a_run_starts_from_an_entry(entry, tiny):
    config = configuration.load(str(entry)).unlock()
    config.train.init_from, config.model.num_slots = "demo", 2
    params, _ = params_of(entry)
    started = init_from.start(config, jax.tree.map(np.zeros_like, params))
    jax.tree.map(np.testing.assert_array_equal, started, params)


@pytest.mark.parametrize("copied, message", [
    (False, "demo' lies among the trained models that come with the package, which stay as they "
            "are. Give another --workdir; a run starts from the parameters of one by its name, "),
    (True, "holds parameters alone, as trained models that are passed on do, so no run can go on "
           "from it. To start a new run from them, give another --workdir, and this one as")])
def test_training_goes_not_on_from_an_entry(entry, tmp_path, monkeypatch, capsys, copied, message):
    workdir = shutil.copytree(entry, tmp_path / "copy") if copied else entry
    before = hashes(workdir)
    argv = ["main", f"--config={ROOT}/configs/parts_clevrer.py:demo", f"--workdir={workdir}"]
    values = configuration.flatten(configuration.load(str(workdir)))
    argv += [f"--config.{key}={value}" for key, value in values.items()
             if not key.endswith((".name", "best_by")) or key == "data.name"]
    monkeypatch.setattr(sys, "argv", argv)
    for name in ("prepare_devices", "quiet_libraries"):
        monkeypatch.setattr(main, name, lambda: None)
    saved = flagsaver.save_flag_values()
    try:
        with pytest.raises(SystemExit):
            main.main(main.parse_flags(argv))
    finally:
        flagsaver.restore_flag_values(saved)
    assert message in capsys.readouterr().err
    assert hashes(workdir) == before
