"""What an experiment leaves: numbers as JSON, a chart, and a table in docs/space.md."""

import os
import pathlib
from typing import Any, NamedTuple

from benchmarks.iodine.writing import as_json, put
from benchmarks.paper import page

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
    """Writes JSON, charts and the place on the page, as `put` does."""
    files, links = {folder / f"space_{made.place}.json": as_json(made.numbers)}, []
    for name, chart in made.charts.items():
        path = folder / f"space_{made.place}-{name}.svg"
        files[path] = f"{chart}\n".encode()
        links.append(f"![{made.place}, {name}]({os.path.relpath(path, page_path.parent)})")
    return put(files, made.place, "\n\n".join(filter(None, [" ".join(links), made.words])),
               page_path)
