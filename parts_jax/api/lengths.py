"""How long a video may be for a checkpoint: what it was tested for, and the warning past that."""

import json
import pathlib
import sys
import warnings
from typing import NamedTuple

import ml_collections

from parts_jax.models import rules
from parts_jax.runs import metric_writer


class LengthWarning(UserWarning):
    """A video is longer than what the checkpoint was tested for."""


class Tested(NamedTuple):
    """What a checkpoint was tested for.

    Attributes:
      frames: up to which frame of a video its scores hold; or, where it was not evaluated on long
        clips, how many frames the clips of training have.
      trained: how many frames these have: they may be longer than those of evaluation.
      length: of the clips that it was evaluated on; None: it was not.
    """

    frames: int
    trained: int
    length: int | None = None

    def warning(self, num_frames: int) -> str | None:
        """A sentence for a video of so many frames without a start anew; None if it is in order."""
        if num_frames <= self.frames:
            return None
        known = f"clips of training have {self.trained}"
        if self.length is None:
            known += ", and longer ones were not tested (--mode=evaluate does that)"
        elif self.frames == self.length:
            known = f"longer ones were not tested, and {known}"
        else:
            known = f"up to there its scores hold, later ones get worse, and {known}"
        return (f"The video has more than {self.frames} frames: {known}. Start anew every "
                f"{self.frames} frames with restart_every={self.frames} (the command: "
                f"--restart_every={self.frames}), or train with a larger data.train_frames.")

    def warn(self, before: int, num_frames: int, stacklevel: int) -> None:
        """Warns of a video that this part of it makes too long, so once for each video.

        Args:
          before: frames of earlier parts.
          num_frames: those of this part with them.
          stacklevel: as of `warnings.warn`, from here.
        """
        sentence = self.warning(num_frames)
        if sentence and before <= self.frames:
            warnings.warn(sentence, LengthWarning, stacklevel=stacklevel + 1)


EACH_ALONE = Tested(sys.maxsize, 1)  # of models of images: no frame is late for them


def of_training(config: ml_collections.ConfigDict) -> Tested:
    """What a checkpoint of a run is good for that was not evaluated on long clips."""
    frames = config.data.get("train_frames", 0) or config.data.num_frames
    return Tested(frames, frames)


def find(workdir: pathlib.Path, config: ml_collections.ConfigDict, step: int) -> Tested:
    """What a checkpoint of a run was tested for, on its own data set; the least of its splits.

    Args:
      workdir, config: of the run.
      step: of the checkpoint.

    Raises:
      ValueError: an evaluation of long clips cannot be read.
    """
    untested, found = of_training(config), []
    name = config.data.name.replace("/", "_")
    folder = workdir / metric_writer.EVALUATIONS
    for path in sorted(folder.glob(f"*-{step}-length.json")):
        if not path.name.startswith(f"{name}-"):
            continue
        try:
            record = json.loads(path.read_text(encoding="utf-8"))
            frames, length = record["tested_frames"], record["length"]
            if not all(rules.is_whole(value) and value >= 0 for value in (frames, length)):
                raise ValueError(f"tested_frames is {frames!r} and length is {length!r}")
        except (ValueError, KeyError, TypeError, RecursionError) as error:
            raise ValueError(f"{str(path)!r} cannot be read as an evaluation of long clips: "
                             f"{error}. Evaluating again writes it anew.") from error
        found.append((max(frames, 1), length))  # a state sees one frame at least
    if not found:
        return untested
    frames, length = min(found)
    return Tested(frames, untested.trained, length)
