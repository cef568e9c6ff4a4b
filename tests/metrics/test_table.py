"""The table of metrics: one row a name, names of other stages, of before, and of nobody's."""

import math
import pathlib
import re

import pytest

from parts_jax.metrics import table

ROOT = pathlib.Path(__file__).parent.parent.parent


def test_one_row_a_name_and_one_direction_each():
    assert len(set(table.NAMES)) == len(table.TABLE)
    assert {metric.better for metric in table.TABLE} == {-1, 0, 1}
    assert not set(table.RENAMED) & set(table.NAMES)
    assert {name for name, _ in table.RENAMED.values()} <= set(table.NAMES)
    assert all(metric.words for metric in table.TABLE if metric.evaluated)


def test_every_chart_has_lines_and_every_line_a_chart():
    charts = table.learning_curves()
    assert all(charts.values()) and len(set(table.CURVES)) == len(table.CURVES)
    assert {metric.curve for metric in table.TABLE} - {None} == set(table.CURVES)
    assert charts["Mean squared error"] == {"train": "train/mse", "held out": "eval/mse"}
    assert charts["Masks of held-out clips, last frame"] == {
        "FG-ARI": "eval/fg_ari_last", "ARI": "eval/ari_last", "mIoU": "eval/miou_last"}


def test_charts_of_roll_outs_are_of_what_was_scored():
    charts = table.horizon_charts(("repeat_psnr", "mse", "psnr", "fg_ari", "overlap"))
    assert charts == {
        "Mean squared error": {"model": "mse"},
        "PSNR, dB": {"model": "psnr", "last seen frame": "repeat_psnr"},
        "FG-ARI of masks": {"model": "fg_ari"}, "overlap": {"model": "overlap"}}
    assert list(charts)[-1] == "overlap"


@pytest.mark.parametrize("name, better", [
    ("fg_ari_last", 1), ("fg_ari_last_refined", 1), ("mse", -1), ("mse_last", -1),
    ("mse_last_of_another_stage", -1), ("neg_elbo", -1), ("nll_first", -1), ("nll_refined", -1),
    ("ap_50", 1), ("ap", 1), ("count_error", -1), ("mask_ap_50_assigned", 1), ("apx", 0),
    ("kl", 0), ("kl_greatest_share", 0), ("klx", 0), ("precision", 0), ("", 0)])
def test_direction_whatever_the_stage(name, better):
    assert table.direction(name) == better


def test_the_longest_name_is_the_metrics():
    assert table.find("mse_last_refined").name == "mse_last"
    assert table.find("kl_greatest_share").name == "kl_greatest_share"
    assert table.find("mseless") is None and table.find("x_mse") is None


def test_what_can_choose_a_checkpoint():
    names = table.choosing()
    assert set(names) == {
        *(f"{name}_{kind}" for name in ("fg_ari", "ari") for kind in ("last", "frame", "video")),
        *(f"{kind}{name}" for kind in ("", "mask_") for name in ("ap_50", "ap", "count_error")),
        "miou_last", "miou", "mse", "mse_last", "nll", "neg_elbo"}
    assert table.choosing("refined")[len(names):] == tuple(f"{name}_refined" for name in names)
    assigned = table.choosing("assigned")[len(names):]
    assert assigned == tuple(f"{name}_assigned" for name in names
                             if not name.startswith(("mse", "nll", "neg_elbo", "ap", "count")))
    assert len(assigned) == 11 and all(
        table.direction(name) == (-1 if "error" in name else 1) for name in assigned)
    assert table.choosing("final_assigned")[len(names):] == tuple(
        name.replace("assigned", "final_assigned") for name in assigned)


def test_assigned_pixels_stand_where_stages_do():
    """Only where some metric is of them: not in evaluations of before."""
    stages = ("predicted", "refined")
    assert [table.assignment_of(stage, stages) for stage in stages] == [
        "predicted_assigned", "assigned"]
    assert table.assignment_of("final", ("final",)) == "assigned"
    assert table.scored(stages, ["mse", "mse_refined"]) == stages
    found = table.scored(stages, ["ari_last_predicted_assigned", "mse", "miou_assigned"])
    assert found == (*stages, "assigned", "predicted_assigned")
    for name, expected in (("ari_last_predicted_assigned", ("ari_last", "predicted_assigned")),
                           ("miou_assigned", ("miou", "assigned")), ("mse", ("mse", "predicted"))):
        assert table.without_stage(name, found) == expected
        assert table.with_stage(*expected, found) == name
    assert all(stage in table.WORDS_OF_STAGES for stage in found)
    charts = table.learning_curves()
    assert charts[table.ASSIGNED_MASKS]["mIoU"] == "eval/miou_last_assigned"


