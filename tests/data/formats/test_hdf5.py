"""HDF5 files: links within are followed; nothing of other files, nor above the limit, is read."""

import fcntl

import h5py
import numpy as np
import pytest

from parts_jax.data.formats import hdf5


def read(path, name="a", **arguments):
    with hdf5.opened(path) as file:
        found = hdf5.dataset(file, name)
        if found is None:
            return None
        hdf5.check_declared(path, [found], **arguments)
        return found[()]


@pytest.fixture
def path(tmp_path):
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["group/values"] = np.arange(6.0)
        file["a"] = h5py.SoftLink("/group/values")
        file["group/near"] = h5py.SoftLink("values")
        file["nowhere"] = h5py.SoftLink("/nowhere")
        file["dangling"] = h5py.SoftLink("/missing")
        file["text"] = "words"
        file["group/far"] = h5py.ExternalLink("b.h5", "/secret")
        file["behind"] = h5py.SoftLink("/group/far")
    with h5py.File(tmp_path / "b.h5", "w") as file:
        file["secret"] = np.arange(3)
    return tmp_path / "a.h5"


def test_links_within_the_file_are_followed(path):
    for name in ("a", "group/values", "group/near"):
        np.testing.assert_array_equal(read(path, name), np.arange(6.0))
    assert read(path, "missing") is None and read(path, "dangling") is None
    assert read(path, "group/values/more") is None


@pytest.mark.parametrize("name, message", [
    ("group/far", "group/far in .*a.h5 is a link to another file, b.h5, which is not read"),
    ("behind", "is a link to another file, b.h5"),
    ("nowhere", "nowhere in .*a.h5 is a link that leads nowhere"),
    ("group", "group in .*a.h5 must be an array, but is a group"),
    ("text", "text in .*a.h5 must be an array of numbers; got object"),
])
def test_what_is_not_read(path, name, message):
    with pytest.raises(ValueError, match=message):
        read(path, name)


def test_external_storage_and_virtual_datasets_are_refused(tmp_path):
    (tmp_path / "secret").write_bytes(bytes(range(64)))
    with h5py.File(tmp_path / "b.h5", "w") as file:
        file["secret"] = np.arange(3)
    layout = h5py.VirtualLayout(shape=(3,), dtype=np.int64)
    layout[:] = h5py.VirtualSource(str(tmp_path / "b.h5"), "secret", shape=(3,))
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file.create_virtual_dataset("virtual", layout)
        file.create_dataset("outside", shape=(64,), dtype=np.uint8,
                            external=[(str(tmp_path / "secret"), 0, 64)])
    for name in ("virtual", "outside"):
        with pytest.raises(ValueError, match=f"values of {name} in .*a.h5 lie in other files"):
            read(tmp_path / "a.h5", name)


def test_declared_sizes_are_held_against_the_limit(tmp_path):
    path = tmp_path / "a.h5"
    with h5py.File(path, "w") as file:
        file.create_dataset("huge", shape=(3, 10 ** 13), dtype=np.uint8, chunks=(1, 1024))
        file.create_dataset("chunk", shape=(1,), maxshape=(None,), dtype=np.uint8,
                            chunks=(2 ** 31,), compression="gzip")
        file.create_dataset("fits", data=np.zeros(100, np.uint8))
    with pytest.raises(ValueError, match="a.h5 declares 30,000,000,000,000 bytes .*max_bytes"):
        read(path, "huge")
    with pytest.raises(ValueError, match="a.h5 declares 2,147,483,648 bytes"):
        read(path, "chunk", max_bytes=10 ** 6)
    with pytest.raises(ValueError, match="a.h5 declares 100 bytes"):
        read(path, "fits", max_bytes=99)
    assert read(path, "fits", max_bytes=100).size == 100


def test_a_file_that_is_written_is_locked_and_not_damaged(path):
    with open(path, "r+b") as other:
        fcntl.flock(other, fcntl.LOCK_EX)
        with pytest.raises(OSError, match="a.h5 is locked: another program has it open"):
            read(path)


def test_no_file_and_another_kind_of_file(tmp_path):
    with pytest.raises(FileNotFoundError, match="a.h5"):
        read(tmp_path / "a.h5")
    (tmp_path / "a.h5").write_bytes(b"text" * 99)
    with pytest.raises(ValueError, match="a.h5 cannot be read: it is truncated, damaged or of"):
        read(tmp_path / "a.h5")
