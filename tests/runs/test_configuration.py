"""Every bad value is refused in a full sentence; config.json keeps a run to its config."""

import os
import pathlib
import subprocess
import sys

import ml_collections
import pytest

from parts_jax import main
from parts_jax.models import parts
from parts_jax.runs import config_rules, configuration, earlier_configs

ROOT = pathlib.Path(__file__).parents[2]
FILE = str(ROOT / "configs" / "parts_clevrer.py")
VARIANTS = ("paper", "small", "hd", "laptop", "demo", "mixed", "predict",
            "demo_full_colour", "tiny")


def config_with(**changes) -> ml_collections.ConfigDict:
    config = configuration.read(f"{FILE}:demo").copy_and_resolve_references()
    with config.unlocked(), config.ignore_type():
        config.update_from_flattened_dict({k.replace("__", "."): v for k, v in changes.items()})
    return config


@pytest.mark.parametrize("variant", VARIANTS)
def test_shipped_configs_pass_on_one_and_two_devices(variant):
    config = configuration.read(f"{FILE}:{variant}")
    config_rules.check(config, 1)
    config_rules.check(config, 2)


@pytest.mark.parametrize(
    "key, value, allowed",
    [
        ("data.num_frames", 0, "1 or more"),
        ("data.num_frames", 6.0, "whole number"),
        ("data.num_frames", True, "whole number"),
        ("data.stride", 0, "1 or more"),
        ("model.num_slots", 0, "1 or more"),
        ("model.num_slots", -3, "1 or more"),
        ("model.sigma_x", 0.0, "above 0"),
        ("model.sigma_x", -0.1, "above 0"),
        ("model.sigma_x", float("nan"), "above 0"),
        ("model.beta", -1e-6, "0 or more"),
        ("train.truncation", 0, "1 or more"),
        ("model.num_refinements", 0, "1 or more"),
        ("model.decoder.colour", "fulll", "full, constant, affine, quadratic, shaded"),
        ("model.dtype", "float16", "float32, bfloat16"),
        ("model.decoder.kernel_size", 2, "odd"),
        ("model.decoder.kernel_size", -1, "1 or more"),
        ("model.encoder.kernel_size", 4, "odd"),
        ("model.encoder.kernel_size", 0, "1 or more"),
        ("model.encoder.channels", (16, 0), "each 1 or more"),
        ("model.decoder.channels", 64, "a tuple"),
        ("optimizer.name", "sgd", "rmsprop, adam"),
        ("optimizer.decay", 1.0, "below 1"),
        ("optimizer.clip_norm", 0.0, "above 0"),
        ("schedule.steps", (0, 10), "each 1 or more"),
        ("schedule.steps", 10, "a tuple"),
        ("schedule.resolution", (12, 32), "data.resolution, which is 32"),
        ("schedule.resolution", (16, 64), "data.resolution, which is 32"),
        ("schedule.learning_rate", (1e-3, -1e-3), "each 0.0 or more"),
        ("schedule.learning_rate", (1e-3, float("inf")), "finite numbers"),
        ("model.sigma_x", float("inf"), "finite"),
        ("schedule.final_scale", (0.1, 1.5), "1.0 or less"),
        ("schedule.warmup_steps", (100, 9_999), "below schedule.steps"),
        ("model.beta_warmup_start", 1.1, "from 0 to 1"),
        ("train.log_every", 0, "1 or more"),
        ("train.batch_size", 0, "1 or more"),
        ("eval.step", -3, "-2 or more"),
        ("eval.best_by", ("fg_ari_last", "fun"), "a tuple of names, each one of fg_ari_last, "),
        ("eval.best_by", "mse", "a tuple of names"),
        ("eval.burn_in", 0, "1 or more"),
        ("eval.rollout_steps", -1, "0 or more"),
        ("eval.length", -1, "0 or more"),
        ("eval.length_clips", 0, "1 or more"),
    ],
)
def test_bad_values_are_named_with_what_is_allowed(key, value, allowed):
    with pytest.raises(ValueError) as caught:
        config_rules.check(config_with(**{key: value}), 1)
    message = str(caught.value)
    assert message.startswith(f"{key} is {value!r}, but must be ")
    assert allowed in message and message.endswith(".")


