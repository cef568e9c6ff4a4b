"""A zip whose list of members is damaged is refused, where zipfile leaves members out."""

import zipfile

import pytest

from parts_jax.data.formats import zips


def write(path):
    with zipfile.ZipFile(path, "w") as archive:
        for name in ("a.npy", "b.npy"):
            archive.writestr(zipfile.ZipInfo(name), b"content of " + name.encode())
    return path.read_bytes()


def test_a_whole_zip_is_left_alone(tmp_path):
    path = tmp_path / "a.zip"
    write(path)
    with zipfile.ZipFile(path, "a") as archive:
        archive.comment = b"some words"
    with zipfile.ZipFile(path) as archive:
        zips.check_members(archive, path, archive.namelist())


def test_members_that_one_entry_swallows_are_missed(tmp_path):
    path = tmp_path / "a.zip"
    content = bytearray(write(path))
    content[content.index(b"PK\1\2") + 32] = 51  # the length of the first entry's comment
    path.write_bytes(content)
    with zipfile.ZipFile(path) as archive:
        assert archive.namelist() == ["a.npy"]  # without a word
        with pytest.raises(zipfile.BadZipFile, match="lists 1 members, but says that it has 2"):
            zips.check_members(archive, path)


def test_a_name_that_is_damaged_in_the_list_is_seen(tmp_path):
    path = tmp_path / "a.zip"
    content = write(path)
    path.write_bytes(content.replace(b"b.npy", b"c.npy").replace(b"c.npy", b"b.npy", 1))
    with zipfile.ZipFile(path) as archive:
        assert archive.namelist() == ["a.npy", "c.npy"]
        with pytest.raises(zipfile.BadZipFile):
            zips.check_members(archive, path, ["c.npy"])
