"""The builder: what is read back is what was drawn, and factors come along as cues."""

import ml_collections
import numpy as np
import pytest

from parts_jax import data
from parts_jax.data import pipeline
from parts_jax.data.formats import frames
from parts_jax.data.sets import sim_shapes
from parts_jax.simulate import shapes

FACTORS = ("shape", "position", "visibility")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return str(tmp_path_factory.mktemp("data"))


def test_what_is_read_is_what_was_drawn(folder):
    builder = data.prepare("sim_shapes/tiny", folder)
    for position, (split, count) in enumerate({"train": 16, "validation": 8, "test": 8}.items()):
        source = builder.as_data_source(split=split)
        assert len(source) == count
        for number in range(count):
            example = source[number]
            clip = shapes.scene(shapes.DEFAULT, (0, position, number))
            np.testing.assert_array_equal(frames.decode(example["video"]), clip["video"])
            np.testing.assert_array_equal(frames.decode(example["segmentation"]),
                                          clip["segmentation"])
            for name in FACTORS:
                np.testing.assert_array_equal(example[name], clip[name])
                assert example[name].dtype == clip[name].dtype
            assert example["id"] == f"{split}-{number:05d}".encode()
            assert [text.decode() for text in example["objects"]] == [
                f"white {shapes.SHAPE_NAMES[shape]}" for shape in clip["shape"][0]]


def test_factors_are_read_as_cues(folder):
    config = ml_collections.ConfigDict({
        "name": "sim_shapes/tiny", "data_dir": folder, "source_dir": "", "download": False,
        "num_frames": 1, "stride": 1, "resolution": 28, "num_threads": 0})
    batch = next(pipeline.eval_iterator(config, "test", batch_size=4, cues=FACTORS))
    assert batch["video"].shape == (4, 1, 28, 28, 3)
    assert batch["shape"].shape == batch["visibility"].shape == (4, 1, 3)
    np.testing.assert_array_equal(batch["position"][2],
                                  shapes.scene(shapes.DEFAULT, (0, 2, 2))["position"])


def test_shipped_variants():
    configs = {config.name: config for config in sim_shapes.SimShapes.BUILDER_CONFIGS}
    assert {name: config.num_clips for name, config in configs.items()} == {
        "full": (60000, 320, 320), "tiny": (16, 8, 8)}
    for config in configs.values():
        assert (config.world, config.seed) == (shapes.DEFAULT, 0)
