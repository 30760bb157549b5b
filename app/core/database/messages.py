"""How statements reach PostgreSQL: in as few messages as possible, BEGIN with the first one, a plugin's by a cursor.

Our own statements number their parameters as PostgreSQL does. Otherwise the driver would read the text of each that has
more than 4096 characters or 50 parameters anew whenever it is sent.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, TypeVar

import psycopg
from psycopg.pq import TransactionStatus
from sqlalchemy.dialects.postgresql.psycopg import dialect as psycopg_dialect
from sqlalchemy.engine import Dialect
from sqlalchemy.engine.interfaces import ExecutionContext

from app.core.database.read import Read, Reads, compiled, decoded, decoders_of
from app.core.database.session import is_about_savepoints, is_restricted, refuse_statement
from app.core.database.transactions import SNAPSHOT, WRITES

T = TypeVar("T")

#: Writes statements with numbered parameters.
NUMBERED = psycopg_dialect(paramstyle="numeric_dollar")  # type: ignore[no-untyped-call]

#: The cursor through which a plugin's query goes.
LENT = "fieldpost_lent"


class Numbered(tuple[Any, ...]):
    """The parameters of a statement that numbers them."""


def send_statement(
    cursor: psycopg.Cursor[Any],
    statement: str,
    parameters: Mapping[str, Any] | Sequence[Any],
    context: ExecutionContext,
) -> bool:
    """For the engine: send BEGIN, if it is due, and the statement, or the reads in its place, in one message.

    Each begins when the one before it has ended, as if they were sent one by one: it sees no state older than the locks
    that were taken before it.
    """
    connection, begin = cursor.connection, _due_begin(cursor, statement, context)
    if is_restricted() and not is_about_savepoints(statement) and not isinstance(cursor, psycopg.ServerCursor):
        _send_for_plugin(cursor, statement, parameters)
        return True
    sends: list[Callable[[], Any]] = [partial(connection.execute, begin)] if begin else []
    if isinstance(parameters, Reads):
        sends += [partial(send_read, connection, query) for query in parameters.reads]
        answers = _send_in_one_message(connection, sends)[-len(parameters.reads) :]
        for query, answer in zip(parameters.reads, answers, strict=True):
            query.rows = _rows_of(query, answer, context.dialect)
        return True
    if isinstance(parameters, Numbered):
        sends.append(partial(psycopg.RawCursor(connection).execute, statement, parameters))
        _send_in_one_message(connection, sends)
        return True
    if begin is None:
        return False
    # Without parameters, it may be several statements in one text, which cannot be sent with others.
    if not parameters or isinstance(cursor, psycopg.ServerCursor):
        connection.execute(begin)
        return False
    sends.append(partial(cursor.execute, statement, parameters))
    _send_in_one_message(connection, sends)
    return True


def _send_for_plugin(cursor: psycopg.Cursor[Any], statement: str, parameters: Any) -> None:
    """Send a plugin's query, in one message, through a cursor of PostgreSQL's: it opens them for queries alone."""
    sends: list[Callable[[], Any]] = [
        partial(cursor.connection.execute, f"DECLARE {LENT} CURSOR FOR {statement}", parameters),
        partial(cursor.execute, f"FETCH ALL FROM {LENT}"),
        partial(cursor.connection.execute, f"CLOSE {LENT}"),
    ]
    try:
        _send_in_one_message(cursor.connection, sends)
    except psycopg.errors.FeatureNotSupported:
        refuse_statement(statement)


def _begin_first(cursor: psycopg.Cursor[Any], statement: str, *arguments: Any) -> bool:
    """For the engine: send BEGIN, if it is due, before a statement that cannot go with it."""
    if is_restricted():
        refuse_statement(statement)
    begin = _due_begin(cursor, statement, arguments[-1])
    if begin is not None:
        cursor.connection.execute(begin)
    return False


#: How statements are sent: the function that is called in place of the driver's, by the name of SQLAlchemy's event.
SENDERS = {"do_execute": send_statement, "do_executemany": _begin_first, "do_execute_no_params": _begin_first}


def _due_begin(cursor: psycopg.Cursor[Any], statement: str, context: ExecutionContext) -> str | None:
    """The statement that has still to be sent to begin the transaction; None: there is none, or it has begun."""
    options = context.execution_options
    if WRITES in options:
        begin = "BEGIN READ WRITE"
    elif SNAPSHOT in options:
        begin = "BEGIN ISOLATION LEVEL REPEATABLE READ"
    elif isinstance(cursor, psycopg.ServerCursor) or statement.startswith("SAVEPOINT"):
        # Neither is possible without a transaction.
        begin = "BEGIN"
    else:
        return None
    return begin if cursor.connection.pgconn.transaction_status == TransactionStatus.IDLE else None


def _send_in_one_message(connection: psycopg.Connection[Any], sends: Sequence[Callable[[], T]]) -> list[T]:
    """The answers. Raises the first statement's error if there are several."""
    if len(sends) == 1:
        return [sends[0]()]
    try:
        with connection.pipeline():
            return [send() for send in sends]
    except psycopg.Error as error:
        # The driver counts statements as prepared that were sent behind the one that failed, and which the server has
        # therefore skipped. It forgets all of them, as it does at a ROLLBACK; there need not be a transaction here.
        connection._prepared.clear()
        if isinstance(error, psycopg.errors.PipelineAborted):
            # This statement was given up because an earlier one failed: its error is the one to be told.
            raise error.__context__ or error from None
        raise


def send_read(connection: psycopg.Connection[Any], query: Read) -> psycopg.Cursor[Any]:
    """Hand a query to the driver."""
    statement = compiled(query.statement, NUMBERED)
    return psycopg.RawCursor(connection).execute(statement.text, statement.values(query.parameters))


def _rows_of(query: Read, cursor: psycopg.Cursor[Any], dialect: Dialect) -> list[list[Any]]:
    """The rows that PostgreSQL has found for a query."""
    rows, result = cursor.fetchall(), cursor.pgresult
    assert result is not None
    codes = tuple(map(result.ftype, range(result.nfields)))
    return decoded(rows, decoders_of(query.statement, dialect, codes))
