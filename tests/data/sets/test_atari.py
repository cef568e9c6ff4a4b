"""The builder of Atari games: names, what is read back, what is said before a game is played."""

import dataclasses
import os
import sys

import ale_py
import ml_collections
import numpy as np
import pytest

from configs import parts_atari
from parts_jax import data
from parts_jax.data import pipeline
from parts_jax.data.formats import frames
from parts_jax.data.sets import atari, splits
from parts_jax.simulate import atari as games


@pytest.fixture(autouse=True)
def few(monkeypatch):
    """Few and short clips of each game, played by this process."""
    whole = atari.config_of

    def config_of(settings):
        short = dataclasses.replace(settings, num_frames=5, warm_up=(2, 20))
        return dataclasses.replace(whole(short), num_clips=(3, 1, 1), num_workers=1)

    monkeypatch.setattr(atari, "config_of", config_of)


def config(**changes) -> ml_collections.ConfigDict:
    """What the pipeline is told of a set."""
    return ml_collections.ConfigDict({
        "name": "atari/pong_16", "data_dir": "", "source_dir": "", "download": True,
        "num_frames": 5, "train_frames": 0, "stride": 1, "resolution": 8, "flip": False,
        "num_threads": 0, "action_size": 6} | changes)


def mean_of_areas(video: np.ndarray, size: int) -> np.ndarray:
    """Means of the pixels whose centres lie in each of size x size fields, or on its far edges."""
    rows, columns = (np.ceil((np.arange(n) + 0.5) * size / n) - 1 for n in video.shape[1:3])
    return np.stack([[video[:, rows == i][:, :, columns == j].mean((1, 2)) for j in range(size)]
                     for i in range(size)]).transpose(2, 0, 1, 3)


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> str:
    return str(tmp_path_factory.mktemp("data"))


def test_what_was_played_is_read_back_also_without_the_emulator(folder, monkeypatch):
    data.prepare("atari/pong_16", folder)
    monkeypatch.setitem(sys.modules, "ale_py", None)
    built = data.prepare("atari/pong_16", folder)
    monkeypatch.undo()
    settings = built.builder_config.world
    assert built.info.metadata["actions"] == [
        "NOOP", "FIRE", "RIGHT", "LEFT", "RIGHTFIRE", "LEFTFIRE"]
    assert built.info.metadata["ale_py"] == ale_py.__version__
    for number, split in enumerate(splits.SPLITS):
        source = built.as_data_source(split=split)
        played = [games.play_clip(settings, (0, number, clip)) for clip in range(len(source))]
        for reason in ("ended", "unchanged"):
            assert built.info.metadata[reason][split] == sum(clip[reason] for clip in played)
        example, clip = source[len(source) - 1], played[-1]
        video = frames.decode(example["video"])
        assert video.shape == (5, 16, 16, 3) and video.dtype == np.uint8
        assert abs(video - mean_of_areas(clip["video"], 16)).max() <= 1  # PIL rounds twice
        np.testing.assert_array_equal(example["actions"], clip["actions"])
        assert example["id"] == f"{split}-{len(source) - 1:05d}".encode()
        assert set(example) == {"video", "actions", "id"}


def test_batches_have_actions_and_no_masks(folder):
    batch = next(pipeline.eval_iterator(config(data_dir=folder), "test", batch_size=1,
                                        action_size=6))
    assert set(batch) == {"video", "actions", "valid", "index"}
    assert batch["video"].shape == (1, 5, 8, 8, 3) and batch["actions"].shape == (1, 5, 6)
    with pytest.raises(ValueError, match="data.flip must be False"):
        pipeline.check(config(data_dir=folder, flip=True), "train", action_size=6)


@pytest.mark.parametrize("name, game, resolution, crop, called", [
    ("pong", "pong", 64, "none", "pong"), ("pong_64", "pong", 64, "none", "pong"),
    ("space_invaders_128", "space_invaders", 128, "none", "space_invaders_128"),
    ("pitfall2_32_center", "pitfall2", 32, "center", "pitfall2_32_center"),
    ("tic_tac_toe_3d_center", "tic_tac_toe_3d", 64, "center", "tic_tac_toe_3d_64_center")])
def test_a_name_says_game_resolution_and_crop(name, game, resolution, crop, called):
    variant = atari.variant(name)
    assert (variant.name, variant.world.game) == (called, game)
    assert (variant.world.resolution, variant.world.crop) == (resolution, crop)
    assert data._resolve(f"atari/{name}") == ("atari", variant)


@pytest.mark.parametrize("name, words", [
    ("atari/pnog", "no data set 'atari/pnog'. ale-py .* has no game 'pnog'. The nearest are: pon"),
    ("atari/GAME", "has no game 'GAME'"),
    ("atari/joust_64", "'joust' of ale-py .* is for several players"),
    ("atari/pong_4", "resolution of the data set 'atari/pong_4' must be from 8 to 256; got 4"),
    ("atari/ms-pacman", "name must be atari/GAME, or atari/GAME_RESOLUTION, or"),
    ("atari/", "no data set 'atari/'. The nearest are: atari"),
    ("atri/pong", "no data set 'atri/pong'. The nearest are: atari/pong"),
])
def test_names_that_are_none_are_answered_before_anything_is_written(name, words, tmp_path):
    with pytest.raises(ValueError, match=words):
        data.prepare(name, str(tmp_path))
    assert os.listdir(tmp_path) == []


def test_actions_of_another_size_are_told_of_before_a_game_is_played(tmp_path, folder):
    asked = config(name="atari/breakout_16", data_dir=str(tmp_path))
    with pytest.raises(ValueError, match=r"data.action_size is 6, but the actions of the game "
                                         r"'breakout' have size 4 \(NOOP, FIRE, RIGHT, LEFT\); "
                                         "0 leaves actions out"):
        pipeline.check(asked, "train", action_size=6)
    assert os.listdir(tmp_path) == []
    with pytest.raises(ValueError, match="data.action_size is 4, but the data have actions of "
                                         "size 6"):
        pipeline.check(config(data_dir=folder, action_size=4), "train", action_size=4)


def test_a_set_that_is_not_built_needs_the_emulator(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "ale_py", None)
    with pytest.raises(ValueError, match=r"not installed: install the extra \[atari\]"):
        data.prepare("atari/pong_16", str(tmp_path))
    assert os.listdir(tmp_path) == []


def test_what_a_variant_has():
    atari_games = {config.name: config for config in atari.Atari.BUILDER_CONFIGS}
    assert set(atari_games) == set(atari.LISTED)
    pong = atari_games["pong"]
    assert pong.num_clips == (1500, 256, 256) and pong.num_workers == 0
    assert dataclasses.astuple(pong.world) == (
        "pong", 64, "none", 24, 4, 0.75, (8, 512), 30)


def test_the_shipped_config_has_the_actions_of_its_game():
    shipped = parts_atari.get_config().data
    variant = atari.Atari.builder_configs[shipped.name.removeprefix("atari/")]
    assert shipped.action_size == len(games.action_names(variant.world.game))
    assert shipped.resolution == variant.world.resolution
    assert shipped.train_frames <= variant.world.num_frames  # as none is played backwards
