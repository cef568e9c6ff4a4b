"""Which clips paths stand for, and the names of what is written for them."""

import os

import numpy as np
import pytest
from PIL import Image

from parts_jax.api import clips


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def make(*names: str) -> None:
    for name in names:
        os.makedirs(os.path.dirname(os.path.abspath(name)), exist_ok=True)
        if name.endswith(".png"):
            Image.fromarray(np.full((4, 6, 3), 7, np.uint8)).save(name)
        else:
            open(name, "w").close()


def names(*paths: str) -> list[str]:
    return [clip.name for clip in clips.find(paths)[0]]


def test_files_folders_of_frames_and_folders_of_clips():
    make("a.mp4", "frames/0.png", "frames/1.png", "all/b.mov", "all/c/7.png", "all/deep/d.gif",
         "all/.hidden.mp4", "all/notes.txt")
    assert clips.find(["a.mp4"])[1] is False and names("a.mp4") == ["a"]
    found, many = clips.find(["frames"])
    assert not many and [clip.name for clip in found] == ["frames"]
    frames = list(found[0].iter_frames())
    assert len(frames) == 2 and frames[0].shape == (4, 6, 3) and found[0].frame_rate() is None
    assert [path.name for path in found[0].files()] == ["0.png", "1.png"]
    assert clips.find(["all"])[1] is True and names("all") == ["b", "c", "deep/d"]
    assert clips.find(["a.mp4", "frames"])[1] and names("a.mp4", "frames") == ["a", "frames"]
    make("one/only.mp4")
    assert clips.find(["one"])[1] is True  # a folder of clips, whatever their number


def test_masks_of_davis_are_no_clips():
    make("davis/JPEGImages/bear/0.png", "davis/Annotations/bear/0.png")
    assert names("davis") == ["JPEGImages/bear"]


def test_clips_of_the_same_name_are_told_apart_or_refused():
    make("x/a.mp4", "x/a.mov", "x/b.mp4", "y/B.mp4")
    assert names("x") == ["a_mov", "a_mp4", "b"]
    with pytest.raises(ValueError, match="x/b.mp4 and .*y/B.mp4 have the same name"):
        names("x/b.mp4", "y/B.mp4")
    assert names("x/b.mp4", "x/b.mp4") == ["b_mp4"]  # the same one twice is one


def test_what_holds_no_clips_is_refused():
    make("empty/notes.txt", "both/0.png", "both/a.mp4", "loop/a.mp4")
    os.symlink("../loop", "loop/again")
    with pytest.raises(ValueError, match="There is no clip in empty. Give a video"):
        clips.find(["empty"])
    with pytest.raises(ValueError, match="both holds frames and, beside them, .*a.mp4"):
        clips.find(["both"])
    with pytest.raises(ValueError, match="again is a link to a folder that it lies in"):
        clips.find(["loop"])
    with pytest.raises(FileNotFoundError, match="There is no video file nothing.mp4"):
        clips.find(["nothing.mp4"])
