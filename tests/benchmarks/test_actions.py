"""Roll-outs with actions that are not the clip's own: which, and what is told of them."""

import json

import numpy as np
import pytest

from benchmarks import actions
from configs import parts_clevrer
from parts_jax.data import pipeline
from parts_jax.runs import configuration

BURN_IN, S, A = 4, 2, 2


@pytest.fixture(scope="module")
def workdir(tmp_path_factory, save_untrained):
    return save_untrained(tmp_path_factory.mktemp("actions") / "run", steps=(1,),
                          data__action_size=A, eval__rollout_steps=S)


@pytest.fixture
def clips(monkeypatch):
    """Five examples, which the test split has: two batches, the last of one and of copies."""
    rng = np.random.default_rng(0)
    examples = [{
        "video": rng.integers(0, 256, (BURN_IN + S, 16, 16, 3), np.uint8),
        "segmentation": rng.integers(0, 3, (BURN_IN + S, 16, 16), np.uint8),
        "actions": rng.normal(size=(BURN_IN + S, A)).astype(np.float32)} for _ in range(5)]
    monkeypatch.setattr(pipeline, "open_split", lambda config, name: pipeline.Split(
        examples, BURN_IN + S))
    return examples


def test_what_leads_to_the_burn_in_is_true_and_what_follows_is_another_clips():
    true = np.arange(3 * 5 * A, dtype=np.float32).reshape(3, 5, A) + 1
    found = actions.others(true, burn_in=3)
    assert list(found) == list(actions.GIVEN)
    np.testing.assert_array_equal(found["true"], true)
    for name in actions.GIVEN:  # a_0 and a_1 lead to the frames 1 and 2, which are seen
        np.testing.assert_array_equal(found[name][:, :2], true[:, :2])
    assert not found["zeros"][:, 2:].any()
    np.testing.assert_array_equal(found["another clip's"][:, 2:], true[[2, 0, 1], 2:])


def test_roll_outs_differ_from_the_first_frame_ahead_on(workdir, clips):
    report, picture = actions.measure(str(workdir))
    report = json.loads(json.dumps(report))
    assert (report["num_sequences"], report["burn_in"]) == (5, BURN_IN)
    given = report["given"]
    assert list(given) == list(actions.GIVEN)
    for name in actions.GIVEN[1:]:  # an untrained model heeds them at once
        for step in range(S):
            assert given[name]["mse"][step] != given["true"]["mse"][step]
        assert given[name]["repeat_mse"] == given["true"]["repeat_mse"]
    rows = picture[16:].reshape(4, 5, 34, -1, 3)  # true frames, predicted, masks, zeros, another's
    first = [clip["video"][0] for clip in clips[:4]]
    np.testing.assert_array_equal(rows[:, 0, :32:2, 2:34:2], first)
    ahead = rows[:, :, :, 2 + BURN_IN * 34:]
    assert (ahead[:, 1] != ahead[:, 3]).any() and (ahead[:, 3] != ahead[:, 4]).any()
    for clip in clips:
        clip["actions"][:] = 0
    same, picture = actions.measure(str(workdir))
    assert same["given"]["true"] == same["given"]["zeros"] == same["given"]["another clip's"]
    ahead = picture[16:].reshape(4, 5, 34, -1, 3)[..., 2 + BURN_IN * 34:, :]
    np.testing.assert_array_equal(ahead[:, 1], ahead[:, 3])


def test_the_table_is_of_some_horizons_and_the_last():
    given = {name: {"mse": [0.01 * (step + 1) * factor for step in range(11)], "psnr": [20.0] * 11}
             for name, factor in zip(actions.GIVEN, (1, 2, 4), strict=True)}
    given["zeros"]["mse"][0] = 0.0
    text = actions.table({
        "workdir": "runs/arm", "dataset": "sim_robotics_arm/demo", "split": "test", "seed": 3,
        "step": 7, "num_sequences": 5, "burn_in": 4, "given": given}).splitlines()
    assert text[0] == ("runs/arm, sim_robotics_arm/demo test, seed 3, step 7; 5 clips, 4 frames "
                       "seen; means over clips.")
    assert text[2] == "| frames ahead | 1 | 2 | 4 | 8 | 11 |"
    assert text[4] == "| MSE, actions: true | 0.01000 | 0.02000 | 0.04000 | 0.08000 | 0.11000 |"
    assert text[-2:] == [
        "| MSE of the true ones, below that of zeros | - | 50.0% | 50.0% | 50.0% | 50.0% |",
        "| MSE of the true ones, below that of another clip's | 75.0% | 75.0% | 75.0% | 75.0% "
        "| 75.0% |"]
    assert len(text) == 2 + 2 + 2 * 3 + 2  # there are no masks


def test_what_cannot_be_measured_is_a_sentence(workdir, clips):
    config = configuration.load(str(workdir))
    assert actions.config_for(config, 0, 7).eval.rollout_steps == S
    assert actions.config_for(config, 9, 7).eval.rollout_steps == 9
    with pytest.raises(ValueError, match="was trained without actions"):
        actions.config_for(parts_clevrer.get_config("demo"), 0, 8)
    config.eval.rollout_steps = 0
    with pytest.raises(ValueError, match="--num_steps must say how many frames are predicted"):
        actions.config_for(config, 0, 8)
    with pytest.raises(ValueError, match="split must be one of .*; got 'tset'"):
        actions.measure(str(workdir), split="tset")
    with pytest.raises(ValueError, match="0 or more; got -1 and 8"):
        actions.measure(str(workdir), num_steps=-1, num_sequences=8)
    del clips[1:]
    with pytest.raises(ValueError, match="has but 1 clip to evaluate; two or more"):
        actions.measure(str(workdir))