def test_every_key_has_a_rule():
    """And no rule is of a key that there is not."""
    keys = set(configuration.flatten(config_with()))
    assert keys == set(config_rules.RULES) | {f"model.{key}" for key in parts.KEYS}


@pytest.mark.parametrize("key, near", [
    ("num_slot", "the nearest is 'num_slots'"),
    ("decoder.color", "the nearest is 'decoder.colour'"),
    ("xyz", "they have: name, dtype, num_slots, ")])
def test_a_key_that_the_family_does_not_have_is_refused(key, near):
    config = config_with()
    with config.unlocked():
        config.update_from_flattened_dict({f"model.{key}": 3})
    with pytest.raises(ValueError) as caught:
        config_rules.check(config, 1)
    assert str(caught.value).startswith(
        f"The config has the key model.{key}, but models of the family 'parts' have none of that "
        f"name; {near}")


@pytest.mark.parametrize("key, near", [
    ("train.bach_size", "; the nearest is 'train.batch_size'"), ("eval.zzz", r"\."),
    ("optimizer.clip", "; the nearest is 'optimizer.clip_norm'"),
])
def test_a_key_that_nothing_reads_is_refused(key, near):
    config = config_with()
    with config.unlocked():
        config.update_from_flattened_dict({key: 3})
    with pytest.raises(ValueError, match=f"has the key '{key}', which nothing reads{near}"):
        config_rules.check(config, 1)


@pytest.mark.parametrize("section, key", [("model", "sigma_x"), ("model.decoder", "channels")])
def test_a_key_that_the_family_needs_is_missed(section, key):
    config = config_with()
    with config.unlocked():
        del config[section][key]
    with pytest.raises(ValueError, match=f"has no key {section}.{key}, but models of the family "
                                         "'parts' need it; it must be a "):
        config_rules.check(config, 1)


GROUP = dict(prefix="decoder", name="adam", decay=0.9, momentum=0.5, learning_rate_scale=0.1)


@pytest.mark.parametrize("change, message", [
    ({"decay": 1.0}, "optimizer.groups.mine.decay is 1.0, but must be a number from 0 to 1, below"),
    ({"name": "sgd"}, "optimizer.groups.mine.name is 'sgd', but must be one of rmsprop, adam."),
    ({"prefix": ""}, "optimizer.groups.mine.prefix is '', but must be the beginning of a "),
    ({"prefix": "decoder/"}, "optimizer.groups.mine.prefix is 'decoder/', but must be the "),
    ({"learning_rate_scale": -0.1}, "groups.mine.learning_rate_scale is -0.1, but must be a "),
    ({"decy": 0.9}, "has the key optimizer.groups.mine.decy, but groups of parameters have none of "
                    "that name; the nearest is 'decay'."),
    ({"decay": None}, "has no key optimizer.groups.mine.decay, but groups of parameters need it; "),
])
def test_groups_of_parameters_have_their_keys_and_values(change, message):
    config = config_with()
    with config.unlocked():
        config.optimizer.groups = ml_collections.ConfigDict({"mine": GROUP})
        config_rules.check(config, 1)
        for key, value in change.items():
            with config.ignore_type():
                config.optimizer.groups.mine[key] = value
            if value is None:
                del config.optimizer.groups.mine[key]
    with pytest.raises(ValueError) as caught:
        config_rules.check(config, 1)
    assert message in str(caught.value)


def test_a_group_without_keys_is_refused():
    config = config_with()
    with config.unlocked():
        config.optimizer.groups.mine = "decoder"
    with pytest.raises(ValueError, match="groups.mine is 'decoder', but must have the keys prefix"):
        config_rules.check(config, 1)


