"""Videos as folders of numbered pictures (png or jpg), and their masks as pictures of ids."""

import decimal
import io
import itertools
import math
import pathlib
import re
from collections.abc import Callable, Iterator, Sequence

import numpy as np
from absl import logging
from PIL import Image, ImageOps

from parts_jax.data.formats import decoder, frames, limits

SUFFIXES = (".png", ".jpg", ".jpeg")
MASK_SUFFIX = ".png"
ID_MODES = ("P", "L", "1", "I;16", "I;16B", "I")
# What of a name is a number: in each reading that a folder of frames may be meant in, from the
# likeliest on. A minus is a sign where no word ends before it ("run-2" is run 2, "t_-2" is not);
# or after a word, too ("x-1", "x0", "x1"); a point is one of a decimal, or it parts two numbers.
_SIGN, _ANY_SIGN = r"(?<![^\W_])[-\u2212]", r"(?<!\d)[-\u2212]"
_DECIMAL = r"\d+\.\d+(?!\.?\d)|\d+"
READINGS = tuple(
    re.compile(rf"((?:{sign})?(?:{digits}))")
    for sign, digits in itertools.product((_SIGN, _ANY_SIGN), (rf"(?<!\d\.){_DECIMAL}", r"\d+")))
# times the usual step between the times of two frames, from which one is missing
SLACK = decimal.Decimal("1.5")


def is_frame(path: pathlib.Path) -> bool:
    """Whether a file is a picture by its name, and not hidden."""
    return path.suffix.lower() in SUFFIXES and path.name[0] != "." and path.is_file()


def find_frames(folder: pathlib.Path) -> list[pathlib.Path]:
    """The frames of a folder in the natural order of their names: 2 before 10, -2 before -1.

    Numbers may have signs and decimals; where a name has several, the first one counts most.

    Raises:
      ValueError: if a name has no number, two have the same, some are left out, or the names
        differ in more than their numbers.
    """
    paths = sorted(path for path in folder.iterdir() if is_frame(path))
    for path in paths:
        if not re.search(r"\d", path.stem):
            raise ValueError(f"The frame {path} must have its number in its name, such as "
                             "00012.png.")
    problem = None
    for reading in READINGS:
        try:
            order = _in_order(paths, reading)
            _check_steps(folder, order, strict=isinstance(problem, _MissingError))
            return list(order.values())
        except ValueError as error:
            problem = problem or error
    raise problem


class _MissingError(ValueError):
    """Numbers are left out."""


def _in_order(paths: Sequence[pathlib.Path],
              reading: re.Pattern[str]) -> dict[tuple, pathlib.Path]:
    """The frames by the numbers in their names, in order, if the names are read in one way."""
    words, numbered = None, {}
    for path in paths:
        parts = reading.split(path.stem)
        words = words or (parts[::2], path)
        if parts[::2] != words[0]:
            raise ValueError(f"The frames of one video must have names that differ in their "
                             f"numbers alone; got {words[1]} and {path}.")
        numbers = tuple(_number(part) for part in parts[1::2])
        other = numbered.setdefault(numbers, path)
        if other != path:
            raise ValueError(f"The frames {other} and {path} have the same number "
                             f"{' '.join(map(str, numbers))}.")
    return dict(sorted(numbered.items()))


def _number(text: str) -> int | decimal.Decimal:
    text = text.replace("\u2212", "-")
    return decimal.Decimal(text) if "." in text else int(text)


