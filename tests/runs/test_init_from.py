"""train.init_from: what a new run takes of another's parameters, and what it says of the rest."""

import json
import re
import shutil
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from absl import logging
from absl.testing import flagsaver

from configs import parts_clevrer
from parts_jax import main, models, train
from parts_jax.evaluation import writing
from parts_jax.runs import (
    checkpoint,
    checkpoint_record,
    configuration,
    init_from,
    parameters_only,
)

SHORT = {"schedule.steps": (1,), "schedule.resolution": (16,), "train.pixels": (2,),
        "train.encoder_pooling": (1,), "schedule.learning_rate": (3e-3,),
         "schedule.warmup_steps": (0,), "schedule.final_scale": (0.1,), "model.beta_scale": (1.0,),
         "eval.rollout_steps": 0, "eval.best_by": ()}


@pytest.fixture(scope="module")
def other(tmp_path_factory, save_untrained):
    """The run to start from: checkpoints of two steps, that of step 7 the newest."""
    return save_untrained(tmp_path_factory.mktemp("other") / "run", steps=(0, 7))


@pytest.fixture
def config_of(tiny):
    """A config with changes, which starts from a run."""
    def make(source, **changes):
        config = parts_clevrer.get_config("demo")
        config.update_from_flattened_dict(
            tiny | {"train.init_from": str(source)}
            | {key.replace("__", "."): value for key, value in changes.items()})
        return config
    return make


def shape_of(config):
    return jax.eval_shape(models.create(config).init, jax.random.key(0))


def new_params(config):
    """Zeros, which no parameter of the other run is."""
    return jax.tree.map(lambda leaf: np.zeros(leaf.shape, leaf.dtype), shape_of(config))


def saved_params(workdir, config, step=-1):
    return checkpoint.restore_params(str(workdir), shape_of(config), step)[0]


@pytest.fixture
def command(monkeypatch, tiny, tmp_path, tmp_path_factory):
    """Calls parts_jax.main in this process, with a step that learns nothing, and no evaluation."""
    def no_step(state, batch, **_):
        metrics = {key: jnp.zeros((), int) for key in ("skipped_steps", "skipped_in_a_row")}
        return state.replace(step=state.step + 1), metrics

    monkeypatch.setattr(train, "train_step", no_step)
    monkeypatch.setattr(main, "prepare_devices", lambda: None)
    monkeypatch.setattr(main, "quiet_libraries", lambda: None)
    monkeypatch.setattr(writing, "evaluate_and_write", lambda *_: {})
    monkeypatch.setattr(writing, "evaluate_in_training", lambda *_: {})
    monkeypatch.chdir(tmp_path)

    def call(*arguments: str) -> None:
        values = tiny | SHORT | {"data.data_dir": str(tmp_path_factory.getbasetemp() / "data")}
        argv = ["main", f"--config={parts_clevrer.__file__}:demo", "--workdir=own",
                *(f"--config.{key}={value}" for key, value in values.items()), *arguments]
        monkeypatch.setattr(sys, "argv", argv)
        saved = flagsaver.save_flag_values()
        try:
            main.main(main.parse_flags(argv))
        finally:
            flagsaver.restore_flag_values(saved)

    return call


def test_a_run_starts_from_another_and_goes_on_from_its_own(command, other, tmp_path, monkeypatch):
    """With other K and T; after one step, which learns nothing, its parameters are the other's."""
    shutil.copytree(other, tmp_path / "source")
    call = ("--config.train.init_from=source", "--config.model.num_slots=2",
            "--config.data.num_frames=3", "--config.train.truncation=3",
            "--config.train.rollout=2")
    command(*call)
    config = configuration.load("own")
    assert config.train.init_from == "source" and config.model.num_slots == 2
    jax.tree.map(np.testing.assert_array_equal, saved_params("own", config),
                 saved_params(other, configuration.load(str(other))))
    with checkpoint.open_checkpoints("own") as manager:
        assert manager.all_steps() == [1]

    shutil.rmtree(tmp_path / "source")
    monkeypatch.setattr(train.init_from, "start", lambda *_: pytest.fail("It began anew."))
    command(*call)


def test_what_fits_is_taken_and_the_rest_is_said(config_of, other, caplog):
    """A wider part: shapes that differ; one layer less: what is not used; one more: what is new."""
    logging.set_verbosity(logging.INFO)
    config = config_of(other, model__transition__mlp_width=6, model__encoder__channels=(4, 4),
                       model__attention__mlp=())
    params = new_params(config)
    started = init_from.start(config, params)
    there = saved_params(other, configuration.load(str(other)))
    jax.tree.map(np.testing.assert_array_equal, started["decoder"], there["decoder"])
    block = started["transition"]["block_0"]
    assert not block["mlp"]["Dense_0"]["kernel"].any()
    np.testing.assert_array_equal(block["attention"]["key"]["kernel"],
                                  there["transition"]["block_0"]["attention"]["key"]["kernel"])
    taken, shapes, new, unused, differ = (
        text for text in caplog.messages if text.startswith(init_from.KEY))
    assert f"train.init_from={other}, step 7: " in taken and "decoder/*" in taken
    assert "transition/block_0/mlp/Dense_0/kernel [8, 8] there, [8, 6] here" in shapes
    assert new.endswith("as it has none of that path: encoder/conv_1/*.")
    assert unused.endswith("as this run has none of that path: attention/update/Dense_1/*.")
    assert differ == (
        f"train.init_from={other}: config.model differs: attention.mlp (8,) there, () here; "
        "encoder.channels (4,) there, (4, 4) here; transition.mlp_width 8 there, 6 here.")
    assert init_from.start(config_of(""), params) is params


