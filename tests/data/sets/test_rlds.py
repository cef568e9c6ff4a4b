"""TFDS copies in the RLDS layout, written byte by byte, read through the builder."""

import dataclasses
import json
import re

import numpy as np
import pytest

from parts_jax import data
from parts_jax.data.formats import frames, local_tfds
from parts_jax.data.sets import rlds
from tests.data.formats import tfrecord_writer as writer

SIZE, CLIP = 12, 4
CONFIGS = {config.name: config for config in rlds.Rlds.BUILDER_CONFIGS}

PARTS = {  # part of the action in the file, its size and type, in the order of the action
    "taco_play": [("rel_actions_world", 7, np.float32)],
    "bridge": [("world_vector", 3, np.float32), ("rotation_delta", 3, np.float32),
               ("open_gripper", 1, bool)],
    "utokyo_xarm_pick_and_place": [("", 7, np.float32)],
    "berkeley_autolab_ur5": [("world_vector", 3, np.float32), ("rotation_delta", 3, np.float32),
                             ("gripper_closedness_action", 1, np.float32)],
}
CAMERA = {kind: "rgb_static" if kind == "taco_play" else "image" for kind in PARTS}


def make_episode(kind, seed, num_steps=9):
    """Pictures as JPEG gives them back, the action [T, 7], and the features of the example."""
    rng = np.random.default_rng(seed)
    encoded = [writer.picture(frame, "JPEG")
               for frame in rng.integers(0, 256, (num_steps, SIZE, SIZE, 3), np.uint8)]
    features = {f"steps/observation/{CAMERA[kind]}": encoded,
                "steps/is_first": np.arange(num_steps) == 0,
                "steps/reward": np.zeros(num_steps),
                "steps/action/actions": np.full((num_steps, 7), 9.0),
                "steps/action/terminate_episode": np.zeros(num_steps)}
    parts = []
    for part, size, dtype in PARTS[kind]:
        values = rng.normal(size=(num_steps, size)).astype(np.float32)
        values = values > 0 if dtype is bool else values
        features["steps/action" + f"/{part}" * bool(part)] = values
        parts.append(values.astype(np.float32))
    return frames.decode(encoded), np.concatenate(parts, axis=1), features


def write_copy(folder, kind, shards, **changes):
    """A copy whose splits are lists of shards of seeds of episodes."""
    records = {split: [[writer.example(make_episode(kind, seed)[2] | changes) for seed in shard]
                       for shard in shards[split]] for split in shards}
    return writer.write_tfds(folder, CONFIGS[kind].dataset, records, version="0.1.0")


def make_builder(kind, source_dir, data_dir, **changes):
    config = dataclasses.replace(CONFIGS[kind], name="test", source_dir=str(source_dir), **{
        "resolution": SIZE, "clip_length": CLIP, **changes})
    return rlds.Rlds(config=config, data_dir=data_dir, file_format="array_record")


def prepare(kind, source_dir, data_dir, **changes):
    builder = make_builder(kind, source_dir, data_dir, **changes)
    builder.download_and_prepare()
    return {split: builder.as_data_source(split=split) for split in builder.info.splits}


def check_clips(kind, source, split, seeds):
    expected = [(index, seed, start) for index, seed in enumerate(seeds) for start in (0, CLIP)]
    assert len(source) == len(expected)
    for example, (index, seed, start) in zip(source, expected, strict=True):
        video, actions, _ = make_episode(kind, seed)
        np.testing.assert_array_equal(frames.decode(example["video"]), video[start:start + CLIP])
        np.testing.assert_array_equal(example["actions"], actions[start:start + CLIP])
        assert example["actions"].shape == (CLIP, 7) and example["actions"].dtype == np.float32
        assert example["id"].decode() == f"{split}-{index:05d}-{start:05d}"


@pytest.mark.parametrize("kind", sorted(CONFIGS))
def test_all_sets_are_read(tmp_path, kind):
    write_copy(tmp_path / "copy", kind,
               {"train": [[1, 2], [3]], "validation": [[4]], "test": [[5], [6]]})
    splits = prepare(kind, tmp_path / "copy", tmp_path / "data")
    check_clips(kind, splits["train"], "train", [1, 2, 3])
    check_clips(kind, splits["validation"], "validation", [4])
    check_clips(kind, splits["test"], "test", [5, 6])


