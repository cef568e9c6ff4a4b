"""Training through the public command on a tiny set: what it writes, that killing it changes
nothing, that evaluation repeats its numbers, and that it survives, counts and reports NaN."""

import csv
import functools
import json
import os
import pathlib
import shutil
import signal
import subprocess
import sys
import time

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image
from tensorboard.backend.event_processing import event_accumulator

from configs import parts_clevrer
from parts_jax import models, train
from parts_jax.data import pipeline
from parts_jax.devices import sharding
from parts_jax.evaluation import split as split_of
from parts_jax.models import schedules
from parts_jax.models.contract import Model, Step
from parts_jax.runs import checkpoint, configuration
from parts_jax.training import optimizer

ROOT = pathlib.Path(__file__).parent.parent
LAST_STEP = 40
# The steps of logs, evaluations and checkpoints coincide and do not.
PERIODS = {"train.log_every": 3, "train.evaluate_every": 8, "train.checkpoint_every": 8}
SPEED = ("train/steps_per_second", "train/frames_per_second", "train/waiting_share",
         "train/compile_seconds")
HELD_OUT = "sim_clevrer_tiny-validation"
SEGMENTATION = ("fg_ari_last", "fg_ari_frame", "fg_ari_video", "ari_last", "ari_frame", "ari_video",
                "miou_last", "miou")
EVALUATION = ("step", "dataset", "split", "num_sequences", "seed", *SEGMENTATION, "mse", "mse_last",
              "kl", "nll", "neg_elbo", "mse_refined", "mse_last_refined",
              *(f"{name}_refined" for name in SEGMENTATION))


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> pathlib.Path:
    """Holds prepared data and runs of this file."""
    return tmp_path_factory.mktemp("train")


@pytest.fixture(scope="module")
def command(folder, tiny, one_device):
    """Makes the command line and environment of a run; on one device, as on a laptop."""
    values = tiny | PERIODS | {"data.data_dir": str(folder / "data"), "eval.num_pictures": 3}

    def make(*arguments: str, config: bool = True) -> dict:
        described = [f"--config={ROOT}/configs/parts_clevrer.py:demo",
                     *(f"--config.{key}={value}" for key, value in values.items())]
        return {"args": [sys.executable, "-m", "parts_jax.main", *(described if config else ()),
                         *arguments], "env": one_device, "cwd": folder}

    return make


