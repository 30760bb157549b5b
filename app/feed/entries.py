"""The entries of the ledger that concern a user: changes below visible inspections, changes of visibility, and changes
of form templates and users.

Each statement finds its entries in an index, no matter how large the ledger is and how far back the cursor stands.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from functools import lru_cache
from typing import Any, Protocol, cast

from sqlalchemy import (
    BigInteger,
    BindParameter,
    ColumnElement,
    Integer,
    ScalarSelect,
    Select,
    bindparam,
    or_,
    select,
)
from sqlalchemy.orm import Session, aliased

from app.core.database import Database, database_of
from app.core.ledger.state import below
from app.feed.cursor import Cursor, Key, Mark
from app.feed.position import PLACE, beyond, last_mark, place_of, unseen
from app.feed.visibility import Visibility, roots_of
from app.models import LedgerEntry, LedgerOperation
from app.policies import USER_ID

#: The columns that the feed reads. The changed values are for the history only.
COLUMNS = (
    *("xid", "id", "tag", "action", "entity", "entity_id", "inspection_id", "viewer_id"),
    *("version_after", "unit_id", "position"),
)

#: Parameters of statements that are built once: below which transaction id entries are decided, and how many to read.
HORIZON, COUNT = bindparam("horizon", type_=BigInteger), bindparam("count", type_=Integer)

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
        entries = self._below_few(mark, count) if self.visibility.is_of_few else self._below_many(mark, count)
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

    def _below_many(self, mark: Mark, count: int) -> list[FeedEntry]:
        """The next visible changes: the ledger is read in its order, and each entry is tested."""
        changed = select(*entry_columns(LedgerEntry)).where(*self._changed(mark))
        if self.visibility.is_of_all:
            changed = changed.where(LedgerEntry.viewer_id.is_(None))
        else:
            changed = changed.where(self.visibility.of_row(LedgerEntry))
        statement = _first(changed, LedgerEntry, count)
        return cast(list[FeedEntry], list(self.session.execute(statement, self.visibility.parameters)))

    def _below_few(self, mark: Mark, count: int) -> list[FeedEntry]:
        """The next visible changes: the first of each visible inspection, found in an index, and of these the first."""
        is_bounded = self.horizon is not None
        statement = _below_roots(database_of(self.session), self.visibility.role, tuple(self.entities), is_bounded)
        bounds = {COUNT.key: count, **({HORIZON.key: self.horizon} if is_bounded else {})}
        parameters = {**self.visibility.parameters, **place_of(mark), **bounds}
        return cast(list[FeedEntry], list(self.session.execute(statement, parameters)))

    def _of_visibility(self, mark: Mark, count: int) -> Sequence[FeedEntry]:
        """The next entries about inspections that the user sees from then on, or no longer."""
        conditions = (beyond(self.session, LedgerEntry, mark), *below(LedgerEntry, self.horizon))
        statement = select(*entry_columns(LedgerEntry)).where(
            LedgerEntry.viewer_id == self.visibility.user_id, *conditions
        )
        return cast(Sequence[FeedEntry], self.session.execute(_first(statement, LedgerEntry, count)).all())

    def _below_none(self, mark: Mark, count: int) -> Sequence[FeedEntry]:
        """The next entries about rows below no inspection: form templates and users."""
        statement = select(*entry_columns(LedgerEntry)).where(LedgerEntry.inspection_id.is_(None), *self._changed(mark))
        return cast(Sequence[FeedEntry], self.session.execute(_first(statement, LedgerEntry, count)).all())

    def _changed(self, mark: Mark) -> list[ColumnElement[bool]]:
        """The conditions for decided changes of fed rows after `mark`, and of other users' sight."""
        after, decided = beyond(self.session, LedgerEntry, mark), below(LedgerEntry, self.horizon)
        return [after, *decided, *_of_others(LedgerEntry, self.visibility.user_id, self.entities)]


# To build it anew takes longer than the database takes to answer it.
@lru_cache
def _below_roots(database: Database, role: str, entities: tuple[str, ...], is_bounded: bool) -> Select[Any]:
    """The next decided changes after `PLACE`, at most `COUNT` below each visible inspection, and of these the first.

    Other entries are never read. With `inspection_id IN (SELECT …) ORDER BY … LIMIT` both databases would at times read
    the ledger in its order, hoping to meet enough visible entries. `is_bounded`: entries lie below `HORIZON`.
    """
    roots, entry = roots_of(role), aliased(LedgerEntry)
    after = database.after(entry.xid, entry.id, PLACE)
    decided = below(entry, HORIZON if is_bounded else None)
    below_root = select(entry.id).where(
        entry.inspection_id == roots.c.id, after, *decided, *_of_others(entry, USER_ID, entities)
    )
    joined, found = database.join_each(roots, LedgerEntry, _first(below_root, entry, COUNT), _own_columns(entry))
    return _first(select(*entry_columns(found)).select_from(joined), found, COUNT)


def _of_others(model: Any, user_id: Any, entities: Sequence[str]) -> list[ColumnElement[bool]]:
    """The conditions for changes of fed rows, and of the sight of others than this user."""
    return [
        model.action.in_((*CHANGES, *SIGHT)),
        or_(model.viewer_id.is_(None), model.viewer_id != user_id),
        model.entity.in_(entities),
    ]


def position_of(entry: FeedEntry) -> tuple[int, int]:
    """The position of an entry in the ledger's order."""
    return entry.xid, entry.id


def mark_of(entry: FeedEntry) -> Mark:
    """The mark of a cursor that stands on the entry."""
    return Mark(xid=entry.xid, id=entry.id, tag=entry.tag)


def _first(statement: Select[Any], model: Any, count: int | BindParameter[int]) -> Select[Any]:
    return statement.order_by(model.xid, model.id).limit(count)
