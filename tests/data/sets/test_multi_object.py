"""DeepMind's multi-object files in their byte layouts, read through the builder."""

import dataclasses
import re

import numpy as np
import pytest

from parts_jax.data.formats import frames
from parts_jax.data.sets import multi_object
from tests.data.formats import tfrecord_writer as writer

CONFIGS = {config.name: config for config in multi_object.MultiObject.BUILDER_CONFIGS}
FILES = {
    "clevr_with_masks": "clevr_with_masks_train.tfrecords",
    "clevr6": "clevr_with_masks_train.tfrecords",
    "multi_dsprites_binarized": "multi_dsprites_binarized.tfrecords",
    "multi_dsprites_colored_on_grayscale": "multi_dsprites_colored_on_grayscale.tfrecords",
    "multi_dsprites_colored_on_colored": "multi_dsprites_colored_on_colored.tfrecords",
    "objects_room": "objects_room_train.tfrecords",
    "tetrominoes": "tetrominoes_train.tfrecords",
}
IMAGES = sorted(FILES)


def make_scene(kind, seed):
    """Pictures [T, H, W, C] and masks [T, K, H, W] of 0 and 255, one for every pixel."""
    config = CONFIGS[kind]
    rng = np.random.default_rng(seed)
    shape = (config.num_frames, *config.size)
    ids = rng.integers(0, config.num_masks, shape)
    masks = np.where(ids[:, None] == np.arange(config.num_masks)[:, None, None], 255, 0)
    return rng.integers(0, 256, (*shape, config.channels), np.uint8), masks.astype(np.uint8)


def make_features(kind, seed, num_objects=3):
    """The features of a scene, in the shapes of the readers that DeepMind published."""
    image, mask = make_scene(kind, seed)
    if kind == "cater_with_masks":  # image [33, 64, 64, 3], mask [33, 11, 64, 64, 1]: a string each
        return {"image": image.tobytes(), "mask": mask.tobytes(),
                "camera_matrix": np.zeros(33 * 16), "object_positions": np.zeros(11 * 33 * 3)}
    image, mask = image[0], mask[0]
    if kind.startswith("multi_dsprites"):  # [64, 64, K, 1]
        mask = np.moveaxis(mask, 0, -1)
    features = {"image": writer.byte_strings(image), "mask": writer.byte_strings(mask)}
    if kind != "objects_room":
        entities = CONFIGS[kind].num_masks
        features["visibility"] = (np.arange(entities) <= num_objects).astype(np.float32)
        features["x"] = features["y"] = np.zeros(entities, np.float32)
    if kind.startswith("clevr"):
        features["color"] = features["size"] = [b"\0"] * entities
    return features


def expected(kind, seed):
    """Video and ids as they should be read."""
    image, mask = make_scene(kind, seed)
    if kind.startswith("clevr"):  # IODINE's window
        image, mask = image[:, 29:221, 64:256], mask[:, :, 29:221, 64:256]
    ids = np.zeros(image.shape[:3], int)
    for k in range(mask.shape[1]):
        ids[mask[:, k] == 255] = max(k - 3, 0) if kind == "objects_room" else k
    return np.broadcast_to(image, (*image.shape[:3], 3)), ids


def make_builder(kind, source_dir, data_dir, **changes):
    """Of a variant that keeps the pixels as they are."""
    size = 192 if kind.startswith("clevr") else CONFIGS[kind].size[0]
    config = dataclasses.replace(CONFIGS[kind], name="test", source_dir=str(source_dir), **{
        "num_validation": 1, "num_test": 1, "resolution": size, **changes})
    return multi_object.MultiObject(config=config, data_dir=data_dir, file_format="array_record")


def prepare(kind, source_dir, data_dir, **changes):
    builder = make_builder(kind, source_dir, data_dir, **changes)
    builder.download_and_prepare()
    return {split: builder.as_data_source(split=split)
            for split in ("train", "validation", "test")}


def write(folder, kind, scenes, compression="GZIP"):
    return writer.write(folder / FILES[kind], [writer.example(scene) for scene in scenes],
                        compression)


def check_scenes(kind, source, split, seeds):
    assert [example["id"].decode() for example in source] == [
        f"{split}-{index:05d}" for index in range(len(seeds))]
    for example, seed in zip(source, seeds, strict=True):
        video, ids = expected(kind, seed)
        np.testing.assert_array_equal(frames.decode(example["video"]), video)
        np.testing.assert_array_equal(frames.decode(example["segmentation"]), ids)


@pytest.mark.parametrize("kind", [kind for kind in IMAGES if not kind.startswith("clevr")])
def test_pictures_are_read_pixel_by_pixel(tmp_path, kind):
    write(tmp_path / "raw", kind, [make_features(kind, seed) for seed in range(4)])
    splits = prepare(kind, tmp_path, tmp_path / "data")
    check_scenes(kind, splits["validation"], "validation", [0])
    check_scenes(kind, splits["test"], "test", [1])
    check_scenes(kind, splits["train"], "train", [2, 3])
    assert len(splits["train"][0]["video"]) == 1


