"""Mutations of JSON: keys, values of other kinds, nesting, numbers that no file should hold."""

import copy
import json
from typing import Any

import numpy as np

from benchmarks.fuzz import damage
from benchmarks.fuzz.damage import Mutation

VALUES = (None, True, False, 0, 1, -1, 2, 255, 256, 300, 10 ** 9, -10 ** 9, 2 ** 31, 2 ** 63,
          2 ** 64, 10 ** 30, 10 ** 400, 0.5, -0.0, 1e300, -1e300, 1e-300, float("nan"),
          float("inf"),
          -float("inf"), "", " ", "0", "1", "false", "nan", "a" * 10000, "\0", "\ud800", "../../x",
          "/etc/hostname", "{x}", "{0.__class__}", "%s", [], {}, [[]], [0], [None], ["x"], {"x": 1},
          [1e300] * 3, list(range(1000)))
DEEP = 100_000  # levels, past what Python's parser takes


def nodes(tree: Any, path: tuple = ()) -> list[tuple]:
    """The paths of all values below the root of a JSON tree."""
    items = tree.items() if isinstance(tree, dict) else enumerate(tree) if isinstance(
        tree, list) else ()
    found = []
    for key, value in items:
        found += [(*path, key), *nodes(value, (*path, key))]
    return found


def json_value(content: bytes, rng: np.random.Generator) -> Mutation:
    """One value, key or item of a JSON text is changed."""
    tree = copy.deepcopy(json.loads(content))
    paths = nodes(tree)
    if not paths or rng.integers(30) == 0:
        return Mutation(_dumped(VALUES[rng.integers(len(VALUES))]), "JSON root", sealed=True)
    *above, key = paths[rng.integers(len(paths))]
    parent = tree
    for step in above:
        parent = parent[step]
    what = _change(parent, key, rng)
    return Mutation(_dumped(tree), f"JSON {what}", sealed=True)


def _change(parent: Any, key: Any, rng: np.random.Generator) -> str:
    """Changes an entry of a dict or a list in place, and says how."""
    kind = rng.integers(8)
    if kind == 0:
        del parent[key]
        return "item out"
    if kind == 1 and isinstance(parent, dict):
        parent[f"{key}_"] = parent.pop(key)
        return "key renamed"
    if kind == 1:
        parent.insert(key, copy.deepcopy(parent[key]))
        return "item twice"
    if kind == 2 and isinstance(parent[key], (int, float)):
        parent[key] = parent[key] * (-1, 2, 1000, 1e300, 0.5)[rng.integers(5)]
        return "number scaled"
    if kind == 3 and isinstance(parent, list):
        parent.reverse()
        return "list reversed"
    if kind == 4 and isinstance(parent[key], str):
        text = parent[key]
        at = int(rng.integers(len(text) + 1))
        parent[key] = (text[:at], text[:at] + chr(int(rng.integers(32, 127))) + text[at + 1:],
                       text * 2, text[at:])[rng.integers(4)]
        return "text changed"
    parent[key] = VALUES[rng.integers(len(VALUES))]
    return "value"


def json_text(content: bytes, rng: np.random.Generator) -> Mutation:
    """What a parser may stumble over: depth, bytes that are no UTF-8, keys twice, long numbers."""
    at = damage.spot(rng, len(content))
    kind = rng.integers(7)
    before, after = content[:at], content[at:]
    made = (lambda: before + b"[" * DEEP + after, lambda: b'{"a":' * DEEP + b"1" + b"}" * DEEP,
            lambda: before + b"\xff" + after, lambda: b"\xef\xbb\xbf" + content,
            lambda: before + b"9" * 5000 + after, lambda: content.decode().encode("utf-16"),
            lambda: b"[" * DEEP + b"]" * DEEP)[kind]()
    return Mutation(made, ("deep", "deep", "no UTF-8", "BOM", "long number", "UTF-16",
                           "deep")[kind], sealed=True)


def json_line(content: bytes, rng: np.random.Generator) -> Mutation:
    """One line of a file of JSON lines is changed as JSON."""
    lines = content.splitlines()
    at = int(rng.integers(len(lines)))
    changed = (json_text, *(json_value,) * 3)[rng.integers(4)](lines[at], rng)
    lines[at] = changed.content
    return changed._replace(content=b"\n".join(lines) + b"\n" * int(rng.integers(2)))


def _dumped(tree: Any) -> bytes:
    return json.dumps(tree).encode()


def run_lengths(content: bytes, rng: np.random.Generator) -> Mutation:
    """The counts or the size of one mask of CLEVRER's proposals."""
    tree = json.loads(content)
    frames = [frame for frame in tree["frames"] if frame["objects"]]
    objects = frames[rng.integers(len(frames))]["objects"]
    mask = objects[rng.integers(len(objects))]["mask"]
    counts, size = mask["counts"], mask["size"]
    at = int(rng.integers(len(counts)))
    kind = rng.integers(4)
    if kind == 0:
        mask["size"] = [[0, 0], size[::-1], [size[0] * 2, size[1]], [2 ** 31, 2 ** 31], [-1, -1],
                        [2 ** 63, 1], [1.5, 2], size[:1], [*size, 1], "xx"][rng.integers(10)]
        return Mutation(_dumped(tree), "RLE size", sealed=True)
    ints = rng.integers(0, 2 ** (4, 12, 31, 62)[rng.integers(4)], int(rng.integers(9))).tolist()
    mask["counts"] = ("", counts[:at], counts[at:], counts * 2, ints, "o" * 50, "0", "oooooo7",
                      counts[:at] + chr(int(rng.integers(1, 255))) + counts[at + 1:], [-5, 10],
                      "\u20ac", counts[:at] + chr(int(rng.integers(48, 112))) + counts[at + 1:])[
                          rng.integers(12)]
    return Mutation(_dumped(tree), "RLE counts", sealed=True)
