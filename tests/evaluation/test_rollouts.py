"""Roll-outs against a loop over clips and frames: devices, batches, actions, baseline, files."""

import csv
import json
import logging as standard_logging

import jax
import numpy as np
import pytest
from PIL import Image
from tensorboard.backend.event_processing import event_accumulator

from configs import parts_clevrer
from parts_jax import evaluate, models
from parts_jax.data import pipeline
from parts_jax.devices import sharding
from parts_jax.equations.notation import InferenceState
from parts_jax.evaluation import split as split_of
from parts_jax.evaluation import stages, writing
from parts_jax.metrics import constant_velocity, intervals, segmentation
from parts_jax.models.contract import Clip
from parts_jax.models.parts import family
from parts_jax.networks.functions import Function
from parts_jax.pictures import colours
from parts_jax.runs import checkpoint, configuration, metric_writer, provenance
from tests.metrics import picture_oracle

BURN_IN, S, CLIPS, A, STEP = 4, 2, 6, 2, 3
PICTURE = ("mse", "psnr", "ssim")
NAMES = {rival + name for name in (*PICTURE, "fg_ari", "fg_miou")
         for rival in ("", "repeat_", "moved_")}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("rollout")


@pytest.fixture(scope="module")
def workdir(folder, save_untrained):
    return save_untrained(folder / "run", steps=(STEP,), data__data_dir=str(folder / "data"),
                          eval__num_sequences=CLIPS, eval__split="test", eval__num_pictures=3)


@pytest.fixture(scope="module")
def config(workdir):
    return configuration.load(str(workdir))


def make_params(config):
    """Larger than at the start of training, so that masks are no near ties."""
    params = jax.jit(models.create(config).init)(jax.random.key(0))
    rng = np.random.default_rng(0)
    return jax.tree.map(lambda p: np.asarray(p) + 0.3 * rng.normal(size=p.shape).astype(np.float32),
                        params)


EVALUATORS = {}


def examples_of(config, params, num_devices: int = 1, batch_size: int = 3, split: str = "test"):
    """Metrics of each clip and pictures; by the same programs for the same config."""
    config = config.copy_and_resolve_references()
    config.eval.batch_size = batch_size
    mesh = sharding.make_mesh(jax.devices()[:num_devices])
    evaluator = EVALUATORS.setdefault((config.to_json(), num_devices), stages.compile_stages(
        config, models.create(config), mesh))
    return split_of.predict_split(
        evaluator, sharding.replicate(params, mesh), split, config.eval.num_pictures)


def one_by_one(config, params, clips: list[dict]) -> dict[str, np.ndarray]:
    """Each clip alone, each frame by `PARTS.predict` and `decode`; metrics [clips, S]."""
    c, model, parts = config.model, models.create(config), family.build(config)
    size, found = config.data.resolution, []
    transition = Function(parts.transition, params["transition"])
    decode = jax.jit(lambda z: parts.apply({"params": params}, z, (size, size), method="decode"))
    infer = jax.jit(lambda *a: model.loss(params, model.start(1, None), Clip(*a), None)[1].state)
    predict = jax.jit(lambda state, action: parts.predict(transition, state, action))
    for index, clip in enumerate(clips):
        video = np.float32(clip["video"] / 255)
        actions = clip.get("actions", np.zeros((len(video), 0), np.float32))
        key = jax.random.fold_in(jax.random.key(config.seed), index)
        noise = jax.random.normal(key, (BURN_IN, c.num_refinements, c.num_slots, c.slot_size))
        before = np.concatenate([np.zeros_like(actions[:1]), actions[:BURN_IN - 1]])
        state = infer(video[None, :BURN_IN], before[None], noise[None])
        recon, ids = [], []
        for t in range(BURN_IN, BURN_IN + S):
            lambda_, hidden = predict(state, actions[None, t - 1])
            state = InferenceState(lambda_, hidden)
            mixture = jax.tree.map(lambda a: np.asarray(a[0]), decode(lambda_.mean))
            weights = np.exp(mixture.mask_logits - mixture.mask_logits.max(0))
            weights /= weights.sum(0)
            recon.append((weights[..., None] * mixture.means).sum(0))
            ids.append(weights.argmax(0))
        true, last = video[None, BURN_IN:BURN_IN + S], video[BURN_IN - 1]
        metrics = picture_oracle.picture_metrics(true, np.stack(recon)[None])
        repeated = picture_oracle.picture_metrics(true, np.broadcast_to(last, true.shape))
        metrics |= {f"repeat_{name}": values for name, values in repeated.items()}
        if "segmentation" in clip:
            ids_of, true_ids = clip["segmentation"], clip["segmentation"][None, BURN_IN:BURN_IN + S]
            moved = constant_velocity.constant_velocity(
                video[None, :BURN_IN], ids_of[None, :BURN_IN], S)
            metrics |= segmentation.mask_metrics(true_ids, np.stack(ids)[None])
            metrics |= {f"repeat_{name}": values for name, values in segmentation.mask_metrics(
                true_ids, np.repeat(ids_of[None, BURN_IN - 1:BURN_IN], S, axis=1)).items()}
            metrics |= {f"moved_{name}": values for name, values in (
                picture_oracle.picture_metrics(true, moved.video)
                | segmentation.mask_metrics(true_ids, moved.segmentation)).items()}
        found.append(metrics)
    return {name: np.concatenate([metrics[name] for metrics in found]) for name in found[0]}


