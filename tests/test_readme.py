"""README and docs/use.md: what they tell a user to type exists, and what is cheap is run."""

import importlib.util
import os
import pathlib
import re
import shlex

import numpy as np
import pytest
import yaml

import parts_jax
from parts_jax.runs import configuration

ROOT = pathlib.Path(__file__).parent.parent
PAGES = ("README.md", "CONTRIBUTING.md", "docs/use.md", "docs/paper.md", "docs/metrics.md",
         "docs/iodine.md", "docs/grid_lstm.md", "docs/space.md", "docs/families.md",
         "docs/results.md", "docs/performance.md", "docs/scaling.md", "docs/data.md",
         "docs/segment.md", "docs/reliability.md", "pretrained/demo/README.md")
MODULE = re.compile(r"-m (parts_jax\S*|benchmarks\S*|docs\S*)")
# What is not there yet, in a fresh clone, but is made by a command of the same page or by the user.
MADE = re.compile(r"runs/|clip\.mp4|out\.mp4|FILE|DIR|FOLDER")


def commands() -> list[tuple[str, str]]:
    """(Page, command): lines of shell blocks, of indented blocks, and code in tables."""
    found = []
    for page in PAGES:
        text = re.sub(r" *\\\n *", " ", (ROOT / page).read_text(encoding="utf-8"))
        lines = [line for block in re.findall(r"```bash\n(.*?)```", text, re.DOTALL)
                 for line in block.splitlines()]
        lines += re.findall(r"^    (\S.*)$", text, re.MULTILINE)
        lines += re.findall(r"`([^`\n]+)`", text)
        found += [(page, line.split(" #")[0].strip()) for line in lines
                  if re.match(r"\s*(\w+=\S+ )*(\./launch/|\.venv/|python -m)", line)]
    return list(dict.fromkeys(found))


COMMANDS = commands()


def test_there_are_commands():
    assert sum(page == "README.md" for page, _ in COMMANDS) >= 10 and len(COMMANDS) >= 20


def source_of(module: str) -> str:
    """Of a module, and of those beside it that it imports, which may define its flags."""
    spec = importlib.util.find_spec(module)
    if spec.submodule_search_locations:
        spec = importlib.util.find_spec(f"{module}.__main__")
    source = pathlib.Path(spec.origin).read_text(encoding="utf-8")
    beside = re.findall(r"^from benchmarks import (.*)$", source, re.MULTILINE)
    return source + "".join(source_of(f"benchmarks.{name.strip()}")
                            for names in beside for name in names.split(","))


@pytest.mark.parametrize("page, command", COMMANDS)
def test_a_command_is_of_files_modules_flags_and_keys_that_there_are(page, command):
    words = shlex.split(command.replace("[", "").replace("]", ""))
    while re.match(r"\w+=|taskset|-c$|\d$", words[0]):
        words.pop(0)
    program, *words = words
    if program == ".venv/bin/python":
        assert words.pop(0) == "-m"
        module = words.pop(0)
    else:
        assert program.startswith("./launch/"), f"{command!r}: python is that of .venv, see README"
        assert os.access(ROOT / program, os.X_OK)
        module = "parts_jax.main" if program.endswith("local.sh") else None
    flags = [word for word in words if word.startswith("--")]
    if module is None:
        assert not flags
        return
    source, values = source_of(module), dict(flag[2:].partition("=")[::2] for flag in flags)
    file = values.get("config", "FILE")
    config = configuration.read("configs/parts_clevrer.py:demo" if MADE.match(file) else file)
    for name, value in values.items():
        if name.startswith("config.") and name != "config.path.to.key":
            configuration.check_key(config, name.removeprefix("config."))
        elif not name.startswith("config."):
            assert re.search(rf'"(--)?{name}"', source), f"{module} has no flag --{name}"
        if name == "workdir" and not MADE.match(value):
            assert (ROOT / value / configuration.FILE_NAME).is_file()


@pytest.mark.parametrize("page", PAGES)
def test_links_lead_somewhere(page):
    text = (ROOT / page).read_text(encoding="utf-8")
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        if not target.startswith("http"):
            path, _, anchor = target.partition("#")
            there = (ROOT / page).parent / path if path else ROOT / page
            assert there.exists(), target
            titles = re.findall(r"^#+ (.*)$", there.read_text(encoding="utf-8"), re.MULTILINE) \
                if anchor else []
            slugs = [re.sub(r"[^\w -]", "", title.lower()).replace(" ", "-") for title in titles]
            assert not anchor or anchor in slugs, target


def test_files_that_the_map_names_are_there():
    text = (ROOT / "docs" / "paper.md").read_text(encoding="utf-8").split("## Where")[0]
    named = re.findall(r"`([\w/]+\.py)", text)
    assert len(named) > 8
    for name in named:
        assert list((ROOT / "parts_jax").rglob(name)), name


def test_the_snippets_run_as_written(monkeypatch):
    """That of README is the beginning of that of docs/use.md, which is run."""
    monkeypatch.chdir(ROOT)
    first, = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)
    all_of_it, = re.findall(r"```python\n(.*?)```", (ROOT / "docs" / "use.md").read_text(),
                            re.DOTALL)

    def code(text):
        lines = [line.split("  #")[0].strip() for line in text.splitlines()]
        return [line for line in lines if line]

    assert set(code(first)) <= set(code(all_of_it))
    names = {}
    exec(compile(all_of_it, "docs/use.md", "exec"), names)
    assert names["result"].masks.shape == (6, 4, 32, 32)
    assert names["future"].recon.shape == (4, 32, 32, 3)
    assert np.isfinite(names["pictures"].recon).all()


def test_readme_is_short_and_says_how_tests_are_run():
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    assert len(text.splitlines()) <= 120
    called = (ROOT / ".ci" / "run").read_text().splitlines()[-1]
    assert called in text and f"`{called}` runs the tests" in text


def test_the_citation_is_of_this_version():
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    assert {"cff-version", "message", "title", "authors"} <= citation.keys()
    assert citation["version"] == parts_jax.__version__
    assert citation["license"] == "Apache-2.0"
