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
from app.feed.cursor import Cursor
from app.feed.entries import CHANGES, SIGHT, Look
from app.feed.position import PLACE, Present, place_of, select_present
from app.feed.visibility import FEW
from app.models import Inspection, LedgerEntry, LedgerState, User
from app.policies import USER_ID, visible_to


class _Found(NamedTuple):
    """What the statement finds beside `Present`; each field is a column of it."""

    pruned_xid: int
    pruned_id: int
    #: The tags of the entries that the cursor names; None where they are gone.
    mark_tag: int | None
    seen_tag: int | None
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
    database = database_of(session)
    parameters = {USER_ID.key: user.id, **place_of(cursor.mark), "seen_id": cursor.newest.id}
    query = Read(statement=_statement(database, user.role, tuple(entities)), parameters=parameters)
    database.read(session.connection(), [query])
    if not query.rows:
        return None
    count = len(Present._fields)
    present, found = Present._make(query.rows[0][:count]), _Found._make(query.rows[0][count:])
    if not _is_sound(present, found, cursor):
        return None
    return Look(
        horizon=present.horizon,
        last=present.last,
        newest=present.newest,
        has_sight=found.sight is not None,
        has_rootless=found.rootless is not None,
        has_visible=found.visible is not None,
        is_of_few=found.roots <= FEW,
    )


def _is_sound(present: Present, found: _Found, cursor: Cursor) -> bool:
    """Whether everything after the cursor can be delivered; `app.feed.position.check_cursor` tells why not."""
    known = ((cursor.mark, found.mark_tag), (cursor.newest, found.seen_tag))
    is_pruned = found.pruned_id and any(
        (mark.xid, mark.id) <= (found.pruned_xid, found.pruned_id) for mark in (cursor.mark, cursor.newest)
    )
    is_here = present.is_same_cluster and present.generation == cursor.generation
    return is_here and not is_pruned and all(not mark.id or mark.tag == tag for mark, tag in known)


@lru_cache
def _statement(database: Database, role: str, entities: tuple[str, ...]) -> Select[Any]:
    mark, seen = aliased(LedgerEntry), aliased(LedgerEntry)
    return (
        select_present(database)
        .add_columns(
            *(LedgerState.pruned_xid, LedgerState.pruned_id),
            *(mark.tag, seen.tag),
            *_concerns(database, role, entities),
        )
        .outerjoin(mark, mark.id == PLACE[1])
        .outerjoin(seen, seen.id == bindparam("seen_id", type_=BigInteger))
    )


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
