"""Marshmallow schemas as JSON Schemas, through apispec: bodies, queries and the payloads of operation types."""

from __future__ import annotations

import json
from collections.abc import Container
from typing import TypeAlias

from apispec import APISpec
from apispec.ext.marshmallow import MarshmallowPlugin, resolver
from apispec.ext.marshmallow.openapi import OpenAPIConverter
from marshmallow import Schema

from app.core.values import JsonObject, TimestampField
from app.openapi.shapes import JsonSchema

#: A marshmallow schema, or its class.
AnySchema: TypeAlias = Schema | type[Schema]


class Conversion:
    """Converts marshmallow schemas, and collects those that become components of one document.

    `taken`: names of other components, which it leaves alone.
    """

    def __init__(self, taken: Container[str] = ()) -> None:
        def name_of(schema: AnySchema | str) -> str:
            name = str(resolver(schema))  # type: ignore[arg-type]
            return f"{name}Schema" if name in taken else name

        plugin = _Plugin(schema_name_resolver=name_of)
        self._spec = APISpec("Fieldpost", "v1", "3.1.0", plugins=[plugin])
        assert isinstance(plugin.converter, _Converter)
        self._converter = plugin.converter
        plugin.map_to_openapi_type(TimestampField, "string", "date-time")  # type: ignore[no-untyped-call]

    @property
    def components(self) -> dict[str, JsonSchema]:
        """The schemas with references to them, usually by the name of their class without `Schema`."""
        return dict(self._spec.components.schemas)

    def reference_to(self, schema: AnySchema) -> JsonSchema:
        """A reference to `schema`, which becomes a component."""
        reference: JsonSchema = self._converter.resolve_nested_schema(schema)  # type: ignore[no-untyped-call]
        return reference

    def inline(self, schema: Schema) -> JsonSchema:
        """The JSON Schema of `schema` itself; the schemas nested in it become components."""
        return self._converter.schema2jsonschema(schema)

    def parameters_of(self, schema: AnySchema) -> list[JsonObject]:
        """The fields of `schema` as OpenAPI parameters of a query."""
        parameters: list[JsonObject] = self._converter.schema2parameters(schema, location="query")
        return parameters


class _Converter(OpenAPIConverter):
    def schema2jsonschema(self, schema: Schema) -> JsonSchema:
        """The JSON Schema of `schema`, with its own `json_schema`: the rules that apispec cannot see."""
        converted: JsonSchema = super().schema2jsonschema(schema)  # type: ignore[no-untyped-call]
        for name, field in converted["properties"].items():
            converted["properties"][name] = _without_default(field)
        return {**converted, **getattr(schema, "json_schema", {})}


class _Plugin(MarshmallowPlugin):
    Converter = _Converter


def _without_default(field: JsonSchema) -> JsonSchema:
    """`field` with its default as a sentence, because some generators require a property that has a default."""
    if "default" not in field:
        return field
    rest = {name: value for name, value in field.items() if name != "default"}
    if field["default"] is None:
        return rest
    sentences = [field.get("description", ""), f"`{json.dumps(field['default'])}` unless sent."]
    return {**rest, "description": " ".join(filter(None, sentences))}
