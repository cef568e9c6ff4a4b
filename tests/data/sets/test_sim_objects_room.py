"""The builder: what is read back is what was simulated, with its factors and their names."""

import dataclasses

import numpy as np
import pytest

from parts_jax.data import preprocess
from parts_jax.data.formats import frames
from parts_jax.data.sets import sim_objects_room, simulated
from parts_jax.simulate import objects_room

WORLD = dataclasses.replace(objects_room.TINY, num_frames=3)
FACTORS = (*sim_objects_room.OF_OBJECTS, *sim_objects_room.OF_THE_ROOM, *sim_objects_room.FLOATS)


def make_builder(data_dir):
    config = simulated.SimulatedConfig(name="test", description="For tests.", world=WORLD,
                                       num_clips=(5, 2, 1), seed=4, num_workers=1)
    return sim_objects_room.SimObjectsRoom(config=config, data_dir=data_dir,
                                           file_format="array_record")


@pytest.fixture(scope="module")
def builder(tmp_path_factory):
    built = make_builder(tmp_path_factory.mktemp("data"))
    built.download_and_prepare()
    return built


def test_what_is_read_is_what_was_simulated(builder):
    for split_index, (split, count) in enumerate({"train": 5, "validation": 2, "test": 1}.items()):
        source = builder.as_data_source(split=split)
        assert len(source) == count
        for number in range(count):
            clip = objects_room.simulate_clip(WORLD, (4, split_index, number))
            example = source[number]
            for key in ("video", "segmentation"):
                np.testing.assert_array_equal(frames.decode(example[key]), clip[key])
            for key in FACTORS:
                assert example[key].dtype == clip[key].dtype
                np.testing.assert_array_equal(example[key], clip[key])
            assert example["id"] == f"{split}-{number:05d}".encode()
            item = clip["objects"][0]
            assert example["objects"][0].decode() == \
                f"{objects_room.HUES[item.colour]} {item.shape}"
    assert preprocess.cue_shapes(example, FACTORS) == {
        "shape": (3,), "colour": (3,), "size": (3,), "floor": (), "wall": (), "sky": (),
        "position": (3, 3), "visibility": (3,), "camera": (5,)}


def test_names_of_the_factors_travel_with_the_set(builder):
    again = make_builder(builder.data_dir.split("/sim_objects_room/")[0])
    names = again.info.metadata
    assert names["shape"] == ["sphere", "box", "cylinder", "capsule"]
    assert names["floor"] == names["wall"] == names["colour"] == list(objects_room.HUES)
    assert names["size"] == [0.32, 0.38, 0.44, 0.5] and len(names["sky"]) == 4


def test_shipped_variants():
    configs = {config.name: config for config in sim_objects_room.SimObjectsRoom.BUILDER_CONFIGS}
    assert {name: (config.num_clips, config.world.resolution, config.world.num_frames)
            for name, config in configs.items()} == {
        "full": ((4000, 320, 320), 64, 16), "tiny": ((16, 8, 8), 16, 6)}
