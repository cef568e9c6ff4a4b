"""The actions of a clip that a user gives as a file."""

import os

import numpy as np

from parts_jax.data.formats import npz


def read(path: str) -> np.ndarray:
    """The array of a .npy file; nothing in the file is executed.

    Raises:
      ValueError: the file is truncated, damaged or of another kind.
    """
    with open(path, "rb") as file:
        try:
            declared, size = npz.header_bytes(file), os.fstat(file.fileno()).st_size
            if declared > size:
                raise ValueError(f"it declares {declared:,} bytes and has {size:,}")
            file.seek(0)
            return np.lib.format.read_array(file, allow_pickle=False)
        except Exception as error:  # numpy's parser of headers raises errors of many kinds
            raise ValueError(f"The actions in {path} cannot be read: the file must be a whole .npy "
                             f"of numbers [frames, A] ({error}).") from error


def of_frames(actions: np.ndarray, start: int, stop: int, missing: int) -> np.ndarray:
    """The actions of some frames, and zeros for those that are missing.

    Raises:
      ValueError: there are too few.
    """
    taken = actions[start:stop]
    if len(taken) < stop - start:
        raise ValueError(f"There are {len(actions)} actions, but {stop} frames or more; there "
                         "must be an action for each frame.")
    return np.pad(taken, ((0, missing), *((0, 0),) * (taken.ndim - 1)))
