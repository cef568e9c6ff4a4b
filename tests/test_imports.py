"""Imports go downward only, files stay short enough to read in one go, and no data is executed."""

import ast
import pathlib

import pytest

ROOT = pathlib.Path(__file__).parent.parent
PACKAGE = ROOT / "parts_jax"
FILES = sorted(PACKAGE.rglob("*.py"))
ALL_FILES = [file for folder in ("parts_jax", "configs", "benchmarks")
             for file in sorted((ROOT / folder).rglob("*.py"))]
MOST_LINES = 350

# Modules that execute what a file says when they read it.
EXECUTING = {"pickle", "cPickle", "_pickle", "pickletools", "cloudpickle", "dill", "jsonpickle",
             "marshal", "shelve", "joblib"}

# What each room (a file or a folder of parts_jax) may import from the others.
EQUATIONS = {"equations"}
MODEL = EQUATIONS | {"networks"}
BESIDE = {"checkpoint", "configuration", "data", "metric_writer", "optimizer", "progress",
          "score_split", "sharding", "pictures", "metrics"}
ALLOWED = {
    "equations": set(),
    "metrics": EQUATIONS,
    "networks": EQUATIONS,
    "models": MODEL,
    # Data and machinery, beside: no equations, no networks, no models.
    "simulate": set(),
    "data": {"equations", "simulate", "files"},
    "files": set(),
    "run_lock": {"files"},
    "best_checkpoint": {"files"},
    "configuration": {"files", "metrics"},
    "config_rules": {"configuration", "best_checkpoint", "models"},
    "distributed": set(),
    "checkpoint_record": {"configuration"},
    "checkpoint": {"equations", "best_checkpoint", "checkpoint_record"},
    "checkpoint_fallback": {"checkpoint"},
    "pictures": set(),
    "metric_writer": {"files", "pictures"},
    "optimizer": EQUATIONS,
    "sharding": EQUATIONS,
    "progress": {"equations", "metric_writer"},
    "results": {"equations", "pictures"},
    "score_split": {"data", "sharding"},
    # On top.
    "evaluate_rollout": MODEL | BESIDE | {"models"},
    "evaluate": MODEL | BESIDE | {"models", "evaluate_rollout"},
    "train": MODEL | BESIDE | {"models", "evaluate", "best_checkpoint", "checkpoint_fallback",
                               "distributed"},
    "main": {"config_rules", "configuration", "checkpoint", "checkpoint_record", "data",
             "distributed", "run_lock", "sharding", "models", "optimizer", "evaluate", "train",
             "report"},
    "pretrained_model": MODEL | BESIDE | {"models", "results"},
    "segment": {"pretrained_model", "results", "data"},
    "report": {"configuration", "data", "files", "metrics", "pictures", "pretrained_model",
               "results"},
    "__init__": {"pretrained_model", "results"},
}


def room_of(file: pathlib.Path) -> str:
    return file.relative_to(PACKAGE).parts[0].removesuffix(".py")


def imported_rooms(source: str) -> set[str]:
    """The rooms of parts_jax that a source imports, also inside functions."""
    rooms = set()
    for node in ast.walk(ast.parse(source)):
        names = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "relative imports are not used here"
            names = [f"{node.module}.{alias.name}" for alias in node.names]
        rooms |= {name.split(".")[1] for name in names if name.startswith("parts_jax.")}
    return rooms


def test_imports_are_found_wherever_they_stand():
    source = "import parts_jax.data\nfrom parts_jax import models as m, types\n" \
        "def f():\n    from parts_jax.networks.layers import mlp\nimport jax\n"
    assert imported_rooms(source) == {"data", "models", "types", "networks"}


@pytest.mark.parametrize("file", FILES, ids=lambda file: str(file.relative_to(PACKAGE)))
def test_imports_go_downward_only(file):
    room = room_of(file)
    assert room in ALLOWED, f"{room} is a new room: say in this test what it may import"
    upward = imported_rooms(file.read_text()) - ALLOWED[room] - {room}
    assert not upward, f"{file.relative_to(PACKAGE)} may not import {sorted(upward)}"


def test_equations_know_no_networks():
    assert not ALLOWED["equations"]


def test_the_plan_itself_has_no_circle():
    order, left = [], dict(ALLOWED)
    while left:
        ready = [room for room, below in left.items() if below <= set(order)]
        assert ready, f"a circle among {sorted(left)}"
        order += ready
        for room in ready:
            del left[room]


@pytest.mark.parametrize("file", FILES, ids=lambda file: str(file.relative_to(PACKAGE)))
def test_files_are_short_and_explained(file):
    source = file.read_text()
    assert len(source.splitlines()) <= MOST_LINES
    assert not source.strip() or ast.get_docstring(ast.parse(source)), "no docstring at the top"


def executed_data(source: str) -> list[str]:
    """Where a source could execute what it reads: imports of EXECUTING, and numpy's pickles."""
    found = []
    for node in ast.walk(ast.parse(source)):
        modules = []
        if isinstance(node, ast.Import):
            modules = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            modules = [node.module, *(alias.name for alias in node.names)]
        elif isinstance(node, ast.Call):
            called = ast.unparse(node.func)
            if called in ("eval", "exec", "pd.read_pickle", "pandas.read_pickle"):
                found.append(called)
            if called in ("importlib.import_module", "import_module", "__import__"):
                modules = [item.value for item in node.args if isinstance(item, ast.Constant)]
            if called in ("np.load", "numpy.load") and len(node.args) > 2:
                found.append("allow_pickle")
            found += [word.arg for word in node.keywords if word.arg == "allow_pickle"
                      and not (isinstance(word.value, ast.Constant) and word.value.value is False)]
        found += [name for name in modules if name.split(".")[0] in EXECUTING]
    return found


@pytest.mark.parametrize("source, found", [
    ("import json, pickle", ["pickle"]),
    ("def f():\n    from cloudpickle import loads", ["cloudpickle"]),
    ("import joblib.numpy_pickle as n", ["joblib.numpy_pickle"]),
    ("from multiprocessing.reduction import pickle", ["pickle"]),
    ("importlib.import_module('dill')", ["dill"]),
    ("np.load(path, allow_pickle=True)", ["allow_pickle"]),
    ("numpy.load(path, allow_pickle=flag)", ["allow_pickle"]),
    ("np.load(path, None, True)", ["allow_pickle"]),
    ("functools.partial(np.load, allow_pickle=1)", ["allow_pickle"]),
    ("eval(text)", ["eval"]),
    ("np.load(path, allow_pickle=False)\nnp.load(path)\nmodel.eval(text)\nimport json", []),
])
def test_what_executes_data_is_found(source, found):
    assert executed_data(source) == found


@pytest.mark.parametrize("file", ALL_FILES, ids=lambda file: str(file.relative_to(ROOT)))
def test_no_data_is_executed(file):
    found = executed_data(file.read_text())
    assert not found, f"{file.relative_to(ROOT)} may execute what it reads: {found}"
