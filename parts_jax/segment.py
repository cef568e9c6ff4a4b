"""Segments videos: pictures side by side, masks as files, an overlay, and slots to learn from.

    python -m parts_jax.segment --workdir=runs/demo clip.mp4 --out=out.mp4
    python -m parts_jax.segment --workdir=runs/demo clip.mp4 --save=masks/ --overlay=overlay.mp4
    python -m parts_jax.segment --workdir=runs/demo clips/ --out=out/ --slots=slots.npz
    python -m parts_jax.segment --workdir=runs/demo --split=test --slots=slots.npz

Videos of any size and length are taken, files and folders of numbered frames; of several, or of a
folder of clips, --out, --overlay and --save are folders. Each frame is cut to the square in its
middle (--crop=none: squeezed to a square; --crop=pad: made a square by repeating its edge) and
resized to what the model was trained on, and the model goes on from part to part, so that a slot,
and its colour, stays with its object. Masks go back to the size and place of the frame:
docs/segment.md says what the files hold. Masks are each pixel's posterior over the slots once its
frame is seen, where the model has one; --masks=decoder: those of its decoder. Models know the speed
that things had in training: --stride=N takes every N-th frame of a video that is slower.
"""

import argparse
import contextlib
import os
import signal
import sys
import threading
from collections.abc import Iterator, Sequence

from parts_jax.files import local_path

INTERRUPTED = 130  # as a shell has it of a process that Ctrl-C ended: 128 + SIGINT
SAID_THEN = "Interrupted: of what was being written nothing is left."


def main(arguments: Sequence[str] | None = None) -> None:
    """Reads the command line, writes, and says what; a fault of the user's: exit code 2."""
    flags = parse(arguments)
    try:
        # Here, as they take seconds: --help is quick, and Ctrl-C meanwhile leaves no traceback.
        with _interrupted_at_once():
            from absl import logging

            from parts_jax.api import segmenting
        logging.set_verbosity(logging.ERROR)  # orbax warns of every checkpoint that is only read
        for line in segmenting.run(flags):
            print(_printable(line))
    except (ValueError, OSError) as error:
        print(_printable(f"Error: {error}"), file=sys.stderr)
        sys.exit(2)
    except KeyboardInterrupt:
        print(SAID_THEN, file=sys.stderr)
        sys.exit(INTERRUPTED)


@contextlib.contextmanager
def _interrupted_at_once() -> Iterator[None]:
    """Ends the process by Ctrl-C itself: a library half imported may abort when asked for again."""
    def leave(*_: object) -> None:
        print(SAID_THEN, file=sys.stderr, flush=True)
        os._exit(INTERRUPTED)

    before = signal.getsignal(signal.SIGINT)
    changes = (before is signal.default_int_handler
               and threading.current_thread() is threading.main_thread())
    if changes:
        signal.signal(signal.SIGINT, leave)
    try:
        yield
    finally:
        if changes:
            signal.signal(signal.SIGINT, before)


def parse(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """The flags; exit code 2 after a sentence if they are none, 0 after --help."""
    parser = argparse.ArgumentParser(
        prog="python -m parts_jax.segment", allow_abbrev=False, description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("videos", nargs="*",
                        help="mp4 or another, gif, a folder of frames, or a folder of clips")
    parser.add_argument("--workdir", required=True,
                        help="of the run, or one of its checkpoints; or a trained model's name")
    parser.add_argument("--out", help=".mp4 or .gif to write: frame, masks, "
                        "reconstruction and slots, side by side; of several clips a folder")
    parser.add_argument("--overlay", help="video to write: the slots' colours over the "
                        "frames, in their own size; of several clips a folder")
    parser.add_argument("--save", help="masks in the frames' own size: a folder, for "
                        "palette PNGs, npz and COCO's JSON; or one file, .npz or .json")
    parser.add_argument("--slots", help=".npz to write: the slots of all clips")
    parser.add_argument("--split", help="of the set that the model was trained on, such as test, "
                        "in place of videos; with --slots")
    parser.add_argument("--step", type=int, default=-1,
                        help="which checkpoint; -1: the newest; -2: the best")
    parser.add_argument("--num_slots", type=int, help="K; that of training if not given")
    parser.add_argument("--resolution", type=int, help="height and width of the frames that the "
                        "model sees, and of its masks; those of training if not given")
    parser.add_argument("--actions", help=".npy of [frames, A], for a model with them")
    parser.add_argument("--masks", metavar="assigned|decoder",
                        help="assigned: which slot explains each pixel of the frame, along its "
                        "edges, the default where the model can; decoder: as they are decoded")
    parser.add_argument("--crop", choices=("center", "none", "pad"), default="center")
    parser.add_argument("--stride", type=int, default=1, help="takes every so many-th frame")
    parser.add_argument("--restart_every", type=int, help="for videos longer than the checkpoint "
                        "was tested for: the model starts anew every so many frames")
    parser.add_argument("--frames_per_second", type=float, help="of what is written")
    parser.add_argument("--tile", type=int, default=128, help="height of a picture, in pixels")
    parser.add_argument("--seed", type=int, default=0, help="another gives slots other objects")
    return parser.parse_intermixed_args(
        local_path.with_homes(sys.argv[1:] if arguments is None else arguments))


def _printable(text: str) -> str:
    """A name that is not UTF-8 as well."""
    return text.encode("utf-8", "backslashreplace").decode()


if __name__ == "__main__":
    main()
