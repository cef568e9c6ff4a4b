"""JSON of files that may be damaged: one kind of error for all that can be wrong with it."""

import json
from typing import Any


def parse(content: bytes | str) -> Any:
    """The value that a JSON text holds.

    Args:
      content: text, or bytes of it in UTF-8.

    Raises:
      ValueError: it is no JSON, not UTF-8, nested too deep, or has a number too long to be read.
    """
    try:
        return json.loads(content.decode() if isinstance(content, bytes) else content)
    except RecursionError as error:
        raise ValueError("it is nested too deep") from error