def test_a_run_with_actions_takes_all_but_their_rows_of_one_without(config_of, other, caplog):
    logging.set_verbosity(logging.INFO)
    config = config_of(other, data__action_size=2)
    started, there = (init_from._by_path(tree) for tree in (
        init_from.start(config, new_params(config)),
        saved_params(other, configuration.load(str(other)))))
    longer = {name for name, leaf in started.items() if leaf.shape != there[name].shape}
    assert {"attention/query/kernel", "attention/norm_query/scale", "attention/norm_update/bias",
            "attention/update/Dense_0/kernel", "transition/input/kernel"} <= longer
    for name, leaf in started.items():
        rows = len(there[name]) if name in longer else None
        np.testing.assert_array_equal(leaf[:rows], there[name], err_msg=name)
        assert name not in longer or (len(leaf) == rows + 2 and not leaf[rows:].any())
    said = [text for text in caplog.messages if text.startswith(init_from.KEY)]
    assert len(said) == 2 and f"of {len(longer)} more all but the rows of the actions" in said[1]

    # Two more than three are no actions of a model that had none.
    shapes = [{"a": np.zeros((n, 3)), "b": np.zeros(1)} for n in (5, 3)]
    assert init_from._compare(*shapes, "it").other_shape == ["a"]
    assert init_from._compare(*shapes, "it", added_actions=2).but_actions == ["a"]
    assert init_from._compare(*shapes, "it", added_actions=1).other_shape == ["a"]


def test_the_step_can_be_chosen(config_of, other):
    config = config_of(other, train__init_from_step=0)
    started = init_from.start(config, new_params(config))
    jax.tree.map(np.testing.assert_array_equal, started, saved_params(other, config, 0))


def test_names_of_the_zoo_can_be_started_from():
    """The checkpoint is of the first format, which has no record."""
    config = parts_clevrer.get_config("demo")
    config.update_from_flattened_dict({"train.init_from": "demo", "data.resolution": 64,
                                       "schedule.resolution": (32, 64), "model.num_slots": 6})
    started = init_from.start(config, new_params(config))
    assert all(leaf.any() for leaf in jax.tree.leaves(started))


def damage(run, step):
    path = run / "checkpoints" / str(step) / "state" / "_METADATA"
    path.write_bytes(path.read_bytes()[:100])


def test_a_damaged_newest_is_passed_over_aloud_and_nothing_is_changed(config_of, other, tmp_path,
                                                                       caplog):
    run = shutil.copytree(other, tmp_path / "run")
    damage(run, 7)
    config = config_of(run)
    started = init_from.start(config, new_params(config))
    jax.tree.map(np.testing.assert_array_equal, started, saved_params(other, config, 0))
    assert "step 7 in " in caplog.text and "cannot be read" in caplog.text
    assert (run / "checkpoints" / "7").is_dir()
    config.train.init_from_step = 7
    with pytest.raises(checkpoint.UnreadableError, match="no checkpoint .* that can be read"):
        init_from.check(config, str(tmp_path / "own"))


def test_what_fits_nowhere_is_refused_with_some_of_the_shapes(config_of, other, tmp_path):
    config = config_of(other)
    params = jax.tree.map(lambda leaf: np.zeros((3, *leaf.shape)), shape_of(config))
    message = (r"Only there: none; only here: none; in other shapes: attention/key/kernel \[8, 8\] "
               r"there, \[3, 8, 8\] here; .*; and \d+ more\.$")
    with pytest.raises(ValueError, match=message):
        init_from.start(config, params)


@pytest.mark.parametrize("source, arguments, message", [
    ("nowhere", (), "train.init_from=nowhere: there is no folder '.*/nowhere' to start from; by "),
    ("empty", (), "no checkpoint in '.*/empty': it has no checkpoints/"),
    ("gs://bucket/run", (), "train.init_from is 'gs://bucket/run', an address"),
    ("damaged", (), "damaged has no checkpoint to start from that can be read. The checkpoint of"),
    ("future", (), "is of format 4, written by parts_jax .* reads formats 1 to 3"),
    ("other", ("--config.train.init_from_step=5",), "no checkpoint of step 5 in"),
    ("other", ("--config.train.init_from_step=-2",), "No checkpoint in .* is known as the best"),
    ("other", ("--config.train.init_from_step=-3",), "init_from_step is -3, but must be a whole"),
    ("stranger", (), "none of its 1 parameters has path and shape .* Only there: all; only here: "),
])
def test_what_cannot_be_started_from_is_refused_before_anything_is_made(
        command, other, tmp_path, monkeypatch, capsys, source, arguments, message):
    def too_late(*_, **__):
        raise AssertionError("It was not refused in time.")

    monkeypatch.setattr(main, "prepare_data", too_late)
    (tmp_path / "empty").mkdir()
    if source in ("damaged", "future", "other"):
        run = shutil.copytree(other, tmp_path / source)
    if source == "damaged":
        damage(run, 0)
        damage(run, 7)
    if source == "future":
        path = run / "checkpoints" / "7" / "record" / "metadata"
        record = json.loads(path.read_text())
        del record["checksum"]
        path.write_text(json.dumps(checkpoint_record.sealed(record | {"format": 4})))
    if source == "stranger":
        (tmp_path / "stranger").mkdir()
        parameters_only.save(tmp_path / "stranger", 1, {"other": np.zeros(3)}, {})
    with pytest.raises(SystemExit) as exit:
        command(f"--config.train.init_from={source}", *arguments)
    assert exit.value.code == 2
    said = capsys.readouterr().err.strip().splitlines()[-1]
    assert said.startswith("Error: ") and re.search(message, said), said
    assert not (tmp_path / "own").exists()
