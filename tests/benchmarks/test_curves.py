"""benchmarks/curves.py: minutes and thresholds of a run written by hand; and the chart."""

import json

import pytest

from benchmarks import curves
from configs import parts_clevrer
from parts_jax.runs import configuration


@pytest.fixture
def workdir(tmp_path):
    """200 steps at 10 a second, 100 at 2; evaluated at 100, 200 and 300."""
    lines = [{"step": 100, "train/steps_per_second": 10.0},
             {"step": 200, "train/steps_per_second": 10.0},
             {"step": 300, "train/steps_per_second": 2.0}]
    for step, score in ((100, 0.5), (200, 0.85), (300, 0.8)):
        lines.append({"step": step} | {
            f"eval/{name}": score - i / 10 for i, name in enumerate(curves.SHOWN)})
    (tmp_path / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    config = parts_clevrer.get_config("demo")
    config.schedule.steps, config.schedule.resolution = (200, 100), (16, 32)
    configuration.claim_workdir(str(tmp_path), config)
    return tmp_path


def test_minutes_of_the_run_and_of_given_rates(workdir):
    values = curves.curve(workdir)
    assert values["step"] == [100, 200, 300]
    assert values["minutes"] == pytest.approx([10 / 60, 20 / 60, 70 / 60])
    assert values["miou_last"] == pytest.approx([0.3, 0.65, 0.6])
    given = curves.curve(workdir, {16: 20.0, 32: 5.0})
    assert given["minutes"] == pytest.approx([5 / 60, 10 / 60, 30 / 60])


def test_evaluations_are_found_under_the_name_that_they_have_now(workdir):
    path = workdir / "metrics.jsonl"
    before = curves.curve(workdir)
    path.write_text(path.read_text().replace("eval/", "sim_clevrer_demo-validation/"))
    assert curves.curve(workdir) == before


def test_assigned_pixels_are_shown_where_all_evaluations_have_them(workdir, capsys):
    path = workdir / "metrics.jsonl"
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    assert "miou_last_assigned" not in curves.curve(workdir)
    with pytest.raises(SystemExit, match="not evaluated by 'miou_last_assigned' each time; it was "
                                         "by: fg_ari_last, ari_last, miou_last."):
        curves.main([str(workdir), "--threshold=miou_last_assigned:0.5"])
    for line in lines:
        if "eval/miou_last" in line:
            line["eval/miou_last_assigned"] = line["eval/miou_last"] + 0.1
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    assert curves.curve(workdir)["miou_last_assigned"] == pytest.approx([0.4, 0.75, 0.7])
    curves.main([str(workdir), "--threshold=miou_last_assigned:0.5"])
    assert "| miou_last_assigned | 0.5 | 0.3 | 200 | 0.750 |" in capsys.readouterr().out


def test_minutes_between_two_writes(workdir):
    clock = curves._clock_of_run([{"step": 100, "train/steps_per_second": 10.0}])
    assert clock(50) == pytest.approx(5 / 60)
    with pytest.raises(ValueError, match="does not say how long it took to step 101"):
        clock(101)


def test_the_first_time_over_a_threshold(workdir, capsys):
    values = curves.curve(workdir)
    first = curves.reached(values, "fg_ari_last", 0.8)
    assert (first["step"], first["best"]) == (200, 0.85)
    never = curves.reached(values, "fg_ari_last", 0.9)
    assert never["step"] is None and never["minutes"] is None
    out = workdir / "curve.svg"
    curves.main([str(workdir), f"--out={out}"])
    lines = capsys.readouterr().out.splitlines()
    assert lines[2] == "| fg_ari_last | 0.8 | 0.3 | 200 | 0.850 |"
    assert lines[3].startswith("| fg_ari_last | 0.9 | not reached |")
    assert out.read_text().count("<polyline") == 3


def test_two_runs_side_by_side(workdir, tmp_path_factory, capsys, monkeypatch):
    other = tmp_path_factory.mktemp("other")
    for name in ("metrics.jsonl", "config.json"):
        text = (workdir / name).read_text()
        (other / name).write_text(text.replace("0.85", "0.95"))
    out = workdir / "both.svg"
    both = [str(workdir), str(other)]
    curves.main([*both, "--threshold=fg_ari_last:0.9", f"--out={out}"])
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "| run | score | threshold | minutes | step | best |"
    assert lines[2:] == [f"| {workdir.name} | fg_ari_last | 0.9 | not reached |  | 0.850 |",
                         f"| {other.name} | fg_ari_last | 0.9 | 0.3 | 200 | 0.950 |"]
    assert out.read_text().count("<polyline") == 2
    curves.main([*both, "--threshold=fg_ari_last:0.8", "--rates=16:20,32:5", "--rates=16:10,32:5"])
    assert [line.split(" | ")[3] for line in capsys.readouterr().out.splitlines()[2:]] == \
        ["0.2", "0.3"]
    with pytest.raises(SystemExit, match="--rates is given 1 times for 2 runs"):
        curves.main([*both, "--rates=16:20,32:5"])
    monkeypatch.setattr(curves.charts, "COLOURS", ("#000000",))
    with pytest.raises(SystemExit, match="1 scores of 2 runs are more lines than the 1 that"):
        curves.main([*both, "--threshold=fg_ari_last:0.9", f"--out={out}"])
    with pytest.raises(SystemExit, match="Two of the runs have one name"):
        curves.main([str(workdir), str(workdir)])


@pytest.mark.parametrize("arguments, message", [
    (["--rates=16:20"], "--rates says nothing of resolution 32"),
    (["--rates=sixteen:20"], "'sixteen:20' should be a name, a colon and a number"),
    (["--threshold=mse:1"], "'mse' is no score of this table; it has: fg_ari_last"),
])
def test_faults_are_sentences(workdir, arguments, message):
    with pytest.raises(SystemExit, match=message):
        curves.main([str(workdir), *arguments])
