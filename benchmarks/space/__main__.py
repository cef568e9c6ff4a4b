"""Experiments of SPACE's paper, of what was trained here; written into docs/space.md.

    python -m benchmarks.space table1 runs/rooms-0 runs/rooms-1 runs/iodine_rooms-0
    python -m benchmarks.space curves runs/rooms-0 runs/iodine_rooms-0      # figure 5
    python -m benchmarks.space steptime --config=configs/space_rooms.py:demo \\
        --beside=configs/iodine_clevr.py                                    # figure 5

Each prints what it found and writes space_<what>-<set or config>.json, and .svg, beside the page.
`table1` and `curves` read files of runs; those of a table are of one set. For boxes of masks in
`table1` runs are evaluated with --config.eval.mask_boxes=True. `steptime` trains nothing; flags
that begin with --config. go to its config.
"""

import argparse
import importlib
import pathlib
from collections.abc import Sequence

from benchmarks import commands
from benchmarks.commands import at_least, numbers
from benchmarks.space import writing

COMMANDS = ("table1", "curves", "steptime")


def parser() -> argparse.ArgumentParser:
    """The command line."""
    found = argparse.ArgumentParser(prog="python -m benchmarks.space",
                                    description=__doc__.splitlines()[0], allow_abbrev=False)
    subparsers = found.add_subparsers(dest="what", required=True)
    for what in COMMANDS:
        command = subparsers.add_parser(what, allow_abbrev=False)
        command.add_argument("--page", type=pathlib.Path, default=writing.PAGE,
                             help="what is written")
        command.add_argument("--out", type=pathlib.Path, help="folder of JSON and charts; else "
                             "that of the page")
        if what != "steptime":
            command.add_argument("runs", nargs="+", help="workdirs")
    sub = subparsers.choices
    sub["table1"].add_argument("--split", default="test", help="whose evaluation")
    sub["steptime"].add_argument("--config", required=True, help="FILE or FILE:variant, of SPACE")
    sub["steptime"].add_argument("--cells", type=numbers(1), default=(16, 64, 256),
                                 help="of SPACE and of SPAIR's cells, commas between them")
    sub["steptime"].add_argument("--components", type=numbers(1), default=(1, 5, 10),
                                 help="of SPACE's background")
    sub["steptime"].add_argument("--slots", type=numbers(1), default=(4, 8, 16),
                                 help="of the background alone, and of --beside")
    sub["steptime"].add_argument("--beside", action="append", default=[],
                                 help="config of another family; as often as wanted")
    sub["steptime"].add_argument("--num_steps", type=at_least(1), default=10, help="that are timed")
    return found


def run(arguments: Sequence[str]) -> str:
    """Does what the command line says; what it found, and where it stands.

    Raises:
      ValueError, OSError: with a message for the user.
    """
    flags = commands.parse(parser(), arguments, ("steptime",))
    made = importlib.import_module(f"benchmarks.space.{flags.what}").make(flags)
    written = writing.write(made, flags.page, flags.out or flags.page.parent)
    return f"{made.words}\n\n{written}"


if __name__ == "__main__":
    commands.main(run)
