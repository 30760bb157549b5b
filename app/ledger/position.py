"""Positions in the ledger: up to where it can be read without a gap, and whether a cursor still stands in it.

On PostgreSQL a transaction that began earlier may commit later. So only entries are served whose transaction id lies
below that of every transaction still running, in the order (transaction id, id): below that line nothing can appear
any more. On SQLite there is one writer, every transaction id is 0, and ids alone are the order.
"""

from __future__ import annotations

import secrets
from typing import Any

from sqlalchemy import Select, and_, func, select, text, tuple_, update
from sqlalchemy.orm import Session
from sqlalchemy.sql.elements import ColumnElement

from app.errors import TryAgainError
from app.extensions import SNAPSHOT, db
from app.ledger.cursor import Cursor, Mark, expired
from app.ledger.unit import unit_of_work
from app.models import LedgerEntry, LedgerOperation, LedgerState, User

SYSTEM = text("SELECT system_identifier::text FROM pg_control_system()")

#: Whoever has a transaction id, prepared transactions included, may still commit.
OPEN_SECONDS = text("""
    SELECT extract(epoch FROM clock_timestamp() - min(begun)) FROM (
        SELECT xact_start AS begun FROM pg_stat_activity WHERE backend_xid IS NOT NULL
        UNION ALL SELECT prepared FROM pg_prepared_xacts
    ) AS undecided
""")

#: Asked of each of the few entries that an index has found; there are no types for these in SQLAlchemy.
UNSEEN = text("NOT pg_visible_in_snapshot(ledger_entries.xid::text::xid8, CAST(:snapshot AS pg_snapshot))")

MARKS = select(LedgerEntry.xid, LedgerEntry.id, LedgerEntry.tag)


def begin_snapshot(session: Session) -> None:
    """Begin a transaction in which all queries see the same state; on SQLite each does."""
    session.connection(execution_options={SNAPSHOT: True})


def horizon(session: Session) -> int | None:
    """The transaction id below which everything is decided; None: everything that can be seen is."""
    if not is_postgresql(session):
        return None
    found = session.scalar(text("SELECT pg_snapshot_xmin(pg_current_snapshot())::text::bigint"))
    return int(found or 0)


def snapshot_text(session: Session) -> str | None:
    """Which transactions the session's snapshot shows, as PostgreSQL writes it; None: all up to the newest entry."""
    if not is_postgresql(session):
        return None
    return str(session.scalar(text("SELECT pg_current_snapshot()::text")))


def below(model: Any, limit: int | None) -> list[ColumnElement[bool]]:
    """The condition for rows of a ledger's table below the horizon `limit`."""
    return [] if limit is None else [model.xid < limit]


def beyond(session: Session, model: Any, mark: Mark) -> ColumnElement[bool]:
    """The condition for entries of `model`, the ledger or an alias of it, after `mark`, as each index has them."""
    if is_postgresql(session):
        return tuple_(model.xid, model.id) > tuple_(mark.xid, mark.id)
    return and_(model.xid == 0, model.id > mark.id)


def unseen(session: Session, walk: Cursor) -> list[ColumnElement[bool]]:
    """The conditions for entries of the ledger that the first page of a walk could not see."""
    conditions = [beyond(session, LedgerEntry, walk.mark)]
    if walk.snapshot is not None:
        # What is beyond the mark may have been committed nevertheless: an older transaction was still under way.
        conditions.append(and_(UNSEEN.bindparams(snapshot=walk.snapshot)))
    return conditions


def last_mark(session: Session, limit: int | None) -> Mark:
    """The last entry below the horizon."""
    if limit is None:
        return newest_mark(session)
    statement = MARKS.where(*below(LedgerEntry, limit))
    return _mark(session, statement.order_by(LedgerEntry.xid.desc(), LedgerEntry.id.desc()).limit(1))


def newest_mark(session: Session) -> Mark:
    """The entry with the highest id that can be seen."""
    return _mark(session, MARKS.where(LedgerEntry.id == select(func.max(LedgerEntry.id)).scalar_subquery()))


def feed_lag_seconds(session: Session) -> float:
    """For how long the oldest open transaction has been holding the feed back; 0.0 where there is none, as on SQLite.

    Whatever writes in any database of the cluster counts. Transactions of other database roles show only to a role
    that may read their statistics (`pg_read_all_stats`).
    """
    if not is_postgresql(session):
        return 0.0
    return max(0.0, float(session.scalar(OPEN_SECONDS) or 0.0))


def check_cursor(session: Session, cursor: Cursor, user: User, state: LedgerState) -> None:
    """Raise `ExpiredError` with the reason unless everything after the cursor can still be told."""
    if cursor.user_id != user.id:
        raise expired("it is another user's.")
    if cursor.role != user.role:
        raise expired("your role has changed.")
    if cursor.generation != state.generation:
        raise expired("it is from another history of this database.")
    known = (cursor.mark, cursor.newest)
    if state.pruned_id and min((mark.xid, mark.id) for mark in known) <= (state.pruned_xid, state.pruned_id):
        raise expired("what came after it has been pruned.")
    marks = {mark.id: mark.tag for mark in known if mark.id}
    statement = select(LedgerEntry.id, LedgerEntry.tag).where(LedgerEntry.id.in_(marks))
    found: dict[int, int] = dict(session.execute(statement).all())
    if found != marks:
        raise expired("the database has been restored from a backup.")


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


def _mark(session: Session, statement: Select[int, int, int]) -> Mark:
    found = session.execute(statement).one_or_none()
    return Mark() if found is None else Mark(xid=found.xid, id=found.id, tag=found.tag)


def is_postgresql(session: Session) -> bool:
    """Whether several transactions may write at once, and a later one commit first."""
    return session.get_bind().dialect.name == "postgresql"
