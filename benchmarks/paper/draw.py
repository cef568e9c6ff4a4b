"""Pictures of figures: rows of tiles over time, and curves, with PIL alone."""

from collections.abc import Mapping, Sequence

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from parts_jax.pictures import colours, grids

WHITE, GREY = 255, (90, 90, 90)


def over_time(rows: Mapping[str, np.ndarray], frames: Sequence[int],
              titles: Sequence[str] | None = None, scale: int = 2) -> np.ndarray:
    """A row of tiles a name, a column a frame, the name beside it.

    Args:
      rows: uint8 or float pictures [T, H, W, 3] by name.
      frames: which frames.
      titles: of the columns; None: the frames' numbers, from 1.
      scale: whole number that every pixel is enlarged by.

    Returns:
      uint8 [height, width, 3].
    """
    tiles = [[grids.enlarge(colours.to_uint8(row[t]), scale) for t in frames]
             for row in rows.values()]
    table = grids.titled_table(tiles, titles or [str(t + 1) for t in frames])
    height = tiles[0][0].shape[0] + 2
    label = np.full((table.shape[0], 130, 3), WHITE, np.uint8)
    image = Image.fromarray(label)
    draw, font = ImageDraw.Draw(image), ImageFont.load_default(size=11)
    for i, name in enumerate(rows):
        draw.text((124, 16 + (i + 0.5) * height), name, fill=GREY, font=font, anchor="rm")
    return np.concatenate([np.asarray(image), table], axis=1)


def chart(title: str, series: Mapping[str, np.ndarray], width: int = 420,
          height: int = 150) -> np.ndarray:
    """Curves over frames, with least and greatest value at the side and names below.

    Args:
      title: of the chart.
      series: numbers [T] by name, finite ones.
      width, height: of the picture.

    Returns:
      uint8 [height, width, 3].
    """
    image = Image.new("RGB", (width, height), "white")
    draw, font = ImageDraw.Draw(image), ImageFont.load_default(size=11)
    values = np.concatenate(list(series.values()))
    least, most = float(values.min()), float(values.max())
    left, top, right, bottom = 60, 20, width - 10, height - 22
    draw.text((left, 4), title, fill=GREY, font=font)
    draw.rectangle((left, top, right, bottom), outline=(200, 200, 200))
    for value, y in ((most, top), (least, bottom)):
        draw.text((left - 4, y), f"{value:.3g}", fill=GREY, font=font, anchor="rm")
    at = left
    for colour, (name, numbers) in zip(colours.palette(len(series)).tolist(), series.items(),
                                       strict=True):
        x = np.linspace(left, right, len(numbers))
        y = bottom - (numbers - least) / max(most - least, 1e-12) * (bottom - top)
        draw.line(list(zip(x.tolist(), y.tolist(), strict=True)), fill=tuple(colour), width=2)
        draw.text((at, bottom + 6), name, fill=tuple(colour), font=font)
        at += draw.textlength(name, font=font) + 16
    return np.asarray(image)


def stacked(pictures: Sequence[np.ndarray]) -> np.ndarray:
    """Pictures one under the other on white: uint8 [height, width, 3] each."""
    width = max(picture.shape[1] for picture in pictures)
    return np.concatenate([np.pad(picture, ((0, 6), (0, width - picture.shape[1]), (0, 0)),
                                  constant_values=WHITE) for picture in pictures])


def attended(video: np.ndarray, attention: np.ndarray) -> np.ndarray:
    """A frame lit where a slot attends to, by its own greatest weight: [T, H, W, 3], [T, H, W].

    Returns:
      floats in [0, 1], [T, H, W, 3].
    """
    light = attention / np.maximum(attention.max((1, 2), keepdims=True), 1e-9)
    return colours.to_uint8(video) / 255 * (0.15 + 0.85 * light[..., None])
