"""An ordered map over processes, for simulations that depend on their arguments alone."""

import collections
import concurrent.futures
import contextlib
import multiprocessing
import multiprocessing.connection
import os
import signal
import sys
import threading
import types
from collections.abc import Callable, Iterable, Iterator
from typing import Any


def available_cores() -> int:
    """How many cores this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def ordered_map(function: Callable[..., Any], tasks: Iterable[tuple],
                num_workers: int = 0) -> Iterator[Any]:
    """Yields `function(*task)` for every task, in the order of the tasks.

    Few tasks are ahead of the consumer at any time, so the results need not fit into memory.

    Args:
      function: a function of a module (processes import it by name).
      tasks: its arguments, one tuple a call.
      num_workers: processes; 0: one for each core that this process may use; 1: none but this.

    Raises:
      ValueError: if `num_workers` is negative.
      concurrent.futures.process.BrokenProcessPool: if a process dies.
    """
    if num_workers < 0:
        raise ValueError(f"num_workers must be 0 (one for each core) or more; got {num_workers}.")
    num_workers = num_workers or available_cores()
    if num_workers == 1:
        yield from (function(*task) for task in tasks)
        return
    # Spawned, not forked: forking a process that runs JAX's threads can hang it.
    pool = concurrent.futures.ProcessPoolExecutor(
        num_workers, mp_context=multiprocessing.get_context("spawn"), initializer=_start_worker)
    pending = collections.deque()
    try:
        for task in tasks:
            with _no_main_module():
                pending.append(pool.submit(function, *task))
            if len(pending) > 4 * num_workers:
                yield pending.popleft().result()
        while pending:
            yield pending.popleft().result()
    finally:
        pool.shutdown(cancel_futures=True)


def _start_worker() -> None:
    """Leaves interrupts to the parent, and ends the process when the parent is gone."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    parent = multiprocessing.parent_process()

    def follow() -> None:
        multiprocessing.connection.wait([parent.sentinel])
        os._exit(1)

    threading.Thread(target=follow, daemon=True).start()


@contextlib.contextmanager
def _no_main_module() -> Iterator[None]:
    """Within it, spawned processes do not import the caller's script again.

    They need nothing of it, and so a script without `if __name__ == "__main__"` can simulate too.
    """
    main = sys.modules["__main__"]
    sys.modules["__main__"] = types.ModuleType("__main__")
    try:
        yield
    finally:
        sys.modules["__main__"] = main
