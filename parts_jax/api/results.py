"""What a pretrained model returns, as numpy arrays, and how a notebook shows it.

Leading axes: a batch is [B, ...] as it was given; of one clip they are left out. Images of a model
of images have no T: of one image masks are [K, H, W], of a batch [B, K, H, W]. Slots are
numbered from 0, and slot k has the colour `colours.palette(K)[k]` wherever it is shown.
"""

import base64
import os
import warnings
from typing import Any

import jax
import numpy as np
from flax import struct

from parts_jax.api import saving
from parts_jax.api.iterations import Iterations
from parts_jax.equations.notation import Gaussian
from parts_jax.pictures import boxes, colours, grids

MOST_CLIPS, MOST_ROWS = 4, 8
TILE = 64  # pixels of a tile's height on the screen, at the least


@struct.dataclass
class Decoded:
    """Slots of any origin, decoded.

    Attributes:
      masks: the decoder's, [T, K, H, W], sum to 1 over K; [K, H, W] of slots [K, D].
      recon: as in Segmentation.
      slot_pictures: as in Segmentation, [T, K, H, W, 3].
    """

    masks: np.ndarray
    recon: np.ndarray
    slot_pictures: np.ndarray | None

    @property
    def means(self) -> np.ndarray | None:
        """The name that `slot_pictures` had; it goes with the next version."""
        return _renamed(self, "means")


@struct.dataclass
class Segmentation:
    """The slots of the frames that were given, after refinement by each frame.

    Attributes:
      video: the frames, [T, H, W, 3], as they were given.
      masks: [T, K, H, W], sum to 1 over K. Which ones, `masks_are` says.
      segmentation: the slot with the greatest mask, uint8 [T, H, W]; uint16 past 256 slots.
      recon: the picture that the slots make together, by the decoder's masks, [T, H, W, 3].
      slot_pictures: what each slot looks like, [T, K, H, W, 3]; it counts where its mask is. None
        where the family has none.
      posterior: q of each slot, mean and log standard deviation, [T, K, D] each; None where the
        family's latents are no slots.
      maps: what else the model shows, by name, [T, K, H, W] each.
      state: after the last frame, from which the model goes on.
      last_action: the action after the last frame, [A].
      num_frames: frames seen so far, those of earlier parts counted.
      masks_are: "assigned": p(k | x_i, z), each pixel's posterior over the slots once the frame is
        seen; "decoder": the decoder's own, the prior of that. masks.py says more.
      predicted_masks: the decoder's of each frame before it was seen, [T, K, H, W]: what the paper
        scores. None where the family has one stage alone.
      iterations: what each of the N + 1 decodings of a frame showed, the first guess first: its
        recon [T, N+1, H, W, 3] and masks [T, N+1, K, H, W]. None where the family has none.
      boxes: of each slot y0, x0, y1, x1 as shares of the frame, and the probability that an object
        is there, [T, K, 5]. None where the family has none.
      of_images: whether it is of images without T, and a batch of them no video.
    """

    video: np.ndarray
    masks: np.ndarray
    segmentation: np.ndarray
    recon: np.ndarray
    slot_pictures: np.ndarray | None
    posterior: Gaussian[np.ndarray] | None
    maps: dict[str, np.ndarray]
    state: Any
    last_action: np.ndarray
    num_frames: int = struct.field(pytree_node=False)
    masks_are: str = struct.field(pytree_node=False, default="decoder")
    predicted_masks: np.ndarray | None = None
    iterations: Iterations | None = None
    boxes: np.ndarray | None = None
    of_images: bool = struct.field(pytree_node=False, default=False)

    @property
    def slots(self) -> np.ndarray | None:
        """The name that `slot_pictures` had; it goes with the next version."""
        return _renamed(self, "slots")

    @property
    def attention(self) -> np.ndarray | None:
        """Which slot attends to which pixel, sums to 1 over K, [T, K, H, W]; None: no attention."""
        return self.maps.get("attention")

    def table(self, clip: int = 0, truth: np.ndarray | None = None) -> np.ndarray:
        """Frame, masks, reconstruction and slots, a row a frame: uint8 [height, width, 3].

        `truth`: true ids of that clip to show beside the frame, [T, H, W]. Of images a row is an
        image, `clip` means nothing, and `truth` is as they are, [H, W] or [B, H, W].
        """
        return _table(self._columns(clip, truth))

    def animation(self, clip: int = 0, tile: int = TILE,
                  truth: np.ndarray | None = None) -> np.ndarray:
        """A picture a frame, its tiles `tile` pixels high or more: uint8 [T, height, width, 3].

        Of images it is a picture an image.
        """
        return _animation(self._columns(clip, truth), tile)

    def save(self, path: str | os.PathLike, size: tuple[int, int] | None = None,
             crop: str = "center", clip: int | None = None) -> None:
        """Writes masks and slots as files; docs/segment.md says what they hold.

        Args:
          path: a folder, for palette PNGs and both of the others; or one file, .npz or .json.
          size: height and width of the video before `PretrainedModel.resize`; masks are brought
            back to that size, and to the place of what `crop` took. None: masks as they are.
          crop: as it was given to `PretrainedModel.resize`.
          clip: which one of a batch; None: there is one alone. Images are all saved, numbered
            as the frames of a clip are.

        Raises:
          ValueError: path, size, crop or clip are not as said, or the folder is not empty.
          OSError: the files cannot be written; nothing is left.
        """
        saving.save(self._as_clip(), path, size, crop, clip)

    def _as_clip(self) -> "Segmentation":
        """Images as frames of one clip, [B, ...]; all else as it is."""
        alone = self.of_images and self.masks.ndim == 3
        return jax.tree.map(lambda a: a[None], self) if alone else self

    def _columns(self, clip: int, truth: np.ndarray | None = None) -> dict[str, np.ndarray]:
        shown = self._as_clip()
        columns = {"frame": colours.to_uint8(_clip(shown.video, 4, clip))}
        if truth is not None:
            columns["truth"] = colours.colour_segmentation(truth).reshape(columns["frame"].shape)
        if shown.boxes is not None:
            columns["boxes"] = boxes.over(columns["frame"], _clip(shown.boxes, 3, clip))
        return columns | _columns(shown, clip, "recon")

    def _words(self) -> str:
        size = _size(self._as_clip().masks)
        if not self.of_images:
            return size
        one = "an" if self.masks.ndim == 3 else len(self.masks)
        return f"{one} image{'s' * (one not in ('an', 1))} of{size.partition('frames of')[2]}"

    def __repr__(self) -> str:
        return f"Segmentation({self._words()})"

    def _repr_html_(self) -> str:
        kind = "the decoder's" if self.masks_are == "decoder" else "assigned, as the frame was seen"
        return _html(self, f"{self._words()}: frame, masks ({kind}), reconstruction, slots")


