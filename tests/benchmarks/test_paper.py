"""The paper's tables and figures: of runs written by hand, and of an untrained model."""

import functools
import json
import types

import jax
import numpy as np
import pytest

import parts_jax
from benchmarks.paper import __main__ as command
from benchmarks.paper import clips, draw, figures, page, rows, table2
from configs import ablations
from parts_jax import models
from parts_jax.data import pipeline

STEPS = 30


def write_run(run: rows.Run, score: float, num_clips: int = 12, **changes) -> None:
    """A run that is done, whose clips score around `score`."""
    folder = run.workdir / "evaluation"
    folder.mkdir(parents=True)
    (run.workdir / "config.json").write_text(json.dumps({"schedule": {"steps": [20, 10]}}))
    rng = np.random.default_rng(run.seed)
    scores = score + 0.01 * rng.normal(size=num_clips)
    record = dict(step=STEPS, dataset="sim_playroom/demo", split="test", seed=run.seed,
                  num_sequences=num_clips, num_frames=16, stride=1, resolution=32, num_slots=5,
                  stages=["predicted", "refined"], fg_ari_last=float(scores.mean()), hardware="x",
                  median={"fg_ari_last": score}) | changes
    (folder / f"sim_playroom_demo-test-{STEPS}.json").write_text(json.dumps(record))
    lines = ["clip,id,fg_ari_last,mse"] + [
        f"{i},test-{i:05d},{value},{0.001 * (i + 1)}" for i, value in enumerate(scores)]
    (folder / f"sim_playroom_demo-test-{STEPS}.csv").write_text("\n".join(lines) + "\n")


def test_the_papers_rows_are_those_of_the_configs():
    for row, paper in table2.PAPER.items():
        config = ablations.get_config(f"{row}_demo")
        switches = (config.model.refiner == "slot_attention", config.model.prior == "fixed",
                    config.data.action_size > 0, config.model.transition.kind == "transformer")
        assert switches == paper.switches


def test_table_2_of_runs_by_hand(tmp_path):
    """Scores in the paper's order but for two rows that are turned, and two that are alike."""
    text = tmp_path / "paper.md"
    text.write_text("# Page\n\nBefore.\n\n<!-- table2-demo -->\nold\n<!-- /table2-demo -->\n\n"
                    "After.\n")
    arguments = ["table2", "--seeds=2", "--no-train", f"--runs={tmp_path / 'runs'}",
                 f"--page={text}"]
    with pytest.raises(ValueError, match="No row has 2 runs of the size 'demo' that are done"):
        command.run(arguments)
    scores = dict(s_iodine=.3, op3=.3, sa_fixed=.4, sa_actions=.6, sa_actions_trx=.7,
                  sa_fixed_actions=.8, parts=.9)
    for run in rows.every(ablations.ROWS, "demo", 2, tmp_path / "runs"):
        if (run.row, run.seed) != ("parts", 1):
            write_run(run, scores[run.row] + 0.1 * run.seed)
    command.run(arguments)
    assert "Not there yet: `parts`." in text.read_text()
    write_run(rows.Run("parts", "demo", 1, tmp_path / "runs"), 1.0)
    assert "Table 2 of 7 rows, 2 runs each" in command.run(arguments)
    lines = text.read_text().splitlines()
    assert lines[:3] == ["# Page", "", "Before."] and lines[-1] == "After." and "old" not in lines
    row, = (line for line in lines if line.startswith("| `sa_actions_trx` | yes |"))
    means = [.7 + 0.1 * seed + 0.01 * np.random.default_rng(seed).normal(size=12).mean()
             for seed in (0, 1)]
    assert row == ("| `sa_actions_trx` | yes |  | yes | yes | 0.554 ± 0.013 | "
                   f"{np.mean(means):.3f} ± {np.std(means, ddof=1):.3f} | - | - | - | - | - | "
                   "0.00650 ± 0.00000 |")
    assert any("Of the paper's 21 pairwise orders 19 hold here, 1 do not, and 1 are undecided"
               in line for line in lines)
    turned, = (line for line in lines if line.startswith("| `sa_actions_trx` | `sa_actions` |"))
    assert turned.endswith("| 0 of 2 | does not hold |") and "| -0.100 |" in turned
    alike, = (line for line in lines if line.startswith("| `s_iodine` | `op3` |"))
    assert alike.endswith("| 0 of 2 | undecided |") and "| +0.000 | 1 |" in alike


