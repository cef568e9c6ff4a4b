"""Experiments of the 2D-LSTM model's paper, of what was trained here; into docs/grid_lstm.md.

    python -m benchmarks.grid_lstm table1 runs/balls-0 runs/balls-1 runs/iodine-0 runs/parts-0
    python -m benchmarks.grid_lstm table2 runs/balls-0 runs/balls-1
    python -m benchmarks.grid_lstm prediction runs/balls-0 runs/parts-0     # figures 4 and 5
    python -m benchmarks.grid_lstm clips runs/balls-0 runs/parts-0 --clips=2    # a picture
    python -m benchmarks.grid_lstm ablation --config=FILE:short --steps=1100
    python -m benchmarks.grid_lstm refinements --config=FILE:short --steps=1100
    python -m benchmarks.grid_lstm cost --config=configs/grid_lstm_balls.py:demo

Each prints what it found and writes grid_lstm_<what>-<set>.json, and .png, beside the page. Runs
given together are of one set; those that differ in their seed alone are one row. `ablation`
(Table 3) and `refinements` (Table 4) train what is missing in --folder, and may be stopped: the
same command goes on. Flags that begin with --config. go to their runs, and to the config of `cost`.
Gradients are compared with the authors' code by `python -m benchmarks.grid_lstm.parity`.
"""

import argparse
import importlib
import pathlib
from collections.abc import Sequence

from benchmarks import commands
from benchmarks.commands import at_least, numbers
from benchmarks.grid_lstm import writing
from parts_jax.runs import checkpoint

OF_RUNS = {"table1": "decomposition.make_table1", "table2": "decomposition.make_table2",
           "prediction": "prediction.make", "clips": "pictures.make"}
OF_A_CONFIG = {"ablation": "ablation.make_table3", "refinements": "ablation.make_table4",
               "cost": "cost.make"}


def parser() -> argparse.ArgumentParser:
    """The command line."""
    found = argparse.ArgumentParser(prog="python -m benchmarks.grid_lstm",
                                    description=__doc__.splitlines()[0], allow_abbrev=False)
    subparsers = found.add_subparsers(dest="what", required=True)
    for what in OF_RUNS | OF_A_CONFIG:
        command = subparsers.add_parser(what, allow_abbrev=False)
        command.add_argument("--page", type=pathlib.Path, default=writing.PAGE,
                             help="what is written")
        command.add_argument("--out", type=pathlib.Path, help="folder of JSON and picture; else "
                             "that of the page")
        if what in OF_A_CONFIG:
            command.add_argument("--config", required=True, help="FILE or FILE:variant")
        else:
            command.add_argument("runs", nargs="+", help="workdirs")
            command.add_argument("--step", type=int, default=checkpoint.NEWEST,
                                 help="which checkpoint; -1: the newest; -2: the best")
            if what != "clips":  # which shows few, all at once
                command.add_argument("--batch_size", type=at_least(1), default=8,
                                     help="clips at a time")
            least = 1 if what == "clips" else 0
            command.add_argument("--clips", type=at_least(least), default=2 * least,
                                 help="of the test split" + ("" if least else "; 0: all"))
    sub = subparsers.choices
    for what, frames in (("table1", "10,20,30,40"), ("table2", "10,40"), ("cost", "5,10,20,40")):
        sub[what].add_argument("--frames", type=numbers(1), default=frames, help="lengths T")
    sub["clips"].add_argument("--frames", type=numbers(1), default="1,2,3,11,21,31,40",
                              help="that are shown, from 1")
    sub["clips"].add_argument("--set", help="of which clips are; else the runs' own")
    sub["clips"].add_argument("--slots", type=at_least(2), help="K; else the runs' own")
    sub["clips"].add_argument("--scale", type=at_least(1), default=2, help="enlarges pixels")
    sub["table2"].add_argument("--slots", type=numbers(1), default="5,6,7,8,9", help="K")
    sub["table2"].add_argument("--sets", type=lambda text: tuple(text.split(",")), default=(),
                               help="else those of 6 to 8 balls that go with the runs' own")
    for what in ("table2", "clips"):
        sub[what].add_argument("--restarts", type=at_least(0), default=0, help="inferences of a "
                               "clip, of which the best is kept; 0: as many as in its config")
    sub["prediction"].add_argument("--burn_in", type=at_least(2), default=20,
                                   help="frames that are seen")
    sub["prediction"].add_argument("--horizons", type=numbers(1), default="3,5,7,10",
                                   help="frames ahead, in the table")
    for what in ("ablation", "refinements"):
        sub[what].add_argument("--steps", type=at_least(1), required=True, help="of every run")
        sub[what].add_argument("--jobs", type=at_least(1), default=1, help="runs at a time")
        sub[what].add_argument("--folder", type=pathlib.Path, help="of the runs",
                               default=pathlib.Path("runs/grid_lstm"))
        sub[what].add_argument("--no-train", action="store_true", help="only what is there")
        sub[what].add_argument("--seeds", type=at_least(1), default=1, help="of each row")
    sub["refinements"].add_argument("--refinements", type=numbers(1), default="2,3,4,5,6,8,10",
                                    help="R")
    sub["cost"].add_argument("--refinements", type=numbers(1), default="2,4,6,8", help="R")
    sub["cost"].add_argument("--num_steps", type=at_least(1), default=10, help="that are timed")
    sub["cost"].add_argument("--no-flops", dest="flops", action="store_false",
                             help="loops need not be written out")
    return found


def run(arguments: Sequence[str]) -> str:
    """Does what the command line says; what it found, and where it stands.

    Raises:
      ValueError, OSError: with a message for the user.
    """
    flags = commands.parse(parser(), arguments, OF_A_CONFIG)
    module, _, name = (OF_RUNS | OF_A_CONFIG)[flags.what].partition(".")
    made = getattr(importlib.import_module(f"benchmarks.grid_lstm.{module}"), name)(flags)
    return f"{made.words}\n\n{writing.write(made, flags.page, flags.out or flags.page.parent)}"


if __name__ == "__main__":
    commands.main(run)
