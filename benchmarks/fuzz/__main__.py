"""Feeds mutated files to every reader of the project, and counts what comes of it.

    python -m benchmarks.fuzz --cases=100000 --seed=0 --out=fuzz.json
    python -m benchmarks.fuzz --readers=rlds,playroom.h5 --cases=1000
    python -m benchmarks.fuzz --only=playroom.h5:123 --seed=0

Half of the cases are damaged without regard to what the file holds (bits, bytes, ends, zeros,
blocks, huge numbers); half have a field of its structure changed, with its checksums made right
again where it has some. A case is told by its reader, number and the seed, from which alone it
follows. It runs in a process that runs many, with a limit to its time and its memory.

Prints faults as they are found and a table by reader (see cases.py for what the outcomes mean), and
writes JSON: the counts, of the faults the number, the mutation and the error, and the slowest
cases. --only prints one case and leaves its file.
"""

import argparse
import collections
import json
import math
import multiprocessing
import os
import pathlib
import platform
import shutil
import sys
import tempfile
import time
import traceback
from collections.abc import Iterator, Sequence
from multiprocessing import connection
from typing import Any

os.environ.setdefault("TQDM_DISABLE", "1")
os.environ.setdefault("JAX_PLATFORMS", "cpu")

import av.logging
from absl import logging

from benchmarks.fuzz import cases
from benchmarks.fuzz.readers import READERS

STUCK = 120.0  # seconds without a word, after which a process is killed; it counts as a hang
SLOWEST = 20  # cases that are told of
CONTEXT = multiprocessing.get_context("fork")  # all is imported once

Task = tuple[str, int]


def tasks(names: Sequence[str], count: int) -> list[Task]:
    """So many cases in all, each a reader and a number; by reader, each by its weight."""
    total = sum(READERS[name].weight for name in names)
    return [(name, number) for name in names
            for number in range(math.ceil(count * READERS[name].weight / total))]


def work(todo: Sequence[Task], seed: int, folder: str, pipe: connection.Connection) -> None:
    """Runs cases one after the other in this process, and sends what came of each."""
    quiet()
    bench = None
    cases.limit()
    for name, number in todo:
        try:
            if bench is None or bench.name != name:
                if bench is not None:
                    shutil.rmtree(bench.folder)
                bench = cases.Bench(name, READERS[name], pathlib.Path(folder, name))
            result = bench.run(seed, number)
        except Exception:  # a fault of what is here, not of a reader
            result = traceback.format_exc()
        pipe.send((name, number, result))
    pipe.close()


def quiet() -> None:
    """What libraries say of broken files is not wanted here; their output is not ours."""
    logging.set_verbosity(logging.FATAL)
    av.logging.set_level(None)
    os.dup2(os.open(os.devnull, os.O_WRONLY), 2)


class Worker:
    """A process with cases of its own, started again after each that ends it."""

    def __init__(self, todo: list[Task], seed: int):
        self.todo, self.seed, self.place = todo, seed, 0
        self.start()

    def start(self) -> None:
        """From the next case on."""
        self.folder = tempfile.mkdtemp(prefix="fuzz-")
        self.pipe, other = CONTEXT.Pipe(duplex=False)
        self.process = CONTEXT.Process(
            target=work, args=(self.todo[self.place:], self.seed, self.folder, other), daemon=True)
        self.process.start()
        other.close()
        self.heard = time.monotonic()

    def receive(self) -> tuple[str, int, cases.Result] | None:
        """The result of a case that is there, or of one that the process died of."""
        try:
            result = self.pipe.recv()
        except EOFError:
            return self.ended("crash")
        self.place, self.heard = self.place + 1, time.monotonic()
        if isinstance(result[2], str):
            raise RuntimeError(f"The case {result[0]}:{result[1]} cannot be run. {result[2]}")
        return result

    def ended(self, outcome: str) -> tuple[str, int, cases.Result] | None:
        """Ends the process, and starts another after the case that it was at, if there was one."""
        self.process.kill()
        self.process.join()
        shutil.rmtree(self.folder, ignore_errors=True)
        if self.place >= len(self.todo):
            return None
        found = (*self.todo[self.place], cases.Result(
            outcome, "unknown", f"the process ended with {self.process.exitcode}"))
        self.place += 1
        if self.place < len(self.todo):
            self.start()
        return found

    @property
    def is_done(self) -> bool:
        """Whether all its cases have a result and its process has ended."""
        return self.place >= len(self.todo) and not self.process.is_alive()