def assert_same(found: dict, expected: dict) -> None:
    assert found.keys() == expected.keys()
    for name, values in expected.items():
        np.testing.assert_allclose(found[name], values, rtol=1e-4, atol=1e-5, err_msg=name)


def random_clips(num_frames: int = BURN_IN + S, size: int = 16, **extra) -> list[dict]:
    rng = np.random.default_rng(1)
    return [{"video": rng.integers(0, 256, (num_frames, size, size, 3), np.uint8),
             "segmentation": rng.integers(0, 3, (num_frames, size, size), np.uint8)} | {
                 key: make(rng, num_frames) for key, make in extra.items()}
            for _ in range(CLIPS)]


def use_clips(monkeypatch, clips: list[dict]) -> None:
    split = pipeline.Split(clips, fewest_frames=len(clips[0]["video"]))
    monkeypatch.setattr(pipeline, "open_split", lambda data_config, name: split)


@pytest.fixture
def random_config(tiny):
    """Of random clips, and of a model with actions."""
    config = parts_clevrer.get_config("demo")
    config.update_from_flattened_dict(tiny | {"data.action_size": A, "eval.num_pictures": 5})
    return config


def draw_actions(rng, num_frames: int) -> np.ndarray:
    return rng.normal(size=(num_frames, A)).astype(np.float32)


@pytest.fixture(scope="module")
def written(workdir, config):
    """The record that --mode=evaluate writes, and what it said."""
    said = []
    handler = standard_logging.Handler()
    handler.emit = lambda record: said.append(record.getMessage())
    logger = standard_logging.getLogger("absl")
    logger.addHandler(handler)
    level = logger.level
    logger.setLevel(standard_logging.INFO)
    try:
        evaluate.evaluate(config, str(workdir))
    finally:
        logger.removeHandler(handler)
        logger.setLevel(level)
    path = workdir / "evaluation" / f"sim_clevrer_tiny-test-{STEP}-rollout.json"
    return json.loads(path.read_text()), said


def test_a_checkpoint_is_scored_as_by_a_loop_over_clips(config, workdir, written):
    record, _ = written
    shape = jax.eval_shape(models.create(config).init, jax.random.key(0))
    params, _ = checkpoint.restore_params(str(workdir), shape, STEP)
    source = pipeline.open_split(config.data, "test").examples
    clips = [pipeline.preprocess.read_window(source[i], 0, BURN_IN + S, 1) for i in range(CLIPS)]
    expected = one_by_one(config, params, clips)
    assert set(expected) == NAMES
    assert_same({name: entry["mean"] for name, entry in record["metrics"].items()},
                {name: values.mean(0) for name, values in expected.items()})
    for name, values in expected.items():
        interval = intervals.confidence_interval(values)
        np.testing.assert_allclose(record["metrics"][name]["interval"], interval, rtol=1e-4,
                                   atol=1e-5, err_msg=name)


def test_the_record_says_what_was_evaluated(written, workdir):
    record, said = written
    about = {key: value for key, value in record.items() if key != "metrics"}
    assert about.pop("hardware") == provenance.hardware()
    assert about.pop("commit", None) == provenance.commit()
    assert about == {
        "step": STEP, "dataset": "sim_clevrer/tiny", "split": "test", "seed": 0,
        "num_sequences": CLIPS, "num_slots": 3, "resolution": 16, "stride": 1, "burn_in": BURN_IN,
        "num_steps": S, "level": 0.95, "horizon": [1, 2]}
    assert set(record["metrics"]) == NAMES
    path = workdir / "evaluation" / f"sim_clevrer_tiny-test-{STEP}-rollout.csv"
    with path.open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["clip"] for row in rows] == [str(i) for i in range(CLIPS)]
    assert all(row["id"].startswith("test-") for row in rows)
    assert np.mean([float(row["mse_2"]) for row in rows]) == pytest.approx(
        record["metrics"]["mse"]["mean"][1], rel=1e-5)
    for name, entry in record["metrics"].items():
        assert set(entry) == {"mean", "interval"} and len(entry["mean"]) == S, name
        for mean, (low, high) in zip(entry["mean"], entry["interval"], strict=True):
            assert low - 1e-12 <= mean <= high + 1e-12
    line, = (line for line in said if line.startswith("sim_clevrer_tiny-test, step 3, roll-out"))
    assert "roll-out from frame 5 to 6, mean over them: mse " in line and "repeat_ssim" in line
    assert not list((workdir / "evaluation").glob("*.partial"))


