"""What a value of a config may be: a predicate, and the words for what it allows.

A family says with them what stands in its part of a config: KEYS, {key: Rule}. It imports nothing
of this project, so that everybody may have it.
"""

import dataclasses
import math
import numbers
from collections.abc import Callable, Sequence
from typing import Any


@dataclasses.dataclass(frozen=True)
class Rule:
    """What a value may be.

    Attributes:
      allows: whether it allows a value, of any type.
      words: what it allows, to be read after "must be".
      per_stage: whether a value has one entry per stage of `config.schedule`.
    """

    allows: Callable[[Any], bool]
    words: str
    per_stage: bool = False

    def check(self, key: str, value: Any) -> None:
        """Raises a ValueError that names key and value if the value is not allowed."""
        if not self.allows(value):
            raise ValueError(f"{key} is {value!r}, but must be {self.words}.")


def is_number(value: Any) -> bool:
    """Whether it is a finite number, numpy's too; True and False are none.

    Nor are whole numbers too large for a float, as JSON may have them.
    """
    if not isinstance(value, numbers.Real) or isinstance(value, bool):
        return False
    try:
        return math.isfinite(value)
    except OverflowError:
        return False


def is_whole(value: Any) -> bool:
    """Whether it is a whole number, numpy's too; True and False are none."""
    return isinstance(value, numbers.Integral) and not isinstance(value, bool)


def whole(least: int) -> Rule:
    """Whole numbers from `least` on."""
    return Rule(lambda v: is_whole(v) and v >= least, f"a whole number, {least} or more")


def odd() -> Rule:
    """Odd whole numbers from 1 on, such as the sizes of kernels."""
    return Rule(lambda v: is_whole(v) and v >= 1 and v % 2 == 1, "an odd whole number, 1 or more")


def number() -> Rule:
    """Any finite number."""
    return Rule(is_number, "a finite number")


def positive() -> Rule:
    """Numbers above 0."""
    return Rule(lambda v: is_number(v) and v > 0, "a finite number above 0")


def not_negative() -> Rule:
    """0 and numbers above."""
    return Rule(lambda v: is_number(v) and v >= 0, "a finite number, 0 or more")


def share() -> Rule:
    """From 0 to 1, both allowed."""
    return Rule(lambda v: is_number(v) and 0 <= v <= 1, "a number from 0 to 1")


def decay() -> Rule:
    """From 0 to 1, of which 1 is not allowed: it would keep everything for ever."""
    return Rule(lambda v: is_number(v) and 0 <= v < 1, "a number from 0 to 1, below 1")


def flag() -> Rule:
    """True or False."""
    return choice(False, True)


def text() -> Rule:
    """Strings, also empty ones."""
    return Rule(lambda v: isinstance(v, str), "a string")


def choice(*choices: Any) -> Rule:
    """One of a few values."""
    return Rule(lambda v: v in choices, f"one of {', '.join(map(str, choices))}")


def names(choices: Sequence[str]) -> Rule:
    """Tuples of some of a few names."""
    return Rule(lambda v: isinstance(v, tuple) and all(name in choices for name in v),
                f"a tuple of names, each one of {', '.join(choices)}")


def widths() -> Rule:
    """Tuples of the widths of layers; none is a network without these."""
    return Rule(lambda v: isinstance(v, tuple) and all(is_whole(w) and w >= 1 for w in v),
                "a tuple of whole numbers, each 1 or more")


def factors() -> Rule:
    """Tuples of one or more numbers above 0."""
    return Rule(lambda v: isinstance(v, tuple) and len(v) > 0
                and all(is_number(factor) and factor > 0 for factor in v),
                "a tuple of one or more finite numbers above 0")


def span(least: int) -> Rule:
    """Pairs of whole numbers, from ... to, both allowed."""
    return Rule(lambda v: isinstance(v, tuple) and len(v) == 2 and all(map(is_whole, v))
                and least <= v[0] <= v[1],
                f"a tuple of two whole numbers, {least} or more, the second not below the first")


ONE_PER_STAGE = object()  # a tuple of ones, as many as the schedule has stages: of earlier runs


def per_stage(least: float, most: float | None = None) -> Rule:
    """Tuples with one entry per stage of `config.schedule`.

    Args:
      least: of each entry; where it is an int, entries are whole numbers.
      most: of each entry; None: no bound.
    """
    right_kind = is_number if isinstance(least, float) else is_whole

    def allows(value: Any) -> bool:
        return isinstance(value, tuple) and all(
            right_kind(entry) and entry >= least and (most is None or entry <= most)
            for entry in value)

    limit = "" if most is None else f" and {most} or less"
    kind = "finite numbers" if isinstance(least, float) else "whole numbers"
    return Rule(allows, f"a tuple of {kind}, one per stage, each {least} or more{limit}", True)


def per_stage_or_none(least: int) -> Rule:
    """The same of whole numbers, or an empty tuple; how many there are is for others to check."""
    rule = per_stage(least)
    return Rule(rule.allows, f"() or {rule.words}")


def check_per_pixel(config: Any) -> None:
    """Refuses what a decoder can do only if it is a network for each pixel by itself.

    Args:
      config: with `model.decoder` of a kind, "broadcast" or "coordinates".

    Raises:
      ValueError: subsets of pixels, or coordinates from a slot's centre, for any other.
    """
    decoder = config.model.decoder
    if decoder.kind == "coordinates" and decoder.kernel_size == 1:
        return
    found = (f"with config.model.decoder.kind {decoder.kind!r} and kernel_size "
             f"{decoder.kernel_size}: only a network for each pixel (kind 'coordinates', "
             "kernel_size 1)")
    if max(config.train.pixels) > 1:
        raise ValueError(f"config.train.pixels is {tuple(config.train.pixels)}, {found} decodes a "
                         "subset of pixels; else it must be 1 in every stage.")
    if decoder.centred:
        raise ValueError(f"config.model.decoder.centred is True, {found} has coordinates from a "
                         "slot's centre; else it must be False.")


def check_sigma_scale(config: Any) -> None:
    """Refuses a last stage of another sigma_x than in use.

    Args:
      config: with `model.sigma_scale`, a factor a stage.

    Raises:
      ValueError: its last entry is not 1.
    """
    scale = tuple(config.model.sigma_scale)
    if scale[-1:] != (1.0,):
        raise ValueError(f"config.model.sigma_scale is {scale}; its last entry must be 1.0, as "
                         "sigma_x is that of the end of training and of use.")
