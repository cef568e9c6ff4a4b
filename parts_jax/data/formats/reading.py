"""The errors of readers: whatever goes wrong in a file becomes one sentence that names the file.

Libraries raise what they like at damaged files: NotImplementedError and RuntimeError (zip),
TokenError (npy), KeyError (h5py), struct.error (PIL), RecursionError (JSON), MemoryError (all).
"""

import contextlib
import json
import os
from collections.abc import Iterator
from typing import Any

MOST_WORDS = 300  # letters of what a library said


@contextlib.contextmanager
def naming(source: str | os.PathLike, sentence: str = "") -> Iterator[None]:
    """Within it, any error becomes a ValueError whose message is a sentence about the file.

    Left as they are: a ValueError or OSError whose message names the file, as those of this
    package do, and what the machine says of the file itself (no permission, no such file).

    Args:
      source: the name of the file, as it stands in messages.
      sentence: what to say, without its end; "": that it is truncated, damaged or of another kind.
    """
    try:
        yield
    except Exception as error:
        if _names(error, str(source)):
            raise
        sentence = sentence or (f"The file {source} cannot be read: it is truncated, damaged or of "
                                "another kind")
        raise ValueError(f"{sentence} ({words(error)}).") from error


def words(error: Exception) -> str:
    """What an error says, in one line; and its kind where it does not speak for itself."""
    if isinstance(error, RecursionError):
        return "it is nested too deep"
    if isinstance(error, MemoryError):
        return "it takes more memory than there is"
    text = " ".join(str(error).split()).rstrip(".")[:MOST_WORDS]
    plain = isinstance(error, ValueError | OSError) and not isinstance(error, UnicodeError)
    return text if plain and text else f"{type(error).__name__}: {text}".rstrip(": ")


def parse_json(content: bytes | str, source: str | os.PathLike, what: str = "The file") -> Any:
    """What a JSON text holds.

    Raises:
      ValueError: if it is no JSON, no UTF-8, or nested too deep.
    """
    with naming(source, f"{what} {source} is no JSON"):
        return json.loads(content)


def _names(error: Exception, source: str) -> bool:
    if isinstance(error, OSError) and error.filename is not None:
        return True
    return (isinstance(error, ValueError | OSError) and not isinstance(error, UnicodeError)
            and source in str(error))
