"""Paths as users give them: ~ is their home, and what is no path of this machine is refused."""

import os
import re
from collections.abc import Iterable

_ADDRESS = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*:/")


def checked(path: str | os.PathLike, what: str) -> str:
    """Returns a path with ~ expanded.

    Args:
      path: of a file or folder, which need not be there.
      what: names it in the message, such as "--workdir".

    Raises:
      ValueError: it is the address of a bucket or a server, or its name cannot be written in UTF-8,
        or no file can have it.
    """
    path = os.path.expanduser(os.fspath(path))
    if path.startswith("~"):
        raise ValueError(f"{what} is {path!r}, but there is no user "
                         f"{path[1:].partition('/')[0]!r}; a folder of that name is './{path}'.")
    if _ADDRESS.match(path):
        raise ValueError(
            f"{what} is {path!r}, an address, but must be a path of this machine: nothing here "
            "reads from or writes to a network. Mount a bucket (gcsfuse BUCKET FOLDER) and give "
            "the folder; launch/tpu_pod.sh and launch/kubernetes/launch.sh do so by themselves.")
    try:
        path.encode()
    except UnicodeEncodeError as error:
        raise ValueError(f"{what} is {path!r}, whose name is not UTF-8, which the libraries that "
                         "write there need: rename it.") from error
    if "\0" in path:
        raise ValueError(f"{what} is {path!r}, but no file's name may hold the character 0.")
    return path


def with_homes(arguments: Iterable[str]) -> list[str]:
    """Arguments of a command, with ~ as the home also behind --name=, where no shell expands it."""
    expanded = []
    for argument in arguments:
        name, equals, value = argument.partition("=")
        if argument.startswith("-") and value.startswith("~"):
            argument = f"{name}{equals}{os.path.expanduser(value)}"
        expanded.append(os.path.expanduser(argument))
    return expanded
