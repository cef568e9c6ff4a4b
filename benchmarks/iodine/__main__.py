"""Experiments of IODINE's paper, of what was trained here; written into docs/iodine.md.

    python -m benchmarks.iodine scores runs/tetrominoes-0 runs/tetrominoes-1
    python -m benchmarks.iodine iterations runs/tetrominoes-0     # figure 8
    python -m benchmarks.iodine slots runs/sprites-0              # figure 9
    python -m benchmarks.iodine restarts runs/tetrominoes-0
    python -m benchmarks.iodine ablation --config=configs/iodine_tetrominoes.py:short --steps=600 \\
        --jobs=2                                                  # figures 29 to 36
    python -m benchmarks.iodine ambiguous runs/tetrominoes-0      # figure 10
    python -m benchmarks.iodine vae --config=configs/iodine_tetrominoes.py:demo --steps=1500 \\
        --beside=runs/tetrominoes-0                               # figure 6
    python -m benchmarks.iodine traversals runs/tetrominoes-0
    python -m benchmarks.iodine probe runs/tetrominoes-0          # figure 5
    python -m benchmarks.iodine flops --config=configs/iodine_tetrominoes.py:demo

Each prints what it found and writes iodine_<what>-<set>.json, and .png, beside the page. Runs given
together are of one set: seeds, or runs of different N. `ablation` and `vae` train what is missing
in --folder, and may be stopped: the same command goes on. Flags that begin with --config. go to
their runs, and to the config of `flops`.
"""

import argparse
import importlib
import pathlib
from collections.abc import Sequence

from benchmarks import commands
from benchmarks.commands import at_least
from benchmarks.iodine import writing
from parts_jax.runs import checkpoint

OF_RUNS = {"scores": "scores", "iterations": "iterations", "slots": "slots",
           "restarts": "restarts"}
OF_A_RUN = {"ambiguous": "ambiguous", "traversals": "traversals", "probe": "probing"}
OF_A_CONFIG = {"ablation": "ablation", "vae": "vae", "flops": "flops"}
MODULES = OF_RUNS | OF_A_RUN | OF_A_CONFIG


def parser() -> argparse.ArgumentParser:
    """The command line."""
    found = argparse.ArgumentParser(prog="python -m benchmarks.iodine",
                                    description=__doc__.splitlines()[0], allow_abbrev=False)
    subparsers = found.add_subparsers(dest="what", required=True)
    for what in MODULES:
        command = subparsers.add_parser(what, allow_abbrev=False)
        command.add_argument("--page", type=pathlib.Path, default=writing.PAGE,
                             help="what is written")
        command.add_argument("--out", type=pathlib.Path, help="folder of JSON and picture; else "
                             "that of the page")
        if what in OF_A_CONFIG:
            command.add_argument("--config", required=True, help="FILE or FILE:variant")
        else:
            if what != "scores":  # which are those of the newest evaluation
                command.add_argument("--step", type=int, default=checkpoint.NEWEST,
                                     help="which checkpoint; -1: the newest; -2: the best")
            command.add_argument("--batch_size", type=at_least(1), default=16,
                                 help="images at a time")
        if what in OF_RUNS:
            command.add_argument("runs", nargs="+", help="workdirs")
        if what in OF_A_RUN:
            command.add_argument("run", help="a workdir")
        if what in ("iterations", "slots", "restarts"):
            command.add_argument("--images", type=at_least(0), default=320,
                                 help="of the test split; 0: all")
    sub = subparsers.choices
    sub["iterations"].add_argument("--iterations", type=at_least(1), default=15,
                                   help="at the most")
    sub["slots"].add_argument("--set", default="", help="of other numbers of objects, such as "
                              "sim_sprites/demo_56; else that of training")
    sub["slots"].add_argument("--restarts", type=at_least(1), default=1, help="of each image")
    sub["restarts"].add_argument("--restarts", type=at_least(1), default=8,
                                 help="at the most; powers of 2 up to it")
    for what in ("slots", "restarts"):
        sub[what].add_argument("--fewest_slots", type=at_least(0), help="of a restart, in place of "
                               "the run's own; 0: all restarts have K")
    sub["ambiguous"].add_argument("--times", type=at_least(1), default=128,
                                  help="evaluations with other noise")
    sub["traversals"].add_argument("--image", type=at_least(0), default=0,
                                   help="which of the test split")
    sub["probe"].add_argument("--train_images", type=at_least(0), default=1000,
                              help="probes are fitted on; 0: all")
    sub["probe"].add_argument("--images", type=at_least(0), default=320,
                              help="of the test split; 0: all")
    sub["vae"].add_argument("--image", type=at_least(0), default=0, help="which is traversed")
    sub["vae"].add_argument("--beside", help="workdir of a run of IODINE on the same set")
    for what in ("ablation", "vae"):
        sub[what].add_argument("--steps", type=at_least(1), required=True, help="of every run")
        sub[what].add_argument("--jobs", type=at_least(1), default=1, help="runs at a time")
        sub[what].add_argument("--folder", type=pathlib.Path, default=pathlib.Path("runs/iodine"),
                               help="of the runs")
        sub[what].add_argument("--no-train", action="store_true", help="only what is there")
    sub["ablation"].add_argument("--seeds", type=at_least(1), default=1, help="of each row")
    return found


def run(arguments: Sequence[str]) -> str:
    """Does what the command line says; what it found, and where it stands.

    Raises:
      ValueError, OSError: with a message for the user.
    """
    flags = commands.parse(parser(), arguments, OF_A_CONFIG)
    experiment = importlib.import_module(f"benchmarks.iodine.{MODULES[flags.what]}")
    made = experiment.make(flags)
    written = writing.write(made, flags.page, flags.out or flags.page.parent)
    return f"{made.words}\n\n{written}"


if __name__ == "__main__":
    commands.main(run)