def run(call: dict) -> str:
    """Runs a command to its end and returns what it said."""
    result = subprocess.run(**call, capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    return result.stderr


@pytest.fixture(scope="module")
def finished(folder, command) -> pathlib.Path:
    """The workdir of a run of two stages that nothing disturbed."""
    workdir = folder / "finished"
    run(command(f"--workdir={workdir}"))
    return workdir


@pytest.fixture(scope="module")
def killed(folder, command, finished) -> pathlib.Path:
    """The workdir of the same run, killed in mid-run and started again."""
    workdir = folder / "killed"
    process = subprocess.Popen(**command(f"--workdir={workdir}"), stderr=subprocess.DEVNULL)
    second = workdir / checkpoint.FOLDER / "16"
    while not second.exists() and process.poll() is None:
        time.sleep(0.005)
    process.send_signal(signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL
    steps = steps_of(workdir)
    assert 16 in steps and LAST_STEP not in steps
    assert lines_of(workdir)[-1]["step"] < LAST_STEP
    with (workdir / "metrics.jsonl").open("a") as file:
        file.write('{"step": 23, "train/lo')  # as if it had been killed in the middle of a line
    assert f"From step {max(steps)} of {LAST_STEP}" in run(command(f"--workdir={workdir}"))
    return workdir


def steps_of(workdir: pathlib.Path) -> list[int]:
    names = os.listdir(workdir / checkpoint.FOLDER)
    return sorted(int(name) for name in names if name.isdecimal())


def lines_of(workdir: pathlib.Path) -> list[dict]:
    return [json.loads(line) for line in (workdir / "metrics.jsonl").read_text().splitlines()]


def without_speed(lines: list[dict]) -> list[dict]:
    return [{k: v for k, v in line.items() if k not in SPEED} for line in lines]


def evaluation_of(workdir: pathlib.Path, split: str = "test", suffix: str = "") -> dict:
    name = f"sim_clevrer_tiny-{split}-{LAST_STEP}{suffix}.json"
    record = json.loads((workdir / "evaluation" / name).read_text())
    record.pop("commit", None)  # files may be edited while tests run
    return record


def final_state(workdir: pathlib.Path):
    """All of the last checkpoint, and the batch that would come next."""
    config = configuration.load(str(workdir))
    make_state = functools.partial(
        train.create_state, config, models.create(config), optimizer.create(config))
    data = pipeline.train_iterator(config.data, batch_size=4, seed=config.seed)
    with checkpoint.open_checkpoints(str(workdir)) as manager:
        assert checkpoint.latest_step(manager) == LAST_STEP
        state = checkpoint.restore(manager, jax.eval_shape(make_state), data)
    return state, next(data)


def test_a_run_writes_what_is_promised(finished, tiny):
    """config.json, checkpoints, one line of metrics for each period, and nothing half-written."""
    assert sorted(name.split(".")[0] for name in os.listdir(finished)) == [
        "best", "checkpoints", "config", "evaluation", "events", "metrics"]
    values = configuration.flatten(configuration.load(str(finished)))
    assert {key: values[key] for key in tiny} == tiny
    assert steps_of(finished) == [24, 32, 40]  # the newest three

    lines = lines_of(finished)
    training = [line["step"] for line in lines if "train/loss" in line]
    assert training == sorted({*range(3, LAST_STEP, 3), 8, 16, 32, LAST_STEP} | {24})
    assert [line["step"] for line in lines if f"{HELD_OUT}/mse" in line] == [
        8, 16, 24, 32, LAST_STEP]
    assert [line["step"] for line in lines if "sim_clevrer_tiny-test/mse" in line] == [LAST_STEP]
    signs = {"loss", "nll", "kl", "kl_greatest_share", "mse", "mask_entropy", "effective_slots",
             "attention_entropy", "slot_spread", "gradient_norm", "skipped_steps"}
    assert {f"train/{name}" for name in signs} | set(SPEED) <= set(lines[0])
    assert all(np.isfinite(value) for line in lines for value in line.values())
    losses = [line["train/loss"] for line in lines if "train/loss" in line]
    assert losses[-1] < losses[0]


def test_the_evaluation_file_has_every_metric(finished):
    record = evaluation_of(finished)
    assert set(EVALUATION) <= set(record)
    assert (record["step"], record["dataset"], record["split"], record["num_sequences"],
            record["seed"]) == (LAST_STEP, "sim_clevrer/tiny", "test", 8, 0)
    for name in EVALUATION[5:]:
        assert np.isfinite(record[name]), name
        assert np.isfinite(record["median"][name]) and record["standard_error"][name] >= 0
    line, = (line for line in lines_of(finished) if "sim_clevrer_tiny-test/mse" in line)
    assert {key: line[f"sim_clevrer_tiny-test/{key}"] for key in EVALUATION[5:]} == {
        key: record[key] for key in EVALUATION[5:]}


def test_the_end_of_training_evaluates_roll_outs_too(finished):
    record = evaluation_of(finished, suffix="-rollout")
    assert (record["step"], record["burn_in"], record["num_steps"]) == (LAST_STEP, 4, 2)
    assert record["num_sequences"] == 8 and len(record["metrics"]) == 15
    line = lines_of(finished)[-1]
    assert line["step"] == LAST_STEP
    assert line["sim_clevrer_tiny-test/rollout/mse_2"] == record["metrics"]["mse"]["mean"][1]
    assert (finished / "evaluation" / f"sim_clevrer_tiny-test-{LAST_STEP}-rollout.png").exists()


def test_pictures_are_written(finished):
    """A grid of 3 clips of the last frame, as PNG and in TensorBoard, and animated clips."""
    grid = np.asarray(Image.open(
        finished / "evaluation" / f"sim_clevrer_tiny-test-{LAST_STEP}.png"))
    assert grid.ndim == 3 and min(grid.shape[:2]) >= 3 * 16 and len(np.unique(grid)) > 50
    events = event_accumulator.EventAccumulator(
        str(finished), size_guidance={"tensors": 0, "scalars": 0}).Reload()
    tags = events.Tags()
    assert {"train/loss", f"{HELD_OUT}/fg_ari_last", "sim_clevrer_tiny-test/miou"} <= set(
        tags["scalars"])
    assert {"sim_clevrer_tiny-test/last_frame", "sim_clevrer_tiny-test/clips", "config"} <= {
        *tags["tensors"], *tags["images"]}
    assert [event.step for event in events.Tensors(f"{HELD_OUT}/last_frame")] == [
        8, 16, 24, 32, LAST_STEP]
    logged = {event.step: event.value for event in events.Scalars("train/loss")}
    expected = {line["step"]: line["train/loss"] for line in lines_of(finished)
                if "train/loss" in line}
    assert logged.keys() == expected.keys()
    np.testing.assert_allclose([logged[step] for step in expected], list(expected.values()))


def test_evaluations_in_training_leave_files_under_the_same_name(finished):
    """Of frames of the stage's size, and without what is large."""
    records = {int(path.stem.split("-")[-1]): json.loads(path.read_text())
               for path in (finished / "evaluation").glob(f"{HELD_OUT}-*.json")}
    assert {step: record["resolution"] for step, record in records.items()} == {
        8: 8, 16: 8, 24: 16, 32: 16, LAST_STEP: 16}
    lines = {line["step"]: line for line in lines_of(finished) if f"{HELD_OUT}/mse" in line}
    assert all(lines[step][f"{HELD_OUT}/miou"] == record["miou"] and record["hardware"]
               for step, record in records.items())
    assert all((finished / "evaluation" / f"{HELD_OUT}-{step}.png").is_file() for step in records)
    name = f"sim_clevrer_tiny-test-{LAST_STEP}"
    assert {path.name for path in (finished / "evaluation").glob("*.csv")} == {
        f"{name}.csv", f"{name}-rollout.csv"}


def test_every_clip_has_its_scores_and_its_id(finished):
    name = f"sim_clevrer_tiny-test-{LAST_STEP}.csv"
    with (finished / "evaluation" / name).open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["clip"] for row in rows] == [str(i) for i in range(8)]
    assert len({row["id"] for row in rows}) == 8 and all(row["id"] for row in rows)
    for metric in ("mse", "miou_last", "fg_ari_last_refined"):
        assert np.mean([float(row[metric]) for row in rows]) == pytest.approx(
            evaluation_of(finished)[metric], rel=1e-5)


def test_the_last_step_can_be_the_best(finished):
    scores = {line["step"]: line[f"{HELD_OUT}/miou_last_assigned"]
              for line in lines_of(finished) if f"{HELD_OUT}/mse" in line}
    best = json.loads((finished / "best.json").read_text())
    of_full_size = {step: scores[step] for step in (24, 32, LAST_STEP)}
    assert best["metric"] == "miou_last_assigned"
    assert best["value"] == max(of_full_size.values())
    assert best["value"] == scores[best["step"]]


def test_a_killed_run_ends_as_if_it_had_not_been(finished, killed):
    """Parameters, optimizer and data position bit for bit; every line of metrics but its speed."""
    (state, batch), (other, other_batch) = final_state(finished), final_state(killed)
    assert state.step == LAST_STEP
    jax.tree.map(np.testing.assert_array_equal, state, other)
    jax.tree.map(np.testing.assert_array_equal, batch, other_batch)
    assert without_speed(lines_of(finished)) == without_speed(lines_of(killed))
    for suffix in ("", "-rollout"):
        assert evaluation_of(finished, suffix=suffix) == evaluation_of(killed, suffix=suffix)
    assert steps_of(finished) == steps_of(killed)


def test_evaluation_of_a_finished_run_gives_its_numbers(folder, command, finished):
    """By the workdir alone, which may have been moved; and on another split, other numbers."""
    workdir = folder / "moved"
    shutil.copytree(finished, workdir)
    shutil.rmtree(workdir / "evaluation")
    config = (workdir / "config.json").read_text()
    for split in ("test", "validation"):
        run(command("--mode=evaluate", f"--workdir={workdir}", f"--config.eval.split={split}",
                    config=False))
    for suffix in ("", "-rollout"):
        assert evaluation_of(workdir, suffix=suffix) == evaluation_of(finished, suffix=suffix)
    name = f"sim_clevrer_tiny-test-{LAST_STEP}.png"
    assert (workdir / "evaluation" / name).read_bytes() == (
        finished / "evaluation" / name).read_bytes()
    validation = evaluation_of(workdir, "validation")
    assert validation["split"] == "validation"
    assert validation["mse"] != evaluation_of(workdir)["mse"]
    assert (workdir / "config.json").read_text() == config
    assert steps_of(workdir) == steps_of(finished)


def test_a_finished_run_started_again_changes_nothing(command, finished):
    def content():
        return {path: path.read_bytes() for path in finished.rglob("*")
                if path.is_file() and "events" not in path.name}

    before = content()
    assert f"ended before, with step {LAST_STEP}" in run(command(f"--workdir={finished}"))
    assert content() == before


def poisoned(bad_steps):
    """In place of beta's warm-up: a factor that is NaN at some steps, and so is the loss."""
    return lambda config: lambda step: jnp.where(bad_steps(step), jnp.nan, 1.0)


@pytest.fixture(scope="module")
def nan_run(folder, tiny):
    """Workdir, config, and what was done in which order, of a run that NaN brings to its end.

    The 6th and 7th step are not finite, and from the 15th on all; 3 in a row are too many, as
    the next write sees.
    """
    config = parts_clevrer.get_config("demo")
    config.update_from_flattened_dict(tiny | {
        "data.data_dir": str(folder / "data"), "schedule.steps": (30,),
        "schedule.resolution": (16,), "train.pixels": (2,),
        "train.encoder_pooling": (1,), "schedule.learning_rate": (3e-3,),
        "schedule.warmup_steps": (0,), "schedule.final_scale": (1.0,), "train.log_every": 1,
        "model.beta_scale": (1.0,), "train.evaluate_every": 4,
        "train.checkpoint_every": 4, "train.keep_checkpoints": 9, "train.max_bad_steps": 3})
    workdir, order, save = folder / "nan", [], checkpoint.save

    def note_evaluation(*args):
        order.append("evaluate")
        return {"mse": np.zeros(2)}, {}

    def note_save(manager, step, *args):
        order.append(step)
        return save(manager, step, *args)

    configuration.claim_workdir(str(workdir), config)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(schedules, "beta_scale", poisoned(
            lambda step: (step == 5) | (step == 6) | (step >= 14)))
        patch.setattr(split_of, "infer_split", note_evaluation)
        patch.setattr(checkpoint, "save", note_save)
        with pytest.raises(train.NonFiniteError,
                           match="for 3 steps in a row, up to step 17.*allows 3"):
            train.train(config, str(workdir))
    return workdir, config, order


def test_a_step_is_saved_before_it_is_evaluated_and_never_while_it_is_not_finite(nan_run):
    """So an evaluation that is cut short costs no steps. Step 16 was skipped."""
    _, _, order = nan_run
    assert order == [4, "evaluate", 8, "evaluate", 12, "evaluate", "evaluate"]


def test_nan_is_skipped_counted_and_stops_the_run_after_too_many(nan_run):
    workdir, config, _ = nan_run
    lines = {line["step"]: line for line in lines_of(workdir) if "train/loss" in line}
    last = max(lines)
    assert sorted(lines) == list(range(1, last + 1)) and last == 18  # seen one write later
    bad = [step for step, line in lines.items() if line["train/loss"] is None]
    assert bad == [6, 7, *range(15, last + 1)]
    skipped = {step: line["train/skipped_steps"] for step, line in lines.items()}
    assert [skipped[step] for step in (5, 6, 7, 8, 14, 15, 17)] == [0, 1, 2, 2, 2, 3, 5]
    assert [lines[step]["train/skipped_in_a_row"] for step in (6, 7, 8, 17)] == [1, 2, 0, 3]

    assert steps_of(workdir) == [4, 8, 12]  # the save going on at the end was waited for
    shape = jax.eval_shape(models.create(config).init, jax.random.key(0))
    kept = {step: checkpoint.restore_params(str(workdir), shape, step)[0] for step in (4, 12)}
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(kept))
    moved = jax.tree.map(lambda a, b: np.abs(a - b).max(), kept[4], kept[12])
    assert max(jax.tree.leaves(moved)) > 1e-3


