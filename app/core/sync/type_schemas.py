"""Operation types as `GET /sync/types` and the OpenAPI document show them (contract, section 3.4)."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from inspect import cleandoc
from typing import Any

from sqlalchemy import String, inspect

from app.core.host.handlers import creates, takes_client_id
from app.core.host.registry import Registered
from app.core.sync.conflicts import STRATEGIES
from app.core.sync.items import LOCAL_ID_LENGTH, MAX_META_BYTES
from app.core.values import MAX_INTEGER
from app.openapi.conversion import Conversion
from app.openapi.shapes import (
    OBJECT,
    TEXT,
    TEXT_OF_ID,
    TIME,
    UUID,
    JsonSchema,
    Named,
    array_of,
    nullable,
    one_of,
    with_description,
)
from app.plugin_api import ById, SyncHandler

#: A key that must not be sent; null means the same. It has a type because generators make a class of the type null.
NEVER_SENT: JsonSchema = {"type": ["integer", "null"], "format": "int64", "const": None}

#: An id. It may be less than 1, because a number that names no row is `not_found`, never `invalid`.
INTEGER: JsonSchema = {
    "type": "integer",
    "format": "int64",
    "minimum": -MAX_INTEGER,
    "maximum": MAX_INTEGER,
    "description": TEXT_OF_ID,
}
#: The name of a row whose entity has client_ids.
ROW_REFERENCE = Named(
    "RowReference", with_description({"oneOf": [INTEGER, {"type": "string"}]}, "An id, or a client_id.")
)

#: What an item may say besides. It is kept with the operation, and shown in the history.
MADE_AT = with_description(nullable(TIME), "When the change was made, by the device's clock.")
META = with_description(nullable(OBJECT), f"What the app notes about the change, at most {MAX_META_BYTES} bytes.")

#: The place that apispec's references name, and the place of nested schemas in a schema that stands for itself.
COMPONENTS, DEFINITIONS = "#/components/schemas/", "#/$defs/"


def sync_type(registered: Registered) -> dict[str, Any]:
    """A handler as `GET /sync/types` shows it.

    The keys are `type`, `aliases`, `plugin`, `distribution`, `version`, `entity` and `schema`.
    """
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
    """The JSON Schema of an item's `data`, complete in itself: the core's keys and those of the handler's schema."""
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
            "made_at": MADE_AT,
            "meta": META,
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
    """The schema of `data`, and by name the nested schemas to which it refers below `COMPONENTS`."""
    own, nested = _own_schema(handler)
    description = {"description": cleandoc(handler.schema.__doc__)} if handler.schema.__doc__ else {}
    if not creates(handler):
        return {**_variant(handler, own, handler.target.keys, own.get("required", ())), **description}, nested
    parent, only_new = handler.target.parent, getattr(handler.schema, "only_for_new_rows", ())
    change = _variant(handler, own, handler.target.keys, ())
    change["properties"] = {name: value for name, value in change["properties"].items() if name not in only_new}
    required = (*own.get("required", ()), *getattr(handler.schema, "new_row_requires", ()))
    create = _variant(handler, own, ("client_id",) if parent is None else parent.keys, required)
    create["properties"] |= dict.fromkeys(handler.target.keys, NEVER_SENT)
    titled = [
        {"title": f"{_camel(handler.type)}{what}", **variant} for what, variant in (("Change", change), ("New", create))
    ]
    return {"oneOf": titled, **description}, nested


def _own_schema(handler: SyncHandler) -> tuple[JsonSchema, dict[str, JsonSchema]]:
    """The handler's marshmallow schema as a JSON Schema, and the schemas nested in it by name."""
    conversion = Conversion()
    own = conversion.inline(handler.schema())
    return own, conversion.components


def _variant(handler: SyncHandler, own: JsonSchema, keys: tuple[str, ...], required: Iterable[str]) -> JsonSchema:
    """One way to send `data`: with one of the `keys` that name a row, and with the other `required` keys."""
    references = [*handler.rows.values(), *handler.reads.values()]
    named = [each.keys for each in references if isinstance(each, ById) and not each.optional]
    single = [each[0] for each in (keys, *named) if len(each) == 1]
    always = [*dict.fromkeys([*single, *required])]
    variant: JsonSchema = {
        "type": "object",
        "properties": {**_core_properties(handler, always), **own.get("properties", {})},
        "required": always,
        "additionalProperties": False,
    }
    several = [_any_key(each) for each in (keys, *named) if len(each) > 1]
    return variant | (several[0] if len(several) == 1 else {"allOf": several} if several else {})


def _any_key(keys: tuple[str, ...]) -> JsonSchema:
    """At least one of the keys, not as null. Generators of clients do not read `if`, and so see one plain object."""
    first, *others = [{"required": [key], "properties": {key: {"not": {"type": "null"}}}} for key in keys]
    return {"if": {"not": {"anyOf": others}}, "then": first}


def _core_properties(handler: SyncHandler, required: Collection[str]) -> dict[str, Any]:
    """The keys that the core reads. Null means the same as not sent, so that keys that are not required may be null."""
    found: dict[str, Any] = {}
    targets = [handler.target, handler.target.parent, *handler.rows.values(), *handler.reads.values()]
    for target in targets:
        if isinstance(target, ById):
            schema = _id_schema(target.model)
            if target.most is not None:
                schema = {**array_of(schema), "minItems": 1, "maxItems": target.most, "uniqueItems": True}
            found |= {key: schema if key in required else nullable(schema) for key in target.keys}
    if takes_client_id(handler):
        found["client_id"] = UUID if "client_id" in required else nullable(UUID)
    if handler.versioned:
        found["updated_at"] = {"type": ["string", "null"], "format": "date-time"}
        found["resolve_strategy"] = nullable(one_of(*STRATEGIES))
    return found


def _id_schema(model: Any) -> JsonSchema:
    if isinstance(inspect(model).primary_key[0].type, String):
        return TEXT
    return ROW_REFERENCE if hasattr(model, "client_id") else INTEGER


def _moved(value: Any, old: str, new: str) -> Any:
    """A copy of a schema in which all references name another place."""
    if isinstance(value, Named):
        return value
    if isinstance(value, Mapping):
        return {
            key: new + each.removeprefix(old) if key == "$ref" and isinstance(each, str) else _moved(each, old, new)
            for key, each in value.items()
        }
    return [_moved(each, old, new) for each in value] if isinstance(value, list | tuple) else value


def _camel(name: str) -> str:
    return "".join(part.capitalize() for part in name.split("_"))
