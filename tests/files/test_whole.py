"""Whole files: the old or the new one, and nothing beside it."""

import os
import socket

import pytest

from parts_jax.files import whole


def test_bytes_and_text(tmp_path):
    whole.write_whole(tmp_path / "a", b"\x00\xff")
    whole.write_whole(tmp_path / "b", "größer\n")
    assert (tmp_path / "a").read_bytes() == b"\x00\xff"
    assert (tmp_path / "b").read_text(encoding="utf-8") == "größer\n"
    whole.write_whole(tmp_path / "a", b"new")
    assert (tmp_path / "a").read_bytes() == b"new" and sorted(os.listdir(tmp_path)) == ["a", "b"]


def test_a_failed_write_leaves_the_old_file_and_nothing_else(tmp_path, monkeypatch):
    whole.write_whole(tmp_path / "a", b"old")

    def full(handle):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left"):
        whole.write_whole(tmp_path / "a", b"new")
    assert (tmp_path / "a").read_bytes() == b"old" and os.listdir(tmp_path) == ["a"]


def test_what_a_killed_process_left_is_taken_over(tmp_path):
    (tmp_path / ".a.part").write_bytes(b"half of a much longer content")
    whole.write_whole(tmp_path / "a", b"new")
    assert (tmp_path / "a").read_bytes() == b"new" and os.listdir(tmp_path) == ["a"]


def test_what_is_written_in_parts_has_its_name_when_it_is_whole(tmp_path):
    whole.write_whole(tmp_path / "a", b"old")
    with whole.replacing(tmp_path / "a") as part, part.open("w") as file:
        file.write("half")
        assert (tmp_path / "a").read_bytes() == b"old"
        file.write(" and half")
    assert (tmp_path / "a").read_text() == "half and half" and os.listdir(tmp_path) == ["a"]
    with pytest.raises(KeyError), whole.replacing(tmp_path / "a") as part:
        part.write_text("half")
        raise KeyError
    assert (tmp_path / "a").read_text() == "half and half" and os.listdir(tmp_path) == ["a"]


def test_nothing_written_is_an_error(tmp_path):
    with pytest.raises(FileNotFoundError), whole.replacing(tmp_path / "a"):
        pass
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize("meanwhile", [{"host": "other"}, {"pid": 1}])
def test_of_two_that_write_at_once_the_last_to_end_wins(tmp_path, monkeypatch, meanwhile):
    host, pid = socket.gethostname(), os.getpid()
    with whole.replacing(tmp_path / "a", shared=True) as part:
        part.write_text("first")
        with monkeypatch.context() as other:
            other.setattr(socket, "gethostname", lambda: meanwhile.get("host", host))
            other.setattr(os, "getpid", lambda: meanwhile.get("pid", pid))
            whole.write_whole(tmp_path / "a", "second", shared=True)
        assert (tmp_path / "a").read_text() == "second" and part.read_text() == "first"
    assert (tmp_path / "a").read_text() == "first" and os.listdir(tmp_path) == ["a"]
