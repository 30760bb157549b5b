"""From items to drafts: routed to a handler, the core's keys read, the rest through the handler's schema.

All of it happens before the transaction. A fault is kept with the draft and answered only after the recall, since
a remembered outcome goes before schema, policy and the target's existence (contract, section 3.2).
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from functools import cache, lru_cache, partial
from typing import Any, NamedTuple

import orjson
from marshmallow import Schema, ValidationError
from sqlalchemy import String, inspect

from app.core.host.handlers import core_keys, takes_client_id
from app.core.host.registry import Registry
from app.core.host.watch import BUGS, UNWATCHED, Watch
from app.core.sync.conflicts import STRATEGIES
from app.core.sync.items import Item, canonical, fingerprint
from app.core.values import UUID_FORM, parse_timestamp
from app.errors import Rejected
from app.http.body import details_of
from app.models.entities import entity_of
from app.plugin_api import ById, Entity, SyncHandler

logger = logging.getLogger(__name__)

REQUIRED = "Missing data for required field."

#: What is told of a type that no installed plugin says anything about.
UNKNOWN_TYPE = "Keep the item: the plugin that knows its type may be missing here, or removed."


class Reference(NamedTuple):
    """A row as a payload names it: by id, or by the client_id that a device made."""

    model: type
    key: Any
    is_client_id: bool = False


@dataclass(kw_only=True, slots=True)
class Draft:
    """One item on its way to become an operation."""

    item: Item
    #: Type and payload as sent; a second pass takes a fresh copy from here.
    document: bytes = b""
    #: Of the type and payload as sent; empty where the item could not be routed.
    fingerprint: str = ""
    handler: SyncHandler | None = None
    payload: dict[str, Any] = field(default_factory=dict)
    #: What the schema made of the payload.
    data: dict[str, Any] = field(default_factory=dict)
    #: The existing row that is named; None for a create.
    target: Reference | None = None
    #: The row below which to create.
    parent: Reference | None = None
    #: The client_id of a create, in lower case.
    client_id: str | None = None
    #: Columns that never change, as the payload names them: a value, or a `Reference` by client_id.
    identity: dict[str, Any] = field(default_factory=dict)
    #: What `rows` and `reads` name by id.
    references: dict[str, Reference | None] = field(default_factory=dict)
    #: The client's `updated_at`, parsed and as sent.
    version: datetime | None = None
    sent_version: Any = None
    strategy: str | None = None
    #: Why the item is refused, unless it is remembered.
    fault: Rejected | None = None


def prepare(items: Iterable[Item], registry: Registry, watch: Watch = UNWATCHED) -> list[Draft]:
    """A draft for each item."""
    drafts = [_route(item, registry) for item in items]
    _read(drafts, registry, watch)
    return drafts


def prepare_again(drafts: Iterable[Draft], registry: Registry, watch: Watch) -> list[Draft]:
    """The same drafts from fresh copies of the payloads: what a handler did to the first ones is gone."""
    fresh = []
    for draft in drafts:
        copy = Draft(item=draft.item, document=draft.document, fingerprint=draft.fingerprint)
        copy.handler = draft.handler
        if draft.handler is None:
            copy.fault = draft.fault
        else:
            copy.payload = orjson.loads(draft.document)[1]
        fresh.append(copy)
    _read(fresh, registry, watch)
    return fresh


def _route(item: Item, registry: Registry) -> Draft:
    draft = Draft(item=item, fault=item.fault)
    if item.fault is not None:
        return draft
    handler = registry.routes.get(item.type)
    keys = handler.data_keys if handler else ("data",)
    key = next((each for each in keys if each in item.element), None)
    if key is None and handler is not None:
        draft.fault = invalid({keys[0]: [REQUIRED]})
        return draft
    payload = item.element[key] if key else None
    draft.document = canonical(item.type, payload)
    draft.fingerprint = fingerprint(draft.document)
    if handler is None:
        hint = registry.removed.get(item.type, UNKNOWN_TYPE)
        message = f"{hint} This server knows: {', '.join(registry.types)}."
        draft.fault = Rejected("invalid_type", "Invalid sync type", message)
    elif not isinstance(payload, dict):
        draft.fault = invalid({str(key): ["Send an object."]})
    else:
        draft.handler, draft.payload = handler, payload
    return draft


def _read(drafts: list[Draft], registry: Registry, watch: Watch) -> None:
    """Fill in what the payloads say, faults included."""
    groups: dict[tuple[int, bool], list[Draft]] = {}
    for draft in drafts:
        if draft.handler is None:
            continue
        if watch.has_given_up(draft.handler):
            draft.fault = not_tried()
        elif draft.handler.upcast is not None:
            _guarded(draft, _upcast, registry, watch)
        if draft.fault is None:
            _read_core(draft)
        if draft.fault is None:
            groups.setdefault((id(draft.handler), _is_partial(draft)), []).append(draft)
    for (_, is_partial), group in groups.items():
        _load(group, is_partial, registry, watch)


def _is_partial(draft: Draft) -> bool:
    """Whether required fields may be missing: only where the same schema is also that of a create."""
    assert draft.handler is not None
    return draft.target is not None and draft.handler.target.parent is not None


def _guarded(draft: Draft, read: Callable[[Draft], None], registry: Registry, watch: Watch) -> None:
    """Run a handler's own code on one draft: whatever it raises is this item's fault only."""
    if watch.has_given_up(draft.handler):
        draft.fault = not_tried()
        return
    try:
        with watch(draft.handler):
            read(draft)
    except Rejected as rejected:
        draft.fault = rejected
    except ValidationError as error:
        draft.fault = invalid(details_of(error))
    except BUGS:
        draft.fault = failed(draft, registry)


def _load(group: list[Draft], is_partial: bool, registry: Registry, watch: Watch) -> None:
    """All payloads at once; one by one where that fails, since one bad item spoils the whole (trap 19)."""
    handler = group[0].handler
    assert handler is not None
    schema = _schema(handler, is_partial)
    try:
        with watch(handler):
            loaded = schema.load([draft.payload for draft in group], many=True)
    except BUGS:
        for draft in group:
            _guarded(draft, partial(_load_one, schema), registry, watch)
    else:
        for draft, data in zip(group, loaded, strict=True):
            draft.data = data


def _load_one(schema: Schema, draft: Draft) -> None:
    draft.data = schema.load(draft.payload)


@lru_cache(maxsize=512)
def _schema(handler: SyncHandler, is_partial: bool) -> Schema:
    schema: Schema = handler.schema(partial=is_partial)
    return schema


def _upcast(draft: Draft) -> None:
    """Let the handler turn an older app's payload into today's."""
    assert draft.handler is not None
    assert draft.handler.upcast is not None
    payload = draft.handler.upcast(dict(draft.payload))
    if not isinstance(payload, dict):
        raise TypeError(f"upcast returned {type(payload).__name__}; a dict is needed.")
    draft.payload = payload


def _read_core(draft: Draft) -> None:
    """Take the core's keys out of the payload: ids, `client_id`, `updated_at`, `resolve_strategy`."""
    handler = draft.handler
    assert handler is not None
    try:
        if handler.versioned:
            _read_version(draft)
        _read_target(draft, handler)
        draft.identity = _identity(draft, entity_of(handler.target.model))
        for name, target in _further_rows(handler):
            _read_further(draft, name, target)
    except Rejected as rejected:
        draft.fault = rejected
    taken = core_keys(handler)
    draft.payload = {key: value for key, value in draft.payload.items() if key not in taken}


