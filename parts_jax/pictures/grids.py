"""Frames, masks and slots set in rows, as PNG files and as animations.

Numpy and Pillow only. Images are [..., H, W, 3], uint8 or float in [0, 1].
"""

import io
import os
from collections.abc import Mapping, Sequence

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from parts_jax.pictures import boxes as boxes_of
from parts_jax.pictures.colours import (
    WHITE,
    colour_masks,
    colour_segmentation,
    masked_slots,
    palette,
    to_uint8,
)


def picture_grid(
    video: np.ndarray,
    masks: np.ndarray,
    recon: np.ndarray,
    segmentation: np.ndarray | None = None,
    slots: np.ndarray | None = None,
    frames: Sequence[int] = (-1,),
    scale: int = 2,
    assigned: np.ndarray | None = None,
    boxes: np.ndarray | None = None,
    true_boxes: np.ndarray | None = None,
) -> np.ndarray:
    """Draws one row per clip and frame: frame, masks, reconstruction, slot after slot.

    With `assigned` it stands before the masks, which are called "predicted" then; with `boxes` the
    frame with these over it comes after the truth.

    Args:
      video: uint8 or float [N, T, H, W, 3].
      masks: [N, T, K, H, W].
      recon: [N, T, H, W, 3].
      segmentation: true ids [N, T, H, W], or None where there are none.
      slots: component pictures [N, T, K, H, W, 3], or None where there are none.
      frames: which frames of each clip; negative ones count from the end.
      scale: whole number that every pixel is enlarged by.
      assigned: the slot that each pixel of the seen frame is assigned to, [N, T, H, W], or None.
      boxes: of the slots, [N, T, K, 5], or None; see boxes.py.
      true_boxes: drawn in white with `boxes`, [N, T, M, 4], or None.

    Returns:
      uint8 [height, width, 3].

    Raises:
      ValueError: arrays do not agree in N, T, H, W.
    """
    video, masks = np.asarray(video), np.asarray(masks)
    _check_shapes(video, masks, recon, segmentation, slots, assigned)
    titles = ["frame", *(["truth"] if segmentation is not None else []),
              *(["boxes"] if boxes is not None else [])]
    titles += ["masks", "recon"] if assigned is None else ["assigned", "predicted", "recon"]
    titles += [f"slot {k + 1}" for k in range(masks.shape[2])] if slots is not None else []
    rows = []
    for clip in range(video.shape[0]):
        for frame in frames:
            at = (clip, frame)
            tiles = [to_uint8(video[at])]
            if segmentation is not None:
                tiles.append(colour_segmentation(np.asarray(segmentation)[at]))
            if boxes is not None:
                tiles.append(boxes_of.over(video[at], np.asarray(boxes)[at],
                                           None if true_boxes is None else true_boxes[at]))
            if assigned is not None:
                tiles.append(palette(masks.shape[2])[np.asarray(assigned)[at]])
            tiles += [colour_masks(masks[at]), to_uint8(np.asarray(recon)[at])]
            if slots is not None:
                tiles += list(masked_slots(np.asarray(slots)[at], masks[at]))
            rows.append([enlarge(tile, scale) for tile in tiles])
    return titled_table(rows, titles)


def filmstrip(video: np.ndarray, recon: np.ndarray, masks: np.ndarray,
              segmentation: np.ndarray | None = None, scale: int = 2) -> np.ndarray:
    """Draws what each iteration made of an image, two rows an image.

    In the first row the frame and each reconstruction, below them the truth, white where there is
    none, and the masks of each.

    Args:
      video: frames, uint8 or float [N, H, W, 3].
      recon: of each iteration I, the first guess first, [N, I, H, W, 3].
      masks: [N, I, K, H, W].
      segmentation: true ids [N, H, W], or None where there are none.
      scale: whole number that every pixel is enlarged by.

    Returns:
      uint8 [height, width, 3].

    Raises:
      ValueError: arrays do not agree in N, I, H, W.
    """
    video, recon, masks = np.asarray(video), np.asarray(recon), np.asarray(masks)
    each, ids = recon.shape[1], segmentation
    _check_shapes(np.repeat(video[:, None], each, axis=1), masks, recon, None if ids is None else
                  np.repeat(np.asarray(ids)[:, None], each, axis=1), None, None)
    frames, pictures, colours = to_uint8(video), to_uint8(recon), colour_masks(masks)
    truth = np.full_like(frames, WHITE) if ids is None else colour_segmentation(ids)
    rows = [[enlarge(tile, scale) for tile in (first[n], *others[n])]
            for n in range(len(frames)) for first, others in ((frames, pictures), (truth, colours))]
    return titled_table(rows, ["frame", *map(str, range(each))])


