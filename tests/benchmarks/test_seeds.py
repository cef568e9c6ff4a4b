"""Tables over seeds, of runs written by hand."""

import json

import pytest

from benchmarks import seeds


def write_run(folder, seed: int, score: float, step_number: int = 200, **changes):
    """A run of two log writes (50 s at 2 and 100 s at 1 steps a second) and an old evaluation."""
    (folder / "evaluation").mkdir(parents=True)
    for number, value in ((100, 0.0), (step_number, score)):
        record = dict(step=number, dataset="sim/demo", split="test", seed=seed, num_sequences=128,
                      num_frames=6, stride=1, resolution=32, num_slots=4, fg_ari_last=value,
                      ari_last_refined=value / 2, mse=value / 100,
                      median={"fg_ari_last": value + 0.01}, standard_error={"fg_ari_last": 0.1})
        path = folder / "evaluation" / f"sim_demo-test-{number}.json"
        path.write_text(json.dumps(record | changes))
    lines = [{"step": 100, "train/steps_per_second": 2.0, "train/loss": 1.0},
             {"step": 100, "eval/mse": 0.1}, {"step": 200, "train/steps_per_second": 1.0}]
    (folder / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    return folder


def test_seeds_side_by_side(tmp_path):
    runs = [write_run(tmp_path / f"demo-{i}", i, score) for i, score in enumerate((0.8, 0.9, 1.0))]
    lines = seeds.report(runs, "test").splitlines()
    assert lines[0] == ("sim/demo test, 128 clips of 6 frames of 32x32, K=4, step 200; "
                        "seeds 0, 1, 2.")
    assert lines[2] == "|  | demo-0 | demo-1 | demo-2 | mean | min - max | std |"
    assert "| fg_ari_last | 0.800 | 0.900 | 1.000 | 0.900 | 0.800 - 1.000 | 0.100 |" in lines
    assert "| ari_last_refined | 0.400 | 0.450 | 0.500 | 0.450 | 0.400 - 0.500 | 0.050 |" in lines
    assert any(line.startswith("| mse | 0.00800 | 0.00900 | 0.01000 |") for line in lines)
    assert any(line.startswith("| fg_ari_last, median clip | 0.810 | 0.910 |") for line in lines)
    assert "| training minutes | 2.5 | 2.5 | 2.5 | 2.5 | 2.5 - 2.5 | 0.0 |" in lines
    assert len(lines) == 4 + 5


def test_seeds_show_names_of_before_other_stages_and_metrics_of_a_models_own(tmp_path):
    old = write_run(tmp_path / "old", 0, 0.8, log_likelihood=20.0)
    new = write_run(tmp_path / "new", 1, 0.9, nll=-30.0, stages=["predicted", "refined"],
                    overlap_refined=0.25, kl=2.0, median={"overlap_refined": 0.25, "kl": 2.0})
    lines = seeds.report([old, new], "test").splitlines()
    assert any(line.startswith("| nll | -20.000 | -30.000 | -25.000 |") for line in lines)
    assert any(line.startswith("| overlap_refined | - | 0.250 | - |") for line in lines)
    assert not any(line.startswith("| kl ") for line in lines)
    other = write_run(tmp_path / "other", 1, 0.9, stages=["only"])
    with pytest.raises(ValueError, match=r"stages is \['predicted', 'refined'\], \['only'\]"):
        seeds.report([old, other], "test")


def test_seeds_show_assigned_pixels_and_leave_runs_of_before_comparable(tmp_path):
    old = write_run(tmp_path / "old", 0, 0.8)
    scores = {"ari_last_assigned": 0.9, "ari_last_predicted_assigned": 0.85}
    new = write_run(tmp_path / "new", 1, 0.8, stages=["predicted", "refined"], **scores,
                    median=scores)
    lines = seeds.report([old, new], "test").splitlines()
    assert "| ari_last_assigned | - | 0.900 | - | - | - |" in lines
    assert "| ari_last_predicted_assigned | - | 0.850 | - | - | - |" in lines
    assert "| ari_last_assigned, median clip | - | 0.900 | - | - | - |" in lines
    assert sum("_assigned" in line for line in lines) == 4


def test_seeds_refuse_what_cannot_be_compared(tmp_path):
    first = write_run(tmp_path / "a", 0, 0.5)
    with pytest.raises(FileNotFoundError, match="no evaluation on the split 'validation'"):
        seeds.report([first], "validation")
    longer = write_run(tmp_path / "b", 1, 0.5, step_number=300)
    with pytest.raises(ValueError, match="cannot be compared: step is 200, 300"):
        seeds.report([first, longer], "test")
    (first / "evaluation" / "other.json").write_text(
        json.dumps({"split": "test", "dataset": "other", "step": 1}))
    with pytest.raises(ValueError, match="choose with --dataset: other, sim/demo"):
        seeds.report([first], "test")
    assert seeds.newest_evaluation(first, "test", "sim/demo")["step"] == 200


def test_seeds_leave_the_files_of_roll_outs_and_long_clips_alone(tmp_path):
    """They lie in the same folder, and are of the same set, split and step."""
    runs = [write_run(tmp_path / f"demo-{i}", i, score) for i, score in enumerate((0.8, 0.9))]
    before = seeds.report(runs, "test")
    for number in (200, 300):
        record = dict(step=number, dataset="sim/demo", split="test", seed=0, num_sequences=128,
                      horizon=[1], metrics={"mse": {"mean": [0.1], "interval": None}})
        for kind in ("rollout", "length"):
            path = runs[0] / "evaluation" / f"sim_demo-test-{number}-{kind}.json"
            path.write_text(json.dumps(record))
    assert seeds.report(runs, "test") == before