@struct.dataclass
class Prediction:
    """The frames to come, by the transition alone.

    Attributes:
      seen: the Segmentation of the frames that were given.
      masks: the decoder's of the S frames, [S, K, H, W]: what was not seen cannot be assigned.
      segmentation, recon, slot_pictures, posterior: as in Segmentation, of the S frames.
    """

    seen: Segmentation
    masks: np.ndarray
    segmentation: np.ndarray
    recon: np.ndarray
    slot_pictures: np.ndarray | None
    posterior: Gaussian[np.ndarray] | None

    @property
    def slots(self) -> np.ndarray | None:
        """The name that `slot_pictures` had; it goes with the next version."""
        return _renamed(self, "slots")

    def table(self, clip: int = 0) -> np.ndarray:
        """Predicted frame, masks and slots, a row a step: uint8 [height, width, 3]."""
        return _table(self._columns(clip))

    def animation(self, clip: int = 0, tile: int = TILE) -> np.ndarray:
        """A picture a step, its tiles `tile` pixels high or more: uint8 [S, height, width, 3]."""
        return _animation(self._columns(clip), tile)

    def _columns(self, clip: int) -> dict[str, np.ndarray]:
        return _columns(self, clip, "predicted")

    def __repr__(self) -> str:
        return f"Prediction({_size(self.masks)} predicted)"

    def _repr_html_(self) -> str:
        caption = f"{_size(self.masks)} predicted: masks (the decoder's), predicted frame, slots"
        return _html(self, caption)


@struct.dataclass
class Traversal:
    """The last frame decoded with one number of the slots changed.

    Attributes:
      masks, recon, slot_pictures: as in Decoded, with V values in place of T frames.
      values: the V values.
      slot: the slot that was changed; None: all of them at once.
      dim: which of its D numbers.
    """

    masks: np.ndarray
    recon: np.ndarray
    slot_pictures: np.ndarray | None
    values: tuple[float, ...] = struct.field(pytree_node=False)
    slot: int | None = struct.field(pytree_node=False)
    dim: int = struct.field(pytree_node=False)

    @property
    def slots(self) -> np.ndarray | None:
        """The name that `slot_pictures` had; it goes with the next version."""
        return _renamed(self, "slots")

    def table(self, clip: int = 0) -> np.ndarray:
        """Masks, picture and slots, a row a value: uint8 [height, width, 3]."""
        return _table(self._columns(clip))

    def _columns(self, clip: int) -> dict[str, np.ndarray]:
        return _columns(self, clip, "picture")

    def __repr__(self) -> str:
        return f"Traversal(of {self._who()}, number {self.dim}: {len(self.values)} values)"

    def _who(self) -> str:
        return "all slots" if self.slot is None else f"slot {self.slot}"

    def _repr_html_(self) -> str:
        shown = ", ".join(f"{self.values[i]:.3g}" for i in _rows(len(self.values)))
        caption = f"{self._who().capitalize()}, number {self.dim}, from top to bottom: {shown}"
        return _html(self, caption)


