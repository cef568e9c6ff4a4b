"""Probes of slots: factors and matching by hand, scores of what is known, and a tiny model."""

import jax
import numpy as np
import pytest

from benchmarks import probe
from benchmarks.paper import clips
from configs import parts_clevrer
from parts_jax import models
from parts_jax.data import pipeline


def test_factors_of_an_object_by_hand():
    frame, mask = np.zeros((4, 8, 3), np.uint8), np.zeros((4, 8), bool)
    frame[:2, :2], mask[:2, :2] = (255, 0, 51), True
    found = probe.factors_of(frame, mask)
    np.testing.assert_allclose(found["position"], [-0.75, -0.5])
    np.testing.assert_allclose(found["size"], np.log([4 / 32]))
    np.testing.assert_allclose(found["colour"], [1, 0, 0.2])


def test_objects_are_matched_to_one_slot_each_and_specks_to_none():
    true, found = np.zeros((8, 8), int), np.zeros((8, 8), int)
    true[:4, :4], true[4:, 4:], true[0, 7] = 1, 2, 3  # the third is one pixel
    found[:4, :4], found[4:, 4:], found[4, 4] = 2, 1, 2
    pairs = probe.match(true, found, 3)
    assert [pair[:2] for pair in pairs] == [(1, 2), (2, 1)]
    np.testing.assert_allclose([pair[2] for pair in pairs], [16 / 17, 15 / 16])
    assert probe.match(np.zeros((8, 8), int), found, 3) == []


def drawn_objects(num: int, seed: int) -> probe.Objects:
    """Slots that tell position and colour's name, and noise in place of all else."""
    rng = np.random.default_rng(seed)
    place, words = rng.uniform(-1, 1, (num, 2)), rng.choice(["red", "blue"], num)
    noise = lambda size: rng.normal(size=(num, size))
    slots = np.concatenate([place @ [[1, 2], [0.5, -1]], (words == "red")[:, None] * 2.0,
                            noise(1)], axis=1)
    factors = {"position": place, "size": noise(1), "colour": noise(3), "colour name": words,
               "shape name": np.full(num, "cube")}
    return probe.Objects({"slots": slots, "untrained": noise(4), "pixels": noise(12)}, factors,
                         np.ones(num))


def test_scores_tell_what_slots_hold_and_what_they_do_not():
    scores = probe.scores_of(drawn_objects(300, 0), drawn_objects(100, 1))
    assert set(scores) == {"position", "size", "colour", "colour name"}  # all shapes are alike
    assert scores["position"]["slots"] > 0.99 and scores["colour name"]["slots"] == 1
    for source in ("untrained", "pixels"):
        assert scores["position"][source] < 0.1 and scores["colour name"][source] < 0.7
    assert abs(scores["size"]["slots"]) < 0.1 and abs(scores["size"]["nothing"]) < 0.1


@pytest.fixture
def tiny_model(tiny, monkeypatch):
    """A model of random parameters, and clips of two named squares."""
    config, rng = parts_clevrer.get_config("demo"), np.random.default_rng(0)
    config.update_from_flattened_dict(tiny)
    model = models.create(config)
    params = jax.tree.map(lambda p: 0.3 * rng.normal(size=p.shape).astype(np.float32),
                          jax.eval_shape(model.init, jax.random.key(0)))
    segmentation = np.zeros((4, 16, 16), np.uint8)
    segmentation[:, :5, :5], segmentation[:, 8:, 8:12] = 1, 2
    examples = [{"video": rng.integers(0, 256, (4, 16, 16, 3), np.uint8),
                 "segmentation": segmentation, "objects": [b"red big cube", b"blue ball"]}
                for _ in range(5)]
    split = pipeline.Split(examples, fewest_frames=4)
    monkeypatch.setattr(pipeline, "open_split", lambda data_config, name: split)
    monkeypatch.setattr(clips, "load", lambda workdir, step: clips.Trained(
        config, model, params, 7))
    return examples, model


def test_a_model_is_probed_by_the_contract_alone(tiny_model):
    examples, _ = tiny_model
    report = probe.measure("run", train_clips=0, test_clips=3)
    assert report["test_objects"] == 6 and report["train_objects"] == 10 and report["step"] == 7
    assert set(report["scores"]) == {*probe.NUMBERS, *probe.CLASSES}
    for found in report["scores"].values():
        assert set(found) == {*probe.SOURCES, "nothing"} and np.isfinite(list(found.values())).all()
    assert report["scores"]["shape name"]["nothing"] == 0.5 and 0 < report["overlap"] < 1
    lines = probe.table(report).splitlines()
    assert len(lines) == 4 + 5 and lines[4].startswith("| position | R2 | ")
    del examples[0]["segmentation"]
    with pytest.raises(ValueError, match="has no true masks, by which objects are matched"):
        probe.measure("run", train_clips=1)


def test_what_cannot_be_probed_is_refused_in_a_sentence(tiny_model, monkeypatch):
    with pytest.raises(ValueError, match="--test_clips is -1, but must be 0 .all. or more"):
        probe.measure("run", test_clips=-1)
    config = parts_clevrer.get_config("demo")
    monkeypatch.setattr(clips, "load", lambda workdir, step: clips.Trained(
        config, tiny_model[1]._replace(slot_size=None), None, 0))
    with pytest.raises(ValueError, match="family 'parts' have no slots to probe"):
        probe.measure("run")
