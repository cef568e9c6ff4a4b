"""The curves of long clips in the report."""

import json

import pytest

from configs import parts_clevrer
from parts_jax.report import long_clips, page

FRAMES = 40


def record(**changes) -> dict:
    curve = [0.9] * 10 + [None] + [0.1] * (FRAMES - 11)
    scores = {f"{name}{stage}": curve for name in ("ari", "fg_ari", "miou", "mse")
              for stage in ("", "_refined", "_assigned")} | {"greatest_mean": curve}
    return {"stages": ["predicted", "refined"], "split": "test", "num_sequences": 16, "length":
            FRAMES, "num_frames": 8, "burn_in": 4, "tested_frames": 10, "moving": scores,
            "still": scores, "ahead": {"mse": curve, "repeat_mse": curve}} | changes


def test_curves_of_scores_by_frame():
    text = long_clips.section(record())
    assert "16 clips of the test split, of 8 frames each" in text
    assert "hold up to frame 10 of 40" in text
    assert text.count("<svg") == 7 and text.count("<polyline") == 4 * 3 + 3 * 2
    for title in ("ARI, played back and forth", "mIoU, first frame repeated",
                  "Mean squared error, log scale", "Greatest |mean| of the posterior, log scale",
                  "Mean squared error ahead, after 4 frames, log scale"):
        assert f"<title>{title}" in text, title
    assert ">assigned</text>" in text and ">masks, refined</text>" in text


def test_of_what_was_not_scored_there_is_no_chart():
    few = {"mse": [0.1] * FRAMES}
    text = long_clips.section(record(stages=["final"], moving={}, still=few, ahead={},
                                     tested_frames=FRAMES))
    assert "hold to the last of 40 frames" in text
    assert "<title>ARI, as they are" in long_clips.section(record(num_frames=FRAMES))
    assert text.count("<svg") == text.count("<polyline") == 1


def test_the_file_is_found_or_named(tmp_path):
    (tmp_path / "evaluation").mkdir()
    assert long_clips.find(tmp_path, "sim/a", "test", 7) is None
    path = tmp_path / "evaluation" / "sim_a-test-7-length.json"
    path.write_text(json.dumps(record()))
    assert long_clips.find(tmp_path, "sim/a", "test", 7) == record()
    for text in ("{}", json.dumps(record(moving=3)), json.dumps(record(tested_frames=None)),
                 json.dumps(record(still={"mse": 1}))):
        path.write_text(text)
        with pytest.raises(ValueError, match="test-7-length.json' is no evaluation of long clips"):
            long_clips.find(tmp_path, "sim/a", "test", 7)


def test_a_run_that_was_not_tested_says_how_to(tmp_path):
    config = parts_clevrer.get_config("demo")
    text = page._length(None, config, tmp_path, "test", 7)
    assert "--config.eval.split=test --config.eval.step=7\n" in text and "not tested" in text
    config.eval.length = 0
    assert "--config.eval.length=200" in page._length(None, config, tmp_path, "test", 7)