def test_groups_are_kept_in_config_json(tmp_path):
    """And a run with other groups is another run."""
    config = config_with()
    with config.unlocked():
        config.optimizer.groups.mine = ml_collections.ConfigDict(GROUP)
    configuration.claim_workdir(str(tmp_path), config)
    assert configuration.load(str(tmp_path)).to_dict() == config.to_dict()
    with pytest.raises(configuration.DifferentConfigError, match="groups.mine.prefix: 'decoder'"):
        configuration.check_workdir(str(tmp_path), config_with())


@pytest.mark.parametrize("name", ["part", "xyz"])
def test_a_family_that_there_is_not(name):
    with pytest.raises(ValueError, match=f"model.name is '{name}'; there is: parts"):
        config_rules.check(config_with(model__name=name), 1)


@pytest.mark.parametrize("old, new", earlier_configs.MOVED.items())
def test_keys_of_before_in_a_config_file_are_refused(old, new):
    config = config_with()
    with config.unlocked():
        config.update_from_flattened_dict({old: 3})
    with pytest.raises(ValueError, match=f"has the key '{old}', which has moved to '{new}'.$"):
        config_rules.check(config, 1)


@pytest.mark.parametrize("share, frames, now", [
    (0.25, 16, dict(rollout=13, burn_in=(3, 15), rollout_share=0.25)),
    (0.5, 0, dict(rollout=5, burn_in=(3, 7), rollout_share=0.5)),
    (0.0, 16, dict(rollout=0, burn_in=(4, 4), rollout_share=1.0))])
def test_a_blind_share_of_before_is_a_rollout_to_the_end(share, frames, now):
    config = configuration.read(f"{FILE}:demo").to_dict()
    for key in ("rollout", "burn_in", "rollout_share"):
        del config["train"][key]
    config["train"] |= {"blind_share": share, "burn_in": 3}
    config["data"] |= {"num_frames": 8, "train_frames": frames}
    found = earlier_configs.modernised(config)["train"]
    assert now.items() <= found.items() and "blind_share" not in found


def test_a_key_that_every_config_has_is_missed():
    config = config_with()
    with config.unlocked():
        del config.eval.watch
    with pytest.raises(ValueError, match="has no key 'eval.watch', which must be one of False, Tr"):
        config_rules.check(config, 1)


def test_batch_and_devices_are_both_named():
    with pytest.raises(ValueError, match=r"train\.batch_size is 6, .* over 4 devices"):
        config_rules.check(config_with(train__batch_size=6), 4)
    config_rules.check(config_with(train__batch_size=6), 2)


def test_evaluation_asks_for_no_number_of_devices():
    """It trains on no batch, and fills its own up."""
    config_rules.check(config_with(train__batch_size=6), None)
    config_rules.check(config_with(eval__batch_size=6), 4)


def test_stages_of_different_lengths_are_counted():
    with pytest.raises(ValueError, match=r"schedule\.steps has 1, schedule\.resolution has 2"):
        config_rules.check(config_with(schedule__steps=(10,)), 1)
    empty = {f"schedule.{key}": () for key in
             ("steps", "resolution", "learning_rate", "warmup_steps", "final_scale")}
    with pytest.raises(ValueError, match="one or more stages"):
        config_rules.check(config_with(**empty), 1)


def test_width_and_heads_are_both_named():
    changes = {"model.transition.width": 30, "model.transition.num_heads": 4}
    with pytest.raises(ValueError, match=r"width is 30 and model\.transition\.num_heads is 4"):
        config_rules.check(config_with(**changes), 1)


@pytest.mark.parametrize("variant", VARIANTS)
def test_json_round_trip_keeps_tuples_and_types(variant):
    config = configuration.read(f"{FILE}:{variant}")
    restored = configuration.from_json(configuration.to_json(config))
    assert restored.to_dict() == config.to_dict()
    assert isinstance(restored.schedule.steps, tuple)
    assert isinstance(restored.model.decoder.channels, tuple)
    assert restored.is_locked