def test_figure_6_and_table_1_of_runs_by_hand(untrained, tmp_path):
    text = tmp_path / "paper.md"
    text.write_text("# A\n")
    arguments = ["figure6", "--seeds=2", "--no-train", f"--runs={tmp_path / 'runs'}",
                 f"--page={text}", f"--out={tmp_path / 'figure'}"]
    runs = rows.every(figures.ROLLED_OUT, "demo", 2, tmp_path / "runs")
    with pytest.raises(FileNotFoundError, match="has no run of s_iodine, op3, parts at the size"):
        command.run(arguments)
    for run in runs[:5]:  # one seed of parts
        write_run(run, 0.5)
    with pytest.raises(FileNotFoundError, match="no run of s_iodine_rollout, op3_rollout, parts_r"):
        command.run(arguments)
    ahead = [figures.looking_ahead(run, ["--config.train.batch_size=2"]) for run in runs[:5]]
    assert ahead[4].command[-2:] == [f"--config.train.init_from={runs[4].workdir}",
                                     "--config.train.batch_size=2"]
    assert not figures.looking_ahead(runs[0]._replace(size="paper"), []).flags  # from scratch
    for run in ahead:
        write_run(run, 0.4)
    with pytest.raises(FileNotFoundError, match="evaluated without roll-outs"):
        command.run(arguments)
    for i, run in enumerate(ahead):
        means = {"fg_ari": [.5 + .1 * i, .4], "mse": [.001 * i, .01], "repeat_mse": [.02, .03]}
        (run.workdir / "evaluation" / f"sim_playroom_demo-test-{STEPS}-rollout.json").write_text(
            json.dumps(dict(dataset="sim_playroom/demo", num_sequences=12, burn_in=2, num_steps=2,
                            horizon=[1, 2], metrics={k: {"mean": v} for k, v in means.items()})))
    command.run(arguments)
    numbers = json.loads((tmp_path / "figure.json").read_text())
    np.testing.assert_allclose(numbers["s_iodine"]["fg_ari"], [.65, .4])  # runs 0 and 3
    np.testing.assert_allclose(numbers["parts"]["mse"], [.002, .01])
    lines = text.read_text().splitlines()
    assert "| row | FG-ARI +1 | FG-ARI +2 | MSE +1 | MSE +2 |" in lines
    assert "| `op3` | 0.750 | 0.400 | 0.0025 | 0.0100 |" in lines
    assert any("seeds (s_iodine: 2, op3: 2, parts: 1)" in line for line in lines)
    assert any("Clip 0 of the test split, frames after the first 2 predicted" in line
               for line in lines)
    table, = (line for line in lines if line.startswith("| `parts` | 0.7349 |"))
    assert table.endswith("| 0.0023 | 0.00650 |")


def test_holm_by_hand():
    pairs = [table2.Pair("a", "b", .1, p, 1) for p in (.01, .04, .03, .5)]
    assert [pair.p for pair in table2.holm(pairs)] == pytest.approx([.04, .09, .09, .5])
    assert pairs[0].verdict == "holds" and pairs[3].verdict == "undecided"


def test_rows_of_other_clips_are_refused(tmp_path):
    runs = rows.every(("op3", "parts"), "demo", 1, tmp_path)
    write_run(runs[0], .3)
    write_run(runs[1], .3, num_clips=11)
    with pytest.raises(ValueError, match="parts_demo-0 was evaluated on other clips than"):
        table2.scores_of(runs)


