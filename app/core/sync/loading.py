"""Loads all that the operations of a batch need, in a number of statements that does not depend on how many there are.

First the locks, of the user and of the rows; behind them the recall, so that it sees the operations that a twin of this
batch has just committed, and the deletions of rows that are named in vain; then the rows that remembered operations
show, and the past of the rows of which a new item names an old version.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from datetime import datetime

from sqlalchemy import inspect, select

from app.core.database.rows import adopt
from app.core.ledger.entries import Key, Remembered
from app.core.ledger.history import changes_since, deleted_rows, recall
from app.core.ledger.record import keep_user, reader_lock, user_lock
from app.core.sync.attempt import Attempt
from app.core.sync.items import Item, Refused, key_of
from app.core.sync.keys import Reference, created_rows
from app.core.sync.locks import check, follow, locks_for
from app.core.sync.needs import Needs
from app.core.sync.replay import rows_to_show
from app.models import Inspection
from app.models.entities import Row, entity_of


def load(attempt: Attempt) -> None:
    """Load everything that the operations need. Raises `RaceError` if something moved before it was locked."""
    _remember(attempt, _lock_and_recall(attempt))
    _load_past(attempt)
    attempt.recorder.ids.reserve(_creates(attempt))


def _lock_and_recall(attempt: Attempt) -> dict[Key, Remembered]:
    """Lock the user and the rows that the items name, in this order, then find what was applied before."""
    session, recorder, items = attempt.session, attempt.recorder, attempt.batch.items
    needs = Needs(items)
    moves = follow(session, needs)
    user, locks = user_lock(recorder.origin, alone=needs.is_new_root), locks_for(session, needs)
    reader = reader_lock(recorder.origin)
    people = [user] if reader is None else sorted([user, reader], key=lambda lock: lock.parameters["user_id"])
    local_ids = [str(item.local_id) for item in items if item.fingerprint]
    operations = recall(session, recorder.origin, local_ids, [*people, *locks])
    keep_user(recorder, user, reader)
    rows = [adopt(session, lock.model, values) for lock in locks for values in lock.rows]
    attempt.rows.keep(rows)
    check(session, needs, moves, attempt.rows, rows)
    attempt.rows.deleted = _deleted(attempt, needs)
    return operations


def _remember(attempt: Attempt, operations: dict[Key, Remembered]) -> None:
    """Keep what was applied before, and load the rows that its answers show."""
    for item in attempt.batch.items:
        # The same local_id with other content is another operation.
        operation = operations.get(key_of(item))
        if operation is not None:
            attempt.remembered[key_of(item)] = operation
    _load_unlocked(attempt, rows_to_show(attempt.batch.registry, attempt.remembered.values()))


def _load_unlocked(attempt: Attempt, wanted: Iterable[tuple[type, object]]) -> None:
    """Load further rows that are only shown. One query a model and roots."""
    rows, session = attempt.rows, attempt.session
    missing: dict[type, set[object]] = {}
    for model, key in wanted:
        if rows.get(model, key) is None:
            missing.setdefault(model, set()).add(key)
    for model, keys in missing.items():
        shown: Sequence[Row] = session.scalars(select(model).where(inspect(model).primary_key[0].in_(keys))).all()
        roots = {row.inspection_id for row in shown if hasattr(row, "inspection_id")}
        unknown = {root for root in roots if rows.get(Inspection, root) is None}
        if unknown and model is not Inspection:
            rows.keep(session.scalars(select(Inspection).where(Inspection.id.in_(unknown))))
        rows.keep(shown)


def _load_past(attempt: Attempt) -> None:
    """Read from the ledger what happened to each row since the oldest version that an item to be judged names.

    A remembered item gets the answer that it got, so nothing is read for it.
    """
    stale: dict[str, dict[object, datetime]] = {}
    for item in attempt.batch.items:
        if key_of(item) in attempt.remembered:
            continue
        row, version = _named_version(attempt, item)
        if row is not None and version is not None and version < row.updated_at:
            versions = stale.setdefault(entity_of(row).name, {})
            versions[row.id] = min(version, versions.get(row.id, version))
    for entity, versions in stale.items():
        changes = changes_since(attempt.session, attempt.recorder.origin, entity, versions)
        for key in versions:
            attempt.history.past[entity, key] = changes[str(key)]


def _named_version(attempt: Attempt, item: Item) -> tuple[Row | None, datetime | None]:
    """The row that an item acts on, and the version of it that the client knows."""
    if isinstance(item, Refused) or item.fault is not None or not item.handler.versioned:
        return None, None
    if item.keys.target is not None:
        return attempt.rows.find(item.keys.target), item.keys.version
    if item.keys.client_id is None:
        return None, None
    row = attempt.rows.find(Reference(item.handler.target.model, item.keys.client_id, is_client_id=True))
    return row, None if row is None else item.keys.version or row.created_at


def _deleted(attempt: Attempt, needs: Needs) -> set[Reference]:
    """The rows that the items name by client_ids and that were deleted, so that no create of theirs is on its way."""
    named = {reference for references in needs.rows.values() for reference in references if reference.is_client_id}
    missing = {reference for reference in named if attempt.rows.find(reference) is None}
    if missing:
        made = (created_rows(item.payload, item.keys, item.handler) for item in attempt.batch.items if item.handler)
        missing = missing.difference(*made)
    if not missing:
        return set()
    known = deleted_rows(attempt.session, {str(reference.key) for reference in missing})
    return {reference for reference in missing if (entity_of(reference.model).name, reference.key) in known}


def _creates(attempt: Attempt) -> Counter[type]:
    """How many rows of each model the items may create."""
    return Counter(
        item.handler.target.model
        for item in attempt.batch.items
        if item.handler is not None and item.keys.is_create and key_of(item) not in attempt.remembered
    )
