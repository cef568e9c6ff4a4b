"""Runs of the version before load, are evaluated, and go on: its config.json and checkpoints."""

import json
import pathlib
import shutil

import jax
import numpy as np
import pytest

import parts_jax
from configs import parts_clevrer, space_rooms
from parts_jax import evaluate, models, train
from parts_jax.runs import (
    checkpoint,
    checkpoint_record,
    config_rules,
    configuration,
    earlier_configs,
)

# The model that came with the package before: config and checkpoint of its format, with optimizer.
DEMO = pathlib.Path(__file__).parent / "earlier_demo"
LAST_STEP = 4


def as_before(config) -> dict:
    """The nested dict that the version before wrote of a config of today."""
    values = json.loads(configuration.to_json(config))
    for old, new in earlier_configs.MOVED.items():
        (section, leaf), (section_now, leaf_now) = old.split("."), new.split(".")
        values[section][leaf] = values[section_now].pop(leaf_now)
    del values["eval"]["best_by"], values["model"]["dtype"], values["optimizer"]["groups"]
    del values["train"]["init_from"], values["train"]["init_from_step"]
    return values


@pytest.fixture(scope="module")
def config(tmp_path_factory, tiny):
    config = parts_clevrer.get_config("demo")
    config.update_from_flattened_dict(tiny | {
        "data.data_dir": str(tmp_path_factory.mktemp("data")),
        "schedule.steps": (LAST_STEP,), "schedule.resolution": (16,), "train.pixels": (2,),
        "train.encoder_pooling": (1,),
        "schedule.learning_rate": (3e-3,), "schedule.warmup_steps": (1,),
        "schedule.final_scale": (0.3,), "model.beta_scale": (0.7,), "model.beta_warmup_steps": 2,
        "train.log_every": 1, "train.evaluate_every": 100, "train.checkpoint_every": 2,
        "eval.num_sequences": 4, "eval.num_pictures": 0, "eval.rollout_steps": 0,
        "eval.best_by": ()})
    return config


@pytest.fixture(scope="module")
def finished(tmp_path_factory, config) -> pathlib.Path:
    """The workdir of a run of today, with checkpoints of steps 2 and 4."""
    workdir = tmp_path_factory.mktemp("finished")
    configuration.claim_workdir(str(workdir), config)
    train.train(config, str(workdir))
    return workdir


@pytest.fixture
def left(tmp_path, config, finished) -> pathlib.Path:
    """The workdir of the version before, of the same run, which was left after step 2."""
    workdir = tmp_path / "left"
    shutil.copytree(finished / "checkpoints" / "2", workdir / "checkpoints" / "2")
    (workdir / "config.json").write_text(json.dumps(as_before(config)))
    record = workdir / "checkpoints" / "2" / "record" / "metadata"
    saved = json.loads(record.read_text())
    record.write_text(json.dumps({"format": 2, "versions": saved["versions"],
                                  "config": as_before(config), "checksums": saved["checksums"]}))
    return workdir


def params_of(workdir: pathlib.Path, config):
    shape = jax.eval_shape(models.create(config).init, jax.random.key(0))
    return checkpoint.restore_params(str(workdir), shape)


def test_the_config_of_before_becomes_that_of_today(config):
    before = as_before(config)
    assert "truncation" in before["model"] and "beta_scale" in before["schedule"]
    copy = json.loads(json.dumps(before))
    loaded = configuration.from_json(json.dumps(before))
    assert loaded.to_dict() == config.to_dict()
    assert earlier_configs.modernised(before) == config.to_dict()
    assert before == copy  # it is not changed
    config_rules.check(loaded, 1)


def test_today_s_config_stays_as_it_is(config):
    """Also one of another family, which has not the keys that PARTS got later."""
    text = configuration.to_json(config)
    assert configuration.to_json(configuration.from_json(text)) == text
    other = config.to_dict() | {"model": {"name": "other", "size": 3, "truncation": 5}}
    assert earlier_configs.modernised(other) == other


