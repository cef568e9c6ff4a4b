"""The errors of readers: whatever goes wrong in a file becomes one sentence that names the file.

Libraries raise what they like at damaged files: NotImplementedError and RuntimeError (zip),
TokenError (npy), KeyError (h5py), struct.error (PIL), RecursionError (JSON), MemoryError (all).
"""

import contextlib
import json
import os
from collections.abc import Callable, Iterator
from typing import Any

from absl import logging

MOST_WORDS = 300  # letters of what a library said


@contextlib.contextmanager
def naming(source: str | os.PathLike, sentence: str = "") -> Iterator[None]:
    """Within it, any error becomes a ValueError whose message is a sentence about the file.

    Left as they are: a ValueError or OSError whose message names the file, as those of this
    package do, and what the machine says of the file itself (no permission, no such file).

    Args:
      source: the name of the file, as it stands in messages.
      sentence: what to say before what the library said, which stands in brackets or, where this
        ends in a colon, behind it; "": that it is truncated, damaged or of another kind.
    """
    try:
        yield
    except Exception as error:
        if _names(error, str(source)):
            raise
        sentence = sentence or (f"The file {source} cannot be read: it is truncated, damaged or of "
                                "another kind")
        said = words(error) if sentence.endswith(":") else f"({words(error)})"
        raise ValueError(f"{sentence} {said}.") from error


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
    with naming(source, f"{what} {source} is no JSON:"):
        return json.loads(content)


def _names(error: Exception, source: str) -> bool:
    if isinstance(error, OSError) and error.filename is not None:
        return True
    return (isinstance(error, ValueError | OSError) and not isinstance(error, UnicodeError)
            and source in str(error))


class LeftOut:
    """Episodes, or files of them, that cannot be read: an error, or with `data.skip_bad` left out.

    Attributes:
      what: they are, for messages, such as "episodes".
      skip_bad: see `episodes.SourceConfig`.
      count: how many were left out.
    """

    def __init__(self, what: str, skip_bad: bool):
        self.what, self.skip_bad, self.count = what, skip_bad, 0

    def attempt(self, read: Callable[..., Any], *arguments: Any) -> Any:
        """What `read` returns; None if it cannot be read and is left out.

        Raises:
          ValueError, OSError: it cannot be read and nothing is to be left out.
        """
        try:
            return read(*arguments)
        except (ValueError, OSError) as error:
            self.note(error)
            return None

    def note(self, error: Exception) -> None:
        """Names and counts what cannot be read; raises the error if nothing is to be left out."""
        if not self.skip_bad:
            if isinstance(error, OSError):
                raise error
            raise ValueError(f"{error} With --config.data.skip_bad=True {self.what} that cannot be "
                             "read are named, counted and left out.") from error
        logging.warning("Left out: %s", error)
        self.count += 1

    def say(self, split: str) -> None:
        """Says how many were left out of a split, if any were."""
        if self.count:
            logging.warning("Left out of the split %r: %d %s that cannot be read, by "
                            "data.skip_bad.", split, self.count, self.what)