def side_by_side(
    video: np.ndarray,
    masks: np.ndarray,
    recon: np.ndarray,
    segmentation: np.ndarray | None = None,
    slots: np.ndarray | None = None,
    scale: int = 2,
    assigned: np.ndarray | None = None,
    boxes: np.ndarray | None = None,
    true_boxes: np.ndarray | None = None,
) -> np.ndarray:
    """Draws `picture_grid` of every frame in turn, all clips at once: a video of the same rows.

    Args:
      video, masks, recon, segmentation, slots, scale, assigned, boxes, true_boxes: as for
        `picture_grid`.

    Returns:
      uint8 [T, height, width, 3].
    """
    return np.stack([
        picture_grid(video, masks, recon, segmentation, slots, (t,), scale, assigned, boxes,
                     true_boxes)
        for t in range(np.shape(video)[1])
    ])


def rollout_grid(video: np.ndarray, recon: np.ndarray, masks: np.ndarray, scale: int = 2,
                 rivals: Mapping[str, np.ndarray] | None = None) -> np.ndarray:
    """Draws rows per clip over time: true frames, predicted frames, predicted masks, rivals.

    Args:
      video: true frames, uint8 or float [N, T, H, W, 3]; the last S of them were predicted, and
        what was seen before has no prediction.
      recon: predicted frames [N, S, H, W, 3].
      masks: predicted masks [N, S, K, H, W].
      scale: whole number that every pixel is enlarged by.
      rivals: by name what others predict, [N, S, H, W, 3] each, a row each; with them, what a row
        shows is written before it, where there is room.

    Returns:
      uint8 [height, width, 3].
    """
    tiles = _rollout_tiles(video, recon, masks, scale, (rivals or {}).values())
    names = ("", "predicted", "masks", *rivals) * len(tiles) if rivals else ()
    num_seen = np.shape(video)[1] - np.shape(recon)[1]
    titles = ["seen"] * num_seen + [f"+{h + 1}" for h in range(np.shape(recon)[1])]
    return titled_table([row for clip in tiles for row in clip], titles, names=names,
                        names_over=num_seen)


def rollout_clips(video: np.ndarray, recon: np.ndarray, masks: np.ndarray,
                  scale: int = 2) -> np.ndarray:
    """Draws true frame, predicted frame and predicted masks side by side, a row per clip.

    Args:
      video, recon, masks, scale: as for `rollout_grid`.

    Returns:
      uint8 [T, height, width, 3]; over the frames that were seen there is no prediction.
    """
    tiles = _rollout_tiles(video, recon, masks, scale)
    return np.stack([
        titled_table([[row[t] for row in clip] for clip in tiles], ["true", "predicted", "masks"])
        for t in range(np.shape(video)[1])
    ])


def _rollout_tiles(video, recon, masks, scale: int, rivals=()) -> list[list[list[np.ndarray]]]:
    """Tiles by clip, kind (true, predicted, masks, rivals) and frame; white where none is."""
    num_seen = np.shape(video)[1] - np.shape(recon)[1]
    true = to_uint8(video)
    ahead = (to_uint8(recon), colour_masks(masks), *map(to_uint8, rivals))
    blank = np.full(true.shape[2:], WHITE, np.uint8)
    return [[[enlarge(tile, scale) for tile in row] for row in (
        true[n], *([blank] * num_seen + list(frames[n]) for frames in ahead))]
        for n in range(len(true))]