def results(todo: Sequence[Task], seed: int,
            processes: int) -> Iterator[tuple[str, int, cases.Result]]:
    """Yields what came of each case, as it comes."""
    workers = [Worker(list(todo[start::processes]), seed) for start in range(processes)
               if todo[start::processes]]
    try:
        while workers := [worker for worker in workers if not worker.is_done]:
            by_pipe = {worker.pipe: worker for worker in workers}
            for pipe in connection.wait(list(by_pipe), timeout=1.0):
                if (found := by_pipe[pipe].receive()) is not None:
                    yield found
            for worker in workers:
                if time.monotonic() - worker.heard > STUCK and worker.process.is_alive():
                    if (found := worker.ended("hang")) is not None:
                        yield found
    finally:
        for worker in workers:
            worker.process.kill()
            shutil.rmtree(worker.folder, ignore_errors=True)


def table(counts: dict[str, collections.Counter]) -> str:
    """The counts by reader as markdown."""
    lines = [f"| reader | cases | {' | '.join(cases.OUTCOMES)} |",
             f"|---|{'---:|' * (1 + len(cases.OUTCOMES))}"]
    total = sum(counts.values(), collections.Counter())
    for name, counter in (*counts.items(), ("**all**", total)):
        numbers = (counter.total(), *(counter[outcome] for outcome in cases.OUTCOMES))
        lines.append(f"| {name} | {' | '.join(f'{number:,}' for number in numbers)} |")
    return "\n".join(lines)


def run(names: Sequence[str], count: int, seed: int, processes: int) -> dict[str, Any]:
    """Runs so many cases of some readers: counts by reader, and the faults."""
    counts = {name: collections.Counter() for name in names}
    faults, slowest, began = [], [], time.monotonic()
    for name, number, result in results(tasks(names, count), seed, processes):
        counts[name][result.outcome] += 1
        slowest = sorted([*slowest, (round(result.seconds, 2), f"{name}:{number}", result.what)])[
            -SLOWEST:]
        if result.outcome in cases.FAULTS:
            faults.append({"case": f"{name}:{number}", **result._asdict()})
            print(f"{name}:{number}", *result[:3], sep="; ", file=sys.stderr)
    return {"counts": counts, "faults": faults, "slowest": slowest[::-1], "seed": seed,
            "seconds": round(time.monotonic() - began),
            "machine": f"{platform.machine()}, {os.cpu_count()} cores"}


def only(case: str, seed: int) -> None:
    """Runs one case in this process, says what came of it, and leaves its file."""
    name, _, number = case.partition(":")
    cases.limit()
    bench = cases.Bench(name, READERS[name], pathlib.Path(tempfile.mkdtemp(), name))
    left = pathlib.Path(f"fuzz-{number}-{bench.path.name}")
    left.write_bytes(bench.mutation(seed, int(number)).content)
    print(*bench.run(seed, int(number)), f"The file: {left}", sep="\n")


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.fuzz", description=__doc__, allow_abbrev=False,
        formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cases", type=int, default=100_000, help="of all readers together")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--readers", default=",".join(READERS), help="some of: %(default)s")
    parser.add_argument("--only", help="one case, READER:NUMBER")
    parser.add_argument("--processes", type=int, default=os.cpu_count())
    parser.add_argument("--out", help="a JSON file for counts and faults")
    flags = parser.parse_args()
    names = flags.readers.split(",")
    if unknown := set([flags.only.partition(":")[0]] if flags.only else names) - set(READERS):
        parser.error(f"there is no reader {', '.join(sorted(unknown))}; there is: "
                     f"{', '.join(READERS)}")
    if flags.only:
        only(flags.only, flags.seed)
        return
    found = run(names, flags.cases, flags.seed, flags.processes)
    print(table(found["counts"]))
    if flags.out:
        pathlib.Path(flags.out).write_text(json.dumps(found, indent=1) + "\n")
    sys.exit(1 if found["faults"] else 0)


if __name__ == "__main__":
    main()
