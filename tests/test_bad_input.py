"""What a user may get wrong, through the command line: one full sentence, exit code 2, no trace.

What single values may be is tested in test_configuration.py; here is what the command does with a
fault: it is told before anything is simulated, compiled or written.
"""

import os
import pathlib
import subprocess
import sys

import numpy as np
import pytest
from absl import flags
from absl.testing import flagsaver

from parts_jax import evaluate, main, segment, train
from parts_jax.data import pipeline
from parts_jax.data.sets import simulated
from parts_jax.devices import distributed
from parts_jax.files import local_path
from parts_jax.report import __main__ as report_command
from parts_jax.runs import configuration

ROOT = pathlib.Path(__file__).parent.parent
FILE = f"{ROOT}/configs/parts_clevrer.py"
DEMO = f"--config={FILE}:demo"


@pytest.fixture
def refused(tmp_path, monkeypatch, capsys):
    """Calls the command with arguments that must be refused; returns its message.

    It runs in an empty folder, where nothing may appear, and fails the test if it would simulate,
    train or evaluate.
    """
    folder = tmp_path / "here"
    folder.mkdir()
    monkeypatch.chdir(folder)
    monkeypatch.setenv("TFDS_DATA_DIR", str(folder / "data"))

    def too_late(*args, **kwargs):
        raise AssertionError("It was not refused in time.")

    for module, name in ((train, "train"), (evaluate, "evaluate"),
                         (simulated, "simulate_clips"), (main, "quiet_libraries"),
                         (main, "prepare_devices")):
        replacement = too_late if module is not main else lambda: None
        monkeypatch.setattr(module, name, replacement)

    def call(*arguments: str) -> str:
        argv = ["main.py", *arguments]
        monkeypatch.setattr(sys, "argv", argv)
        saved = flagsaver.save_flag_values()
        try:
            with pytest.raises(SystemExit) as exit:
                main.main(main.parse_flags(argv))
        finally:
            flagsaver.restore_flag_values(saved)
        assert exit.value.code == 2
        captured = capsys.readouterr()
        assert captured.out == ""
        lines = captured.err.splitlines()
        assert lines[0].startswith("Error: ") and not any("Traceback" in line for line in lines)
        assert os.listdir(folder) == []
        return captured.err.removeprefix("Error: ").rstrip("\n")

    yield call
    flags.FLAGS.mark_as_parsed()


