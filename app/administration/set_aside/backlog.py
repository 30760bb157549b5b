"""How much work waits for a decision, for `/metrics`: the database looks at a bounded number of rows each time."""

from __future__ import annotations

from datetime import datetime
from typing import NamedTuple

from sqlalchemy import ColumnElement, func, select
from sqlalchemy.orm import Session

from app.core.ledger.set_aside import is_open_among_many
from app.core.sync.set_aside import CONFLICT
from app.models import SetAside

#: Items are counted up to this number: beyond it, an exact one helps nobody.
MOST_COUNTED = 1000


class Backlog(NamedTuple):
    """The open items, counted up to `MOST_COUNTED` of each outcome, and when the oldest came in, if there is one."""

    conflict: int
    refused: int
    oldest_at: datetime | None


def backlog(session: Session) -> Backlog:
    """The items that wait on this server, counted in one statement."""
    oldest = select(SetAside.first_at).where(is_open_among_many()).order_by(SetAside.first_at, SetAside.id).limit(1)
    # Both sides of the code of conflicts are ranges of an index.
    below, above = _count(SetAside.code < CONFLICT), _count(SetAside.code > CONFLICT)
    statement = select(_count(SetAside.code == CONFLICT), below, above, oldest.scalar_subquery())
    conflict, before, after, oldest_at = session.execute(statement).one()
    return Backlog(conflict, min(before + after, MOST_COUNTED), oldest_at)


def _count(condition: ColumnElement[bool]) -> ColumnElement[int]:
    some = select(SetAside.id).where(is_open_among_many(), condition).limit(MOST_COUNTED).subquery()
    return select(func.count()).select_from(some).scalar_subquery()
