"""Masks for CLEVRER, which has none of its own: two sources, both made by others.

Proposals are what a Mask R-CNN found in each frame (Yi et al., 2020). They are not ground truth:
scores against them are scores against Mask R-CNN pseudo-masks. Mask videos are those that the
authors of the 2D-LSTM model computed for their test sets (Zablotskaia et al., 2021).
"""

import collections
import contextlib
import dataclasses
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from parts_jax.data import episodes
from parts_jax.data.clevrer import files, run_length
from parts_jax.data.formats import limits, reading, video_files

# Of 255, in the channel that differs most: what a codec does to one colour within an area of it.
COLOUR_RADIUS = 10
NUM_COLOURS = 1 << 24


@dataclasses.dataclass(frozen=True)
class Masks:
    """The masks of a clip.

    Attributes:
      segmentation: uint8 [T, H, W], 0 for background.
      names: of the objects 1..N, such as "red rubber sphere"; empty where they are not known.
      notes: what was odd, and how often.
    """

    segmentation: np.ndarray
    names: tuple[str, ...]
    notes: collections.Counter


def name_of(item: dict[str, str]) -> str:
    """An object's color, material and shape, in this order; ValueError if one is no text."""
    parts = [item[key] for key in ("color", "material", "shape")]
    if not all(isinstance(part, str) for part in parts):
        raise ValueError(f"color, material and shape must be texts; got {parts}")
    return " ".join(parts)


def whole_number(value: Any, what: str) -> int:
    """A number of JSON that must be whole; ValueError if it is not."""
    if type(value) is not int:
        raise ValueError(f"{what} must be a whole number; got {value!r:.60}")
    return value


def read_proposals(file: files.File, names: Sequence[str] | None,
                   shape: tuple[int, int, int], max_bytes: int = limits.MAX_BYTES) -> Masks:
    """The proposals of a clip as a segmentation.

    Objects have no ids there: they are told apart by color, material and shape, which no two
    objects of a clip share. With an annotation the ids follow its objects, and a proposal that
    looks like none of them is left out; without one they follow the first appearance. Where
    proposals overlap, the smaller lies on top, so that none is lost under a larger one; two of the
    same object are joined. An object without a proposal, and all of a frame without any, is
    background.

    Args:
      file: proposal_00000.json, or sim_00000.json of older dumps.
      names: `name_of` the objects of the annotation; None: there is none.
      shape: T, H and W of the video.
      max_bytes: that the file may take.

    Raises:
      ValueError: if the file lacks a key, or a mask has another size than the video.
    """
    known = {} if names is None else {name: i + 1 for i, name in reversed(list(enumerate(names)))}
    segmentation = np.zeros(shape, np.uint8)
    notes = collections.Counter()
    content = file.read_json(max_bytes)
    seen = set()
    with reading.naming(str(file), f"The file {file} is not as proposals are"), _keys(file):
        for frame in sorted(content["frames"], key=lambda frame: frame["frame_index"]):
            index = whole_number(frame["frame_index"], "frame_index")
            if not 0 <= index < shape[0]:
                notes["entries of proposals for frames that the video has not"] += 1
                continue
            seen.add(index)
            found = []
            for item in frame["objects"]:
                name = name_of(item)
                if names is None:
                    known.setdefault(name, len(known) + 1)
                if len(known) > episodes.MAX_ID:
                    raise ValueError(f"it has more than {episodes.MAX_ID} objects")
                if name in known:
                    found.append((known[name], _decode(file, index, item["mask"], shape[1:])))
                else:
                    notes["proposals unlike any object of the annotation, left out"] += 1
            _paint(segmentation[index], found)
    notes["frames without any entry in the proposals"] += shape[0] - len(seen)
    return Masks(segmentation, tuple(names or known), +notes)


def _decode(file: files.File, frame: int, mask: dict, size: tuple[int, int]) -> np.ndarray:
    """A COCO run-length mask as bool [H, W]."""
    if tuple(mask["size"]) != tuple(size):
        raise ValueError(f"The file {file} has in frame {frame} a mask of "
                         f"{'x'.join(map(str, mask['size']))} pixels, but the video has "
                         f"{size[0]}x{size[1]}.")
    try:
        return run_length.decode(mask["counts"], size)
    except ValueError as error:
        raise ValueError(f"The file {file} has in frame {frame} a mask that cannot be decoded: "
                         f"{error}.") from error


def _paint(ids: np.ndarray, found: Sequence[tuple[int, np.ndarray]]) -> None:
    """Writes masks into a frame [H, W], the smallest last; of two as large, the greater id."""
    for number, mask in sorted(found, key=lambda item: (-item[1].sum(), item[0])):
        ids[mask] = number


