"""What each rule lets pass and what not, with the words that it says."""

import pytest

from parts_jax.models import rules

NAN, INF = float("nan"), float("inf")


@pytest.mark.parametrize("rule, good, bad, words", [
    (rules.whole(0), (0, 7), (-1, 1.0, True, "1", None), "a whole number, 0 or more"),
    (rules.whole(-2), (-2, -1), (-3,), "a whole number, -2 or more"),
    (rules.odd(), (1, 3), (0, 2, -1, 3.0, True), "an odd whole number, 1 or more"),
    (rules.number(), (-2.0, 0, 1e9), (NAN, INF, False, "0", 10**400), "a finite number"),
    (rules.positive(), (1, 0.1), (0, -0.1, NAN, INF, True), "a finite number above 0"),
    (rules.not_negative(), (0, 0.5), (-1e-9, NAN, INF), "a finite number, 0 or more"),
    (rules.share(), (0, 0.5, 1), (-0.1, 1.1, NAN, True), "a number from 0 to 1"),
    (rules.decay(), (0.0, 0.99), (1.0, -0.1, NAN), "a number from 0 to 1, below 1"),
    (rules.flag(), (True, False), ("True", None), "one of False, True"),
    (rules.text(), ("", "a"), (None, 1), "a string"),
    (rules.choice("a", "b"), ("a", "b"), ("c", "", ("a",)), "one of a, b"),
    (rules.names(("a", "b")), ((), ("b",), ("a", "b")), ("a", ("c",), ["a"]),
     "a tuple of names, each one of a, b"),
    (rules.widths(), ((), (8,), (8, 1)), (8, (0,), (8.0,), (True,)),
     "a tuple of whole numbers, each 1 or more"),
    (rules.per_stage(1), ((1, 5),), (5, (0,), (1.0,), (1, True)),
     "a tuple of whole numbers, one per stage, each 1 or more"),
    (rules.per_stage(0.0, 1.0), ((0.0, 1, 0.5),), (0.5, (1.1,), (-0.1,), (NAN,), ("1",)),
     "a tuple of finite numbers, one per stage, each 0.0 or more and 1.0 or less"),
])
def test_what_a_rule_allows(rule, good, bad, words):
    assert rule.words == words
    for value in good:
        rule.check("a.key", value)
    for value in bad:
        with pytest.raises(ValueError) as caught:
            rule.check("a.key", value)
        assert str(caught.value) == f"a.key is {value!r}, but must be {words}."


def test_only_those_per_stage_say_so():
    assert rules.per_stage(0).per_stage and not rules.widths().per_stage
