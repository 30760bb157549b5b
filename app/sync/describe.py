"""Operation types as `GET /sync/types` and the OpenAPI document show them (contract, section 3.4)."""

from __future__ import annotations

from typing import Any

from apispec import APISpec
from apispec.ext.marshmallow import MarshmallowPlugin
from sqlalchemy import String, inspect

from app.identifiers import MAX_INTEGER
from app.plugin_api import ById, SyncHandler
from app.plugin_checks import takes_client_id
from app.registry import Registered
from app.sync.conflicts import STRATEGIES


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


def data_schema(handler: SyncHandler) -> dict[str, Any]:
    """The JSON Schema of an item's `data`: the core's keys, and what the handler's schema takes."""
    plugin = MarshmallowPlugin()
    APISpec("Fieldpost", "1", "3.1.0", plugins=[plugin])
    assert plugin.converter is not None
    own = plugin.converter.schema2jsonschema(handler.schema())  # type: ignore[no-untyped-call]
    properties = {**_core_properties(handler), **own.get("properties", {})}
    return {"type": "object", "properties": properties, "additionalProperties": False}


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
        found["resolve_strategy"] = {"enum": [*STRATEGIES, None]}
    return found


def _id_schema(model: Any) -> dict[str, Any]:
    if isinstance(inspect(model).primary_key[0].type, String):
        return {"type": ["string", "null"]}
    number = {"type": "integer", "minimum": 1, "maximum": MAX_INTEGER}
    if hasattr(model, "client_id"):
        return {"anyOf": [number, {"type": "string", "format": "uuid"}, {"type": "null"}]}
    return {"anyOf": [number, {"type": "null"}]}