@pytest.mark.parametrize("arguments, parts", [
    # A config key, or a value of it.
    (["--config.train.bach_size=8"], ["no key 'train.bach_size'", "nearest is 'train.batch_size'"]),
    (["--config.model.num_slots=0"], ["model.num_slots is 0", "whole number, 1 or more"]),
    (["--config.model.num_slots=many"], ["many", "num_slots"]),
    (["--config.data.num_frames=0"], ["data.num_frames is 0", "whole number, 1 or more"]),
    (["--config.model.action_size=2"], ["no key 'model.action_size'", "to 'data.action_size'"]),
    (["--config.model.name=slotty"], ["model.name is 'slotty'", "there is: parts"]),
    # Four devices, as all tests have.
    (["--config.train.batch_size=6"], ["train.batch_size is 6", "4 devices", "multiple of 4"]),
    # The data set.
    (["--config.data.name=sim_clever/demo"],
     ["no data set 'sim_clever/demo'", "nearest are: sim_clevrer/demo", "All data sets: "]),
    (["--config.data.name=playroom"], ["made from files", "--config.data.source_dir=FOLDER"]),
    (["--config.data.name=atari/pnog"], ["has no game 'pnog'. The nearest are: pong"]),
    (["--config.data.name=atari/breakout", "--config.data.action_size=6"],
     ["data.action_size is 6", "'breakout' have size 4 (NOOP, FIRE, RIGHT, LEFT)"]),
    (["--config.data.name=atari/carnival", "--config.data.action_size=5"],  # who has prepared it?
     ["data.action_size is 5", "'carnival' have size 6 (NOOP, FIRE, RIGHT, LEFT, RIGHTFIRE, "]),
    (["--config.data.action_size=2"],
     ["data.action_size is 2, but the data have no actions; 0 leaves actions out."]),
    (["--config.data.name=sim_robotics_arm/demo", "--config.data.action_size=6"],
     ["data.action_size is 6, but the data have actions of size 7; 0 leaves actions out."]),
    (["--config.data.name=sim_playroom/demo", "--config.data.action_size=7"],
     ["data.action_size is 7, but the data have actions of size 4;"]),
    # Frames that are not seen in training.
    (["--config.train.rollout=12", "--config.train.burn_in=(8, 8)",
      "--config.data.train_frames=16"],
     ["train.burn_in is (8, 8) and train.rollout is 12, but clips of training have 16 frames",
      "must be as many together at the most"]),
    # The command itself.
    (["--mode=tarin"], ["mode", "tarin", "train|evaluate"]),
    (["--wrokdir=x"], ["Unknown command line flag 'wrokdir'", "nearest is --workdir"]),
    (["seed=3"], ["'seed=3' is no flag", "--name=value"]),
    (["--config.model=3"], ["sets a whole part of the config", "--config.model.KEY=VALUE"]),
    (["--config.model.encoder.channels=" + "-" * 50_000 + "1"], ["cannot be read as", "Memory"]),
    # Paths.
    (["--workdir=gs://bucket/run"], ["--workdir is 'gs://bucket/run', an address", "gcsfuse"]),
    (["--workdir=gs:/bucket/run"], ["--workdir is 'gs:/bucket/run', an address"]),
    (["--workdir=a\udcff"], ["--workdir is 'a\\udcff', whose name is not UTF-8"]),
    (["--workdir=a\0b"], ["--workdir is 'a\\x00b'", "character 0"]),
    (["--workdir=~nobody-at-all/run"], ["there is no user 'nobody-at-all'"]),
    ([f"--workdir={'x' * 300}"], ["cannot be written to: File name too long."]),
    (["--config.data.data_dir=gs://bucket"], ["data.data_dir is 'gs://bucket', an address"]),
    (["--config.data.source_dir=s3://b/x"], ["data.source_dir is 's3://b/x', an address"]),
], ids=lambda value: str(value)[:60])
def test_a_bad_argument_is_named_with_what_is_allowed(refused, arguments, parts):
    message = refused(DEMO, *arguments)
    assert all(part in message for part in parts), message


def test_a_game_without_its_emulator_says_what_to_install(refused, monkeypatch):
    monkeypatch.setitem(sys.modules, "ale_py", None)
    message = refused(f"--config={ROOT}/configs/parts_atari.py", "--config.train.batch_size=8",
                      "--config.data.name=atari/carnival")
    assert message.startswith("Atari games are played by ale-py, which is not installed: ")
    assert message.endswith("by .venv/bin/pip install -e '.[atari]'.")


@pytest.mark.parametrize("config, parts", [
    (f"{FILE}:demmo", ["no variant 'demmo'",
                       "it has: paper, small, hd, laptop, demo, mixed, predict, "
                       "demo_full_colour, tiny"]),
    ("configs/nothing.py", ["no config file 'configs/nothing.py'"]),
    (None, ["--config=FILE[:variant] is missing", "--list shows"]),
    ("gs://bucket/mine.py:demo", ["--config is 'gs://bucket/mine.py:demo', an address"]),
    ("parts_clevrer:huge", ["no variant 'huge'"]),
])
def test_a_config_that_is_not_there_is_named(refused, config, parts):
    message = refused(*([f"--config={config}"] if config else []))
    assert all(part in message for part in parts), message


