"""A run keeps the prepared set that it began with, by its name in config.json."""

import json
import shutil

import numpy as np
import pytest
from absl import flags
from PIL import Image

from configs import parts_clevrer
from parts_jax import main
from parts_jax.runs import configuration


def write_video(folder, frames=5):
    folder.mkdir(parents=True)
    for t in range(frames):
        Image.fromarray(np.full((16, 16, 3), t, np.uint8)).save(folder / f"{t}.png")


@pytest.fixture
def begin(tmp_path, tiny, monkeypatch):
    """What `main` makes of a command line before it trains or evaluates: config and workdir."""
    source, workdir = tmp_path / "videos", tmp_path / "videos" / "run"
    for split in ("train", "validation", "test"):
        write_video(source / split / "a")
    settings = tiny | {"data.name": "folder/64", "data.source_dir": str(source),
                       "data.data_dir": str(tmp_path / "data"), "eval.rollout_steps": 0}

    def call(mode="train", **changes):
        values = settings if mode == "train" else {}
        values |= {f"data.{key}": value for key, value in changes.items()}
        config = parts_clevrer.get_config("demo")
        config.update_from_flattened_dict(values)
        stand_in = type("Flags", (), {"mode": mode, "workdir": str(workdir)})()
        file = {"config_filename": "x"} if mode == "train" else {}  # evaluated by its workdir alone
        stand_in.__class__.__getitem__ = lambda self, name: type("Flag", (), {
            "value": config, "override_values": values} | file)
        monkeypatch.setattr(main, "FLAGS", stand_in)
        with main.contextlib.ExitStack() as held:
            return main.prepare(held)[0], workdir

    yield call, source, workdir
    assert flags.FLAGS is not main.FLAGS


def test_a_run_among_its_videos_goes_on_with_the_set_it_began_with(begin, monkeypatch):
    call, source, workdir = begin
    monkeypatch.setattr(main.checkpoint, "choose_step", lambda *args: 0)
    kept = call()[0].data.prepared
    assert kept.startswith("64-")
    assert json.loads((workdir / "config.json").read_text())["data"]["prepared"] == kept
    write_video(workdir / "evaluation")  # its own pictures
    write_video(source / "train" / "b")
    assert call()[0].data.prepared == call("evaluate")[0].data.prepared == kept
    with pytest.raises(ValueError, match="evaluation lies beside them"):  # asked for, it is read
        call("evaluate", source_dir=str(source))
    run = source.parent / "elsewhere"
    shutil.move(workdir, run)
    shutil.rmtree(source)
    shutil.move(run, workdir)
    assert call()[0].data.prepared == call("evaluate")[0].data.prepared == kept


def test_a_run_is_not_given_another_set(begin):
    call, source, workdir = begin
    call()
    with pytest.raises(ValueError, match="data.prepared is '64-abc', but the run in .* keeps to"):
        call(prepared="64-abc")


def test_what_is_kept_is_none_of_what_must_be_the_same(tmp_path):
    config = parts_clevrer.get_config("demo")
    configuration.claim_workdir(str(tmp_path), config)
    config.data.prepared = "64-abc"
    configuration.check_workdir(str(tmp_path), config)
    assert configuration.for_evaluation(config, {"eval.step": 1}).data.prepared == "64-abc"
    for key in configuration.SOURCE_KEYS:
        value = configuration.flatten(config)[key]
        assert configuration.for_evaluation(config, {key: value}).data.prepared == ""
