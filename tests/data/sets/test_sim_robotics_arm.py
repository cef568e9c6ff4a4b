"""The builder: what is read back is what was simulated, whatever the number of processes."""

import dataclasses

import ml_collections
import numpy as np
import pytest

from parts_jax.data import pipeline
from parts_jax.data.formats import frames
from parts_jax.data.sets import sim_robotics_arm, simulated, splits
from parts_jax.simulate.robot_arm import simulation

WORLD = dataclasses.replace(simulation.TINY, num_frames=3, max_start=4)


@pytest.fixture(scope="module")
def builder(tmp_path_factory):
    built = sim_robotics_arm.SimRoboticsArm(
        config="tiny", data_dir=tmp_path_factory.mktemp("data"), file_format="array_record")
    built.download_and_prepare()
    return built


def test_tiny_reads_back_as_simulated(builder):
    config = builder.builder_config
    for index, (split, count) in enumerate(
            zip(splits.SPLITS, config.num_clips, strict=True)):
        source = builder.as_data_source(split=split)
        assert len(source) == count
        for clip in (0, count - 1):
            expected = simulation.simulate_clip(config.world, (config.seed, index, clip))
            example = source[clip]
            for key in ("video", "segmentation"):
                np.testing.assert_array_equal(frames.decode(example[key]), expected[key])
            for key in ("actions", "location", "gripper"):
                assert example[key].dtype == np.float32
                np.testing.assert_array_equal(example[key], expected[key])
            assert example["actions"].shape == (8, sim_robotics_arm.SimRoboticsArm.ACTION_SIZE)
            assert example["id"] == f"{split}-{clip:05d}".encode()
            item = expected["objects"][3]
            assert [text.decode() for text in example["objects"]] == [
                "red cube", "green cube", "blue cube", f"{item.colour} {item.shape}", "robot arm"]


def test_what_it_has_beside_the_video_is_read_as_cues(builder):
    config = ml_collections.ConfigDict({"num_frames": 8, "stride": 1, "resolution": 8,
                                        "num_threads": 0})
    split = pipeline.Split(builder.as_data_source(split="test"), fewest_frames=8)
    batch = next(pipeline.eval_iterator(config, split, batch_size=2,
                                        cues=("gripper", "location")))
    for key in ("gripper", "location"):
        np.testing.assert_array_equal(batch[key][1], split.examples[1][key])
    with pytest.raises(ValueError, match="'objects' is asked for, but the data have gripper, loc"):
        pipeline.eval_iterator(config, split, batch_size=2, cues=("objects",))


def test_a_variant_without_a_distractor_reads_back(tmp_path):
    config = simulated.SimulatedConfig(
        name="test", description="For tests.", num_clips=(1, 1, 1), num_workers=1,
        world=dataclasses.replace(simulation.DEMO, resolution=16, samples=1, num_frames=3))
    built = sim_robotics_arm.SimRoboticsArm(config=config, data_dir=tmp_path,
                                            file_format="array_record")
    built.download_and_prepare()
    example = built.as_data_source(split="train")[0]
    assert [text.decode() for text in example["objects"]] == [
        "red cube", "green cube", "blue cube", "robot arm"]
    expected = simulation.simulate_clip(config.world, (0, 0, 0))
    np.testing.assert_array_equal(example["location"], expected["location"])
    assert example["location"].shape == (3, 3, 3)


def test_splits_and_seeds_have_clips_of_their_own():
    def clip(seed, split):
        return simulated.simulate_range(
            sim_robotics_arm.make_example, WORLD, seed, split, range(1))[0]

    videos = [clip(0, "train")["video"], clip(0, "test")["video"], clip(1, "train")["video"]]
    assert videos[0] != videos[1] and videos[0] != videos[2]
    assert videos[0] == clip(0, "train")["video"]


def test_shipped_variants():
    configs = {config.name: config
               for config in sim_robotics_arm.SimRoboticsArm.BUILDER_CONFIGS}
    assert set(configs) == {"small", "demo", "demo_64", "tiny"}
    small, tiny = configs["small"], configs["tiny"]
    assert small.num_clips == (4000, 256, 256)
    assert (small.world.resolution, small.world.num_frames) == (64, 25)
    assert (tiny.world.resolution, tiny.world.num_frames) == (16, 8)
    assert configs["demo"].num_clips == (1500, 128, 256)
    assert configs["demo_64"].num_clips == (1200, 128, 128)
    assert configs["demo"].world.num_frames == 24
    assert (configs["demo"].world.resolution, configs["demo_64"].world.resolution) == (32, 64)
    seconds = small.world.timestep * small.world.steps_per_frame
    assert seconds == pytest.approx(0.1)  # 10 frames a second
