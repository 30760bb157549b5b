"""The writes that a unit's stated changes come to: each row is written once, and the ledger tells of every change."""

from __future__ import annotations

import secrets
import struct
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence

from app.core.database.engine import db
from app.core.database.rows import table_of
from app.core.database.write import Write
from app.core.ledger.entries import Remembered, StatedChange
from app.models import LedgerEntry, LedgerOperation
from app.models.entities import Fields, Row, entity_of
from app.plugin_api import recorded_columns

#: The columns of an operation that most operations do not have.
SELDOM = ("made_at", "meta", "decided_by_id")


def created_rows(stated: Iterable[StatedChange], deleted: Collection[Row]) -> list[Row]:
    """The rows to insert: created by the unit and not deleted again."""
    return [change.row for change in stated if change.action == "create" and change.row not in deleted]


def row_writes(stated: Sequence[StatedChange], deleted: Collection[Row]) -> Iterator[Write]:
    """The writes of the changed rows: each row is inserted, updated or deleted at most once.

    Parents are inserted before the rows that point to them, and deleted after them.
    """
    created = {change.row for change in stated if change.action == "create"}
    older = [change for change in stated if change.row not in created]
    yield from _inserts(created_rows(stated, deleted))
    yield from _updates([change for change in older if change.row not in deleted])
    yield from _deletes([change.row for change in older if change.row in deleted and change.version_after is None])


def _inserts(rows: Iterable[Row]) -> Iterator[Write]:
    by_model = _by_model(rows)
    for model in _parents_first(by_model):
        values = [_column_values(row) for row in by_model[model]]
        yield Write(kind="insert", table=table_of(model), names=tuple(values[0]), rows=values)


def _updates(stated: Sequence[StatedChange]) -> Iterator[Write]:
    names: dict[type, set[str]] = {}
    #: Row -> the keys of its document that are set.
    additions: dict[Row, Fields] = {}
    for change in stated:
        names.setdefault(type(change.row), set()).update(change.previous)
        document, added = entity_of(change.row).document, additions.setdefault(change.row, {})
        if document is not None and document in change.previous:
            columns = recorded_columns(type(change.row))
            added |= {name: sides["new"] for name, sides in change.changes.items() if name not in columns}
    for model, rows in _by_model(additions).items():
        changed, document = sorted(names[model]), entity_of(model).document
        yield Write(
            kind="update",
            table=table_of(model),
            names=tuple(changed),
            rows=[{name: getattr(row, name) for name in ("id", *changed)} for row in rows],
            document=document if document in changed else None,
            additions=[additions[row] for row in rows],
        )


def _deletes(rows: Iterable[Row]) -> Iterator[Write]:
    by_model = _by_model(rows)
    for model in reversed(_parents_first(by_model)):
        yield Write(kind="delete", table=table_of(model), names=(), rows=[{"id": row.id} for row in by_model[model]])


def ledger_writes(
    stated: Iterable[StatedChange],
    operations: Iterable[Remembered],
    unit: Mapping[str, object],
    origin: Mapping[str, object],
) -> Iterator[Write]:
    """The ledger's new rows. `unit`: the columns that all of them share; `origin`: those that the operations share."""
    heads = _operation_rows(operations)
    entries = [values for change in stated for values in _entry_values(change)]
    if any("client_id" in values for values in entries):
        entries = [{"client_id": None, **values} for values in entries]
    for values, tag in zip(entries, _tags(len(entries)), strict=True):
        values["tag"] = tag
    for model, rows, shared in ((LedgerOperation, heads, {**unit, **origin}), (LedgerEntry, entries, unit)):
        if rows:
            yield Write(kind="insert", table=table_of(model), names=tuple(rows[0]), rows=rows, shared=shared)


def _operation_rows(operations: Iterable[Remembered]) -> list[Fields]:
    """The columns of the operations, without those that all operations of a unit share, or that none of them has."""
    rows = [operation._asdict() for operation in operations]
    left_out = ["recorded_at", *(name for name in SELDOM if all(row[name] is None for row in rows))]
    for row in rows:
        for name in left_out:
            del row[name]
    return rows


def _entry_values(change: StatedChange) -> Iterator[Fields]:
    """The ledger's entry about a changed row, and one for each user who gains or loses sight of it with the change."""
    values = {
        "position": change.position,
        "action": change.action,
        "entity": entity_of(change.row).name,
        "entity_id": str(change.row.id),
        "inspection_id": getattr(change.row, "inspection_id", None),
        "viewer_id": None,
        "version_before": change.version_before,
        "version_after": change.version_after,
        "changes": change.changes,
    }
    client_id = getattr(change.row, "client_id", None)
    yield {**values, "client_id": client_id} if change.action == "delete" and client_id is not None else values
    for action, viewers in (("gain", change.gains), ("loss", change.losses)):
        for viewer in sorted(viewers):
            yield {**values, "action": action, "viewer_id": viewer, "changes": {}}


def _by_model(rows: Iterable[Row]) -> dict[type, list[Row]]:
    by_model: dict[type, list[Row]] = {}
    for row in rows:
        by_model.setdefault(type(row), []).append(row)
    return by_model


def _parents_first(models: Collection[type]) -> list[type]:
    """The models, each behind those that it points to."""
    if len(models) < 2:
        return [*models]  # as in most batches: there is nothing to sort, and a sort would go over all tables
    order = {table: place for place, table in enumerate(db.metadata.sorted_tables)}
    return sorted(models, key=lambda model: order[table_of(model)])


def _tags(count: int) -> Iterable[int]:
    """This many random tags of 63 bits."""
    return (number >> 1 for number in struct.unpack(f"{count}Q", secrets.token_bytes(8 * count)))


def _column_values(row: Row) -> Fields:
    """All columns of a new row, without those that the database fills itself."""
    columns = table_of(type(row)).columns
    return {column.key: getattr(row, column.key) for column in columns if column.server_default is None}
