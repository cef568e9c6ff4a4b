"""The builder: what is read back is what was simulated, and factors come along as cues."""

import ml_collections
import numpy as np
import pytest

from parts_jax import data
from parts_jax.data import pipeline
from parts_jax.data.formats import frames
from parts_jax.data.sets import sim_balls
from parts_jax.simulate import balls

FACTORS = ("colour", "position", "velocity", "radius")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return str(tmp_path_factory.mktemp("data"))


def test_what_is_read_is_what_was_simulated(folder):
    builder = data.prepare("sim_balls/tiny", folder)
    for position, (split, count) in enumerate({"train": 16, "validation": 8, "test": 8}.items()):
        source = builder.as_data_source(split=split)
        assert len(source) == count
        for number in range(0, count, 3):
            example = source[number]
            clip = balls.scene(balls.TINY, (0, position, number))
            for name in ("video", "segmentation"):
                np.testing.assert_array_equal(frames.decode(example[name]), clip[name])
            for name in FACTORS:
                np.testing.assert_array_equal(example[name], clip[name])
                assert example[name].dtype == clip[name].dtype
            assert example["id"] == f"{split}-{number:05d}".encode()
            assert [text.decode() for text in example["objects"]] == [
                f"{balls.COLOUR_NAMES[colour]} ball" for colour in clip["colour"][0]]


def test_factors_are_read_as_cues(folder):
    config = ml_collections.ConfigDict({
        "name": "sim_balls/tiny", "data_dir": folder, "source_dir": "", "download": False,
        "num_frames": 4, "stride": 1, "resolution": 16, "num_threads": 0})
    batch = next(pipeline.eval_iterator(config, "test", batch_size=3, cues=FACTORS))
    assert batch["video"].shape == (3, 4, 16, 16, 3)
    assert batch["velocity"].shape == (3, 4, 3, 2) and batch["radius"].shape == (3, 4, 3)
    clip = balls.scene(balls.TINY, (0, 2, 1))
    np.testing.assert_array_equal(batch["position"][1], clip["position"][:4])


def test_white_balls_have_a_name():
    world = sim_balls.SimBalls.builder_configs["demo_binary"].world
    example = sim_balls.make_example(world, (0, 0, 0), "train-00000")
    assert example["objects"] == ["white ball"] * 4 and len(example["video"]) == 51


def test_shipped_variants():
    worlds = {config.name: config.world for config in sim_balls.SimBalls.BUILDER_CONFIGS}
    found = {name: (w.resolution, w.num_balls, w.num_colours) for name, w in worlds.items()}
    assert found == {
        "demo": (32, (4, 4), 4), "demo_binary": (32, (4, 4), 0), "demo_678": (32, (6, 8), 8),
        "demo_678_4": (32, (6, 8), 4), "demo_678_binary": (32, (6, 8), 0),
        "balls4": (64, (4, 4), 0), "balls678": (64, (6, 8), 0), "balls4_colour": (64, (4, 4), 4),
        "balls678_colour": (64, (6, 8), 8), "balls678_colour_4": (64, (6, 8), 4),
        "tiny": (16, (3, 3), 4)}
    assert {w.num_frames for name, w in worlds.items() if name != "tiny"} == {51}
