"""The best checkpoint: known by its metric, kept beside the newest, found again."""

import json
import logging
import types

import jax
import numpy as np
import pytest

from configs import base
from parts_jax.metrics import segmentation
from parts_jax.runs import best_checkpoint, checkpoint
from tests.runs.test_checkpoint import CONFIG, make_iterator, make_state


def offer(best, step, stage=0, **scores):
    best.offer(step, stage, scores, writes=True)
    return best.record.get("step")


def test_higher_or_lower_is_better_by_the_metric(tmp_path):
    best = best_checkpoint.Best(tmp_path, ("fg_ari_last",), (16, 32))
    assert [offer(best, step, fg_ari_last=value) for step, value in
            enumerate((0.2, 0.1, 0.4, 0.4, float("nan"), 0.3))] == [0, 0, 2, 2, 2, 2]
    best = best_checkpoint.Best(tmp_path / "other", ("neg_elbo",), (16, 32))
    (tmp_path / "other").mkdir()
    assert [offer(best, step, neg_elbo=value) for step, value in
            enumerate((20.0, 30.0, -1.0, float("inf")))] == [0, 0, 2, 2]


def test_metrics_of_other_stages_can_choose_and_what_has_no_direction_cannot(tmp_path):
    best = best_checkpoint.Best(tmp_path, ("mse_last_refined",), (16, 32))
    assert [offer(best, step, mse_last_refined=value) for step, value in
            enumerate((0.2, 0.3, 0.1))] == [0, 0, 2]
    with pytest.raises(ValueError, match="kl, fun cannot say which checkpoint is the best; this "
                                         "can, at any stage: fg_ari_last, "):
        best_checkpoint.Best(tmp_path, ("miou", "kl", "fun"), (16, 32))


def test_a_record_of_before_is_read_under_todays_name(tmp_path):
    """Log-likelihood is what nll is with the sign turned: what was better still is."""
    (tmp_path / "best.json").write_text(json.dumps(
        {"step": 3, "stage": 0, "metric": "log_likelihood", "value": 20.0}))
    assert best_checkpoint.read(tmp_path) == {
        "step": 3, "stage": 0, "metric": "nll", "value": -20.0}
    best = best_checkpoint.Best(tmp_path, ("nll",), (16, 32))
    assert offer(best, 4, nll=-19.0) == 3
    assert offer(best, 5, nll=-21.0) == 5


def test_of_stages_with_frames_of_one_size_the_score_decides(tmp_path):
    best = best_checkpoint.Best(tmp_path, ("miou_last",), (16, 16, 32, 32))
    assert offer(best, 10, stage=0, miou_last=0.9) == 10
    assert offer(best, 20, stage=1, miou_last=0.2) == 10
    assert offer(best, 30, stage=1, miou_last=0.95) == 30
    assert offer(best, 40, stage=2, miou_last=0.1) == 40
    assert offer(best, 50, stage=3, miou_last=0.05) == 40
    again = best_checkpoint.Best(tmp_path, ("miou_last",), (16, 16, 32, 32))
    assert offer(again, 60, stage=3, miou_last=0.09) == 40
    fewer = best_checkpoint.Best(tmp_path, ("miou_last",), (16, 32))  # its stages are others
    assert fewer.record == {}


def test_what_is_best_by_default_sees_a_background_that_is_cut_up():
    """FG-ARI does not: it looks at no pixel of the background."""
    truth, cells = np.zeros((1, 1, 8, 8), np.uint8), np.zeros((1, 1, 8, 8), np.uint8)
    truth[..., 1:4, 1:4], truth[..., 5:7, 5:7] = 1, 2
    cells[..., :4, 4:], cells[..., 4:, :4], cells[..., 4:, 4:] = 3, 2, 1
    whole = segmentation.segmentation_metrics(truth, truth)
    cut = segmentation.segmentation_metrics(truth, cells)
    assigned, first, _ = base.get_base().eval.best_by
    assert assigned == f"{first}_assigned" and assigned in best_checkpoint.METRICS
    assert cut["fg_ari_last"] == whole["fg_ari_last"] == 1
    assert cut[first] < 0.7 < whole[first] == 1


def test_larger_frames_are_better_whatever_the_metric(tmp_path):
    best = best_checkpoint.Best(tmp_path, ("fg_ari_last",), (16, 32))
    assert offer(best, 10, stage=0, fg_ari_last=0.9) == 10
    assert offer(best, 20, stage=1, fg_ari_last=0.2) == 20
    assert offer(best, 30, stage=1, fg_ari_last=0.1) == 20