def test_differences_name_keys_and_both_values():
    a, b = config_with(seed=1), config_with(**{"model.num_slots": 5})
    with b.unlocked():
        b.model.extra = 1
    assert configuration.differences(a, b) == [
        ("model.extra", "(absent)", 1), ("model.num_slots", 4, 5), ("seed", 1, 0)]
    assert configuration.differences(a, a) == []


def test_workdir_is_kept_to_its_config(tmp_path):
    workdir = str(tmp_path / "a" / "run")
    configuration.claim_workdir(workdir, config_with())
    assert configuration.load(workdir).to_dict() == config_with().to_dict()
    before = (tmp_path / "a" / "run" / "config.json").read_text()

    other = config_with(**{"model.num_slots": 5, "seed": 3, "train.log_every": 7})
    with pytest.raises(ValueError) as caught:
        configuration.claim_workdir(workdir, other)
    message = str(caught.value)
    assert "model.num_slots: 4 there, 5 now" in message and "seed: 0 there, 3 now" in message
    assert "log_every" not in message
    assert (tmp_path / "a" / "run" / "config.json").read_text() == before
    assert os.listdir(workdir) == ["config.json"]


@pytest.mark.parametrize("key, value", [
    ("eval.split", "test"), ("train.log_every", 7), ("train.evaluate_every", 7),
    ("train.checkpoint_every", 7), ("train.keep_checkpoints", 7), ("data.data_dir", "x"),
    ("data.num_threads", 7)])
def test_what_does_not_change_the_parameters_may_change(tmp_path, key, value):
    configuration.claim_workdir(str(tmp_path), config_with())
    configuration.claim_workdir(str(tmp_path), config_with(**{key: value}))
    assert configuration.flatten(configuration.load(str(tmp_path)))[key] == value


@pytest.mark.parametrize("key, value", [
    ("data.num_frames", 7), ("data.flip", True), ("train.batch_size", 16),
    ("optimizer.decay", 0.5), ("schedule.steps", (3_500, 601)), ("model.beta", 0.4)])
def test_what_changes_the_parameters_may_not_change(tmp_path, key, value):
    configuration.claim_workdir(str(tmp_path), config_with())
    with pytest.raises(ValueError, match=key):
        configuration.check_workdir(str(tmp_path), config_with(**{key: value}))