def test_the_evaluation_file_has_intervals(written, workdir):
    record = json.loads((workdir / "evaluation" / f"sim_clevrer_tiny-test-{STEP}.json").read_text())
    assert record["interval"].keys() == record["median"].keys() == record["standard_error"].keys()
    for name, (low, high) in record["interval"].items():
        assert low - 1e-9 <= record[name] <= high + 1e-9
        np.testing.assert_allclose(  # of 6 clips: narrower than by a normal distribution
            high - low, 2 * 1.96 * record["standard_error"][name], rtol=0.25, atol=1e-12)


def test_scalars_and_pictures_are_written(written, workdir):
    record, _ = written
    scalars = {f"sim_clevrer_tiny-test/rollout/{name}_{h}": entry["mean"][h - 1]
               for name, entry in record["metrics"].items() for h in (1, 2)}
    path = workdir / "evaluation" / "metrics.jsonl"
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    assert {"step": STEP} | scalars in lines
    events = event_accumulator.EventAccumulator(
        str(workdir / "evaluation"), size_guidance={"tensors": 0}).Reload()
    tags = events.Tags()
    assert set(scalars) <= set(tags["scalars"])
    assert "sim_clevrer_tiny-test/rollout/clips" in {*tags["tensors"], *tags["images"]}
    grid = np.asarray(Image.open(
        workdir / "evaluation" / f"sim_clevrer_tiny-test-{STEP}-rollout.png"))
    assert grid.shape == (14 + 2 + 3 * 5 * 34, 2 + 6 * 34, 3)  # 3 clips, tiles of 32 pixels
    rows = grid[16:].reshape(3, 5, 34, -1, 3)[:, :, :32:2]
    last_seen = rows[:, 0, :, 2 + 3 * 34:2 + 3 * 34 + 32]
    for ahead in (4, 5):
        np.testing.assert_array_equal(rows[:, 3, :, 2 + ahead * 34:2 + ahead * 34 + 32], last_seen)
    before = rows[:, :, :, 2:2 + 4 * 34]  # what a row shows is written there
    assert (before[:, 1:].reshape(3, 4, -1).min(-1) < 255).all() and (before[:, 4] > 60).all()
    assert rows[:, 4, :, 2 + 4 * 34:].min() < 60


def test_one_device_and_four_give_the_same_numbers_in_any_batches(random_config, monkeypatch):
    """Six clips: whole batches on one device; ragged last ones of four and of eight on four."""
    clips = random_clips(actions=draw_actions)
    use_clips(monkeypatch, clips)
    params = make_params(random_config)
    one, pictures = examples_of(random_config, params)
    assert set(one) == NAMES and all(v.shape == (CLIPS, S) for v in one.values())
    assert len(np.unique(one["mse"])) == CLIPS * S and np.ptp(one["fg_ari"]) > 0
    assert_same(one, one_by_one(random_config, params, clips))
    for batch_size in (4, 8):
        other, shown = examples_of(random_config, params, 4, batch_size)
        assert_same(other, one)
        assert shown.keys() == pictures.keys() == {
            "video", "recon", "masks", "slots", "segmentation"}
        np.testing.assert_array_equal(
            colours.to_uint8(shown["video"]), [clip["video"] for clip in clips[:5]])
        np.testing.assert_allclose(shown["masks"], pictures["masks"], atol=1e-4)
        assert shown["recon"].shape == (5, S, 16, 16, 3)


def test_actions_matter_from_the_frame_after_them_on(random_config, monkeypatch):
    """actions[t] lies between the frames t and t+1; the one after the last frame is not used."""
    params = make_params(random_config)

    def mse_with_changed(t: int | None) -> np.ndarray:
        clips = random_clips(actions=draw_actions)
        if t is not None:
            for clip in clips:
                clip["actions"][t] += 1
        use_clips(monkeypatch, clips)
        return examples_of(random_config, params)[0]["mse"]

    before = mse_with_changed(None)
    differs = {t: (np.abs(mse_with_changed(t) - before) > 1e-7).all(0).tolist()
               for t in (BURN_IN - 2, BURN_IN - 1, BURN_IN, BURN_IN + 1)}
    assert differs == {BURN_IN - 2: [True, True], BURN_IN - 1: [True, True],
                       BURN_IN: [False, True], BURN_IN + 1: [False, False]}