@pytest.mark.parametrize("content, message", [
    (b"x = = 1", "cannot be run: SyntaxError: invalid syntax"),
    (b"import nothing_here", "cannot be run: ModuleNotFoundError: No module named 'nothing_here' "
                             "(line 1)."),
    (b"def get_config():\n    return 1 / 0", "get_config of .*: division by zero (line 2)."),
    (b"def get_config():\n    return 3", "must return an ml_collections.ConfigDict; got int."),
    (b"get_config = 3", "has no function get_config"), (b"\xff\0", "cannot be run: "),
])
def test_a_config_file_that_fails_is_named_with_its_line(refused, tmp_path, content, message):
    (tmp_path / "mine.py").write_bytes(content)
    told = refused(f"--config={tmp_path}/mine.py")
    assert all(part in told for part in message.split(".*")) and f"{tmp_path}/mine.py" in told


def test_flags_of_a_file_are_flags(refused, tmp_path):
    """--config among them, and what is set of it."""
    file = tmp_path / "flags"
    file.write_text(f"{DEMO}\n--config.model.num_slots=0\n")
    assert "model.num_slots is 0" in refused(f"--flagfile={file}")
    assert "model.num_slots is -1" in refused(f"--flagfile={file}", "--config.model.num_slots=-1")
    assert "Unable to open flagfile" in refused(f"--flagfile={file}s")
    file.write_bytes(b"\xff")
    assert f"--flagfile={file} is no text" in refused(f"--flagfile={file}")


@pytest.mark.parametrize("flag, said", [
    ("--help", "--config.KEY=VALUE"), ("-h", "--workdir"), ("--helpfull", "--coordinator_address"),
    ("--list", "configs/parts_clevrer.py          paper, small, hd, laptop, demo")])
def test_what_is_only_asked_for_is_printed_with_exit_code_0(capsys, flag, said):
    for others in ([], [DEMO], ["--mode=evaluate"]):
        with pytest.raises(SystemExit) as exit:
            main.parse_flags(["main.py", *others, flag])
        printed = capsys.readouterr()
        assert exit.value.code == 0 and said in printed.out and printed.err == ""
        assert flag == "--helpfull" or len(printed.out.splitlines()) < 50


def test_the_list_names_sets_variants_and_trained_models(capsys):
    with pytest.raises(SystemExit):
        main.parse_flags(["main.py", "--list"])
    printed = capsys.readouterr().out
    for words in ("  demo                PARTS of sim_clevrer/demo, 32x32, 4 slots\n",
                  "folder              64, 128", "sim_clevrer         demo",
                  "configs/parts_playroom.py         paper, small"):
        assert words in printed


def test_home_is_written_as_users_write_it(refused, tmp_path, monkeypatch):
    """No shell expands ~ behind --workdir=."""
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "mine.py").write_bytes(pathlib.Path(FILE).read_bytes())
    (tmp_path / "file").write_text("")
    message = refused("--config=~/mine.py:demo", "--workdir=~/file/run")
    assert f"'{tmp_path}/file/run' cannot be written to" in message
    assert f"'{tmp_path}/run' holds no run" in refused("--mode=evaluate", "--workdir=~/run")
    assert local_path.with_homes(["~/a.mp4", "--out=~/b.gif", "--step=-1", "a~b"]) == [
        f"{tmp_path}/a.mp4", f"--out={tmp_path}/b.gif", "--step=-1", "a~b"]


def test_evaluating_by_the_config_of_another_run_is_refused(refused, tmp_path):
    workdir = tmp_path / "run"
    configuration.claim_workdir(str(workdir), configuration.read(f"{FILE}:demo"))
    call = ("--mode=evaluate", f"--workdir={workdir}")
    message = refused(*call, f"--config={FILE}:small")
    assert f"--config is not the config that '{workdir}' was trained with" in message
    assert "leave --config out" in message and "model.num_slots: 4 there, 6 now" in message
    for own in ([], [DEMO], [DEMO, "--config.data.num_frames=4", "--config.eval.split=test"]):
        assert "no checkpoint" in refused(*call, *own)  # which comes after


