"""Writes report/index.html into a workdir: what a run has learned, as one page to look at.

    python -m parts_jax.report --workdir=runs/demo
    python -m parts_jax.report --workdir=runs/demo --step=6000 --split=validation --num_clips=12

The page holds the table of metrics, learning curves, moving clips with masks and slots, attention,
roll-outs against truth, latent traversals under sliders, and the config. It is one file that needs
neither network nor any other file. Training and evaluation write it at their end, unless
config.eval.report is False. What the run does not have yet is replaced by a sentence that
says how to make it.
"""

import argparse
import sys
from collections.abc import Sequence

from absl import flags as absl_flags
from absl import logging

from parts_jax.files import local_path
from parts_jax.report.page import write_report


def main(arguments: Sequence[str] | None = None) -> None:
    """Reads the command line, writes the page, and says where; a fault of the user's: exit 2."""
    parser = argparse.ArgumentParser(
        prog="python -m parts_jax.report", allow_abbrev=False, description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--workdir", required=True, help="of the run")
    parser.add_argument("--step", type=int, default=-1,
                        help="which checkpoint; -1: the newest; -2: the best")
    parser.add_argument("--split", help="of the run's data set; else the one that was evaluated")
    parser.add_argument("--num_clips", type=int, default=6, help="how many clips are shown")
    parser.add_argument("--num_slots", type=int, help="K of the pictures; else that of training")
    flags = parser.parse_args(
        local_path.with_homes(sys.argv[1:] if arguments is None else arguments))
    logging.set_verbosity(logging.ERROR)  # orbax warns of every checkpoint that is only read
    if not absl_flags.FLAGS.is_parsed():  # grain's readers ask for that
        absl_flags.FLAGS(sys.argv[:1])
    try:
        path = write_report(**vars(flags))
    except (ValueError, OSError) as error:
        print(f"Error: {error}", file=sys.stderr)
        sys.exit(2)
    print(f"{path}: {path.stat().st_size / 1e6:.1f} MB.")


if __name__ == "__main__":
    main()
