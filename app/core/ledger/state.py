"""The state of the ledger: up to where it can be read without a gap, and to which PostgreSQL cluster it belongs.

On PostgreSQL a transaction that began earlier may commit later. So only entries are served whose transaction id lies
below that of every transaction still running, in the order (transaction id, id): nothing can appear below that line
any more. On SQLite there is one writer, every transaction id is 0, and ids alone are the order.
"""

from __future__ import annotations

import secrets
from typing import Any

from sqlalchemy import text, update
from sqlalchemy.orm import Session
from sqlalchemy.sql.elements import ColumnElement

from app.core.database.engine import SNAPSHOT, db
from app.core.ledger.unit import unit_of_work
from app.errors import TryAgainError
from app.models import LedgerEntry, LedgerOperation, LedgerState

SYSTEM = text("SELECT system_identifier::text FROM pg_control_system()")

#: Whoever has a transaction id, prepared transactions included, may still commit.
OPEN_SECONDS = text("""
    SELECT extract(epoch FROM clock_timestamp() - min(begun)) FROM (
        SELECT xact_start AS begun FROM pg_stat_activity WHERE backend_xid IS NOT NULL
        UNION ALL SELECT prepared FROM pg_prepared_xacts
    ) AS undecided
""")


def begin_snapshot(session: Session) -> None:
    """Begin a transaction in which all queries see the same state; on SQLite each does."""
    session.connection(execution_options={SNAPSHOT: True})


def horizon(session: Session) -> int | None:
    """The transaction id below which everything is decided; None: everything that can be seen is."""
    if not is_postgresql(session):
        return None
    found = session.scalar(text("SELECT pg_snapshot_xmin(pg_current_snapshot())::text::bigint"))
    return int(found or 0)


def below(model: Any, limit: int | None) -> list[ColumnElement[bool]]:
    """The condition for rows of a ledger's table below the horizon `limit`."""
    return [] if limit is None else [model.xid < limit]


def feed_lag_seconds(session: Session) -> float:
    """For how long the oldest open transaction has been holding the feed back; 0.0 where there is none, as on SQLite.

    Whatever writes in any database of the cluster counts. Transactions of other database roles show only to a role
    that may read their statistics (`pg_read_all_stats`).
    """
    if not is_postgresql(session):
        return 0.0
    return max(0.0, float(session.scalar(OPEN_SECONDS) or 0.0))


def ledger_state(session: Session) -> LedgerState:
    """The ledger's state. Notices a move to another PostgreSQL cluster, and then raises `TryAgainError` once.

    There transaction ids start anew, and old entries would stand above new ones for a long time. So all entries are
    given the transaction id 0, where their ids are their order, and a new generation expires all cursors.
    """
    state = session.get_one(LedgerState, 1)
    if is_postgresql(session) and state.cluster != session.scalar(SYSTEM):
        unit_of_work(_take_over)
        raise TryAgainError("The database has moved to another cluster")
    return state


def _take_over(_unit_id: str) -> None:
    session = db.session()
    state = session.get_one(LedgerState, 1, with_for_update=True, populate_existing=True)
    cluster = session.scalar(SYSTEM)
    if state.cluster == cluster:
        return
    # A large ledger takes longer than any other statement may.
    session.execute(text("SET LOCAL statement_timeout = 0"))
    for model in (LedgerEntry, LedgerOperation):
        session.execute(update(model).values(xid=0), execution_options={"synchronize_session": False})
    state.cluster, state.generation = str(cluster), secrets.token_hex(16)
    # No cursor from before is taken any more; one from now on stands behind all that was pruned.
    state.pruned_xid = state.pruned_id = 0


def is_postgresql(session: Session) -> bool:
    """Whether several transactions may write at once, and a later one commit first."""
    return session.get_bind().dialect.name == "postgresql"
