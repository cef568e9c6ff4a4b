"""The mathematics of the 2D-LSTM model's experiments: against plain numbers, without a model."""

import argparse
import pathlib

import jax
import numpy as np
import pytest
from PIL import Image
from sklearn import metrics

from benchmarks.grid_lstm import __main__ as command
from benchmarks.grid_lstm import ablation, cost, decomposition, pictures, prediction, seen
from benchmarks.paper import clips
from configs import grid_lstm_balls, iodine_tetrominoes, parts_clevrer
from parts_jax import models
from parts_jax.data import curriculum
from parts_jax.pictures import colours
from parts_jax.runs import config_rules, configuration

# ---- Which way objects go -----------------------------------------------------------------------


def squares(places, size=9, side=2):
    """ids [T, size, size]: object i + 1 is a square with its first pixel at places[t][i]."""
    ids = np.zeros((len(places), size, size), np.uint8)
    for t, frame in enumerate(places):
        for i, (y, x) in enumerate(frame):
            ids[t, y:y + side, x:x + side] = i + 1
    return ids


def test_centres_of_masks():
    ids = squares([[(0, 0), (4, 6)], [(0, 1), (5, 6)]])
    found = prediction.centroids(ids, [1, 2, 3, -1])
    np.testing.assert_allclose(found[0], [(0.5, 0.5), (0.5, 1.5)])
    np.testing.assert_allclose(found[1], [(4.5, 6.5), (5.5, 6.5)])
    assert np.isnan(found[2:]).all()


def test_cosines_by_hand():
    one = np.array([[1.0, 0.0], [2.0, 2.0], [0.0, 0.0], [1.0, 0.0], [np.nan, 1.0]])
    other = np.array([[3.0, 0.0], [0.0, 5.0], [1.0, 1.0], [-2.0, 0.0], [1.0, 1.0]])
    np.testing.assert_allclose(prediction.cosine(one, other), [1, 0.5 ** 0.5, np.nan, -1, np.nan])


def test_slots_are_those_that_share_most_with_an_object():
    true = squares([[(0, 0), (4, 4), (7, 0)]])[0]
    ids = np.full_like(true, 3)
    ids[0:2, 0:2], ids[4:6, 4:6], ids[4, 4] = 2, 0, 3
    assert prediction.slots_of(true, ids, 3).tolist() == [2, 0, 3]
    assert prediction.slots_of(true, np.zeros_like(ids), 3).tolist().count(-1) == 2


def test_scores_by_horizon_of_a_known_future():
    """Two squares go right and down; the slots, of other numbers, show the first turned back."""
    going = [[(0, t), (t, 7)] for t in range(5)]
    true = squares(going)[None]
    turned = squares([*going[:3], [(0, 1), (3, 7)], [(0, 0), (4, 7)]])
    slots = np.array([0, 2, 1])[turned]
    video = np.repeat(np.where(true > 0, 255, 0).astype(np.uint8)[..., None], 3, -1)
    batch = dict(video=video, segmentation=true)
    found = prediction.scores_of(batch, 3, slots[None, 2], slots[None, 3:])
    np.testing.assert_allclose(found["cosine"], [[0, 0]], atol=1e-12)  # means of -1 and 1
    np.testing.assert_allclose(found["kept_cosine"], [[1, 1]])
    # Of two squares of four pixels, each shifted by one and by two pixels.
    np.testing.assert_allclose(found["repeat_mse"], [[8 / 81, 16 / 81]])
    for i, t in enumerate((3, 4)):
        inside = true[0, t] > 0
        expected = metrics.adjusted_rand_score(true[0, t][inside], slots[t][inside])
        assert found["fg_ari"][0, i] == pytest.approx(expected)
        expected = metrics.adjusted_rand_score(true[0, t][inside], true[0, 2][inside])
        assert found["repeat_fg_ari"][0, i] == pytest.approx(expected)
    known = batch | {"position": np.swapaxes(prediction.centroids(true[0], [1, 2]), 0, 1)[None]}
    again = prediction.scores_of(known, 3, slots[None, 2], slots[None, 3:])
    np.testing.assert_allclose(again["cosine"], found["cosine"], atol=1e-12)


