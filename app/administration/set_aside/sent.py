"""The fields that an item sets, wherever its type has them in the payload."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from app.core.host.handlers import core_keys
from app.core.host.registry import Registry, current_registry
from app.core.sync.items import payload_key
from app.core.values import JsonObject
from app.models.entities import entity_of
from app.plugin_api import SyncHandler, recorded_columns

#: The keys that every item has beside its payload (contract, section 3.2).
ENVELOPE = frozenset({"type", "local_id", "made_at", "meta"})


def data_key(item: JsonObject, registry: Registry) -> str:
    """The key of an item under which its payload stands."""
    type_ = item.get("type")
    handler = registry.routes.get(type_) if isinstance(type_, str) else None
    return payload_key(handler, item) or ("data" if handler is None else handler.data_keys[0])


def place_fields(shown: JsonObject, fields: Mapping[str, Any]) -> JsonObject:
    """The `changes` of a decision that set these fields: where the item of `show_set_aside` has its own fields."""
    item, mine = shown["item"] or {}, (shown["seen"] or {}).get("mine") or {}
    data = item.get(data_key(item, current_registry())) or {}
    holders = [name for name, value in data.items() if isinstance(value, dict) and ({*value} & {*mine, *fields})]
    inner = {name: value for name, value in fields.items() if holders and name not in data}
    outer = {name: value for name, value in fields.items() if name not in inner}
    return {**outer, **({holders[0]: inner} if inner else {})}


def sent_fields(shown: JsonObject) -> JsonObject:
    """The fields that the item of `show_set_aside` sets, without ids and versions; those of a document stand among
    the others. Of a type that is not installed: its payload.
    """
    item, handler = shown["item"] or {}, _handler_of(shown)
    data = item.get(data_key(item, current_registry()))
    if not isinstance(data, dict) or handler is None:
        return data if isinstance(data, dict) else {}
    own = {name: value for name, value in data.items() if name not in core_keys(handler)}
    holders = [name for name, value in own.items() if _holds_fields(name, value, handler)]
    fields = {name: value for name, value in own.items() if name not in holders}
    for name in holders:
        fields |= own[name]
    return fields


def names_in(shown: JsonObject) -> set[str]:
    """The names of all fields in the item of `show_set_aside`, also where no type would look for them."""
    item = shown["item"] or {}
    key = data_key(item, current_registry())
    strays = item.keys() - ENVELOPE - ({key} if isinstance(item.get(key), dict) else set())
    return {*strays, *sent_fields(shown)}


def item_without(shown: JsonObject, names: Collection[str]) -> JsonObject | None:
    """The item of `show_set_aside` without the fields of these names."""
    item, handler = shown["item"], _handler_of(shown)
    if item is None:
        return None
    key = data_key(item, current_registry())
    data = item.get(key)
    is_read = isinstance(data, dict)
    kept = {
        name: value
        for name, value in item.items()
        if name in ENVELOPE or name not in names or (is_read and name == key)
    }
    return {**kept, key: _without(data, names, handler)} if is_read else kept


def _without(data: JsonObject, names: Collection[str], handler: SyncHandler | None) -> JsonObject:
    """A payload without the fields of these names; the core's keys are no fields."""
    keys = frozenset() if handler is None else core_keys(handler)
    kept: JsonObject = {}
    for name, value in data.items():
        if handler is not None and _holds_fields(name, value, handler):
            kept[name] = {inner: part for inner, part in value.items() if inner not in names}
        elif name in keys or name not in names:
            kept[name] = value
    return kept


def _handler_of(shown: JsonObject) -> SyncHandler | None:
    registered = current_registry().handlers.get(shown["type"])
    return None if registered is None else registered.handler


def _holds_fields(name: str, value: object, handler: SyncHandler) -> bool:
    """Whether a part of the payload is an object with keys of the document, such as `data` or `changes`."""
    model: Any = handler.target.model
    if not isinstance(value, dict) or entity_of(model).document is None or name in core_keys(handler):
        return False
    return name == entity_of(model).document or name not in recorded_columns(model)