def test_clevr_is_read_pixel_by_pixel(tmp_path):
    kind = "clevr_with_masks"
    record = writer.example(make_features(kind, 0))  # a million strings of one byte
    writer.write(tmp_path / "raw" / FILES[kind], [record] * 3, "GZIP")
    splits = prepare(kind, tmp_path, tmp_path / "data")
    for split in splits:
        check_scenes(kind, splits[split], split, [0])


def write_cater(folder, train, test, compression="ZLIB"):
    for split, shards in {"train": train, "test": test}.items():
        for index, seeds in enumerate(shards):
            writer.write(
                folder / f"cater_with_masks_{split}.tfrecords-{index:05d}-of-{len(shards):05d}",
                [writer.example(make_features("cater_with_masks", seed)) for seed in seeds],
                compression)


@pytest.fixture
def small_cater(monkeypatch):
    """CATER with 2 frames of 8x8: its 33 of 64x64 take seconds to write."""
    small = dataclasses.replace(CONFIGS["cater_with_masks"], size=(8, 8), num_frames=2)
    monkeypatch.setitem(CONFIGS, "cater_with_masks", small)


def test_cater_is_read(tmp_path, small_cater):
    write_cater(tmp_path / "raw", train=[[1, 2], [3]], test=[[4], [5]])
    splits = prepare("cater_with_masks", tmp_path / "raw", tmp_path / "data")
    check_scenes("cater_with_masks", splits["validation"], "validation", [1])
    check_scenes("cater_with_masks", splits["train"], "train", [2, 3])
    check_scenes("cater_with_masks", splits["test"], "test", [4, 5])
    assert len(splits["train"][0]["video"]) == 2


def test_a_missing_shard_is_refused(tmp_path, small_cater):
    write_cater(tmp_path / "raw", train=[[1, 2], [3]], test=[[4]])
    (tmp_path / "raw/cater_with_masks_train.tfrecords-00000-of-00002").unlink()
    refuse("cater_with_masks", tmp_path / "raw", tmp_path, "must have 2 files .*; it has 1",
           FileNotFoundError)


def test_clevr6_leaves_out_scenes_of_more_objects(tmp_path, monkeypatch):
    for kind in ("clevr6", "clevr_with_masks"):  # a million bytes take long
        monkeypatch.setitem(CONFIGS, kind, dataclasses.replace(
            CONFIGS[kind], size=(8, 8), box=None, resolution=8))
    counts = [3, 7, 6, 10, 5, 6]
    write(tmp_path / "raw", "clevr6", [make_features("clevr6", seed, count)
                                       for seed, count in enumerate(counts)])
    read = {kind: prepare(kind, tmp_path / "raw", tmp_path / kind, resolution=8)
            for kind in ("clevr6", "clevr_with_masks")}
    kept = {kind: [seed for split in ("validation", "test", "train")
                   for example in read[kind][split] for seed in range(6)
                   if np.array_equal(frames.decode(example["video"]), make_scene(kind, seed)[0])]
            for kind in read}
    assert kept == {"clevr6": [0, 2, 4, 5], "clevr_with_masks": [0, 1, 2, 3, 4, 5]}


def test_a_pixel_without_a_mask_is_background(tmp_path):
    features = make_features("tetrominoes", 0)
    features["mask"] = writer.byte_strings(np.zeros((4, 35, 35)))
    write(tmp_path / "raw", "tetrominoes", [features] * 3)
    example = prepare("tetrominoes", tmp_path / "raw", tmp_path / "data")["train"][0]
    assert not frames.decode(example["segmentation"]).any()


def refuse(kind, source_dir, tmp_path, message, error=ValueError, **changes):
    builder = make_builder(kind, source_dir, tmp_path / "refused", **changes)
    with pytest.raises(error, match=message):
        builder.download_and_prepare()
    assert not list((tmp_path / "refused").rglob("dataset_info.json"))


@pytest.mark.parametrize("changes, message", [
    ({"mask": writer.byte_strings(np.zeros((4, 35, 34)))},
     r"'mask' of record 0 of .* must hold 4900 bytes, of shape \[1, 4, 35, 35\]; got 4760 bytes"),
    ({"image": [b"ab"] * 3675}, "'image' of record 0 of .*; got strings of several bytes"),
    ({"image": bytes(7)}, r"must hold 3675 bytes, of shape \[1, 35, 35, 3\]; got 7 bytes"),
    ({"mask": writer.byte_strings(np.full((4, 35, 35), 7))},
     "masks of record 0 of .* must hold 0 and 255 alone; got values from 7 to 7"),
    ({"mask": np.zeros(4900)}, "'mask' of record 0 of .* must hold byte strings"),
])
def test_wrong_scenes_are_named(tmp_path, changes, message):
    write(tmp_path / "raw", "tetrominoes", [make_features("tetrominoes", 0) | changes] * 3)
    refuse("tetrominoes", tmp_path / "raw", tmp_path, message)


