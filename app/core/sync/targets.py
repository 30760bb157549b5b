"""The rows of an operation: found by the names in its item, agreeing with them, and permitted."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import TypeAlias

from app.core.sync.items import Routed
from app.core.sync.keys import Reference
from app.core.sync.refusals import invalid
from app.core.sync.rows import Rows
from app.errors import Rejected
from app.models.entities import Row, entity_of
from app.plugin_api import ActingUser, ById, Children, Operation, Policy, Target

#: Advice about a client_id that no row has.
NOT_YET = "Its create has not come yet. Keep the item queued, and send it again with its create or after it."
DELETED = "The row was deleted meanwhile. Set this item aside and show it."
CREATE_REFUSED = "Its create in this batch has made no row. Set this item aside with it, and show both."

#: The rows that a handler's `rows` or `reads` name.
NamedRows: TypeAlias = dict[str, Row | list[Row] | None]


def find(rows: Rows, user: ActingUser, item: Routed) -> tuple[Operation, list[Row]]:
    """The operation of an item, all of it that `apply` is given, and the rows that it may change.

    Raises `Rejected` where a row is not there, does not agree with the payload, or is not the user's to change.
    """
    handler = item.handler
    target, parent = _target_and_parent(rows, user, item)
    changed = _named_rows(rows, item, handler.rows, target)
    read = _named_rows(rows, item, handler.reads, target)
    others = list(_flat(changed.values()))
    for row in others:
        require_permission(handler.policy, user, row)
    operation = Operation(
        index=item.index,
        type=handler.type,
        local_id=item.local_id,
        data=item.data,
        changes=item.data if handler.changes is None else handler.changes(item.data),
        model=handler.target.model,
        target=target,
        parent=parent if target is None else None,
        rows={**changed, **read},
    )
    return operation, [row for row in (target, parent, *others) if row is not None]


def _target_and_parent(rows: Rows, user: ActingUser, item: Routed) -> tuple[Row | None, Row | None]:
    """The row to act on, and the row below which to create."""
    policy, keys = item.handler.policy, item.keys
    if keys.is_create:
        parent = None if keys.parent is None else _require(rows, keys.parent)
        if parent is not None:
            require_permission(policy, user, parent)
        return _own_row(rows, user, item, parent), parent
    target = None if keys.target is None else _require(rows, keys.target)
    if target is not None:
        require_permission(policy, user, target)
        differing = _differing_identity(rows, item, target)
        if differing:
            raise invalid({name: ["This never changes; leave it out, or create a new row."] for name in differing})
    return target, None


def _own_row(rows: Rows, user: ActingUser, item: Routed, parent: Row | None) -> Row | None:
    """The row that an earlier create with the same client_id has made."""
    if item.keys.client_id is None:
        return None
    row = rows.find(Reference(item.handler.target.model, item.keys.client_id, is_client_id=True))
    if row is not None:
        agrees = parent is None or row.inspection_id == parent.inspection_id
        if not agrees or _differing_identity(rows, item, row) or not item.handler.policy(user, row):
            raise taken()
    return row


def _differing_identity(rows: Rows, item: Routed, row: Row) -> list[str]:
    """Columns that never change, and for which the payload has another value than the row."""
    return [name for name, sent in item.keys.identity.items() if _value_of(rows, sent) != getattr(row, name)]


def _value_of(rows: Rows, sent: object) -> object:
    """The value as sent; where that is the client_id of a row, the row's id."""
    if not isinstance(sent, Reference):
        return sent
    row = rows.find(sent)
    return None if row is None else row.id


def _named_rows(rows: Rows, item: Routed, targets: Mapping[str, Target], row: Row | None) -> NamedRows:
    """The rows that `targets` name, seen from `row`, the target of the operation."""
    named: NamedRows = {}
    for name, target in targets.items():
        if isinstance(target, ById):
            reference = item.keys.references[name]
            if isinstance(reference, list):
                named[name] = [_require(rows, each) for each in reference]
            else:
                named[name] = None if reference is None else _require(rows, reference)
        elif isinstance(target, Children):
            named[name] = [] if row is None else rows.children(target, row)
        else:
            named[name] = None if row is None else rows.via(target, row)
    return named


def _flat(named: Iterable[Row | list[Row] | None]) -> Iterator[Row]:
    for rows in named:
        if isinstance(rows, list):
            yield from rows
        elif rows is not None:
            yield rows


def _require(rows: Rows, reference: Reference) -> Row:
    row = rows.find(reference)
    if row is None:
        raise _not_found(rows, reference)
    return row


def _not_found(rows: Rows, reference: Reference) -> Rejected:
    """The refusal of an item that names a row which is not there: one created offline may still be on its way."""
    sentence = f"{entity_of(reference.model).label} not found"
    if not reference.is_client_id:
        return Rejected("not_found", sentence)
    if reference in rows.refused:
        return Rejected("not_found", sentence, CREATE_REFUSED)
    if rows.was_deleted(reference):
        return Rejected("not_found", sentence, DELETED)
    return Rejected("not_found", sentence, NOT_YET, retryable=True)


def taken() -> Rejected:
    """The refusal of a create whose client_id another row has."""
    return Rejected("invalid", "client_id is taken", "Make a new UUID for each new row.")


def require_permission(policy: Policy, user: ActingUser, row: Row) -> None:
    """Raise `Rejected` unless the policy lets the user change the row."""
    if not policy(user, row):
        raise Rejected("forbidden", f"Not authorized to update this {entity_of(row).noun}")
