"""What changed since a cursor: a walk over what the user sees, then the ledger, a page at a time (section 6).

A page names each row once, in its present state. One entry of the ledger may bring many rows: an assignment brings an
inspection with all below it. So a cursor may stand inside an entry, and pages hold at most `limit` rows in any case.

The walk lists what was there and visible when it began, all of it: a device discards the rest. The feed after it may
have to begin earlier, before what some transaction still under way may yet add, and then tells part of it again.

No row comes before its parents, on whatever page: what is made during the walk comes in the feed, and of an inspection
that came into sight nothing comes before the entry that brings it whole.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from sqlalchemy import ColumnElement, inspect, select
from sqlalchemy.orm import Session

from app.clock import to_wire
from app.core.ledger.state import horizon, ledger_state
from app.feed.cursor import Cursor, Mark
from app.feed.entries import Entry, RelevantEntries, position_of
from app.feed.position import check_cursor, last_mark, newest_mark, snapshot_text
from app.feed.visibility import Sight
from app.models import Attachment, FormFill, Inspection, User
from app.models.entities import entity_of
from app.models.serialize import record_of, select_shown

#: How many ids are read beyond what a page has room for.
PAGE_SLACK = 50


@dataclass(frozen=True, kw_only=True)
class Page:
    """A page of the feed: changes as the contract has them, where to go on, and whether there is more by now."""

    changes: list[dict[str, Any]]
    cursor: Cursor
    has_more: bool


def feed_models(models: Sequence[type]) -> list[Any]:
    """The models whose rows are fed, parents first: the core's, then plugins' by the name of their entity."""
    core: list[Any] = [Inspection, FormFill, Attachment]
    others = [each for each in models if each not in core and hasattr(each, "inspection_id")]
    return core + sorted(others, key=lambda model: entity_of(model).name)


def read_page(
    session: Session,
    user: User,
    visible: ColumnElement[bool],
    models: Sequence[Any],
    cursor: Cursor | None,
    limit: int,
) -> Page:
    """The next page for `user`, who sees the inspections that `visible` selects; without a cursor the first.

    All its queries must see the same state: call it inside `app.core.database.transactions.snapshot`.
    Raises `ExpiredError` where the cursor cannot be continued.
    """
    limit_xid = horizon(session)
    if cursor is None:
        # Taken before the first page: what is committed later comes in the feed, whatever the walk has seen of it.
        stage, snapshot = entity_of(models[0]).name, snapshot_text(session)
        cursor = replace(start_cursor(session, user), is_walk=True, stage=stage, snapshot=snapshot)
    else:
        check_cursor(session, cursor, user, ledger_state(session))
    sight = Sight(session=session, user_id=user.id, visible=visible)
    names = [entity_of(model).name for model in models]
    entries = RelevantEntries(session=session, sight=sight, entities=names, horizon=limit_xid)
    reader = _Reader(session=session, sight=sight, models=models, limit=limit, entries=entries)
    cursor, has_more = reader.walk(cursor) if cursor.is_walk else reader.follow(cursor)
    return Page(changes=reader.changes(), cursor=replace(cursor, newest=newest_mark(session)), has_more=has_more)


def start_cursor(session: Session, user: User) -> Cursor:
    """The cursor of the session's snapshot: a feed from here leaves no gap after what the snapshot shows."""
    state = ledger_state(session)
    return Cursor(
        user_id=user.id,
        role=user.role,
        generation=state.generation,
        mark=last_mark(session, horizon(session)),
        newest=newest_mark(session),
    )


