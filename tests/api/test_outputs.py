"""No file of the user's is written over, whatever the name by which it is reached."""

import os
import pathlib

import pytest

from parts_jax.api import outputs

ROOT = pathlib.Path(__file__).parents[2]


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    """A video under five names, and a run."""
    monkeypatch.chdir(tmp_path)
    for folder in ("run/checkpoints/5", "sub", "clips"):
        os.makedirs(folder)
    for name in ("a.mp4", "other.mp4", "run/config.json", "actions.npy", ".b.mp4.part"):
        with open(name, "w") as file:
            file.write(name)
    os.symlink("a.mp4", "link.mp4")
    os.link("a.mp4", "hard.mp4")
    os.symlink("sub", "linked")
    os.link("actions.npy", "actions.npz")


def check(*paths: str, workdir: str = "run") -> None:
    outputs.check({f"--flag{i}={path}": path for i, path in enumerate(paths)},
                  ["a.mp4", "actions.npy", ".b.mp4.part"], workdir, ["clips"])


@pytest.mark.parametrize("path, replaced", [
    ("a.mp4", "a.mp4"), ("./a.mp4", "a.mp4"), ("sub/../a.mp4", "a.mp4"), ("link.mp4", "a.mp4"),
    ("hard.mp4", "a.mp4"), ("A.MP4", "a.mp4"), ("actions.npz", "actions.npy"),
    ("b.mp4", ".b.mp4.part")])
def test_what_is_read_is_not_replaced(path, replaced):
    with pytest.raises(ValueError, match=f"^--flag0={path} would replace {replaced}, which is"):
        check(path)


def test_nothing_is_written_into_what_comes_with_the_package():
    path = ROOT / "pretrained" / "demo" / "new.mp4"
    with pytest.raises(ValueError, match="--out=new would change the run in .*/pretrained/demo. "):
        outputs.check({"--out=new": str(path)}, [], "demo")


@pytest.mark.parametrize("path", ["run/config.json", "RUN/config.json", "run", "run/checkpoints",
                                  "run/checkpoints/5/new.npz"])
@pytest.mark.parametrize("workdir", ["run", "run/checkpoints/5"])
def test_a_run_is_not_changed(path, workdir):
    if path.startswith("RUN") and not os.path.exists(path):
        path = path.lower()
    with pytest.raises(ValueError, match=f"^--flag0={path} would change the run in .*run. Name"):
        check(path, workdir=workdir)


@pytest.mark.parametrize("paths", [
    ("out.mp4", "out.mp4"), ("out.mp4", "OUT.mp4"), ("sub/x.mp4", "linked/x.mp4"),
    ("masks", "masks/x.mp4"), ("masks/x.mp4", "masks"), ("caf\u00e9.mp4", "cafe\u0301.mp4")])
def test_two_outputs_are_two(paths):
    with pytest.raises(ValueError, match="--flag1=.* and --flag0=.* would replace each other"):
        check(*paths)


def test_no_output_is_the_next_times_clip():
    with pytest.raises(ValueError, match="lies in clips, where it would be taken for a clip"):
        check("clips/out.mp4")
    check("clips/slots.npz")


def test_all_else_may_be_written():
    check("other.mp4", "sub/a.mp4", "run/new.mp4", "masks", "masks2")


def test_a_missing_folder_is_named():
    with pytest.raises(FileNotFoundError, match="The folder .*/nodir of --out=nodir/c.mp4 does"):
        outputs.check_parent("--out=nodir/c.mp4", "nodir/c.mp4")
    outputs.check_parent("--out=c.mp4", "c.mp4")


def test_folders_that_stay_empty_go_again(tmp_path):
    with pytest.raises(KeyboardInterrupt), outputs.making_folder("new/deep"):
        assert os.path.isdir("new/deep")
        raise KeyboardInterrupt
    assert not os.path.exists("new")
    with pytest.raises(ValueError), outputs.making_folder("new/deep"):
        open("new/file", "w").close()
        raise ValueError
    assert os.listdir("new") == ["file"]