@cache
def _further_rows(handler: SyncHandler) -> list[tuple[str, ById]]:
    """What `rows` and `reads` name by id."""
    named = {**handler.rows, **handler.reads}
    return [(name, target) for name, target in named.items() if isinstance(target, ById)]


def _read_further(draft: Draft, name: str, target: ById) -> None:
    found = draft.references[name] = _read_reference(draft.payload, target, required=not target.optional)
    if found is not None and found.is_client_id:
        # What a client_id names is only known once the rows are loaded.
        draft.identity |= {key: found for key in target.keys if key in draft.identity}


def _read_version(draft: Draft) -> None:
    sent, strategy = draft.payload.get("updated_at"), draft.payload.get("resolve_strategy")
    draft.sent_version = sent
    if sent is not None:
        try:
            draft.version = parse_timestamp(sent)
        except ValueError as error:
            raise invalid({"updated_at": [str(error)]}) from None
    if strategy is not None and strategy not in STRATEGIES:
        raise invalid({"resolve_strategy": [f"Must be one of: {', '.join(STRATEGIES)}."]})
    draft.strategy = strategy


def _read_target(draft: Draft, handler: SyncHandler) -> None:
    payload, target = draft.payload, handler.target
    draft.target = _read_reference(payload, target, required=target.parent is None and not target.optional)
    client_id = payload.get("client_id") if takes_client_id(handler) else None
    if client_id is not None:
        if not isinstance(client_id, str) or not UUID_FORM.fullmatch(client_id):
            raise invalid({"client_id": ["Not a valid UUID."]})
        draft.client_id = client_id.lower()
    if draft.target is None and target.parent is not None:
        if not any(payload.get(key) is not None for key in target.parent.keys):
            message = f"Send this to change a row, or {target.parent.keys[0]} to create one."
            raise invalid({target.keys[0]: [message]})
        draft.parent = _read_reference(payload, target.parent, required=True)


