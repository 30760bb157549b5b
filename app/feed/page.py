"""A page of the feed while it is made: it names rows, each once, and shows them in their present state."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from sqlalchemy import Select
from sqlalchemy.orm import Session

from app.clock import to_wire
from app.core.values import JsonObject
from app.feed.cursor import Key
from app.feed.visibility import Visibility
from app.models.entities import entity_of
from app.models.serialize import encode, select_shown, undeleted
from app.plugin_api import Model

#: How many ids are read beyond the room that a page has left: rows that the page names already take no room.
PAGE_SLACK = 50


@dataclass(frozen=True, kw_only=True)
class PageDraft:
    """The rows that a page names."""

    session: Session
    visibility: Visibility
    #: The models whose rows are fed, parents first.
    models: Sequence[Model]
    #: How many rows the page may name.
    limit: int
    #: Model -> ids, each once.
    named: dict[Model, dict[Key, None]] = field(default_factory=dict)

    @property
    def room(self) -> int:
        """How many more rows the page can name."""
        return self.limit - sum(len(keys) for keys in self.named.values())

    def name(self, model: Model, key: Key) -> bool:
        """Name a row in this page. False if there is no room for it."""
        keys = self.named.setdefault(model, {})
        if key not in keys and self.room == 0:
            return False
        keys[key] = None
        return True

    def models_from(self, stage: str | None) -> Sequence[Model]:
        """The models from the entity `stage` on; all models without one."""
        names = [entity_of(model).name for model in self.models]
        return self.models[names.index(stage) if stage in names else 0 :]

    def ids(self, statement: Select[Key], model: Model, after: Key | None) -> Iterator[Sequence[Key]]:
        """The ids that a statement selects, after the id `after`, in order; read as they are needed."""
        while True:
            following = statement if after is None else statement.where(model.id > after)
            keys = self.session.scalars(following.order_by(model.id).limit(self.room + PAGE_SLACK)).all()
            if not keys:
                return
            yield keys
            after = keys[-1]

    def changes(self) -> list[JsonObject]:
        """The named rows in their present state, parents first; rows that are gone or not visible as `remove`."""
        return [change for model in self.models for change in self._changes_of(model)]

    def _changes_of(self, model: Model) -> Iterator[JsonObject]:
        keys, name = self.named.get(model, {}), entity_of(model).name
        visible = (self.visibility.of_row(model), *undeleted(model))
        statement = select_shown(model).where(model.id.in_(list(keys)), *visible)
        rows = {row.id: row for row in self.session.scalars(statement)} if keys else {}
        for key in sorted(keys):
            row = rows.get(key)
            if row is None:
                yield {"entity": name, "op": "remove", "id": key, "updated_at": None}
            else:
                version = to_wire(row.updated_at)
                yield {"entity": name, "op": "upsert", "id": key, "updated_at": version, "record": encode(row)}
