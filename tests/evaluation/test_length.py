"""Long clips: their order, how far scores hold, and the scores of models where they are known."""

import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from configs import parts_clevrer
from parts_jax import models
from parts_jax.data import pipeline, preprocess
from parts_jax.devices import sharding
from parts_jax.equations.notation import Gaussian, Slots
from parts_jax.evaluation import length, stages, writing
from parts_jax.models.contract import Model, Step, View

S, T, CLIPS, L = 8, 5, 3, 33
BREAKS = 12  # frames that the hand-made model sees before it fails
A = 2


@pytest.fixture
def config(tiny):
    config = parts_clevrer.get_config("demo")
    config.update_from_flattened_dict(tiny | {
        "data.resolution": S, "data.num_frames": 4, "data.num_threads": 0, "eval.length": L,
        "eval.length_clips": CLIPS, "eval.burn_in": 4})
    return config


@pytest.fixture
def clips(monkeypatch) -> list[dict]:
    """A bright object moves over a dark ground; five of them, of which three are read."""
    rng = np.random.default_rng(0)
    made = []
    for _ in range(5):
        ids = np.zeros((T, S, S), np.uint8)
        for t in range(T):
            ids[t, t:t + 4, 2:5 + rng.integers(3)] = 1
        video = np.where(ids[..., None] > 0, 200, 40) + rng.integers(0, 30, (T, S, S, 3))
        made.append({"video": video.astype(np.uint8), "segmentation": ids})
    split = pipeline.Split(made, fewest_frames=T)
    monkeypatch.setattr(pipeline, "open_split", lambda data_config, name: split)
    return made