def test_an_unusable_workdir_is_named(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(OSError, match="file.*cannot be written to"):
        configuration.claim_workdir(str(tmp_path / "file"), config_with())
    with pytest.raises(FileNotFoundError, match="holds no run"):
        configuration.load(str(tmp_path))


@pytest.mark.parametrize("content", [
    b"", b"{", b"[]", b"3", b"null", b"{}", b"\xff", b"[" * 100_000, b'{"eval": 3}',
    b'{"eval": {"best_by": [3]}}', b'{"a.b": 3}', b'{"data": {}, "eval": {}, "model": 7}'],
    ids=lambda content: repr(content)[:40])
def test_a_damaged_config_is_one_sentence_that_says_how_to_go_on(tmp_path, content):
    (tmp_path / "config.json").write_bytes(content)
    with pytest.raises(ValueError, match="config.json cannot be read as a config: .*To train on, "
                                         "move it away: the command that began the run writes"):
        configuration.load(str(tmp_path))


def test_evaluation_sets_eval_and_data_only():
    trained = config_with()
    config = configuration.for_evaluation(trained, {"eval.split": "test", "data.num_frames": 8})
    assert (config.eval.split, config.data.num_frames) == ("test", 8)
    assert (trained.eval.split, trained.data.num_frames) == ("validation", 8)
    with pytest.raises(ValueError, match=r"model\.sigma_x=0\.2 would change the trained model"):
        configuration.for_evaluation(trained, {"model.sigma_x": 0.2})
    with pytest.raises(ValueError, match="nearest is 'eval.split'"):
        configuration.for_evaluation(trained, {"eval.splt": "test"})


def run_main(*arguments: str, cwd: pathlib.Path,
             packages: pathlib.Path = ROOT) -> subprocess.CompletedProcess:
    environment = os.environ | {"PYTHONPATH": str(packages)}
    command = [sys.executable, "-m", "parts_jax.main", *arguments]
    return subprocess.run(command, cwd=cwd, env=environment, capture_output=True, text=True)


@pytest.mark.parametrize("arguments, message", [
    (["--config.modle.num_slots=3"], "no key 'modle.num_slots'; the nearest is 'model.num_slots'"),
    (["--config.num_slots=3"], "the nearest is 'model.num_slots'"),
    (["--config.model.truncation=3"],
     "no key 'model.truncation'; it has moved to 'train.truncation'."),
    (["--config.model.num_slots=0"], "model.num_slots is 0, but must be a whole number, 1 or more"),
    (["--mode=evaluate", "--workdir=nowhere"], "'nowhere' holds no run"),
])
def test_main_explains_in_one_sentence_and_exits_with_2(tmp_path, arguments, message):
    result = run_main(f"--config={FILE}:demo", *arguments, cwd=tmp_path)
    assert result.returncode == 2
    assert result.stderr.splitlines()[-1].startswith("Error: ") and message in result.stderr
    assert "Traceback" not in result.stderr
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize("name", ["parts_clevrer:demo", "parts_playroom:small"])
def test_config_files_import_each_other_from_any_directory(tmp_path, name):
    """With nothing of the repository but the package to be found by Python."""
    (tmp_path / "packages").mkdir()
    (tmp_path / "packages" / "parts_jax").symlink_to(ROOT / "parts_jax")
    file, _, variant = name.partition(":")
    result = run_main(f"--config={ROOT}/configs/{file}.py:{variant}", "--config.data.num_frames=0",
                      cwd=tmp_path, packages=tmp_path / "packages")
    assert "data.num_frames is 0, but must be a whole number, 1 or more" in result.stderr


def test_a_config_file_is_read_with_what_stands_beside_it(tmp_path):
    """And what Python finds afterwards is what it found before."""
    before = list(sys.path)
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "seeds.py").write_text("SEED = 7\n")
    file = tmp_path / "mine" / "experiment.py"
    file.write_text("import ml_collections\n\n\ndef get_config():\n    from mine import seeds\n"
                    "    return ml_collections.ConfigDict({'seed': seeds.SEED})\n")
    assert configuration.read(str(file)).seed == 7
    assert sys.path == before


@pytest.mark.parametrize("config, workdir", [
    ("configs/parts_clevrer.py", "runs/parts_clevrer"),
    ("/x/parts_clevrer.py:demo", "runs/parts_clevrer-demo")])
def test_default_workdir_is_named_after_config_and_variant(config, workdir):
    assert main.default_workdir(config) == workdir


def test_read_explains_what_is_wrong_with_a_config_file(tmp_path):
    with pytest.raises(ValueError, match="no variant 'demmo'; it has: paper, small, hd, laptop"):
        configuration.read(f"{FILE}:demmo")
    with pytest.raises(FileNotFoundError, match="no config file 'nowhere.py'"):
        configuration.read("nowhere.py:demo")
    plain = tmp_path / "plain.py"
    plain.write_text("import ml_collections\n\n\ndef get_config():\n"
                     "    return ml_collections.ConfigDict()\n")
    with pytest.raises(ValueError, match="has no variants"):
        configuration.read(f"{plain}:demo")
    plain.write_text("x = 1\n")
    with pytest.raises(ValueError, match="no function get_config"):
        configuration.read(str(plain))
