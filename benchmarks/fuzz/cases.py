"""One case: a file is mutated and read under limits, and what comes of it is named."""

import gc
import hashlib
import os
import pathlib
import resource
import shutil
import signal
import time
import traceback
import zlib
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

from benchmarks.fuzz import damage
from benchmarks.fuzz.readers import Reader

SECONDS = 10.0  # of processor time that a case may take
MEMORY = 2 ** 30  # bytes that a case may take over what the process had before it
# refused: ValueError or OSError whose message names the file. equal: read as the healthy file.
# altered: read with other content, where no checksum could tell. The others are faults; silent is
# read with other content in spite of a checksum, or what must not be read.
OUTCOMES = ("refused", "equal", "altered", "silent", "nameless", "traceback", "hang", "over",
            "crash")
FAULTS = OUTCOMES[3:]


class Hang(BaseException):
    """A case took too long; no reader may catch it as an Exception."""


class Result(NamedTuple):
    """What came of a case: one of OUTCOMES, the mutation in words, the error, processor time."""

    outcome: str
    what: str
    detail: str = ""
    seconds: float = 0.0


class Bench:
    """A reader with its healthy source in a folder, and what is read of it."""

    def __init__(self, name: str, reader: Reader, folder: pathlib.Path):
        self.name, self.reader, self.folder = name, reader, folder
        folder.mkdir(parents=True)
        self.path = reader.make(folder)
        self.healthy = self.path.read_bytes()
        self.digest = self._read()

    def _read(self) -> str:
        try:
            return digest(self.reader.read(self.folder, self.path))
        finally:
            if "data" not in self.path.parts:
                shutil.rmtree(self.folder / "data", ignore_errors=True)

    def mutation(self, seed: int, number: int) -> damage.Mutation:
        """That of a case: always the same."""
        rng = np.random.default_rng([seed, zlib.crc32(self.name.encode()), number])
        mutators = self.reader.mutators
        if rng.integers(2):
            return damage.damaged(self.healthy, rng)
        return mutators[rng.integers(len(mutators))](self.healthy, rng)

    def run(self, seed: int, number: int) -> Result:
        """Mutates, reads, and puts the healthy file back."""
        mutation, before = self.mutation(seed, number), _peak()
        self.path.write_bytes(mutation.content)
        try:
            began = time.process_time()
            return self._judged(mutation)._replace(seconds=time.process_time() - began)
        finally:
            self.path.write_bytes(self.healthy)
            if _peak() - before > 2 ** 28:  # frames of errors hold what was read
                gc.collect()

    def _judged(self, mutation: damage.Mutation) -> Result:
        before = _limited()
        signal.setitimer(signal.ITIMER_PROF, SECONDS)
        try:
            found, error = self._read(), None
        except (Exception, Hang) as caught:
            found, error = "", caught
        finally:
            signal.setitimer(signal.ITIMER_PROF, 0)
        taken = _peak() - before
        words = "" if error is None else f"{type(error).__name__}: {str(error)[:600]}"
        place = "" if error is None else _place(error)
        kind, error = type(error), None  # its frames hold this one, and what was read
        if issubclass(kind, Hang):
            return Result("hang", mutation.what, place)
        if issubclass(kind, MemoryError) or taken > MEMORY:
            return Result("over", mutation.what, f"{taken >> 20} MiB {words}")
        if issubclass(kind, (ValueError, OSError)):
            named = self.path.name in words or str(self.folder) in words
            return Result("refused" if named else "nameless", mutation.what,
                          words if named else f"{words} {place}")
        if words:
            return Result("traceback", mutation.what, f"{words} {place}")
        if found == self.digest and not mutation.forbidden:
            return Result("equal", mutation.what)
        known = self.reader.checksums and not mutation.sealed
        return Result("silent" if known or mutation.forbidden else "altered", mutation.what)


def digest(value: Any) -> str:
    """Of whatever a reader returns: arrays by type, shape and bytes."""
    return hashlib.sha256(repr(_plain(value)).encode()).hexdigest()


def _plain(value: Any) -> Any:
    if isinstance(value, np.ndarray):
        content = repr(value.tolist()).encode() if value.dtype.hasobject else value.tobytes()
        return value.dtype.str, value.shape, hashlib.sha256(content).hexdigest()
    if isinstance(value, Mapping):
        return [(str(key), _plain(inner)) for key, inner in value.items()]
    return [_plain(inner) for inner in value] if isinstance(value, (list, tuple)) else value


def limit() -> None:
    """Prepares this process for cases."""
    signal.signal(signal.SIGPROF, _too_long)


def _limited() -> int:
    """Limits the memory of this process from now on; returns what it has."""
    pathlib.Path("/proc/self/clear_refs").write_text("5")  # the peak is counted from now on
    # Twice: threads reserve addresses that they never use.
    resource.setrlimit(resource.RLIMIT_AS, (
        _pages(0) * resource.getpagesize() + 2 * MEMORY, resource.RLIM_INFINITY))
    return _peak()


def _pages(which: int) -> int:
    """Pages of this process: 0: addresses; 1: memory."""
    return int(pathlib.Path("/proc/self/statm").read_text().split()[which])


def _too_long(*_: Any) -> None:
    raise Hang


def _peak() -> int:
    """The highest use of memory, in bytes."""
    for line in pathlib.Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmHWM"):
            return int(line.split()[1]) * 1024
    return 0


def _place(error: BaseException) -> str:
    """Where an error comes from: the last line of the project, and the last of all."""
    frames = traceback.extract_tb(error.__traceback__)
    ours = [frame for frame in frames if f"{os.sep}parts_jax{os.sep}" in frame.filename]
    shown = [f"{'/'.join(pathlib.Path(frame.filename).parts[-2:])}:{frame.lineno} ({frame.name})"
             for frame in (*ours[-1:], *frames[-1:])]
    return f"at {', '.join(dict.fromkeys(shown))}"
