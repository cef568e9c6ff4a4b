"""What the command lines of experiments share: numbers, flags for configs, errors as a sentence."""

import argparse
import sys
from collections.abc import Callable, Sequence

from parts_jax.runs import quiet


def at_least(least: int) -> Callable[[str], int]:
    """Reads a whole number."""
    def number(text: str) -> int:
        value = int(text) if text.lstrip("-").isdecimal() else least - 1
        if value < least:
            raise argparse.ArgumentTypeError(f"must be a whole number, {least} or more; got {text}")
        return value
    return number


def numbers(least: int) -> Callable[[str], tuple[int, ...]]:
    """Reads whole numbers with commas between them."""
    return lambda text: tuple(map(at_least(least), text.split(",")))


def parse(parser: argparse.ArgumentParser, arguments: Sequence[str],
          of_a_config: Sequence[str]) -> argparse.Namespace:
    """The flags, with `more`: those that begin with --config., for commands that have a config.

    Args:
      parser: of commands `what`, each with a `page` that is written to.
      arguments: of the command line.
      of_a_config: the commands that take --config.*.

    Raises:
      ValueError: a flag that the command does not have.
      FileNotFoundError: there is no page; told before anything is trained or compiled.
    """
    flags, rest = parser.parse_known_args(arguments)
    allowed = flags.what in of_a_config
    unknown = [flag for flag in rest if not (allowed and flag.startswith("--config."))]
    if unknown:
        raise ValueError(f"{unknown[0]!r} is no flag of {flags.what}; it has those that "
                         f"{parser.prog} {flags.what} --help shows"
                         f"{', and --config.*' if allowed else ''}.")
    if not flags.page.is_file():
        raise FileNotFoundError(f"There is no page {str(flags.page)!r} to write to.")
    flags.more = rest
    return flags


def main(run: Callable[[Sequence[str]], str]) -> None:
    """Prints what `run` says of the command line, or its error in a sentence."""
    quiet.hush()
    try:
        print(run(sys.argv[1:]))
    except (OSError, ValueError) as error:
        sys.exit(f"Error: {error}")