def test_missing_splits_are_made_of_the_start_of_train(tmp_path):
    kind = "utokyo_xarm_pick_and_place"
    write_copy(tmp_path / "1", kind, {"train": [[*range(13)], [*range(13, 20)]], "val": [[50]]})
    splits = prepare(kind, tmp_path / "1", tmp_path / "data-1")
    check_clips(kind, splits["validation"], "validation", [50])
    check_clips(kind, splits["test"], "test", [0, 1])
    check_clips(kind, splits["train"], "train", range(2, 20))
    write_copy(tmp_path / "2", kind, {"train": [[1, 2, 3]]})
    splits = prepare(kind, tmp_path / "2", tmp_path / "data-2")
    assert {split: splits[split][0]["actions"][0, 0] for split in splits} == {
        split: make_episode(kind, seed)[1][0, 0]
        for split, seed in {"validation": 1, "test": 2, "train": 3}.items()}


def test_a_copy_is_found_below_the_folder(tmp_path):
    write_copy(tmp_path / "tfds/taco_play/0.1.0", "taco_play", {"train": [[1, 2, 3]]})
    write_copy(tmp_path / "tfds/bridge/0.1.0", "bridge", {"train": [[1, 2, 3]]})
    assert len(prepare("bridge", tmp_path / "tfds", tmp_path / "data")["train"]) == 2


def refuse(kind, source_dir, tmp_path, message, error=ValueError, **changes):
    builder = make_builder(kind, source_dir, tmp_path / "refused", **changes)
    with pytest.raises(error, match=message):
        builder.download_and_prepare()
    assert not list((tmp_path / "refused").rglob("dataset_info.json"))


@pytest.fixture
def copy(tmp_path):
    return write_copy(tmp_path / "copy", "bridge", {"train": [[1, 2, 3], [4, 5]]})


def test_a_truncated_shard_is_named(copy, tmp_path):
    path = copy / "bridge-train.tfrecord-00001-of-00002"
    whole = path.read_bytes()
    path.write_bytes(whole[:-50])
    refuse("bridge", copy, tmp_path, f"{re.escape(str(path))} is truncated in record 1")
    # Cut off between its two records.
    path.write_bytes(writer.frame(writer.example(make_episode("bridge", 4)[2])))
    refuse("bridge", copy, tmp_path, f"{re.escape(str(path))} has 1 examples, but "
                                     "dataset_info.json beside it declares 2")
    path.write_bytes(whole + writer.frame(writer.example(make_episode("bridge", 4)[2])))
    refuse("bridge", copy, tmp_path, "has 3 examples, but .* declares 2")


def test_a_damaged_shard_is_named(copy, tmp_path):
    path = copy / "bridge-train.tfrecord-00000-of-00002"
    data = bytearray(path.read_bytes())
    data[-20] ^= 1
    path.write_bytes(data)
    refuse("bridge", copy, tmp_path, f"{re.escape(str(path))} is damaged: the checksum of record 2")


def test_missing_files_are_named(copy, tmp_path):
    (copy / "bridge-train.tfrecord-00001-of-00002").unlink()
    refuse("bridge", copy, tmp_path, "The split 'train' lacks 1 of its 2 files; the first is .*"
                                     "bridge-train.tfrecord-00001-of-00002", FileNotFoundError)
    (copy / "bridge-train.tfrecord-00000-of-00002").unlink()
    refuse("bridge", copy, tmp_path, "none of the TFRecord files", FileNotFoundError)


def test_a_split_without_files_is_left_out(tmp_path):
    folder = write_copy(tmp_path / "copy", "bridge", {"train": [[1, 2, 3]], "extra": [[4]]})
    (folder / "bridge-extra.tfrecord-00000-of-00001").unlink()
    assert set(prepare("bridge", folder, tmp_path / "data")) == {"train", "validation", "test"}


