"""Mutations of an HDF5 file as h5py can write them: doors to other files, sizes, types."""

import io

import h5py
import numpy as np

from benchmarks.fuzz import records
from benchmarks.fuzz.damage import Mutation

OTHER, OTHER_EPISODE = "other.bin", "other.link"  # beside the episode; no episode may show them


def dataset(content: bytes, rng: np.random.Generator) -> Mutation:
    """One array of the file is made anew, in one of many wrong ways."""
    buffer = io.BytesIO(content)
    with h5py.File(buffer, "r+") as file:
        names = []
        file.visititems(lambda name, item: names.append(name) if hasattr(item, "dtype") else None)
        name = sorted(names)[rng.integers(len(names))]
        array = file[name][()]
        del file[name]
        mutations = (_pointing, _declaring, _typed, _valued, _grouped)
        what, forbidden = mutations[rng.integers(len(mutations))](file, name, array, rng)
    return Mutation(buffer.getvalue(), f"HDF5 {what}", sealed=True, forbidden=forbidden)


def _pointing(file: h5py.File, name: str, array: np.ndarray,
              rng: np.random.Generator) -> tuple[str, bool]:
    """What is read lies in another file."""
    kind = rng.integers(4)
    if kind == 0:
        file.create_dataset(name, array.shape, array.dtype, external=[
            (OTHER, 0, h5py.h5f.UNLIMITED)])
        return "external storage", True
    if kind == 1:
        file[name] = h5py.ExternalLink(OTHER_EPISODE, f"/{name}")
        return "external link", True
    if kind == 2:
        layout = h5py.VirtualLayout(array.shape, array.dtype)
        layout[:] = h5py.VirtualSource(OTHER_EPISODE, name, array.shape, array.dtype)
        file.create_virtual_dataset(name, layout)
        return "virtual", True
    file[name] = h5py.SoftLink(f"/{name}")
    return "link to itself", True


def _declaring(file: h5py.File, name: str, array: np.ndarray,
               rng: np.random.Generator) -> tuple[str, bool]:
    """Much is declared, of which nothing is there."""
    axes = array.shape[1:]
    shape = ((2 ** 31, *axes), (2 ** 20, *axes), (3 * 2 ** 29 // max(1, int(np.prod(axes))), *axes),
             (*array.shape[:1], *(10 ** 4 for _ in axes)), (0, *axes), (1, *axes),
             (*array.shape, 1))[rng.integers(7)]
    options = {"maxshape": (None, *shape[1:])}
    if rng.integers(2) and all(shape):
        options = {"chunks": tuple(min(size, 4) for size in shape)}
    file.create_dataset(name, shape, array.dtype, compression="gzip", **options)
    return "declared size", False


def _typed(file: h5py.File, name: str, array: np.ndarray,
           rng: np.random.Generator) -> tuple[str, bool]:
    """Another type of number, or what is no number."""
    kinds = ("<f8", "<f2", "<i8", ">u2", "?", "<c8", "S3", [("a", "<f4")], h5py.string_dtype(),
             h5py.vlen_dtype(np.uint8), h5py.ref_dtype, h5py.opaque_dtype(np.dtype("V9")),
             h5py.enum_dtype({"a": 1}, "u1"), ("<f4", (2 ** 10,)))
    file.create_dataset(name, array.shape, kinds[rng.integers(len(kinds))])
    return "type", False


def _valued(file: h5py.File, name: str, array: np.ndarray,
            rng: np.random.Generator) -> tuple[str, bool]:
    """Numbers that none should be."""
    if array.dtype.kind == "f":
        array = array.astype(np.float64)
        array.flat[rng.integers(array.size)] = records.NUMBERS[rng.integers(len(records.NUMBERS))]
    elif rng.integers(2):
        array = array.astype(np.int64) + (-300, 300, 2 ** 40)[rng.integers(3)]
    file[name] = array[:len(array) - int(rng.integers(2))]
    return "values", False


def _grouped(file: h5py.File, name: str, array: np.ndarray,
             rng: np.random.Generator) -> tuple[str, bool]:
    """A group, an empty array, nothing, or one more array."""
    kind = rng.integers(5)
    if kind == 0:
        file.create_group(f"{name}/left")
    elif kind == 1:
        file[name] = h5py.Empty(array.dtype)
    elif kind == 2:
        file["x" * 3000], file[name] = array, array
    elif kind == 3:
        file[f"{name}_"] = array
    else:
        file[name] = np.dtype("f4")
    return "tree", False