# The commands that stand first in README.md and docs/, each with one wrong argument.
@pytest.mark.parametrize("command, arguments, sentence", [
    ("main", "--mode=evaluate --workdir=pretrained/dmeo --config.eval.split=test",
     "'pretrained/dmeo' holds no run: there is no such folder; by name there is: arm, balls, demo"),
    ("main", "--mode=evaluate --workdir={root}/pretrained/demo --config.eval.spilt=test",
     "The config has no key 'eval.spilt'; the nearest is 'eval.split'."),
    ("main", "--mode=evaluate --workdir={root}/pretrained/demo --config.eval.step=7",
     "There is no checkpoint of step 7 in '{root}/pretrained/demo/checkpoints'; it has those of "
     "steps 4500."),
    ("main", "--config=configs/parts_clevrer.py:dmo --workdir=runs/demo",
     "configs/parts_clevrer.py has no variant 'dmo'; it has: paper, small, hd, laptop, demo, "),
    ("main", "--config=configs/parts_clevrer.py:demo --config.seed=one --workdir=runs/demo-1",
     "flag --config.seed=one: invalid literal for int() with base 10: 'one'"),
    ("main", "--config=configs/parts_clevrer.py --config.data.name=folder/46 "
             "--config.data.source_dir={root}", "There is no data set 'folder/46'. The nearest "),
    ("main", "--config=configs/parts_playroom.py:small --config.data.source_dir=videos",
     "The data set 'sim_playroom' is simulated, not made from files: data.source_dir must be "),
    ("main", "--config=configs/parts_clevrer.py:demo --num_processes=4 --process_id=0",
     "--coordinator_address, --num_processes, --process_id are given all three or not at all; "
     "missing: --coordinator_address."),
    ("segment", "--workdir=runs/dmeo clip.mp4 --out=out.mp4", "clip.mp4"),
    ("segment", "--workdir={root}/pretrained/demo clip.mp4 --out=out.mp4 --stride=0",
     "--stride is 0, but must be 1 or more."),
    ("report", "--workdir=runs/dmeo", "runs/dmeo"),
    ("report", "--workdir={root}/pretrained/demo --step=7", "There is no checkpoint of step 7 in "),
])
def test_the_first_commands_with_one_wrong_argument(refused, capsys, monkeypatch, command,
                                                    arguments, sentence):
    words = arguments.format(root=ROOT).split()
    if command == "main":
        monkeypatch.setattr(main, "prepare_devices", lambda: distributed.check(
            *(flags.FLAGS[name].value for name in distributed.FLAGS)))
        message = refused(*words)
    else:
        with pytest.raises(SystemExit) as exit:
            {"segment": segment.main, "report": report_command.main}[command](words)
        assert exit.value.code == 2 and os.listdir() == []
        message, = capsys.readouterr().err.splitlines()
        assert message.startswith("Error: ")
    assert sentence.format(root=ROOT) in message


def test_clevrer_missing_tells_how_to_get_it_and_how_to_do_without(refused):
    message = refused(f"--config={FILE}", "--config.data.download=False")
    for part in ("'clevrer'", "http://data.csail.mit.edu/clevrer/", "video_train.zip",
                 "video_validation.zip", "'sim_clevrer'", "--config=configs/parts_clevrer.py:small",
                 "--config=configs/parts_clevrer.py:demo"):
        assert part in message


def test_an_unwritable_workdir_is_named_before_data_are_made(refused, tmp_path):
    """A workdir below a file; and one in a folder without permission, where one has not all."""
    (tmp_path / "file").write_text("")
    message = refused(DEMO, f"--workdir={tmp_path}/file/runs/1")
    assert f"'{tmp_path}/file/runs/1' cannot be written to" in message
    assert f"'{tmp_path}/file' is not a folder" in message
    (tmp_path / "locked").mkdir(mode=0o500)
    if not os.access(tmp_path / "locked", os.W_OK):
        message = refused(DEMO, f"--workdir={tmp_path}/locked/run")
        assert f"'{tmp_path}/locked' is not a folder that one may write in" in message


