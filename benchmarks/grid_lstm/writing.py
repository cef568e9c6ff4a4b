"""What an experiment leaves: numbers as JSON, a picture, and a table in docs/grid_lstm.md."""

import os
import pathlib

from benchmarks.iodine.writing import Made, as_json, put
from benchmarks.paper import page
from parts_jax.pictures import grids

PAGE = page.PAGE.parent / "grid_lstm.md"


def write(made: Made, page_path: pathlib.Path, folder: pathlib.Path) -> str:
    """Writes JSON, picture and the place on the page, as `put` does."""
    out, words = folder / f"grid_lstm_{made.place}", made.words
    files = {out.with_suffix(".json"): as_json(made.numbers)}
    if made.picture is not None:
        path = out.with_suffix(".png")
        files[path] = grids.encode_png(made.picture)
        words = f"![{made.place}]({os.path.relpath(path, page_path.parent)})\n\n{words}"
    return put(files, made.place, words, page_path)
