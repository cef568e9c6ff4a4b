"""`folder`: the layouts of DAVIS and YouTube-VOS, links, bad videos, and what is no video."""

import os
import shutil

import numpy as np
import pytest
from absl import logging
from PIL import Image

from parts_jax import data
from parts_jax.data.formats import frames
from parts_jax.data.sets import folder
from tests.data.sets.test_folder import make_video, write_frames, write_video

IDS = np.zeros((64, 64), np.uint8)
IDS[8:40, 8:40], IDS[44:60, 20:60] = 1, 2


@pytest.fixture
def said(monkeypatch):
    """What is said to be left out; TFDS says other things."""
    texts = []

    def warning(text, *values):
        texts.extend([text % values] if text.startswith("Left out") else [])

    monkeypatch.setattr(logging, "warning", warning)
    return texts


def write_masked(root, name, seed=0, num_frames=3, masks=None, size=64):
    """A video of JPEGImages, and its masks, the ids turned by a row a frame."""
    write_frames(root / "JPEGImages" / name, make_video(num_frames, size, seed), "{:05d}.jpg")
    (root / "Annotations" / name).mkdir(parents=True)
    for number in range(num_frames if masks is None else masks):
        ids = np.roll(IDS, number, 0)
        picture = Image.frombytes("P", (64, 64), ids.tobytes()).resize((size, size), 0)
        picture.putpalette([0, 0, 0, 128, 0, 0, 0, 128, 0] + [9] * 759)
        picture.save(root / "Annotations" / name / f"{number:05d}.png")


def prepare(tmp_path, name="folder/64", **options):
    return data.prepare(name, str(tmp_path / "data"), str(tmp_path / "videos"), **options)


def examples(builder, split="train"):
    return list(builder.as_data_source(split=split))


def ids_of(builder):
    return {split: [example["id"].decode() for example in builder.as_data_source(split=split)]
            for split in builder.info.splits}


def test_davis_is_read_with_its_masks_and_its_lists(tmp_path):
    """In two resolutions, of which the lower one is enough; with masks of another kind, too."""
    root = tmp_path / "videos"
    for seed, name in enumerate(("bear", "camel", "dog", "elk")):
        write_masked(root, f"480p/{name}", seed)
        write_masked(root, f"Full-Resolution/{name}", seed, size=96)
    shutil.copytree(root / "Annotations", root / "Annotations_unsupervised")
    for year, lists in (("2016", ("bear camel dog elk", "")), ("2017", ("camel elk", "bear"))):
        (root / "ImageSets" / year).mkdir(parents=True)
        for split, names in zip(("train", "val"), lists, strict=True):
            (root / "ImageSets" / year / f"{split}.txt").write_text(names.replace(" ", "\n"))
    builder = prepare(tmp_path)
    assert ids_of(builder) == {"train": ["JPEGImages/480p/camel:0", "JPEGImages/480p/elk:0"],
                               "validation": ["JPEGImages/480p/bear:0"]}
    example = examples(builder)[0]
    assert set(example) == {"video", "segmentation", "id"}
    masks = frames.decode(example["segmentation"])
    np.testing.assert_array_equal(masks, [np.roll(IDS, number, 0) for number in range(3)])
    error = frames.decode(example["video"]).astype(int) - make_video(3, 64, 1)
    assert np.abs(error).mean() < 5


def test_youtube_vos_is_read_with_its_masks(tmp_path, said):
    for split in ("train", "valid"):
        write_masked(tmp_path / "videos" / split, "0043f083b5")
    builder = prepare(tmp_path)
    assert ids_of(builder) == {"train": ["train/JPEGImages/0043f083b5:0"],
                               "validation": ["valid/JPEGImages/0043f083b5:0"]}
    assert "segmentation" in examples(builder, "validation")[0]
    assert not said
    builder = prepare(tmp_path, "folder/64_no_masks")
    assert [set(example) for example in examples(builder)] == [{"video", "id"}]
    assert len(said) == 1 and said[0].endswith(": 6 masks.")


def test_masks_are_cut_cropped_and_resized_as_their_frames(tmp_path):
    write_masked(tmp_path / "videos" / "train", "a", num_frames=130, size=128)
    clips = examples(prepare(tmp_path, "folder/64_center"))
    assert [len(clip["segmentation"]) for clip in clips] == [65, 65]
    masks = np.concatenate([frames.decode(clip["segmentation"]) for clip in clips])
    np.testing.assert_array_equal(masks[100], np.roll(IDS, 100, 0))


def test_masks_that_are_not_complete_are_refused(tmp_path, said):
    write_masked(tmp_path / "videos" / "train", "a")
    write_masked(tmp_path / "videos" / "train", "b", masks=1)
    with pytest.raises(ValueError, match="JPEGImages/b has not all of its 3 masks: there is no .*"
                                         "00001.png.*64_no_masks.*skip_bad=True"):
        prepare(tmp_path)
    assert ids_of(prepare(tmp_path, skip_bad=True)) == {"train": ["train/JPEGImages/a:0"]}
    shutil.rmtree(tmp_path / "videos" / "train" / "Annotations" / "b")
    with pytest.raises(ValueError, match="JPEGImages/b has not all of its 3 masks"):
        prepare(tmp_path)


