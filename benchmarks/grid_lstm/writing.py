"""What an experiment leaves: numbers as JSON, a picture, and a table in docs/grid_lstm.md."""

import json
import os
import pathlib

from benchmarks.iodine.writing import MOST_BYTES, Made, rounded
from benchmarks.paper import page
from parts_jax.files import whole
from parts_jax.pictures import grids

PAGE = page.PAGE.parent / "grid_lstm.md"


def write(made: Made, page_path: pathlib.Path, folder: pathlib.Path) -> str:
    """Writes JSON, picture and the place on the page; says where, in a sentence.

    Raises:
      FileNotFoundError: there is no such page or folder.
      ValueError: a file would be larger than MOST_BYTES, or the page's marks are not in order.
    """
    if not page_path.is_file():
        raise FileNotFoundError(f"There is no page {str(page_path)!r} to write to.")
    if not folder.is_dir():
        raise FileNotFoundError(f"There is no folder {str(folder)!r} to write to.")
    out, words = folder / f"grid_lstm_{made.place}", made.words
    text = json.dumps(rounded(made.numbers), separators=(",", ":"), allow_nan=False) + "\n"
    files = {out.with_suffix(".json"): text.encode()}
    if made.picture is not None:
        files[out.with_suffix(".png")] = grids.encode_png(made.picture)
        link = os.path.relpath(out.with_suffix(".png"), page_path.parent)
        words = f"![{made.place}]({link})\n\n{words}"
    for path, content in files.items():
        if len(content) > MOST_BYTES:
            raise ValueError(f"{path} would have {len(content):,} bytes, but may have "
                             f"{MOST_BYTES:,}; ask for less.")
    for path, content in files.items():
        whole.write_whole(path, content)
    page.put(page_path, made.place, words)
    return f"{', '.join(map(str, files))}, and its place in {page_path}."
