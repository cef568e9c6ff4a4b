"""Names, source folders and what is kept: how a set is found and built once."""

import dataclasses
import json
import os
import shutil

import ml_collections
import numpy as np
import pytest
from PIL import Image

from parts_jax import data
from parts_jax.data import episodes, pipeline
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
        "clevrer", "playroom", "robotics_arm", "sim_clevrer", "sim_playroom", "sim_robotics_arm",
        "sim_tetrominoes", "sim_sprites", "sim_shapes", "sim_balls"}


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


@pytest.mark.parametrize("content", ["{}", "[]", "", '{"train": 5', '{"train": "5"}', "null",
                                     '{"train": -1}', '{"train": true}', "[" * 100_000])
def test_damaged_lengths_are_counted_anew(tmp_path, tiny, caplog, content):
    built = data.prepare("sim_clevrer/tiny", str(tmp_path))
    path = built.data_path / data.LENGTHS
    path.write_text(content)
    assert data.fewest_frames(built, "train") == 6
    assert f"{path} is damaged" in caplog.text and "counted anew" in caplog.text
    assert json.loads(path.read_text()) == {"train": 6, "validation": 6, "test": 6}


# ---- What is prepared, and damaged ---------------------------------------------------------------
@pytest.fixture(scope="module")
def whole_set(tmp_path_factory):
    """A folder with a prepared set, to be copied, and where it is in there."""
    folder = tmp_path_factory.mktemp("whole")
    write_clips(folder / "source")
    built = data.prepare("folder/64", str(folder / "data"), str(folder / "source"))
    return folder, built.builder_config.name


def cut(path):
    path.write_bytes(path.read_bytes()[:-1])


def flip_first(path):
    content = bytearray(path.read_bytes())
    content[content.index(b"PNG")] ^= 1
    path.write_bytes(content)


@pytest.mark.parametrize("pattern, damage", [
    ("*train.array_record*", cut), ("*train.array_record*", flip_first),
    ("*train.array_record*", lambda path: path.write_bytes(path.read_bytes()[:70_000])),
    ("*train.array_record*", lambda path: path.write_bytes(b"")),
    ("*train.array_record*", lambda path: path.unlink()),
    ("dataset_info.json", cut), ("dataset_info.json", lambda path: path.write_text("{}")),
])
def test_a_damaged_set_is_told_of_by_its_file(tmp_path, whole_set, pattern, damage):
    folder, name = whole_set
    shutil.copytree(folder / "data", tmp_path / "data")
    [path] = (tmp_path / "data").rglob(pattern)
    damage(path)
    config = settings(tmp_path / "data", folder / "source")
    with pytest.raises(OSError) as error:
        split = pipeline.open_split(config, "train")
        for index in range(len(split.examples)):
            split.examples[index]
    message = str(error.value)
    assert str(path) in message and "are damaged" in message and "\n" not in message
    assert message.endswith(f"Delete the folder {str(path.parent)!r}, and the set is built again.")
    shutil.rmtree(path.parent)
    assert len(pipeline.open_split(config, "train").examples) > 0


def test_damage_reaches_the_reader_of_batches_as_the_same_error(tmp_path, whole_set):
    folder, name = whole_set
    shutil.copytree(folder / "data", tmp_path / "data")
    config = settings(tmp_path / "data", folder / "source")
    batches = pipeline.train_iterator(config, batch_size=2, seed=0, place=lambda batch: batch)
    [path] = (tmp_path / "data").rglob("*train.array_record*")
    flip_first(path)
    with pytest.raises(OSError, match="are damaged"):
        for _ in range(20):
            next(batches)


def settings(data_dir, source_dir, **changes):
    """What a config says of the data."""
    return ml_collections.ConfigDict({
        "name": "folder/64", "data_dir": str(data_dir), "source_dir": str(source_dir),
        "prepared": "", "download": False, "max_bytes": 2 ** 30, "skip_bad": False, "num_frames": 2,
        "train_frames": 0,
        "stride": 1, "resolution": 8, "flip": False, "num_threads": 1,
        "train_split": "train", **changes})


# ---- A run keeps the set that it began with ------------------------------------------------------
def test_a_kept_set_is_opened_whatever_comes_of_its_source(tmp_path):
    write_clips(tmp_path / "source")
    config = settings(tmp_path / "data", tmp_path / "source")
    config.prepared = pipeline.prepare(config)
    before = len(pipeline.open_split(config, "train").examples)
    write_clips(tmp_path / "source" / "more", 2)
    assert pipeline.prepare(config) == config.prepared
    assert len(pipeline.open_split(config, "train").examples) == before
    shutil.rmtree(tmp_path / "source")
    assert len(pipeline.open_split(config, "train").examples) == before
    assert len(list((tmp_path / "data" / "folder").glob("64-*"))) == 1


def test_a_kept_set_that_is_gone_is_built_again_or_told_of(tmp_path):
    write_clips(tmp_path / "source")
    config = settings(tmp_path / "data", tmp_path / "source")
    config.prepared = pipeline.prepare(config)
    shutil.rmtree(tmp_path / "data")
    assert len(pipeline.open_split(config, "train").examples) > 0  # of the same files
    shutil.rmtree(tmp_path / "data")
    (tmp_path / "source" / "clip_0" / "000.png").unlink()
    gone = f"{config.prepared}/1.0.0, is gone: "
    with pytest.raises(ValueError, match=gone + "data.source_dir, .* holds other files now"):
        pipeline.open_split(config, "train")
    shutil.rmtree(tmp_path / "source")
    with pytest.raises(OSError, match=gone + "data.source_dir is .* no such folder"):
        pipeline.open_split(config, "train")
    assert not list((tmp_path / "data").rglob("dataset_info.json"))


@pytest.mark.parametrize("name, prepared, message", [
    ("folder/64", "128-0123", "what is prepared of folder/64 is called 64-LETTERS"),
    ("folder/64", "64-a/../../x", "is called 64-LETTERS"),
    ("sim_clevrer/tiny", "tiny-1", "is simulated, not made from files: data.prepared must be em"),
])
def test_a_name_of_a_kept_set_that_cannot_be(tmp_path, name, prepared, message):
    with pytest.raises(ValueError, match=message):
        data.prepare(name, str(tmp_path), prepared=prepared)


def test_files_that_change_while_a_set_is_made_of_them_make_none(tmp_path, monkeypatch):
    write_clips(tmp_path / "source")
    plain = data.build

    def slow(builder):
        plain(builder)
        write_clips(tmp_path / "source" / "more", 1)

    monkeypatch.setattr(data, "build", slow)
    with pytest.raises(ValueError, match="changed while folder/64 was made from them"):
        data.prepare("folder/64", str(tmp_path / "data"), str(tmp_path / "source"))
    assert not list((tmp_path / "data").rglob("dataset_info.json"))


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
            made_here = name.startswith("sim_") or name == "atari"
            assert isinstance(config, episodes.SourceConfig) != made_here
    assert folder.Folder.name == "folder" and clevrer.Clevrer.BUILDER_CONFIGS[0].name == "64"
