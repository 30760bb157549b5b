"""The session while a plugin's code has it: to look things up, never to end the transaction or to write.

A handler that committed would make half a batch durable and give its locks away; one that rolled back would take
other items' work along. Both are refused, and so is every statement that is no query: by its first word, and by the
database itself, since a `WITH` may write too (`sqlite.py`, `messages.py`). The caller of `restricted` gets the refusal
even where the handler swallowed it.
"""

from __future__ import annotations

import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NoReturn

from flask_sqlalchemy.session import Session

#: The beginning of a statement that may be a query.
QUERY = re.compile(r"\s*(SELECT|WITH|VALUES)\b", re.IGNORECASE)

#: A statement about savepoints, which are the handler's own business.
SAVEPOINT = re.compile(r'\s*(SAVEPOINT|RELEASE|ROLLBACK\s+TO)(\s+SAVEPOINT)?\s+"?\w+"?\s*', re.IGNORECASE)


class RestrictionError(Exception):
    """A handler did to the session what only the core may do."""


class _Restriction(threading.local):
    """Whether a plugin's code has the session in this thread, and the refusal if it misused it."""

    is_on = False
    offence: RestrictionError | None = None


_restriction = _Restriction()


class RestrictableSession(Session):
    """A session whose transaction cannot be ended while a plugin's code has it."""

    def commit(self) -> None:
        """Commit, unless a plugin's code has the session."""
        _require_core("committed")
        super().commit()

    def rollback(self) -> None:
        """Roll back, unless a plugin's code has the session."""
        _require_core("rolled back")
        super().rollback()

    def close(self) -> None:
        """Close, unless a plugin's code has the session."""
        _require_core("closed the session")
        super().close()


@contextmanager
def restricted() -> Iterator[None]:
    """Let a plugin's code use the session inside the block. Raises `RestrictionError` if it misused it."""
    _restriction.is_on, _restriction.offence = True, None
    try:
        yield
    finally:
        _restriction.is_on = False
    if _restriction.offence is not None:
        raise _restriction.offence


@contextmanager
def unrestricted() -> Iterator[None]:
    """Let the core send statements of its own inside the block, while a plugin's code has the session."""
    is_on, _restriction.is_on = _restriction.is_on, False
    try:
        yield
    finally:
        _restriction.is_on = is_on


def is_restricted() -> bool:
    """Whether a plugin's code has the session in this thread."""
    return _restriction.is_on


def is_about_savepoints(statement: str) -> bool:
    """Whether a statement makes, releases or goes back to a savepoint, and nothing else."""
    return SAVEPOINT.fullmatch(statement) is not None


def refuse_statement(statement: str) -> NoReturn:
    """Refuse a statement of a plugin's code, which is told by its first word."""
    _refuse(f"sent {statement.split(maxsplit=1)[0]}")


def refuse_writing(_connection: object, _cursor: object, statement: str, *_: object) -> None:
    """For the engine, before every statement: while a plugin's code has the session, only queries are sent."""
    if _restriction.is_on and not QUERY.match(statement) and not is_about_savepoints(statement):
        refuse_statement(statement)


def _require_core(deed: str) -> None:
    if _restriction.is_on:
        _refuse(deed)


def _refuse(deed: str) -> NoReturn:
    _restriction.offence = RestrictionError(
        f"A handler {deed} itself. State changes through the context, and leave the transaction to Fieldpost."
    )
    raise _restriction.offence
