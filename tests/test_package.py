"""The wheel has all that its users need, and its command finds every door."""

import json
import os
import pathlib
import re
import runpy
import shutil
import subprocess
import sys
import zipfile

import pytest

import parts_jax
from benchmarks import zoo
from parts_jax import __main__ as command
from parts_jax.evaluation import writing
from parts_jax.runs import checkpoint, command_line, configuration, shipped

ROOT = pathlib.Path(__file__).parent.parent


@pytest.fixture(scope="module")
def wheel(tmp_path_factory) -> pathlib.Path:
    """Built without a network, from a copy: setuptools leaves its own files where it builds."""
    source, out = tmp_path_factory.mktemp("source"), tmp_path_factory.mktemp("wheel")
    for name in ("parts_jax", "configs", "pretrained"):
        shutil.copytree(ROOT / name, source / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("setup.py", "pyproject.toml", "MANIFEST.in", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source)
    subprocess.run([sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-index",
                    "--no-build-isolation", f"--wheel-dir={out}", "."], cwd=source, check=True)
    [path] = out.glob("*.whl")
    return path


def test_the_wheel_has_configs_trained_models_types_and_the_command(wheel):
    assert wheel.name.startswith(f"parts_jax-{parts_jax.__version__}-py3-none-any")
    with zipfile.ZipFile(wheel) as archive:
        members = set(archive.namelist())
        entry, = (name for name in members if name.endswith("entry_points.txt"))
        assert "parts-jax = parts_jax.__main__:main" in archive.read(entry).decode()
    for folder in ("parts_jax", "configs", "pretrained"):
        inside = "" if folder == "parts_jax" else "parts_jax/"
        for path in (ROOT / folder).rglob("*"):
            skipped = {"__pycache__", "report"} if folder == "pretrained" else {"__pycache__"}
            if path.is_file() and not skipped & set(path.parts):
                assert f"{inside}{path.relative_to(ROOT)}" in members
    assert "parts_jax/py.typed" in members


def test_an_installed_wheel_loads_a_trained_model_and_a_config_by_name(wheel, tmp_path):
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(tmp_path / "site")
    code = ("import parts_jax; from parts_jax.runs import configuration, shipped\n"
            "print(parts_jax.__file__); print(parts_jax.load('pretrained/demo'))\n"
            "print(configuration.read(shipped.find_config('parts_clevrer:tiny')).data.name)")
    result = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, text=True, check=True,
                            capture_output=True,
                            env=os.environ | {"PYTHONPATH": str(tmp_path / "site")})
    assert result.stdout.splitlines() == [
        str(tmp_path / "site" / "parts_jax" / "__init__.py"),
        "PretrainedModel(parts of sim_clevrer/demo, step 4500, 32x32, 4 slots, actions of size 0)",
        "sim_clevrer/tiny"]


def test_a_folder_comes_before_a_trained_model_of_its_name(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("demo", "pretrained/demo", "pretrained/demo/", pathlib.Path("pretrained/demo")):
        assert shipped.find_model(name) == ROOT / "pretrained" / "demo"
        assert shipped.named_model(name) == str(ROOT / "pretrained" / "demo")
    assert shipped.find_model("runs/demo") == tmp_path / "runs" / "demo"
    assert shipped.named_model("runs/demo") == "runs/demo"
    (tmp_path / "demo").mkdir()
    assert shipped.find_model("demo") == tmp_path / "demo"
    assert shipped.named_model("demo") == "demo" and not shipped.is_shipped("demo")
    assert shipped.results_folder("demo") == pathlib.Path("demo")
    with pytest.raises(FileNotFoundError, match="no folder '.*/dmo' to load .* there is: .*demo.*, "
                                                "of which the nearest is 'demo'."):
        parts_jax.load("dmo")
    with pytest.raises(ValueError, match="'gs://bucket/run', an address"):
        parts_jax.load("gs://bucket/run")


@pytest.mark.parametrize("name", shipped.trained_models())
def test_every_trained_model_is_small_and_whole(name):
    """Config, one checkpoint, an evaluation of it, and a card that a person has finished."""
    folder = ROOT / "pretrained" / name
    config = configuration.load(str(folder))
    step, = checkpoint.complete_steps(folder / checkpoint.FOLDER)
    evaluation = folder / "evaluation" / f"{writing.name_of(config, 'test')}-{step}.json"
    assert json.loads(evaluation.read_text())["num_sequences"] >= 128
    card = (folder / "README.md").read_text()
    assert card.startswith(f"# {name}: ") and zoo.TO_WRITE not in card
    assert shipped.card_line(name)
    files = [path for path in folder.rglob("*") if "report" not in path.parts and path.is_file()]
    assert sum(path.stat().st_size for path in files) <= zoo.MOST_BYTES


def test_the_list_shows_trained_models_with_a_line_of_their_cards():
    text = command_line.list_text(["sim_clevrer/demo"])
    assert "\n  demo                PARTS of sim_clevrer/demo, 32x32, 4 slots\n" in text
    assert "--workdir=NAME of what reads a run" in text


def test_a_config_of_ones_own_comes_before_one_of_the_package(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    inside = f"{ROOT}/configs/parts_clevrer.py:tiny"
    for name in ("parts_clevrer", "parts_clevrer.py", "configs/parts_clevrer.py"):
        assert shipped.find_config(f"{name}:tiny") == inside
    (tmp_path / "configs").mkdir()
    (tmp_path / "configs" / "parts_clevrer.py").write_text("")
    assert shipped.find_config("configs/parts_clevrer.py") == "configs/parts_clevrer.py"


@pytest.mark.parametrize("word, module, argv", [
    ("train", "parts_jax.main", ["--mode=train", "--x=1"]),
    ("evaluate", "parts_jax.main", ["--mode=evaluate", "--x=1"]),
    ("segment", "parts_jax.segment", ["--x=1"]), ("report", "parts_jax.report", ["--x=1"]),
    ("list", "parts_jax.main", ["--list", "--x=1"])])
def test_each_word_of_the_command_opens_its_door(monkeypatch, word, module, argv):
    called = []
    monkeypatch.setattr(sys, "argv", ["parts-jax", word, "--x=1"])
    monkeypatch.setattr(runpy, "run_module", lambda name, **options: called.append(name))
    command.main()
    assert called == [module] and sys.argv == [f"parts-jax {word}", *argv]


def test_the_command_names_its_words_and_its_version(monkeypatch, capsys):
    for argument, said in ((None, "parts-jax train"), ("--help", "parts-jax segment"),
                           ("--version", parts_jax.__version__)):
        monkeypatch.setattr(sys, "argv", ["parts-jax", *([argument] if argument else [])])
        command.main()
        assert said in capsys.readouterr().out
    monkeypatch.setattr(sys, "argv", ["parts-jax", "trian"])
    with pytest.raises(SystemExit) as exit:
        command.main()
    assert exit.value.code == 2
    assert capsys.readouterr().err == (
        "Error: 'trian' is no command of parts-jax; there is: train, evaluate, segment, report, "
        "list. The nearest is 'train'.\n")


def test_the_version_is_said_once():
    assert re.fullmatch(r"\d+\.\d+\.\d+", parts_jax.__version__)
    assert parts_jax.__version__ not in (ROOT / "setup.py").read_text()
    assert set(parts_jax.__all__) == set(parts_jax.HOME)
