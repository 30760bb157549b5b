"""A look at the feed with nothing new, which is most of them: one fixed statement answers it (contract, section 6).

The statement reads all that a page reads of the ledger's state, and looks for an entry that concerns the user. If it
finds one, the page is made from what it has read. If anything about the cursor is doubtful, it decides nothing: then
the page begins anew.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import lru_cache
from typing import Any, NamedTuple

from sqlalchemy import (
    BigInteger,
    ColumnElement,
    ScalarSelect,
    Select,
    bindparam,
    case,
    func,
    literal,
    or_,
    select,
)
from sqlalchemy.orm import Session, aliased

from app.core.database import Database, database_of
from app.core.database.read import Read
from app.core.ledger.state import below
from app.feed.cursor import Cursor, Mark
from app.feed.entries import CHANGES, SIGHT, Look
from app.feed.position import PLACE, place_of
from app.feed.visibility import FEW, USER_ID, visible_to
from app.models import Inspection, LedgerEntry, LedgerState, User


class _Columns(NamedTuple):
    """What the statement finds; each field is a column of it."""

    generation: str
    is_same_cluster: bool
    pruned_xid: int
    pruned_id: int
    #: The tags of the entries that the cursor names; None where they are gone.
    mark_tag: int | None
    seen_tag: int | None
    horizon: int | None
    newest_xid: int | None
    newest_id: int | None
    newest_tag: int | None
    #: The last entry below the horizon.
    last_xid: int | None
    last_id: int | None
    last_tag: int | None
    #: The next entries that concern the user: of their own sight, decided or not; below no inspection; below one that
    #: they see. For administrators the last is any change.
    sight: int | None
    rootless: int | None
    visible: int | None
    #: How many inspections the user sees, if they are not too many to look up each of them; for administrators 0.
    roots: int


def look_from(session: Session, user: User, cursor: Cursor, entities: Sequence[str]) -> Look | None:
    """What has come after a cursor that stands in the ledger; None where that cannot be told from one statement.

    Call it inside `app.core.database.transactions.snapshot`. `entities`: the names of the entities that are fed.
    """
    if cursor.is_walk or cursor.stage is not None or (cursor.user_id, cursor.role) != (user.id, user.role):
        return None
    columns = _read(session, user, cursor, tuple(entities))
    if columns is None or not _is_sound(columns, cursor):
        return None
    return Look(
        horizon=columns.horizon,
        last=_mark(columns.last_xid, columns.last_id, columns.last_tag),
        newest=_mark(columns.newest_xid, columns.newest_id, columns.newest_tag),
        has_sight=columns.sight is not None,
        has_rootless=columns.rootless is not None,
        has_visible=columns.visible is not None,
        is_of_few=columns.roots <= FEW,
    )


def _read(session: Session, user: User, cursor: Cursor, entities: tuple[str, ...]) -> _Columns | None:
    database = database_of(session)
    parameters = {USER_ID.key: user.id, **place_of(cursor.mark), "seen_id": cursor.newest.id}
    query = Read(statement=_statement(database, user.role, entities), parameters=parameters)
    database.read(session.connection(), [query])
    return _Columns._make(query.rows[0]) if query.rows else None


def _is_sound(look: _Columns, cursor: Cursor) -> bool:
    """Whether everything after the cursor can be delivered; `app.feed.position.check_cursor` tells why not."""
    known = ((cursor.mark, look.mark_tag), (cursor.newest, look.seen_tag))
    is_pruned = look.pruned_id and any(
        (mark.xid, mark.id) <= (look.pruned_xid, look.pruned_id) for mark in (cursor.mark, cursor.newest)
    )
    is_here = look.is_same_cluster and look.generation == cursor.generation
    return is_here and not is_pruned and all(not mark.id or mark.tag == tag for mark, tag in known)


def _mark(xid: int | None, id_: int | None, tag: int | None) -> Mark:
    return Mark() if xid is None or id_ is None or tag is None else Mark(xid=xid, id=id_, tag=tag)


@lru_cache
def _statement(database: Database, role: str, entities: tuple[str, ...]) -> Select[Any]:
    mark, seen, newest, last = (aliased(LedgerEntry) for _ in range(4))
    newest_id, horizon = select(func.max(LedgerEntry.id)).scalar_subquery(), database.horizon_column()
    statement: Select[Any] = (
        select(  # type: ignore[assignment]
            LedgerState.generation,
            LedgerState.cluster == database.cluster_column(),
            LedgerState.pruned_xid,
            LedgerState.pruned_id,
            mark.tag,
            seen.tag,
            literal(None) if horizon is None else horizon,
            *(newest.xid, newest.id, newest.tag),
            *(last.xid, last.id, last.tag),
            *_concerns(database, role, entities),
        )
        .select_from(LedgerState)
        .outerjoin(mark, mark.id == PLACE[1])
        .outerjoin(seen, seen.id == bindparam("seen_id", type_=BigInteger))
        .outerjoin(newest, newest.id == newest_id)
        .outerjoin(last, last.id == (newest_id if horizon is None else _last_id(database)))
        .where(LedgerState.id == 1)
    )
    return statement


def _last_id(database: Database) -> ScalarSelect[int]:
    statement = select(LedgerEntry.id).where(*below(LedgerEntry, database.horizon_column()))
    return statement.order_by(LedgerEntry.xid.desc(), LedgerEntry.id.desc()).limit(1).scalar_subquery()


def _concerns(database: Database, role: str, entities: tuple[str, ...]) -> Sequence[ColumnElement[Any]]:
    """The last columns: entries after the cursor that concern the user, and the number of inspections looked up."""
    changed = (_one_of(LedgerEntry.action, CHANGES), _one_of(LedgerEntry.entity, entities))
    visible = visible_to(role)
    if role == "admin":
        return literal(None), literal(None), _first(database, *changed), literal(0)
    # A subquery with a limit is run for each row, through an index: no planner can make a join of it.
    some = select(Inspection.id).where(visible).limit(FEW + 1).subquery()
    others = or_(LedgerEntry.viewer_id.is_(None), LedgerEntry.viewer_id != USER_ID)
    below_one = _first(
        database,
        LedgerEntry.inspection_id == some.c.id,
        _one_of(LedgerEntry.action, (*CHANGES, *SIGHT)),
        _one_of(LedgerEntry.entity, entities),
        others,
    )
    below_any = select(func.max(below_one)).select_from(some).scalar_subquery()
    roots = select(func.count()).select_from(some).scalar_subquery()
    return (
        _next(database, LedgerEntry.viewer_id == USER_ID),
        _first(database, LedgerEntry.inspection_id.is_(None), *changed),
        # Both databases run a subquery only once its value is needed: of too many inspections none is looked up.
        case((roots <= FEW, below_any)),
        roots,
    )


def _first(database: Database, *conditions: ColumnElement[bool]) -> ScalarSelect[int]:
    """The first decided entry after the cursor that meets the conditions."""
    return _next(database, *below(LedgerEntry, database.horizon_column()), *conditions)


def _next(database: Database, *conditions: ColumnElement[bool]) -> ScalarSelect[int]:
    """The first entry after the cursor that meets the conditions."""
    after = database.after(LedgerEntry.xid, LedgerEntry.id, PLACE)
    statement = select(LedgerEntry.id).where(after, *conditions)
    return statement.order_by(LedgerEntry.xid, LedgerEntry.id).limit(1).correlate_except(LedgerEntry).scalar_subquery()


def _one_of(column: Any, values: Iterable[str]) -> ColumnElement[bool]:
    """`column IN` the values, as a text that is the same each time."""
    return or_(*(column == value for value in values))