def test_the_first_metric_that_there_is_counts(tmp_path, caplog):
    best = best_checkpoint.Best(tmp_path, ("fg_ari_last", "neg_elbo"), (16, 32))
    assert offer(best, 1, neg_elbo=5.0, kl=1.0) == 1 and best.record["metric"] == "neg_elbo"
    # What is known is of another metric.
    with caplog.at_level(logging.WARNING):
        none = best_checkpoint.Best(tmp_path, ("fg_ari_last",), (16, 32))
        assert "best.json is by neg_elbo, at stage 0; the best is chosen anew by" in caplog.text
        assert offer(none, 2, neg_elbo=1.0) is None
    assert "none of eval.best_by, fg_ari_last" in caplog.text


def test_it_is_known_again_after_a_restart_and_forgotten_if_it_lies_ahead(tmp_path):
    best = best_checkpoint.Best(tmp_path, ("miou",), (16, 32))
    offer(best, 8, miou=0.5)
    assert best_checkpoint.read(tmp_path) == {"step": 8, "stage": 0, "metric": "miou", "value": 0.5}
    again = best_checkpoint.Best(tmp_path, ("miou",), (16, 32))
    again.forget_after(8)
    assert offer(again, 12, miou=0.4) == 8
    again.forget_after(7)
    assert offer(again, 8, miou=0.3) == 8 and again.record["value"] == 0.3


def test_only_one_process_writes(tmp_path):
    best = best_checkpoint.Best(tmp_path, ("miou",), (16, 32))
    best.offer(8, 0, {"miou": 0.5}, writes=False)
    assert best.record["step"] == 8 and best_checkpoint.read(tmp_path) == {}


def test_orbax_keeps_the_newest_and_the_best(tmp_path):
    best = best_checkpoint.Best(tmp_path, ("miou",), (16, 32))
    with checkpoint.open_checkpoints(str(tmp_path), 2, best) as manager:
        for step, miou in enumerate((0.1, 0.7, 0.2, 0.3, 0.4)):
            checkpoint.save(manager, step, make_state(float(step)), make_iterator(), CONFIG)
            best.offer(step, 0, {"miou": miou}, writes=True)
        checkpoint.wait(manager)
        assert sorted(manager.all_steps()) == [1, 3, 4]
    assert checkpoint.complete_steps(tmp_path / "checkpoints") == [1, 3, 4]
    assert checkpoint.choose_step(str(tmp_path), checkpoint.BEST) == 1
    params, step = checkpoint.restore_params(
        str(tmp_path), jax.eval_shape(make_state).params, checkpoint.BEST)
    assert step == 1 and params["a"]["kernel"][0, 0] == 1.0


def test_no_best_is_a_clear_error(tmp_path):
    with checkpoint.open_checkpoints(str(tmp_path), 2) as manager:
        checkpoint.save(manager, 1, make_state(), make_iterator(), CONFIG)
    with pytest.raises(FileNotFoundError, match="No checkpoint in .* known as the best.*best.json"):
        checkpoint.choose_step(str(tmp_path), checkpoint.BEST)


def test_a_list_of_checkpoints_is_answered_in_its_order(tmp_path):
    (tmp_path / "best.json").write_text(json.dumps(
        {"step": 3, "stage": 0, "metric": "miou", "value": 0.5}))
    best = best_checkpoint.Best(tmp_path, ("miou",), (16, 32))
    steps = [types.SimpleNamespace(step=step) for step in (1, 3, 5)]
    assert best.should_preserve(steps, context=None) == [False, True, False]


@pytest.mark.parametrize("content", [
    "{", "[1]", '{"step": 3}', "3", '{"step": 3, "stage": 0, "metric": null, "value": 1}',
    '{"step": "3", "stage": 0, "metric": "miou", "value": 1}',
    '{"step": 3, "stage": null, "metric": "miou", "value": 1}',
    '{"step": 3, "stage": 0, "metric": "miou", "value": "0.5"}',
    '{"step": 3, "stage": 0, "metric": "miou", "value": NaN}',
    '{"step": -3, "stage": 0, "metric": "miou", "value": 1}',
    '{"step": true, "stage": 0, "metric": "miou", "value": 1}',
    '{"step": 3, "stage": 0, "metric": "fun", "value": 1}', "[" * 100_000, "\udcff"],
    ids=lambda content: content[:70])
def test_a_damaged_record_is_warned_of_and_written_anew(tmp_path, caplog, content):
    (tmp_path / "best.json").write_bytes(content.encode("utf-8", "surrogateescape"))
    with caplog.at_level("WARNING"):
        best = best_checkpoint.Best(tmp_path, ("miou",), (16, 32))
    assert "best.json is damaged" in caplog.text
    assert offer(best, 8, miou=0.5) == 8 and best_checkpoint.read(tmp_path)["step"] == 8
