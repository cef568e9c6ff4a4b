"""The clips, or images, of a split that a report shows."""

import dataclasses
from collections.abc import Sequence

import ml_collections
import numpy as np

from parts_jax.data import pipeline


def unit(num_frames: int) -> str:
    """What an example of so many frames is called."""
    return "image" if num_frames == 1 else "clip"


@dataclasses.dataclass(frozen=True)
class Clips:
    """Clips of a split.

    Attributes:
      video: uint8 [N, L, H, W, 3]; images have L = 1.
      segmentation: true ids [N, L, H, W]; None where the set has no masks.
      actions: float32 [N, L, A]; None for a model without actions.
      index: position of each in its split, [N].
      cues: what else the model reads, by name, [N, L, ...] each.
    """

    video: np.ndarray
    segmentation: np.ndarray | None
    actions: np.ndarray | None
    index: np.ndarray
    cues: dict[str, np.ndarray] = dataclasses.field(default_factory=dict)

    def first(self, num_frames: int) -> "Clips":
        """The same clips, only so many frames from their start."""
        return Clips(*(None if array is None else array[:, :num_frames] for array in (
            self.video, self.segmentation, self.actions)), self.index,
            {name: cue[:, :num_frames] for name, cue in self.cues.items()})

    def title(self, i: int) -> str:
        """What one of them is called: "Clip 17", by its position in the split; or "Image 17"."""
        return f"{unit(self.video.shape[1]).capitalize()} {self.index[i]}"


def read_clips(config: ml_collections.ConfigDict, split: str, num_clips: int, burn_in: int,
               num_steps: int, cues: Sequence[str] = (),
               positions: Sequence[int] | None = None) -> Clips:
    """Clips of a split, so long that roll-outs of `num_steps` fit if the set allows it.

    Args:
      config: of the run.
      split: of its data set.
      num_clips: N; fewer if the split has fewer.
      burn_in: frames that a roll-out sees.
      num_steps: frames that it predicts.
      cues: names of what else is read.
      positions: of the clips in the split; None: those at its start.

    Returns:
      Clips of config.data.num_frames, or more.

    Raises:
      ValueError: as `pipeline.eval_iterator`; or the split has no clip at a position.
    """
    opened = pipeline.open_split(config.data, split)
    if positions is not None:
        if max(positions) >= len(opened.examples):
            raise ValueError(f"Clip {max(positions)} of the split {split!r} was evaluated, but it "
                             f"has {len(opened.examples)} clips now. Evaluate it again.")
        opened = dataclasses.replace(opened, examples=[opened.examples[i] for i in positions])
    longest = (opened.fewest_frames - 1) // config.data.stride + 1
    data_config = config.data.copy_and_resolve_references()
    data_config.num_frames = max(config.data.num_frames, min(longest, burn_in + num_steps))
    batch = next(iter(pipeline.eval_iterator(
        data_config, opened, batch_size=num_clips, num_sequences=num_clips,
        action_size=config.data.action_size, cues=cues)))
    kept = {key: array[batch["valid"]] for key, array in batch.items()}
    index = kept["index"] if positions is None else np.asarray(positions)[kept["index"]]
    return Clips(kept["video"], kept.get("segmentation"), kept.get("actions"), index,
                 {name: kept[name] for name in cues})
