"""What training reads in each stage of its schedule: the length of clips, the size of batches."""

from typing import NamedTuple

import ml_collections


class Stage(NamedTuple):
    """A stage of the schedule.

    Attributes:
      steps: so many batches are read in it.
      num_frames: of its clips, T.
      batch_size: clips of a batch, of all devices together.
    """

    steps: int
    num_frames: int
    batch_size: int

    @property
    def frames_per_step(self) -> int:
        """Frames of a batch."""
        return self.num_frames * self.batch_size


def stages(config: ml_collections.ConfigDict) -> tuple[Stage, ...]:
    """The stages of a run, in their order.

    `schedule.train_frames` and `schedule.batch_size` have an entry a stage; where they are empty
    every stage has `data.train_frames` (or, if that is 0, `data.num_frames`) and
    `train.batch_size`. How many stages there are `schedule.steps` says.
    """
    schedule, count = config.schedule, len(config.schedule.steps)
    whole = config.data.train_frames or config.data.num_frames
    return tuple(map(Stage, schedule.steps, schedule.train_frames or (whole,) * count,
                     schedule.batch_size or (config.train.batch_size,) * count))
