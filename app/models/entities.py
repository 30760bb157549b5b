"""Rows and models as entities: the fields that are recorded, and their values as JSON."""

from __future__ import annotations

import datetime as dt
from datetime import datetime
from typing import Any, ClassVar, Protocol, TypeAlias

from app.clock import to_wire
from app.plugin_api import Entity, recorded_columns

#: A row's fields, or columns, by name.
Fields: TypeAlias = dict[str, Any]


class Row(Protocol):
    """An instance of a model that carries `__entity__`, as the core sees it.

    `app.plugin_api.Row` is the same for authors of plugins, who read the attributes of their own models.
    """

    __entity__: ClassVar[Entity]

    @property
    def id(self) -> Any:
        """The primary key: a number, or a text that holds a UUID."""

    @property
    def inspection_id(self) -> int:
        """The inspection that decides who may see the row; users and form templates have none."""

    @property
    def created_at(self) -> datetime:
        """The row's first version."""

    @property
    def updated_at(self) -> datetime:
        """The row's present version."""


def entity_of(row_or_model: Any) -> Entity:
    """The `Entity` of a row or a model."""
    entity: Entity = row_or_model.__entity__
    return entity


def fields_of(row: Row) -> Fields:
    """A row's recorded fields as JSON values: the keys of its document, and its columns."""
    entity = entity_of(row)
    document = getattr(row, entity.document) if entity.document else {}
    return {**document, **{name: as_json(getattr(row, name)) for name in recorded_columns(type(row))}}


def as_json(value: Any) -> Any:
    """A column's value as the ledger keeps it."""
    if isinstance(value, datetime):
        return to_wire(value)
    return value.isoformat() if isinstance(value, dt.date) else value
