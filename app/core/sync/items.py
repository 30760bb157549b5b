"""The items of a batch: read from the body of `POST /sync`, and each routed to the handler of its type."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from functools import cache
from typing import Any, ClassVar, TypeAlias

import orjson

from app.config import current_settings
from app.core.host.registry import Registry
from app.core.ledger.entries import Key
from app.core.sync.keys import NO_KEYS, CoreKeys, Payload, Reference, created_rows
from app.core.sync.refusals import REQUIRED, invalid, unknown_type
from app.core.values import MAX_INTEGER, JsonObject, parse_timestamp
from app.errors import Rejected, RequestError, TooLargeError
from app.http.body import find_unstorable
from app.plugin_api import SyncHandler

LOCAL_ID_LENGTH = 255

#: The levels of arrays and objects around an item. The limit on nesting counts from the outermost object of the body.
LEVELS_AROUND_AN_ITEM = 2

#: The most bytes that an item's `meta` may have, as JSON (contract, section 3.2).
MAX_META_BYTES = 2048

#: Finds what may be a whole number with a point, which few documents have. Texts may look like one, too.
WHOLE_NUMBER = re.compile(rb"\.0[],}]")

#: A value of a client's that is echoed: it is no container.
Echo: TypeAlias = str | int | float | None


class InvalidEnvelopeError(RequestError):
    """The body is JSON, but not a batch."""

    code = "invalid_envelope"
    error = "The body is not a batch"
    message = 'Send {"sync_items": [{"type": …, "local_id": …, "data": {…}}, …]}.'


@dataclass(kw_only=True, slots=True)
class Refused:
    """An item that no handler can be asked about. It is answered with its rejection, unless it is remembered."""

    index: int
    type: Echo
    local_id: Echo
    #: Empty where there is no type, local_id or payload to take it of.
    fingerprint: str = ""
    rejected: Rejected
    #: The rows that it would have created, under their client_ids.
    created: set[Reference] = field(default_factory=set)
    handler: ClassVar[None] = None
    made_at: ClassVar[None] = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Terms:
    """The terms on which the office decides an item: nothing resolves a conflict but the version that was seen."""

    #: The version of the row that was seen; None: the one that the item was sent with.
    version: datetime | None


@dataclass(kw_only=True, slots=True)
class Routed:
    """An item with the handler of its type. `app.core.sync.prepare` reads its payload."""

    index: int
    #: As sent: the handler's type, or an alias.
    type: str
    local_id: str
    #: The hash of the handler's type and the payload as sent.
    fingerprint: str
    #: That type and payload; a second pass takes a fresh copy from here.
    document: bytes
    handler: SyncHandler
    #: The payload as sent; once it has been prepared, without the core's keys.
    payload: Payload
    #: The device's time when the change was made, and what the app notes about it; None where it sent none.
    made_at: datetime | None = None
    meta: JsonObject | None = None
    keys: CoreKeys = NO_KEYS
    #: The payload as the schema has loaded it.
    data: Payload = field(default_factory=dict)
    #: Why the item is refused, unless it is remembered.
    fault: Rejected | None = None
    #: Set where the office decides an item that was not applied (contract, section 12).
    terms: Terms | None = None


Item: TypeAlias = Refused | Routed


def key_of(item: Item) -> Key:
    """The key under which an applied operation is remembered."""
    return item.local_id, item.fingerprint


def read_items(body: object, registry: Registry, *, is_suspect: bool = True) -> list[Item]:
    """The items of a batch. Raises `InvalidEnvelopeError` or `TooLargeError` (413 `too_many_items`).

    An element that is no proper item is refused by itself: one bad element never fails the batch.
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
    items = [_read_item(index, element, registry, is_suspect) for index, element in enumerate(elements)]
    for item, element in zip(items, elements, strict=True):
        if isinstance(item, Refused):
            item.created = _created_by(element, registry)
    return items


def _read_item(index: int, element: object, registry: Registry, is_suspect: bool) -> Item:
    if not isinstance(element, dict):
        return Refused(index=index, type=None, local_id=None, rejected=invalid(None, "An item is an object."))
    type_, local_id = (_echo(element.get(name), is_suspect) for name in ("type", "local_id"))
    fault = find_unstorable(element, depth=_item_depth()) if is_suspect else None
    if fault is not None:
        return Refused(index=index, type=type_, local_id=local_id, rejected=invalid(None, fault))
    if isinstance(type_, str) and isinstance(local_id, str) and 0 < len(local_id) <= LOCAL_ID_LENGTH:
        return _route(index, type_, local_id, element, registry)
    details = {}
    if not isinstance(type_, str):
        details["type"] = ["Send the operation type as a string."]
    if not isinstance(local_id, str) or not 0 < len(local_id) <= LOCAL_ID_LENGTH:
        details["local_id"] = [f"Send a string of 1 to {LOCAL_ID_LENGTH} characters."]
    rejected = invalid(details, "The item lacks what every item has.")
    return Refused(index=index, type=type_, local_id=local_id, rejected=rejected)