def test_what_a_family_has_a_stage_is_one_in_each_stage_of_a_run_of_before():
    config = space_rooms.get_config("tiny")
    for name, value in config.schedule.items():
        config.schedule[name] = tuple(value) * 2
    config.train.pixels = config.train.encoder_pooling = (1, 1)
    before = json.loads(configuration.to_json(config))
    for key in ("sigma_scale", "beta_scale", "spread_offset"):
        del before["model"][key]
    model = earlier_configs.modernised(before)["model"]
    assert model["sigma_scale"] == model["beta_scale"] == (1, 1) and model["spread_offset"] == 0
    config_rules.check(configuration.from_json(json.dumps(before)), 1)


def test_a_metric_that_has_another_name_now(config):
    before = as_before(config)
    before["eval"]["best_by"] = ["log_likelihood", "mse"]
    assert configuration.from_json(json.dumps(before)).eval.best_by == ("nll", "mse")


def test_a_run_of_before_goes_on_bit_for_bit(left, config, finished):
    configuration.claim_workdir(str(left), config)
    train.train(config, str(left))
    params, step = params_of(left, config)
    expected, _ = params_of(finished, config)
    assert step == LAST_STEP
    jax.tree.map(np.testing.assert_array_equal, params, expected)
    assert json.loads((left / "config.json").read_text())["train"]["truncation"] == 2


def test_a_run_of_before_with_another_value_of_a_moved_key_is_refused(left, config):
    other = config.copy_and_resolve_references()
    other.train.truncation = 3
    with pytest.raises(configuration.DifferentConfigError,
                       match=r"differ in:\n  train.truncation: 2 there, 3 now$"):
        configuration.check_workdir(str(left), other)
    record = checkpoint_record.read(left / "checkpoints" / "2", "It")
    checkpoint_record.check_config(record, config.to_dict(), "It")
    with pytest.raises(configuration.DifferentConfigError, match="train.truncation: 2 there, 3"):
        checkpoint_record.check_config(record, other.to_dict(), "It")


def test_a_run_of_before_is_evaluated(left, config, finished):
    """With today's numbers of the same checkpoint."""
    loaded = configuration.load(str(left))
    here = configuration.for_evaluation(loaded, {"eval.step": 2, "eval.split": "validation"})
    scores = evaluate.evaluate(here, str(left))
    there = configuration.for_evaluation(configuration.load(str(finished)), {"eval.step": 2})
    assert scores == evaluate.evaluate(there, str(finished))


def test_a_model_of_before_is_loaded():
    """The config.json is that of the version before, and the checkpoint, which has no record."""
    assert "truncation" in json.loads((DEMO / "config.json").read_text())["model"]
    model = parts_jax.load(DEMO)
    config_rules.check(model.config, 1)
    assert (model.config.eval.length, model.config.eval.length_clips) == (200, 16)
    assert (model.config.data.action_size, model.config.train.truncation) == (0, 4)
    assert model.config.model.beta_scale == (1.0, 0.3)
    assert model.config.train.rollout == 0 and model.config.model.transition.decay == 0
    video = np.random.default_rng(0).integers(0, 256, (3, 32, 32, 3), np.uint8)
    found = model.segment(video)
    assert found.masks.shape == (3, 4, 32, 32) and np.isfinite(found.masks).all()


@pytest.mark.parametrize("old, new", earlier_configs.MOVED.items())
def test_a_moved_key_is_refused_with_its_new_place(config, old, new):
    with pytest.raises(ValueError, match=f"no key '{old}'; it has moved to '{new}'.$"):
        configuration.check_key(config, old)


def test_the_size_of_actions_cannot_be_set_to_evaluate_a_model(config):
    with pytest.raises(ValueError, match="data.action_size=2 would change the trained model, "
                                         "which has 0; only eval.* and data.*, but for "
                                         "data.action_size, can be set"):
        configuration.for_evaluation(config, {"data.action_size": 2})