def as_numpy(tree: Any, single: bool) -> Any:
    """Arrays [B, ...] of a tree as numpy, read-only; of one clip without their first axis."""
    def fixed(array: Any) -> np.ndarray:
        array = np.array(array) if isinstance(array, np.ndarray) else np.asarray(array)
        array.flags.writeable = False
        return array[0] if single else array

    return jax.tree.map(fixed, tree)


def posterior_of(result: Segmentation | Prediction) -> Gaussian[np.ndarray]:
    """Its posterior, for what cannot do without.

    Raises:
      ValueError: the family of the model gives none.
    """
    if result.posterior is None:
        raise ValueError("This needs the posterior of the slots, mean and log standard deviation, "
                         f"but the model gives none: {result!r}.")
    return result.posterior


def first_frames(posterior: Gaussian[np.ndarray], num_frames: int) -> Gaussian[np.ndarray]:
    """The first frames of the posterior of one clip, [T, K, D] each."""
    return jax.tree.map(lambda a: a[:num_frames], posterior)


def last_slots(result: Segmentation) -> tuple[np.ndarray, bool]:
    """Slots of the last frame, their posterior's mean [B, K, D], and whether B is of one alone."""
    mean = posterior_of(result).mean
    mean = mean if result.of_images else mean[..., -1, :, :]
    return (mean[None], True) if mean.ndim == 2 else (mean, False)


def _renamed(result: Any, name: str) -> Any:
    warnings.warn(f"{type(result).__name__}.{name} is called slot_pictures now, as slots are what "
                  "decode takes, posterior.mean; this name goes with the next version.",
                  DeprecationWarning, stacklevel=3)
    return result.slot_pictures


def _clip(array: np.ndarray, num_axes: int, clip: int) -> np.ndarray:
    """One clip of an array whose clips have `num_axes` axes."""
    return array if array.ndim == num_axes else array[clip]


def _num_clips(masks: np.ndarray) -> int:
    return 1 if masks.ndim == 4 else len(masks)


def _size(masks: np.ndarray) -> str:
    num_frames, num_slots, height, width = masks.shape[-4:]
    clips = f"{_num_clips(masks)} clips of " if masks.ndim == 5 else ""
    return f"{clips}{num_frames} frames of {height}x{width}, {num_slots} slots"


def _columns(result: Segmentation | Prediction | Traversal, clip: int,
             title: str) -> dict[str, np.ndarray]:
    """Columns of a table by their titles, uint8 [T, H, W, 3] each."""
    masks = _clip(result.masks, 4, clip)
    columns = {"masks": colours.colour_masks(masks),
               title: colours.to_uint8(_clip(result.recon, 4, clip))}
    if result.slot_pictures is None:
        return columns
    slots = colours.masked_slots(_clip(result.slot_pictures, 5, clip), masks)
    return columns | {f"slot {k}": slots[:, k] for k in range(slots.shape[1])}


def _rows(num_rows: int) -> list[int]:
    """Which rows are shown, evenly chosen where there are many; first and last always."""
    return sorted({round(i) for i in np.linspace(0, num_rows - 1, min(num_rows, MOST_ROWS))})


def _table(columns: dict[str, np.ndarray], tile: int = TILE) -> np.ndarray:
    tiles = list(columns.values())
    scale = max(1, -(-tile // tiles[0].shape[1]))
    return grids.titled_table(
        [[grids.enlarge(column[row], scale) for column in tiles]
         for row in _rows(len(tiles[0]))], list(columns))


def _animation(columns: dict[str, np.ndarray], tile: int) -> np.ndarray:
    frames = [{title: column[t:t + 1] for title, column in columns.items()}
              for t in range(len(columns["masks"]))]
    return np.stack([_table(frame, tile) for frame in frames])


def _html(result: Segmentation | Prediction | Traversal, caption: str) -> str:
    """A figure that needs no other file: an animation of what moves, and the table of frames."""
    images, of_images = [], isinstance(result, Segmentation) and result.of_images
    num_clips = 1 if of_images else _num_clips(result.masks)
    for clip in range(min(MOST_CLIPS, num_clips)):
        if not isinstance(result, Traversal) and not of_images and result.masks.shape[-4] > 1:
            moving_picture = grids.animation(result.animation(clip))
            images.append(_image("gif", moving_picture, "animation"))
        images.append(_image("png", grids.encode_png(result.table(clip)), "frames"))
    left_out = num_clips - MOST_CLIPS
    more = f" ({left_out} more clips are not shown)" if left_out > 0 else ""
    return f"<figure><figcaption>{caption}{more}</figcaption>{''.join(images)}</figure>"


def _image(kind: str, content: bytes, text: str) -> str:
    data = base64.b64encode(content).decode()
    return (f'<img alt="{text}" src="data:image/{kind};base64,{data}" '
            'style="display:block;max-width:100%;image-rendering:pixelated;margin:4px 0">')