@pytest.mark.parametrize("changes, message", [
    ({"steps/action/world_vector": np.zeros((8, 3))},
     "'steps/action/world_vector' of record 2 of .* must have numbers for each of the 9 "
     "pictures, equally many; got 24 in all"),
    ({"steps/action/world_vector": [b"x"]}, "must hold numbers, but holds byte strings"),
    ({"steps/observation/image": [b"x"] * 9}, "4 pictures 'steps/observation/image' of record 2 of "
                                              ".* cannot be decoded: one of them is no picture"),
    ({"steps/observation/image": [writer.picture(np.zeros((4 + i, 4, 3), np.uint8))
                                  for i in range(9)]}, "cannot be decoded: all input arrays"),
])
def test_wrong_episodes_are_named(tmp_path, changes, message):
    write_copy(tmp_path / "copy", "bridge", {"train": [[1, 2, 3]]}, **changes)
    refuse("bridge", tmp_path / "copy", tmp_path, message)


def test_actions_of_another_size_are_refused(tmp_path):
    write_copy(tmp_path / "copy", "bridge", {"train": [[1, 2, 3]]})
    refuse("bridge", tmp_path / "copy", tmp_path, "same size, but bridge has actions of size 7 and "
           "record 2 of .* has actions of size 6",
           actions=("steps/action/world_vector", "steps/action/rotation_delta"))


def test_a_missing_feature_is_answered_with_the_others(copy, tmp_path):
    refuse("bridge", copy, tmp_path, "no feature 'steps/observation/rgb' in record 2 of .* It has: "
           "steps/action/.*steps/observation/image", camera="steps/observation/rgb")


def test_short_episodes_are_refused(copy, tmp_path):
    refuse("bridge", copy, tmp_path, "has no episode of 10 frames or more", clip_length=10)


def test_short_episodes_among_others_are_left_out_and_counted(tmp_path, caplog):
    records = [writer.example(make_episode("bridge", seed, length)[2])
               for seed, length in enumerate([4, 4, 3, 9, 2, 5])]
    writer.write_tfds(tmp_path / "copy", "bridge", {"train": [records]})
    splits = prepare("bridge", tmp_path / "copy", tmp_path / "data")
    assert [example["id"].decode() for example in splits["train"]] == [
        "train-00001-00000", "train-00001-00004", "train-00003-00000"]
    assert "Left out of the split 'train': 2 episodes of fewer than 4 frames" in caplog.text


def test_folders_without_the_set_are_refused(copy, tmp_path):
    (tmp_path / "empty").mkdir()
    refuse("taco_play", tmp_path / "empty", tmp_path, "no TFDS copies of taco_play",
           FileNotFoundError)
    refuse("taco_play", tmp_path / "none", tmp_path, "no folder .*none", FileNotFoundError)
    refuse("taco_play", "", tmp_path, "name their folder with --config.data.source_dir=PATH")
    refuse("taco_play", copy, tmp_path, "no copy of the TFDS set 'taco_play', but of: bridge")


def test_several_copies_are_refused(tmp_path):
    for version in ("0.1.0", "0.2.0"):
        write_copy(tmp_path / "bridge" / version, "bridge", {"train": [[1, 2, 3]]})
    refuse("bridge", tmp_path / "bridge", tmp_path, r"several copies .*bridge/0.1.0, .*0.2.0")


def test_too_few_episodes_are_refused(tmp_path):
    write_copy(tmp_path / "copy", "bridge", {"train": [[1, 2]]})
    refuse("bridge", tmp_path / "copy", tmp_path, "'train' of .*/copy has 2 examples: too few")


@pytest.mark.parametrize("content, message", [
    ("{", "does not describe a TFDS set"), ("[]", "does not describe a TFDS set"),
    ({"name": "bridge"}, "splits in .*dataset_info.json cannot be read: .*KeyError: 'splits'"),
    ({"name": "bridge", "splits": [{"name": "train"}]}, "KeyError: 'shardLengths'"),
    ({"name": "bridge", "splits": 3}, "cannot be read: .*TypeError"),
    ({"name": "bridge", "splits": [], "fileFormat": "riegeli"},
     "must be in files of the format tfrecord; got riegeli")])
