"""Many cases in one test: for cases that leave nothing behind, such as requests that are refused.

A test of its own for each case would make database, people and inspection anew each time, which takes ten times as
long as one request. All cases run, and those that fail are reported together, each with its values.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable
from functools import wraps
from typing import Any, TypeAlias

import pytest

Test: TypeAlias = Callable[..., None]


def cases(names: str | tuple[str, ...], rows: Iterable[Any]) -> Callable[[Test], Test]:
    """As `@pytest.mark.parametrize(names, rows)`, but all cases use the same fixtures, one after another."""
    keys = [name.strip() for name in names.split(",")] if isinstance(names, str) else [*names]
    values = [dict(zip(keys, row if len(keys) > 1 else (row,), strict=True)) for row in rows]
    assert values, "a test without a case cannot fail"

    def decorated(test: Test) -> Test:
        @wraps(test)
        def run(*arguments: Any, **fixtures: Any) -> None:
            failures = [error for case in values if (error := _failure(test, case, arguments, fixtures))]
            if failures:
                raise BaseExceptionGroup(f"{len(failures)} of {len(values)} cases have failed", failures)

        signature = inspect.signature(test)
        others = [parameter for name, parameter in signature.parameters.items() if name not in keys]
        run.__signature__ = signature.replace(parameters=others)  # type: ignore[attr-defined]
        return run

    return decorated


def _failure(test: Test, case: dict[str, Any], arguments: Any, fixtures: dict[str, Any]) -> BaseException | None:
    try:
        test(*arguments, **fixtures, **case)
    except (Exception, pytest.fail.Exception) as error:
        error.add_note(f"The case: {', '.join(f'{name}={value!r:.300}' for name, value in case.items())}")
        return error
    return None
