"""A bit that is flipped in any file of a checkpoint has no effect, or a known one."""

import pathlib

import pytest

from benchmarks import bit_flips
from parts_jax.runs import checkpoint


@pytest.fixture(scope="module")
def cases(tmp_path_factory):
    return bit_flips.run_flips(tmp_path_factory.mktemp("flips"), 16, seed=5)


def test_no_flip_is_silent_or_refused_for_a_wrong_reason(cases):
    assert bit_flips.faults(cases) == []
    assert {case["run"] for case in cases} == {"before", "harmless"}
    assert len({case["kind"] for case in cases}) > 6


def test_what_is_said_names_the_checkpoint_and_no_other_workdir(cases):
    for case in cases:
        said = " ".join(case["said"].values())
        assert "workdir" not in said and "Install" not in said
        assert ("The checkpoint of step 2 in" in case["said"]["run"]) == (case["run"] == "before")


def test_what_may_not_be_is_found(tmp_path, monkeypatch):
    """With the checks away, other arrays and places are silent."""
    saved = bit_flips.save(tmp_path)
    monkeypatch.setattr(bit_flips.checkpoint.checkpoint_record, "check_place", lambda *args: None)
    place = next((tmp_path / checkpoint.FOLDER / "2" / "iterator").glob("process_0*"))
    bit_flips.flip(place, 8 * place.read_text().index("2"))
    assert bit_flips.of_run(tmp_path, saved)[0] == "silent"
    assert bit_flips.of_model(tmp_path, saved)[0] == "harmless"
    other = {step: (bit_flips.make_state(9), where) for step, (_, where) in saved.items()}
    assert bit_flips.of_model(tmp_path, other)[0] == "silent"


def test_files_are_named_without_what_is_drawn_at_random():
    assert bit_flips.kind_of(pathlib.PurePath("state/d/0a1b")) == "state/d/*"
    assert bit_flips.kind_of(pathlib.PurePath("record/metadata")) == "record/metadata"
