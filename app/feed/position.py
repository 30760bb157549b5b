"""Positions of cursors in the ledger: the marks that a page hands out, and the check of a cursor that comes back."""

from __future__ import annotations

from functools import lru_cache
from typing import Any, NamedTuple

from sqlalchemy import BigInteger, ScalarSelect, Select, and_, bindparam, func, literal, select, text
from sqlalchemy.orm import Session, aliased
from sqlalchemy.sql.elements import ColumnElement

from app.core.database import Database, database_of
from app.core.database.read import Read
from app.core.ledger.state import below, ledger_state
from app.core.values import Values
from app.feed.cursor import Cursor, Mark, expired
from app.models import LedgerEntry, LedgerState, User

#: Tests each of the few entries that an index has found. SQLAlchemy has no types for these functions.
UNSEEN = text("NOT pg_visible_in_snapshot(ledger_entries.xid::text::xid8, CAST(:snapshot AS pg_snapshot))")

#: The parameters of a place in the ledger, for `Database.after` in statements that are built once.
PLACE: Any = (bindparam("mark_xid", type_=BigInteger), bindparam("mark_id", type_=BigInteger))

MARKS = select(LedgerEntry.xid, LedgerEntry.id, LedgerEntry.tag)


class Present(NamedTuple):
    """The ledger's state in a snapshot; each field is a column of `select_present`."""

    generation: str
    is_same_cluster: bool
    #: As `app.core.ledger.state.horizon`.
    horizon: int | None
    newest_xid: int | None
    newest_id: int | None
    newest_tag: int | None
    #: The last entry below the horizon.
    last_xid: int | None
    last_id: int | None
    last_tag: int | None

    @property
    def newest(self) -> Mark:
        """The entry with the highest id that can be seen."""
        return _mark_of(self.newest_xid, self.newest_id, self.newest_tag)

    @property
    def last(self) -> Mark:
        """The last entry below the horizon."""
        return _mark_of(self.last_xid, self.last_id, self.last_tag)


@lru_cache
def select_present(database: Database) -> Select[Any]:
    """Selects the columns of `Present`, in one row."""
    newest, last = aliased(LedgerEntry), aliased(LedgerEntry)
    newest_id, horizon = select(func.max(LedgerEntry.id)).scalar_subquery(), database.horizon_column()
    statement: Select[Any] = (
        select(  # type: ignore[assignment]
            LedgerState.generation,
            LedgerState.cluster == database.cluster_column(),
            literal(None) if horizon is None else horizon,
            *(newest.xid, newest.id, newest.tag),
            *(last.xid, last.id, last.tag),
        )
        .select_from(LedgerState)
        .outerjoin(newest, newest.id == newest_id)
        .outerjoin(last, last.id == (newest_id if horizon is None else _last_id(horizon)))
        .where(LedgerState.id == 1)
    )
    return statement


def _last_id(horizon: ColumnElement[int]) -> ScalarSelect[int]:
    statement = select(LedgerEntry.id).where(*below(LedgerEntry, horizon))
    return statement.order_by(LedgerEntry.xid.desc(), LedgerEntry.id.desc()).limit(1).scalar_subquery()


def start_cursor(session: Session, user: User) -> Cursor:
    """The cursor of the session's snapshot: a feed from here leaves no gap after the rows that the snapshot shows."""
    database = database_of(session)
    query = Read(statement=select_present(database), parameters={})
    database.read(session.connection(), [query])
    present = Present._make(query.rows[0])
    if not present.is_same_cluster:
        # It takes the ledger over, and asks for another try.
        ledger_state(session)
    return Cursor(
        user_id=user.id,
        role=user.role,
        generation=present.generation,
        mark=present.last,
        newest=present.newest,
    )


def snapshot_text(session: Session) -> str | None:
    """The transactions in the session's snapshot, in PostgreSQL's notation; None: all up to the newest entry."""
    return database_of(session).snapshot_text(session)


def place_of(mark: Mark) -> Values:
    """The values of `PLACE`."""
    return {"mark_xid": mark.xid, "mark_id": mark.id}


def beyond(session: Session, model: Any, mark: Mark) -> ColumnElement[bool]:
    """The condition for entries of `model`, the ledger or an alias of it, after `mark`, written for the index."""
    return database_of(session).after(model.xid, model.id, (mark.xid, mark.id))


def unseen(session: Session, walk: Cursor) -> list[ColumnElement[bool]]:
    """The conditions for entries of the ledger that the first page of a walk could not see."""
    conditions = [beyond(session, LedgerEntry, walk.mark)]
    if walk.snapshot is not None:
        # Entries beyond the mark may have been committed already, while an older transaction was still under way.
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


def check_cursor(session: Session, cursor: Cursor, user: User, state: LedgerState) -> None:
    """Raise `ExpiredError` with the reason unless everything after the cursor can still be delivered."""
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
    if dict(session.execute(statement).all()) != marks:
        raise expired("the database has been restored from a backup.")


def _mark_of(xid: int | None, id_: int | None, tag: int | None) -> Mark:
    return Mark() if xid is None or id_ is None or tag is None else Mark(xid=xid, id=id_, tag=tag)


def _mark(session: Session, statement: Select[int, int, int]) -> Mark:
    entry = session.execute(statement).one_or_none()
    return Mark() if entry is None else Mark(xid=entry.xid, id=entry.id, tag=entry.tag)
