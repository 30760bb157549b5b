"""Which rows of the ledger concern a user: changes below what the user sees, and changes of what the user sees.

Each statement finds its rows in an index, however large the ledger is and however far back the cursor stands.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import ColumnElement, Row, Select, select
from sqlalchemy.orm import Session, aliased

from app.core.database import database_of
from app.core.ledger.state import below
from app.feed.cursor import Cursor, Mark
from app.feed.position import beyond, unseen
from app.feed.visibility import Sight
from app.models import LedgerEntry

#: What a row of the ledger is to the feed. What was changed in it is for history.
COLUMNS = ("xid", "id", "tag", "action", "entity", "entity_id", "inspection_id")

#: What happens to a row; `gain` and `loss` happen to a user's sight.
CHANGES = ("create", "change", "delete")

#: A row of the ledger with these columns.
Entry = Row[Any]


def columns_of(model: Any) -> list[Any]:
    """The columns of an `Entry`, of the ledger or an alias of it."""
    return [getattr(model, name) for name in COLUMNS]


@dataclass(frozen=True, kw_only=True)
class RelevantEntries:
    """The part of the ledger that concerns one user."""

    session: Session
    sight: Sight
    #: Names of the entities that are fed.
    entities: Sequence[str]
    #: Of the session's snapshot: see `app.feed.position.horizon`.
    horizon: int | None

    def at(self, mark: Mark) -> Entry:
        """The entry that a cursor stands on."""
        return self.session.execute(select(*columns_of(LedgerEntry)).where(LedgerEntry.id == mark.id)).one()

    def after(self, mark: Mark, count: int) -> list[Entry]:
        """The next entries after `mark`, in the ledger's order; at most `count`."""
        statement = self._below_few(mark, count) if self.sight.is_of_few else self._below_many(mark, count)
        found = list(self.session.execute(statement))
        if not self.sight.is_of_all:
            found = sorted([*found, *self._of_sight(mark, count)], key=position_of)
        return found[:count]

    def last_gains(self, mark: Mark) -> dict[int, tuple[int, int]]:
        """Inspection -> where in the ledger the user came to see it last, if after `mark`, decided or not."""
        if self.sight.is_of_all:
            return {}
        statement = select(*columns_of(LedgerEntry)).where(
            LedgerEntry.viewer_id == self.sight.user_id,
            beyond(self.session, LedgerEntry, mark),
            LedgerEntry.action == "gain",
        )
        found = sorted(self.session.execute(statement), key=position_of)
        return {entry.inspection_id: position_of(entry) for entry in found}

    def gained_during(self, walk: Cursor) -> set[int]:
        """The inspections that the user came to see since the walk began."""
        if self.sight.is_of_all:
            return set()
        statement = select(LedgerEntry.inspection_id).where(
            LedgerEntry.viewer_id == self.sight.user_id,
            LedgerEntry.action == "gain",
            *unseen(self.session, walk),
        )
        return set(self.session.scalars(statement))

    def created_during(self, walk: Cursor, entity: str, keys: Collection[Any]) -> set[str]:
        """The ids, as text, of those of these rows that were made since the walk began."""
        statement = select(LedgerEntry.entity_id).where(
            LedgerEntry.entity == entity,
            LedgerEntry.entity_id.in_([str(key) for key in keys]),
            LedgerEntry.action == "create",
            *unseen(self.session, walk),
        )
        return set(self.session.scalars(statement)) if keys else set()

    def _below_many(self, mark: Mark, count: int) -> Select[Any]:
        """The next changes in the ledger's order, of each of which it is asked whether it is visible."""
        changed = select(*columns_of(LedgerEntry)).where(*self._changed(LedgerEntry, mark))
        if not self.sight.is_of_all:
            changed = changed.where(self.sight.of_row(LedgerEntry))
        return _first(changed, LedgerEntry, count)

    def _below_few(self, mark: Mark, count: int) -> Select[Any]:
        """The next changes below each visible inspection, found in its own part of an index; of all these the first.

        Whatever else has happened is never read. With `inspection_id IN (SELECT …) ORDER BY … LIMIT` both databases
        would at times read the ledger in its order, in the hope to meet enough of what is visible.
        """
        roots, each = self.sight.roots(), aliased(LedgerEntry)
        below_root = select(each.id).where(each.inspection_id == roots.c.id, *self._changed(each, mark))
        below_root = _first(below_root, each, count)
        database = database_of(self.session)
        joined, found = database.join_each(roots, LedgerEntry, below_root, columns_of(each))
        return _first(select(*columns_of(found)).select_from(joined), found, count)

    def _of_sight(self, mark: Mark, count: int) -> Sequence[Entry]:
        """The next entries that tell of inspections which the user came to see or no longer sees."""
        conditions = (beyond(self.session, LedgerEntry, mark), *below(LedgerEntry, self.horizon))
        statement = select(*columns_of(LedgerEntry)).where(LedgerEntry.viewer_id == self.sight.user_id, *conditions)
        return self.session.execute(_first(statement, LedgerEntry, count)).all()

    def _changed(self, model: Any, mark: Mark) -> list[ColumnElement[bool]]:
        """The conditions for changes of rows that are fed, after `mark` and decided."""
        return [
            beyond(self.session, model, mark),
            *below(model, self.horizon),
            model.action.in_(CHANGES),
            model.entity.in_(self.entities),
        ]


def position_of(entry: Entry) -> tuple[int, int]:
    """Where an entry stands in the ledger."""
    return entry.xid, entry.id


def _first(statement: Select[Any], model: Any, count: int) -> Select[Any]:
    return statement.order_by(model.xid, model.id).limit(count)
