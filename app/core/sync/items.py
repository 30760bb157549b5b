"""The envelope of a batch: what `POST /sync` takes, what it answers, and which item is which operation."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import orjson

from app.clock import to_wire
from app.config import current_settings
from app.errors import Rejected, RequestError, TooLargeError
from app.http.body import find_unstorable

LOCAL_ID_LENGTH = 255

#: What the sentence of a rejection is followed by, where the handler says nothing of its own.
ADVICE = {
    "invalid": "Correct the fields named in `details`; the item was not applied.",
    "invalid_type": "This server has no such type.",
    "not_found": "It is not there; the item was not applied. Set the item aside and show it.",
    "forbidden": "Set the item aside and show it: it is not yours to change.",
    "handler_failed": "Nothing of this item was applied. Keep it queued and send it again unchanged.",
}


class InvalidEnvelopeError(RequestError):
    """The body is JSON, but not a batch."""

    code = "invalid_envelope"
    error = "The body is not a batch"
    message = 'Send {"sync_items": [{"type": …, "local_id": …, "data": {…}}, …]}.'


@dataclass(kw_only=True, slots=True)
class Item:
    """One element of `sync_items`, as far as it could be read."""

    index: int
    type: Any
    local_id: Any
    #: The whole element; its payload stands under one of the handler's `data_keys`.
    element: Mapping[str, Any] = field(default_factory=dict)
    #: Why it cannot even be routed.
    fault: Rejected | None = None


def read_items(body: Any, *, is_suspect: bool = True) -> list[Item]:
    """The items of a batch. Raises `InvalidEnvelopeError` or `TooLargeError` (413 `too_many_items`).

    An element that is no proper item is an item with a fault: one bad element never fails the batch.
    `is_suspect`: whether the body reader has seen signs of values that cannot be stored.
    """
    elements = body.get("sync_items") if isinstance(body, dict) else None
    if not isinstance(elements, list):
        raise InvalidEnvelopeError()
    limit = current_settings().max_batch_items
    if len(elements) > limit:
        raise TooLargeError(
            limit,
            f"{len(elements)} items are too many for one batch",
            f"Send at most {limit} items at once; cut only between rows.",
            code="too_many_items",
        )
    return [_read_item(index, element, is_suspect) for index, element in enumerate(elements)]


def _read_item(index: int, element: Any, is_suspect: bool) -> Item:
    if not isinstance(element, dict):
        return Item(index=index, type=None, local_id=None, fault=_invalid("An item is an object.", None))
    type_, local_id = (_echo(element.get(name), is_suspect) for name in ("type", "local_id"))
    item = Item(index=index, type=type_, local_id=local_id, element=element)
    found = find_unstorable(element) if is_suspect else None
    details = {}
    if not isinstance(item.type, str):
        details["type"] = ["Send the operation type as a string."]
    if not isinstance(item.local_id, str) or not 0 < len(item.local_id) <= LOCAL_ID_LENGTH:
        details["local_id"] = [f"Send a string of 1 to {LOCAL_ID_LENGTH} characters."]
    if found is not None:
        item.fault = _invalid(found, None)
    elif details:
        item.fault = _invalid("The item lacks what every item has.", details)
    return item


def _echo(value: Any, is_suspect: bool) -> Any:
    """What of a client's value can be sent back: anything that is itself clean JSON, and no tree."""
    if isinstance(value, str) and not is_suspect:
        return value
    return None if isinstance(value, dict | list) or find_unstorable(value) is not None else value


def _invalid(message: str, details: Mapping[str, Any] | None) -> Rejected:
    return Rejected("invalid", "Invalid payload", message, details=details)


def canonical(type_: str, payload: Any) -> bytes:
    """Type and payload as sent, keys sorted: what the fingerprint is taken of, and a fresh copy can be made from."""
    return orjson.dumps([type_, payload], option=orjson.OPT_SORT_KEYS)


def fingerprint(document: bytes) -> str:
    """SHA-256 over `canonical`, hex: the same operation looks the same on every retry (contract, section 3.2)."""
    return hashlib.sha256(document).hexdigest()


def error_entry(item: Item, rejected: Rejected) -> dict[str, Any]:
    """An entry of `errors`."""
    entry = {
        "index": item.index,
        "local_id": item.local_id,
        "type": item.type,
        "code": rejected.code,
        "error": rejected.error,
        "message": ADVICE.get(rejected.code, rejected.error)
        if rejected.message == rejected.error
        else rejected.message,
        "retryable": rejected.retryable,
    }
    if rejected.details is not None:
        entry["details"] = rejected.details
    return entry


def batch_answer(
    success: list[dict[str, Any]],
    errors: list[dict[str, Any]],
    conflicts: list[dict[str, Any]],
    moment: datetime,
    generation: str,
) -> dict[str, Any]:
    """The answer to a batch (contract, section 3)."""
    return {
        "success": True,
        "results": {"success": success, "errors": errors, "conflicts": conflicts},
        "synced_at": to_wire(moment),
        "generation": generation,
        "message": (f"Sync completed: {len(success)} successful, {len(errors)} errors, {len(conflicts)} conflicts"),
    }