def _check_steps(folder: pathlib.Path, order: dict[tuple, pathlib.Path], *, strict: bool) -> None:
    """Raises ValueError if frames are left out; says it where that cannot be seen, unless strict"""
    paths = list(order.values())
    varying = [numbers for numbers in zip(*order, strict=True) if len(set(numbers)) > 1]
    if len(varying) != 1:
        if strict:
            raise ValueError
        if varying:
            logging.warning("The frames in %s are put in order by %d numbers in their names, from "
                            "%s to %s; whether some are missing cannot be seen.", folder,
                            len(varying), paths[0].name, paths[-1].name)
        return
    steps = [later - earlier for earlier, later in itertools.pairwise(varying[0])]
    usual = min(steps)
    if any(isinstance(number, decimal.Decimal) for number in varying[0]):  # times may waver
        usual = sorted(steps)[len(steps) // 2]
        uneven = [index for index, step in enumerate(steps) if step > SLACK * usual]
    else:
        uneven = [index for index, step in enumerate(steps) if step != usual]
    if uneven:
        raise _MissingError(
            f"Frames are missing in {folder}: after {paths[uneven[0]].name} comes "
            f"{paths[uneven[0] + 1].name}, but the others are {usual} apart.")


def iter_pictures(folder: pathlib.Path,
                  max_bytes: int = limits.MAX_BYTES) -> Iterator[np.ndarray]:
    """Yields the frames of a folder, uint8 [H, W, 3], upright; transparency is left out.

    Raises:
      ValueError: if one cannot be read, has more than 8 bits a channel, or takes more than
        max_bytes.
    """
    for path in find_frames(folder):
        yield read_picture(path, max_bytes)


def read_picture(path: pathlib.Path, max_bytes: int = limits.MAX_BYTES) -> np.ndarray:
    """One picture, uint8 [H, W, 3]; raises as `iter_pictures`."""
    return _read(path, "frame", frames.FORMATS, max_bytes, _as_colours)


def iter_masks(paths: Sequence[pathlib.Path],
               max_bytes: int = limits.MAX_BYTES) -> Iterator[np.ndarray]:
    """Yields masks: of PNG files with a palette, or in grey, their numbers, integers [H, W].

    Raises:
      ValueError: if one cannot be read, has colours in place of ids, or takes more than max_bytes.
    """
    for path in paths:
        yield _read(path, "mask", ("PNG",), max_bytes, _as_ids)


def _as_colours(path: pathlib.Path, picture: Image.Image, bits: int) -> np.ndarray:
    if picture.mode.startswith(("I", "F")) or bits > 8:
        raise ValueError(f"The frame {path} must have 8 bits a channel; its mode is "
                         f"{picture.mode}, of {max(bits, 16)} bits.")
    return np.asarray(ImageOps.exif_transpose(picture).convert("RGB"))


def _as_ids(path: pathlib.Path, picture: Image.Image, bits: int) -> np.ndarray:
    ids = np.asarray(picture)
    if picture.mode == "RGB" and (ids == ids[..., :1]).all():  # grey, as some of DAVIS's are kept
        ids = ids[..., 0]
    elif picture.mode not in ID_MODES:
        raise ValueError(f"The mask {path} must be a PNG with a palette, or in grey, whose numbers "
                         f"are the ids of objects; its mode is {picture.mode}.")
    return ids.astype(np.int32)


def _read(path: pathlib.Path, noun: str, formats: tuple[str, ...], max_bytes: int,
          convert: Callable[[pathlib.Path, Image.Image, int], np.ndarray]) -> np.ndarray:
    """Opens a picture and converts it; whatever PIL raises becomes a sentence with its name."""
    try:
        limits.check_declared(path, path.stat().st_size, max_bytes)
        content = path.read_bytes()
        with Image.open(io.BytesIO(content), formats=formats) as picture:
            limits.check_declared(path, 4 * math.prod(picture.size), max_bytes)
            if picture.format == "PNG":
                frames.check_png(content)
            else:
                decoder.check_jpeg(content, max_bytes)
            return convert(path, picture, frames.png_bits(content[:frames.PNG_HEAD]))
    except Exception as error:  # PIL lets through zlib's, struct's, and more
        if type(error) is ValueError and str(path) in str(error):
            raise  # it is such a sentence
        raise ValueError(f"The {noun} {path} cannot be read: it is truncated, damaged or no "
                         f"{' or '.join(formats)} file ({str(error) or type(error).__name__})."
                         ) from error
