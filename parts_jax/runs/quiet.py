"""Keeps libraries from saying what a run says itself, in one sentence.

When a disk is full, or a checkpoint damaged, orbax logs the error of each of its threads with all
calls, tensorstore's threads find that the loop they answer to has ended, TensorBoard's thread ends
by the same error; and the run, which is told of it by an exception, says what is to be done.
"""

import logging as standard_logging
import os
import sys
import threading
import traceback
from typing import Any

from absl import logging

LIBRARIES = ("orbax", "grain", "tensorflow_datasets")
RAISING = ("orbax", "tensorboard")  # what their threads fail by is raised where they are waited for


def hush() -> None:
    """Shows JAX's warnings, and of the libraries only errors that are not raised as well."""
    standard_logging.getLogger("jax").setLevel(standard_logging.WARNING)
    logging.get_absl_logger().addFilter(_is_news)
    sys.unraisablehook = _unless_a_loop_has_ended
    threading.excepthook = _unless_it_is_raised


def _is_of(path: str, libraries: tuple[str, ...]) -> bool:
    return any(f"{os.sep}{name}{os.sep}" in path for name in libraries)


def _is_news(record: standard_logging.LogRecord) -> bool:
    if not _is_of(record.pathname, LIBRARIES):
        return True
    return record.levelno >= standard_logging.ERROR and not (
        record.exc_info and _is_of(record.pathname, RAISING))


def _unless_a_loop_has_ended(unraisable: Any) -> None:
    """Python's hook for exceptions that nobody can catch."""
    ended = isinstance(unraisable.exc_value, RuntimeError) and (
        str(unraisable.exc_value) == "Event loop is closed")
    if not ended:
        sys.__unraisablehook__(unraisable)


def _unless_it_is_raised(failed: threading.ExceptHookArgs) -> None:
    """Python's hook for exceptions that end a thread."""
    frames = traceback.extract_tb(failed.exc_traceback)
    if not any(_is_of(frame.filename, RAISING) for frame in frames):
        threading.__excepthook__(failed)
