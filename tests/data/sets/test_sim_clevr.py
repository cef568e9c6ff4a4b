"""The builder: what is read back is what was drawn, with its factors and their names."""

import numpy as np
import pytest

from parts_jax.data import preprocess
from parts_jax.data.formats import frames
from parts_jax.data.sets import sim_clevr, simulated
from parts_jax.simulate.clevrer import stills


def make_builder(data_dir):
    config = simulated.SimulatedConfig(name="test", description="For tests.", world=stills.TINY,
                                       num_clips=(5, 2, 1), seed=4, num_workers=1)
    return sim_clevr.SimClevr(config=config, data_dir=data_dir, file_format="array_record")


@pytest.fixture(scope="module")
def builder(tmp_path_factory):
    built = make_builder(tmp_path_factory.mktemp("data"))
    built.download_and_prepare()
    return built


def test_what_is_read_is_what_was_drawn(builder):
    for split_index, (split, count) in enumerate({"train": 5, "validation": 2, "test": 1}.items()):
        source = builder.as_data_source(split=split)
        assert len(source) == count
        for number in range(count):
            still = stills.draw_still(stills.TINY, (4, split_index, number))
            example = source[number]
            for key in ("video", "segmentation"):
                np.testing.assert_array_equal(frames.decode(example[key]), still[key])
            for key in sim_clevr.FACTORS:
                assert example[key].dtype == still[key].dtype
                np.testing.assert_array_equal(example[key], still[key])
            item = still["objects"][0]
            size = ("small", "large")[still["size"][0, 0]]
            assert example["objects"][0].decode() == f"{size} {item.colour} rubber {item.shape}"
            assert len(example["objects"]) == len(still["objects"])
            assert example["id"] == f"{split}-{number:05d}".encode()
    assert frames.decode(example["video"]).shape == (1, 16, 16, 3)


def test_names_of_the_factors_travel_with_the_set(builder):
    again = make_builder(builder.data_dir.split("/sim_clevr/")[0])
    assert dict(again.info.metadata) == {
        "shape": ["sphere", "box", "cylinder"],
        "colour": ["red", "green", "blue", "yellow", "magenta", "cyan"],
        "material": ["rubber", "metal"], "size": ["small", "large"]}


def test_factors_are_cues(builder):
    example = builder.as_data_source(split="train")[0]
    assert preprocess.cue_shapes(example, ("shape", "position", "visibility")) == {
        "shape": (4,), "position": (4, 3), "visibility": (4,)}


def test_shipped_variants():
    configs = {config.name: config for config in sim_clevr.SimClevr.BUILDER_CONFIGS}
    assert list(configs) == ["full", "clevr6", "small", "tiny"]
    assert {name: (config.num_clips, config.world.world.resolution, config.world.world.min_objects,
                   config.world.world.max_objects) for name, config in configs.items()} == {
        "full": ((10000, 320, 320), 128, 3, 10), "clevr6": ((10000, 320, 320), 128, 3, 6),
        "small": ((8000, 320, 320), 32, 2, 4), "tiny": ((16, 8, 8), 16, 2, 4)}
    assert all(config.world.num_frames == 1 for config in configs.values())
