"""What an experiment leaves: numbers as JSON, a picture, and a table in its marked place."""

import io
import json
import math
import os
import pathlib
import sys
from typing import Any, NamedTuple
from unittest import mock

import ml_collections
import numpy as np
from absl import flags
from ml_collections import config_flags
from PIL import Image

from benchmarks.paper import page
from parts_jax.files import whole
from parts_jax.pictures import grids

PAGE = page.PAGE.parent / "iodine.md"
MOST_BYTES = 100_000  # of a file


class Made(NamedTuple):
    """What an experiment found.

    Attributes:
      place: what it is called on the page, and, after "iodine_", in names of files.
      numbers: all of it, for JSON.
      words: what the page says, in Markdown.
      picture: uint8 [height, width, 3]; None: there is none.
    """

    place: str
    numbers: dict[str, Any]
    words: str
    picture: np.ndarray | None = None


def place_of(what: str, dataset: str) -> str:
    """The place of an experiment on a set: ("scores", "a/b") -> "scores-a_b"."""
    return f"{what}-{dataset.replace('/', '_')}"


def write(made: Made, page_path: pathlib.Path, folder: pathlib.Path) -> str:
    """Writes JSON, picture and the place on the page, as `put` does."""
    out, words = folder / f"iodine_{made.place}", made.words
    files = {out.with_suffix(".json"): as_json(made.numbers)}
    if made.picture is not None:
        path = out.with_suffix(".png")
        files[path] = _few_colours(made.picture)
        words = f"![{made.place}]({os.path.relpath(path, page_path.parent)})\n\n{words}"
    return put(files, made.place, words, page_path)


def as_json(numbers: dict[str, Any]) -> bytes:
    """One line, `rounded`."""
    return (json.dumps(rounded(numbers), separators=(",", ":"), allow_nan=False) + "\n").encode()


def put(files: dict[pathlib.Path, bytes], place: str, words: str, page_path: pathlib.Path) -> str:
    """Writes files and a place on a page, or nothing; says where, in a sentence.

    Raises:
      FileNotFoundError: there is no such page or folder.
      ValueError: a file would be larger than MOST_BYTES, or the page's marks are not in order.
    """
    if not page_path.is_file():
        raise FileNotFoundError(f"There is no page {str(page_path)!r} to write to.")
    for path, content in files.items():
        if not path.parent.is_dir():
            raise FileNotFoundError(f"There is no folder {str(path.parent)!r} to write to.")
        if len(content) > MOST_BYTES:
            raise ValueError(f"{path} would have {len(content):,} bytes, but may have "
                             f"{MOST_BYTES:,}; ask for less.")
    for path, content in files.items():
        whole.write_whole(path, content)
    page.put(page_path, place, words)
    return f"{', '.join(map(str, files))}, and its place in {page_path}."


def rounded(value: Any) -> Any:
    """Numbers to six digits, what is not finite as None, arrays as lists."""
    if isinstance(value, dict):
        return {str(key): rounded(one) for key, one in value.items()}
    if isinstance(value, list | tuple | np.ndarray):
        return [rounded(one) for one in value]
    if isinstance(value, bool | np.bool_):
        return bool(value)
    if isinstance(value, float | np.floating):
        return float(f"{value:.6g}") if math.isfinite(value) else None
    return int(value) if isinstance(value, np.integer) else value


def _few_colours(picture: np.ndarray) -> bytes:
    """PNG of a picture; of 256 colours or fewer, down to 32, where it is too large otherwise."""
    content = grids.encode_png(picture)
    for colours in (256, 128, 64, 32):
        if len(content) <= MOST_BYTES:
            break
        buffer = io.BytesIO()
        few = Image.fromarray(picture).quantize(colours, dither=Image.Dither.NONE)
        few.save(buffer, format="PNG", optimize=True)
        content = buffer.getvalue()
    return content


def config_of(name: str, more: list[str]) -> ml_collections.ConfigDict:
    """The config that a command line describes.

    Args:
      name: FILE or FILE:variant.
      more: flags such as --config.train.batch_size=4.

    Raises:
      ValueError: there is no such file, variant or key.
    """
    values = flags.FlagValues()
    config_flags.DEFINE_config_file("config", flag_values=values)
    line = ["", f"--config={name}", *more]
    try:
        with mock.patch.object(sys, "argv", line):  # it looks there for what is overridden
            values(line)
    except (flags.Error, OSError, AttributeError, KeyError, TypeError) as error:
        raise ValueError(f"--config={name} {' '.join(more)} cannot be read: {error}") from error
    return values["config"].value
