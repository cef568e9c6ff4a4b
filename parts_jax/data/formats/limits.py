"""How much memory a file may ask for: its declared sizes are held against a limit before reading.

A zip of a megabyte can unpack to gigabytes, and an HDF5 of two kilobytes can declare terabytes.
`data.max_bytes` of the config is the limit; readers that are called by themselves have MAX_BYTES.
"""

import os

MAX_BYTES = 4 * 2 ** 30  # of what one file, or one episode of it, takes in memory once it is read


def check_declared(source: str | os.PathLike, num_bytes: int, max_bytes: int = MAX_BYTES) -> None:
    """Raises ValueError if what a file declares would take more memory than it may.

    Args:
      source: the file, for the message; with its part, if that is what is large.
      num_bytes: what reading it would take, by its header.
      max_bytes: the limit.
    """
    if num_bytes > max_bytes:
        raise ValueError(f"{source} declares {num_bytes:,} bytes once it is read, but at most "
                         f"{max_bytes:,} are allowed. If the file is right, raise the limit with "
                         f"--config.data.max_bytes={num_bytes}.")
