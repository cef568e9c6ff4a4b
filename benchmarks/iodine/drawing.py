"""Curves with bands and marks, and bars, with PIL alone."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from parts_jax.pictures import colours

GREY, LIGHT = (90, 90, 90), (210, 210, 210)


class Curve(NamedTuple):
    """A line of a chart.

    Attributes:
      x, y: its points, [N] each; y finite.
      low, high: of the band around it, [N] each; None: there is no band.
      mark: x of a point that is marked by a dot; None: of none.
    """

    x: Sequence[float]
    y: np.ndarray
    low: np.ndarray | None = None
    high: np.ndarray | None = None
    mark: float | None = None


def curves(title: str, lines: Mapping[str, Curve], width: int = 330, height: int = 190,
           log: bool = False) -> np.ndarray:
    """A chart of curves by name, least and greatest value at the sides, names below.

    Args:
      title: over it.
      lines: by name.
      width, height: of the picture.
      log: whether y is drawn by its logarithm; values must be above 0 then.

    Returns:
      uint8 [height, width, 3].
    """
    image = Image.new("RGB", (width, height), "white")
    draw, font = ImageDraw.Draw(image, "RGBA"), ImageFont.load_default(size=11)
    scaled = np.log if log else np.asarray
    all_y = np.concatenate([np.asarray(part) for line in lines.values()
                            for part in (line.y, line.low, line.high) if part is not None])
    all_x = np.concatenate([np.asarray(line.x, float) for line in lines.values()])
    least, most = float(all_y.min()), float(all_y.max())
    box = left, top, right, bottom = 58, 20, width - 12, height - 40
    place_x = lambda x: _between(np.asarray(x, float), all_x.min(), all_x.max(), left, right)
    place_y = lambda y: _between(scaled(np.asarray(y, float)), scaled(least), scaled(most),
                                 bottom, top)
    draw.text((left, 4), title + (", log" if log else ""), fill=GREY, font=font)
    draw.rectangle(box, outline=LIGHT)
    for value, y in ((most, top), (least, bottom)):
        draw.text((left - 4, y), f"{value:.3g}", fill=GREY, font=font, anchor="rm")
    for value in sorted(set(all_x.tolist())):
        draw.text((float(place_x(value)), bottom + 8), f"{value:g}", fill=GREY, font=font,
                  anchor="mm")
    at = left
    for colour, (name, line) in zip(colours.palette(len(lines)).tolist(), lines.items(),
                                    strict=True):
        x = place_x(line.x).tolist()
        if line.low is not None and line.high is not None:
            edge = [*zip(x, place_y(line.high).tolist(), strict=True),
                    *reversed(list(zip(x, place_y(line.low).tolist(), strict=True)))]
            draw.polygon(edge, fill=(*colour, 50))
        draw.line(list(zip(x, place_y(line.y).tolist(), strict=True)), fill=tuple(colour), width=2)
        if line.mark is not None and line.mark in list(line.x):
            i = list(line.x).index(line.mark)
            px, py = x[i], float(place_y(line.y)[i])
            draw.ellipse((px - 4, py - 4, px + 4, py + 4), fill=tuple(colour))
        draw.text((at, bottom + 20), name, fill=tuple(colour), font=font)
        at += draw.textlength(name, font=font) + 12
    return np.asarray(image)


def _between(values: np.ndarray, least: float, most: float, first: float,
             last: float) -> np.ndarray:
    return first + (values - least) / max(float(most - least), 1e-12) * (last - first)


def bars(title: str, values: Mapping[str, float], width: int = 330) -> np.ndarray:
    """Horizontal bars from 0 by name, the number at the end of each: uint8 [., width, 3]."""
    row, left, right = 15, 130, width - 60
    image = Image.new("RGB", (width, 24 + row * len(values)), "white")
    draw, font = ImageDraw.Draw(image), ImageFont.load_default(size=11)
    draw.text((left, 4), title, fill=GREY, font=font)
    least, most = min(0.0, *values.values()), max(0.0, *values.values())
    place = lambda value: float(_between(np.asarray(value), least, most, left, right))
    colour = tuple(colours.palette(1)[0].tolist())
    for i, (name, value) in enumerate(values.items()):
        y = 22 + row * i
        first, last = sorted((place(0.0), place(value)))
        draw.rectangle((first, y, last, y + 10), fill=colour)
        draw.text((left - 6, y + 5), name, fill=GREY, font=font, anchor="rm")
        draw.text((right + 6, y + 5), f"{value:.4g}", fill=GREY, font=font, anchor="lm")
    return np.asarray(image)


def beside(pictures: Sequence[np.ndarray]) -> np.ndarray:
    """Pictures one beside the other on white: uint8 [height, width, 3] each."""
    height = max(picture.shape[0] for picture in pictures)
    return np.concatenate([np.pad(picture, ((0, height - len(picture)), (0, 4), (0, 0)),
                                  constant_values=colours.WHITE) for picture in pictures], axis=1)