def test_a_horizon_is_the_frame_so_many_after_those_seen():
    curves = {name: [[float(h), h + 0.5] for h in range(1, 11)] for name in prediction.SHOWN}
    rows = prediction.at_horizons(curves, (3, 10))
    assert rows[0] == ("MSE", "3.25000 ± 0.35355", "10.25000 ± 0.35355")
    assert rows[2] == ("F-ARI", "3.250 ± 0.354", "10.250 ± 0.354")


def test_the_first_frames_against_repeating_the_last():
    one = dict(repeat_mse=np.full((8, 5), 0.3), mse=np.tile([0.1, 0.1, 0.1, 0.9, 0.9], (8, 1)))
    found = prediction.better_at_first([one, one])
    assert found["less"] == pytest.approx(0.2) and found["interval"] == pytest.approx([0.2, 0.2])
    one = {name: np.tile(np.linspace(0, 1, 10), (2, 1)) for name in prediction.SHOWN} | one
    assert prediction.curves_of([one])["mse"] == [[pytest.approx(v)] for v in (.1, .1, .1, .9, .9)]


def test_a_picture_has_a_row_of_each_run_and_a_column_of_each_frame(monkeypatch, tmp_path):
    rng = np.random.default_rng(0)
    video = rng.integers(0, 256, (2, 3, 8, 8, 3)).astype(np.uint8)
    batch = dict(video=video, segmentation=np.zeros((2, 3, 8, 8), np.uint8))
    ids = rng.integers(0, 4, (2, 3, 8, 8)).astype(np.uint8)
    monkeypatch.setattr(seen, "load_all", lambda runs, step: [run_of("a"), run_of("b")])
    monkeypatch.setattr(seen, "batches", lambda config, count, size: iter([batch]))
    monkeypatch.setattr(pictures, "show", lambda run, count, slots: dict(recon=video / 255,
                                                                         ids=ids))
    (tmp_path / "page.md").write_text("Before.\n")
    said = command.run(["clips", "a", "b", "--clips=2", "--frames=3,1", "--scale=1",
                        f"--page={tmp_path / 'page.md'}"])
    assert "sim_balls/tiny, test: the first 2 clips, at frames 1, 3. K=4. Runs: a (step 0)" in said
    found = np.asarray(Image.open(tmp_path / "grid_lstm_clips-sim_balls_tiny.png"))
    part = lambda tile: any(np.array_equal(found[i:i + 8, j:j + 8], tile) for i, j in np.ndindex(
        found.shape[0] - 7, found.shape[1] - 7))
    for clip, t in np.ndindex(2, 3):
        for tile in (video[clip, t], colours.palette(4)[ids[clip, t]]):
            assert part(tile) == (t != 1)


# ---- Tables -------------------------------------------------------------------------------------


def test_lengths_are_the_first_frames():
    scores = {"mse": np.arange(12.0).reshape(2, 6)}
    assert seen.at_lengths(scores, (2, 6)) == {"mse": [(0 + 1 + 6 + 7) / 4, 5.5]}
    assert seen.show("mse", [0.1]) == "0.10000" and seen.show("ari", [0.5, 0.7]) == "0.600 ± 0.141"


def test_frames_are_scored_one_by_one():
    rng = np.random.default_rng(0)
    true, ids = (rng.integers(0, 3, (2, 3, 4, 4)).astype(np.uint8) for _ in range(2))
    found = seen.scores_of(seen.Frames(np.ones((2, 3)), ids, true), true)
    np.testing.assert_allclose(found["fg_ari_assigned"], 1.0)
    assert "fg_ari_assigned" not in seen.scores_of(seen.Frames(np.ones((2, 3)), ids), true)
    for b, t in np.ndindex(2, 3):
        assert found["ari"][b, t] == pytest.approx(
            metrics.adjusted_rand_score(true[b, t].ravel(), ids[b, t].ravel()))
        inside = true[b, t] > 0
        assert found["fg_ari"][b, t] == pytest.approx(
            metrics.adjusted_rand_score(true[b, t][inside], ids[b, t][inside]))


