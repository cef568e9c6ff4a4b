"""Puts what was measured into docs/paper.md, between two lines that name it."""

import pathlib

from parts_jax.files import whole

PAGE = pathlib.Path(__file__).parent.parent.parent / "docs" / "paper.md"


def put(page: pathlib.Path, name: str, text: str) -> None:
    """Replaces what stands between `<!-- NAME -->` and `<!-- /NAME -->`, or adds it at the end.

    Args:
      page: the file, in Markdown.
      name: of the part.
      text: what it says now.

    Raises:
      ValueError: one of the two lines is there without the other, or they are in the wrong order.
      OSError: the page cannot be read or written; it is as it was.
    """
    begin, end = f"<!-- {name} -->", f"<!-- /{name} -->"
    content = page.read_text(encoding="utf-8")
    part = f"{begin}\n{text.strip()}\n{end}"
    counts = content.count(begin), content.count(end)
    if counts == (0, 0):
        whole.write_whole(page, f"{content.rstrip()}\n\n{part}\n")
        return
    first, last = content.find(begin), content.find(end)
    if counts != (1, 1) or last < first:
        raise ValueError(f"{page} must have the line {begin} once and {end} once after it, or "
                         f"neither; it has them {counts[0]} and {counts[1]} times.")
    whole.write_whole(page, content[:first] + part + content[last + len(end):])
