"""The builder: what is read back is what was drawn, and factors come along as cues."""

import ml_collections
import numpy as np
import pytest

from parts_jax import data
from parts_jax.data import pipeline
from parts_jax.data.formats import frames
from parts_jax.data.sets import sim_tetrominoes
from parts_jax.simulate import tetrominoes

FACTORS = ("shape", "colour", "position", "visibility")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return str(tmp_path_factory.mktemp("data"))


def test_what_is_read_is_what_was_drawn(folder):
    builder = data.prepare("sim_tetrominoes/tiny", folder)
    for position, (split, count) in enumerate({"train": 16, "validation": 8, "test": 8}.items()):
        source = builder.as_data_source(split=split)
        assert len(source) == count
        for number in range(count):
            example = source[number]
            clip = tetrominoes.scene(tetrominoes.DEFAULT, (0, position, number))
            np.testing.assert_array_equal(frames.decode(example["video"]), clip["video"])
            np.testing.assert_array_equal(frames.decode(example["segmentation"]),
                                          clip["segmentation"])
            for name in FACTORS:
                np.testing.assert_array_equal(example[name], clip[name])
                assert example[name].dtype == clip[name].dtype
            assert example["id"] == f"{split}-{number:05d}".encode()
            for i, text in enumerate(example["objects"]):
                colour, shape = text.decode().split()
                assert tetrominoes.SHAPE_NAMES.index(shape) == example["shape"][0, i]
                rgb = tetrominoes.COLOURS[colour]
                np.testing.assert_array_equal(rgb, 255 * example["colour"][0, i])


def test_factors_are_read_as_cues(folder):
    config = ml_collections.ConfigDict({
        "name": "sim_tetrominoes/tiny", "data_dir": folder, "source_dir": "", "download": False,
        "num_frames": 1, "stride": 1, "resolution": 35, "num_threads": 0})
    batch = next(pipeline.eval_iterator(config, "test", batch_size=3, cues=FACTORS))
    assert batch["video"].shape == (3, 1, 35, 35, 3)
    assert batch["segmentation"].shape == (3, 1, 35, 35)
    shapes = {"shape": (3, 1, 3), "colour": (3, 1, 3, 3), "position": (3, 1, 3, 2),
              "visibility": (3, 1, 3)}
    for name, shape in shapes.items():
        assert batch[name].shape == shape
    clip = tetrominoes.scene(tetrominoes.DEFAULT, (0, 2, 1))
    np.testing.assert_array_equal(batch["position"][1], clip["position"])


def test_shipped_variants():
    configs = {config.name: config for config in sim_tetrominoes.SimTetrominoes.BUILDER_CONFIGS}
    assert {name: config.num_clips for name, config in configs.items()} == {
        "demo": (20000, 320, 320), "twins": (20000, 320, 320), "full": (60000, 320, 320),
        "tiny": (16, 8, 8)}
    for name, config in configs.items():
        world = tetrominoes.TWINS if name == "twins" else tetrominoes.DEFAULT
        assert (config.world, config.seed) == (world, 0)