def _check_shapes(video, masks, recon, segmentation, slots, assigned) -> None:
    n, t, h, w, _ = video.shape
    wanted = {"recon": (np.shape(recon)[:4], (n, t, h, w)),
              "masks": (masks.shape[:2] + masks.shape[3:], (n, t, h, w))}
    if slots is not None:
        wanted["slots"] = (np.shape(slots)[:5], masks.shape)
    for name, ids in (("segmentation", segmentation), ("assigned", assigned)):
        if ids is not None:
            wanted[name] = (np.shape(ids), (n, t, h, w))
    for name, (got, want) in wanted.items():
        if got != want:
            raise ValueError(f"{name} has the shape {got} where {want} goes with the video's "
                             f"{video.shape}.")


def enlarge(image: np.ndarray, scale: int) -> np.ndarray:
    """Repeats every pixel of [H, W, 3] `scale` times both ways.

    Raises:
      ValueError: `scale` is below 1.
    """
    if scale < 1:
        raise ValueError(f"scale is {scale}, but must be a whole number, 1 or more.")
    return image.repeat(scale, axis=0).repeat(scale, axis=1)


def titled_table(
    rows: Sequence[Sequence[np.ndarray]], titles: Sequence[str], margin: int = 2,
    names: Sequence[str] = (), names_over: int = 0
) -> np.ndarray:
    """Sets uint8 tiles of one size, [H, W, 3], in rows on white, with a title over each column.

    The name of a row, if it has one, is written over its first `names_over` tiles, to the right.
    Titles and names that there is no room for are left out.
    """
    height, width = rows[0][0].shape[:2]
    head = 14
    size = (head + margin + len(rows) * (height + margin), margin + len(titles) * (width + margin))
    canvas = np.full((*size, 3), WHITE, np.uint8)
    for r, row in enumerate(rows):
        for c, tile in enumerate(row):
            top = head + margin + r * (height + margin)
            left = margin + c * (width + margin)
            canvas[top : top + height, left : left + width] = tile
    image = Image.fromarray(canvas)
    draw, font = ImageDraw.Draw(image), ImageFont.load_default(size=11)
    for c, title in enumerate(titles):
        if draw.textlength(title, font=font) <= width + margin:
            middle = margin + c * (width + margin) + width / 2
            draw.text((middle, head / 2 + 1), title, fill=(64, 64, 64), font=font, anchor="mm")
    right = names_over * (width + margin)
    for r, name in enumerate(names):
        if draw.textlength(name, font=font) <= right - 2 * margin:
            middle = head + margin + r * (height + margin) + height / 2
            draw.text((right - margin, middle), name, fill=(64, 64, 64), font=font, anchor="rm")
    return np.asarray(image)


def encode_png(image: np.ndarray) -> bytes:
    """Returns PNG bytes of an image [H, W, 3] or [H, W, 1], uint8 or float in [0, 1]."""
    buffer = io.BytesIO()
    _pillow(image).save(buffer, format="PNG")
    return buffer.getvalue()


def save_png(path: str, image: np.ndarray) -> None:
    """Writes an image as a PNG file, and makes its folder if need be."""
    os.makedirs(os.path.dirname(os.path.abspath(path)), exist_ok=True)
    with open(path, "wb") as file:
        file.write(encode_png(image))


def animation(frames: np.ndarray, frames_per_second: float = 8.0, scale: int = 1) -> bytes:
    """Returns an endless GIF of frames [T, H, W, 3] or [T, H, W, 1], uint8 or float in [0, 1]."""
    images = [_pillow(enlarge(frame, scale)) for frame in np.asarray(frames)]
    buffer = io.BytesIO()
    # Pillow joins frames that are equal into one that stands for as long.
    images[0].save(buffer, format="GIF", save_all=True, append_images=images[1:], loop=0,
                   duration=round(1000.0 / frames_per_second), optimize=False)
    return buffer.getvalue()


def _pillow(image: np.ndarray) -> Image.Image:
    image = to_uint8(image)
    return Image.fromarray(image[..., 0] if image.shape[-1] == 1 else image)
