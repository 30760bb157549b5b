"""Tests for tests.support.cases."""

from __future__ import annotations

import inspect

import pytest

from tests.support.cases import cases


def test_all_cases_run_and_those_that_fail_are_reported_together_with_their_values() -> None:
    seen = []

    @cases("number", [1, 2, 3])
    def test(fixture: str, number: int) -> None:
        seen.append((fixture, number))
        assert number == 2

    assert [*inspect.signature(test).parameters] == ["fixture"]
    with pytest.raises(BaseExceptionGroup, match="2 of 3 cases have failed") as failure:
        test(fixture="x")
    assert seen == [("x", 1), ("x", 2), ("x", 3)]
    assert [error.__notes__ for error in failure.value.exceptions] == [["The case: number=1"], ["The case: number=3"]]


def test_several_names_have_a_value_each_and_two_lists_are_multiplied() -> None:
    seen = []

    @cases("letter", "ab")
    @cases(("one", "two"), [(1, 2), (3, 4)])
    def test(letter: str, one: int, two: int) -> None:
        seen.append((letter, one, two))

    test()
    assert seen == [("a", 1, 2), ("a", 3, 4), ("b", 1, 2), ("b", 3, 4)]


def test_what_a_test_fails_explicitly_is_a_failure_and_a_skip_stays_one() -> None:
    @cases("reason", ["first", "second"])
    def test(reason: str) -> None:
        pytest.fail(reason) if reason == "first" else pytest.skip(reason)

    with pytest.raises(pytest.skip.Exception, match="second"):
        test()
    with pytest.raises(BaseExceptionGroup, match="1 of 1 cases"):
        cases("reason", ["x"])(lambda reason: pytest.fail(reason))()


def test_a_test_without_a_case_is_refused() -> None:
    with pytest.raises(AssertionError, match="cannot fail"):
        cases("number", [])
