"""npz files: read as numpy reads them, and no more than the limit allows."""

import io
import zipfile

import numpy as np
import pytest

from parts_jax.data.formats import npz


def header(shape, dtype="|u1"):
    stream = io.BytesIO()
    np.lib.format.write_array_header_1_0(
        stream, {"shape": shape, "fortran_order": False, "descr": dtype})
    return stream.getvalue()


def write(path, **members):
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(f"{name}.npy", content)
    return path


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_arrays_come_back(tmp_path, save):
    arrays = {"a": np.arange(12.0).reshape(3, 4), "b": np.zeros((0, 3), np.uint8),
              "c": np.asfortranarray(np.arange(6).reshape(2, 3)), "d": np.float32(2)}
    save(tmp_path / "a.npz", **arrays)
    with npz.Npz(tmp_path / "a.npz") as file:
        assert set(file) == set(arrays)
        for name, expected in arrays.items():
            np.testing.assert_array_equal(file[name], expected)
            assert file[name].dtype == np.asarray(expected).dtype


@pytest.mark.parametrize("content, message", [
    (header((10 ** 12,)), "a.npz declares 1,000,000,000,128 bytes"),
    (header((10 ** 6, 10 ** 6, 10 ** 6, 10 ** 6)), "a.npz declares 1,000,000,000,000,000,000,000,"),
    (bytes(2 * 10 ** 6), "a.npz declares 2,000,000 bytes"),
    (header((10,)) + bytes(9), "the array a has 137 bytes, but declares 138"),
    (header((10,)) + bytes(11), "the array a has 139 bytes, but declares 138"),
    (header((-1,)), "shape"),
    (header((1,), "|O") + bytes(8), "allow_pickle=False"),
])
def test_declared_sizes_are_looked_at_first(tmp_path, content, message):
    with (npz.Npz(write(tmp_path / "a.npz", a=content), 10 ** 6) as file,
          pytest.raises(ValueError, match=message)):
        file["a"]


def test_all_arrays_together_must_fit(tmp_path):
    part = header((600,)) + bytes(600)
    with npz.Npz(write(tmp_path / "a.npz", a=part, b=part), 1000) as file:
        assert file["a"].size == 600
        with pytest.raises(ValueError, match="a.npz declares 1,456 bytes"):
            file["b"]


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_two_arrays_of_one_name(tmp_path):
    with zipfile.ZipFile(tmp_path / "a.npz", "w") as archive:
        archive.writestr("a.npy", header((0,)))
        archive.writestr("a.npy", header((0,)))
    with pytest.raises(ValueError, match="the same name"):
        npz.Npz(tmp_path / "a.npz")