def test_the_baseline_is_the_last_seen_frame(random_config, monkeypatch):
    """A room that stands still after the burn-in but for its last frame, which is turned around."""
    clips = random_clips(actions=draw_actions)
    for clip in clips:
        clip["video"][BURN_IN] = clip["video"][BURN_IN - 1]
        clip["video"][BURN_IN + 1] = 255 - clip["video"][BURN_IN - 1]
    use_clips(monkeypatch, clips)
    params = make_params(random_config)
    found, _ = examples_of(random_config, params)
    last = np.stack([clip["video"][BURN_IN - 1] / 255 for clip in clips])
    np.testing.assert_array_equal(found["repeat_mse"][:, 0], 0)
    np.testing.assert_array_equal(found["repeat_psnr"][:, 0], 100)
    np.testing.assert_allclose(found["repeat_ssim"][:, 0], 1)
    np.testing.assert_allclose(found["repeat_mse"][:, 1],
                               np.square(1 - 2 * last).mean((1, 2, 3)), rtol=1e-6)
    np.testing.assert_allclose(found["repeat_psnr"], np.minimum(
        100, -10 * np.log10(np.maximum(found["repeat_mse"], 1e-10))), rtol=1e-6)
    assert (found["repeat_ssim"][:, 1] < 0).all()


def test_what_a_set_does_not_allow_is_left_out(random_config, monkeypatch):
    """Frames too small for SSIM; no masks."""
    clips = [{"video": clip["video"]} for clip in random_clips(size=8)]
    use_clips(monkeypatch, clips)
    random_config.update_from_flattened_dict({"data.resolution": 8, "data.action_size": 0})
    params = make_params(random_config)
    assert set(examples_of(random_config, params)[0]) == {
        "mse", "psnr", "repeat_mse", "repeat_psnr"}


def test_a_single_clip_has_no_intervals(random_config):
    examples = {"mse": np.ones((1, S)), "psnr": np.ones((1, S))}
    evaluator = stages.compile_stages(
        random_config, models.create(random_config), sharding.make_mesh(jax.devices()[:1]))
    record = writing.make_rollout_record(evaluator, 7, "test", examples)
    assert record["metrics"]["mse"] == {"mean": [1.0, 1.0], "interval": None}
    assert json.loads(json.dumps(record))["num_sequences"] == 1


def files_after(workdir, config) -> set[str]:
    evaluate.evaluate(config, str(workdir))
    return {path.name for path in (workdir / "evaluation").glob("*.json")}


def test_without_steps_nothing_is_rolled_out_and_older_runs_have_none(folder, save_untrained):
    """config.json of a run of before has no such keys; they can be given to evaluate it."""
    workdir = save_untrained(
        folder / "older", data__data_dir=str(folder / "data"), eval__num_sequences=2,
        eval__num_pictures=0, eval__split="test")
    path = workdir / configuration.FILE_NAME
    values = json.loads(path.read_text())
    del values["eval"]["burn_in"], values["eval"]["rollout_steps"]
    path.write_text(json.dumps(values))
    trained = configuration.load(str(workdir))
    assert (trained.eval.burn_in, trained.eval.rollout_steps) == (4, 0)
    config = configuration.for_evaluation(trained, {})
    assert files_after(workdir, config) == {"sim_clevrer_tiny-test-0.json"}
    given = configuration.for_evaluation(trained, {"eval.rollout_steps": 1})
    assert files_after(workdir, given) == {
        "sim_clevrer_tiny-test-0.json", "sim_clevrer_tiny-test-0-rollout.json"}
    record = json.loads(
        (workdir / "evaluation" / "sim_clevrer_tiny-test-0-rollout.json").read_text())
    assert record["num_steps"] == 1 and record["horizon"] == [1]


def test_a_record_is_written_whole_or_not_at_all(tmp_path):
    metric_writer.write_evaluation(tmp_path, "a", {"x": 1}, np.zeros((2, 2, 3), np.uint8))
    with pytest.raises(TypeError):
        metric_writer.write_evaluation(tmp_path, "a", {"x": object()}, None)
    assert sorted(path.name for path in (tmp_path / "evaluation").iterdir()) == ["a.json", "a.png"]
    assert json.loads((tmp_path / "evaluation" / "a.json").read_text()) == {"x": 1}
