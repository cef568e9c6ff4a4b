"""How the package is built, as one line a tree: rooms, circles, longest functions, leaking names.

    git worktree add /tmp/before REVISION
    python -m benchmarks.rooms /tmp/before .

Reads source as text and imports none of it, so that any revision can be measured. Columns:

- root: files in the root of parts_jax, and rooms: those and the folders beside them;
- circles: sets of rooms that import each other;
- lines of the longest function and of the longest file; parameters of the longest list;
- names: where code outside models/ and configs/ names a family, or a key of its config. Old names
  that are kept for old files count, too.
"""

import ast
import pathlib
import re
import sys
from collections.abc import Sequence
from typing import Any

PACKAGE = "parts_jax"
# A family by name, what belonged to one before families had a contract, and keys of its config
# (but the name and the dtype, which every family may have).
NAMES = re.compile(
    r"\bmodels\.parts\b|from parts_jax\.models import [^\n]*\bparts\b|"
    r"\bparts\.(?:create|make_noise|example_keys|previous_actions|time_first|batch_first|PARTS|"
    r"Function)\b|\bc(?:onfig)?\.model\.(?!name\b|get\b|dtype\b)\w+|"
    r"\bnegative_elbo\b|\.(?:log_std_offset|initial_state)\b|\brollout\.\w+\(model")
COLUMNS = ("root", "rooms", "circles", "function", "file", "parameters", "names")


def measure(root: str | pathlib.Path) -> dict[str, int]:
    """The numbers of one tree, by `COLUMNS`.

    Args:
      root: of a checkout, which has a folder parts_jax.

    Raises:
      FileNotFoundError: it has none.
    """
    package = pathlib.Path(root) / PACKAGE
    if not package.is_dir():
        raise FileNotFoundError(f"{str(root)!r} is no checkout: it has no folder {PACKAGE}.")
    imports, sizes, names = {}, {"function": 0, "file": 0, "parameters": 0}, 0
    for file in sorted(package.rglob("*.py")):
        source, relative = file.read_text(encoding="utf-8"), file.relative_to(package)
        room, tree = room_of(relative), ast.parse(source)
        imports.setdefault(room, set()).update(imported_rooms(tree) - {room})
        sizes["file"] = max(sizes["file"], len(source.splitlines()))
        for node in ast.walk(tree):
            if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
                sizes["function"] = max(sizes["function"], node.end_lineno - node.lineno + 1)
                sizes["parameters"] = max(sizes["parameters"], number_of_parameters(node.args))
        names += 0 if room == "models" else len(NAMES.findall(source))
    return {"root": len(list(package.glob("*.py"))), "rooms": len(imports),
            "circles": len(circles(imports)), **sizes, "names": names}


def room_of(relative: pathlib.Path) -> str:
    """The first part of a path below the package."""
    return relative.parts[0].removesuffix(".py")


def imported_rooms(tree: ast.AST) -> set[str]:
    """The rooms that a source imports, also inside functions."""
    names = [alias.name for node in ast.walk(tree) if isinstance(node, ast.Import)
             for alias in node.names]
    names += [f"{node.module}.{alias.name}" for node in ast.walk(tree)
              if isinstance(node, ast.ImportFrom) for alias in node.names]
    return {name.split(".")[1] for name in names if name.startswith(f"{PACKAGE}.")}


def number_of_parameters(arguments: ast.arguments) -> int:
    """How many parameters a function has, `self` left out."""
    every = [*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs]
    return len([argument for argument in every if argument.arg not in ("self", "cls")])


def circles(imports: dict[str, set[str]]) -> list[set[str]]:
    """Sets of two rooms or more, each of which can be reached from each other one."""
    reached = {room: {room} for room in imports}
    for _ in imports:
        for room, below in imports.items():
            reached[room] |= set().union(*(reached.get(other, {other}) for other in below))
    found = {frozenset(other for other in reached[room] if room in reached.get(other, ()))
             for room in imports}
    return [set(group) for group in found if len(group) > 1]


def as_table(rows: dict[str, dict[str, Any]]) -> str:
    """A Markdown table, a row a tree."""
    lines = [("tree", *COLUMNS), ("---", *["---:"] * len(COLUMNS))]
    lines += [(name, *(str(row[column]) for column in COLUMNS)) for name, row in rows.items()]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def main(arguments: Sequence[str]) -> None:
    """Prints the table of the trees that are named; of this one if none is."""
    print(as_table({root: measure(root) for root in arguments or ["."]}))


if __name__ == "__main__":
    main(sys.argv[1:])
