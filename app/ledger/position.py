"""Positions in the ledger: up to where it can be read without a gap, and whether a cursor still stands in it.

On PostgreSQL a transaction that began earlier may commit later. So only entries are served whose transaction id lies
below that of every transaction still running, in the order (transaction id, id): below that line nothing can appear
any more. On SQLite there is one writer, every transaction id is 0, and ids alone are the order.
"""

from __future__ import annotations

import secrets

from sqlalchemy import and_, select, text, tuple_, update
from sqlalchemy.orm import Session
from sqlalchemy.sql.elements import ColumnElement

from app.errors import TryAgainError
from app.extensions import db
from app.ledger.cursor import Cursor, Mark, expired
from app.ledger.unit import unit_of_work
from app.models import LedgerEntry, LedgerOperation, LedgerState, User

SYSTEM = text("SELECT system_identifier::text FROM pg_control_system()")


def begin_snapshot(session: Session) -> None:
    """Begin a transaction in which all queries see the same state; on SQLite each does."""
    if _is_postgresql(session):
        session.connection(execution_options={"isolation_level": "REPEATABLE READ"})


def horizon(session: Session) -> int | None:
    """The transaction id below which everything is decided; None: everything that can be seen is."""
    if not _is_postgresql(session):
        return None
    found = session.scalar(text("SELECT pg_snapshot_xmin(pg_current_snapshot())::text::bigint"))
    return int(found or 0)


def below(limit: int | None) -> list[ColumnElement[bool]]:
    """The condition for entries below the horizon."""
    return [] if limit is None else [LedgerEntry.xid < limit]


def beyond(session: Session, mark: Mark) -> ColumnElement[bool]:
    """The condition for entries after `mark`, in the form that each database finds in its index."""
    if _is_postgresql(session):
        return tuple_(LedgerEntry.xid, LedgerEntry.id) > tuple_(mark.xid, mark.id)
    return and_(LedgerEntry.xid == 0, LedgerEntry.id > mark.id)


def last_mark(session: Session, limit: int | None) -> Mark:
    """The last entry below the horizon."""
    statement = select(LedgerEntry.xid, LedgerEntry.id, LedgerEntry.tag).where(*below(limit))
    return _first(session, statement.order_by(LedgerEntry.xid.desc(), LedgerEntry.id.desc()))


def newest_mark(session: Session) -> Mark:
    """The entry with the highest id that can be seen."""
    statement = select(LedgerEntry.xid, LedgerEntry.id, LedgerEntry.tag)
    return _first(session, statement.order_by(LedgerEntry.id.desc()))


def check_cursor(session: Session, cursor: Cursor, user: User, state: LedgerState) -> None:
    """Raise `ExpiredError` with the reason unless everything after the cursor can still be told."""
    if cursor.user_id != user.id:
        raise expired("it is another user's.")
    if cursor.role != user.role:
        raise expired("your role has changed.")
    if cursor.generation != state.generation:
        raise expired("it is from another history of this database.")
    if (cursor.mark.xid, cursor.mark.id) < (state.pruned_xid, state.pruned_id):
        raise expired("what came after it has been pruned.")
    marks = {mark.id: mark.tag for mark in (cursor.mark, cursor.newest) if mark.id}
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
    if _is_postgresql(session) and state.cluster != session.scalar(SYSTEM):
        unit_of_work(_take_over)
        raise TryAgainError("The database has moved to another cluster")
    return state


def _take_over(_unit_id: str) -> None:
    session = db.session()
    state = session.get_one(LedgerState, 1, with_for_update=True, populate_existing=True)
    cluster = session.scalar(SYSTEM)
    if state.cluster == cluster:
        return
    for model in (LedgerEntry, LedgerOperation):
        session.execute(update(model).values(xid=0), execution_options={"synchronize_session": False})
    state.cluster, state.generation = str(cluster), secrets.token_hex(16)
    state.pruned_xid = 0


def _first(session: Session, statement: object) -> Mark:
    found = session.execute(statement.limit(1)).one_or_none()  # type: ignore[attr-defined]
    return Mark() if found is None else Mark(xid=found.xid, id=found.id, tag=found.tag)


def _is_postgresql(session: Session) -> bool:
    return session.get_bind().dialect.name == "postgresql"