def run_of(name, kind="grid_lstm", **changes):
    config = grid_lstm_balls.get_config("tiny")
    config.update_from_flattened_dict({key.replace("__", "."): v for key, v in changes.items()})
    return seen.Run(name, kind, config, None, None, 0)


def test_runs_that_differ_in_their_seed_are_one_row():
    runs = [run_of("a-0"), run_of("a-1", seed=1, eval__batch_size=3), run_of("b", model__beta=0.7),
            run_of("c", "parts")]
    assert {row: [run.name for run in members] for row, members in seen.rows_of(runs).items()} == {
        "grid_lstm (a-0)": ["a-0", "a-1"], "grid_lstm (b)": ["b"], "parts": ["c"]}


def test_a_run_is_used_with_more_restarts_than_its_config_has():
    run = run_of("a")
    assert seen.with_restarts(run, 0) is run
    more = seen.with_restarts(run, 3)
    assert more.config.model.restarts == 3 and run.config.model.restarts == 1
    keys = jax.random.split(jax.random.key(0), 2)
    assert more.model.noise(keys, 2, None).shape[2] == 3 * run.config.model.num_refinements
    parts = run._replace(config=parts_clevrer.get_config("tiny"))
    with pytest.raises(ValueError, match="--restarts is 3, but a is of a family that infers"):
        seen.with_restarts(parts, 3)


def test_an_image_model_with_restarts_is_used_on_sequences_without(monkeypatch):
    config = iodine_tetrominoes.get_config("tiny")
    config.model.restarts, config.model.fewest_slots = 3, 2
    monkeypatch.setattr(seen.clips, "load", lambda workdir, step: clips.Trained(
        config, models.create(config), None, 7))
    images, sequences = seen.uses("runs/a")
    assert images.config.model.restarts == 3 and not images.config.model.sequential
    config_rules.check(sequences.config, 1)
    keys = jax.random.split(jax.random.key(0), 2)
    assert sequences.model.noise(keys, 5, None).shape[:3] == (2, 5, 1)
    assert images.model.noise(keys, 5, None).shape[2] == 3 * (config.model.test_iterations + 1)


def test_the_first_table_has_what_was_measured_and_what_is_quoted():
    by_seed = [{name: [0.5, 0.25] for name in seen.SCORES}, {name: [0.7, 0.25]
                                                            for name in seen.SCORES}]
    numbers = dict(dataset="sim_balls/demo", lengths=[10, 15], clips=4, resolution=32, num_slots=5,
                   rows={"grid_lstm": dict(runs=["a", "b"], step=9,
                                           scores=decomposition.by_score(by_seed))},
                   trivial={"strips": {"ari": [0.1, 0.1], "fg_ari": [0.2, 0.2]}})
    lines = decomposition.words_of_table1(numbers).splitlines()
    assert "| grid_lstm, 2 seeds | F-ARI | 0.600 ± 0.141 | 0.250 ± 0.000 |" in lines
    assert "| strips | ARI | 0.100 | 0.100 |" in lines
    assert "| *2D-LSTM, quoted* | ARI | *0.7275* |  |" in lines  # nothing is published of 15
    numbers["dataset"] = "sim_balls/demo_binary"
    said = decomposition.words_of_table1(numbers)
    assert "| *R-NEM, quoted* | F-ARI | *0.6259* |  |" in said and "DDPAE" in said


@pytest.mark.parametrize("dataset, expected", [
    ("sim_balls/demo", ("sim_balls/demo_678", "sim_balls/demo_678_4")),
    ("bouncing_balls/balls4", ("bouncing_balls/balls678",)), ("sim_clevrer/demo", None)])
