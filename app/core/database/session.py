"""The session while a plugin's code has it: to look things up, never to end the transaction or to write.

A handler that committed would make half a batch durable and give its locks away; one that rolled back would take
other items' work along. Both are refused, and so is every statement that is no query; whoever lends the session is
told even where the handler swallowed the refusal.
"""

from __future__ import annotations

import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NoReturn

from flask_sqlalchemy.session import Session

#: What a statement may begin with; savepoints are the handler's own business.
QUERY = re.compile(r"\s*(SELECT|WITH|VALUES|EXPLAIN|SAVEPOINT|RELEASE|ROLLBACK TO)\b", re.IGNORECASE)


class LendingError(Exception):
    """A handler did to the session what only the core may do."""


class _Lent(threading.local):
    """Whether, in this thread, a plugin's code has the session, and what it did that it must not."""

    is_lent = False
    offence: LendingError | None = None


_lent = _Lent()


class LendableSession(Session):
    """A session whose transaction cannot be ended while it is lent."""

    def commit(self) -> None:
        """Commit, unless the session is lent."""
        _require_own("committed")
        super().commit()

    def rollback(self) -> None:
        """Roll back, unless the session is lent."""
        _require_own("rolled back")
        super().rollback()

    def close(self) -> None:
        """Close, unless the session is lent."""
        _require_own("closed the session")
        super().close()


@contextmanager
def lend() -> Iterator[None]:
    """Let a plugin's code have the session for as long as the block lasts. Raises `LendingError` if it misused it."""
    _lent.is_lent, _lent.offence = True, None
    try:
        yield
    finally:
        _lent.is_lent = False
    if _lent.offence is not None:
        raise _lent.offence


def refuse_writing(_connection: Any, _cursor: Any, statement: str, *_: Any) -> None:
    """For the engine, before every statement: while the session is lent, only queries are sent."""
    if _lent.is_lent and not QUERY.match(statement):
        _refuse(f"sent {statement.split(maxsplit=1)[0]}")


def _require_own(deed: str) -> None:
    if _lent.is_lent:
        _refuse(deed)


def _refuse(deed: str) -> NoReturn:
    _lent.offence = LendingError(
        f"A handler {deed} itself. State changes through the context, and leave the transaction to Fieldpost."
    )
    raise _lent.offence