def _identity(draft: Draft, entity: Entity) -> dict[str, Any]:
    found = {name: draft.payload[name] for name in entity.identity if draft.payload.get(name) is not None}
    return found if draft.client_id is None else {**found, "client_id": draft.client_id}


def _read_reference(payload: Mapping[str, Any], target: ById, *, required: bool) -> Reference | None:
    """The row that the payload names under one of the target's keys; null is the same as not sent."""
    sent = [key for key in target.keys if payload.get(key) is not None]
    if not sent:
        if required:
            raise invalid({target.keys[0]: [REQUIRED]})
        return None
    first, *others = [_reference(target.model, key, payload[key]) for key in sent]
    if any(other != first for other in others):
        raise invalid({key: ["Names another row than the other ids."] for key in sent})
    return first


def _reference(model: type, key: str, value: Any) -> Reference:
    if _has_text_key(model):
        if isinstance(value, str):
            return Reference(model, value)
    elif isinstance(value, int) and not isinstance(value, bool):
        return Reference(model, value)
    elif isinstance(value, str) and hasattr(model, "client_id") and UUID_FORM.fullmatch(value):
        return Reference(model, value.lower(), is_client_id=True)
    raise invalid({key: ["Not a valid id."]})


@cache
def _has_text_key(model: type) -> bool:
    return isinstance(inspect(model).primary_key[0].type, String)


def invalid(details: Mapping[str, Any]) -> Rejected:
    """The rejection of a payload, with a list of messages for each field."""
    return Rejected("invalid", "Invalid payload", details=details)


def failed(draft: Draft, registry: Registry) -> Rejected:
    """The rejection of an operation whose handler has a bug: nothing is wrong with the item.

    Called while the exception is handled, which is logged with where the handler is from, never with data.
    """
    origin = {} if draft.handler is None else registry.origin_of(draft.handler)
    logger.exception("handler failed", extra={**origin, "index": draft.item.index, "local_id": draft.item.local_id})
    return Rejected("handler_failed", "Internal error", retryable=True)


def not_tried() -> Rejected:
    """The rejection of an operation whose handler does not end, and is not tried again in this batch."""
    return Rejected("handler_failed", "Internal error", retryable=True)
