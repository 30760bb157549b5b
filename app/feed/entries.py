"""The entries of the ledger that concern a user: changes below visible inspections, changes of visibility, and changes
of form templates and users.

Each statement finds its entries in an index, no matter how large the ledger is and how far back the cursor stands.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, Protocol, cast

from sqlalchemy import ColumnElement, ScalarSelect, Select, or_, select
from sqlalchemy.orm import Session, aliased

from app.core.database import database_of
from app.core.ledger.state import below
from app.feed.cursor import Cursor, Key, Mark
from app.feed.position import beyond, last_mark, unseen
from app.feed.visibility import Visibility
from app.models import LedgerEntry, LedgerOperation

#: The columns that the feed reads. The changed values are for the history only.
COLUMNS = (
    *("xid", "id", "tag", "action", "entity", "entity_id", "inspection_id", "viewer_id"),
    *("version_after", "unit_id", "position"),
)

#: Actions on rows.
CHANGES = ("create", "change", "delete")

#: These say that a user sees an inspection from now on, or no longer.
SIGHT = ("gain", "loss")


class FeedEntry(Protocol):
    """A selected row of the ledger with these columns, and with who has decided its operation."""

    @property
    def xid(self) -> int: ...
    @property
    def id(self) -> int: ...
    @property
    def tag(self) -> int: ...
    @property
    def action(self) -> str: ...
    @property
    def entity(self) -> str: ...
    @property
    def entity_id(self) -> str: ...
    @property
    def inspection_id(self) -> int: ...
    @property
    def viewer_id(self) -> int | None: ...
    @property
    def version_after(self) -> datetime | None: ...
    @property
    def decided_by(self) -> int | None: ...


def entry_columns(model: Any) -> list[Any]:
    """The columns of a `FeedEntry`, of the ledger or an alias of it."""
    return [*_own_columns(model), _decided_by(model).label("decided_by")]


def _own_columns(model: Any) -> list[Any]:
    return [getattr(model, name) for name in COLUMNS]


def _decided_by(model: Any) -> ScalarSelect[int]:
    """Who in the office has decided the entry's operation. The small index of decided ones answers it alone."""
    statement = select(LedgerOperation.decided_by_id).where(
        LedgerOperation.unit_id == model.unit_id,
        # As a range: for an equation SQLite takes the large index of all operations, and then reads the operation.
        LedgerOperation.position.between(model.position, model.position),
        LedgerOperation.decided_by_id.is_not(None),
    )
    return statement.correlate_except(LedgerOperation).scalar_subquery()


@dataclass(frozen=True, kw_only=True)
class Look:
    """What has come after a cursor, as one statement has read it in the session's snapshot (`app.feed.quiet`)."""

    #: As `app.core.ledger.state.horizon`.
    horizon: int | None
    #: The last entry below it, and the entry with the highest id.
    last: Mark
    newest: Mark
    #: Whether there are entries of the user's sight, decided or not; entries below no inspection; and entries below the
    #: inspections that the user sees, if these are few.
    has_sight: bool
    has_rootless: bool
    has_visible: bool
    #: Whether the user sees few inspections, as `app.feed.visibility` counts.
    is_of_few: bool

    @property
    def is_quiet(self) -> bool:
        """Whether nothing after the cursor concerns the user."""
        return self.is_of_few and not (self.has_sight or self.has_rootless or self.has_visible)

    def moved(self, cursor: Cursor) -> Cursor:
        """The cursor of a page without changes."""
        return replace(cursor, mark=self.last, newest=self.newest)