def _created_by(element: object, registry: Registry) -> set[Reference]:
    """The rows that a refused element would have created, as far as they can be read: later items may name them."""
    type_ = element.get("type") if isinstance(element, dict) else None
    handler = registry.routes.get(type_) if isinstance(type_, str) else None
    if handler is None or not isinstance(element, dict):
        return set()
    payload = element.get(payload_key(handler, element))
    return created_rows(payload, NO_KEYS, handler) if isinstance(payload, dict) else set()


def _item_depth() -> int:
    return current_settings().max_json_depth - LEVELS_AROUND_AN_ITEM


def _echo(value: Any, is_suspect: bool) -> Echo:
    """The value if it can be sent back, being clean JSON and no container; otherwise None."""
    if isinstance(value, str) and not is_suspect:
        return value
    return None if isinstance(value, dict | list) or find_unstorable(value) is not None else value


def _route(index: int, type_: str, local_id: str, element: Mapping[str, Any], registry: Registry) -> Item:
    """The item with its handler. Its payload stands under the first of the handler's `data_keys` that is there."""
    handler = registry.routes.get(type_)
    key = payload_key(handler, element)
    if key is None and handler is not None:
        return Refused(index=index, type=type_, local_id=local_id, rejected=invalid({handler.data_keys[0]: [REQUIRED]}))
    payload = element[key] if key else None
    document = canonical(type_ if handler is None else handler.type, payload)
    mark = fingerprint(document)
    if handler is None:
        rejected = unknown_type(type_, registry)
    elif not isinstance(payload, dict):
        rejected = invalid({str(key): ["Send an object."]})
    else:
        try:
            made_at, meta = _read_made_at(element), _read_meta(element)
        except Rejected as fault:
            rejected = fault
        else:
            return Routed(
                index=index,
                type=type_,
                local_id=local_id,
                fingerprint=mark,
                document=document,
                handler=handler,
                payload=payload,
                made_at=made_at,
                meta=meta,
            )
    return Refused(index=index, type=type_, local_id=local_id, fingerprint=mark, rejected=rejected)


def payload_key(handler: SyncHandler | None, element: Mapping[str, Any]) -> str | None:
    """The key of an element under which its payload stands; None if there is none."""
    for name in ("data",) if handler is None else handler.data_keys:
        if name in element:
            return name
    return None


def _read_made_at(element: Mapping[str, Any]) -> datetime | None:
    """The device's time when the change was made. Raises `Rejected` (`invalid`)."""
    made_at = element.get("made_at")
    try:
        return None if made_at is None else parse_timestamp(made_at)
    except ValueError as error:
        raise invalid({"made_at": [str(error)]}) from None


def _read_meta(element: Mapping[str, Any]) -> JsonObject | None:
    """The app's notes about the change. Raises `Rejected` (`invalid`)."""
    meta = element.get("meta")
    if meta is None:
        return None
    if not isinstance(meta, dict):
        raise invalid({"meta": ["Send an object."]})
    if len(orjson.dumps(meta)) > MAX_META_BYTES:
        raise invalid({"meta": [f"At most {MAX_META_BYTES} bytes, as JSON, are kept."]})
    return meta


def canonical(type_: str, payload: object) -> bytes:
    """The handler's type and the payload as sent, keys sorted: a fresh copy can be made from it."""
    return orjson.dumps([type_, payload], option=orjson.OPT_SORT_KEYS)


def payload_json(item: Routed) -> bytes:
    """The payload as sent, cut out of the item's `canonical`."""
    return item.document[_payload_start(item.handler.type) : -1]


@cache
def _payload_start(type_: str) -> int:
    return len(orjson.dumps([type_]))


def fingerprint(document: bytes) -> str:
    """SHA-256 over `canonical`, hex: the same operation looks the same on every retry (contract, section 3.2).

    Numbers count by value, as in RFC 8785: the JSON writer of a client may turn 2 into 2.0.
    """
    if WHOLE_NUMBER.search(document):
        document = orjson.dumps(_by_value(orjson.loads(document)))
    return hashlib.sha256(document).hexdigest()


def _by_value(value: Any) -> Any:
    """The JSON value with whole numbers as integers. The order of keys stays."""
    if isinstance(value, float) and value.is_integer() and abs(value) <= MAX_INTEGER:
        return int(value)
    if isinstance(value, dict):
        return {key: _by_value(inner) for key, inner in value.items()}
    return [_by_value(inner) for inner in value] if isinstance(value, list) else value


def fresh_copy(item: Item) -> Item:
    """The item as it was sent, after a handler may have changed its payload."""
    if isinstance(item, Refused):
        return item
    return Routed(
        index=item.index,
        type=item.type,
        local_id=item.local_id,
        fingerprint=item.fingerprint,
        document=item.document,
        handler=item.handler,
        made_at=item.made_at,
        meta=item.meta,
        payload=orjson.loads(item.document)[1],
        terms=item.terms,
    )
