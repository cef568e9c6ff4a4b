"""The name of a folder of files changes with every byte, and with nothing else."""

import os
import time

import pytest

from parts_jax.data import fingerprint


@pytest.fixture
def folder(tmp_path):
    """Two files, old enough to be known again."""
    folder = tmp_path / "source"
    (folder / "deep").mkdir(parents=True)
    for name in ("a.npz", "deep/b.npz"):
        (folder / name).write_bytes(b"1" * 1000)
    return folder


@pytest.fixture
def name_of(tmp_path, monkeypatch):
    """The fingerprint of a folder, as if its files had been written long before."""
    monkeypatch.setattr(fingerprint, "UNSAFE_SECONDS", -10.0)
    return lambda path: fingerprint.fingerprint(path, tmp_path / "cache")


@pytest.fixture
def read(monkeypatch):
    """Names of the files whose bytes are read."""
    names, plain = [], fingerprint._read
    monkeypatch.setattr(fingerprint, "_read", lambda name, path, count: (
        names.append(name), plain(name, path, count))[1])
    return names


def test_each_byte_is_read_once(folder, name_of, read):
    first = name_of(folder)
    assert len(first) == 16 and sorted(read) == ["a.npz", "deep/b.npz"]
    assert name_of(folder) == first and len(read) == 2
    (folder / "a.npz").touch()  # read again, but the same
    assert name_of(folder) == first and read[2:] == ["a.npz"]


def test_a_copy_elsewhere_has_the_same_name(folder, name_of, tmp_path):
    folder.rename(tmp_path / "moved")
    moved = name_of(tmp_path / "moved")
    (tmp_path / "moved").rename(folder)
    assert name_of(folder) == moved


def write_with_old_times(path, content):
    """In place: size, inode and time of modification stay."""
    status = path.stat()
    time.sleep(0.01)  # longer than a tick of the clock of the status' time
    path.write_bytes(content)
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
    after = path.stat()
    assert (after.st_size, after.st_mtime_ns, after.st_ino) == (
        status.st_size, status.st_mtime_ns, status.st_ino)


@pytest.mark.parametrize("change", [
    lambda folder: write_with_old_times(folder / "a.npz", b"2" + b"1" * 999),
    lambda folder: (folder / "a.npz").rename(folder / "c.npz"),
    lambda folder: (folder / "deep").rename(folder / "deeper"),
    lambda folder: (folder / "a.npz").unlink(),
    lambda folder: (folder / "empty.npz").touch(),
])
def test_what_changes_the_name(folder, name_of, change):
    first = name_of(folder)
    change(folder)
    assert name_of(folder) != first


def test_a_file_just_written_is_read_again(folder, tmp_path, read):
    """It may be written once more within the same tick of its file system's clock."""
    for _ in range(2):
        fingerprint.fingerprint(folder, tmp_path / "cache")
    assert len(read) == 4


def test_links_are_followed(folder, name_of, tmp_path):
    """Two folders that only hold links to other files are two folders."""
    names = []
    for letter in "xyx":
        target = tmp_path / "far" / letter
        target.mkdir(parents=True, exist_ok=True)
        (target / "v.npz").write_bytes(letter.encode())
        links = tmp_path / f"links-{len(names)}"
        links.mkdir()
        (links / "file.npz").symlink_to(target / "v.npz")
        (links / "folder").symlink_to(target)
        names.append(name_of(links))
    assert names[0] == names[2] != names[1]
    (tmp_path / "far" / "x" / "v.npz").write_bytes(b"z")
    assert name_of(tmp_path / "links-0") != names[0]


@pytest.mark.parametrize("target", [".", "..", "loop"])
def test_a_circle_of_links_is_refused(folder, name_of, target):
    (folder / "deep" / "loop").symlink_to(target)
    with pytest.raises(ValueError, match=r"deep/loop.* is a link .*Remove"):
        name_of(folder)


def test_a_damaged_cache_is_not_believed(folder, name_of, tmp_path, read, caplog):
    first = name_of(folder)
    [cache] = (tmp_path / "cache").iterdir()
    content = cache.read_text()
    for damaged in ("", "{}", "[]", content.replace(first[0], "f", 1)[:-3],
                    content.replace('"a.npz"', '"c.npz"')):
        cache.write_text(damaged)
        read.clear()
        assert name_of(folder) == first and len(read) == 2
    assert "all files are read once more" in caplog.text


def test_a_cache_that_cannot_be_written_costs_time_only(folder, tmp_path, name_of, caplog):
    (tmp_path / "cache").write_text("a file in its place")
    assert name_of(folder) == name_of(folder)
    assert "cannot be written" in caplog.text
