"""Operation types as `GET /sync/types` and the OpenAPI document show them (contract, section 3.4)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from inspect import cleandoc
from typing import Any

from apispec import APISpec
from apispec.ext.marshmallow import MarshmallowPlugin
from sqlalchemy import String, inspect

from app.core.host.handlers import takes_client_id
from app.core.host.registry import Registered
from app.core.sync.conflicts import STRATEGIES
from app.core.sync.items import LOCAL_ID_LENGTH
from app.core.values import MAX_INTEGER, TimestampField
from app.openapi.shapes import JsonSchema, Named, nullable, one_of
from app.plugin_api import ById, SyncHandler

#: Where apispec's references lead, and where they lead in a schema that stands for itself.
COMPONENTS, DEFINITIONS = "#/components/schemas/", "#/$defs/"


def describe(registered: Registered) -> dict[str, Any]:
    """`{"type", "aliases", "plugin", "distribution", "version", "schema"}` of one handler."""
    handler = registered.handler
    return {
        "type": handler.type,
        "aliases": list(handler.aliases),
        "plugin": registered.entry_point,
        "distribution": registered.distribution,
        "version": registered.version,
        "entity": handler.target.model.__entity__.name,
        "schema": data_schema(handler),
    }


def data_schema(handler: SyncHandler) -> JsonSchema:
    """The JSON Schema of an item's `data`, complete in itself: the core's keys, and what the handler's schema takes."""
    schema, nested = _data_schema(handler)
    found: JsonSchema = _moved(schema, COMPONENTS, DEFINITIONS)
    return {**found, "$defs": _moved(nested, COMPONENTS, DEFINITIONS)} if nested else found


def item_schema(registered: Registered) -> Named:
    """The schema of a whole item of this type, for the OpenAPI document."""
    handler = registered.handler
    prefix = f"SyncData_{handler.type}_"
    schema, nested = _data_schema(handler)
    origin = f"{registered.distribution} {registered.version}"
    item: JsonSchema = {
        "type": "object",
        "description": "\n\n".join([f"Brought by {origin}.", *_other_keys(handler)]),
        "properties": {
            "type": {"type": "string", "enum": [handler.type, *handler.aliases]},
            "local_id": {"type": "string", "minLength": 1, "maxLength": LOCAL_ID_LENGTH},
            handler.data_keys[0]: _moved(schema, COMPONENTS, COMPONENTS + prefix),
        },
        "required": ["type", "local_id", handler.data_keys[0]],
    }
    if handler.examples:
        item["examples"] = [dict(each) for each in handler.examples]
    companions = {prefix + name: _moved(each, COMPONENTS, COMPONENTS + prefix) for name, each in nested.items()}
    return Named(f"SyncItem_{handler.type}", item, companions)


def _other_keys(handler: SyncHandler) -> list[str]:
    others = " and ".join(f"`{key}`" for key in handler.data_keys[1:])
    return [f"{others} means the same as `{handler.data_keys[0]}`."] if others else []


def _data_schema(handler: SyncHandler) -> tuple[JsonSchema, dict[str, JsonSchema]]:
    """The schema of `data`, and what nested schemas it refers to below `COMPONENTS`, by name."""
    own, nested = _own_schema(handler)
    description = {"description": cleandoc(handler.schema.__doc__)} if handler.schema.__doc__ else {}
    parent = handler.target.parent
    if parent is None:
        return {**_variant(handler, own, handler.target.keys, own.get("required", ())), **description}, nested
    change = _variant(handler, own, handler.target.keys, ())
    create = _variant(handler, own, parent.keys, own.get("required", ()))
    # Null is the same as not sent: only a new row has no id.
    create["properties"] = create["properties"] | {key: {"type": "null"} for key in handler.target.keys}
    titled = [
        {"title": f"{_camel(handler.type)}{what}", **variant} for what, variant in (("Change", change), ("New", create))
    ]
    return {"anyOf": titled, **description}, nested


def _own_schema(handler: SyncHandler) -> tuple[JsonSchema, dict[str, JsonSchema]]:
    """What apispec makes of the handler's marshmallow schema, and of those nested in it."""
    plugin = MarshmallowPlugin()
    spec = APISpec("Fieldpost", "1", "3.1.0", plugins=[plugin])
    assert plugin.converter is not None
    plugin.map_to_openapi_type(TimestampField, "string", "date-time")  # type: ignore[no-untyped-call]
    own: JsonSchema = plugin.converter.schema2jsonschema(handler.schema())  # type: ignore[no-untyped-call]
    return own, dict(spec.components.schemas)


def _variant(handler: SyncHandler, own: JsonSchema, keys: tuple[str, ...], required: Iterable[str]) -> JsonSchema:
    """One way to send `data`: with one of the `keys` that name a row, and with what else is `required`."""
    references = [*handler.rows.values(), *handler.reads.values()]
    named = [each.keys for each in references if isinstance(each, ById) and not each.optional]
    single = [each[0] for each in (keys, *named) if len(each) == 1]
    variant: JsonSchema = {
        "type": "object",
        "properties": {**_core_properties(handler), **own.get("properties", {})},
        "required": [*dict.fromkeys([*single, *required])],
        "additionalProperties": False,
    }
    several = [_any_key(each) for each in (keys, *named) if len(each) > 1]
    return variant | (several[0] if len(several) == 1 else {"allOf": several} if several else {})


def _any_key(keys: tuple[str, ...]) -> JsonSchema:
    """At least one of the keys; said so that makers of clients, who do not read `if`, still see one plain object."""
    return {"if": {"not": {"anyOf": [{"required": [key]} for key in keys[1:]]}}, "then": {"required": [keys[0]]}}


def _core_properties(handler: SyncHandler) -> dict[str, Any]:
    found: dict[str, Any] = {}
    targets = [handler.target, handler.target.parent, *handler.rows.values(), *handler.reads.values()]
    for target in targets:
        if isinstance(target, ById):
            found |= dict.fromkeys(target.keys, _id_schema(target.model))
    if takes_client_id(handler):
        found["client_id"] = {"type": ["string", "null"], "format": "uuid"}
    if handler.versioned:
        found["updated_at"] = {"type": ["string", "null"], "format": "date-time"}
        found["resolve_strategy"] = nullable(one_of(*STRATEGIES))
    return found


def _id_schema(model: Any) -> dict[str, Any]:
    if isinstance(inspect(model).primary_key[0].type, String):
        return {"type": ["string", "null"]}
    # Not from 1: a number that is no row's is `not_found`, never `invalid`.
    number = {"minimum": -MAX_INTEGER, "maximum": MAX_INTEGER}
    if hasattr(model, "client_id"):
        return {"type": ["integer", "string", "null"], **number, "description": "An id, or a client_id."}
    return {"type": ["integer", "null"], **number}


def _moved(value: Any, old: str, new: str) -> Any:
    """A copy of a schema in which all references lead to another place."""
    if isinstance(value, Mapping):
        return {
            key: new + each.removeprefix(old) if key == "$ref" and isinstance(each, str) else _moved(each, old, new)
            for key, each in value.items()
        }
    return [_moved(each, old, new) for each in value] if isinstance(value, list | tuple) else value


def _camel(name: str) -> str:
    return "".join(part.capitalize() for part in name.split("_"))