def test_the_run_of_another_config_is_kept_and_the_keys_that_differ_are_named(refused, tmp_path):
    workdir = tmp_path / "run"
    configuration.claim_workdir(str(workdir), configuration.read(f"{FILE}:demo"))
    (workdir / "checkpoints" / "100").mkdir(parents=True)
    before = (workdir / "config.json").read_text()
    message = refused(DEMO, f"--workdir={workdir}", "--config.model.num_slots=5",
                      "--config.seed=3", "--config.train.log_every=7")
    assert f"'{workdir}' holds a run with another config" in message
    assert "model.num_slots: 4 there, 5 now" in message and "seed: 0 there, 3 now" in message
    assert "log_every" not in message
    assert (workdir / "config.json").read_text() == before
    assert sorted(os.listdir(workdir)) == ["checkpoints", "config.json"]


def test_evaluating_what_was_not_trained_is_refused(refused, tmp_path):
    workdir = tmp_path / "run"
    assert f"'{workdir}' holds no run" in refused("--mode=evaluate", f"--workdir={workdir}")
    configuration.claim_workdir(str(workdir), configuration.read(f"{FILE}:demo"))
    assert f"no checkpoint in '{workdir}'" in refused("--mode=evaluate", f"--workdir={workdir}")
    message = refused("--mode=evaluate", f"--workdir={workdir}", "--config.model.num_slots=5")
    assert "model.num_slots=5 would change the trained model, which has 4" in message


GOOD = {"video": np.zeros((8, 32, 32, 3), np.uint8),
        "segmentation": np.zeros((8, 32, 32), np.uint8)}


@pytest.mark.parametrize("change, parts", [
    ({"video": np.zeros((8, 32, 32, 3), np.float32)}, ["must be uint8", "float32 [1, 32, 32, 3]"]),
    ({"video": np.zeros((8, 32, 32), np.uint8)},
     ["[frames, height, width, 3]", "uint8 [1, 32, 32]"]),
    ({"video": np.zeros((8, 32, 32, 4), np.uint8)}, ["must be uint8", "uint8 [1, 32, 32, 4]"]),
    ({"segmentation": np.zeros((8, 16, 16), np.uint8)},
     ["segmentation must be uint8", "as large as its video [1, 32, 32]", "uint8 [1, 16, 16]"]),
    ({"video": np.zeros((5, 32, 32, 3), np.uint8)},
     ["data.num_frames is 8", "shortest clip has 5 frames"]),
])
@pytest.mark.parametrize("bad_split", ["train", "validation", "test"])
def test_videos_of_a_wrong_form_are_refused_before_training(refused, monkeypatch, change, parts,
                                                            bad_split):
    """In any of the three splits, so that no run fails at its last step."""
    def open_split(data_config, name):
        example = GOOD | (change if name == bad_split else {})
        return pipeline.Split([example], len(example["video"]))

    monkeypatch.setattr(pipeline, "open_split", open_split)
    message = refused(DEMO)
    assert all(part in message for part in parts), message
    assert message.endswith(".")


@pytest.mark.parametrize("arguments, parts", [
    (("--config.data.num_frames=6",),
     ["eval.burn_in is 4 and eval.rollout_steps is 4, which takes 8 frames", "7 can be read",
      "with data.stride 1: the two may be 7 together", "--config.eval.rollout_steps=0"]),
    (("--config.data.num_frames=6", "--config.eval.burn_in=9", "--config.eval.rollout_steps=1"),
     ["takes 10 frames"]),
    (("--config.data.stride=2", "--config.data.num_frames=4"), ["4 can be read with data.stride 2"])
])
@pytest.mark.parametrize("short", ["validation", "test"])
def test_clips_too_short_for_roll_outs_are_refused_before_training(refused, monkeypatch, arguments,
                                                                   parts, short):
    def open_split(data_config, name):
        return pipeline.Split([GOOD], 7 if name == short else 40)

    monkeypatch.setattr(pipeline, "open_split", open_split)
    message = refused(DEMO, *arguments)
    assert all(part in message for part in [*parts, f"split {short!r}"]), message
    assert message.endswith(".")


