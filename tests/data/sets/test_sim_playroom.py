"""The builder: what is read back is what was simulated, whatever the number of processes."""

import dataclasses

import numpy as np
import pytest

from parts_jax.data.formats import frames
from parts_jax.data.sets import sim_playroom, simulated
from parts_jax.simulate.playroom import agent, simulation

WORLD = dataclasses.replace(simulation.TINY, num_frames=3)


@pytest.fixture(scope="module")
def builder(tmp_path_factory):
    config = simulated.SimulatedConfig(name="test", description="For tests.", world=WORLD,
                                       num_clips=(5, 2, 1), seed=4, num_workers=1)
    built = sim_playroom.SimPlayroom(config=config, data_dir=tmp_path_factory.mktemp("data"),
                                     file_format="array_record")
    built.download_and_prepare()
    return built


def test_what_is_read_is_what_was_simulated(builder):
    for split_index, (split, count) in enumerate({"train": 5, "validation": 2, "test": 1}.items()):
        source = builder.as_data_source(split=split)
        assert len(source) == count
        for clip in range(count):
            simulated = simulation.simulate_clip(WORLD, (4, split_index, clip))
            example = source[clip]
            for key in ("video", "segmentation"):
                np.testing.assert_array_equal(frames.decode(example[key]), simulated[key])
            for key in ("actions", "location"):
                assert example[key].dtype == np.float32
                np.testing.assert_array_equal(example[key], simulated[key])
            np.testing.assert_array_equal(example["poses"], simulated["poses"].astype(np.float32))
            assert example["id"] == f"{split}-{clip:05d}".encode()
            item = simulated["objects"][0]
            assert example["objects"][0].decode() == \
                f"{item.colours[0]} {item.name.replace('_', ' ')}"
            assert len(example["objects"]) == example["location"].shape[1]


def test_shapes_of_the_features(builder):
    example = builder.as_data_source(split="train")[0]
    assert frames.decode(example["video"]).shape == (3, 16, 16, 3)
    assert frames.decode(example["segmentation"]).shape == (3, 16, 16)
    assert example["actions"].shape == (3, sim_playroom.SimPlayroom.ACTION_SIZE)
    assert example["poses"].shape == (3, 4)


def test_mirrored_actions_walk_the_mirrored_path():
    """A world mirrored at the plane of the first view: y and yaw turn their sign."""
    walker, mirror = agent.Agent(), np.array([1.0, -1.0, -1.0, 1.0])
    actions = np.random.default_rng(0).uniform(-1, 1, (20, 4))
    mirrored = actions.copy()
    mirrored[:, list(sim_playroom.SimPlayroom.MIRRORED_ACTIONS)] *= -1
    pose = image = np.zeros(4)
    for action, other in zip(actions, mirrored, strict=True):
        pose = agent.move(walker, pose, action)
        image = agent.move(walker, image, other)
        np.testing.assert_allclose(image, pose * mirror, atol=1e-12)


def test_shipped_variants():
    configs = {config.name: config for config in sim_playroom.SimPlayroom.BUILDER_CONFIGS}
    assert set(configs) == {"small", "demo", "demo_64", "tiny"}
    small, tiny = configs["small"], configs["tiny"]
    assert small.num_clips == (4000, 256, 256) and tiny.num_clips == (16, 8, 8)
    assert (small.world.resolution, small.world.num_frames) == (64, 25)
    assert configs["demo"].num_clips == (1500, 128, 256)
    assert configs["demo_64"].num_clips == (1200, 128, 128)
    assert configs["demo"].world.num_frames == 24
    assert (configs["demo"].world.resolution, configs["demo_64"].world.resolution) == (32, 64)
    assert (tiny.world.resolution, tiny.world.num_frames) == (16, 6)