@dataclass(kw_only=True)
class _Reader:
    """Collects which rows a page names, and shows them in the end."""

    session: Session
    sight: Sight
    models: Sequence[Any]
    limit: int
    #: What the ledger tells the user.
    entries: RelevantEntries
    #: Model -> ids, each once.
    named: dict[Any, dict[Any, None]] = field(default_factory=dict)

    @property
    def room(self) -> int:
        """How many more rows the page can name."""
        return self.limit - sum(len(each) for each in self.named.values())

    def name(self, model: Any, key: Any) -> None:
        """Name a row in this page."""
        self.named.setdefault(model, {})[key] = None

    def walk(self, cursor: Cursor) -> tuple[Cursor, bool]:
        """Go on over the tables; at their end the feed begins."""
        for model in self._models_from(cursor.stage):
            stage = entity_of(model).name
            after = cursor.after if stage == cursor.stage else None
            for key in self._ids_at_beginning(cursor, model, after):
                if self.room == 0:
                    return replace(cursor, stage=stage, after=after), True
                self.name(model, key)
                after = key
        follows = replace(cursor, is_walk=False, stage=None, after=None, snapshot=None)
        return follows, self.entries.after(follows.mark, 1) != []

    def follow(self, cursor: Cursor) -> tuple[Cursor, bool]:
        """Go on in the ledger, from inside an entry or after it."""
        # The entry that the cursor stands inside, if it does, then what comes after it.
        inside = [] if cursor.stage is None else [self.entries.at(cursor.mark)]
        entries = inside + self.entries.after(cursor.mark, self.limit + 1)
        gains, forms = self.entries.last_gains(cursor.mark), self._forms_of_attachments(entries)
        for entry in entries:
            stage, after = (cursor.stage, cursor.after) if entry in inside else (None, None)
            mark = Mark(xid=entry.xid, id=entry.id, tag=entry.tag)
            is_covered = position_of(entry) < gains.get(entry.inspection_id, position_of(entry))
            for model, key in self._rows_of(entry, forms, is_covered, stage, after):
                if key not in self.named.get(model, {}) and self.room == 0:
                    # Nothing of this entry delivered: the cursor stays on the one before.
                    return (cursor if stage is None else replace(cursor, mark=mark, stage=stage, after=after)), True
                self.name(model, key)
                stage, after = entity_of(model).name, key
            cursor = replace(cursor, mark=mark, stage=None, after=None)
        if len(entries) > self.limit and self.entries.after(cursor.mark, 1):
            return cursor, True
        # Up to date: the cursor moves to the end, so that what did not concern this user is not looked at again, and
        # is not pruned under the cursor.
        return replace(cursor, mark=last_mark(self.session, self.entries.horizon)), False

    def changes(self) -> list[dict[str, Any]]:
        """The named rows in their present state, parents first; those not there, or not visible, as `remove`."""
        return [change for model in self.models for change in self._changes_of(model)]

    def _changes_of(self, model: Any) -> Iterator[dict[str, Any]]:
        keys, name = self.named.get(model, {}), entity_of(model).name
        statement = select_shown(model).where(model.id.in_(list(keys)), self.sight.of_row(model), *_live(model))
        rows = {row.id: row for row in self.session.scalars(statement)} if keys else {}
        for key in sorted(keys):
            row = rows.get(key)
            if row is None:
                yield {"entity": name, "op": "remove", "id": key, "updated_at": None}
            else:
                version = to_wire(row.updated_at)
                yield {"entity": name, "op": "upsert", "id": key, "updated_at": version, "record": record_of(row)}

    def _ids_at_beginning(self, walk: Cursor, model: Any, after: Any) -> Iterator[Any]:
        """The ids of visible rows that were there, and visible, when the walk began. The feed brings the others."""
        statement = select(model.id).where(self.sight.of_table(model), *_live(model))
        gained = self.entries.gained_during(walk)
        if gained:
            statement = statement.where(model.inspection_id.not_in(gained))
        for keys in self._pages(statement, model, after):
            new = self.entries.created_during(walk, entity_of(model).name, keys)
            yield from (key for key in keys if str(key) not in new)

    def _ids_below(self, root_id: int, model: Any, after: Any) -> Iterator[Any]:
        """The ids of visible rows of one inspection."""
        statement = select(model.id).where(model.inspection_id == root_id, self.sight.of_row(model), *_live(model))
        for keys in self._pages(statement, model, after):
            yield from keys

    def _pages(self, statement: Any, model: Any, after: Any) -> Iterator[Sequence[Any]]:
        """The ids that a statement selects, from behind `after` on, in order; read as they are needed."""
        while True:
            following = statement if after is None else statement.where(model.id > after)
            # A little more than there is room for: rows that the page names already take none.
            keys = self.session.scalars(following.order_by(model.id).limit(self.room + PAGE_SLACK)).all()
            if not keys:
                return
            yield keys
            after = keys[-1]

    def _models_from(self, stage: str | None) -> Sequence[Any]:
        """The models from the one under way on; all of them where none is."""
        names = [entity_of(model).name for model in self.models]
        return self.models[names.index(stage) if stage in names else 0 :]

    def _forms_of_attachments(self, entries: Sequence[Entry]) -> dict[str, int]:
        """Attachment id -> its form fill, which is announced with it."""
        ids = {each.entity_id for each in entries if each.entity == entity_of(Attachment).name}
        if not ids:
            return {}
        statement = select(Attachment.id, Attachment.form_fill_id).where(Attachment.id.in_(ids))
        return dict(self.session.execute(statement).all())

    def _rows_of(
        self, entry: Entry, forms: dict[str, int], is_covered: bool, stage: str | None, after: Any
    ) -> Iterator[tuple[Any, Any]]:
        """The rows that an entry brings, parents first, from behind (`stage`, `after`) on.

        `is_covered`: the inspection came into sight later, and then comes whole. Only what was deleted is still told:
        a device that lost sight of it and gained it again, all in one page, may hold the row.
        """
        if is_covered and entry.action not in ("delete", "loss"):
            return
        if entry.action == "gain":
            for model in self._models_from(stage):
                last = after if entity_of(model).name == stage else None
                for key in self._ids_below(entry.inspection_id, model, last):
                    yield model, key
            return
        model = next(each for each in self.models if entity_of(each).name == entry.entity)
        if model is Attachment and stage is None and entry.entity_id in forms and not is_covered:
            yield FormFill, forms[entry.entity_id]
        yield model, inspect(model).primary_key[0].type.python_type(entry.entity_id)


def _live(model: Any) -> list[ColumnElement[bool]]:
    """The condition for rows that are not marked as deleted."""
    return [model.deleted_at.is_(None)] if hasattr(model, "deleted_at") else []