def test_a_mask_of_another_size_is_refused(tmp_path):
    write_masked(tmp_path / "videos" / "train", "a")
    mask = tmp_path / "videos" / "train" / "Annotations" / "a" / "00001.png"
    Image.open(mask).resize((32, 64)).save(mask)
    with pytest.raises(ValueError, match="a/00001.png must have the size of its frame, 64x64; got"):
        prepare(tmp_path)


def test_a_prepared_set_tells_of_its_masks_without_its_source(tmp_path):
    write_masked(tmp_path / "videos" / "train", "a")
    builder = prepare(tmp_path)
    shutil.rmtree(tmp_path / "videos")
    again = folder.Folder(config=builder.builder_config, data_dir=str(tmp_path / "data"),
                          file_format="array_record")
    assert "segmentation" in again.info.features and len(examples(again)) == 1


@pytest.mark.parametrize("names", [("Train", "Validation", "TEST"), ("training", "val", "Testing"),
                                   ("TRAIN", "valid", "test")])
def test_splits_in_other_letters(tmp_path, names):
    for name in names:
        write_frames(tmp_path / "videos" / name / "a", make_video(2))
    assert ids_of(prepare(tmp_path)) == {
        split: [f"{name}/a:0"]
        for split, name in zip(("train", "validation", "test"), names, strict=True)}


def test_two_folders_of_one_split_are_refused(tmp_path):
    for name in ("val", "Validation"):
        write_frames(tmp_path / "videos" / name / "a", make_video(2))
    with pytest.raises(ValueError, match="Validation and .*val both stand for the split valid"):
        prepare(tmp_path)


def test_linked_folders_and_files_are_read(tmp_path):
    write_frames(tmp_path / "elsewhere" / "walk", make_video(2))
    write_video(tmp_path / "elsewhere" / "clip.mp4", make_video(2))
    (tmp_path / "videos" / "train").mkdir(parents=True)
    (tmp_path / "videos" / "train" / "linked").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "videos" / "train" / "one.mp4").symlink_to(tmp_path / "elsewhere" / "clip.mp4")
    assert ids_of(prepare(tmp_path)) == {
        "train": ["train/linked/clip.mp4:0", "train/linked/walk:0", "train/one.mp4:0"]}
    (tmp_path / "elsewhere" / "back").symlink_to(tmp_path / "videos")
    with pytest.raises(ValueError, match="link .* leads back to a folder that it lies in"):
        folder.find_videos(tmp_path / "videos")


def test_what_is_left_out_is_said_once_with_counts(tmp_path, said):
    train = tmp_path / "videos" / "train"
    write_frames(train / "walk", make_video(2))
    for name in ("a.wmv", "b.wmv", "c.flv", "readme.txt", "loose.png", "._a.mp4", ".DS_Store",
                 "walk/._00000.png", "walk/Thumbs.db"):
        (train / name).write_bytes(b"x")
    (train / "gone.mp4").symlink_to(tmp_path / "nothing")
    assert ids_of(prepare(tmp_path)) == {"train": ["train/walk:0"]}
    assert len(said) == 1
    assert said[0].endswith(
        ": 1 .db, 1 .flv, 1 .png, 1 .txt, 2 .wmv, 3 hidden, 1 links to nothing.")


def test_bad_videos_are_named_or_left_out(tmp_path, said):
    """Also one that goes wrong after its first clip."""
    train = tmp_path / "videos" / "train"
    write_frames(train / "good", make_video(2))
    write_frames(train / "late", make_video(259, size=8))
    (train / "late" / "00258.png").write_bytes(b"no picture")
    write_frames(train / "short", make_video(1))
    (train / "text.mp4").write_text("no video")
    with pytest.raises(ValueError, match="late/00258.png cannot be read.*data.skip_bad=True"):
        prepare(tmp_path)
    builder = prepare(tmp_path, skip_bad=True)
    assert ids_of(builder) == {"train": ["train/good:0"]}
    for text in ("late/00258.png cannot be read", "short has 1 frame", "text.mp4 cannot be dec"):
        assert sum(text in line for line in said) == 1
    assert said[-1] == "Left out 3 of 4 videos that cannot be read, by data.skip_bad."
    shutil.rmtree(train / "good")
    with pytest.raises(ValueError, match="None of the 3 videos of the split train in .* can be "):
        prepare(tmp_path, skip_bad=True)


def test_names_that_are_not_of_utf_8_or_have_colons(tmp_path):
    train = tmp_path / "videos" / "train"
    write_frames(train / "a:b", make_video(2))
    write_frames(train / os.fsdecode(b"c\xff"), make_video(2))
    assert ids_of(prepare(tmp_path)) == {"train": ["train/a:b:0", "train/c\\xff:0"]}


def test_the_limit_of_memory_reaches_the_readers(tmp_path):
    (tmp_path / "videos" / "train").mkdir(parents=True)
    write_video(tmp_path / "videos" / "train" / "a.mp4", make_video(2))
    with pytest.raises(ValueError, match="a.mp4.* declares 12,288 bytes.*at most 9,999"):
        prepare(tmp_path, max_bytes=9_999)
    write_frames(tmp_path / "videos" / "train" / "0", make_video(2))
    with pytest.raises(ValueError, match="0/00000.png declares 16,384 bytes.*at most 9,999"):
        prepare(tmp_path, max_bytes=9_999)
