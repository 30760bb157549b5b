"""The version rule and the three-way merge as pure functions (contract, section 3.1)."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from app.core.ledger.versions import lift
from app.core.sync.conflicts import base_of, three_way
from app.models import LedgerEntry
from tests.support.cases import cases


def v(number: int) -> datetime:
    """The version with this number."""
    return datetime(2024, 3, 15, tzinfo=UTC) + timedelta(milliseconds=number)


def step(before: int | None, after: int, **changes: tuple[Any, Any]) -> LedgerEntry:
    """A change from one version to the next, as the ledger tells it; `...` stands for absent."""
    kept = {
        name: {side: value for side, value in zip(("old", "new"), sides, strict=True) if value is not ...}
        for name, sides in changes.items()
    }
    return LedgerEntry(version_before=None if before is None else v(before), version_after=v(after), changes=kept)


# One's own chain


@cases(
    ("version", "own", "expected"),
    [
        (1, [], 1),
        (1, [(1, 2)], 2),
        (1, [(1, 2), (2, 3)], 3),
        (2, [(1, 2), (2, 3)], 3),
        (2, [(1, 2)], 2),
        (5, [(1, 2)], 5),
        (1, [(1, 2), (3, 4)], 2),
        (1, [(2, 3)], 1),
        (1, [(None, 1)], 1),
        (0, [(None, 1), (1, 2)], 0),
        (1, [(None, 1), (1, 2)], 2),
        (1, [(1, 1)], 1),
    ],)  # fmt: skip
def test_own_steps_lift_a_version_but_never_over_somebody_elses(
    version: int, own: list[tuple[int | None, int]], expected: int
) -> None:
    assert lift(v(version), [step(*each) for each in own]) == v(expected)


# The base


def test_the_base_is_the_present_with_every_later_change_taken_back() -> None:
    steps = [step(1, 2, a=(0, 1)), step(2, 3, a=(1, 2), b=(..., 1)), step(3, 4, c=(None, 3))]
    present = {"a": 2, "b": 1, "c": 3, "d": 4}
    assert base_of(present, v(4), v(1), steps, []) == {"a": 0, "c": None, "d": 4}
    assert base_of(present, v(4), v(2), steps, []) == {"a": 1, "c": None, "d": 4}
    assert base_of(present, v(4), v(3), steps, []) == {"a": 2, "b": 1, "c": None, "d": 4}
    assert present == {"a": 2, "b": 1, "c": 3, "d": 4}, "the present itself is left alone"


def test_a_version_that_the_row_never_had_has_no_base() -> None:
    assert base_of({"a": 1}, v(3), v(2), [step(1, 3, a=(0, 1))], []) is None
    assert base_of({"a": 1}, v(3), v(0), [step(1, 3, a=(0, 1))], []) is None


def test_a_version_that_the_ledger_no_longer_reaches_back_to_has_no_base() -> None:
    assert base_of({"a": 1}, v(3), v(1), [step(2, 3, a=(0, 1))], []) is None
    assert base_of({"a": 1}, v(2), v(1), [], []) is None


def test_a_step_that_the_ledger_no_longer_tells_leaves_no_base() -> None:
    first, second, third = step(1, 2, a=(0, 1)), step(2, 3, b=(0, 1)), step(3, 4, c=(0, 1))
    present = {"a": 1, "b": 1, "c": 1}
    assert base_of(present, v(4), v(1), [first, second, third], []) == {"a": 0, "b": 0, "c": 0}
    for told in ([second, third], [first, third], [first, second]):
        assert base_of(present, v(4), v(1), told, []) is None


def test_steps_before_the_version_do_not_count() -> None:
    assert base_of({"a": 2}, v(3), v(2), [step(1, 2, a=(0, 1)), step(2, 3, a=(1, 2))], []) == {"a": 1}


def test_ones_own_later_changes_stay_in_the_base() -> None:
    theirs, mine = step(1, 2, a=(0, 1), b=(0, 1)), step(2, 3, b=(1, 2), c=(..., 3))
    assert base_of({"a": 1, "b": 2, "c": 3}, v(3), v(1), [theirs, mine], [mine]) == {"a": 0, "b": 2, "c": 3}


# The merge


@cases(
    ("base", "server", "local", "changes", "conflicting"),
    [
        ({"a": 0}, {"a": 0}, {"a": 1}, {"a": 1}, []),
        ({"a": 0}, {"a": 1}, {"a": 0}, {}, []),
        ({"a": 0}, {"a": 1}, {"a": 1}, {}, []),
        ({"a": 0}, {"a": 1}, {"a": 2}, {}, ["a"]),
        ({"a": 0, "b": 0}, {"a": 1, "b": 0}, {"b": 2}, {"b": 2}, []),
        ({"a": 0, "b": 0}, {"a": 1, "b": 0}, {"a": 2, "b": 2}, {"b": 2}, ["a"]),
        ({}, {}, {"a": 1}, {"a": 1}, []),
        ({}, {"a": 1}, {"a": 1}, {}, []),
        ({}, {"a": 1}, {"a": 2}, {}, ["a"]),
        ({}, {}, {"a": None}, {"a": None}, []),
        ({"a": None}, {"a": None}, {"a": 1}, {"a": 1}, []),
        ({}, {"a": None}, {"a": 1}, {}, ["a"]),
        ({"a": 1}, {}, {"a": 2}, {}, ["a"]),
        ({"a": 1}, {"a": True}, {"a": 1}, {}, []),
        ({"a": 1}, {"a": 1.0}, {"a": 2}, {"a": 2}, []),
        ({"a": 1}, {"a": True}, {"a": 2}, {}, ["a"]),
        ({"a": [1]}, {"a": [1]}, {"a": [True]}, {"a": [True]}, []),
        ({"a": {"x": 0}}, {"a": {"x": 1}}, {"a": {"x": 0, "y": 1}}, {}, ["a"]),
        (None, {"a": 1, "b": 1, "c": 1}, {"c": 2, "a": 2, "b": 1, "d": 1}, {}, ["a", "c", "d"]),
    ],
)
def test_three_ways(
    base: dict[str, Any] | None,
    server: dict[str, Any],
    local: dict[str, Any],
    changes: dict[str, Any],
    conflicting: list[str],
) -> None:
    merged, clashing = three_way(base, server, local)
    assert repr(merged) == repr(changes), "true is not 1 here either"
    assert clashing == conflicting


values = st.one_of(st.none(), st.booleans(), st.integers(0, 2), st.floats(0, 2), st.sampled_from(["", "x"]))
documents = st.dictionaries(st.sampled_from("abc"), values)


@given(base=documents, server=documents, local=documents)
def test_no_field_is_lost_in_a_merge(base: dict[str, Any], server: dict[str, Any], local: dict[str, Any]) -> None:
    changes, conflicting = three_way(base, server, local)
    assert not changes.keys() & set(conflicting)
    merged = {**server, **changes}
    for name, value in merged.items():
        if name not in changes:
            assert value is server[name]
    assert three_way(base, base, local)[1] == [], "without a foreign change there is nothing to conflict with"
