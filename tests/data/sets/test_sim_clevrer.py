"""The builder: what is read back is what was simulated, whatever the number of processes."""

import dataclasses

import numpy as np
import pytest

from parts_jax.data.formats import frames
from parts_jax.data.sets import sim_clevrer
from parts_jax.simulate.clevrer import simulation, world_settings

WORLD = dataclasses.replace(world_settings.DEMO, resolution=16, samples=1, num_frames=4)


def make_builder(data_dir, num_workers=1):
    config = sim_clevrer.SimClevrerConfig(name="test", description="For tests.", world=WORLD,
                                          num_clips=(11, 3, 2), seed=5, num_workers=num_workers)
    return sim_clevrer.SimClevrer(config=config, data_dir=data_dir, file_format="array_record")


@pytest.fixture(scope="module")
def builder(tmp_path_factory):
    built = make_builder(tmp_path_factory.mktemp("data"))
    built.download_and_prepare()
    return built


def test_what_is_read_is_what_was_simulated(builder):
    for split_index, (split, count) in enumerate({"train": 11, "validation": 3, "test": 2}.items()):
        source = builder.as_data_source(split=split)
        assert len(source) == count
        for clip in range(count):
            simulated = simulation.simulate_clip(WORLD, (5, split_index, clip))
            example = source[clip]
            np.testing.assert_array_equal(frames.decode(example["video"]), simulated["video"])
            np.testing.assert_array_equal(frames.decode(example["segmentation"]),
                                          simulated["segmentation"])
            np.testing.assert_array_equal(example["location"], simulated["location"])
            assert example["id"] == f"{split}-{clip:05d}".encode()
            item = simulated["objects"][0]
            assert example["objects"][0].decode() == f"{item.colour} {item.material} {item.shape}"


def test_an_interrupted_build_is_not_taken_for_a_finished_one(tmp_path, monkeypatch):
    simulate, calls = simulation.simulate_clip, []

    def interrupted(*args):
        calls.append(args)
        if len(calls) > 12:  # in the second split
            raise KeyboardInterrupt
        return simulate(*args)

    monkeypatch.setattr(simulation, "simulate_clip", interrupted)
    with pytest.raises(KeyboardInterrupt):
        make_builder(tmp_path).download_and_prepare()
    assert not (tmp_path / "sim_clevrer" / "test" / "1.0.0").exists()
    monkeypatch.undo()
    builder = make_builder(tmp_path)
    builder.download_and_prepare()
    assert len(builder.as_data_source(split="test")) == 2


def test_frames_survive_encoding():
    rng = np.random.default_rng(0)
    video = rng.integers(0, 256, (3, 5, 7, 3), np.uint8)
    mask = rng.integers(0, 256, (3, 5, 7), np.uint8)
    np.testing.assert_array_equal(frames.decode(frames.encode(video)), video)
    np.testing.assert_array_equal(frames.decode(frames.encode(mask)), mask)


def test_collisions_are_a_feature_where_they_are_annotated(builder, tmp_path):
    assert "collisions" not in builder.as_data_source(split="test")[0]
    world = dataclasses.replace(world_settings.SMALL, resolution=(16, 24), samples=1)
    config = sim_clevrer.SimClevrerConfig(
        name="test", description="For tests.", world=world, num_clips=(2, 1, 1), num_workers=1,
        version="1.1.0", annotates_collisions=True)
    built = sim_clevrer.SimClevrer(config=config, data_dir=tmp_path, file_format="array_record")
    built.download_and_prepare()
    assert (tmp_path / "sim_clevrer" / "test" / "1.1.0" / "dataset_info.json").exists()
    example = built.as_data_source(split="train")[1]
    simulated = simulation.simulate_clip(world, (0, 0, 1))
    assert example["collisions"].dtype == np.int32 and len(example["collisions"]) > 0
    np.testing.assert_array_equal(example["collisions"], simulated["collisions"])
    np.testing.assert_array_equal(frames.decode(example["video"]), simulated["video"])
    assert simulated["video"].shape == (24, 16, 24, 3)


def test_shipped_variants():
    configs = {config.name: config for config in sim_clevrer.SimClevrer.BUILDER_CONFIGS}
    assert set(configs) == {"demo", "demo_64", "medium", "small", "full", "large", "tiny", "twins",
                            "mixed", "medium_128", "demo_long", "medium_long", "demo_crowded",
                            "demo_camera", "demo_slow"}
    assert configs["demo"].num_clips == (3000, 256, 256)
    assert configs["demo_64"].num_clips == (3000, 256, 256)
    assert configs["demo_64"].seed == configs["demo"].seed
    assert configs["small"].num_clips == (4000, 256, 256)
    assert configs["tiny"].num_clips == (16, 8, 8)
    demo, small = configs["demo"].world, configs["small"].world
    assert (demo.resolution, demo.num_frames, demo.steps_per_frame) == (32, 8, 18)
    assert configs["demo_64"].world == dataclasses.replace(demo, resolution=64)
    assert (small.resolution, small.num_frames, small.max_objects) == (64, 24, 5)
    assert configs["large"].world.frame_size == (320, 480)
    assert configs["large"].seed == configs["small"].seed
    for name, other, changed in (("medium_128", "medium", {"resolution": 128}),
                                 ("demo_long", "demo", {"num_frames": 24}),
                                 ("medium_long", "medium", {"num_frames": 24})):
        assert configs[name].seed == configs[other].seed
        assert configs[name].world == dataclasses.replace(configs[other].world, **changed)


def test_versions_of_the_variants(tmp_path):
    versions = {name: str(sim_clevrer.SimClevrer(config=name, data_dir=tmp_path).version)
                for name in ("demo", "demo_64", "medium", "tiny", "small", "full", "large",
                             "twins", "mixed", "demo_slow")}
    assert versions == {"demo": "1.0.0", "demo_64": "1.0.0", "medium": "1.0.0", "tiny": "1.0.0",
                        "small": "1.1.0", "full": "1.1.0", "large": "1.1.0", "twins": "1.0.0",
                        "mixed": "1.0.0", "demo_slow": "1.0.0"}
