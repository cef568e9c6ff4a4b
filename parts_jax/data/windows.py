"""Windows of clips, as grain's readers take them out of examples."""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import grain
import numpy as np

from parts_jax.data import preprocess

Source = Sequence[Mapping[str, Any]]  # one example after the other


@dataclasses.dataclass(frozen=True)
class Training(grain.transforms.RandomMap):
    """Index of an example -> a random window of it.

    A window that is longer than its clip shows the clip back and forth, from some frame on.
    """

    examples: Source
    mirrored_actions: tuple[int, ...] | None
    keys: tuple[str, ...]
    num_frames: int
    stride: int
    resolution: int
    flip: bool
    cues: Mapping[str, tuple[int, ...]]

    def random_map(self, element: int, rng: np.random.Generator) -> dict[str, np.ndarray]:
        example = _only((*self.keys, *self.cues), self.examples[int(element)])
        there = (len(example["video"]) - 1) // self.stride + 1  # frames that can be read
        is_longer = self.num_frames > there
        num_starts = 2 * there - 2 if is_longer else (
            len(example["video"]) - (self.num_frames - 1) * self.stride)
        start = int(rng.integers(max(num_starts, 1)))
        flipped = self.flip and rng.random() < 0.5
        window = (0, there) if is_longer else (start, self.num_frames)
        clip = preprocess.resize(
            preprocess.read_window(example, *window, self.stride, self.cues), self.resolution)
        if is_longer:
            order = preprocess.back_and_forth(there, self.num_frames, start)
            clip = {key: value[order] for key, value in clip.items()}
        if flipped:
            clip = preprocess.flip_left_right(clip, self.mirrored_actions or ())
        return {**clip, "valid": np.True_}


@dataclasses.dataclass(frozen=True)
class Evaluation(grain.transforms.Map):
    """Index of an example -> its first window, or zeros past the end."""

    examples: Source
    keys: tuple[str, ...]
    num_frames: int
    stride: int
    resolution: int
    count: int
    cues: Mapping[str, tuple[int, ...]]

    def map(self, element: int) -> dict[str, np.ndarray]:
        index = int(element)
        example = _only((*self.keys, *self.cues), self.examples[min(index, self.count - 1)])
        clip = preprocess.resize(
            preprocess.read_window(example, 0, self.num_frames, self.stride, self.cues),
            self.resolution)
        if index >= self.count:
            clip = {key: np.zeros_like(value) for key, value in clip.items()}
        return {**clip, "valid": np.bool_(index < self.count), "index": np.int32(index)}


def _only(keys: Sequence[str], example: Mapping[str, Any]) -> dict[str, Any]:
    """Some arrays of an example; what is not asked for need not be decoded."""
    return {key: example[key] for key in keys if key in example}
