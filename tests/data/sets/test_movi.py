"""TFDS copies of MOVi, written byte by byte, read through the builder."""

import dataclasses
import re

import numpy as np
import pytest

from parts_jax.data.formats import frames
from parts_jax.data.sets import movi
from tests.data.formats import tfrecord_writer as writer

SIZE, LENGTH = 8, 3
CONFIGS = {config.name: config for config in movi.Movi.BUILDER_CONFIGS}


def make_clip(seed, size=SIZE, length=LENGTH):
    rng = np.random.default_rng(seed)
    return {"video": rng.integers(0, 256, (length, size, size, 3), np.uint8),
            "segmentation": rng.integers(0, 11, (length, size, size), np.uint8)}


def make_record(seed, size=SIZE, **changes):
    clip = make_clip(seed, size)
    features = {
        "video": [writer.picture(frame) for frame in clip["video"]],
        "segmentations": [writer.picture(mask) for mask in clip["segmentation"]],
        "metadata/video_name": f"{seed:04d}".encode(), "metadata/num_frames": np.array([LENGTH]),
        "metadata/num_instances": np.array([2]), "metadata/depth_range": np.array([0.0, 9.0]),
        "instances/mass": np.array([1.0, 2.0]), "instances/positions": np.zeros(2 * LENGTH * 3),
        "forward_flow": np.zeros(LENGTH * size * size * 2, np.int64)}
    features |= changes
    return writer.example({k: v for k, v in features.items() if v is not None})


def write_copy(folder, letter, shards, size=SIZE, **changes):
    records = {split: [[make_record(seed, size, **changes) for seed in shard]
                       for shard in shards[split]] for split in shards}
    return writer.write_tfds(folder, f"movi_{letter}", records)


def make_builder(letter, source_dir, data_dir, **changes):
    config = dataclasses.replace(CONFIGS[letter], name="test", source_dir=str(source_dir),
                                 **{"resolution": SIZE, **changes})
    return movi.Movi(config=config, data_dir=data_dir, file_format="array_record")


def prepare(letter, source_dir, data_dir, **changes):
    builder = make_builder(letter, source_dir, data_dir, **changes)
    builder.download_and_prepare()
    return {split: builder.as_data_source(split=split) for split in builder.info.splits}


@pytest.mark.parametrize("letter", "abcde")
def test_all_sets_are_read(tmp_path, letter):
    shards = {"train": [[1, 2], [3, 4]], "validation": [[5], [6]], "test": [[7]]}
    write_copy(tmp_path / f"movi_{letter}/128x128/1.0.0", letter, shards)
    splits = prepare(letter, tmp_path, tmp_path / "data")
    assert set(splits) == set(shards)
    for split in shards:
        seeds = sum(shards[split], [])
        assert [example["id"].decode() for example in splits[split]] == [
            f"{split}-{seed:04d}" for seed in seeds]
        for seed, example in zip(seeds, splits[split], strict=True):
            for key, value in make_clip(seed).items():
                np.testing.assert_array_equal(frames.decode(example[key]), value)


def test_test_clips_are_taken_from_train_where_there_are_none(tmp_path):
    write_copy(tmp_path / "copy", "a", {"train": [[*range(5)]], "validation": [[5]]})
    splits = prepare("a", tmp_path / "copy", tmp_path / "data")
    assert {split: [example["id"].decode()[-4:] for example in splits[split]]
            for split in splits} == {
        "train": ["0001", "0002", "0003", "0004"], "validation": ["0005"], "test": ["0000"]}


def test_clips_are_brought_to_the_resolution(tmp_path):
    write_copy(tmp_path / "copy", "a", {"train": [[1, 2, 3]]}, size=16)
    example = prepare("a", tmp_path / "copy", tmp_path / "data")["train"][0]
    video, segmentation = frames.decode(example["video"]), frames.decode(example["segmentation"])
    clip = make_clip(3, 16)
    means = clip["video"].reshape(LENGTH, 8, 2, 8, 2, 3).mean((2, 4))
    np.testing.assert_allclose(video, means, atol=1)
    blocks = clip["segmentation"].reshape(LENGTH, 8, 2, 8, 2).transpose(0, 1, 3, 2, 4)
    votes = (blocks.reshape(LENGTH, 8, 8, 4, 1) == np.arange(11)).sum(3)
    np.testing.assert_array_equal(segmentation, votes.argmax(-1))


