"""One run at a time trains in a workdir."""

import contextlib
import os
import pathlib
from collections.abc import Iterator

from parts_jax.files import lock

FILE_NAME = "run.lock"


@contextlib.contextmanager
def hold(workdir: str | os.PathLike) -> Iterator[None]:
    """Holds the lock of a workdir, in process 0 of a run alone; see `lock.hold`.

    Args:
      workdir: the run's folder, made if need be.

    Raises:
      ValueError: another process holds it.
      OSError: the file cannot be written.
    """
    with contextlib.ExitStack() as held:
        try:
            os.makedirs(workdir, exist_ok=True)
            held.enter_context(lock.hold(pathlib.Path(workdir) / FILE_NAME))
        except lock.HeldError as error:
            raise ValueError(f"Another process is training in {str(workdir)!r}: {error}. Wait for "
                             "its end, stop it, or give another --workdir.") from error
        except OSError as error:
            raise OSError(f"The workdir {str(workdir)!r} cannot be written to: "
                          f"{error.strerror or error}.") from error
        yield
