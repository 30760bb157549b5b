"""What changed since a cursor: a walk over what the user sees, then the ledger, a page at a time (section 6).

A page names each row once, in its present state. One entry of the ledger may bring many rows: an assignment brings an
inspection with all below it. So a cursor may stand inside an entry, and pages hold at most `limit` rows in any case.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from sqlalchemy import ColumnElement, inspect, select
from sqlalchemy.orm import Session

from app.clock import to_wire
from app.ledger.cursor import Cursor, Mark
from app.ledger.position import (
    begin_snapshot,
    below,
    beyond,
    check_cursor,
    horizon,
    last_mark,
    ledger_state,
    newest_mark,
)
from app.ledger.record import entity_of
from app.ledger.show import record_of, select_shown
from app.models import Attachment, FormFill, Inspection, LedgerEntry, User

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

    Raises `ExpiredError` where the cursor cannot be continued.
    """
    begin_snapshot(session)
    state = ledger_state(session)
    reader = _Reader(session=session, user=user, visible=visible, models=models, limit=limit)
    if cursor is None:
        # Taken before the first page: what is committed later comes in the feed, whatever the walk has seen of it.
        start = last_mark(session, horizon(session))
        stage = entity_of(models[0]).name
        cursor = Cursor(
            user_id=user.id,
            role=user.role,
            generation=state.generation,
            mark=start,
            newest=start,
            is_walk=True,
            stage=stage,
        )
    else:
        check_cursor(session, cursor, user, state)
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
    user: User
    visible: ColumnElement[bool]
    models: Sequence[Any]
    limit: int
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
            for key in self._visible_ids(model, after):
                if self.room == 0:
                    return replace(cursor, stage=stage, after=after), True
                self.name(model, key)
                after = key
        follows = replace(cursor, is_walk=False, stage=None, after=None)
        return follows, self._next_entries(follows, 1) != []

    def follow(self, cursor: Cursor) -> tuple[Cursor, bool]:
        """Go on in the ledger, from inside an entry or after it."""
        entries = self._next_entries(cursor, self.limit + 1)
        forms = self._forms_of_attachments(entries)
        for entry in entries:
            stage, after = (cursor.stage, cursor.after) if _is_at(cursor, entry) else (None, None)
            mark = Mark(xid=entry.xid, id=entry.id, tag=entry.tag)
            for model, key in self._rows_of(entry, forms, stage, after):
                if key not in self.named.get(model, {}) and self.room == 0:
                    # Nothing of this entry delivered: the cursor stays on the one before.
                    return (cursor if stage is None else replace(cursor, mark=mark, stage=stage, after=after)), True
                self.name(model, key)
                stage, after = entity_of(model).name, key
            cursor = replace(cursor, mark=mark, stage=None, after=None)
        if len(entries) > self.limit and self._next_entries(cursor, 1):
            return cursor, True
        # Up to date: the cursor moves to the end, so that it is not pruned with what did not concern this user.
        return replace(cursor, mark=last_mark(self.session, horizon(self.session))), False

    def changes(self) -> list[dict[str, Any]]:
        """The named rows in their present state, parents first; those not there, or not visible, as `remove`."""
        return [change for model in self.models for change in self._changes_of(model)]

    def _changes_of(self, model: Any) -> Iterator[dict[str, Any]]:
        keys, name = self.named.get(model, {}), entity_of(model).name
        statement = self._seen(select_shown(model), model).where(model.id.in_(list(keys)))
        rows = {row.id: row for row in self.session.scalars(statement)} if keys else {}
        for key in sorted(keys):
            row = rows.get(key)
            if row is None:
                yield {"entity": name, "op": "remove", "id": key, "updated_at": None}
            else:
                version = to_wire(row.updated_at)
                yield {"entity": name, "op": "upsert", "id": key, "updated_at": version, "record": record_of(row)}

    def _seen(self, statement: Any, model: Any) -> Any:
        """Restricts a statement to the rows that are there for the user."""
        if model is not Inspection:
            statement = statement.join(Inspection, Inspection.id == model.inspection_id)
        if hasattr(model, "deleted_at"):
            statement = statement.where(model.deleted_at.is_(None))
        return statement.where(self.visible)

    def _visible_ids(self, model: Any, after: Any, root_id: int | None = None) -> Iterator[Any]:
        """The ids of visible rows after `after`, in order; read as they are needed."""
        statement = self._seen(select(model.id), model).order_by(model.id)
        if root_id is not None:
            statement = statement.where(model.inspection_id == root_id)
        while True:
            following = statement if after is None else statement.where(model.id > after)
            # A little more than there is room for: rows that the page names already take none.
            keys = self.session.scalars(following.limit(self.room + PAGE_SLACK)).all()
            yield from keys
            if not keys:
                return
            after = keys[-1]

    def _models_from(self, stage: str | None) -> Sequence[Any]:
        """The models from the one under way on; all of them where none is."""
        names = [entity_of(model).name for model in self.models]
        return self.models[names.index(stage) if stage in names else 0 :]

    def _next_entries(self, cursor: Cursor, count: int) -> list[LedgerEntry]:
        """The entries that concern the user, from the one that the cursor stands inside, or after its mark."""
        entries: list[LedgerEntry] = []
        if cursor.stage is not None:
            entries = [self.session.get_one(LedgerEntry, cursor.mark.id)]
        statement = (
            select(LedgerEntry)
            .where(beyond(self.session, cursor.mark), *below(horizon(self.session)))
            .order_by(LedgerEntry.xid, LedgerEntry.id)
            .limit(count)
        )
        known = [entity_of(model).name for model in self.models]
        if self.user.role == "admin":
            found = statement.where(LedgerEntry.viewer_id.is_(None), LedgerEntry.entity.in_(known))
            return entries + list(self.session.scalars(found))
        # Two statements, each served by an index of its own; with OR between them neither would be.
        roots = select(Inspection.id).where(self.visible)
        changed = statement.where(
            LedgerEntry.inspection_id.in_(roots), LedgerEntry.viewer_id.is_(None), LedgerEntry.entity.in_(known)
        )
        sight = statement.where(LedgerEntry.viewer_id == self.user.id)
        both = [*self.session.scalars(changed), *self.session.scalars(sight)]
        return entries + sorted(both, key=lambda entry: (entry.xid, entry.id))[:count]

    def _forms_of_attachments(self, entries: Sequence[LedgerEntry]) -> dict[str, int]:
        """Attachment id -> its form fill, which is announced with it."""
        ids = {each.entity_id for each in entries if each.entity == entity_of(Attachment).name}
        if not ids:
            return {}
        statement = select(Attachment.id, Attachment.form_fill_id).where(Attachment.id.in_(ids))
        return dict(self.session.execute(statement).all())

    def _rows_of(
        self, entry: LedgerEntry, forms: dict[str, int], stage: str | None, after: Any
    ) -> Iterator[tuple[Any, Any]]:
        """The rows that an entry brings, parents first, from behind (`stage`, `after`) on."""
        if entry.action == "gain":
            for model in self._models_from(stage):
                last = after if entity_of(model).name == stage else None
                for key in self._visible_ids(model, last, root_id=entry.inspection_id):
                    yield model, key
            return
        model = next(each for each in self.models if entity_of(each).name == entry.entity)
        if model is Attachment and stage is None and entry.entity_id in forms:
            yield FormFill, forms[entry.entity_id]
        yield model, inspect(model).primary_key[0].type.python_type(entry.entity_id)


def _is_at(cursor: Cursor, entry: LedgerEntry) -> bool:
    return cursor.stage is not None and entry.id == cursor.mark.id
