"""Changes to rows, stated first and written once, with their ledger entries. There is no second door.

A `Recorder` lives as long as a unit of work. Code that changes rows states the changes through `create`, `change` and
`delete`; the rows in memory follow at once, so that later operations see them, and `write` sends everything to the
database in a number of statements that does not depend on the number of operations.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, TypeVar

from sqlalchemy import bindparam, select
from sqlalchemy.orm import Session, make_transient_to_detached

from app.clock import MILLISECOND, now, to_wire
from app.core.database import database_of
from app.core.database.engine import db
from app.core.database.read import Lock, Read
from app.core.database.rows import adopt, row_columns, set_in_memory, table_of
from app.core.database.write import AnyWrite
from app.core.ledger.entries import Changes, Remembered, StatedChange
from app.core.ledger.ids import Ids
from app.core.ledger.plan import created_rows, ledger_writes, row_writes
from app.core.ledger.unit import unit_of_work
from app.core.values import is_same
from app.errors import ForbiddenError, NoFieldError, UnauthorizedError
from app.models import LedgerState, User
from app.models.entities import Fields, Row, as_json, entity_of, fields_of
from app.plugin_api import recorded_columns
from app.policies import is_admin

T = TypeVar("T")
RowT = TypeVar("RowT", bound=Row)

#: Reads the user of a unit, with the ledger's generation. Built once, because every batch needs it.
_THE_USER = select(*row_columns(User), select(LedgerState.generation).scalar_subquery().label("generation")).where(
    User.__table__.c.id == bindparam("user_id")
)

#: The same with a lock: one that the user's other units may have, too, or one of this unit alone.
THE_USER = _THE_USER.with_for_update(read=True)
THE_USER_ALONE = _THE_USER.with_for_update(key_share=True)


#: The door of batches that devices send, and that of their queues which came as a file.
DEVICE_DOOR, RESCUE_DOOR = "sync", "rescue"


@dataclass(frozen=True, kw_only=True)
class Origin:
    """Through which door a unit's changes come, and from whom."""

    #: `sync`, `rescue`, `upload`, `rest`, `page`, `office` or `cli`.
    door: str
    #: None: the command line.
    user_id: int | None = None
    #: None: the sign-in named no device.
    device_id: str | None = None
    #: Who in the office decides in the user's place: rights are theirs, while the operations are the user's.
    decided_by_id: int | None = None
    #: The administrator who has read in the user's rescue file: rights and operations are the user's.
    read_in_by_id: int | None = None

    @property
    def acting_id(self) -> int | None:
        """The user whose rights count."""
        return self.user_id if self.decided_by_id is None else self.decided_by_id


