"""The builder: what is read back is what was drawn, and factors come along as cues."""

import dataclasses

import ml_collections
import numpy as np
import pytest

from parts_jax import data
from parts_jax.data import pipeline
from parts_jax.data.formats import frames
from parts_jax.data.sets import sim_sprites
from parts_jax.simulate import sprites

FACTORS = ("shape", "colour", "scale", "orientation", "position", "visibility", "background")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return str(tmp_path_factory.mktemp("data"))


def test_what_is_read_is_what_was_drawn(folder):
    builder = data.prepare("sim_sprites/tiny", folder)
    for position, (split, count) in enumerate({"train": 16, "validation": 8, "test": 8}.items()):
        source = builder.as_data_source(split=split)
        assert len(source) == count
        for number in range(count):
            example = source[number]
            clip = sprites.scene(sprites.TINY, (0, position, number))
            np.testing.assert_array_equal(frames.decode(example["video"]), clip["video"])
            np.testing.assert_array_equal(frames.decode(example["segmentation"]),
                                          clip["segmentation"])
            for name in FACTORS:
                np.testing.assert_array_equal(example[name], clip[name])
                assert example[name].dtype == clip[name].dtype
            assert example["id"] == f"{split}-{number:05d}".encode()
            assert len(example["objects"]) == (clip["visibility"] > 0).sum()
            for i, text in enumerate(example["objects"]):
                assert text.decode().split()[1] == sprites.SHAPES[clip["shape"][0, i]]


@pytest.mark.parametrize("name, rgb", [("red", (0.9, 0.3, 0.49)), ("cyan", (0.1, 0.6, 1)),
                                       ("white", (0.51, 0.6, 0.7)), ("black", (0.4, 0.4, 0.1))])
def test_names_of_colours_are_those_of_the_nearest_corner(name, rgb, monkeypatch):
    nearest = min(sim_sprites.CORNERS, key=lambda corner: np.abs(np.subtract(corner, rgb)).sum())
    assert sim_sprites.CORNERS[nearest] == name
    clip = sprites.scene(sprites.TINY, (0, 0, 0))
    clip["colour"][0, :] = rgb
    monkeypatch.setattr(sprites, "scene", lambda *_: clip)
    example = sim_sprites.make_example(sprites.TINY, (0, 0, 0), "x")
    assert {text.split()[0] for text in example["objects"]} == {name}


def test_factors_are_read_as_cues(folder):
    """Stacked to batches, though pictures differ in how many sprites they have."""
    config = ml_collections.ConfigDict({
        "name": "sim_sprites/tiny", "data_dir": folder, "source_dir": "", "download": False,
        "num_frames": 1, "stride": 1, "resolution": 16, "num_threads": 0})
    batch = next(pipeline.eval_iterator(config, "test", batch_size=8, cues=FACTORS))
    assert batch["video"].shape == (8, 1, 16, 16, 3)
    assert batch["shape"].shape == batch["orientation"].shape == (8, 1, 3)
    assert batch["position"].shape == (8, 1, 3, 2) and batch["background"].shape == (8, 1, 3)
    counts = (batch["visibility"] > 0).sum((1, 2))
    np.testing.assert_array_equal(counts, batch["segmentation"].max((1, 2, 3)))
    assert set(counts) == {2, 3}


def test_shipped_variants():
    configs = {config.name: config for config in sim_sprites.SimSprites.BUILDER_CONFIGS}
    assert {name: config.num_clips for name, config in configs.items()} == {
        name: (20000, 320, 320) for name in ("demo", "demo_56", "coloured_on_grey",
                                             "coloured_on_coloured", "binary")
    } | {"tiny": (16, 8, 8)}
    worlds = {name: config.world for name, config in configs.items()}
    assert (worlds["demo"].resolution, worlds["demo"].max_sprites) == (32, 4)
    assert [worlds[name].max_sprites for name in ("coloured_on_grey", "coloured_on_coloured",
                                                  "binary")] == [5, 4, 3]
    assert dataclasses.replace(worlds["demo_56"], min_sprites=2, max_sprites=4) == worlds["demo"]
    assert (worlds["demo_56"].min_sprites, worlds["demo_56"].max_sprites) == (5, 6)