def refuse(source_dir, tmp_path, message, error=ValueError, letter="a"):
    builder = make_builder(letter, source_dir, tmp_path / "refused")
    with pytest.raises(error, match=message):
        builder.download_and_prepare()
    assert not list((tmp_path / "refused").rglob("dataset_info.json"))


def masks(array):
    return [writer.picture(mask) for mask in array]


@pytest.mark.parametrize("changes, message", [
    ({"segmentations": masks(np.zeros((LENGTH, 4, 8), np.uint8))},
     r"record 2 of .*cannot be read as an episode. .*as large as its video \[3, 8, 8\]; got uint8 "
     r"\[3, 4, 8\]"),
    ({"segmentations": masks(np.zeros((LENGTH - 1, 8, 8), np.uint8))}, r"got uint8 \[2, 8, 8\]"),
    ({"segmentations": masks(np.full((LENGTH, 8, 8), 256, np.uint16))},
     "The segmentation of record 2 of .* has ids from 256 to 256, but .* to 255"),
    ({"segmentations": masks(np.zeros((LENGTH, 8, 8, 3), np.uint8))},
     "masks of record 2 of .* with one channel; got 3"),
    ({"video": [b"x"] * LENGTH}, "The 3 pictures 'video' of record 2 of .* cannot be decoded"),
    ({"video": masks(np.zeros((LENGTH, 8, 8), np.uint8))}, "A video must be uint8"),
    ({"segmentations": None}, "no feature 'segmentations' in record 2 of .* It has: forward_flow"),
    ({"video": np.zeros(5)}, "'video' of record 2 of .* must hold byte strings"),
])
def test_wrong_clips_are_named(tmp_path, changes, message):
    write_copy(tmp_path / "copy", "a", {"train": [[1, 2, 3]]}, **changes)
    refuse(tmp_path / "copy", tmp_path, message)


def test_a_truncated_shard_is_named(tmp_path):
    folder = write_copy(tmp_path / "copy", "a", {"train": [[1, 2, 3]]})
    path = folder / "movi_a-train.tfrecord-00000-of-00001"
    path.write_bytes(path.read_bytes()[:-50])
    refuse(folder, tmp_path, f"{re.escape(str(path))} is truncated in record 2")


def test_other_sets_are_refused(tmp_path):
    write_copy(tmp_path / "copy", "b", {"train": [[1, 2, 3]]})
    refuse(tmp_path / "copy", tmp_path, "no copy of the TFDS set 'movi_a', but of: movi_b")
    (tmp_path / "empty").mkdir()
    refuse(tmp_path / "empty", tmp_path, "no TFDS copies of movi_a", FileNotFoundError)


def test_both_sizes_in_one_folder_are_refused(tmp_path):
    for size in (8, 16):
        write_copy(tmp_path / f"movi_a/{size}x{size}/1.0.0", "a", {"train": [[1, 2, 3]]}, size)
    refuse(tmp_path, tmp_path, "several copies of the TFDS set 'movi_a'. Name the folder of one of "
                               "them: .*16x16/1.0.0, .*8x8/1.0.0")


def test_shipped_variants():
    assert {name: config.dataset for name, config in CONFIGS.items()} == {
        letter: f"movi_{letter}" for letter in "abcde"}


def test_bad_clips_are_left_out_on_demand(tmp_path, caplog):
    records = [make_record(1), make_record(2, video=[]), make_record(3, segmentations=[b"x"]),
               make_record(4)]
    writer.write_tfds(tmp_path / "copy", "movi_a", {
        "train": [records], "validation": [records[:1]], "test": [records[:1]]})
    with pytest.raises(ValueError, match="0 pictures 'video' of record 1 of .*: there are none.*"
                                         "skip_bad=True"):
        prepare("a", tmp_path / "copy", tmp_path / "data")
    splits = prepare("a", tmp_path / "copy", tmp_path / "data", skip_bad=True)
    assert [example["id"] for example in splits["train"]] == [b"train-0001", b"train-0004"]
    assert "Left out of the split 'train': 2 clips that cannot be read" in caplog.text
