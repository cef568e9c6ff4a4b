"""Names, source folders and what is kept: how a set is found and built once."""

import dataclasses
import os

import numpy as np
import pytest
from PIL import Image

from parts_jax import data
from parts_jax.data import episodes
from parts_jax.data.formats import frames
from parts_jax.data.sets import clevrer, folder, sim_clevrer
from parts_jax.simulate.clevrer import simulation


@pytest.fixture
def tiny(monkeypatch):
    """sim_clevrer/tiny with two clips a split."""
    configs = {config.name: config for config in sim_clevrer.SimClevrer.BUILDER_CONFIGS}
    small = dataclasses.replace(configs["tiny"], num_clips=(2, 1, 1))
    monkeypatch.setattr(sim_clevrer.SimClevrer, "BUILDER_CONFIGS", [small])
    monkeypatch.setattr(sim_clevrer.SimClevrer, "builder_configs", {"tiny": small})


def write_clips(path, num_clips=3, num_frames=4):
    """A folder of clips as numbered PNGs, each clip of a grey level of its own."""
    for clip in range(num_clips):
        (path / f"clip_{clip}").mkdir(parents=True)
        for t in range(num_frames):
            picture = np.full((8, 8, 3), 40 * clip + t, np.uint8)
            Image.fromarray(picture).save(path / f"clip_{clip}" / f"{t:03d}.png")


@pytest.mark.parametrize("name, parts", [
    ("sim_clever/demo", ["no data set 'sim_clever/demo'", "nearest are: sim_clevrer/demo"]),
    ("sim_clevrer/dmeo", ["no data set 'sim_clevrer/dmeo'", "sim_clevrer/demo"]),
    ("playrom", ["no data set 'playrom'", "playroom"]),
    ("sim_clevrer/", ["no data set 'sim_clevrer/'"]),
    ("qqqq", ["no data set 'qqqq'. All data sets: clevrer/64"]),
])
def test_unknown_names_are_answered_with_the_nearest(name, parts):
    with pytest.raises(ValueError) as error:
        data.prepare(name)
    assert all(part in str(error.value) for part in parts), error.value


def test_every_name_has_a_builder():
    assert len(set(data.KNOWN_NAMES)) == len(data.KNOWN_NAMES)
    assert {name.split("/")[0] for name in data.KNOWN_NAMES} == set(data.BUILDERS) >= {
        "clevrer", "playroom", "robotics_arm", "sim_clevrer", "sim_playroom", "sim_robotics_arm"}


def test_clevrer_without_download_says_what_to_do(tmp_path):
    with pytest.raises((ValueError, OSError)) as error:
        data.prepare("clevrer", str(tmp_path), download=False)
    for part in ("http://data.csail.mit.edu/clevrer/", "video_train.zip", "12.4 GB",
                 "--config=configs/parts_clevrer.py:small",
                 "--config=configs/parts_clevrer.py:demo"):
        assert part in str(error.value)
    assert os.listdir(tmp_path) == []


def test_a_folder_that_is_not_a_data_set_is_named(tmp_path):
    (tmp_path / "sim_clevrer" / "demo" / "1.0.0").mkdir(parents=True)
    with pytest.raises(ValueError, match="not a finished data set.*Delete it"):
        data.prepare("sim_clevrer/demo", str(tmp_path))


def test_prepare_builds_once(tmp_path, tiny, monkeypatch):
    built = data.prepare("sim_clevrer/tiny", str(tmp_path))
    assert len(built.as_data_source(split="train")) == 2
    monkeypatch.setattr(simulation, "simulate_clip", None)  # would fail if it were called again
    again = data.prepare("sim_clevrer", str(tmp_path))  # its first variant
    assert again.as_data_source(split="train")[1]["id"] == b"train-00001"


def test_the_shortest_clip_is_counted_and_kept(tmp_path, tiny):
    built = data.prepare("sim_clevrer/tiny", str(tmp_path))
    assert data.fewest_frames(built, "train") == 6
    (built.data_path / data.LENGTHS).write_text('{"train": 5}')
    assert data.fewest_frames(built, "train") == 5


@pytest.mark.parametrize("name", ["playroom/64", "folder/64", "movi", "robotics_arm"])
def test_a_set_made_from_files_asks_for_their_folder(tmp_path, name):
    with pytest.raises(ValueError, match="made from files.*--config.data.source_dir=FOLDER"):
        data.prepare(name, str(tmp_path))
    with pytest.raises(FileNotFoundError, match=f"{tmp_path}/nothing.*no such folder"):
        data.prepare(name, str(tmp_path), source_dir=f"{tmp_path}/nothing")
    assert os.listdir(tmp_path) == []


def test_a_simulated_set_refuses_a_folder(tmp_path):
    with pytest.raises(ValueError, match="is simulated.*data.source_dir must be empty"):
        data.prepare("sim_clevrer/tiny", str(tmp_path), source_dir=str(tmp_path))


def test_two_folders_are_two_sets_and_a_changed_one_a_third(tmp_path):
    write_clips(tmp_path / "a", 3)
    write_clips(tmp_path / "b", 5)

    def prepare(name):
        return data.prepare("folder/64", str(tmp_path / "data"), str(tmp_path / name))

    def count(builder):
        return sum(len(builder.as_data_source(split)) for split in builder.info.splits)

    a, b = prepare("a"), prepare("b")
    assert (count(a), count(b)) == (3, 5)
    assert prepare("a").data_dir == a.data_dir != b.data_dir
    write_clips(tmp_path / "a" / "more", 1)
    assert count(prepare("a")) == 4
    video = frames.decode(a.as_data_source("train")[0]["video"])
    assert video.shape == (4, 64, 64, 3) and (video == np.arange(4)[:, None, None, None]).all()


def test_builders_of_files_take_a_source_config():
    for name, builder in data.BUILDERS.items():
        for config in builder.BUILDER_CONFIGS:
            assert isinstance(config, episodes.SourceConfig) != name.startswith("sim_")
    assert folder.Folder.name == "folder" and clevrer.Clevrer.BUILDER_CONFIGS[0].name == "64"
