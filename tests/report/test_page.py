"""The page that a run writes of itself: its numbers, its pictures, and what it says is missing."""

import base64
import datetime
import io
import json
import os
import pathlib
import re
import shutil
import subprocess
import sys

import jax
import numpy as np
import pytest
from PIL import Image

import parts_jax
from parts_jax.data import pipeline
from parts_jax.metrics import table
from parts_jax.pictures import colours
from parts_jax.report import __main__ as command
from parts_jax.report import comparison, numbers, sections
from parts_jax.report import page as report
from parts_jax.runs import configuration, provenance, shipped

ROOT = pathlib.Path(__file__).parent.parent.parent
LENGTH, S, T, K, D = 8, 16, 4, 3, 4  # frames of a clip, their size, config.data.num_frames, slots
BURN_IN = 4
NAME = "sim_clevrer_tiny"


def make_split(num_clips: int = 5, masks: bool = True, action_size: int = 0) -> pipeline.Split:
    """Squares that move over noise."""
    rng = np.random.default_rng(0)
    examples = []
    for _ in range(num_clips):
        ids = np.zeros((LENGTH, S, S), np.uint8)
        for t in range(LENGTH):
            ids[t, 2:7, t:t + 5], ids[t, 9:14, 8 - t:13 - t] = 1, 2
        video = colours.palette(3)[ids] + rng.integers(0, 9, (LENGTH, S, S, 3), np.uint8)
        example = {"video": video}
        if masks:
            example["segmentation"] = ids
        if action_size:
            example["actions"] = rng.normal(size=(LENGTH, action_size)).astype(np.float32)
        examples.append(example)
    return pipeline.Split(examples, LENGTH)


@pytest.fixture(scope="module")
def run(tmp_path_factory, save_untrained) -> pathlib.Path:
    """A run that was stopped before its first step, and again after 7; of odd names."""
    return save_untrained(tmp_path_factory.mktemp("report <b>&") / "run", steps=(0, 7),
                          eval__rollout_steps=LENGTH - BURN_IN)


@pytest.fixture(scope="module")
def models(run) -> dict:
    """The models of `run` by step, which are compiled once for all tests."""
    return {step: parts_jax.load(run, step) for step in (0, 7)}


@pytest.fixture
def splits(monkeypatch, models) -> list[str]:
    """Puts made-up clips in the place of every split; which ones were opened."""
    opened = []
    monkeypatch.setattr(report.pretrained_model, "load",
                        lambda workdir, step: models[7 if step == -1 else step])
    monkeypatch.setattr(pipeline, "open_split",
                        lambda config, name: opened.append(name) or make_split())
    return opened


@pytest.fixture
def workdir(run, tmp_path) -> pathlib.Path:
    """The same run in a folder of its own, to which tests add files."""
    folder = tmp_path / "<b>run & co"
    folder.mkdir()
    for name in ("config.json", "checkpoints"):
        (folder / name).symlink_to(run / name)
    (folder / "evaluation").mkdir()
    return folder


def write_evaluation(workdir, split="test", step=7, **changes) -> None:
    median = {"mse": 0.25, "mse_refined": 0.125, "fg_ari_last": 0.5, "new_metric": 3.0}
    record = {"step": step, "dataset": "sim_clevrer/tiny", "split": split, "num_sequences": 8,
              "mse": 0.251, "mse_refined": 0.126, "fg_ari_last": 0.512345, "new_metric": 3.5,
              "median": median, "standard_error": {name: 0.1 for name in median},
              "interval": {name: [0.1, 0.9] for name in median}} | changes
    path = workdir / "evaluation" / f"{NAME}-{split}-{step}.json"
    path.write_text(json.dumps(record))


def write_rollout(workdir, split="test", step=7, **changes) -> None:
    names = [rival + name for name in ("mse", "psnr", "ssim", "fg_ari", "fg_miou")
             for rival in ("", "repeat_", "moved_")]
    record = {"burn_in": 3, "num_steps": 2, "level": 0.95, "horizon": [1, 2], "metrics": {
        name: {"mean": [0.1, 0.2], "interval": [[0.05, 0.15], [0.1, 0.3]]} for name in names}}
    path = workdir / "evaluation" / f"{NAME}-{split}-{step}-rollout.json"
    path.write_text(json.dumps(record | changes))


def write_metrics(workdir, num_lines: int) -> None:
    lines = [json.dumps({"step": 10 * i, "train/loss": 5.0 - i / num_lines, "train/kl": None})
             for i in range(num_lines)]
    lines.append(json.dumps({"step": 10, "eval/fg_ari_last": 0.1, "eval/ari_last": 0.2,
                             "eval/miou_last": float("nan")}))
    (workdir / "metrics.jsonl").write_text("\n".join([*lines, '{"step": 23, "train/lo']))


