"""Sketchy's episodes, unpacked and in archives, written byte by byte and read by the builder."""

import dataclasses
import io
import re
import tarfile

import numpy as np
import pytest

from parts_jax.data.formats import frames
from parts_jax.data.sets import robotics_arm
from tests.data.formats import tfrecord_writer as writer

CAMERAS = ("basket_front_left", "basket_back_left", "basket_front_right")
SIZE, CLIP = 16, 4


def make_episode(seed, num_steps=9, size=SIZE):
    """Pictures of the cameras, uint8 [T, H, W, 3] as JPEG gives them back, and actions."""
    rng = np.random.default_rng(seed)
    coarse = rng.integers(0, 256, (len(CAMERAS), num_steps, 2, 2, 3), np.uint8)
    video = np.kron(coarse, np.ones((1, 1, size // 2, size // 2, 1), np.uint8))
    encoded = {camera: [writer.picture(frame, "JPEG") for frame in video[index]]
               for index, camera in enumerate(CAMERAS)}
    actions = rng.normal(size=(num_steps, 7)).astype(np.float32)
    return {"encoded": encoded, "actions": actions,
            "video": {camera: frames.decode(values) for camera, values in encoded.items()}}


def make_records(episode, **changes):
    """One tf.train.Example for each step, with all the features of Sketchy's loader."""
    records = []
    for step, action in enumerate(episode["actions"]):
        features = {
            "actions": action, "gripper/joints/velocity": np.zeros(1),
            "gripper/joints/torque": np.zeros(1), "gripper/grasp": np.array([1]),
            "gripper/joints/angle": np.zeros(1), "sawyer/joints/angle": np.zeros(7),
            "sawyer/joints/velocity": np.zeros(7), "sawyer/joints/torque": np.zeros(7),
            "sawyer/pinch/pose": np.zeros(7), "sawyer/tcp/pose": np.zeros(7),
            "sawyer/tcp/effort": np.zeros(6), "sawyer/tcp/velocity": np.zeros(6),
            "wrist/force": np.zeros(3), "wrist/torque": np.zeros(3),
            "pixels/royale_camera_driver_depth": np.zeros(12),
            "pixels/royale_camera_driver_gray": [b"gray"], "pixels/usbcam0": [b"0"],
            "pixels/usbcam1": [b"1"]}
        for camera in CAMERAS:
            features[f"pixels/{camera}"] = [episode["encoded"][camera][step]]
        features |= changes
        records.append(writer.example({k: v for k, v in features.items() if v is not None}))
    return records


def name_of(number):
    return f"1{number:04d}_b615a417-ce34-41a8-8411-2a1ce3f3bd07"


def write_archive(path, numbers, make=make_episode):
    with tarfile.open(path, "w:bz2") as tar:
        for number in numbers:
            content = b"".join(map(writer.frame, make_records(make(number))))
            member = tarfile.TarInfo(f"sketchy/{name_of(number)}")
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
    return path


def make_builder(source_dir, data_dir, camera="basket_front_left", **changes):
    config = next(config for config in robotics_arm.RoboticsArm.BUILDER_CONFIGS
                  if config.name == camera)
    config = dataclasses.replace(config, name="test", source_dir=str(source_dir), **{
        "clip_length": CLIP, "num_validation": 1, "num_test": 1, "resolution": SIZE, **changes})
    return robotics_arm.RoboticsArm(config=config, data_dir=data_dir, file_format="array_record")


def prepare(source_dir, data_dir, **changes):
    builder = make_builder(source_dir, data_dir, **changes)
    builder.download_and_prepare()
    return {split: builder.as_data_source(split=split)
            for split in ("train", "validation", "test")}


def check_clips(source, numbers, camera):
    """All clips of the episodes are there, in order, with the pixels and actions of the files."""
    expected = [(number, start) for number in numbers for start in (0, CLIP)]
    assert [example["id"].decode() for example in source] == [
        f"{name_of(number)}-{start:05d}" for number, start in expected]
    for example, (number, start) in zip(source, expected, strict=True):
        episode = make_episode(number)
        steps = slice(start, start + CLIP)
        np.testing.assert_array_equal(frames.decode(example["video"]), episode["video"][camera][
            steps])
        assert example["actions"].dtype == np.float32
        np.testing.assert_array_equal(example["actions"], episode["actions"][steps])


@pytest.fixture
def unpacked(tmp_path):
    for number in range(4):
        writer.write(tmp_path / "sketchy" / name_of(number),
                     make_records(make_episode(number)))
    (tmp_path / "sketchy" / "metadata.sqlite").write_bytes(b"SQLite format 3")
    return tmp_path / "sketchy"


@pytest.mark.parametrize("camera", CAMERAS)
def test_unpacked_episodes_are_read_and_cut_into_clips(unpacked, tmp_path, camera):
    splits = prepare(unpacked, tmp_path / "data", camera=camera)
    # 9 steps make 2 clips of 4; the last step is left over.
    check_clips(splits["validation"], [0], camera)
    check_clips(splits["test"], [1], camera)
    check_clips(splits["train"], [2, 3], camera)


def test_every_archive_is_split(tmp_path):
    write_archive(tmp_path / "lift_green__demos-00000-of-00002.tar.bz2", [7, 3, 5])
    write_archive(tmp_path / "lift_green__demos-00001-of-00002.tar.bz2", [1, 2, 0, 4])
    splits = prepare(tmp_path, tmp_path / "data")
    check_clips(splits["validation"], [7, 1], CAMERAS[0])
    check_clips(splits["test"], [3, 2], CAMERAS[0])
    check_clips(splits["train"], [5, 0, 4], CAMERAS[0])


def test_archives_beside_unpacked_episodes_are_not_read_twice(unpacked, tmp_path):
    write_archive(unpacked / "demos-00000-of-00001.tar.bz2", [0, 1, 2, 3])
    splits = prepare(unpacked, tmp_path / "data")
    assert sum(map(len, splits.values())) == 8


def test_oblong_pictures_are_squeezed_or_cut(tmp_path):
    picture = np.zeros((8, 16, 3), np.uint8)
    picture[:, 4:12] = 255
    for number in range(3):
        episode = make_episode(number, num_steps=CLIP)
        writer.write(tmp_path / "raw" / name_of(number), make_records(
            episode, **{"pixels/basket_front_left": [writer.picture(picture)]}))
    squeezed = prepare(tmp_path / "raw", tmp_path / "1", resolution=4)["train"][0]
    assert (frames.decode(squeezed["video"])[0, 0, :, 0] == [0, 255, 255, 0]).all()
    cut = prepare(tmp_path / "raw", tmp_path / "2", resolution=4, crop="center")["train"][0]
    assert (frames.decode(cut["video"]) == 255).all()


def refuse(source_dir, tmp_path, message, error=ValueError, **changes):
    """The builder raises, and leaves nothing that could be taken for a finished set."""
    builder = make_builder(source_dir, tmp_path / "refused", **changes)
    with pytest.raises(error, match=message):
        builder.download_and_prepare()
    assert not list((tmp_path / "refused").rglob("dataset_info.json"))


def test_a_truncated_episode_is_named(unpacked, tmp_path):
    path = unpacked / name_of(2)
    path.write_bytes(path.read_bytes()[:-100])
    refuse(unpacked, tmp_path, f"{re.escape(str(path))} is truncated in record 8")


def test_a_damaged_episode_is_named(unpacked, tmp_path):
    path = unpacked / name_of(2)
    data = bytearray(path.read_bytes())
    data[50] ^= 1
    path.write_bytes(data)
    refuse(unpacked, tmp_path, f"{re.escape(str(path))} is damaged: the checksum of record 0")


@pytest.mark.parametrize("kept", [0.2, 0.7, 0.999])
def test_a_truncated_archive_is_named(tmp_path, kept):
    path = write_archive(tmp_path / "demos-00000-of-00001.tar.bz2", [0, 1, 2, 3])
    data = path.read_bytes()
    path.write_bytes(data[:int(len(data) * kept)])
    refuse(tmp_path, tmp_path, f"The archive {re.escape(str(path))} is truncated or damaged")


def test_a_damaged_archive_is_named(tmp_path):
    path = write_archive(tmp_path / "demos-00000-of-00001.tar.bz2", [0, 1, 2, 3])
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 255
    path.write_bytes(data)
    refuse(tmp_path, tmp_path, f"{re.escape(str(path))} is truncated or damaged")


@pytest.mark.parametrize("changes, message", [
    ({"actions": None}, "no feature 'actions' in record 0 of .*It has: gripper/grasp"),
    ({"pixels/basket_front_left": None}, "no feature 'pixels/basket_front_left' in record 0"),
    ({"actions": np.zeros(6)}, "same size, but robotics_arm has actions of size 7 and record 0 of "
                               ".* has actions of size 6"),
    ({"actions": [b"1"]}, "'actions' of record 0 of .* must hold numbers"),
    ({"pixels/basket_front_left": [b"x"]}, "'pixels/basket_front_left' of record 0 .* cannot be "
                                           "decoded"),
    ({"pixels/basket_front_left": [writer.picture(np.zeros((8, 8), np.uint8))]},
     "cannot be read as an episode. A video must be uint8"),
])
def test_wrong_steps_are_named(unpacked, tmp_path, changes, message):
    writer.write(unpacked / name_of(2), make_records(make_episode(2), **changes))
    refuse(unpacked, tmp_path, message)


def test_pictures_of_two_sizes_are_refused(unpacked, tmp_path):
    records = (make_records(make_episode(2))[:2] + make_records(make_episode(2, size=8))[2:])
    path = writer.write(unpacked / name_of(2), records)
    refuse(unpacked, tmp_path, rf"of the size of the others; got \[1, 16, 16, 3\] in record 0 of "
                               rf".* and \[1, 8, 8, 3\] in record 2 of {re.escape(str(path))}")


def test_a_folder_without_episodes_is_refused(tmp_path):
    (tmp_path / "raw").mkdir()
    (tmp_path / "raw" / "notes.txt").write_text("nothing")
    refuse(tmp_path / "raw", tmp_path, r"no archives \(\*.tar.bz2\) of Sketchy", FileNotFoundError)
    refuse(tmp_path / "none", tmp_path, "There is no folder .*none", FileNotFoundError)
    refuse("", tmp_path, "name their folder with --config.data.source_dir=PATH")


def test_too_few_episodes_are_refused(unpacked, tmp_path):
    refuse(unpacked, tmp_path, "no clip of 4 frames for the split 'train'.* the first 3 episodes",
           num_validation=3)
    refuse(unpacked, tmp_path, "no clip of 10 frames for the split 'validation'", clip_length=10)


def test_shipped_variants():
    configs = robotics_arm.RoboticsArm.BUILDER_CONFIGS
    assert [config.name for config in configs] == list(CAMERAS)
    assert {(config.resolution, config.clip_length) for config in configs} == {(64, 16)}


def test_bad_episodes_are_left_out_on_demand(tmp_path, caplog):
    def make(number):
        episode = make_episode(number)
        if number == 3:
            episode["actions"][2, 1] = np.inf
        return episode

    write_archive(tmp_path / "a.tar.bz2", range(5), make)
    with pytest.raises(ValueError, match="actions of record 0 of .*a.tar.bz2/.* must be finite"):
        prepare(tmp_path, tmp_path / "data")
    splits = prepare(tmp_path, tmp_path / "data", skip_bad=True)
    check_clips(splits["train"], [2, 4], "basket_front_left")
    assert "Left out of the split 'train': 1 episodes that cannot be read" in caplog.text


def test_short_episodes_are_named(tmp_path, caplog):
    write_archive(tmp_path / "a.tar.bz2", range(4),
                  lambda number: make_episode(number, 3 if number == 2 else 9))
    prepare(tmp_path, tmp_path / "data")
    assert f"'train': 1 episodes of fewer than 4 frames: {name_of(2)}." in caplog.text


def test_files_of_macos_are_left_alone(tmp_path):
    write_archive(tmp_path / "a.tar.bz2", range(3))
    (tmp_path / "._a.tar.bz2").write_bytes(b"of a file system")
    (tmp_path / "._b.tfrecord").write_bytes(b"of a file system")
    splits = prepare(tmp_path, tmp_path / "data")
    check_clips(splits["train"], [2], "basket_front_left")
