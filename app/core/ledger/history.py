"""Reading back from the ledger: earlier outcomes, and the changes of a row since a version."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from functools import lru_cache
from typing import Any, NamedTuple

from sqlalchemy import CTE, Select, and_, bindparam, func, select
from sqlalchemy.orm import Session, defer

from app.clock import to_wire
from app.core.database import Database, database_of
from app.core.database.read import Read
from app.core.database.values import ValueSet
from app.core.ledger.entries import Changes, Key, Remembered
from app.core.ledger.record import Origin
from app.core.values import JsonObject
from app.models import LedgerEntry, LedgerOperation

#: How many changes of a row are read to compare it with an old version: so much work is one item at most.
MOST_CHANGES = 1000

#: How many bytes of changes a page of a history may have, unless a single entry has more.
PAGE_BYTES = 8 * 1024 * 1024

#: In place of changes for which a page has no room.
CUT: JsonObject = {"changes": None, "is_cut": True}


def recall(
    session: Session, origin: Origin, local_ids: Iterable[str], locks: Sequence[Read] = ()
) -> dict[Key, Remembered]:
    """The remembered operations of this user and device with these local_ids, by local_id and fingerprint.

    A query of its own, after the `locks`, so that it sees what a twin of this batch has just committed.
    """
    database, wanted = database_of(session), set(local_ids)
    parameters = {
        "user_id": origin.user_id,
        "device_id": origin.device_id or "",
        "local_ids": database.parameter_of(wanted),
    }
    query = Read(statement=_remembered(database, ValueSet.of("local_ids", wanted)), parameters=parameters)
    database.read(session.connection(), [*locks, query])
    operations = [Remembered(*values) for values in query.rows]
    return {operation.key: operation for operation in operations}


@lru_cache
def _remembered(database: Database, local_ids: ValueSet) -> Select[Any]:
    columns = LedgerOperation.__table__.c
    statement = select(*(columns[name] for name in Remembered._fields)).where(
        columns.user_id == bindparam("user_id"), columns.device_id == bindparam("device_id")
    )
    return database.look_up(statement, columns.local_id, local_ids)


def deleted_rows(session: Session, client_ids: Iterable[str]) -> set[tuple[str, str]]:
    """Those of these client_ids whose rows were deleted, each with the entity of its row."""
    database, wanted = database_of(session), set(client_ids)
    parameters = {"client_ids": database.parameter_of(wanted)}
    found = session.execute(_deleted(database, ValueSet.of("client_ids", wanted)), parameters)
    return {(entity, client_id) for entity, client_id in found}


@lru_cache
def _deleted(database: Database, client_ids: ValueSet) -> Select[Any]:
    columns = LedgerEntry.__table__.c
    statement = select(columns.entity, columns.client_id).where(columns.client_id.is_not(None))
    return database.look_up(statement, columns.client_id, client_ids)


class PastChange(NamedTuple):
    """A change of a row, as the ledger tells it."""

    entity_id: str
    #: None: the row was created.
    version_before: datetime | None
    version_after: datetime | None
    changes: Changes
    #: The device's time when the change was made, where it has sent one and is the one that asks.
    made_at: datetime | None
    #: Whether the user who asks made it, on the same device. Without the name of a device nobody can tell.
    is_own: bool


def changes_since(
    session: Session, origin: Origin, entity: str, versions: Mapping[Any, datetime]
) -> dict[str, list[PastChange]]:
    """The changes of rows after a version of each (row id -> version), by row id, oldest first.

    Of each row, at most the newest `MOST_CHANGES` are read. For a version older than these the answer is the one that
    a pruned ledger gives.
    """
    if not versions:
        return {}
    database = database_of(session)
    found: dict[str, list[PastChange]] = {str(key): [] for key in versions}
    parameters = {
        "keys": database.parameter_of(found),
        "entity": entity,
        "oldest": min(versions.values()),
        # Nothing is the office's own: it decides on the version that was seen.
        "user_id": origin.user_id if origin.decided_by_id is None else None,
        "device_id": origin.device_id or None,
    }
    for values in session.execute(_newest_changes(database, ValueSet.of("keys", versions)), parameters):
        change = PastChange._make(values)
        found[change.entity_id].append(change)
    return found


@lru_cache
def _newest_changes(database: Database, keys: ValueSet) -> Select[Any]:
    """Selects the columns of `PastChange` for the newest changes of each row, as far as they are after `oldest`."""
    own = and_(
        LedgerOperation.unit_id == LedgerEntry.unit_id,
        LedgerOperation.position == LedgerEntry.position,
        LedgerOperation.user_id == bindparam("user_id"),
        # Without a device the parameter is null, which equals nothing.
        LedgerOperation.device_id == bindparam("device_id"),
        # The device does not know of a decision of the office, though it stands under its name.
        LedgerOperation.decided_by_id.is_(None),
    )
    columns = (getattr(LedgerEntry, name) for name in PastChange._fields[:4])
    row = _first_ids(database, keys)
    return (
        select(*columns, LedgerOperation.made_at, LedgerOperation.id.is_not(None))
        .select_from(row)
        .join(LedgerEntry, and_(LedgerEntry.entity_id == row.c.key, LedgerEntry.id >= row.c.first_id))
        .outerjoin(LedgerOperation, own)
        .where(
            LedgerEntry.entity == bindparam("entity"),
            LedgerEntry.viewer_id.is_(None),
            LedgerEntry.version_after > bindparam("oldest"),
        )
        .order_by(LedgerEntry.id)
    )


def _first_ids(database: Database, keys: ValueSet) -> CTE:
    """`key`, `first_id`: for each row, the oldest of its newest `MOST_CHANGES` entries; 0 where it has fewer.

    The index alone answers it. Materialized, because it would otherwise be looked up again for each entry.
    """
    (key,) = database.select_values(LedgerEntry.entity_id, keys).subquery("named").c
    first = (
        select(LedgerEntry.id)
        .where(LedgerEntry.entity == bindparam("entity"), LedgerEntry.entity_id == key)
        .order_by(LedgerEntry.id.desc())
        .offset(MOST_CHANGES - 1)
        .limit(1)
    )
    columns = key.label("key"), func.coalesce(first.scalar_subquery(), 0).label("first_id")
    return select(*columns).cte("newest").prefix_with("MATERIALIZED")


def entries_of(entity: str, key: Any) -> Select[Any]:
    """Selects the ids of the entries about a row, newest first."""
    return (
        select(LedgerEntry.id)
        .where(LedgerEntry.entity == entity, LedgerEntry.entity_id == str(key), LedgerEntry.viewer_id.is_(None))
        .order_by(LedgerEntry.id.desc())
    )


def describe_entries(session: Session, ids: Sequence[int]) -> list[JsonObject]:
    """These entries with who, when, from which device and through which operation (contract, section 7), newest first.

    An operation may have been pruned a little earlier than its entries; then who it was is null. `changes` are read as
    long as a page has room for them; then they are null, and `is_cut` says so.
    """
    changes = _changes_that_fit(session, ids)
    statement = (
        select(LedgerEntry, LedgerOperation)
        .outerjoin(
            LedgerOperation,
            and_(LedgerOperation.unit_id == LedgerEntry.unit_id, LedgerOperation.position == LedgerEntry.position),
        )
        .where(LedgerEntry.id.in_(ids))
        .options(defer(LedgerEntry.changes, raiseload=True))
        .order_by(LedgerEntry.id.desc())
    )
    return [
        {**_describe(entry, operation), **({"changes": changes[entry.id]} if entry.id in changes else CUT)}
        for entry, operation in session.execute(statement)
    ]


def _changes_that_fit(session: Session, ids: Sequence[int]) -> dict[int, Any]:
    """Entry -> `changes`, of the newest of these entries, as many as fit on a page; of one at least."""
    size = database_of(session).byte_length(LedgerEntry.changes)
    sizes = select(LedgerEntry.id, size).where(LedgerEntry.id.in_(ids)).order_by(LedgerEntry.id.desc())
    fitting: list[int] = []
    total = 0
    for entry_id, length in session.execute(sizes):
        total += length
        if total > PAGE_BYTES and fitting:
            break
        fitting.append(entry_id)
    statement = select(LedgerEntry.id, LedgerEntry.changes).where(LedgerEntry.id.in_(fitting))
    return dict(session.execute(statement).all())


def _describe(entry: LedgerEntry, operation: LedgerOperation | None) -> JsonObject:
    before, after = entry.version_before, entry.version_after
    return {
        "id": entry.id,
        "action": entry.action,
        "recorded_at": to_wire(entry.recorded_at),
        "user_id": operation and operation.user_id,
        "device_id": operation and (operation.device_id or None),
        "door": operation and operation.door,
        "decided_by": operation and operation.decided_by_id,
        "read_in_by": operation and operation.read_in_by_id,
        "type": operation and operation.type,
        "local_id": operation and operation.local_id,
        "made_at": to_wire(operation.made_at) if operation and operation.made_at else None,
        "meta": operation and operation.meta,
        "version_before": None if before is None else to_wire(before),
        "version_after": None if after is None else to_wire(after),
    }
