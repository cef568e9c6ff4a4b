"""What TERM and Ctrl-C do to a command, from its first import on; nothing here needs JAX.

TERM is what machines are told by that are taken away: a command that it ends asks, by its exit
code, to be started again. Ctrl-C is a person's, so nothing starts it again.
"""

import os
import signal
import sys
import types
from typing import NoReturn

START_AGAIN = 75   # exit codes: TERM; of those in sysexits.h
INTERRUPTED = 130  # Ctrl-C; as shells have it
_came: set[int] = set()  # signals since leave_in_order


def leave_at_once() -> None:
    """From now on both end the process as they come: nothing has begun that could be lost.

    For the seconds that imports take, in which an exception could be lost, or be shown with all
    that was being imported.
    """
    signal.signal(signal.SIGTERM, lambda *_: os._exit(START_AGAIN))
    answer_interrupt(lambda *_: _interrupted())


def leave_in_order() -> None:
    """From now on both unwind the stack: TERM by SystemExit, Ctrl-C by KeyboardInterrupt.

    An exception that a handler raises is lost where it falls into a finalizer, or a callback of
    JAX: Python prints it there and goes on. What came is kept, so that a `Notice` begins with it.
    """
    _came.clear()
    signal.signal(signal.SIGTERM, _leave_by_term)
    answer_interrupt(_leave_by_interrupt)


def answer_interrupt(handler) -> object:
    """Sets the handler of Ctrl-C, if it is listened to at all, and returns the one before.

    A shell's background commands, those of launchers among them, begin with Ctrl-C ignored.
    """
    before = signal.getsignal(signal.SIGINT)
    if before != signal.SIG_IGN:
        signal.signal(signal.SIGINT, handler)
    return before


def say(sentence: str) -> None:
    """Writes a line to stderr, as a handler may: print could be in the middle of another."""
    os.write(2, f"{sentence}\n".encode())


def _leave_by_term(number: int, frame: types.FrameType | None) -> NoReturn:
    _came.add(number)
    sys.exit(START_AGAIN)


def _leave_by_interrupt(number: int, frame: types.FrameType | None) -> None:
    _came.add(number)
    signal.default_int_handler(number, frame)


def _interrupted() -> NoReturn:
    say("Stopped by Ctrl-C before anything had begun.")
    os._exit(INTERRUPTED)


class Notice:
    """Whether a process was told to save and leave, and by what; also before, see leave_in_order.

    Attributes:
      told: whether it was.
      interrupted: whether by Ctrl-C.
    """

    def __init__(self) -> None:
        self.told = bool(_came)
        self.interrupted = signal.SIGINT in _came

    def hear_term(self, number: int, frame: types.FrameType | None) -> None:
        """The handler of TERM."""
        self.told = True

    def hear_interrupt(self, number: int, frame: types.FrameType | None) -> None:
        """The handler of Ctrl-C.

        Raises:
          KeyboardInterrupt: it is the second one.
        """
        if self.interrupted:
            raise KeyboardInterrupt
        self.told = self.interrupted = True
        say("Ctrl-C: the run saves and leaves after this step, or after the evaluation that is "
            "going on. Once more ends it at once.")
