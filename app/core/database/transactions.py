"""How a transaction begins: it may write, or it is a snapshot. Everything else only reads, query by query.

Outside a unit of work a statement that writes is refused: on SQLite before it is sent, on PostgreSQL by the database
itself (`default_transaction_read_only`). On PostgreSQL a connection is in AUTOCOMMIT, so that a session outside a unit
of work begins and ends no transaction.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress

from sqlalchemy import Connection, Engine
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import Session

#: Execution option of a connection that is going to write: SQLite takes the write lock at BEGIN.
WRITES = "fieldpost_writes"

#: Execution option of a connection that is going to read: all its queries see the same state.
SNAPSHOT = "fieldpost_snapshot"


class OutsideUnitError(Exception):
    """A session was to write outside a unit of work."""


def begin_writing(session: Session) -> None:
    """Begin the transaction of a unit of work."""
    session.connection(execution_options={WRITES: True})


def may_write(session: Session) -> bool:
    """Whether the session is in a transaction that may write."""
    return WRITES in session.connection().get_execution_options()


@contextmanager
def snapshot(session: Session) -> Iterator[None]:
    """A transaction in which all queries see the same state."""
    session.connection(execution_options={SNAPSHOT: True})
    try:
        yield
    finally:
        # Not ROLLBACK, at which psycopg forgets all statements that it has prepared, those of other requests included.
        # A COMMIT that fails loses nothing, and the session's end meets the same failure.
        with suppress(SQLAlchemyError):
            session.commit()


@contextmanager
def writing(engine: Engine) -> Iterator[Connection]:
    """A connection in a transaction that may write, for those who write outside the ledger: a restore, a benchmark."""
    with engine.connect().execution_options(**{WRITES: True}) as connection, connection.begin():
        yield connection
