"""The command `parts-jax`: a word for each door, and that door's own flags behind it.

    parts-jax train --config=parts_clevrer:demo --workdir=runs/demo
    parts-jax evaluate --workdir=runs/demo --config.eval.split=test
    parts-jax segment --workdir=demo clip.mp4 --out=out.mp4
    parts-jax report --workdir=runs/demo
    parts-jax list

`parts-jax WORD --help` lists the flags of each. The same from a checkout: python -m parts_jax WORD.
"""

import difflib
import runpy
import sys

import parts_jax

# What is called for a word, and with which flags before the user's.
COMMANDS = {
    "train": ("parts_jax.main", ["--mode=train"]),
    "evaluate": ("parts_jax.main", ["--mode=evaluate"]),
    "segment": ("parts_jax.segment", []),
    "report": ("parts_jax.report", []),
    "list": ("parts_jax.main", ["--list"]),
}


def main() -> None:
    """Calls the door that the first word names; a word that there is not: exit code 2."""
    word, *arguments = sys.argv[1:] or ["--help"]
    if word in ("--help", "-h", "help"):
        print(__doc__.rstrip())
        return
    if word == "--version":
        print(parts_jax.__version__)
        return
    if word not in COMMANDS:
        near = difflib.get_close_matches(word, COMMANDS, n=1)
        hint = f" The nearest is {near[0]!r}." if near else ""
        print(f"Error: {word!r} is no command of parts-jax; there is: {', '.join(COMMANDS)}.{hint}",
              file=sys.stderr)
        sys.exit(2)
    module, flags = COMMANDS[word]
    sys.argv = [f"parts-jax {word}", *flags, *arguments]
    runpy.run_module(module, run_name="__main__", alter_sys=False)


if __name__ == "__main__":
    main()