def test_a_missing_feature_is_answered_with_the_others(tmp_path):
    features = make_features("tetrominoes", 0)
    del features["mask"]
    write(tmp_path / "raw", "tetrominoes", [features] * 3)
    refuse("tetrominoes", tmp_path / "raw", tmp_path,
           "no feature 'mask' in record 0 of .* It has: image, visibility, x, y")


@pytest.mark.parametrize("compression", ["", "GZIP", "ZLIB"])
def test_a_truncated_file_is_named(tmp_path, compression):
    path = write(tmp_path / "raw", "tetrominoes",
                 [make_features("tetrominoes", seed) for seed in range(3)], compression)
    path.write_bytes(path.read_bytes()[:-30])
    refuse("tetrominoes", tmp_path / "raw", tmp_path, rf"file {re.escape(str(path))} is truncated")


def test_a_damaged_file_is_named(tmp_path):
    path = write(tmp_path / "raw", "tetrominoes",
                 [make_features("tetrominoes", seed) for seed in range(3)], "")
    data = bytearray(path.read_bytes())
    data[200] ^= 8
    path.write_bytes(data)
    refuse("tetrominoes", tmp_path / "raw", tmp_path,
           f"{re.escape(str(path))} is damaged: the checksum of record 0 is wrong")


def test_folders_without_the_set_are_refused(tmp_path):
    write(tmp_path / "raw", "tetrominoes", [make_features("tetrominoes", 0)] * 3)
    refuse("objects_room", tmp_path / "raw", tmp_path, r"no files objects_room_train\\.tfrecords",
           FileNotFoundError)
    refuse("objects_room", "", tmp_path, "name their folder with --config.data.source_dir=PATH")
    write(tmp_path / "raw/again", "tetrominoes", [make_features("tetrominoes", 0)] * 3)
    refuse("tetrominoes", tmp_path / "raw", tmp_path, "in several folders: .*raw, .*raw/again")


def test_too_few_scenes_are_refused(tmp_path):
    path = write(tmp_path / "raw", "tetrominoes", [make_features("tetrominoes", 0)] * 2)
    refuse("tetrominoes", tmp_path / "raw", tmp_path,
           f"no scene for the split 'train' in {path}: it begins after the first 2 scenes")


def test_shipped_variants():
    assert set(CONFIGS) == {*FILES, "cater_with_masks"}
    held_out = {(config.num_validation, config.num_test) for config in CONFIGS.values()}
    assert held_out == {(320, 320)}
    clevr, cater = CONFIGS["clevr_with_masks"], CONFIGS["cater_with_masks"]
    assert clevr.resolution == CONFIGS["clevr6"].resolution == 128
    assert (clevr.size, clevr.num_masks, clevr.box) == ((240, 320), 11, (29, 221, 64, 256))
    assert (cater.size, cater.num_masks, cater.num_frames) == ((64, 64), 11, 33)
    assert {name: config.num_masks for name, config in CONFIGS.items()
            if name not in ("clevr_with_masks", "clevr6", "cater_with_masks")} == {
        "multi_dsprites_binarized": 4, "multi_dsprites_colored_on_grayscale": 6,
        "multi_dsprites_colored_on_colored": 5, "objects_room": 7, "tetrominoes": 4}


def test_bad_scenes_are_left_out_on_demand(tmp_path, caplog):
    kind = "tetrominoes"
    scenes = [make_features(kind, seed) for seed in range(5)]
    scenes[3]["mask"] = [b"\1"] * len(scenes[3]["mask"])
    write(tmp_path / "raw", kind, scenes)
    with pytest.raises(ValueError, match="masks of record 3 of .* must hold.*skip_bad=True"):
        prepare(kind, tmp_path, tmp_path / "data")
    splits = prepare(kind, tmp_path, tmp_path / "data", skip_bad=True)
    assert [example["id"] for example in splits["train"]] == [b"train-00000", b"train-00002"]
    assert "Left out of the split 'train': 1 scenes that cannot be read" in caplog.text


def test_no_more_memory_than_allowed(tmp_path):
    write(tmp_path / "raw", "tetrominoes", [make_features("tetrominoes", n) for n in range(3)])
    with pytest.raises(ValueError, match="Record 0 of .* declares .* at most 9,999 are allowed"):
        prepare("tetrominoes", tmp_path, tmp_path / "data", max_bytes=9_999)
