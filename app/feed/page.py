"""A page of the feed while it is made: it names rows, each once, and shows them in their present state."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import TypeAlias

from sqlalchemy import Select, select
from sqlalchemy.orm import Session

from app.clock import to_wire
from app.core.values import JsonObject
from app.feed.cursor import Cursor, Key
from app.feed.sizes import sizes_of
from app.feed.visibility import Visibility
from app.models import FormFill, LedgerEntry
from app.models.entities import entity_of
from app.models.serialize import encode, undeleted
from app.models.shown import rows_with_ids
from app.plugin_api import Model

#: How many bytes of content a page may have, unless a single row has more (contract, section 6).
PAGE_BYTES = 8 * 1024 * 1024

#: How many ids are read beyond the room that a page has left: rows that the page names already take no room.
PAGE_SLACK = 50


#: A change: entity, id, and the version that it made; None: the row was deleted.
Decided: TypeAlias = tuple[str, str, datetime | None]


@dataclass(frozen=True, kw_only=True)
class PageRequest:
    """A device's request for a page."""

    #: Where the page begins; None: with a walk over everything.
    cursor: Cursor | None = None
    #: How many rows the page may name.
    limit: int
    #: Whether form fills carry the structures of their templates.
    has_structures: bool = False


@dataclass(frozen=True, kw_only=True)
class PageDraft:
    """The rows that a page names."""

    session: Session
    visibility: Visibility
    #: The models whose rows are fed, parents first.
    models: Sequence[Model]
    request: PageRequest
    #: Model -> ids, each once.
    named: dict[Model, set[Key]] = field(default_factory=dict)
    #: The same rows in the order in which they were named.
    order: list[tuple[Model, Key]] = field(default_factory=list)
    #: Who in the office has decided a change in its sender's place.
    decided: dict[Decided, int] = field(default_factory=dict)

    @property
    def room(self) -> int:
        """How many more rows the page can name."""
        return self.request.limit - len(self.order)

    def name(self, model: Model, key: Key) -> bool:
        """Name a row in this page. False if there is no room for it."""
        keys = self.named.setdefault(model, set())
        if key in keys:
            return True
        if self.room == 0:
            return False
        keys.add(key)
        self.order.append((model, key))
        return True

    def fitting(self) -> int:
        """How many of the named rows, in the order of their naming, fit into a page by their bytes; one does always."""
        sizes, total = sizes_of(self.session, self.named, has_structures=self.request.has_structures), 0
        for count, (model, key) in enumerate(self.order):
            total += sizes.get((entity_of(model).name, str(key)), 0)
            if total > PAGE_BYTES and count:
                return count
        return len(self.order)

    def models_from(self, stage: str | None) -> Sequence[Model]:
        """The models from the entity `stage` on; all models without one."""
        names = [entity_of(model).name for model in self.models]
        return self.models[names.index(stage) if stage in names else 0 :]

    def ids(self, statement: Select[Key], model: Model, after: Key | None) -> Iterator[Sequence[Key]]:
        """The ids that a statement selects, after the id `after`, in order; read as they are needed.

        It may have conditions of `visibility`.
        """
        while True:
            following = statement if after is None else statement.where(model.id > after)
            count = self.room + PAGE_SLACK
            ordered = following.order_by(model.id).limit(count)
            keys = self.session.scalars(ordered, self.visibility.parameters).all()
            yield keys
            if len(keys) < count:
                return
            after = keys[-1]

    def changes(self) -> list[JsonObject]:
        """The named rows in their present state, parents first; rows that are gone or not visible as `remove`."""
        return [change for model in self.models for change in self._changes_of(model)]

    def _changes_of(self, model: Model) -> Iterator[JsonObject]:
        keys, name = self.named.get(model, set()), entity_of(model).name
        records = self._records(model, keys) if keys else {}
        client_ids = self._client_ids(model, [key for key in keys if key not in records])
        for key in sorted(keys):
            if key in records:
                version, shown = records[key]
                yield {"entity": name, "op": "upsert", "id": key, **shown, **self._decider(name, key, version)}
            else:
                names = {**client_ids.get(key, {}), **self._decider(name, key, None)}
                yield {"entity": name, "op": "remove", "id": key, "updated_at": None, **names}

    def _decider(self, entity: str, key: Key, version: datetime | None) -> JsonObject:
        """`{"decided_by"}` where the office has decided the change that a row comes for."""
        user_id = self.decided.get((entity, str(key), version))
        return {} if user_id is None else {"decided_by": user_id}

    def _records(self, model: Model, keys: Collection[Key]) -> dict[Key, tuple[datetime, JsonObject]]:
        """Id -> version, and `updated_at` and `record`, of the rows that are visible."""
        is_slim = model is FormFill and not self.request.has_structures
        visible = (self.visibility.of_row(model), *undeleted(model))
        loads = ("attachments",) if is_slim else None
        rows = rows_with_ids(self.session, model, keys, *visible, parameters=self.visibility.parameters, loads=loads)
        return {
            row.id: (row.updated_at, {"updated_at": to_wire(row.updated_at), "record": encode(row)}) for row in rows
        }

    def _client_ids(self, model: Model, keys: Collection[Key]) -> dict[Key, JsonObject]:
        """Id -> `{"client_id"}` of rows that go, of models whose rows may have one."""
        if not keys or not hasattr(model, "client_id"):
            return {}
        present = select(model.id, model.client_id).where(model.id.in_(keys))
        deleted = select(LedgerEntry.entity_id, LedgerEntry.client_id).where(
            LedgerEntry.entity == entity_of(model).name,
            LedgerEntry.entity_id.in_([str(key) for key in keys]),
            LedgerEntry.client_id.is_not(None),
        )
        names = {str(key): client_id for query in (present, deleted) for key, client_id in self.session.execute(query)}
        return {key: {"client_id": names.get(str(key))} for key in keys}
