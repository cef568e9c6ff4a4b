"""What libraries say beside a run's own sentence is kept back; all else is shown."""

import logging as standard_logging
import os
import sys
import threading

import pytest
from absl import logging

from parts_jax.runs import quiet


@pytest.fixture
def hushed(monkeypatch):
    monkeypatch.setattr(sys, "unraisablehook", sys.unraisablehook)
    monkeypatch.setattr(threading, "excepthook", threading.excepthook)
    level = standard_logging.getLogger("jax").level
    quiet.hush()
    yield
    logging.get_absl_logger().removeFilter(quiet._is_news)
    standard_logging.getLogger("jax").setLevel(level)


@pytest.mark.parametrize("error, shown", [
    (RuntimeError("Event loop is closed"), False), (RuntimeError("another"), True),
    (OSError("Event loop is closed"), True)])
def test_a_loop_that_has_ended_is_no_news(hushed, capsys, error, shown):
    class Fails:
        def __del__(self):
            raise error  # which nobody can catch

    Fails()
    assert (str(error) in capsys.readouterr().err) == shown


@pytest.mark.parametrize("library, shown", [("tensorboard", False), ("mine", True)])
def test_a_thread_of_a_library_that_is_waited_for_ends_silently(hushed, capsys, tmp_path, library,
                                                                shown):
    file = tmp_path / library / "writer.py"
    code = compile("def run():\n    raise OSError('No space left')", str(file), "exec")
    names: dict = {}
    exec(code, names)
    thread = threading.Thread(target=names["run"])
    thread.start()
    thread.join()
    assert ("No space left" in capsys.readouterr().err) == shown


@pytest.mark.parametrize("library, level, raised, shown", [
    ("orbax", "ERROR", True, False), ("orbax", "ERROR", False, True),
    ("orbax", "WARNING", False, False), ("grain", "ERROR", True, True),
    ("parts_jax", "ERROR", True, True), ("parts_jax", "INFO", False, True)])
def test_errors_that_are_raised_as_well_are_not_logged(library, level, raised, shown):
    record = standard_logging.LogRecord(
        "absl", getattr(standard_logging, level), f"{os.sep}{library}{os.sep}x.py", 1, "message",
        (), (OSError, OSError(), None) if raised else None)
    assert quiet._is_news(record) == shown
