"""Which items that were not applied are still open: derived from the ledger, never noted by a device (section 12).

An item is open until somebody decides it, until an operation with the same identity is applied, or, for a conflict,
until its device applies a later operation to the row, from a version at or after the one that the item met.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

from sqlalchemy import ColumnElement, Select, and_, delete, exists, null, or_, select, update
from sqlalchemy.orm import Session

from app.clock import now
from app.core.database.engine import db
from app.core.ledger.unit import unit_of_work
from app.models import Inspection, LedgerEntry, LedgerOperation, SetAside

#: Rows that the upkeep looks at in one transaction, so that others write in between.
PIECE = 1000


def is_open(row: Any = SetAside) -> ColumnElement[bool]:
    """The condition for rows that wait for a decision. `row`: has the columns, those of a query perhaps."""
    return and_(row.decision.is_(None), ~_is_applied(row), ~_is_superseded(row))


def is_open_among_many() -> ColumnElement[bool]:
    """`is_open()` with a condition that follows from it and has an index, for queries that read the rows of many."""
    return and_(SetAside.settled_at.is_(None), is_open())


def is_solved(row: Any = SetAside) -> ColumnElement[bool]:
    """The condition for rows that nobody has decided, because their device was faster."""
    return and_(row.decision.is_(None), or_(_is_applied(row), _is_superseded(row)))


def _is_applied(row: Any) -> ColumnElement[bool]:
    """The same operation was applied later."""
    return exists().where(
        LedgerOperation.user_id == row.user_id,
        LedgerOperation.device_id == row.device_id,
        LedgerOperation.local_id == row.local_id,
        LedgerOperation.fingerprint == row.fingerprint,
    )


def _is_superseded(row: Any) -> ColumnElement[bool]:
    """A conflict whose device has applied another operation to the row since, knowing the version that it met."""
    changed = exists().where(
        LedgerEntry.entity == row.entity,
        LedgerEntry.entity_id == row.entity_id,
        LedgerEntry.viewer_id.is_(None),
        LedgerEntry.version_before >= row.seen_version,
        LedgerOperation.unit_id == LedgerEntry.unit_id,
        LedgerOperation.position == LedgerEntry.position,
        *_is_own(row),
    )
    unchanged = exists().where(
        *_is_own(row),
        LedgerOperation.entity == row.entity,
        LedgerOperation.entity_id == row.entity_id,
        LedgerOperation.version_before == LedgerOperation.version_after,
        LedgerOperation.version_before >= row.seen_version,
    )
    return and_(row.seen_version.is_not(None), or_(changed, unchanged))


def _is_own(row: Any) -> tuple[ColumnElement[bool], ...]:
    """The device's own operation: what the office has decided under its name tells nothing of its other items."""
    return (
        LedgerOperation.user_id == row.user_id,
        LedgerOperation.device_id == row.device_id,
        LedgerOperation.decided_by_id.is_(None),
    )


def keep_up(kept: timedelta, values_kept: timedelta) -> int:
    """Note what devices have solved, forget the values of settled rows, and remove old rows; returns how many went.

    `kept`: how long rows stay after they were sent last; `values_kept`: how long the values of settled ones do.
    Rows of an inspection that is gone are removed, too.
    """
    moment = now()
    root = exists().where(Inspection.id == SetAside.inspection_id).correlate(SetAside)
    gone = and_(SetAside.inspection_id.is_not(None), ~root)
    _in_pieces(and_(SetAside.settled_at.is_(None), is_solved()), _setting(settled_at=moment))
    has_values = or_(SetAside.item.is_not(None), SetAside.seen.is_not(None), SetAside.details.is_not(None))
    old = and_(SetAside.settled_at < moment - values_kept, has_values)
    _in_pieces(old, _setting(item=null(), seen=null(), details=null(), item_bytes=0))
    return _in_pieces(or_(SetAside.last_at < moment - kept, gone), _remove)


def remove_of_inspection(session: Session, inspection_id: int) -> None:
    """Remove the rows of an inspection that is deleted. Inside a unit of work."""
    statement = delete(SetAside).where(SetAside.inspection_id == inspection_id)
    session.execute(statement, execution_options={"synchronize_session": False})


def _in_pieces(condition: ColumnElement[bool], work: Callable[[Session, list[str]], None]) -> int:
    """Do the work with the ids of all rows that the condition selects, a piece in a transaction; returns how many."""
    last, count = "", 0
    while ids := unit_of_work(lambda _unit_id, last=last: _piece(condition, work, last)):  # type: ignore[misc]
        last, count = ids[-1], count + len(ids)
    return count


def _piece(condition: ColumnElement[bool], work: Callable[[Session, list[str]], None], last: str) -> list[str]:
    session = db.session()
    statement: Select[Any] = select(SetAside.id).where(SetAside.id > last, condition)
    ids = list(session.scalars(statement.order_by(SetAside.id).limit(PIECE)))
    if ids:
        work(session, ids)
    return ids


def _setting(**values: Any) -> Callable[[Session, list[str]], None]:
    def work(session: Session, ids: list[str]) -> None:
        statement = update(SetAside).where(SetAside.id.in_(ids)).values(**values)
        session.execute(statement, execution_options={"synchronize_session": False})

    return work


def _remove(session: Session, ids: list[str]) -> None:
    session.execute(delete(SetAside).where(SetAside.id.in_(ids)), execution_options={"synchronize_session": False})
