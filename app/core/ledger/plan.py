"""What the stated changes of a unit come to for the tables: each row is written once, and the ledger tells of all."""

from __future__ import annotations

import secrets
import struct
from collections.abc import Collection, Iterable, Iterator, Sequence
from typing import Any

from app.core.database.engine import db
from app.core.database.rows import table_of
from app.core.database.write import Write
from app.core.ledger.entries import Entry, Head
from app.models.entities import entity_of
from app.plugin_api import Row


class Plan:
    """What entries come to for the tables: each row is inserted, updated or deleted at most once."""

    def __init__(self, entries: Sequence[Entry], deleted: set[Row]) -> None:
        self.inserts: dict[type, list[Row]] = {}
        self.updates: dict[type, tuple[list[str], list[Row]]] = {}
        #: Row -> the keys of its document that are set.
        self.additions: dict[Row, dict[str, Any]] = {}
        self.deletes: dict[type, list[Row]] = {}
        new = {each.row for each in entries if each.action == "create"}
        names: dict[type, set[str]] = {}
        changed: dict[type, dict[Row, None]] = {}
        for entry in entries:
            row, model = entry.row, type(entry.row)
            if row in deleted:
                if entry.version_after is None and row not in new:
                    self.deletes.setdefault(model, []).append(row)
            elif entry.action == "create":
                self.inserts.setdefault(model, []).append(row)
            elif row not in new:
                changed.setdefault(model, {})[row] = None
                self._add(entry)
                names.setdefault(model, set()).update(entry.previous)
        self.updates = {model: (sorted(names[model]), list(rows)) for model, rows in changed.items()}

    def _add(self, entry: Entry) -> None:
        entity = entity_of(entry.row)
        if entity.document is not None and entity.document in entry.previous:
            added = self.additions.setdefault(entry.row, {})
            added |= {name: each["new"] for name, each in entry.changes.items() if name not in entity.fields}

    def writes(self) -> Iterator[Write]:
        """Parents are inserted before what points to them, and deleted after it."""
        for model in _parents_first(self.inserts):
            values = [_column_values(row) for row in self.inserts[model]]
            yield Write(kind="insert", table=table_of(model), names=tuple(values[0]), rows=values)
        for model, (names, rows) in self.updates.items():
            values = [{name: getattr(row, name) for name in ("id", *names)} for row in rows]
            document = entity_of(model).document
            yield Write(
                kind="update",
                table=table_of(model),
                names=tuple(names),
                rows=values,
                document=document if document in names else None,
                additions=[self.additions.get(row, {}) for row in rows],
            )
        for model in reversed(_parents_first(self.deletes)):
            yield Write(
                kind="delete", table=table_of(model), names=(), rows=[{"id": row.id} for row in self.deletes[model]]
            )


def head_values(head: Head) -> dict[str, Any]:
    """What the ledger keeps of an operation, beside what all of its unit share."""
    row = head.row
    return {
        "position": head.position,
        "local_id": head.local_id,
        "type": head.type,
        "fingerprint": head.fingerprint,
        "entity": None if row is None else entity_of(row).name,
        "entity_id": None if row is None else str(row.id),
        "version_before": head.version_before,
        "version_after": head.version_after,
        "message": head.message,
        "result": dict(head.result) if head.result else None,
    }


def entry_values(entry: Entry) -> Iterator[dict[str, Any]]:
    """What the ledger keeps of a changed row, and of the users who gain or lose sight of it with the change."""
    values = {
        "position": entry.position,
        "action": entry.action,
        "entity": entity_of(entry.row).name,
        "entity_id": str(entry.row.id),
        "inspection_id": getattr(entry.row, "inspection_id", None),
        "viewer_id": None,
        "version_before": entry.version_before,
        "version_after": entry.version_after,
        "changes": entry.changes,
    }
    yield values
    for action, viewers in (("gain", entry.gains), ("loss", entry.losses)):
        for viewer in sorted(viewers):
            yield {**values, "action": action, "viewer_id": viewer, "changes": {}}


def _parents_first(models: Collection[type]) -> list[type]:
    """The models, each behind those that it points to."""
    if len(models) < 2:
        return [*models]  # as in most batches: there is nothing to sort, and a sort would go over all tables
    order = {table: place for place, table in enumerate(db.metadata.sorted_tables)}
    return sorted(models, key=lambda model: order[table_of(model)])


def tags(count: int) -> Iterable[int]:
    """So many random tags of 63 bits."""
    return (each >> 1 for each in struct.unpack(f"{count}Q", secrets.token_bytes(8 * count)))


def _column_values(row: Row) -> dict[str, Any]:
    """All columns of a new row, those that the database fills itself left out."""
    return {each.key: getattr(row, each.key) for each in table_of(type(row)).columns if each.server_default is None}
