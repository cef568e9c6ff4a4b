"""Which code made a number, and on what machine, as far as that can be known."""

import functools
import os
import pathlib
import platform
import re
import subprocess

import jax

ROOT = pathlib.Path(__file__).parents[2]  # of the repository, where there is one


@functools.cache
def commit(root: pathlib.Path = ROOT) -> str | None:
    """The commit of the code that runs, with "+changes" where tracked files differ from it.

    Args:
      root: of the repository.

    Returns:
      Hexadecimal digits; None where nobody knows: without a repository (in a wheel) or without git.
    """
    if not (root / ".git").exists():  # git itself would look in the folders above, too
        return None
    head = _git(root, "rev-parse", "HEAD")
    if not head:
        return None
    return head[:12] + ("+changes" if _git(root, "status", "--porcelain", "-uno") else "")


def hardware() -> str:
    """What computes, in words: "8 x NVIDIA H100 80GB HBM3", or the processor and its cores."""
    kind = jax.devices()[0].device_kind
    if kind != "cpu":
        return f"{jax.device_count()} x {kind}"
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return f"CPU, {_processor()}, {cores} cores"


def _processor() -> str:
    try:
        text = pathlib.Path("/proc/cpuinfo").read_text(encoding="utf-8")
    except OSError:  # not Linux
        text = ""
    named = re.search(r"^model name\s*: *(.+)$", text, re.MULTILINE)
    return named[1].strip() if named else platform.processor() or platform.machine()


def _git(root: pathlib.Path, *arguments: str) -> str | None:
    """What git prints; None where it cannot say."""
    try:
        result = subprocess.run(["git", "-C", str(root), *arguments], capture_output=True,
                                text=True, timeout=10, check=True)
    except (OSError, subprocess.SubprocessError):
        return None
    return result.stdout.strip()
