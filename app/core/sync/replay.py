"""Answers an operation that was applied before, by an earlier batch or by this one (contract, section 3.2)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from app import policies
from app.core.host.registry import Registry
from app.core.ledger.entries import Remembered
from app.core.sync import answers
from app.core.sync.answers import Answer
from app.core.sync.attempt import Attempt
from app.core.sync.items import Item
from app.models.entities import Row


def rows_to_show(registry: Registry, operations: Iterable[Remembered]) -> Iterator[tuple[type, object]]:
    """The rows that the answers of remembered operations show, as model and id."""
    for operation in operations:
        if operation.entity is not None and operation.entity_id is not None:
            yield from _row_key(registry, operation.entity, operation.entity_id)
        for entity, entity_id in (operation.result or {}).get("also", ()):
            yield from _row_key(registry, entity, entity_id)


def replay(attempt: Attempt, item: Item, operation: Remembered) -> Answer:
    """The first success entry again, with the row as it is now, where the user may still read it."""
    entity, entity_id = operation.entity or "", operation.entity_id or ""
    server_id = next((key for _, key in _row_key(attempt.batch.registry, entity, entity_id)), operation.entity_id)
    row = _visible_row(attempt, entity, entity_id)
    if row is None or operation.version_after is None:
        return answers.replayed(item, operation, server_id)
    if operation.decided_by_id is None:
        # The client does not know what the office has decided.
        attempt.history.add_replayed(row, operation)
    if not attempt.shown.may_show(row):
        return answers.replayed(item, operation, server_id)
    others = [_visible_row(attempt, *named) for named in (operation.result or {}).get("also", ())]
    return answers.replayed(item, operation, server_id, row, [other for other in others if other is not None])


def _visible_row(attempt: Attempt, entity: str, entity_id: str) -> Row | None:
    """A row of a remembered operation, where it is still there to be seen."""
    recorder = attempt.recorder
    for model, key in _row_key(attempt.batch.registry, entity, entity_id):
        row = attempt.rows.get(model, key)
        if row is not None and not recorder.is_deleted(row) and policies.read(recorder.user, row):
            return row
    return None


def _row_key(registry: Registry, entity: str, entity_id: str) -> Iterator[tuple[type, object]]:
    """Model and id of a row that the ledger names.

    Nothing where the plugin of its entity has been removed, and for a create that the office has discarded.
    """
    model = registry.models.get(entity)
    if model is not None and entity_id:
        yield model, registry.key_of(model, entity_id)
