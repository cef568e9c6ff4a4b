"""Of a tuple that is set twice on the command line the last one counts, as of every other key.

`ml_collections` would join them: --config.x="(8,)" --config.x="(16,)" sets x to (8, 16).
"""

import ast
from collections.abc import Mapping, Sequence
from typing import Any

from parts_jax.runs import configuration


def last_of_tuples(argv: Sequence[str], known: Mapping[str, Any]) -> list[str]:
    """Leaves out all but the last setting of each key that holds a tuple.

    Args:
      argv: the command line, not yet parsed.
      known: the config that it sets keys of.

    Returns:
      A command line of which each such key is set at most once.

    Raises:
      ValueError: such a key is set twice, and not to a tuple both times: whether they are to be
        joined is unclear.
    """
    keys = {key for key, value in configuration.flatten(known).items() if isinstance(value, tuple)}
    end = argv.index("--") if "--" in argv else len(argv)
    words, settings = list(argv[:end]), {}
    for place, word in enumerate(words):
        name, equals, value = word.partition("=")
        key = name.removeprefix("-").removeprefix("-config.").removeprefix("config.")
        if name in (f"--config.{key}", f"-config.{key}") and key in keys:
            last = place if equals else place + 1  # --name value
            given = value if equals else " ".join(words[last:last + 1])
            settings.setdefault(key, []).append((place, last, given))
    for key, found in settings.items():
        values = [value for *_, value in found]
        if len(found) > 1 and not all(map(_is_tuple, values)):
            raise ValueError(f"--config.{key} is given {len(found)} times, with "
                             f"{' and '.join(values)}. It is a tuple, which is given at once, such "
                             f'as --config.{key}="(1, 2)"; of tuples the last one counts.')
        for first, last, _ in found[:-1]:
            words[first:last + 1] = [None] * (last + 1 - first)
    return [word for word in words if word is not None] + list(argv[end:])


def _is_tuple(text: str) -> bool:
    try:
        return isinstance(ast.literal_eval(text), (tuple, list))
    except (ValueError, SyntaxError, MemoryError, RecursionError):
        return False
