"""`rooms`: folders as SPACE's authors have them, boxes in pixels of 128, read back as shares."""

import numpy as np
import pytest
from PIL import Image

from parts_jax import data
from parts_jax.data import pipeline
from parts_jax.data.formats import frames
from parts_jax.evaluation import split as split_of

LINES = {0: "64,32,32,16\n", 1: "\n10,20,4,8\n120.5,8,30,16\n", 2: ""}


def write(folder, size=12, modes=("train", "val", "test"), without=("train",)):
    """Three pictures a split, whose numbers are 2, 10, 11: `2-` comes first, not `10-`."""
    random = np.random.default_rng(0)
    for mode in modes:
        (folder / mode / "bb").mkdir(parents=True)
        for i, number in enumerate((2, 10, 11)):
            picture = random.integers(0, 256, (size, size, 4), np.uint8)
            picture[..., 3] = 255
            picture[0, 0, :3] = number
            Image.fromarray(picture).save(folder / mode / f"{number}-000{i}.png")
            (folder / mode / "bb" / f"bb_{i}.txt").write_text(LINES[i])
        if mode in without:
            for path in (folder / mode / "bb").iterdir():
                path.unlink()
            (folder / mode / "bb").rmdir()


def prepare(root, name="rooms/64"):
    return data.prepare(name, str(root / "data"), str(root / "OBJ3D_SMALL"))


def test_pictures_are_in_the_order_of_their_numbers_with_their_boxes(tmp_path):
    write(tmp_path / "OBJ3D_SMALL", size=64)
    builder = prepare(tmp_path)
    assert {split: info.num_examples for split, info in builder.info.splits.items()} == {
        "train": 3, "validation": 3, "test": 3}
    source = builder.as_data_source("validation")
    videos = [frames.decode(source[i]["video"]) for i in range(3)]
    assert [video[0, 0, 0, 0] for video in videos] == [2, 10, 11]
    assert videos[0].shape == (1, 64, 64, 3) and source[1]["id"] in (
        b"val/10-0001.png", "val/10-0001.png")
    boxes = np.stack([source[i]["boxes"] for i in range(3)])
    assert boxes.shape == (3, 1, 32, 4) and boxes.dtype == np.float32
    np.testing.assert_allclose(boxes[0, 0, 0], np.array([24, 48, 40, 80]) / 128)
    np.testing.assert_allclose(boxes[1, 0, :2], np.array(
        [[16, 8, 24, 12], [0, 105.5, 16, 135.5]]) / 128)
    assert not boxes[0, 0, 1:].any() and not boxes[1, 0, 2:].any() and not boxes[2].any()
    assert split_of.has_boxes(pipeline.Split(source, 1))
    assert not builder.as_data_source("train")[0]["boxes"].any()


@pytest.mark.parametrize("spoil, message", [
    (lambda folder: (folder / "val/bb/bb_1.txt").write_text("1,2,3\n"),
     "Line 1 of .*bb_1.txt must be centre x, centre y, width and height .* got '1,2,3'"),
    (lambda folder: (folder / "val/bb/bb_1.txt").write_text("1,2,3,-4"), "Line 1 of .*bb_1.txt"),
    (lambda folder: (folder / "val/bb/bb_1.txt").write_text("1,2,3,4\n" * 33), "has 33 boxes"),
    (lambda folder: (folder / "val/bb/bb_1.txt").rename(folder / "val/bb/bb_7.txt"),
     "must have files bb_0.txt to bb_2.txt, .* it has 3, and not bb_1.txt"),
    (lambda folder: (folder / "val/bb/bb_3.txt").write_text(""), "as there are 3 pictures; it has"),
    (lambda folder: (folder / "val/bb").rename(folder / "val/boxes"), "must have a folder bb"),
    (lambda folder: (folder / "val/2-0000.png").rename(folder / "val/a.png"), "number and a dash"),
    (lambda folder: (folder / "val/2-0000.png").rename(folder / "val/10-x.png"), "the same number"),
])
def test_what_is_not_as_theirs_is_told(tmp_path, spoil, message):
    folder = tmp_path / "OBJ3D_SMALL"
    write(folder, modes=("val",))
    spoil(folder)
    with pytest.raises(ValueError, match=message):
        prepare(tmp_path)


def test_folders_without_splits_are_refused(tmp_path):
    (tmp_path / "OBJ3D_SMALL").mkdir()
    with pytest.raises(ValueError, match="There are no folders of pictures"):
        prepare(tmp_path)