def test_sets_of_more_balls(dataset, expected):
    if expected is None:
        with pytest.raises(ValueError, match="name some with --sets"):
            decomposition.crowds_of(dataset)
    else:
        assert decomposition.crowds_of(dataset) == expected


# ---- Runs that are varied -----------------------------------------------------------------------


def flags_of(what, *more):
    flags, rest = command.parser().parse_known_args(
        [what, f"--config={pathlib.Path(grid_lstm_balls.__file__)}:demo", "--steps=60", *more])
    flags.more = rest
    return flags


def changes_of(run):
    """A run's config, as its flags make it of the demo's."""
    config = ablation.config_of(run.flags[0].removeprefix("--config="), list(run.flags[1:]))
    config_rules.check(config, 1)
    return {key: value for key, _, value in configuration.differences(
        grid_lstm_balls.get_config("demo"), config)
        if not key.startswith(("schedule.steps", "schedule.warmup", "train.eval", "train.check",
                               "eval."))}


def test_each_part_is_taken_away_alone_and_all_of_them_together():
    flags = flags_of("ablation")
    config = ablation.checked(flags)
    runs = ablation.every("table3", flags, config, ablation.rows_of_table3(config))
    found = {run.row: changes_of(run) for run in runs}
    longest = max(config.schedule.train_frames)
    half = {"data.train_frames": longest // 2, "schedule.train_frames": tuple(
        min(frames, longest // 2) for frames in config.schedule.train_frames)}
    assert found == {
        "all": {}, "no_grid": {"model.least_refinements": 5},
        "no_conditions": {"model.conditional": False}, "short": half,
        "entropy": {"model.entropy": 0.001},
        "base": {"model.least_refinements": 5, "model.conditional": False} | half}
    assert len({run.workdir for run in runs}) == len(runs)
    assert curriculum.stages(config)[-1].num_frames == longest > 6


def test_binary_data_have_their_entropy_taken_away():
    config = grid_lstm_balls.get_config("demo")
    config.model.entropy = 0.001
    rows = ablation.rows_of_table3(config)
    assert "entropy" not in rows and rows["no_entropy"].flags == ("--config.model.entropy=0.0",)
    assert rows["no_entropy"].flags[0] in rows["base"].flags


def test_refinements_are_varied_alone():
    flags = flags_of("refinements", "--refinements=2,5")
    config = ablation.checked(flags)
    runs = ablation.every("table4", flags, config,
                          ablation.rows_of_table4(config, flags.refinements))
    assert {run.row: changes_of(run) for run in runs} == {
        "R2": {"model.num_refinements": 2, "model.least_refinements": 2,
               "model.test_refinements": 0},
        "R5": {"model.test_refinements": 0}}


def test_cells_are_as_many_as_the_paper_says():
    config = grid_lstm_balls.get_config("demo")
    config.model.least_refinements = 1
    for r, t in ((4, 10), (6, 40), (2, 2)):
        assert cost.cells_of(config, r, t) == r * (r + 1) // 2 + t - r
    resized = cost.sized(config, 6, 40)
    config_rules.check(resized, 1)
    assert curriculum.stages(resized)[-1][1:] == (40, 16)
    assert resized.model.num_refinements == 6


def test_numbers_of_the_command_line():
    flags = command.parser().parse_args(["table1", "runs/a", "--frames=4,8"])
    assert flags.frames == (4, 8) and flags.runs == ["runs/a"]
    with pytest.raises(argparse.ArgumentTypeError, match="1 or more; got x"):
        command.numbers(1)("2,x")
    with pytest.raises(ValueError, match="'--clip=3' is no flag of table1"):
        command.run(["table1", "runs/a", "--clip=3"])
    with pytest.raises(FileNotFoundError, match="There is no page"):
        command.run(["table1", "runs/a", "--page=nowhere.md"])