class Recorder:
    """Collects the changes of one unit of work and writes them.

    `capacity`: how many rows of one model the unit may usually create; so many ids are reserved at once.
    """

    #: The user whose rights count, read and locked inside the unit; None for the command line.
    user: User | None
    #: The ledger's generation, where there is a user. A new one means that a backup was restored.
    generation: str = ""

    def __init__(self, session: Session, unit_id: str, origin: Origin, moment: datetime, capacity: int = 1) -> None:
        self.session = session
        self.unit_id = unit_id
        self.origin = origin
        self.now = moment
        #: The place in the unit of the operation under way.
        self.position = 0
        #: The device's time of that operation, where it sent one.
        self.made_at: datetime | None = None
        #: The changes stated since the last write, in order, and the operations that they belong to.
        self.stated: list[StatedChange] = []
        self.operations: list[Remembered] = []
        #: Rows created by this unit, by model and id.
        self.created: dict[tuple[type, Any], Row] = {}
        self.ids = Ids(session, capacity)
        self.user = None
        self._deleted: set[Row] = set()

    def create(self, model: type[RowT], values: Mapping[str, Any], root: Row | None = None) -> RowT:
        """A new row with its id set. `values`: columns, a document as a whole; `root`: its inspection."""
        columns = {**_defaults(model), **values, "id": self.ids.next(model)}
        columns |= {"created_at": self.now, "updated_at": self.now}
        if root is not None:
            columns["inspection_id"] = root.id
        row = model(**columns)
        if root is not None:
            set_in_memory(row, {"inspection": root})
        self.created[model, row.id] = row
        self.stated.append(
            StatedChange(
                action="create",
                row=row,
                position=self.position,
                made_at=self.made_at,
                version_before=None,
                version_after=self.now,
                changes={name: {"new": value} for name, value in fields_of(row).items()},
                gains=_viewers(row),
            )
        )
        return row

    def change(self, row: Row, values: Mapping[str, Any]) -> bool:
        """Set fields of `row`; whether anything changed. Equal values make no version (contract, 3.1(5)).

        A name is a column where it is a field; otherwise it is a key of the document, or, for an entity without a
        document, a column that is not recorded, whose values the ledger then withholds (a password).
        """
        entity = entity_of(row)
        columns, keys = _divide(type(row), values)
        updates, changes = _column_changes(row, columns) if columns else ({}, {})
        if keys:
            document = getattr(row, str(entity.document))
            key_changes = _key_changes(document, keys)
            if key_changes:
                # A new dict, because an earlier version may still be held somewhere.
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
            return
        self.stated.append(
            StatedChange(
                action="delete",
                row=row,
                position=self.position,
                made_at=self.made_at,
                version_before=row.updated_at,
                version_after=None,
                changes={name: {"old": value} for name, value in fields_of(row).items()},
                losses=_viewers(row),
            )
        )
        self._deleted.add(row)

    def is_deleted(self, row: Row) -> bool:
        """Whether the row is gone: marked, or deleted by this unit."""
        return row in self._deleted or getattr(row, "deleted_at", None) is not None

    def undo(self, mark: int = 0) -> None:
        """Take back, in memory, every change stated since there were `mark` of them, newest first."""
        while len(self.stated) > mark:
            change = self.stated.pop()
            set_in_memory(change.row, change.previous)
            self._deleted.discard(change.row)
            if change.action == "create":
                del self.created[type(change.row), change.row.id]
                if change.row in self.session:
                    self.session.expunge(change.row)

    def write(self, *besides: AnyWrite) -> None:
        """Send everything stated since the last time to the database. The transaction stays open.

        `besides`: further writes for the same statement, of tables that the ledger does not tell of.
        """
        unit = {"unit_id": self.unit_id, "recorded_at": self.now}
        origin: dict[str, Any] = {
            "door": self.origin.door,
            "user_id": self.origin.user_id,
            "device_id": self.origin.device_id or "",
        }
        if self.origin.read_in_by_id is not None:
            origin["read_in_by_id"] = self.origin.read_in_by_id
        rows = row_writes(self.stated, self._deleted)
        entries = ledger_writes(self.stated, self.operations, unit, origin)
        writes: list[AnyWrite] = [*rows, *entries, *besides]
        database_of(self.session).write(self.session.connection(), writes)
        for row in created_rows(self.stated, self._deleted):
            make_transient_to_detached(row)
            self.session.add(row)
        self.stated, self.operations = [], []

    def _update(self, action: str, row: Row, updates: Fields, changes: Changes) -> None:
        before, viewers = row.updated_at, _viewers(row)
        # Versions of one row strictly increase, even if the clock goes back (contract, section 3.1).
        after = max(self.now, before + MILLISECOND)
        updates = {**updates, "updated_at": after}
        previous = {name: getattr(row, name) for name in updates}
        set_in_memory(row, updates)
        present = _viewers(row)
        self.stated.append(
            StatedChange(
                action=action,
                row=row,
                position=self.position,
                made_at=self.made_at,
                version_before=before,
                version_after=after,
                changes=changes,
                previous=previous,
                gains=present - viewers,
                losses=viewers - present,
            )
        )


def user_lock(origin: Origin, *, alone: bool = False) -> Lock:
    """The query that reads and locks the user whose rights count in a unit, for `keep_user` once it has been sent.

    Role and deactivation count until this unit has ended (rule 6). `alone`: the user's other units wait until then;
    for a new inspection, because no other row tells its maker's second try that the first is under way.
    """
    statement = THE_USER_ALONE if alone else THE_USER
    return Lock(model=User, statement=statement, parameters={"user_id": origin.acting_id})


def reader_lock(origin: Origin) -> Lock | None:
    """The same for the administrator who has read in a rescue file; None where nobody has."""
    if origin.read_in_by_id is None:
        return None
    return Lock(model=User, statement=THE_USER, parameters={"user_id": origin.read_in_by_id})