def test_only_what_is_missing_is_made_and_a_failure_is_told(tmp_path, monkeypatch):
    runs = rows.every(("op3", "parts"), "demo", 2, tmp_path, ["--config.train.batch_size=2"])
    write_run(runs[0], .3)
    half = runs[1]
    half.workdir.mkdir()
    (half.workdir / "config.json").write_text(json.dumps({"schedule": {"steps": [20, 10]}}))
    commands = []

    def fake(words, **_):
        commands.append(words)
        run, = (run for run in runs if f"--workdir={run.workdir}" in words)
        if len(commands) == 3:
            return types.SimpleNamespace(returncode=1)
        if (run.workdir / "config.json").exists():
            (run.workdir / "config.json").unlink()
        run.workdir.rmdir()
        write_run(run, .4)
        return types.SimpleNamespace(returncode=0)

    monkeypatch.setattr(rows.subprocess, "run", fake)
    with pytest.raises(ValueError, match="parts_demo-1 ended with exit code 1 before it was done"):
        rows.make_missing(runs, 1)
    assert len(commands) == 3 and not any(f"--workdir={runs[0].workdir}" in c for c in commands)
    assert "--config.seed=0" in commands[0] and commands[0][-1] == "--config.train.batch_size=2"
    assert any(word.endswith("ablations.py:parts_demo") for word in commands[0])
    rows.make_missing(runs, 2)  # goes on with the one that failed, on cores of its own
    assert len(commands) == 4 and all(run.record() for run in runs)
    assert f"--workdir={runs[3].workdir}" in commands[3]


