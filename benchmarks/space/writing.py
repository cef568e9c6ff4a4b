"""What an experiment leaves: numbers as JSON, a chart, and a table in docs/space.md."""

import json
import os
import pathlib
from typing import Any, NamedTuple

from benchmarks.iodine.writing import MOST_BYTES, rounded
from benchmarks.paper import page
from parts_jax.files import whole

PAGE = page.PAGE.parent / "space.md"
NOT_MEASURED = "not measured yet"


class Made(NamedTuple):
    """What an experiment found.

    Attributes:
      place: what it is called on the page, and, after "space_", in names of files.
      numbers: all of it, for JSON.
      words: what the page says, in Markdown.
      charts: SVG by what comes after the place in names of files.
    """

    place: str
    numbers: dict[str, Any]
    words: str
    charts: dict[str, str] = {}


def write(made: Made, page_path: pathlib.Path, folder: pathlib.Path) -> str:
    """Writes JSON, charts and the place on the page; says where, in a sentence.

    Raises:
      FileNotFoundError: there is no such page or folder.
      ValueError: a file would be larger than MOST_BYTES, or the page's marks are not in order.
    """
    if not page_path.is_file():
        raise FileNotFoundError(f"There is no page {str(page_path)!r} to write to.")
    if not folder.is_dir():
        raise FileNotFoundError(f"There is no folder {str(folder)!r} to write to.")
    text = json.dumps(rounded(made.numbers), separators=(",", ":"), allow_nan=False) + "\n"
    files = {folder / f"space_{made.place}.json": text}
    links = []
    for name, chart in made.charts.items():
        path = folder / f"space_{made.place}-{name}.svg"
        files[path] = chart + "\n"
        links.append(f"![{made.place}, {name}]({os.path.relpath(path, page_path.parent)})")
    for path, content in files.items():
        if len(content) > MOST_BYTES:
            raise ValueError(f"{path} would have {len(content):,} bytes, but may have "
                             f"{MOST_BYTES:,}; ask for less.")
    for path, content in files.items():
        whole.write_whole(path, content)
    page.put(page_path, made.place, "\n\n".join(filter(None, [" ".join(links), made.words])))
    return f"{', '.join(map(str, files))}, and its place in {page_path}."