def hand_made(actions_shown: bool = False) -> Model:
    """Sees the frame .1 too bright and its object exactly, until it has seen BREAKS frames.

    Then it is .2 too bright, with the left half as its object. Its mean is the number of frames
    seen, or the previous action. The assignment is always exact; what it predicts, the last frame.
    """
    def loss(params, state, clip, step):
        size, frames = clip.video.shape[:2]
        seen = state["seen"][:, None] + jnp.arange(1, frames + 1)[None]  # [B, T]
        flat = clip.video.reshape(size, frames, -1)
        z = jnp.concatenate([flat, seen[..., None]], -1)[:, :, None]
        z = jnp.repeat(z, 2, axis=2)
        mean = jnp.broadcast_to((clip.actions[..., :1] if actions_shown
                                    else seen[..., None])[:, :, None], z.shape)
        late = Slots(z, Gaussian(-mean, mean))
        early = Slots(z.at[..., -1].set(BREAKS + 1))  # broken from the start
        state = {"seen": state["seen"] + frames, "last": z[:, -1]}
        return jnp.mean(flat), Step(state, {"predicted": early, "refined": late}, {}, {})

    def decode(params, slots, resolution):
        z = slots.z[:, 0]
        picture = z[:, :-1].reshape(-1, *resolution, 3)
        fine = (z[:, -1] <= BREAKS)[:, None, None]
        left = jnp.broadcast_to(jnp.arange(S) < S // 2, (S, S))
        inside = jnp.where(fine, picture.mean(-1) > 0.5, left)
        return View(picture + jnp.where(fine, 0.1, 0.2)[..., None],
                    jnp.stack([~inside, inside], 1).astype(jnp.float32))

    def start(batch_size, num_slots):
        return {"seen": jnp.zeros(batch_size), "last": jnp.zeros((batch_size, 2, S * S * 3 + 1))}

    def assign(view, frame):
        inside = frame.mean(-1) > 0.5
        return jnp.stack([inside, ~inside], 1).astype(jnp.float32)

    def predict(params, state, actions, noise):
        return Slots(jnp.repeat(state["last"][:, None], actions.shape[1], axis=1))

    return Model(lambda key: (), start, lambda keys, frames, slots: (), loss, decode, 2,
                 ("predicted", "refined"), predict, assign, S * S * 3 + 1)


def curves_of(config, model, num_devices: int = 1, params=()) -> length.Curves:
    mesh = sharding.make_mesh(jax.devices()[:num_devices])
    evaluator = stages.compile_stages(config, model, mesh)
    return length.curves_of_split(evaluator, sharding.replicate(params, mesh), "test")


@pytest.mark.parametrize("num_frames, num", [(1, 4), (2, 5), (5, 33), (8, 8), (8, 3)])
def test_a_clip_is_played_back_and_forth(num_frames, num):
    once = [*range(num_frames), *range(num_frames - 2, 0, -1)]
    expected = np.resize(once or [0], num)
    np.testing.assert_array_equal(preprocess.back_and_forth(num_frames, num), expected)


def curve(**changes: float) -> np.ndarray:
    """40 frames of 1, but for those named: at frame N, `f<N>`."""
    values = np.ones(40)
    for name, value in changes.items():
        values[int(name[1:]) - 1] = value
    return values


@pytest.mark.parametrize("mse, ari, frames", [
    (curve(), None, 40),
    (curve(f11=1.19, f30=1.21), None, 29),
    (curve(f11=0.1), curve(f30=0.5), 29),
    (curve(), curve(f40=0.96), 39),
    (curve(), curve(f40=0.98), 40),
    (curve(f3=9.0), curve(f3=0.1), 40),            # before frame 10 all may be worse
    (curve(f12=np.nan), None, 11),
    (curve(f4=np.inf), None, 3),
    (curve(f10=np.nan), curve(), 9),
    (curve(), curve(f20=np.nan), 19),
    (np.ones(4), np.ones(4), 4),
    (np.geomspace(1, 100, 8), np.linspace(1, 0, 8), 8),  # no frame 10 to compare with
])
def test_how_far_scores_hold(mse, ari, frames):
    assert length.tested_frames(mse, ari) == frames


def test_what_comes_back_with_each_period_is_no_loss():
    wave = 1 - 0.5 * np.sin(np.arange(80) * 2 * np.pi / 8)
    assert length.tested_frames(wave, 1 - wave / 4, period=8) == 80
    assert length.tested_frames(wave, period=1) < 20
    worse = wave.copy()
    worse[60:] *= 2
    assert 50 < length.tested_frames(worse, period=8) <= 60
    growing = np.exp(0.1 * np.arange(80))  # by a fifth in two frames, however smoothed
    assert length.tested_frames(growing, period=8) == length.tested_frames(growing) == 11


def test_frames_that_flicker_are_no_loss_and_drift_is():
    steady = np.where(np.arange(80) % 2, 0.0039, 0.0049)  # as seen of a model that held for 200
    assert length.tested_frames(steady) == 10
    assert length.held_by({"mse": steady}, ["predicted"], period=1) == 80
    drifting = steady * np.where(np.arange(80) < 40, 1, 1.3)
    assert 30 < length.held_by({"mse": drifting}, ["predicted"], period=1) < 45


def test_curves_of_a_model_whose_scores_are_known(config, clips, monkeypatch):
    monkeypatch.setattr(length, "PART", 8)
    config.eval.batch_size = 2  # the second batch is not full
    found = curves_of(config, hand_made())
    assert (found.num_clips, found.num_frames) == (CLIPS, T)
    frames = np.arange(1, L + 1)
    for kind in (found.moving, found.still):
        assert set(kind) == {"greatest_mean", *(f"{name}{stage}" for stage in (
            "", "_refined", "_assigned") for name in ("mse", "ari", "fg_ari", "miou"))} - {
                "mse_assigned"}
        np.testing.assert_allclose(kind["mse_refined"], np.where(frames <= BREAKS, 0.01, 0.04),
                                   rtol=1e-4)
        np.testing.assert_allclose(kind["mse"], 0.04, rtol=1e-4)
        np.testing.assert_array_equal(kind["greatest_mean"], frames)
        for name in ("ari", "fg_ari", "miou"):
            np.testing.assert_array_equal(kind[f"{name}_assigned"], 1)
            np.testing.assert_array_equal(kind[f"{name}_refined"][:BREAKS], 1)
        assert (kind["ari_refined"][BREAKS:] < 0.5).all()
        np.testing.assert_array_equal(kind["ari"][BREAKS:], kind["ari_refined"][BREAKS:])
    np.testing.assert_allclose(found.still["ari"], found.still["ari"][0])
    assert np.ptp(found.moving["ari"]) > 1e-3
    order = preprocess.back_and_forth(T, L)
    np.testing.assert_allclose(found.moving["ari"], found.moving["ari"][order], atol=1e-12)
    assert length.tested_frames(found.still["mse_refined"]) == BREAKS
    assert found.tested_frames <= BREAKS


def test_predictions_stand_beside_the_last_seen_frame(config, clips):
    found = curves_of(config, hand_made()).ahead
    order, b = preprocess.back_and_forth(T, L), config.eval.burn_in
    videos = np.stack([clip["video"] / 255 for clip in clips[:CLIPS]])[:, order]
    repeated = np.square(videos[:, b:] - videos[:, b - 1:b]).mean((0, 2, 3, 4))
    brighter = np.square(videos[:, b - 1:b] + 0.1 - videos[:, b:]).mean((0, 2, 3, 4))
    assert len(repeated) == L - b < length.AHEAD
    np.testing.assert_allclose(found["repeat_mse"], repeated, rtol=1e-4, atol=1e-7)
    np.testing.assert_allclose(found["mse"], brighter, rtol=1e-4)


def test_actions_are_not_played_backwards(config, clips):
    rng = np.random.default_rng(1)
    for clip in clips:
        clip["actions"] = rng.normal(size=(T, A)).astype(np.float32)
    config.data.action_size = A
    found = curves_of(config, hand_made(actions_shown=True))
    taken = np.stack([clip["actions"][:, 0] for clip in clips[:CLIPS]])
    np.testing.assert_allclose(found.moving["greatest_mean"][1:], np.abs(taken[:, :-1]).mean(0),
                               rtol=1e-5)
    assert found.moving["greatest_mean"][0] == 0 and len(found.moving["mse"]) == T
    np.testing.assert_array_equal(found.still["greatest_mean"], np.zeros(L))
    assert len(found.ahead["mse"]) == T - config.eval.burn_in
    assert found.tested_frames == found.length == T  # of L still frames no more is known


def test_of_single_frames_with_cues_there_is_a_curve_of_one_frame(config, clips, monkeypatch):
    """Neither longer nor shown again."""
    for clip in clips:
        clip |= {"video": clip["video"][:1], "segmentation": clip["segmentation"][:1],
                 "flow": np.zeros((1, 2), np.float32)}
    config.data.num_frames = 1
    split = pipeline.Split(clips, fewest_frames=1)
    monkeypatch.setattr(pipeline, "open_split", lambda data_config, name: split)
    found = curves_of(config, hand_made()._replace(reads=("video", "flow"), predict=None))
    assert found.still == found.ahead == {} and len(found.moving["mse"]) == 1
    assert found.tested_frames == found.length == found.num_frames == 1


def test_a_long_clip_is_read_as_it_is_and_masks_are_not_needed(config, clips):
    for clip in clips:
        del clip["segmentation"]
    config.eval.length = 3
    found = curves_of(config, hand_made()._replace(assign=None, predict=None))
    assert found.num_frames == found.tested_frames == 3 and found.ahead == {}
    assert set(found.moving) == {"mse", "mse_refined", "greatest_mean"}


def test_parts_of_any_length_and_devices_give_the_same_numbers(config, clips, monkeypatch):
    """Of a model with carried state and noise of its own."""
    config.eval.length = 12
    model = models.create(config)._replace(predict=None)
    params = jax.jit(model.init)(jax.random.key(0))
    params = jax.tree.map(lambda p: p + 0.3 * jax.random.normal(
        jax.random.key(p.size), p.shape), params)
    monkeypatch.setattr(length, "PART", 12)
    whole = curves_of(config, model, params=params)
    monkeypatch.setattr(length, "PART", 5)
    parts = curves_of(config, model, num_devices=2, params=params)
    assert np.ptp(whole.moving["ari_assigned"]) > 0.01
    for name in ("moving", "still"):
        ours, theirs = getattr(whole, name), getattr(parts, name)
        assert ours.keys() == theirs.keys()
        for key, values in ours.items():
            np.testing.assert_allclose(theirs[key], values, rtol=1e-4, atol=1e-4, err_msg=key)


class Writer:
    """Keeps scalars."""

    def __init__(self):
        self.scalars = {}

    def write_scalars(self, step, scalars):
        self.scalars |= scalars

    def flush(self):
        pass


def test_what_is_written(config, clips, tmp_path):
    mesh = sharding.make_mesh(jax.devices()[:1])
    evaluator, writer = stages.compile_stages(config, hand_made(), mesh), Writer()
    assert not writing.is_written(config, tmp_path, 7, "test")
    writing.evaluate_length(evaluator, (), 7, "test", tmp_path, writer)
    record = json.loads((tmp_path / "evaluation" / "sim_clevrer_tiny-test-7-length.json"
                         ).read_text())
    expected = {"step": 7, "dataset": "sim_clevrer/tiny", "split": "test", "num_sequences": CLIPS,
                "num_frames": T, "length": L, "burn_in": 4, "stages": ["predicted", "refined"]}
    assert {key: record[key] for key in expected} == expected
    assert record["tested_frames"] <= BREAKS
    assert len(record["moving"]["ari_assigned"]) == len(record["still"]["mse_refined"]) == L
    assert len(record["ahead"]["repeat_mse"]) == L - 4
    name = "sim_clevrer_tiny-test/length"
    assert writer.scalars[f"{name}/ari_assigned_at_10"] == 1
    assert writer.scalars[f"{name}/still_mse_refined_at_10"] == pytest.approx(0.01)
    assert writer.scalars[f"{name}/ahead_mse"] == pytest.approx(np.mean(record["ahead"]["mse"]))
    assert writer.scalars[f"{name}/tested_frames"] == record["tested_frames"]
    assert not any(key.endswith("_50") for key in writer.scalars)
    for suffix in ("", "-rollout"):
        (tmp_path / "evaluation" / f"sim_clevrer_tiny-test-7{suffix}.json").touch()
    assert writing.is_written(config, tmp_path, 7, "test")
    (tmp_path / "evaluation" / "sim_clevrer_tiny-test-7-length.json").unlink()
    assert not writing.is_written(config, tmp_path, 7, "test")
    config.eval.length = 0
    assert writing.is_written(config, tmp_path, 7, "test")


def test_scores_that_are_not_finite_are_null(config, clips):
    model = hand_made()
    evaluator = stages.compile_stages(config, model, sharding.make_mesh(jax.devices()[:1]))
    curves = length.Curves(T, {"mse_refined": np.array([1.0, np.nan, np.inf])}, {}, {}, 1, 2)
    record = writing.make_length_record(evaluator, 7, "test", curves)
    assert record["moving"] == {"mse_refined": [1.0, None, None]} and record["still"] == {}


@pytest.mark.parametrize("frames, asked", [(0, False), (3, True)])
def test_long_clips_are_not_evaluated_in_training(config, clips, tmp_path, monkeypatch, frames,
                                                  asked):
    config.eval.length, config.eval.num_pictures, config.eval.rollout_steps = frames, 0, 0
    called = []
    monkeypatch.setattr(writing, "evaluate_length", lambda *a: called.append(a))
    monkeypatch.setattr(writing, "_write", lambda *a: {})
    monkeypatch.setattr(writing.split_of, "infer_split", lambda *a: ({}, {}))
    evaluator = stages.compile_stages(config, hand_made(), sharding.make_mesh(jax.devices()[:1]))
    writing.evaluate_in_training(evaluator, (), 1, tmp_path, Writer())
    assert not called
    writing.evaluate_and_write(evaluator, (), 1, "test", tmp_path, Writer())
    assert bool(called) == asked