def write(workdir, **arguments) -> str:
    """Writes the page and returns it, after what holds for every page."""
    path = report.write_report(workdir, **arguments)
    assert path == pathlib.Path(workdir) / "report" / "index.html"
    assert list(path.parent.iterdir()) == [path]
    page = path.read_text(encoding="utf-8")
    assert len(page) < 8e6
    rest = re.sub(r'xmlns="http://www.w3.org/2000/svg"|"data:.*?"', "", page)
    assert not re.search(r"https?:|//[a-z]|@import|url\(", rest)
    links = re.findall(r'(?:src|href)="(.*?)"', page)
    assert all(link.startswith(("data:", "#")) for link in links)
    assert "<b>run" not in page
    ids = re.findall(r' id="(.*?)"', page)
    assert len(ids) == len(set(ids))
    assert set(re.findall(r'data-(?:sheet|over)="(.*?)"', page)) <= {
        name.removeprefix("sheet-") for name in ids}
    data_of(page)
    return page


def data_of(page: str) -> dict:
    text = re.search(r'<script type="application/json" id="data">(.*?)</script>', page)[1]
    return json.loads(text, parse_constant=lambda name: pytest.fail(f"{name} is no JSON"))


def sheet(page: str, name: str) -> np.ndarray:
    data = re.search(f'id="sheet-{name}" src="data:image/png;base64,(.*?)"', page)[1]
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(data))))


