"""Changes to rows, stated first and written once, with their ledger entries. There is no second door.

A `Recorder` lives as long as a unit of work. Whoever changes rows says so through `create`, `change` and `delete`;
the rows in memory follow at once, so that later operations see them, and `write` sends everything to the database
in a number of statements that does not depend on the number of operations.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, TypeVar
from uuid import uuid4

from sqlalchemy import String, bindparam, select
from sqlalchemy import inspect as sqlalchemy_inspect
from sqlalchemy.orm import Session, make_transient_to_detached
from sqlalchemy.types import TypeEngine

from app.clock import MILLISECOND, now, to_wire
from app.core.database import database_of
from app.core.database.engine import db
from app.core.database.read import Lock
from app.core.database.rows import adopt, row_columns, set_in_memory, table_of
from app.core.database.write import Write
from app.core.ledger.entries import Changes, Entry, Head
from app.core.ledger.plan import Plan, entry_values, head_values, tags
from app.core.ledger.unit import unit_of_work
from app.core.values import is_same
from app.errors import UnauthorizedError
from app.models import LedgerEntry, LedgerOperation, LedgerState, User
from app.models.entities import as_json, entity_of, fields_of
from app.plugin_api import Entity, Row

T = TypeVar("T")

#: The user of a unit, locked as read, and the ledger's generation. Built once, and of columns: every batch needs it.
THE_USER = (
    select(*row_columns(User), select(LedgerState.generation).scalar_subquery().label("generation"))
    .where(User.__table__.c.id == bindparam("user_id"))
    .with_for_update(read=True)
)


@dataclass(frozen=True, kw_only=True)
class Origin:
    """Through which door a unit's changes come, and from whom."""

    #: `sync`, `upload`, `rest` or `cli`.
    door: str
    #: None: the command line.
    user_id: int | None = None
    #: None: the sign-in named no device.
    device_id: str | None = None


