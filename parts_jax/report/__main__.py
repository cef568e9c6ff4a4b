"""Writes report/index.html into a workdir: what a run has learned, as one page to look at.

    python -m parts_jax.report --workdir=runs/demo
    python -m parts_jax.report --workdir=runs/demo --step=6000 --split=validation --num_clips=12
    python -m parts_jax.report runs/demo-0 runs/demo-1

The page holds the table of metrics, learning curves, the worst clips, moving clips with masks and
slots, attention, roll-outs against truth, latent traversals under sliders, and the config. Of two
runs or more, side by side, it holds metrics, curves, masks of the same clips, and where their
configs differ; it is report/comparison.html in the first of them. It is one file that needs
neither network nor any other file. Training and evaluation write it at their end, unless
config.eval.report is False. What the run does not have yet is replaced by a sentence that
says how to make it. The page of a trained model that comes with the package, --workdir=demo, is
written to runs/evaluations/demo.
"""

import argparse
import sys
from collections.abc import Sequence

from absl import flags as absl_flags
from absl import logging

from parts_jax.files import local_path
from parts_jax.report.comparison import write_comparison
from parts_jax.report.page import write_report
from parts_jax.runs import shipped


def main(arguments: Sequence[str] | None = None) -> None:
    """Reads the command line, writes the page, and says where; a fault of the user's: exit 2."""
    parser = argparse.ArgumentParser(
        prog="python -m parts_jax.report", allow_abbrev=False, description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("workdirs", nargs="*", metavar="WORKDIR",
                        help="of a run, as --workdir; of several: they stand side by side")
    parser.add_argument("--workdir", help="of the run")
    parser.add_argument("--step", type=int, default=-1,
                        help="which checkpoint; -1: the newest; -2: the best")
    parser.add_argument("--split", help="of the run's data set; else the one that was evaluated")
    parser.add_argument("--num_clips", type=int, default=6, help="how many clips are shown")
    parser.add_argument("--num_slots", type=int, help="K of the pictures; else that of training")
    parser.add_argument("--out", help="where the page of several runs is written; else "
                        "report/comparison.html in the first")
    flags = vars(parser.parse_args(
        local_path.with_homes(sys.argv[1:] if arguments is None else arguments)))
    workdirs, out = flags.pop("workdirs"), flags.pop("out")
    workdirs = ([flags["workdir"]] if flags["workdir"] else []) + workdirs
    if not workdirs:
        parser.error("which run? Give its workdir: --workdir=runs/demo; or several, side by side: "
                     "runs/demo-0 runs/demo-1")
    if out and len(workdirs) == 1:
        parser.error("--out is for the page of several runs; that of one is report/index.html in "
                     "its workdir")
    logging.set_verbosity(logging.ERROR)  # orbax warns of every checkpoint that is only read
    if not absl_flags.FLAGS.is_parsed():  # grain's readers ask for that
        absl_flags.FLAGS(sys.argv[:1])
    try:
        workdirs = [shipped.named_model(local_path.checked(workdir, "--workdir"))
                    for workdir in workdirs]
        if len(workdirs) > 1:
            path = write_comparison(workdirs, out=out, **{
                key: value for key, value in flags.items() if key != "workdir"})
        else:
            path = write_report(**flags | {"workdir": workdirs[0]})
    except (ValueError, OSError) as error:
        print(f"Error: {error}", file=sys.stderr)
        sys.exit(2)
    print(f"{path}: {path.stat().st_size / 1e6:.1f} MB.")


if __name__ == "__main__":
    main()
