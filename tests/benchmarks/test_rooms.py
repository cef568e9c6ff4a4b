"""benchmarks/rooms.py on trees made here, and on this one."""

import pathlib

import pytest

from benchmarks import rooms

ROOT = pathlib.Path(__file__).parents[2]


@pytest.fixture
def tree(tmp_path) -> pathlib.Path:
    package = tmp_path / "parts_jax"
    (package / "models").mkdir(parents=True)
    (package / "a.py").write_text(
        "from parts_jax import b\n\n"
        "def f(self, x, *, y):\n    z = x\n    return config.model.beta\n")
    (package / "b.py").write_text("def g():\n    from parts_jax.c import d\n")
    (package / "c.py").write_text("import parts_jax.a\nname = config.model.name\n")
    (package / "models" / "parts.py").write_text("config.model.beta\n")
    return tmp_path


def test_a_small_tree_by_hand(tree):
    assert rooms.measure(tree) == {"root": 3, "rooms": 4, "circles": 1, "function": 3, "file": 5,
                                   "parameters": 2, "names": 1}
    assert rooms.circles({"a": {"b"}, "b": {"c"}, "c": set(), "d": {"a"}}) == []
    assert rooms.circles({"a": {"b"}, "b": {"a"}, "c": {"a"}}) == [{"a", "b"}]


def test_this_tree_has_no_circle_and_names_families_in_models_alone():
    found = rooms.measure(ROOT)
    assert found["circles"] == 0 and found["root"] == 6
    assert found["names"] == 2  # metrics/table.py knows a metric's former name


def test_what_is_no_checkout_is_refused(tmp_path):
    with pytest.raises(FileNotFoundError, match="is no checkout: it has no folder parts_jax"):
        rooms.measure(tmp_path)