class Recorder:
    """Collects the changes of one unit of work and writes them.

    `capacity`: how many rows of one model the unit may usually create; so many ids are reserved at once.
    """

    #: The user of the unit, read and locked inside it; None for the command line.
    user: User | None
    #: Of the ledger, where there is a user: another than before says that a backup was restored.
    generation: str = ""

    def __init__(self, session: Session, unit_id: str, origin: Origin, moment: datetime, capacity: int = 1) -> None:
        self.session = session
        self.origin = origin
        self.now = moment
        #: The place in the unit of the operation under way.
        self.position = 0
        self.entries: list[Entry] = []
        self.heads: list[Head] = []
        #: Rows created by this unit, by model and id.
        self.created: dict[tuple[type, Any], Row] = {}
        self._deleted: set[Row] = set()
        self.user = None
        self._unit_id = unit_id
        self._capacity = capacity
        self._ids: dict[type, Iterator[int]] = {}

    def user_lock(self) -> Lock:
        """What reads and locks the user as of now, for `keep_user`, once it has been read.

        Role and deactivation count until this unit has ended (rule 6).
        """
        return Lock(model=User, statement=THE_USER, parameters={"user_id": self.origin.user_id})

    def keep_user(self, lock: Lock) -> None:
        """Take over the user that was locked. Raises `UnauthorizedError` where there is none, or no active one."""
        for values in lock.found:
            self.user, self.generation = adopt(self.session, User, values), values[-1]
        if self.user is None or not self.user.active:
            raise UnauthorizedError("token_revoked", "This user has been deactivated.")

    def create(self, model: type, values: Mapping[str, Any], root: Row | None = None) -> Row:
        """A new row with its id set. `values`: columns, a document as a whole; `root`: its inspection."""
        columns = {**_defaults(model), **values, "id": self._next_id(model)}
        columns |= {"created_at": self.now, "updated_at": self.now}
        if root is not None:
            columns["inspection_id"] = root.id
        row = model(**columns)
        if root is not None:
            set_in_memory(row, {"inspection": root})
        self.created[model, row.id] = row
        changes = {name: {"new": value} for name, value in fields_of(row).items()}
        self._state("create", row, None, self.now, changes, {}, gains=_viewers(row))
        return row

    def change(self, row: Row, values: Mapping[str, Any]) -> bool:
        """Set fields of `row`; whether anything changed. Equal values make no version (contract, 3.1(5)).

        A name is a column where the entity lists it; else a key of the document; else, for an entity without one,
        any column, whose values the ledger then withholds (a password).
        """
        entity = entity_of(row)
        columns, keys = _divide(entity, values)
        updates, changes = _column_changes(row, columns) if columns else ({}, {})
        if keys:
            document = getattr(row, str(entity.document))
            key_changes = _key_changes(document, keys)
            if key_changes:
                # A new dict: somebody may still hold the old one as an earlier version.
                additions = {name: change["new"] for name, change in key_changes.items()}
                updates[str(entity.document)] = {**document, **additions}
                changes |= key_changes
        if updates:
            self._update("change", row, updates, changes)
        return bool(updates)

    def delete(self, row: Row) -> None:
        """Delete the row, or mark it where its model has `deleted_at`. A second time changes nothing."""
        if self.is_deleted(row):
            return
        if hasattr(row, "deleted_at"):
            changes = {"deleted_at": {"old": None, "new": to_wire(self.now)}}
            self._update("delete", row, {"deleted_at": self.now}, changes)
        else:
            changes = {name: {"old": value} for name, value in fields_of(row).items()}
            self._state("delete", row, row.updated_at, None, changes, {}, losses=_viewers(row))
            self._deleted.add(row)

    def is_deleted(self, row: Row) -> bool:
        """Whether the row is gone: marked, or deleted by this unit."""
        return row in self._deleted or getattr(row, "deleted_at", None) is not None

    def undo(self, mark: int = 0) -> None:
        """Take back, in memory, every change stated since there were `mark` entries, newest first."""
        while len(self.entries) > mark:
            entry = self.entries.pop()
            set_in_memory(entry.row, entry.previous)
            self._deleted.discard(entry.row)
            if entry.action == "create":
                del self.created[type(entry.row), entry.row.id]
                if entry.row in self.session:
                    self.session.expunge(entry.row)

    def write(self, *besides: Write) -> None:
        """Send everything stated since the last time to the database. The transaction stays open.

        `besides`: what is written in the same statement and is nothing that the ledger tells.
        """
        plan = Plan(self.entries, self._deleted)
        writes = [*plan.writes(), *self._ledger_writes(), *besides]
        database_of(self.session).write(self.session.connection(), writes)
        for row in (each for rows in plan.inserts.values() for each in rows):
            make_transient_to_detached(row)
            self.session.add(row)
        self.entries, self.heads = [], []

    def _ledger_writes(self) -> Iterator[Write]:
        unit = {"unit_id": self._unit_id, "recorded_at": self.now}
        origin = {
            "door": self.origin.door,
            "user_id": self.origin.user_id,
            "device_id": self.origin.device_id or "",
        }
        heads = [head_values(head) for head in self.heads]
        entries = [values for entry in self.entries for values in entry_values(entry)]
        for values, tag in zip(entries, tags(len(entries)), strict=True):
            values["tag"] = tag
        for model, rows, shared in ((LedgerOperation, heads, unit | origin), (LedgerEntry, entries, unit)):
            if rows:
                yield Write(kind="insert", table=table_of(model), names=tuple(rows[0]), rows=rows, shared=shared)

    def _state(
        self,
        action: str,
        row: Row,
        before: datetime | None,
        after: datetime | None,
        changes: Changes,
        previous: dict[str, Any],
        *,
        gains: set[int] | None = None,
        losses: set[int] | None = None,
    ) -> None:
        self.entries.append(
            Entry(
                action=action,
                row=row,
                position=self.position,
                version_before=before,
                version_after=after,
                changes=changes,
                previous=previous,
                gains=gains or set(),
                losses=losses or set(),
            )
        )

    def _update(self, action: str, row: Row, updates: dict[str, Any], changes: Changes) -> None:
        before, viewers = row.updated_at, _viewers(row)
        # Versions of one row strictly increase, whatever the clock does (contract, section 3.1).
        after = max(self.now, before + MILLISECOND)
        updates = {**updates, "updated_at": after}
        previous = {name: getattr(row, name) for name in updates}
        set_in_memory(row, updates)
        present = _viewers(row)
        self._state(action, row, before, after, changes, previous, gains=present - viewers, losses=viewers - present)

    def reserve(self, counts: Mapping[type, int]) -> None:
        """Reserve ids for so many new rows of each model, in one statement. A single model waits for its first row."""
        numbered = {model: count for model, count in counts.items() if not isinstance(_key_type(model), String)}
        if len(numbered) > 1:
            self._reserve(numbered)

    def _next_id(self, model: type) -> Any:
        if isinstance(_key_type(model), String):
            return str(uuid4())
        found = next(self._ids.get(model, iter(())), None)
        if found is None:
            self._reserve({model: self._capacity})
            found = next(self._ids[model])
        return found

    def _reserve(self, counts: Mapping[type, int]) -> None:
        """Have ids for so many rows of each model, never one that was given before."""
        models = {table_of(model).name: model for model in counts}
        wanted = {name: counts[model] for name, model in models.items()}
        taken = {
            name: max((key for created, key in self.created if created is model), default=0)
            for name, model in models.items()
        }
        found = database_of(self.session).reserve(self.session, wanted, taken)
        self._ids |= {models[name]: iter(keys) for name, keys in found.items()}