def test_clips_too_short_for_roll_outs_are_refused_before_evaluation(refused, monkeypatch, tmp_path,
                                                                     save_untrained):
    """Of the split that is evaluated alone."""
    workdir = save_untrained(tmp_path / "run")
    monkeypatch.setattr(pipeline, "open_split", lambda data_config, name: pipeline.Split(
        [GOOD], 40 if name == "train" else 5))
    call = ("--mode=evaluate", f"--workdir={workdir}")
    message = refused(*call)
    assert "eval.burn_in is 4 and eval.rollout_steps is 2" in message and "'validation'" in message
    assert "5 can be read" in message
    with pytest.raises(AssertionError, match="not refused in time"):
        refused(*call, "--config.eval.split=train")
    with pytest.raises(AssertionError, match="not refused in time"):
        refused(*call, "--config.eval.rollout_steps=0")


@pytest.mark.parametrize("key", ["data.train_split", "eval.split", "eval.final_split"])
def test_a_split_that_is_not_there_is_refused_before_training(refused, monkeypatch, key):
    class Builder:
        class info:
            splits = ("train", "validation", "test")

    monkeypatch.setattr(pipeline.data, "prepare", lambda *arguments: Builder())
    monkeypatch.setattr(pipeline.prepared, "Examples", lambda builder, split: [GOOD])
    monkeypatch.setattr(pipeline.data, "fewest_frames", lambda builder, split: 8)
    message = refused(DEMO, f"--config.{key}=tset")
    assert "'sim_clevrer/demo' has no split 'tset'; it has: train, validation, test." in message


@pytest.mark.parametrize("arguments, message", [
    (["--config=configs/parts_clevrer.py", "--config.data.download=False"],
     "The data set 'clevrer'"),
    (["--config=configs/parts_clevrer.py:demo", "--config.data.num_frames=0"],
     "data.num_frames is 0, but must be a whole number, 1 or more."),
])
def test_the_command_in_a_shell(tmp_path, arguments, message):
    """As a user would call it, from the repository, with the default workdir in another place."""
    environment = os.environ | {"PYTHONPATH": str(ROOT), "TFDS_DATA_DIR": str(tmp_path / "data")}
    (tmp_path / "configs").symlink_to(ROOT / "configs")
    result = subprocess.run([sys.executable, "-m", "parts_jax.main", *arguments], cwd=tmp_path,
                            env=environment, capture_output=True, text=True)
    assert result.returncode == 2
    assert result.stderr.startswith(f"Error: {message}") and "Traceback" not in result.stderr
    assert result.stdout == "" and os.listdir(tmp_path) == ["configs"]


def test_a_group_whose_prefix_is_that_of_no_parameter(refused, tmp_path):
    file = tmp_path / "mine.py"
    file.write_text("from ml_collections import ConfigDict\nfrom configs import parts_clevrer\n\n\n"
                    "def get_config():\n    config = parts_clevrer.get_config('demo')\n"
                    "    config.optimizer.groups.mine = ConfigDict(dict(prefix='decoders', "
                    "name='adam', decay=0.9, momentum=0.9, learning_rate_scale=0.1))\n"
                    "    return config\n")
    message = refused(f"--config={file}")
    assert "groups.mine.prefix is 'decoders', but no parameter's path begins with it" in message
    assert message.endswith("at the top there are: attention, decoder, encoder, transition.")
