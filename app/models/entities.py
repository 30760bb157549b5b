"""Rows and models as entities: the fields that are recorded, and their values as JSON."""

from __future__ import annotations

import datetime as dt
from datetime import datetime
from typing import Any

from app.clock import to_wire
from app.plugin_api import Entity, Row


def entity_of(row_or_model: Any) -> Entity:
    """The `Entity` of a row or a model."""
    found: Entity = row_or_model.__entity__
    return found


def fields_of(row: Row) -> dict[str, Any]:
    """A row's recorded fields as JSON values: the keys of its document, and its columns."""
    entity = entity_of(row)
    document = getattr(row, entity.document) if entity.document else {}
    return {**document, **{name: as_json(getattr(row, name)) for name in entity.fields}}


def as_json(value: Any) -> Any:
    """A column's value as the ledger keeps it."""
    if isinstance(value, datetime):
        return to_wire(value)
    return value.isoformat() if isinstance(value, dt.date) else value
