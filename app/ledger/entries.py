"""What a unit of work states before it is written: changes to rows, and the operations that they belong to."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Table, inspect

from app.clock import to_wire
from app.plugin_api import Entity, Row

#: field -> {"old": value, "new": value}; a missing key says that the field was absent.
Changes = dict[str, dict[str, Any]]


@dataclass(kw_only=True, slots=True)
class Entry:
    """One change to one row, stated but not yet written."""

    action: str
    row: Row
    #: The operation's place in its unit.
    position: int
    version_before: datetime | None
    version_after: datetime | None
    changes: Changes
    #: Attribute -> value before, to undo the change in memory.
    previous: dict[str, Any]
    #: Users whose sight of the row's inspection changes with it.
    gains: set[int]
    losses: set[int]


@dataclass(kw_only=True, slots=True)
class Head:
    """One applied operation, not yet written: what every retry is answered with."""

    position: int
    type: str
    local_id: str | None = None
    fingerprint: str | None = None
    #: The row that it was about; None: the first that it changed.
    row: Row | None = None
    version_before: datetime | None = None
    version_after: datetime | None = None
    message: str | None = None
    result: Mapping[str, Any] | None = None


def entity_of(row_or_model: Any) -> Entity:
    """The `Entity` of a row or a model."""
    found: Entity = row_or_model.__entity__
    return found


def fields_of(row: Row) -> dict[str, Any]:
    """A row's recorded fields as JSON values: the keys of its document, and its columns."""
    entity = entity_of(row)
    document = getattr(row, entity.document) if entity.document else {}
    return {**document, **{name: as_json(getattr(row, name)) for name in entity.fields}}


def put(row: Row, values: Mapping[str, Any]) -> None:
    """Let the row in memory have these values. Not by assignment: the ORM must not believe that it has to write."""
    row.__dict__.update(values)


def as_json(value: Any) -> Any:
    """A column's value as the ledger keeps it."""
    if isinstance(value, datetime):
        return to_wire(value)
    return value.isoformat() if isinstance(value, dt.date) else value


def table_of(model: type) -> Table:
    table: Table = inspect(model).local_table
    return table
