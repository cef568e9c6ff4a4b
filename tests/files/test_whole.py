"""Whole files: the old or the new one, and nothing beside it."""

import os

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