def test_wrong_descriptions_are_refused(copy, tmp_path, content, message):
    (copy / "dataset_info.json").write_text(
        content if isinstance(content, str) else json.dumps(content))
    refuse("bridge", copy, tmp_path, message)


def test_older_descriptions_are_read(copy, tmp_path):
    path = copy / "dataset_info.json"
    info = json.loads(path.read_text())
    del info["fileFormat"], info["splits"][0]["filepathTemplate"]
    path.write_text(json.dumps(info))
    assert len(prepare("bridge", copy, tmp_path / "data")["train"]) == 6


def test_shipped_variants():
    assert {config.resolution for config in CONFIGS.values()} == {64}
    assert {config.clip_length for config in CONFIGS.values()} == {16}
    assert CONFIGS["taco_play"].camera == "steps/observation/rgb_static"
    assert CONFIGS["taco_play"].actions == ("steps/action/rel_actions_world",)
    assert CONFIGS["utokyo_xarm_pick_and_place"].dataset == (
        "utokyo_xarm_pick_and_place_converted_externally_to_rlds")


def left_out(folder, tmp_path, caplog, count):
    """What is left of the training split; the bad episodes are named and counted."""
    splits = prepare("bridge", folder, tmp_path / "data", skip_bad=True)
    assert f"Left out of the split 'train': {count} episodes that cannot be read" in caplog.text
    return [example["id"].decode() for example in splits["train"]]


def test_bad_episodes_are_left_out_on_demand(tmp_path, caplog):
    records = [[make_episode("bridge", seed)[2] for seed in range(5)]]
    records[0][2]["steps/action/world_vector"] = np.full((9, 3), np.nan)
    records[0][3]["steps/observation/image"] = [b"x"] * 9
    folder = writer.write_tfds(tmp_path / "copy", "bridge", {
        "train": [[writer.example(record) for record in shard] for shard in records],
        "validation": [[writer.example(records[0][0])]], "test": [[writer.example(records[0][0])]]})
    refuse("bridge", folder, tmp_path, "actions of record 2 of .* must be finite in float32.*nan.*"
                                       "skip_bad=True")
    assert left_out(folder, tmp_path, caplog, 2) == [
        f"train-{episode:05d}-{start:05d}" for episode in (0, 1, 4) for start in (0, 4)]
    assert re.search("Left out: .*record 2 of", caplog.text)
    assert re.search("Left out: .*record 3 of", caplog.text)


def test_what_lies_behind_damage_is_left_out_on_demand(tmp_path, caplog):
    folder = write_copy(tmp_path / "copy", "bridge", {"train": [[0, 1], [2, 3]],
                                                      "validation": [[4]], "test": [[5]]})
    path = folder / "bridge-train.tfrecord-00000-of-00002"
    path.write_bytes(path.read_bytes()[:-9])
    assert left_out(folder, tmp_path, caplog, 1) == [
        f"train-{episode:05d}-{start:05d}" for episode in range(3) for start in (0, 4)]
    assert re.search("Left out: .*00000-of-00002 is truncated in record 1", caplog.text)


def test_episodes_of_no_steps_are_short_ones(tmp_path, caplog):
    empty = {"steps/observation/image": [], "steps/action/world_vector": np.zeros(0),
             "steps/action/rotation_delta": np.zeros(0), "steps/action/open_gripper": np.zeros(0)}
    records = [writer.example(make_episode("bridge", 0)[2] | empty),
               *(writer.example(make_episode("bridge", seed)[2]) for seed in (1, 2, 3))]
    writer.write_tfds(tmp_path / "copy", "bridge", {
        "train": [records], "validation": [records[1:2]], "test": [records[1:2]]})
    assert len(prepare("bridge", tmp_path / "copy", tmp_path / "data")["train"]) == 6
    assert re.search("'train': 1 episodes of fewer than 4 frames: record 0 of .*00000-of-00001",
                     caplog.text)


