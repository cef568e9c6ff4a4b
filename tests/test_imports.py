"""Imports go downward only, files stay short enough to read in one go, and no data is executed."""

import ast
import pathlib

import pytest

from parts_jax import models

ROOT = pathlib.Path(__file__).parent.parent
PACKAGE = ROOT / "parts_jax"
FILES = sorted(PACKAGE.rglob("*.py"))
ALL_FILES = [file for folder in ("parts_jax", "configs", "benchmarks")
             for file in sorted((ROOT / folder).rglob("*.py"))]
MOST_LINES = 350

# Modules that execute what a file says when they read it.
EXECUTING = {"pickle", "cPickle", "_pickle", "pickletools", "cloudpickle", "dill", "jsonpickle",
             "marshal", "shelve", "joblib"}

# What each room (a folder of parts_jax) and each door (a file) may import from the others.
ALLOWED = {
    # The papers: equations without parameters, networks, families of models.
    "equations": set(),
    "networks": {"equations"},
    "models": {"equations", "networks"},
    # Beside them, and without them: numbers, pictures, files, worlds, data, devices.
    "metrics": set(),
    "pictures": set(),
    "files": set(),
    "simulate": set(),
    "data": {"files", "simulate"},
    "devices": set(),
    # What a run keeps, and what training needs beside the model.
    "runs": {"files", "metrics", "models", "pictures"},
    "training": {"metrics"},
    # A model at work.
    "api": {"data", "equations", "files", "models", "pictures", "runs"},
    "evaluation": {"api", "data", "devices", "metrics", "models", "pictures", "runs"},
    "report": {"api", "data", "files", "metrics", "models", "pictures", "runs"},
    # The doors.
    "segment": {"api", "files"},
    "evaluate": {"devices", "evaluation", "models", "runs"},
    "train": {"api", "data", "devices", "equations", "evaluation", "metrics", "models", "runs",
              "training"},
    "main": {"data", "devices", "evaluate", "files", "models", "report", "runs", "train",
             "training"},
    "__init__": {"api"},
    "__main__": set(),
}
DOORS = {"__init__.py", "__main__.py", "evaluate.py", "main.py", "segment.py", "train.py"}
# What a family may import of its own room: the contract, and what else is shared by all.
SHARED_BY_FAMILIES = {"contract", "restarts", "rules", "schedules", "signs"}


def room_of(file: pathlib.Path) -> str:
    return file.relative_to(PACKAGE).parts[0].removesuffix(".py")


def imported_modules(source: str) -> set[str]:
    """What a source imports, also inside functions; of `from a import b`, both a and a.b."""
    names = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "relative imports are not used here"
            names |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
    return names


def imported_rooms(source: str) -> set[str]:
    """The rooms of parts_jax that a source imports."""
    return {name.split(".")[1] for name in imported_modules(source)
            if name.startswith("parts_jax.")}


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


def test_only_the_doors_stand_in_the_root():
    assert {file.name for file in PACKAGE.glob("*.py")} == DOORS


def families() -> list[pathlib.Path]:
    """The files of the families: all in models/ but what they share."""
    folder = PACKAGE / "models"
    return [file for file in sorted(folder.rglob("*.py"))
            if file.relative_to(folder).parts[0].removesuffix(".py")
            not in {"__init__", *SHARED_BY_FAMILIES}]


@pytest.mark.parametrize("file", families(), ids=lambda file: str(file.relative_to(PACKAGE)))
def test_families_import_neither_each_other_nor_who_uses_them(file):
    own = file.relative_to(PACKAGE / "models").parts[0].removesuffix(".py")
    modules = imported_modules(file.read_text())
    allowed = {f"parts_jax.models.{name}" for name in (*SHARED_BY_FAMILIES, own)}
    for name in modules:
        if name.startswith("parts_jax.models."):
            assert ".".join(name.split(".")[:3]) in allowed, f"{file} imports {name}"


def test_what_families_share_knows_no_family():
    for name in SHARED_BY_FAMILIES:
        found = imported_modules((PACKAGE / "models" / f"{name}.py").read_text())
        families_named = {module for module in found if module.startswith("parts_jax.models.")
                          and module.split(".")[2] not in SHARED_BY_FAMILIES}
        assert not families_named


NAMES_OF_FAMILIES = {name for family in models.FAMILIES for name in (family, family.upper())}


def named_families(source: str) -> list[str]:
    """Where code, not docstrings nor comments, names a family: `models.parts`, "parts", PARTS."""
    found = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.ImportFrom):
            found += [node.module for part in node.module.split(".")[1:]
                      if part in NAMES_OF_FAMILIES]
            found += [alias.name for alias in node.names if alias.name in NAMES_OF_FAMILIES]
        elif isinstance(node, ast.Attribute) and node.attr in NAMES_OF_FAMILIES and isinstance(
                node.value, ast.Name) and node.value.id == "models":
            found.append(ast.unparse(node))
        elif isinstance(node, ast.Compare) and any(
                isinstance(side, ast.Constant) and side.value in NAMES_OF_FAMILIES
                for side in (node.left, *node.comparators)):
            found.append(ast.unparse(node))
    return found


@pytest.mark.parametrize("source, found", [
    ("from parts_jax.models import parts", ["parts"]),
    ("from parts_jax.models.parts import family", ["parts_jax.models.parts"]),
    ("if config.model.name == 'parts': pass", ["config.model.name == 'parts'"]),
    ("models.parts.create(config)", ["models.parts"]),
    ("parts = [1]\nfor p in parts: pass  # parts of PARTS", []),
])
def test_names_of_families_are_found(source, found):
    assert named_families(source) == found


@pytest.mark.parametrize("file", [file for file in FILES if room_of(file) != "models"],
                         ids=lambda file: str(file.relative_to(PACKAGE)))
def test_nothing_but_the_models_names_a_family(file):
    assert not named_families(file.read_text())


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