def read_mask_video(file: files.File, num_objects: int, shape: tuple[int, int, int],
                    max_bytes: int = limits.MAX_BYTES) -> Masks:
    """A colour-coded mask video as a segmentation.

    The background and the objects are the `num_objects` + 1 colours that fill most of the areas of
    one colour, the background being the first. Every pixel goes to the nearest of them, as codecs
    mix colours at edges. Ids follow the first appearance (frame, then row, then column): which
    object a colour stands for is not said.

    Args:
      file: video_00000/video.mp4.
      num_objects: how many objects the clip has; N.
      shape: T, H and W of the part of the video that the masks belong to.
      max_bytes: that the file may take.

    Raises:
      ValueError: if the video cannot be decoded, has not this shape or is no mask video.
    """
    with reading.naming(str(file)):
        video = video_files.read_video(str(file), content=file.read(max_bytes),
                                       max_bytes=max_bytes)
    if video.shape[:3] != tuple(shape):
        raise ValueError(f"The mask video {file} has {_words(video.shape)}, but what it belongs to "
                         f"has {_words(shape)}.")
    flat, packed = _flat(video), _packed(video)
    if num_objects > episodes.MAX_ID:
        raise ValueError(f"The mask video {file} belongs to {num_objects} objects, but at most "
                         f"{episodes.MAX_ID} are allowed.")
    if not flat.any():
        raise ValueError(f"The mask video {file} has no areas of one colour.")
    palette = _most_frequent(packed[flat], num_objects + 1)
    indices = _nearest(packed, palette)
    missing = num_objects + 1 - len(palette)
    notes = collections.Counter({"objects without a colour in a mask video": missing})
    return Masks(_by_first_appearance(indices, flat), (), +notes)


def _packed(video: np.ndarray) -> np.ndarray:
    """uint8 [..., 3] -> one number a colour, int32 [...]."""
    red, green, blue = (video[..., i].astype(np.int32) for i in range(3))
    return red << 16 | green << 8 | blue


def _unpacked(packed: np.ndarray) -> np.ndarray:
    """int [...] -> int32 [..., 3]; the reverse of `_packed`."""
    return np.stack([packed >> 16, packed >> 8 & 255, packed & 255], -1).astype(np.int32)


def _most_frequent(packed: np.ndarray, most: int) -> np.ndarray:
    """The most frequent colours of pixels [P], unlike each other: int32 [at most `most`, 3]."""
    counts = np.bincount(packed, minlength=NUM_COLOURS)
    numbers = np.flatnonzero(counts)
    colours = _unpacked(numbers)
    left = counts[numbers]
    palette = []
    while left.any() and len(palette) < most:
        colour = colours[left.argmax()]
        palette.append(colour)
        left[np.abs(colours - colour).max(-1) <= COLOUR_RADIUS] = 0
    return np.stack(palette)


def _nearest(packed: np.ndarray, palette: np.ndarray) -> np.ndarray:
    """The place in the palette of the colour nearest to each pixel: uint8 [...]."""
    present = np.flatnonzero(np.bincount(packed.ravel(), minlength=NUM_COLOURS))
    distances = ((_unpacked(present)[:, None] - palette) ** 2).sum(-1)
    table = np.zeros(NUM_COLOURS, np.uint8)
    table[present] = distances.argmin(1)
    return table[packed]


def _flat(video: np.ndarray) -> np.ndarray:
    """bool [T, H, W]: whether a pixel has the colour of its four neighbours."""
    flat = np.ones(video.shape[:3], bool)
    for axis in (1, 2):
        same = (np.abs(np.diff(video.astype(np.int16), axis=axis)) <= COLOUR_RADIUS).all(-1)
        behind, ahead = [slice(None)] * 3, [slice(None)] * 3
        behind[axis], ahead[axis] = slice(None, -1), slice(1, None)
        flat[tuple(behind)] &= same
        flat[tuple(ahead)] &= same
    return flat


def _by_first_appearance(indices: np.ndarray, flat: np.ndarray) -> np.ndarray:
    """Ids 1, 2, ... in the order in which areas of one colour appear; 0, the background, stays."""
    values, first = np.unique(np.where(flat, indices, 0), return_index=True)
    order = [value for _, value in sorted(zip(first, values, strict=True)) if value != 0]
    numbers = np.zeros(indices.max() + 1, np.uint8)
    numbers[order] = np.arange(1, len(order) + 1)
    return numbers[indices]


def _words(shape: Sequence[int]) -> str:
    return f"{shape[0]} frames of {shape[1]}x{shape[2]} pixels"


@contextlib.contextmanager
def _keys(file: files.File) -> Iterator[None]:
    """Says which key is missing."""
    try:
        yield
    except KeyError as error:
        raise ValueError(f"The file {file} is not as proposals are: it lacks the key {error}."
                         ) from error
