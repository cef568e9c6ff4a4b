"""Tables and figures of the paper, of what was trained here; written into docs/paper.md.

    python -m benchmarks.paper table2 --size=demo --seeds=4 --jobs=2
    python -m benchmarks.paper figure6 --size=demo --seeds=4
    python -m benchmarks.paper figure7 --size=demo
    python -m benchmarks.paper figure8 --size=demo
    python -m benchmarks.paper figure9 runs/paper/parts_demo-0

`table2` trains what is missing in --runs, --jobs at a time, and may be stopped: the same command
goes on. With --no-train it writes the table of what is there. Flags that begin with --config. go to
every run. Figures are of its runs, all but Figure 6 of the first seed; `figure6` and `figure8`
train what they need beside them: runs that learn to roll out, and the one without top-down queries.
Figure 6 has Table 1 beside it.
"""

import argparse
import pathlib
import sys
from collections.abc import Sequence

from benchmarks.paper import figures, page, rows, table2
from configs import ablations


def parser() -> argparse.ArgumentParser:
    """The command line."""
    found = argparse.ArgumentParser(prog="python -m benchmarks.paper",
                                    description=__doc__.splitlines()[0], allow_abbrev=False)
    commands = found.add_subparsers(dest="what", required=True)
    for what in ("table2", "figure6", "figure7", "figure8", "figure9"):
        command = commands.add_parser(what, allow_abbrev=False)
        if what != "figure9":
            command.add_argument("--size", default="demo", help=", ".join(ablations.SIZES))
            command.add_argument("--runs", type=pathlib.Path, default=pathlib.Path("runs/paper"),
                                 help="the folder of all runs")
        command.add_argument("--page", type=pathlib.Path, default=page.PAGE, help="what is written")
        if what in ("table2", "figure6", "figure8"):
            command.add_argument("--jobs", type=int, default=1, help="runs at a time")
            command.add_argument("--no-train", action="store_true", help="only what is there")
        if what in ("table2", "figure6"):
            command.add_argument("--seeds", type=int, default=4, help="of each row")
        if what != "table2":
            command.add_argument("--clip", type=int, default=0, help="which of the test split")
        if what == "figure7":
            command.add_argument("--clips", type=int, default=64, help="what curves are means of")
        if what != "table2":
            command.add_argument("--out", type=pathlib.Path, help="picture and JSON, less suffix")
        if what == "figure9":
            command.add_argument("workdir", help="a run with slots, of any set, or a shipped model")
    return found


def run(arguments: Sequence[str]) -> str:
    """Does what the command line says; what it wrote, in a sentence.

    Raises:
      ValueError, OSError: with a message for the user.
    """
    flags, rest = parser().parse_known_args(arguments)
    unknown = [flag for flag in rest if not flag.startswith("--config.")]
    if unknown:
        raise ValueError(f"{unknown[0]!r} is no flag of {flags.what}; it has those that "
                         f"python -m benchmarks.paper {flags.what} --help shows, and --config.*.")
    if not flags.page.is_file():
        raise FileNotFoundError(f"There is no page {str(flags.page)!r} to write to.")
    if flags.what == "table2":
        return write_table2(flags, rest)
    return figures.write(flags, rest)


def write_table2(flags: argparse.Namespace, rest: Sequence[str]) -> str:
    """Trains what is missing, then writes the table of rows that have all their seeds."""
    runs = rows.every(ablations.ROWS, flags.size, flags.seeds, flags.runs, rest)
    if not flags.no_train:
        rows.make_missing(runs, flags.jobs)
    done = {run for run in runs if run.record() is not None}
    whole = [row for row in ablations.ROWS
             if all(run in done for run in runs if run.row == row)]
    if not whole:
        raise ValueError(f"No row has {flags.seeds} runs of the size {flags.size!r} that are done "
                         f"in {flags.runs}; leave out --no-train, or ask for fewer --seeds.")
    kept = [run for run in runs if run.row in whole]
    missing = [f"`{row}`" for row in ablations.ROWS if row not in whole]
    text = table2.markdown(kept) + (f"\n\nNot there yet: {', '.join(missing)}." if missing else "")
    page.put(flags.page, f"table2-{flags.size}", text)
    return f"{flags.page}: Table 2 of {len(whole)} rows, {flags.seeds} runs each."


def main() -> None:
    try:
        print(run(sys.argv[1:]))
    except (OSError, ValueError) as error:
        sys.exit(f"Error: {error}")


if __name__ == "__main__":
    main()