def test_the_command_writes_a_page_of_a_prepared_set(tmp_path, save_untrained):
    workdir = save_untrained(tmp_path / "run", data__data_dir=str(tmp_path / "data"))
    result = subprocess.run(
        [sys.executable, "-m", "parts_jax.report", f"--workdir={workdir}", "--num_clips=2"],
        cwd=ROOT, capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    assert re.fullmatch(r".*/report/index\.html: 0\.\d MB\.\n", result.stdout)
    assert "Error" not in result.stderr and "WARNING" not in result.stderr
    page = (workdir / "report" / "index.html").read_text(encoding="utf-8")
    assert "sim_clevrer/tiny, step 0" in page and "Clip 1" in page and "Clip 2" not in page


def test_a_run_with_nothing_but_a_checkpoint_says_how_to_make_the_rest(workdir, splits):
    page = write(workdir, num_clips=2)
    assert splits == ["test"]
    assert "Step 7 was not evaluated on the test split" in page
    assert "--mode=evaluate" in page and "&lt;b&gt;run &amp; co" in page
    assert "There is no metrics.jsonl" in page and "<svg" not in page
    assert "Roll-outs were not scored over the whole split" in page
    assert "data.resolution</code></th><td><code>16</code>" in page


def test_pictures_are_those_of_the_model(workdir, splits, models):
    page, model = write(workdir, num_clips=2), models[7]
    video = np.stack([clip["video"] for clip in make_split().examples[:2]])
    seen = model.segment(video[:, :T])
    shown = sheet(page, "clip-1").reshape(T, S, 5 + K, S, 4)
    assert (shown[:, :, 0, :, :3] == video[1, :T]).all()
    assert (shown[:, :, 2, :, :3] == colours.colour_masks(seen.masks[1])).all()
    assert (shown[:, :, 3, :, :3] == colours.colour_masks(seen.predicted_masks[1])).all()
    assert (shown[:, :, 4, :, :3] == colours.to_uint8(seen.recon[1])).all()
    assert (shown[:, :, 5, :, 3] == colours.to_uint8(seen.masks[1, :, 0])).all()
    section = page.split('<section id="clips">')[1].split("</section>")[0]
    assert seen.masks_are == "assigned" and section.count(
        "</canvas><figcaption>assigned (uses the frame)</figcaption>") == 2 == section.count(
        "</canvas><figcaption>masks of the prediction (the paper&#x27;s score)</figcaption>")
    light = sheet(page, "attention-1").reshape(T, S, K, S) / 255.0
    np.testing.assert_allclose(
        light.transpose(0, 2, 1, 3), 0.12 + 0.88 * seen.attention[1], atol=0.01)

    future = model.predict(video[:, :BURN_IN], None, LENGTH - BURN_IN)
    shown = sheet(page, "rollout-0").reshape(LENGTH, S, 4, S, 3)
    assert (shown[:, :, 0] == video[0]).all()
    assert (shown[BURN_IN:, :, 1] == colours.to_uint8(future.recon[0])).all()
    assert data_of(page)["rollouts"]["ahead"] == BURN_IN
    assert data_of(page)["rollouts"]["captions"][-1] == "frame 8, predicted 4 ahead"


def test_traversals_are_those_of_the_model_by_effect(workdir, splits, models):
    page = write(workdir, num_clips=1)
    data, num_values = data_of(page)["traversals"], len(sections.VALUES)
    effects = [dim["effect"] for dim in data["dims"]]
    assert len(effects) == D and effects == sorted(effects, reverse=True)
    model, video = models[7], make_split().examples[0]["video"][:T]
    best = data["dims"][0]["dim"]
    change = [model.traverse(video, slot, best, sections.EFFECT).recon for slot in range(K)]
    effect = np.mean([np.sqrt(np.square(after - before).mean()) for before, after in change])
    assert effect == pytest.approx(effects[0], rel=1e-3)
    shown = sheet(page, "traversal-0").reshape(K + 1, num_values, S, 2, S, 3)
    for choice, slot in ((0, None), (2, 1)):
        expected = model.traverse(video, slot, best, sections.VALUES)
        error = shown[choice, :, :, 0].astype(int) - colours.to_uint8(expected.recon)
        assert np.abs(error).max() <= 1
    assert data["dims"][0]["inferred"] == pytest.approx(
        model.segment(video).posterior.mean[-1, :, best].tolist(), abs=1e-4)


def test_the_table_has_mean_interval_median_and_what_metrics_mean(workdir, splits):
    write_evaluation(workdir)
    page = write(workdir, num_clips=1)
    assert "8 clips of the test split." in page
    row = re.search(r"<code>mse</code>.*?</tr>", page)[0]
    cells = re.findall(r"<td>(.*?)</td>", row)
    interval = "0.100 – 0.900"
    assert cells == ["<b>0.251</b>", interval, "0.250", "<b>0.126</b>", interval, "0.125"]
    assert "<b>0.512</b>" in page and "Background left out" in page
    assert page.index("<code>fg_ari_last") < page.index("<code>mse<") < page.index("new_metric")
    assert "standard_error" not in page and "<code>mse_refined" not in page


def test_evaluations_of_before_are_shown_under_todays_names(workdir, splits):
    values = {"log_likelihood": 20.0, "miou_refined": 0.5}
    write_evaluation(workdir, **values, median=values, standard_error=values,
                     interval={"log_likelihood": [19.0, 22.0], "miou_refined": None})
    page = write(workdir, num_clips=1)
    row = re.search(r"<code>nll</code>.*?</tr>", page)[0]
    assert re.findall(r"<td>(.*?)</td>", row) == [
        "<b>−20</b>", "−22 to −19", "−20", "", "", ""]
    assert "lower is better" in row and "log_likelihood" not in page
    row = re.search(r"<code>miou</code>.*?</tr>", page)[0]  # what the first stage lacks
    assert re.findall(r"<td>(.*?)</td>", row) == ["", "", "", "<b>0.500</b>", "–", "0.500"]


def test_each_stage_has_its_columns(workdir, splits):
    values = {"mse": 0.25, "mse_<b>": 0.5, "mse_refined": 0.75, "own": 1.0, "own_refined": 2.0}
    write_evaluation(workdir, stages=["guess", "<b>", "refined"], **values, median=values,
                     interval={name: None for name in values})
    page = write(workdir, num_clips=1)
    head = re.findall(r'<th colspan="3" scope="colgroup">(.*?)</th>', page)
    assert head == ["guess", "&lt;b&gt;", "masks after refinement by the frame"]
    for name, expected in (("mse", ["0.250", "0.500", "0.750"]), ("own", ["1.000", "2.000"])):
        row = re.search(f"<code>{name}</code>.*?</tr>", page)[0]
        assert re.findall(r"<b>(.*?)</b>", row) == expected and row.count("<td>") == 9
    assert page.count("scope=\"col\">median<") == 3
    assert page.index("<code>mse<") < page.index("<code>own<")


def test_assigned_pixels_have_columns_of_their_own():
    """In the table of metrics; and, of the last stage alone, in that of the worst clips."""
    names = ("ari_last", "ari_last_refined", "ari_last_assigned", "ari_last_predicted_assigned")
    values = {name: 0.25 * i for i, name in enumerate(names, start=1)} | {"mse": 0.1}
    table = numbers.metric_table(values | {"median": values})
    assert re.findall(r'colgroup">(.*?)</th>', table)[2:] == [
        "assigned after refinement (uses the frame)", "assigned by the prediction (uses the frame)"]
    row = re.search("<code>ari_last</code>.*?</tr>", table)[0]
    assert re.findall(r"<b>(.*?)</b>", row) == ["0.250", "0.500", "0.750", "1.000"]
    assert table.count("<code>") == 2
    ranked = numbers.Ranked("ari_last", [{"clip": 3, "id": "x"} | values])
    worst = numbers.worst_table(ranked, ["predicted", "refined"])
    assert re.findall(r"<code>(.*?)</code>", worst) == list(names[:3])


def test_numbers_are_as_long_as_they_need_be():
    assert [numbers.number(value) for value in (
        0.85732, 0, 0.004201, -3025.33, 335.26, 9.5, 1e-7, True, None)] == [
        "0.857", "0", "0.00420", "−3025", "335.3", "9.500", "1.00e−07", "–", "–"]
    table = numbers.metric_table(
        {"kl": -2.0, "median": {"kl": -2.0}, "interval": {"kl": [-3.0, -1.0]}})
    assert "<td>−3.000 to −1.000</td>" in table


def test_without_intervals_their_columns_are_empty_and_the_page_says_so(workdir, splits):
    write_evaluation(workdir)
    path = workdir / "evaluation" / f"{NAME}-test-7.json"
    record = json.loads(path.read_text())
    del record["interval"]
    path.write_text(json.dumps(record))
    page = write(workdir, num_clips=1)
    assert "<td><b>0.251</b></td><td></td><td>0.250</td>" in page
    assert "holds no intervals" in page


def test_numbers_that_are_not_finite_are_dashes(workdir, splits):
    write_evaluation(workdir, mse=float("nan"), interval={"mse": None, "fg_ari_last": [0, 1e999]},
                     median={"mse": float("inf"), "fg_ari_last": 0.5})
    write_rollout(workdir, metrics={"mse": {"mean": [float("nan"), 0.2], "interval": None},
                                    "psnr": {"mean": [20.0, 9.0], "interval": [None, [1, 2]]}})
    write_metrics(workdir, 3)
    page = write(workdir, num_clips=1)
    assert "<td><b>–</b></td><td>–</td><td>–</td>" in page
    drawn = re.sub(r'src="data:.*?"|<style>.*?</style>|<script.*?</script>', "", page, flags=re.S)
    assert not re.search(r"\bnan\b|\binf\b|Infinity|NaN", drawn)
    assert report.to_json({"a": (float("nan"), 1.0, "</script>")}) == (
        '{"a": [null, 1.0, "\\u003c/script>"]}')


def test_parameters_that_are_not_finite_still_make_a_page(workdir, splits, models, monkeypatch):
    params = jax.tree.map(lambda p: p * np.nan, models[7]._params)
    monkeypatch.setattr(models[7], "_params", params)
    page = write(workdir, num_clips=1)
    assert sheet(page, "clip-0").shape == (T * S, (5 + K) * S, 4)


def test_which_evaluation_is_shown(workdir, splits):
    write_evaluation(workdir, "validation", 3, mse=0.3)
    assert "<b>0.300</b>" in (page := write(workdir, num_clips=1))
    assert "These numbers are of step 3" in page and splits[-1] == "validation"
    write_evaluation(workdir, "test", 3, mse=0.4)
    assert "<b>0.400</b>" in write(workdir, num_clips=1) and splits[-1] == "test"
    write_evaluation(workdir, "validation", 7, mse=0.5)
    assert "<b>0.500</b>" in (page := write(workdir, num_clips=1)) and splits[-1] == "validation"
    assert "These numbers are of step" not in page
    assert "<b>0.400</b>" in write(workdir, num_clips=1, split="test")
    page = write(workdir, num_clips=1, step=0)
    assert "Step 0 was not evaluated on the test split" in page and "--split=test --step=0<" in page
    write_evaluation(workdir, "train", 9, mse=0.6)
    assert "<b>0.600</b>" in write(workdir, num_clips=1, split="train")


def test_rollouts_take_their_evaluations_frames_and_show_its_curves(workdir, splits):
    write_evaluation(workdir)
    write_rollout(workdir)
    page = write(workdir, num_clips=1)
    assert data_of(page)["rollouts"]["captions"] == [
        "frame 1, seen", "frame 2, seen", "frame 3, seen", "frame 4, predicted 1 ahead",
        "frame 5, predicted 2 ahead"]
    assert "The model sees 3 frames" in page and "Roll-outs were not scored" not in page
    assert page.count("<svg") == 5 and page.count("<polygon") == 15
    assert page.count(">last seen frame</text>") == page.count(">constant velocity</text>") == 5
    assert "and constant velocity: each object moves on" in page


def test_rollouts_that_were_evaluated_before_there_was_constant_velocity_are_shown():
    old = ("mse", "psnr", "ssim", "fg_ari", "fg_miou", "repeat_mse", "repeat_psnr", "repeat_ssim")
    record = {"horizon": [1, 2], "metrics": {
        name: {"mean": [0.1, 0.2], "interval": [[0.05, 0.15], [0.1, 0.3]]} for name in old}}
    drawn = numbers.horizon_curves(record)
    assert drawn.count("<svg") == 5 and drawn.count("<polygon") == 8
    assert drawn.count(">last seen frame</text>") == 3 and "constant velocity" not in drawn
    assert "was written before there were objects that move on" in numbers.about_rivals(record)
    for name in ("fg_ari", "fg_miou"):  # of a set without masks there is nothing to add
        del record["metrics"][name]
    assert numbers.about_rivals(record).endswith("shown again and again.")


def test_all_that_was_evaluated_is_taken_from_where_its_evaluation_is(workdir, splits, tmp_path,
                                                                      monkeypatch):
    """As of a trained model that comes with the package: beside it, roll-outs and long clips."""
    out = tmp_path / "out"
    (out / "evaluation").mkdir(parents=True)
    monkeypatch.setattr(shipped, "results_folder", lambda _: out)
    write_evaluation(out)
    write_rollout(out)
    curve = {"ari_assigned": [0.9] * 40, "mse_refined": [0.1] * 40}
    (out / "evaluation" / f"{NAME}-test-7-length.json").write_text(json.dumps({
        "stages": ["predicted", "refined"], "split": "test", "num_sequences": 16, "length": 40,
        "num_frames": 8, "burn_in": 4, "tested_frames": 10, "moving": curve, "still": curve,
        "ahead": {}}))
    page = report.write_report(workdir, num_clips=1).read_text(encoding="utf-8")
    assert "Roll-outs were not scored" not in page and "was not tested on clips" not in page
    assert "Scores hold up to frame 10 of 40" in page


def test_the_curves_say_where_frames_grow_and_only_there(workdir):
    write_metrics(workdir, 3)
    config = configuration.load(str(workdir)).unlock()
    config.schedule.steps, config.schedule.resolution = (10, 20, 30), (8, 16, 16)
    assert "Frames grow from 8 × 8 to 16 × 16 after step 10: what" in report._curves(
        config, workdir)
    config.schedule.resolution = (16, 16, 16)
    assert "Frames grow" not in report._curves(config, workdir)


def test_curves_of_names_of_before_and_a_metric_of_a_models_own(workdir, splits, monkeypatch):
    """A run that was started by the version before and goes on: one line of both names."""
    monkeypatch.setattr(table, "RENAMED", {"minus_nll": ("nll", -1.0)})
    (workdir / "metrics.jsonl").write_text(
        '{"step": 1, "train/minus_nll": -30.0, "train/glimpses": 7.0}\n'
        '{"step": 2, "train/nll": 20.0, "train/glimpses": 9.0}\n')
    page = write(workdir, num_clips=1)
    line, = re.findall(r'<polyline points="(.*?)"', page)
    (_, before), (_, after) = (map(float, point.split(",")) for point in line.split())
    assert before == 39.0 and after == 161.0  # top and bottom of the chart: 30 and 20
    assert ">30</text>" in page and ">20</text>" in page and "glimpses" not in page


def test_damaged_lines_of_metrics_are_left_out(workdir):
    good = b'{"step": 1, "train/loss": 2.0}\n{"step": 2, "train/loss": 1.0}\n'
    for damaged in (b"\xff\n", b"[" * 100_000 + b"\n", b'{"step": null}\n', b'{"step": true}\n',
                    b'{"step": "3"}\n', b'{"step": 1' + b"0" * 400 + b"}\n", b"3\n", b'{"st'):
        (workdir / "metrics.jsonl").write_bytes(good + damaged)
        records = numbers.read_metrics(workdir, "sim_clevrer/tiny", "test")
        assert [record["step"] for record in records] == [1, 2], damaged[:20]


def test_curves_of_long_runs_are_thinned(workdir, splits):
    write_metrics(workdir, 1777)
    page = write(workdir, num_clips=1)
    lines = [line.split() for line in re.findall(r'<polyline points="(.*?)"', page)]
    assert 400 < len(lines[0]) <= numbers.MOST_POINTS
    assert max(map(len, lines)) == len(lines[0])
    assert "Masks of held-out clips" in page and "KL" not in page[:page.index("<script")].split(
        'id="clips"')[0].split('id="curves"')[1]
    assert "Frames grow from 8 × 8 to 16 × 16 after step 20" in page
    steps, values = numbers.thin([1, 2, 3], [4.0, None, 6.0])
    assert (steps, values) == ([1, 2, 3], [4.0, None, 6.0])


def write_clips(workdir, scores: list[float], **columns) -> None:
    columns = {"clip": range(len(scores)), "id": [f"a<b>-{i}" for i in range(len(scores))],
               "miou_last": scores} | columns
    lines = [",".join(columns), *(",".join(map(str, row)) for row in zip(*columns.values(),
                                                                          strict=True))]
    (workdir / "evaluation" / f"{NAME}-test-7.csv").write_text("\n".join(lines) + "\n")


def test_the_worst_clips_come_first(workdir, splits, models):
    write_evaluation(workdir)
    write_clips(workdir, [0.9, 0.4, 0.8, float("nan"), 0.2], mse_last_refined=[1, 2, 3, 4, 5])
    page = write(workdir, num_clips=3)
    section = page.split('<section id="worst">')[1].split("</section>")[0]
    assert "Of 5 clips of the test split those with the least miou_last" in section
    assert re.findall(r'row">Clip (\d)<span>a&lt;b&gt;-\d</span>', section) == [*"34120"]
    assert re.findall(r"<h3>(.*?)</h3>", section) == [
        "Clip 3, a&lt;b&gt;-3, miou_last –", "Clip 4, a&lt;b&gt;-4, miou_last 0.200",
        "Clip 1, a&lt;b&gt;-1, miou_last 0.400"]
    video = np.stack([make_split().examples[i]["video"][:T] for i in (3, 4, 1)])
    shown = sheet(page, "worst-1").reshape(T, S, 5 + K, S, 4)
    assert (shown[:, :, 0, :, :3] == video[1]).all()
    masks = models[7].segment(video).masks
    assert (shown[:, :, 2, :, :3] == colours.colour_masks(masks[1])).all()
    assert "worst" in data_of(page) and page.index('id="worst"') < page.index('id="clips"')


def test_without_scores_of_clips_the_page_says_how_to_get_them(workdir, splits):
    write_evaluation(workdir)
    page = write(workdir, num_clips=1)
    assert "The scores of each clip were not kept" in page and data_of(page)["worst"] == {}
    write_clips(workdir, [0.9, 0.4])
    path = workdir / "evaluation" / f"{NAME}-test-7.csv"
    good = path.read_bytes()
    for damaged in (good.replace(b"0.4", b"x"), good.replace(b"0.4", b""),
                    good.replace(b"1,", b"-1,"), good.replace(b",0.4", b""), b"\xff" + good,
                    good.replace(b"clip", b"club")):
        path.write_bytes(damaged)
        with pytest.raises(ValueError, match="csv' cannot be read as scores of clips: .*again"):
            report.write_report(workdir, num_clips=1)
    write_clips(workdir, [0.5] * 6)
    with pytest.raises(ValueError, match="Clip 5 of the split 'test' was evaluated, but it has 5"):
        report.write_report(workdir, num_clips=6)


def test_the_head_says_who_wrote_it_when_and_where(workdir, splits, monkeypatch):
    monkeypatch.setattr(provenance, "commit", lambda: "0123456789ab+changes")
    monkeypatch.setattr(provenance, "hardware", lambda: "8 x TPU v4")
    write_evaluation(workdir, commit="ba9876543210", hardware="2 x GPU", resolution=8)
    facts = dict(re.findall(r"<dt>(.*?)</dt><dd>(.*?)</dd>", write(workdir, num_clips=1)))
    assert facts["Seed"] == "0" and facts["Hardware"] == "8 x TPU v4"
    assert facts["Commit"] == "0123456789ab+changes"
    written = datetime.datetime.strptime(facts["Written"], "%Y-%m-%d %H:%M UTC")
    now = datetime.datetime.now(datetime.UTC).replace(tzinfo=None)
    assert abs(now - written) < datetime.timedelta(minutes=3)
    page = write(workdir, num_clips=1)
    assert "Evaluated by the code of commit ba9876543210 on 2 x GPU." in page
    assert "Evaluated during training, at frames of 8 × 8." in page


def test_evaluations_in_training_are_drawn_under_both_names(workdir, splits):
    for name in ("eval", "sim_clevrer_tiny-validation"):
        (workdir / "metrics.jsonl").write_text("".join(
            json.dumps({"step": step, f"{name}/miou_last": step / 10}) + "\n" for step in (1, 2)))
        page = write(workdir, num_clips=1)
        assert "Masks of held-out clips" in page and page.count("<polyline") == 1


@pytest.fixture
def two(workdir, tmp_path) -> list[pathlib.Path]:
    """The run, and the same with another seed."""
    other = tmp_path / "other"
    shutil.copytree(workdir, other)
    (other / "config.json").unlink()
    config = json.loads((workdir / "config.json").read_text()) | {"seed": 5}
    (other / "config.json").write_text(json.dumps(config))
    return [workdir, other]


def test_two_runs_side_by_side(two, splits, models, capsys):
    for workdir, mse in zip(two, (0.25, 0.75), strict=True):
        write_evaluation(workdir, mse=mse)
        write_metrics(workdir, 3)
    command.main([*map(str, two), "--num_clips=2"])
    path = two[0] / "report" / "comparison.html"
    assert capsys.readouterr().out.startswith(f"{path}: ") and not (two[1] / "report").exists()
    page = path.read_text(encoding="utf-8")
    assert "<title>&lt;b&gt;run &amp; co against other</title>" in page and "<b>run" not in page
    row = re.search(r"<code>mse</code>.*?</tr>", page)[0]
    assert re.findall(r"<td>(.*?)(?:<span>.*?)?</td>", row) == ["0.250", "0.750", "0.500", "0.354"]
    assert page.index("<code>mse<") < page.index("<code>mse_refined<") < page.index("new_metric")
    assert re.search(r"<code>seed</code></th><td><code>0</code></td><td><code>5</code>", page)
    assert "data.resolution" not in page and "not of the same kind" not in page
    assert page.count(">other</text>") == 3  # loss, and of held-out clips FG-ARI and ARI
    video = np.stack([clip["video"] for clip in make_split().examples[:2]])[:, :T]
    shown = sheet(page, "clip-1").reshape(T, S, 6, S, 3)
    assert (shown[:, :, 0] == video[1]).all()
    masks = colours.colour_masks(models[7].segment(video).masks[1])
    assert (shown[:, :, 2] == masks).all() and (shown[:, :, 3] == masks).all()
    assert set(data_of(page)) == {"clips"} and 'id="rollouts"' not in page


def test_runs_that_differ_in_kind_are_said_to(two, splits, tmp_path):
    write_evaluation(two[0], num_sequences=9)
    config = json.loads((two[1] / "config.json").read_text())
    config["data"]["num_frames"] = 3
    (two[1] / "config.json").write_text(json.dumps(config))
    out = tmp_path / "page.html"
    page = comparison.write_comparison(two, num_clips=1, out=out).read_text(encoding="utf-8")
    assert "Not evaluated on the test split: other." in page
    assert "do not see the same clips, so there are no pictures side by side: data.num_frames is " \
        "4, 3." in page
    write_evaluation(two[1])
    page = comparison.write_comparison(two, num_clips=1, out=out).read_text(encoding="utf-8")
    assert "These numbers are not of the same kind: num_sequences is 9, 8. 9 clips" in page


@pytest.mark.parametrize("arguments, message", [
    ([], "which run? Give its workdir"),
    (["a", "--out=b.html"], "--out is for the page of several runs"),
    (["a", "a"], "A comparison is of 2 to 8 runs, each of them once; got a, a."),
    (list("abcdefghi"), "A comparison is of 2 to 8 runs"),
    (["a", "b"], "holds no run"),
    (["a", "b", "--num_clips=0"], "num_clips is 0")])
def test_which_runs_are_asked_for_is_checked_before_anything_is_read(
        arguments, message, capsys, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as exit:
        command.main(arguments)
    assert exit.value.code == 2 and message in capsys.readouterr().err


def test_sets_without_masks(workdir, splits, monkeypatch):
    monkeypatch.setattr(pipeline, "open_split", lambda *_: make_split(masks=False))
    page = write(workdir, num_clips=2)
    assert ">truth<" not in page and "true masks" not in page
    assert sheet(page, "clip-0").shape == (T * S, (4 + K) * S, 4)


def test_models_with_actions_take_those_of_the_clips(tmp_path, save_untrained, monkeypatch):
    workdir = save_untrained(tmp_path / "run", data__action_size=2)
    split = make_split(action_size=2)
    monkeypatch.setattr(pipeline, "open_split", lambda *_: split)
    page = write(workdir, num_clips=1)
    video, actions = split.examples[0]["video"], split.examples[0]["actions"]
    seen = parts_jax.load(workdir).segment(video[:T], actions[:T])
    shown = sheet(page, "clip-0").reshape(T, S, 5 + K, S, 4)
    assert (shown[:, :, 2, :, :3] == colours.colour_masks(seen.masks)).all()
    assert "<dt>Actions</dt>" in page


def test_another_number_of_slots_and_fewer_clips_than_asked_for(workdir, splits):
    page = write(workdir, num_clips=9, num_slots=5)
    assert ">slot 4</figcaption>" in page and ">slot 5</figcaption>" not in page
    assert "5 (3 in training)" in page and "Clip 4" in page and "Clip 5" not in page


def test_what_is_too_large_shows_fewer_frames_and_numbers(workdir, splits, monkeypatch):
    whole = write(workdir, num_clips=1)
    for name in ("CLIP_BYTES", "ROLLOUT_BYTES", "TRAVERSAL_BYTES"):
        monkeypatch.setattr(sections, name, 1)
    page = write(workdir, num_clips=1)
    data = data_of(page)
    assert data["clips"]["captions"] == data["attention"]["captions"] == [f"frame {T}"]
    assert data["rollouts"]["captions"] == ["frame 8, predicted 4 ahead"]
    assert len(sheet(page, "clip-0")) == len(sheet(page, "rollout-0")) == S
    assert len(data["traversals"]["dims"]) == 1 and 'id="sheet-traversal-1"' not in page
    assert len(page) < len(whole)


def test_frames_that_are_shown_are_evenly_chosen():
    def build(shown):
        return {"a": ("x" * 10 * len(shown), {"shown": shown})}

    assert sections.fit_frames(build, 5, 50)["a"][1]["shown"] == [0, 1, 2, 3, 4]
    assert sections.fit_frames(build, 25, 59)["a"][1]["shown"] == [0, 6, 12, 18, 24]
    assert sections.fit_frames(build, 25, 1)["a"][1]["shown"] == [24]


def test_slots_of_any_origin_are_decoded(models):
    model = models[7]
    slots = np.random.default_rng(0).normal(size=(2, 5, 2, D))
    pictures = model.decode(slots)
    assert pictures.masks.shape == (2, 5, 2, S, S) and pictures.recon.shape == (2, 5, S, S, 3)
    np.testing.assert_allclose(model.decode(slots[1]).means, pictures.means[1], atol=1e-5)
    np.testing.assert_allclose(model.decode(slots[1, 2]).masks, pictures.masks[1, 2], atol=1e-5)
    for wrong in (slots[..., :3], slots[0, 0, 0], slots * np.nan):
        with pytest.raises(ValueError, match=r"Slots must be finite numbers of shape \[K, 4\], "):
            model.decode(wrong)


def test_a_page_that_cannot_be_finished_leaves_the_old_one(workdir, splits, monkeypatch):
    old = write(workdir, num_clips=1)
    monkeypatch.setattr(os, "replace", lambda *_: (_ for _ in ()).throw(OSError("full")))
    with pytest.raises(OSError, match="full"):
        report.write_report(workdir, num_clips=2)
    assert (workdir / "report" / "index.html").read_text(encoding="utf-8") == old


@pytest.mark.parametrize("changes, message", [
    ({"--workdir": "nowhere"}, "'nowhere' holds no run: it has no file config.json"),
    ({"--workdir": "gs://bucket/run"}, "--workdir is 'gs://bucket/run', an address"),
    ({"--step": "3"}, "no checkpoint of step 3"),
    ({"--num_clips": "0"}, "num_clips is 0, but must be 1 or more"),
    ({"--num_slots": "0"}, "num_slots is 0, but must be a whole number, 1 or more"),
    ({"--split": "dusk"}, "has no split 'dusk'"),
])
def test_a_fault_is_one_sentence(capsys, workdir, monkeypatch, tmp_path, changes, message):
    def open_split(config, name):
        if name == "dusk":
            raise ValueError("The data set 'x' has no split 'dusk'; it has: test.")
        return make_split()

    monkeypatch.setattr(pipeline, "open_split", open_split)
    monkeypatch.chdir(tmp_path)
    flags = {"--workdir": workdir} | changes
    with pytest.raises(SystemExit) as exit:
        command.main([f"{name}={value}" for name, value in flags.items()])
    assert exit.value.code == 2
    error = capsys.readouterr().err
    assert error.startswith("Error: ") and error.count("\n") == 1 and message in error
    assert not (workdir / "report").exists()


@pytest.mark.parametrize("name, text, message", [
    (f"{NAME}-test-7.json", "{", "cannot be read as JSON"),
    (f"{NAME}-test-7.json", "[]", "is no evaluation"),
    (f"{NAME}-test-7.json", '{"stages": [1]}', r"stages must be a list of names; got \[1\]"),
    (f"{NAME}-test-7.json", '{"interval": {"mse": [1]}}', "interval of 'mse' must be two numbers"),
    (f"{NAME}-test-7.json", '{"median": []}', "has no medians by name"),
    (f"{NAME}-test-7.json", '{"log_likelihood": {}}', "cannot be read as an evaluation: "),
    (f"{NAME}-test-7-rollout.json", "{}", "is no evaluation of roll-outs"),
])
def test_damaged_evaluations_are_named(workdir, splits, name, text, message):
    (workdir / "evaluation" / name).write_text(text)
    with pytest.raises(ValueError, match=message):
        report.write_report(workdir, num_clips=1)


def test_the_template_is_installed_with_the_package():
    assert report.TEMPLATE.parent == ROOT / "parts_jax" / "report"
    assert '"parts_jax.report": ["*.html"]' in (ROOT / "setup.py").read_text()