@dataclass(frozen=True, kw_only=True)
class RelevantEntries:
    """The part of the ledger that concerns one user."""

    session: Session
    visibility: Visibility
    #: The names of the entities whose rows are fed.
    entities: Sequence[str]
    #: The horizon of the session's snapshot (`app.core.ledger.state.horizon`).
    horizon: int | None
    #: What is known already of the entries after the page's cursor.
    look: Look | None = None

    def end(self) -> Mark:
        """The last entry below the horizon."""
        return last_mark(self.session, self.horizon) if self.look is None else self.look.last

    def at(self, mark: Mark) -> FeedEntry:
        """The entry that a cursor stands on."""
        statement = select(*entry_columns(LedgerEntry)).where(LedgerEntry.id == mark.id)
        return cast(FeedEntry, self.session.execute(statement).one())

    def after(self, mark: Mark, count: int) -> list[FeedEntry]:
        """The next entries after `mark`, at most `count`, in the ledger's order."""
        statement = self._below_few(mark, count) if self.visibility.is_of_few else self._below_many(mark, count)
        entries = cast(list[FeedEntry], list(self.session.execute(statement)))
        if not self.visibility.is_of_all:
            sight = self._of_visibility(mark, count) if self._may_have_sight else []
            rootless = self._below_none(mark, count) if self.look is None or self.look.has_rootless else []
            entries = sorted([*entries, *sight, *rootless], key=position_of)
        return entries[:count]

    def last_gains(self, mark: Mark) -> dict[int, tuple[int, int]]:
        """Inspection -> the position of the last entry after `mark` that brought it into sight, decided or not."""
        if self.visibility.is_of_all or not self._may_have_sight:
            return {}
        statement = select(*entry_columns(LedgerEntry)).where(
            LedgerEntry.viewer_id == self.visibility.user_id,
            beyond(self.session, LedgerEntry, mark),
            LedgerEntry.action == "gain",
        )
        gains = sorted(cast(list[FeedEntry], list(self.session.execute(statement))), key=position_of)
        return {entry.inspection_id: position_of(entry) for entry in gains}

    @property
    def _may_have_sight(self) -> bool:
        return self.look is None or self.look.has_sight

    def losers(self, inspection_ids: Collection[int], cursor: Cursor) -> Sequence[Any]:
        """(inspection, user) for each user who has lost sight of one of these inspections since the cursor."""
        statement = select(LedgerEntry.inspection_id, LedgerEntry.viewer_id).where(
            LedgerEntry.action == "loss", *self._since(inspection_ids, cursor)
        )
        return self.session.execute(statement).all()

    def deleted_below(self, inspection_ids: Collection[int], cursor: Cursor) -> Sequence[Any]:
        """(inspection, entity, id) for each row of these inspections that was deleted since the cursor."""
        statement = select(LedgerEntry.inspection_id, LedgerEntry.entity, LedgerEntry.entity_id).where(
            LedgerEntry.action == "delete", *self._since(inspection_ids, cursor)
        )
        return self.session.execute(statement).all()

    def _since(self, inspection_ids: Collection[int], cursor: Cursor) -> list[ColumnElement[bool]]:
        """The conditions for entries below these inspections, decided or not, that the device may not have been told.

        A cursor that stands inside an entry stands behind others of the same unit: then all are taken.
        """
        below_these = LedgerEntry.inspection_id.in_(inspection_ids)
        return [below_these] if cursor.stage else [below_these, beyond(self.session, LedgerEntry, cursor.mark)]

    def has_unseen(self, walk: Cursor) -> bool:
        """Whether anything has happened since the walk began."""
        statement = select(LedgerEntry.id).where(*unseen(self.session, walk)).limit(1)
        return self.session.scalar(statement) is not None

    def gained_during(self, walk: Cursor) -> set[int]:
        """The inspections that came into the user's sight after the walk had begun."""
        if self.visibility.is_of_all:
            return set()
        statement = select(LedgerEntry.inspection_id).where(
            LedgerEntry.viewer_id == self.visibility.user_id,
            LedgerEntry.action == "gain",
            *unseen(self.session, walk),
        )
        return set(self.session.scalars(statement))

    def created_during(self, walk: Cursor, entity: str, keys: Collection[Key]) -> set[str]:
        """The ids, as text, of the given rows that were made after the walk had begun."""
        statement = select(LedgerEntry.entity_id).where(
            LedgerEntry.entity == entity,
            LedgerEntry.entity_id.in_([str(key) for key in keys]),
            LedgerEntry.action == "create",
            *unseen(self.session, walk),
        )
        return set(self.session.scalars(statement)) if keys else set()

    def _below_many(self, mark: Mark, count: int) -> Select[Any]:
        """The next visible changes: the ledger is read in its order, and each entry is tested."""
        changed = select(*entry_columns(LedgerEntry)).where(*self._changed(LedgerEntry, mark))
        if self.visibility.is_of_all:
            changed = changed.where(LedgerEntry.viewer_id.is_(None))
        else:
            changed = changed.where(self.visibility.of_row(LedgerEntry))
        return _first(changed, LedgerEntry, count)

    def _below_few(self, mark: Mark, count: int) -> Select[Any]:
        """The next visible changes: the first of each visible inspection, found in an index, and of these the first.

        Other entries are never read. With `inspection_id IN (SELECT …) ORDER BY … LIMIT` both databases would at
        times read the ledger in its order, hoping to meet enough visible entries.
        """
        roots, entry = self.visibility.roots(), aliased(LedgerEntry)
        below_root = select(entry.id).where(entry.inspection_id == roots.c.id, *self._changed(entry, mark))
        below_root = _first(below_root, entry, count)
        database = database_of(self.session)
        joined, found = database.join_each(roots, LedgerEntry, below_root, _own_columns(entry))
        return _first(select(*entry_columns(found)).select_from(joined), found, count)

    def _of_visibility(self, mark: Mark, count: int) -> Sequence[FeedEntry]:
        """The next entries about inspections that the user sees from then on, or no longer."""
        conditions = (beyond(self.session, LedgerEntry, mark), *below(LedgerEntry, self.horizon))
        statement = select(*entry_columns(LedgerEntry)).where(
            LedgerEntry.viewer_id == self.visibility.user_id, *conditions
        )
        return cast(Sequence[FeedEntry], self.session.execute(_first(statement, LedgerEntry, count)).all())

    def _below_none(self, mark: Mark, count: int) -> Sequence[FeedEntry]:
        """The next entries about rows below no inspection: form templates and users."""
        statement = select(*entry_columns(LedgerEntry)).where(
            LedgerEntry.inspection_id.is_(None), *self._changed(LedgerEntry, mark)
        )
        return cast(Sequence[FeedEntry], self.session.execute(_first(statement, LedgerEntry, count)).all())

    def _changed(self, model: Any, mark: Mark) -> list[ColumnElement[bool]]:
        """The conditions for decided changes of fed rows after `mark`, and of other users' sight."""
        return [
            beyond(self.session, model, mark),
            *below(model, self.horizon),
            model.action.in_((*CHANGES, *SIGHT)),
            or_(model.viewer_id.is_(None), model.viewer_id != self.visibility.user_id),
            model.entity.in_(self.entities),
        ]


def position_of(entry: FeedEntry) -> tuple[int, int]:
    """The position of an entry in the ledger's order."""
    return entry.xid, entry.id


def mark_of(entry: FeedEntry) -> Mark:
    """The mark of a cursor that stands on the entry."""
    return Mark(xid=entry.xid, id=entry.id, tag=entry.tag)


def _first(statement: Select[Any], model: Any, count: int) -> Select[Any]:
    return statement.order_by(model.xid, model.id).limit(count)