def test_a_run_that_diverges_ends_with_one_sentence(folder, command):
    """A learning rate far too high: exit code 1, no traceback, the parameters kept."""
    workdir = folder / "diverged"
    call = command(f"--workdir={workdir}", "--config.train.max_bad_steps=2")
    rate = "--config.schedule.learning_rate="
    call["args"] = [rate + "(1e30, 1e30)" if argument.startswith(rate) else argument
                    for argument in call["args"]]
    result = subprocess.run(**call, capture_output=True, text=True)
    assert result.returncode == 1
    assert "Error: Loss or gradient was not finite for" in result.stderr
    assert "Traceback" not in result.stderr


def test_stopping_counts_steps_in_a_row():
    train.stop_if_not_finite({}, 20)  # nothing was written to the log yet
    for in_a_row, stops in ((0, False), (19, False), (20, True), (21, True)):
        metrics = {"step": 100, "skipped_in_a_row": np.int32(in_a_row)}
        if stops:
            with pytest.raises(train.NonFiniteError, match=f"for {in_a_row} steps in a row"):
                train.stop_if_not_finite(metrics, 20)
        else:
            train.stop_if_not_finite(metrics, 20)


def test_summary_of_metrics_by_hand():
    """Two frames of two examples; and a metric that only its family knows."""
    metrics = {"kl": jnp.asarray([[4.0, 2.0], [1.0, 5.0]]),
               "nll": jnp.asarray([[5.0, 7.0], [1.0, 3.0]]),
               "sigma_q": jnp.asarray([[0.5, 0.25], [0.5, 0.25]]),
               "own": jnp.asarray([[1.0, 0.0], [0.0, 0.0]])}
    summary = jax.device_get(train.summarise(metrics))
    assert summary == {"kl": 3.0, "nll": 4.0, "nll_first": 3.0, "nll_last": 5.0, "sigma_q": 0.375,
                       "sigma_q_first": 0.5, "sigma_q_last": 0.25, "own": 0.25}


