"""The entries of a batch's answer: made while the operations run, completed once all of them have.

What leaves the server is projected (attachment keys, form structures) only after the loop, from relationships
loaded in one query each, so that neither conflicts nor answers cost a query of their own.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import inspect, select
from sqlalchemy.orm import Session, subqueryload

from app.clock import to_wire
from app.core.sync.conflicts import Merge
from app.core.sync.items import Item
from app.models.entities import entity_of, fields_of
from app.plugin_api import Row


@dataclass(kw_only=True, slots=True)
class Answer:
    """One entry, and which of the three lists it belongs to."""

    #: `success`, `errors` or `conflicts`.
    outcome: str
    entry: dict[str, Any]
    #: The row whose projections the entry still lacks.
    row: Row | None = None
    #: The row's fields when the operation was judged.
    fields: dict[str, Any] | None = None
    #: For a conflict: the fields of the version that the client started from.
    base: dict[str, Any] | None = field(default=None)

    def show(self, row: Row) -> None:
        """Answer the row's present version together with its present content: the client takes both or neither."""
        self.entry["updated_at"] = to_wire(row.updated_at)
        self.row, self.fields = row, fields_of(row)


def success(item: Item, row: Row, message: str) -> Answer:
    """An applied operation; version, content and what else changed are added by the caller."""
    entry = {"index": item.index, "local_id": item.local_id, "type": item.type, "server_id": row.id, "message": message}
    return Answer(outcome="success", entry=entry)


def error(entry: dict[str, Any]) -> Answer:
    """A rejected operation."""
    return Answer(outcome="errors", entry=entry)


def conflict(
    item: Item, row: Row, sent_version: Any, local: Mapping[str, Any], base: dict[str, Any] | None, merge: Merge
) -> Answer:
    """An operation that somebody else's change stands against (contract, section 3.1)."""
    entry = {
        "index": item.index,
        "local_id": item.local_id,
        "type": item.type,
        "success": False,
        "conflict": True,
        "server_id": row.id,
        "message": "Version conflict detected",
        "conflict_data": {
            "server_version": to_wire(row.updated_at),
            "local_version": sent_version,
            "server_data": {},
            "local_data": dict(local),
            "base_data": None,
            "conflicting_fields": merge.conflicting,
        },
    }
    return Answer(outcome="conflicts", entry=entry, row=row, fields=fields_of(row), base=base)


def also(rows: Iterable[Row]) -> list[dict[str, Any]]:
    """The further rows that an operation changed (contract, section 3)."""
    return [{"entity": entity_of(row).name, "id": row.id, "updated_at": to_wire(row.updated_at)} for row in rows]


def load_shown(session: Session, answers: Iterable[Answer]) -> None:
    """Load what the entities' hooks read of the rows that entries show."""
    _load_relationships(session, {each.row for each in answers if each.row is not None})


def complete(answer: Answer) -> None:
    """Add the projected content to an entry that shows a row."""
    if answer.outcome == "conflicts":
        _complete_conflict(answer)
    else:
        assert answer.fields is not None
        answer.entry["data"] = _expose(answer.row, answer.fields)


def _complete_conflict(answer: Answer) -> None:
    row, fields, data = answer.row, answer.fields or {}, answer.entry["conflict_data"]
    shown = _expose(row, fields)
    data["server_data"] = shown
    if answer.base is not None:
        hidden = fields.keys() - shown.keys()
        data["base_data"] = {name: value for name, value in answer.base.items() if name not in hidden}
    more = entity_of(row).conflict
    if more is not None:
        data.update(more(row))


def _expose(row: Row, fields: dict[str, Any]) -> dict[str, Any]:
    expose = entity_of(row).expose
    return fields if expose is None else expose(row, dict(fields))


def _load_relationships(session: Session, rows: Iterable[Row]) -> None:
    """What the entities' hooks read, one query a relationship: no N+1 in answers."""
    models: dict[type, list[Row]] = {}
    for row in rows:
        models.setdefault(type(row), []).append(row)
    for model, found in models.items():
        # `selectinload` would send one more for every 500 rows.
        loads = [subqueryload(getattr(model, name)) for name in entity_of(model).loads]
        if loads:
            key: Any = inspect(model).primary_key[0]
            session.scalars(select(model).where(key.in_([row.id for row in found])).options(*loads)).all()
