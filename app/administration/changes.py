"""The changes of an inspection's rows, as people read them: newest first, by key, and two versions beside each other.

Whoever may see an inspection may read what has happened to it and to the rows below it (contract, section 7).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from sqlalchemy import ColumnElement, Select, inspect, select, tuple_
from sqlalchemy.orm import Session

from app.core.database.rows import set_in_memory
from app.core.host.registry import current_registry
from app.core.ledger.history import MOST_CHANGES, describe_entries
from app.core.values import JsonObject, is_same
from app.models import Inspection, LedgerEntry, User
from app.models.form_labels import readable
from app.models.serialize import select_shown
from app.plugin_api import Row


class RowName(NamedTuple):
    """A row as the ledger names it."""

    entity: str
    entity_id: str


class Place(NamedTuple):
    """A change's place in the order of the ledger."""

    xid: int
    id: int


class PastChange(NamedTuple):
    """One change of one row."""

    row: RowName
    place: Place
    #: As in the history of the API: action, door, type, times, meta, and the fields with their old and new values.
    entry: JsonObject
    #: The name of the user; None: nobody, or it is no longer known.
    who: str | None
    #: The names of the person who has decided it in the user's place, and of the one who has read it in from a rescue
    #: file; None: nobody, or it is no longer known.
    decided_by: str | None
    read_in_by: str | None


class PastChanges(NamedTuple):
    """Changes, newest first, and the place of the last where older ones follow."""

    changes: list[PastChange]
    older: Place | None


def changes_of(
    session: Session, inspection_id: int, row: RowName | None = None, before: Place | None = None, most: int = 50
) -> PastChanges:
    """The changes of an inspection and of the rows below it, or of one of them, before a place. Five statements."""
    statement = _entries(inspection_id, row)
    if before is not None:
        statement = statement.where(tuple_(LedgerEntry.xid, LedgerEntry.id) < tuple_(*before))
    statement = statement.order_by(LedgerEntry.xid.desc(), LedgerEntry.id.desc()).limit(most + 1)
    heads = session.execute(statement).all()
    shown = heads[:most]
    entries = {entry["id"]: entry for entry in describe_entries(session, [head.id for head in shown])}
    roles = ("user_id", "decided_by", "read_in_by")
    names = _names(session, {entry[role] for entry in entries.values() for role in roles} - {None})
    changes = [
        PastChange(
            row=RowName(head.entity, head.entity_id),
            place=Place(head.xid, head.id),
            entry=entries[head.id],
            who=names.get(entries[head.id]["user_id"]),
            decided_by=names.get(entries[head.id]["decided_by"]),
            read_in_by=names.get(entries[head.id]["read_in_by"]),
        )
        for head in shown
    ]
    return PastChanges(changes, changes[-1].place if len(heads) > most else None)


def compare(session: Session, inspection_id: int, row: RowName, older: int, newer: int) -> JsonObject:
    """Field -> `{"old", "new"}` of the fields that differ between two changes of a row, named by their ids.

    A missing key says that the field was absent. At most `MOST_CHANGES` changes between them are read.
    """
    statement = select(LedgerEntry.changes).where(
        *_conditions(inspection_id, row), LedgerEntry.id > older, LedgerEntry.id <= newer
    )
    differences: JsonObject = {}
    for changes in session.scalars(statement.order_by(LedgerEntry.id).limit(MOST_CHANGES)):
        for name, change in changes.items():
            known = differences.setdefault(name, {key: change[key] for key in ("old",) if key in change})
            known.pop("new", None)
            known.update({key: change[key] for key in ("new",) if key in change})
    return {name: change for name, change in differences.items() if not _is_unchanged(change)}


def rows_named(session: Session, root: Row, names: Iterable[RowName]) -> dict[RowName, Row]:
    """The rows of an inspection with these names, as far as they are still there: a few statements for each model."""
    registry = current_registry()
    ids: dict[str, list[str]] = {}
    for name in set(names):
        ids.setdefault(name.entity, []).append(name.entity_id)
    rows: dict[RowName, Row] = {}
    for entity, texts in ids.items():
        model: Any = registry.models.get(entity)
        if model is None or not hasattr(model, "inspection_id"):
            continue
        key = inspect(model).primary_key[0]
        wanted = [registry.key_of(model, text) for text in texts]
        for row in session.scalars(select_shown(model).where(key.in_(wanted), model.inspection_id == root.id)):
            if model is not Inspection:
                set_in_memory(row, {"inspection": root})
            rows[RowName(entity, str(row.id))] = row
    return rows


def label_of_type(name: str | None) -> str:
    """An operation in the words of people: the label of its type, otherwise its name made readable."""
    registered = current_registry().handlers.get(name or "")
    label = None if registered is None else registered.handler.label
    return label or readable(name or "")


def _entries(inspection_id: int, row: RowName | None) -> Select[Any]:
    columns: list[Any] = [LedgerEntry.id, LedgerEntry.xid, LedgerEntry.entity, LedgerEntry.entity_id]
    return select(*columns).where(*_conditions(inspection_id, row))


def _conditions(inspection_id: int, row: RowName | None) -> Sequence[ColumnElement[bool]]:
    conditions = [LedgerEntry.inspection_id == inspection_id, LedgerEntry.viewer_id.is_(None)]
    if row is not None:
        conditions += [LedgerEntry.entity == row.entity, LedgerEntry.entity_id == row.entity_id]
    return conditions


def _names(session: Session, ids: set[int]) -> dict[int, str]:
    return {row.id: row.name for row in session.execute(select(User.id, User.name).where(User.id.in_(ids)))}


def _is_unchanged(change: Mapping[str, Any]) -> bool:
    if "old" in change and "new" in change:
        return is_same(change["old"], change["new"])
    return not change