def summing_model(shown: list) -> Model:
    """Its loss is w times the sum of the colours that it explains; `shown` gets each clip's form.

    What is not seen counts a hundredfold.
    """
    def loss(params, state, clip, step):
        scored = clip.video if clip.pixels is None else clip.pixels.colours
        shown.append((clip.video.shape[2], scored.shape[2]))
        sums = params["w"] * scored.sum((2, 3, 4))
        if clip.seen is not None:
            sums = sums * jnp.where(clip.seen, 1, 100)
        kl = jnp.ones_like(sums)
        return jnp.mean(sums), Step(state, {}, {"nll": sums, "kl": kl}, {})

    return Model(lambda key: {"w": jnp.ones(())}, lambda size, slots: jnp.zeros(size),
                 lambda keys, frames, slots: jnp.zeros((len(keys), frames)), loss, None, 1, ())


@pytest.mark.parametrize("pixels, pooling, per_pixel", [
    (1, 1, False), (2, 1, True), (4, 2, False), (1, 2, True), (1, 2, False)])
def test_the_loss_is_of_all_pixels_whatever_is_explained_and_seen(tiny, pixels, pooling, per_pixel):
    """Of frames in one colour every subset says the same; in a stage of pooled frames, too."""
    config, shown = parts_clevrer.get_config("demo"), []
    config.update_from_flattened_dict(tiny | {
        "train.pixels": (pixels, 1), "train.encoder_pooling": (pooling, 1),
        "train.rollout": 0, "optimizer.loss_per_pixel": per_pixel})
    metrics = one_step(config, summing_model(shown))
    assert set(shown) == {(8 // pooling, 8 // pixels)}
    assert metrics["loss"] == pytest.approx(0.6 if per_pixel else 0.6 * 8**2, rel=1e-5)
    for name in ("nll", "nll_last"):
        assert metrics[name] == pytest.approx(0.6 * 8**2, rel=1e-5)
    assert metrics["kl"] == 1


def one_step(config, model: Model) -> dict:
    """The metrics of a step of the first stage, of clips in one colour, .2."""
    tx = optimizer.create(config)
    video = np.full((4, config.data.num_frames, 16, 16, 3), 51, np.uint8)
    step = sharding.data_parallel(
        functools.partial(train.train_step, config=config, model=model, tx=tx, stage=0),
        sharding.make_mesh(jax.devices()[:1]), (False, True), (False, False))
    state = train.create_state(config, model, tx)
    return jax.device_get(step(state, {"video": video, "valid": np.ones(4, bool)})[1])


def test_frames_are_left_unseen_in_a_share_of_the_examples(tiny):
    config = parts_clevrer.get_config("demo")
    config.update_from_flattened_dict(tiny | {
        "train.pixels": (1, 1), "train.rollout": 1,
        "train.burn_in": (3, 3), "train.rollout_share": 1.0})
    metrics = one_step(config, summing_model([]))  # of four frames the last, of all
    assert metrics["nll_first"] == pytest.approx(0.6 * 8**2, rel=1e-5)
    assert metrics["nll_last"] == pytest.approx(100 * 0.6 * 8**2, rel=1e-5)