@pytest.mark.parametrize("change, message", [
    ({"filepathTemplate": "../{DATASET}-{SPLIT}.{FILEFORMAT}-{SHARD_X_OF_Y}"},
     "names the file .*: its files must lie beside its description"),
    ({"filepathTemplate": "/etc/{SPLIT}.{FILEFORMAT}-{SHARD_X_OF_Y}"}, "must lie beside"),
    ({"name": "../train"}, "dataset_info.json .*(must lie beside|cannot be read)"),
    ({"filepathTemplate": 7}, "splits in .*dataset_info.json cannot be read"),
    ({"shardLengths": ["1"] * 3_000_000}, "has 3,000,000 files, but at most 100,000 are allowed"),
    ({"shardLengths": [-1]}, "one of the shardLengths is -1"),
    ({"shardLengths": ["9" * 30]}, "one of the shardLengths is '9999"),
    ({"shardLengths": [True]}, "one of the shardLengths is True"),
])
def test_wrong_splits_are_refused(copy, tmp_path, change, message):
    info = json.loads((copy / "dataset_info.json").read_text())
    info["splits"][0] |= change
    (copy / "dataset_info.json").write_text(json.dumps(info))
    with pytest.raises(ValueError, match=message):
        local_tfds.open_set(copy, "bridge")


@pytest.mark.parametrize("content", [b"[" * 100_000, b"\xff{}", b'{"name": ["bridge"]}'])
def test_descriptions_of_any_bytes_are_refused(copy, content):
    (copy / "dataset_info.json").write_bytes(content)
    with pytest.raises(ValueError, match="dataset_info.json does not describe a TFDS set"):
        local_tfds.open_set(copy, "bridge")


def test_no_more_memory_than_allowed(copy, tmp_path):
    refuse("bridge", copy, tmp_path, "Record 0 of .* declares .* at most 700 are", max_bytes=700)
    with pytest.raises(ValueError, match="dataset_info.json declares"):
        local_tfds.open_set(copy, "bridge", 99)


def test_camera_and_actions_by_flag(tmp_path):
    wrist = [writer.picture(np.full((SIZE, SIZE, 3), 9, np.uint8))] * 16
    records = [writer.example(make_episode("bridge", seed, 16)[2] | {
        "steps/observation/wrist": wrist, "steps/action/gripper": np.full((16, 1), float(seed))})
        for seed in (1, 2, 3)]
    writer.write_tfds(tmp_path / "copy", "bridge", {"train": [records]})

    def train(**settings):
        return data.prepare("rlds/bridge", str(tmp_path / "data"), str(tmp_path / "copy"),
                            **settings).as_data_source("train")[0]

    chosen = train(camera="steps/observation/wrist",
                   actions="steps/action/world_vector, steps/action/gripper")
    assert (frames.decode(chosen["video"]) == 9).all()
    assert chosen["actions"].shape == (16, 4) and (chosen["actions"][:, 3] == 3).all()
    assert train()["actions"].shape == (16, 7), "another camera is another set"
    with pytest.raises(ValueError, match="no feature 'steps/observation/no' in record 2 of"):
        train(camera="steps/observation/no")
    for name, setting in (("playroom", {"camera": "x"}), ("robotics_arm", {"actions": "x"})):
        with pytest.raises(ValueError, match=f"data.{next(iter(setting))} is for .*rlds alone, and "
                                             f"must be empty for the data set '{name}'; got 'x'"):
            data.prepare(name, str(tmp_path / "data"), str(tmp_path / "copy"), **setting)


def test_chosen_actions_must_be_of_one_size(tmp_path):
    records = [make_episode("bridge", seed)[2] for seed in (1, 2, 3)]
    records[2]["steps/action/open_gripper"] = np.zeros((9, 2))
    writer.write_tfds(tmp_path / "copy", "bridge",
                      {"train": [[writer.example(record) for record in records]],
                       "validation": [[writer.example(records[0])]],
                       "test": [[writer.example(records[0])]]})
    refuse("bridge", tmp_path / "copy", tmp_path, "record 0 of .* has actions of size 1 and record "
           "2 of .* of size 2", actions=("steps/action/open_gripper",), action_size=0)
