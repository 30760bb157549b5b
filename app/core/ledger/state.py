"""The state of the ledger: up to where it can be read without a gap, and to which PostgreSQL cluster it belongs.

On PostgreSQL a transaction that began earlier may commit later. So only entries are served whose transaction id lies
below that of every transaction still running, in the order (transaction id, id): nothing can appear below that line
any more. On SQLite there is one writer, every transaction id is 0, and ids alone are the order.
"""

from __future__ import annotations

import secrets
from contextlib import suppress

from flask import Flask
from sqlalchemy import Connection, select, text, update
from sqlalchemy.exc import DBAPIError
from sqlalchemy.orm import Session
from sqlalchemy.sql.elements import ColumnElement

from app.core.database import database_of
from app.core.database.engine import db
from app.core.ledger.unit import unit_of_work
from app.errors import StartError, TryAgainError
from app.models import LedgerEntry, LedgerOperation, LedgerState
from app.models.ledger import LedgerTable


class UnfinishedMoveError(StartError):
    """The database is a copy of another one that is not whole yet, so nothing may work on it."""

    def __init__(self) -> None:
        super().__init__(
            "This database is a part of another one, because a `fieldpost move` to it has not ended. Run the same move "
            "again, with the settings of the database that it moves."
        )


def require_history(connection: Connection) -> None:
    """Raise `UnfinishedMoveError` unless the ledger has a state: the end of a move gives it one, as migrations do."""
    if connection.execute(select(LedgerState.id).limit(1)).first() is None:
        raise UnfinishedMoveError


def require_whole(app: Flask) -> None:
    """`require_history` at a start. A database that does not answer now has been told of, and may do so later."""
    with app.app_context(), suppress(DBAPIError, TryAgainError), db.engine.connect() as connection:
        require_history(connection)


def horizon(session: Session) -> int | None:
    """The transaction id below which everything is decided; None: everything that can be seen is."""
    return database_of(session).horizon(session)


def below(model: LedgerTable, limit: int | ColumnElement[int] | None) -> list[ColumnElement[bool]]:
    """The condition for rows of a ledger's table below the horizon `limit`."""
    return [] if limit is None else [model.xid < limit]


def feed_lag_seconds(session: Session) -> float:
    """For how long the oldest open transaction has been holding the feed back; 0.0 where there is none, as on SQLite.

    Every transaction that writes in any database of the cluster counts. Those of other database roles show only to a
    role that may read their statistics (`pg_read_all_stats`).
    """
    return database_of(session).undecided_seconds(session)


def ledger_state(session: Session) -> LedgerState:
    """The ledger's state. Notices a move to another PostgreSQL cluster, and then raises `TryAgainError` once.

    There transaction ids start anew, and old entries would stand above new ones for a long time. So all entries are
    given the transaction id 0, where their ids are their order, and a new generation expires all cursors.
    """
    state = session.get_one(LedgerState, 1)
    if state.cluster != database_of(session).cluster(session):
        unit_of_work(_take_over)
        raise TryAgainError("The database has moved to another cluster")
    return state


def _take_over(_unit_id: str) -> None:
    session = db.session()
    state = session.get_one(LedgerState, 1, with_for_update=True, populate_existing=True)
    cluster = database_of(session).cluster(session)
    if state.cluster == cluster:
        return
    # A large ledger takes longer than any other statement may.
    session.execute(text("SET LOCAL statement_timeout = 0"))
    for model in (LedgerEntry, LedgerOperation):
        session.execute(update(model).values(xid=0), execution_options={"synchronize_session": False})
    state.cluster, state.generation = cluster, secrets.token_hex(16)
    # No cursor from before is taken any more; one from now on stands behind all that was pruned.
    state.pruned_xid = state.pruned_id = 0