def test_the_line_of_progress():
    assert table.in_progress("train") == ("loss", "nll", "kl", "mse", "mask_entropy")
    assert table.in_progress("eval") == ("fg_ari_last", "ari_last")
    assert table.with_ends() == ("nll", "sigma_q")
    assert table.headlines() == ("fg_ari_last", "ari_last", "miou_last")


def test_what_nobody_knows_stands_last_as_it_came():
    assert table.in_order(["b", "kl", "a", "mse", "b", "fg_ari_last"]) == [
        "fg_ari_last", "mse", "kl", "b", "a"]
    assert table.words("b") == "" and table.words("kl").startswith("How much the slots say")
    assert table.words("mse_last") != table.words("mse")


def test_stages_are_told_by_their_suffix():
    stages = ("guess", "refined", "twice_refined")
    for name, expected in (("mse", ("mse", "guess")), ("mse_refined", ("mse", "refined")),
                           ("mse_last_twice_refined", ("mse_last", "twice_refined")),
                           ("mse_guess", ("mse_guess", "guess"))):
        found = table.without_stage(name, stages)
        assert found == expected and table.with_stage(*found, stages) == name
    assert table.without_stage("mse_refined", ("refined",)) == ("mse_refined", "refined")


def test_names_of_before_become_todays():
    assert table.current_name("log_likelihood") == ("nll", -1.0)
    assert table.current_name("train/negative_elbo") == ("train/neg_elbo", 1.0)
    assert table.current_name("sim_clevrer_demo-test/kl") == ("sim_clevrer_demo-test/kl", 1.0)
    assert table.current_metrics(
        {"step": 3, "eval/log_likelihood": 2.5, "train/negative_elbo": None, "eval/new": "x"}) == {
            "step": 3, "eval/nll": -2.5, "train/neg_elbo": None, "eval/new": "x"}


def test_an_evaluation_of_before_turns_its_signs_and_intervals():
    old = {"step": 7, "log_likelihood": 30.0, "mse": 0.5,
           "median": {"log_likelihood": 31.0, "mse": 0.25},
           "standard_error": {"log_likelihood": 2.0, "mse": 0.1},
           "interval": {"log_likelihood": [26.0, 34.0], "mse": [0.4, 0.6]}}
    assert table.current_evaluation(old) == {
        "step": 7, "nll": -30.0, "mse": 0.5, "stages": ["predicted", "refined"],
        "median": {"nll": -31.0, "mse": 0.25}, "standard_error": {"nll": 2.0, "mse": 0.1},
        "interval": {"nll": [-34.0, -26.0], "mse": [0.4, 0.6]}}
    todays = table.current_evaluation(old)
    assert table.current_evaluation(todays) == todays
    assert table.current_evaluation({"stages": ["one"]}) == {"stages": ["one"]}
    nothing = table.current_evaluation({"log_likelihood": math.nan, "standard_error": {
        "log_likelihood": None}, "interval": {"log_likelihood": None}})
    assert math.isnan(nothing["nll"]) and nothing["interval"] == nothing["standard_error"] == {
        "nll": None}


def test_no_other_file_lists_metrics():
    """Three names and more in a row; what computes metrics itself may name them."""
    computing = {"metrics", "models", "evaluate.py", "evaluate_rollout.py", "trivial_answers.py",
                 "iodine"}  # by iteration
    name = "|".join(sorted(table.NAMES, key=len, reverse=True))
    several = re.compile(rf'(?:"(?:{name})",\s*){{2,}}"(?:{name})"')
    files = [*(ROOT / "parts_jax").rglob("*.py"), *(ROOT / "benchmarks").rglob("*.py")]
    found = [file.relative_to(ROOT) for file in files if several.search(file.read_text())
             and not computing & set(file.relative_to(ROOT).parts)]
    assert found == []
