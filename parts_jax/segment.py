"""Segments a video file: writes frame, masks, reconstruction and each slot side by side.

    python -m parts_jax.segment --workdir=runs/demo clip.mp4 --out=out.mp4
    python -m parts_jax.segment --workdir=runs/demo clip.mov --out=out.gif --stride=4 --num_slots=6

Videos of any size and length are taken: each frame is cut to the square in its middle (--crop=none:
squeezed to a square) and resized to what the model was trained on, and the model goes on from part
to part, so that a slot, and its colour, stays with its object. Models know the speed that things
had in training: --stride=N takes every N-th frame of a video that is slower.
"""

import argparse
import itertools
import sys
from collections.abc import Iterable, Iterator, Sequence

import numpy as np
from absl import logging

from parts_jax.api import pretrained_model
from parts_jax.api.results import Segmentation
from parts_jax.data.formats import video_files
from parts_jax.files import local_path

FRAMES_AT_ONCE = 16
FRAMES_PER_SECOND = 8.0  # where the file does not say


def main(arguments: Sequence[str] | None = None) -> None:
    """Reads the command line, writes the video, and says so; a fault of the user's: exit code 2."""
    parser = argparse.ArgumentParser(
        prog="python -m parts_jax.segment", allow_abbrev=False, description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("video", help="the file to segment, mp4 or another, or gif")
    parser.add_argument("--workdir", required=True, help="of the run, or one of its checkpoints")
    parser.add_argument("--out", required=True, help="the file to write, .mp4 or .gif")
    parser.add_argument("--step", type=int, default=-1,
                        help="which checkpoint; -1: the newest; -2: the best")
    parser.add_argument("--num_slots", type=int, help="K; that of training if not given")
    parser.add_argument("--actions", help=".npy of [frames, A], for a model with actions")
    parser.add_argument("--crop", choices=("center", "none"), default="center")
    parser.add_argument("--stride", type=int, default=1, help="takes every so many-th frame")
    parser.add_argument("--frames_per_second", type=float, help="of what is written")
    parser.add_argument("--tile", type=int, default=128, help="height of a picture, in pixels")
    parser.add_argument("--seed", type=int, default=0, help="another gives slots other objects")
    flags = parser.parse_args(
        local_path.with_homes(sys.argv[1:] if arguments is None else arguments))
    logging.set_verbosity(logging.ERROR)  # orbax warns of every checkpoint that is only read
    try:
        num_frames = segment_file(flags)
    except (ValueError, OSError) as error:
        print(f"Error: {error}", file=sys.stderr)
        sys.exit(2)
    print(f"{flags.out}: {num_frames} {'frame' if num_frames == 1 else 'frames'}.")


def segment_file(flags: argparse.Namespace) -> int:
    """Does what the command line says and returns the number of frames written.

    Raises:
      ValueError, OSError: with a message for the user.
    """
    for name in ("stride", "tile"):
        if getattr(flags, name) < 1:
            raise ValueError(f"--{name} is {getattr(flags, name)}, but must be 1 or more.")
    rate = video_files.frame_rate(flags.video) or FRAMES_PER_SECOND
    rate = flags.frames_per_second if flags.frames_per_second is not None else rate / flags.stride
    actions = read_actions(flags.actions) if flags.actions else None
    with video_files.open_writer(flags.out, rate) as append:
        model = pretrained_model.load(flags.workdir, flags.step)
        size = model.config.data.action_size
        if size and actions is None:
            raise ValueError(f"This model needs actions: --actions=FILE.npy of [frames, {size}].")
        frames = itertools.islice(video_files.iter_frames(flags.video), 0, None, flags.stride)
        fitted = (model.resize(frame[None], flags.crop)[0] for frame in frames)
        count = 0
        for result, num in segment_parts(model, fitted, actions, flags.num_slots, flags.seed):
            for picture in result.animation(tile=flags.tile)[:num]:
                append(picture)
            count += num
    return count


def read_actions(path: str) -> np.ndarray:
    """The array of a .npy file; nothing in the file is executed.

    Raises:
      ValueError: the file is truncated, damaged or of another kind.
    """
    with open(path, "rb") as file:
        try:
            return np.lib.format.read_array(file, allow_pickle=False)
        except (EOFError, ValueError) as error:
            raise ValueError(f"The actions in {path} cannot be read: the file must be a whole .npy "
                             f"of numbers [frames, A] ({error}).") from error


def segment_parts(model: pretrained_model.PretrainedModel, frames: Iterable[np.ndarray],
                  actions: np.ndarray | None = None, num_slots: int | None = None,
                  seed: int = 0) -> Iterator[tuple[Segmentation, int]]:
    """Segments a video of any length part by part, in the memory of one part.

    The numbers are those of the whole video at once.

    Args:
      model: from `parts_jax.load`.
      frames: uint8 [H, W, 3] of the model's resolution, one after the other.
      actions, num_slots, seed: as for `PretrainedModel.segment`; actions of all frames, [T, A].

    Yields:
      The Segmentation of FRAMES_AT_ONCE frames, and how many of them, from the start, are the
      video's: the end of the last part repeats the last frame.

    Raises:
      ValueError: as `PretrainedModel.segment`, or there are fewer actions than frames.
    """
    frames, start, before = iter(frames), 0, None
    while part := list(itertools.islice(frames, FRAMES_AT_ONCE)):
        missing = FRAMES_AT_ONCE - len(part)  # all parts are of one length: compiled once
        video = np.stack(part + [part[-1]] * missing)
        taken = None
        if actions is not None:
            taken = actions[start:start + len(part)]
            if len(taken) < len(part):
                raise ValueError(f"There are {len(actions)} actions, but {start + len(part)} "
                                 "frames or more; there must be an action for each frame.")
            taken = np.pad(taken, ((0, missing), *((0, 0),) * (taken.ndim - 1)))
        result = model.segment(video, taken, num_slots, seed=seed, after=before)
        yield result, len(part)
        start, before = start + len(part), result


if __name__ == "__main__":
    main()