@pytest.mark.parametrize("arguments, words", [
    (["table2", "--size=tiny"], "--size is 'tiny', but must be one of paper, small, demo"),
    (["table2", "--seeds=0"], "--seeds is 0, but must be a whole number, 1 or more"),
    (["table2", "--jobs=0"], "--jobs is 0, but must be a whole number, 1 or more"),
    (["table2", "--steps=3"], "'--steps=3' is no flag of table2"),
    (["figure7", "--out=nowhere/figure"], "There is no folder for --out=nowhere/figure"),
    (["figure9", "nowhere"], "There is no folder '.*nowhere'"),
    (["figure7"], "There is no folder '.*runs/paper/parts_demo-0' of a run"),
    (["figure7", "--clips=0"], "--clips is 0, but must be a whole number, 1 or more"),
    (["figure7", "--config.seed=1"], "is of training, and this figure trains nothing"),
    (["table2", "--page=nowhere.md"], "There is no page 'nowhere.md' to write to"),
])
def test_bad_flags_are_refused_in_a_sentence(arguments, words, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    text = tmp_path / "page.md"
    text.write_text("")
    given = [*arguments, *([] if "--page" in " ".join(arguments) else [f"--page={text}"])]
    with pytest.raises((ValueError, OSError), match=words):
        command.run(given)


def test_a_page_keeps_what_is_around_a_part(tmp_path):
    text = tmp_path / "page.md"
    text.write_text("# A\n")
    page.put(text, "x", "one")
    page.put(text, "y", "two")
    page.put(text, "x", "three\n")
    assert text.read_text() == ("# A\n\n<!-- x -->\nthree\n<!-- /x -->\n\n"
                                "<!-- y -->\ntwo\n<!-- /y -->\n")
    text.write_text("<!-- /x --> <!-- x -->")
    with pytest.raises(ValueError, match="must have the line <!-- x --> once"):
        page.put(text, "x", "four")


@pytest.fixture
def untrained(tiny, monkeypatch):
    """Models of random parameters with actions, and a clip, in place of runs and a data set."""
    rng = np.random.default_rng(0)

    def load(workdir):
        return loaded("sa_actions_trx_demo" if "trx" in str(workdir) else "parts_demo")

    @functools.cache
    def loaded(variant):
        config = ablations.get_config(variant)
        config.update_from_flattened_dict(tiny | {"data.action_size": 2})
        model = models.create(config)
        params = jax.tree.map(lambda p: 0.3 * rng.normal(size=p.shape).astype(np.float32),
                              jax.eval_shape(model.init, jax.random.key(0)))
        return clips.Trained(config, model, params, 0)

    examples = [{"video": rng.integers(0, 256, (4, 16, 16, 3), np.uint8),
                 "segmentation": rng.integers(0, 3, (4, 16, 16), np.uint8),
                 "actions": rng.normal(size=(4, 2)).astype(np.float32)} for _ in range(2)]
    split = pipeline.Split(examples, fewest_frames=4)
    monkeypatch.setattr(pipeline, "open_split", lambda data_config, name: split)
    monkeypatch.setattr(clips, "load", load)
    monkeypatch.setattr(parts_jax, "load", lambda workdir: parts_jax.PretrainedModel(
        load(workdir).config, load(workdir).params, 0))
    return examples


def test_figures_of_untrained_models(untrained, tmp_path):
    """Figure 7: a still scene, whose KL by the predictive prior is not 0. Figure 9: traversals."""
    text = tmp_path / "page.md"
    text.write_text("# A\n")
    flags = [f"--page={text}", f"--out={tmp_path / 'figure'}", "--clip=1"]
    command.run(["figure7", *flags])
    numbers = json.loads((tmp_path / "figure.json").read_text())
    assert set(numbers) == {"fixed", "predictive"}
    for found in numbers.values():
        assert set(found) == {"kl", "kl_to_standard", "mse", "mse_refined", "fg_ari"}
        assert all(len(values) == figures.STILL_FRAMES for values in found.values())
        assert np.isfinite(list(found.values())).all() and min(found["kl"]) > 0
    assert "![figure7](figure.png)" in text.read_text()
    assert "means over the first frames of 2 clips" in text.read_text()
    both = numbers["fixed"]["mse"]
    singles = [figures.still_numbers(clips.see(trained, clip), clip, "predicted", "refined")["mse"]
               for trained in [clips.load("parts")]
               for clip in [clips.still(example, figures.STILL_FRAMES) for example in untrained]]
    np.testing.assert_allclose(both, np.mean(singles, 0), rtol=1e-5)
    assert (tmp_path / "figure.png").read_bytes().startswith(b"\x89PNG")
    command.run(["figure9", "parts_demo-0", *flags])
    moves = json.loads((tmp_path / "figure.json").read_text())
    assert len(moves) == 2 * 4 and all(move["mean_change"] > 0 for move in moves.values())
    assert sum("all slots" in name for name in moves) == 4  # D is 4
    pair = [rows.Run(row, "demo", 0, tmp_path / "runs") for row in ("parts", "no_top_down")]
    for run, score, entropy in zip(pair, (.8, .7), (.5, .9), strict=True):
        write_run(run, score, attention_entropy=entropy)
    command.run(["figure8", "--no-train", f"--runs={tmp_path / 'runs'}", *flags])
    numbers = json.loads((tmp_path / "figure.json").read_text())
    assert numbers["difference"] == pytest.approx(.1)
    assert len(numbers["none"]["attention_entropy_of_clip"]) == 4
    assert "attention entropy 0.500 nats; none: FG-ARI 0.7" in text.read_text()
    with pytest.raises(ValueError, match="--clip is 2, but the test split of .* has 2 clips"):
        command.run(["figure7", *flags[:2], "--clip=2"])


def test_a_model_is_loaded_as_its_run_left_it():
    trained = clips.load("demo")
    assert trained.step > 0 and trained.config.train.unroll == 1
    assert set(trained.params) == {"transition", "decoder", "encoder", "attention"}


def test_a_still_clip_shows_one_frame_and_no_action():
    clip = {"video": np.arange(2 * 4 * 4 * 3, dtype=np.uint8).reshape(2, 4, 4, 3),
            "actions": np.ones((2, 3), np.float32), "index": np.int32(1)}
    found = clips.still(clip, 5)
    assert found["video"].shape == (5, 4, 4, 3) and not found["actions"].any()
    assert (found["video"] == clip["video"][0]).all() and "index" not in found


def test_attention_is_drawn_by_its_own_greatest_weight():
    video = np.full((1, 2, 2, 3), 255, np.uint8)
    lit = draw.attended(video, np.asarray([[[0.1, 0.2], [0.0, 0.05]]]))
    np.testing.assert_allclose(lit[0, ..., 0], [[0.575, 1.0], [0.15, 0.3625]])
    assert draw.chart("x", {"a": np.arange(4.0), "b": np.zeros(4)}).shape == (150, 420, 3)
