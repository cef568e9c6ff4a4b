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
import sys
from collections.abc import Sequence

from benchmarks.space import writing
from parts_jax.runs import quiet

COMMANDS = ("table1", "curves", "steptime")


def parser() -> argparse.ArgumentParser:
    """The command line."""
    found = argparse.ArgumentParser(prog="python -m benchmarks.space",
                                    description=__doc__.splitlines()[0], allow_abbrev=False)
    commands = found.add_subparsers(dest="what", required=True)
    for what in COMMANDS:
        command = commands.add_parser(what, allow_abbrev=False)
        command.add_argument("--page", type=pathlib.Path, default=writing.PAGE,
                             help="what is written")
        command.add_argument("--out", type=pathlib.Path, help="folder of JSON and charts; else "
                             "that of the page")
        if what != "steptime":
            command.add_argument("runs", nargs="+", help="workdirs")
    sub = commands.choices
    sub["table1"].add_argument("--split", default="test", help="whose evaluation")
    sub["steptime"].add_argument("--config", required=True, help="FILE or FILE:variant, of SPACE")
    sub["steptime"].add_argument("--cells", type=_numbers, default=[16, 64, 256],
                                 help="of SPACE and of SPAIR's cells, commas between them")
    sub["steptime"].add_argument("--components", type=_numbers, default=[1, 5, 10],
                                 help="of SPACE's background")
    sub["steptime"].add_argument("--slots", type=_numbers, default=[4, 8, 16],
                                 help="of the background alone, and of --beside")
    sub["steptime"].add_argument("--beside", action="append", default=[],
                                 help="config of another family; as often as wanted")
    sub["steptime"].add_argument("--num_steps", type=int, default=10, help="that are timed")
    return found


def _numbers(text: str) -> list[int]:
    parts = [part for part in text.split(",") if part]
    if not all(part.isdecimal() and int(part) > 0 for part in parts):
        raise argparse.ArgumentTypeError(f"must be whole numbers, 1 or more, commas between them; "
                                         f"got {text}")
    return [int(part) for part in parts]


def run(arguments: Sequence[str]) -> str:
    """Does what the command line says; what it found, and where it stands.

    Raises:
      ValueError, OSError: with a message for the user.
    """
    flags, rest = parser().parse_known_args(arguments)
    unknown = [flag for flag in rest
               if not (flags.what == "steptime" and flag.startswith("--config."))]
    if unknown:
        raise ValueError(f"{unknown[0]!r} is no flag of {flags.what}; it has those that "
                         f"python -m benchmarks.space {flags.what} --help shows"
                         f"{', and --config.*' if flags.what == 'steptime' else ''}.")
    if flags.what == "steptime" and flags.num_steps < 1:
        raise ValueError(f"--num_steps is {flags.num_steps}, but must be 1 or more.")
    if not flags.page.is_file():  # before anything is compiled
        raise FileNotFoundError(f"There is no page {str(flags.page)!r} to write to.")
    flags.more = rest
    made = importlib.import_module(f"benchmarks.space.{flags.what}").make(flags)
    written = writing.write(made, flags.page, flags.out or flags.page.parent)
    return f"{made.words}\n\n{written}"


def main() -> None:
    quiet.hush()
    try:
        print(run(sys.argv[1:]))
    except (OSError, ValueError) as error:
        sys.exit(f"Error: {error}")


if __name__ == "__main__":
    main()