def record(
    action: str,
    origin: Origin,
    work: Callable[[Recorder], T],
    capacity: int = 1,
    lock_first: Callable[[Session], None] | None = None,
) -> T:
    """Run `work(recorder)` in a unit of work of its own and record what it changes as `action`.

    The door for everything but sync: REST, uploads, the command line. A `work` that changes nothing leaves no trace.
    `lock_first` locks the users that the work needs: the unit's own is locked next, and there is one order.
    Raises `UnauthorizedError` where that user has been deactivated since the token was checked.
    """

    def unit(unit_id: str) -> T:
        if lock_first is not None:
            lock_first(db.session())
        recorder = Recorder(db.session(), unit_id, origin, now(), capacity)
        if origin.user_id is not None:
            lock = recorder.user_lock()
            database_of(recorder.session).read(recorder.session.connection(), [lock])
            recorder.keep_user(lock)
        result = work(recorder)
        if recorder.entries and not recorder.heads:
            recorder.heads.append(Head(position=0, type=action))
        for head in recorder.heads:
            _complete_head(head, recorder.entries)
        recorder.write()
        return result

    return unit_of_work(unit)


def _key_type(model: type) -> TypeEngine[Any]:
    found: TypeEngine[Any] = table_of(model).c.id.type
    return found


def _complete_head(head: Head, entries: Sequence[Entry]) -> None:
    """A head that names no row is about the first that its operation changed."""
    first = next((each for each in entries if each.position == head.position), None)
    if head.row is None and first is not None:
        head.row = first.row
        head.version_before, head.version_after = first.version_before, first.version_after


def _divide(entity: Entity, values: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """What of `values` are columns, and what keys of the document."""
    if entity.document is None:
        return dict(values), {}
    columns = {name: value for name, value in values.items() if name in entity.fields}
    return columns, {name: value for name, value in values.items() if name not in columns}


def _column_changes(row: Row, values: Mapping[str, Any]) -> tuple[dict[str, Any], Changes]:
    """The columns of `values` that differ from the row's, and what the ledger keeps of them."""
    fields, columns = entity_of(row).fields, sqlalchemy_inspect(type(row)).column_attrs
    updates: dict[str, Any] = {}
    changes: Changes = {}
    for name, value in values.items():
        if name not in columns:
            raise TypeError(f"{entity_of(row).label} has no field {name!r}; it has {', '.join(fields)}.")
        old, new = as_json(getattr(row, name)), as_json(value)
        if not is_same(old, new):
            updates[name] = value
            changes[name] = {"old": old, "new": new} if name in fields else {}
    return updates, changes


def _key_changes(document: Mapping[str, Any], values: Mapping[str, Any]) -> Changes:
    """The keys of `values` whose values differ from the document's; null is unlike absent."""
    changes: Changes = {}
    for key, value in values.items():
        if key not in document:
            changes[key] = {"new": value}
        elif not is_same(document[key], value):
            changes[key] = {"old": document[key], "new": value}
    return changes


def _viewers(row: Row) -> set[int]:
    """Who has sight of the row as a root; only inspections are roots."""
    found: set[int] = getattr(row, "viewer_ids", set())
    return found


def _defaults(model: type) -> dict[str, Any]:
    """Python-side column defaults, which only an ORM flush would fill in."""
    found = {}
    for column in table_of(model).columns:
        if column.default is not None and (column.default.is_scalar or column.default.is_callable):
            argument = column.default.arg  # type: ignore[attr-defined]
            found[column.key] = argument(None) if column.default.is_callable else argument
    return found