def keep_user(recorder: Recorder, lock: Lock, reader: Lock | None = None) -> None:
    """Give the recorder the user that was locked. Raises `UnauthorizedError` unless there is an active one.

    If a `reader` has read in the user's file, the user may be deactivated. The reader has to be an administrator:
    otherwise `ForbiddenError`.
    """
    for values in lock.rows:
        recorder.user, recorder.generation = adopt(recorder.session, User, values), values[-1]
    if reader is not None:
        if not any(is_admin(adopt(recorder.session, User, values)) for values in reader.rows):
            raise ForbiddenError()
    elif recorder.user is None or not recorder.user.active:
        raise UnauthorizedError("token_revoked", "This user has been deactivated.")


def record(
    action: str,
    origin: Origin,
    work: Callable[[Recorder], T],
    capacity: int = 1,
    lock_first: Callable[[Session], None] | None = None,
    reads: Sequence[Read] = (),
) -> T:
    """Run `work(recorder)` in a unit of work of its own and record what it changes as `action`.

    The door for everything but sync: REST, uploads, the command line. A `work` that changes nothing leaves no trace.
    `lock_first` locks the users that the work needs: the unit's own is locked next, and there is one order.
    `reads`, which may lock too, travel with that lock and are run behind it, whenever the unit is run.
    Raises `UnauthorizedError` where that user has been deactivated since the token was checked.
    """

    def unit(unit_id: str) -> T:
        if lock_first is not None:
            lock_first(db.session())
        recorder = Recorder(db.session(), unit_id, origin, now(), capacity)
        locks = [] if origin.user_id is None else [user_lock(origin)]
        if locks or reads:
            database_of(recorder.session).read(recorder.session.connection(), [*locks, *reads])
        for lock in locks:
            keep_user(recorder, lock)
        result = work(recorder)
        if recorder.stated and not recorder.operations:
            recorder.operations.append(_operation(action, recorder.stated[0], recorder.now))
        recorder.write()
        return result

    return unit_of_work(unit)


def _operation(action: str, first: StatedChange, moment: datetime) -> Remembered:
    """The operation of a unit that is no batch: it is about the first row that it changed."""
    return Remembered(
        type=action,
        recorded_at=moment,
        entity=entity_of(first.row).name,
        entity_id=str(first.row.id),
        version_before=first.version_before,
        version_after=first.version_after,
    )


def differs(row: Row, values: Mapping[str, Any]) -> bool:
    """Whether `Recorder.change` would change anything."""
    columns, keys = _divide(type(row), values)
    updates, _ = _column_changes(row, columns)
    return bool(updates or (keys and _key_changes(getattr(row, str(entity_of(row).document)), keys)))


def _divide(model: type, values: Mapping[str, Any]) -> tuple[Fields, Fields]:
    """Those of `values` that are columns, and those that are keys of the document."""
    if entity_of(model).document is None:
        return dict(values), {}
    fields = recorded_columns(model)
    columns = {name: value for name, value in values.items() if name in fields}
    return columns, {name: value for name, value in values.items() if name not in columns}


def _column_changes(row: Row, values: Fields) -> tuple[Fields, Changes]:
    """The columns of `values` that differ from the row's, and the changes that the ledger keeps of them."""
    entity, fields = entity_of(row), recorded_columns(type(row))
    updates: Fields = {}
    changes: Changes = {}
    for name, value in values.items():
        if name not in fields and name not in entity.unrecorded:
            raise NoFieldError(entity.label, fields)
        old, new = as_json(getattr(row, name)), as_json(value)
        if not is_same(old, new):
            updates[name] = value
            changes[name] = {"old": old, "new": new} if name in fields else {}
    return updates, changes


def _key_changes(document: Fields, values: Fields) -> Changes:
    """The keys of `values` whose values differ from the document's; null is unlike absent."""
    changes: Changes = {}
    for key, value in values.items():
        if key not in document:
            changes[key] = {"new": value}
        elif not is_same(document[key], value):
            changes[key] = {"old": document[key], "new": value}
    return changes


def _viewers(row: Row) -> set[int]:
    """The users who have sight of the row as a root; only inspections are roots."""
    viewers: set[int] = getattr(row, "viewer_ids", set())
    return viewers


def _defaults(model: type) -> Fields:
    """Python-side column defaults, which only an ORM flush would fill in."""
    defaults = {}
    for column in table_of(model).columns:
        if column.default is not None and (column.default.is_scalar or column.default.is_callable):
            argument = column.default.arg  # type: ignore[attr-defined]
            defaults[column.key] = argument(None) if column.default.is_callable else argument
    return defaults
