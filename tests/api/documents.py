"""Reading an OpenAPI document in tests: its operations, and values judged by its schemas."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from jsonschema import Draft202012Validator

Document = dict[str, Any]


def operations_of(document: Document) -> dict[tuple[str, str], dict[str, Any]]:
    """Method and address -> operation."""
    return {
        (method.upper(), address): operation
        for address, methods in document["paths"].items()
        for method, operation in methods.items()
    }


def answers_of(document: Document, operation: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """Status -> answer, references followed."""
    shared = document["components"]["responses"]
    return {
        status: shared[each["$ref"].rpartition("/")[2]] if "$ref" in each else each
        for status, each in operation["responses"].items()
    }


def item_schema_of(document: Document) -> dict[str, Any]:
    """The schema of one item of a batch."""
    operation = document["paths"]["/api/v1/sync"]["post"]
    body = operation["requestBody"]["content"]["application/json"]["schema"]
    found: dict[str, Any] = body["properties"]["sync_items"]["items"]
    return found


def faults_in(document: Document, schema: Mapping[str, Any], value: Any) -> list[str]:
    """What is wrong with a value by a schema of the document."""
    return [f"{each.json_path}: {each.message}" for each in validator_of(document, schema).iter_errors(value)]


def validator_of(document: Document, schema: Mapping[str, Any]) -> Draft202012Validator:
    """What judges values by a schema of the document, to be used for many."""
    return Draft202012Validator({**schema, "components": document["components"]})


def closed(value: Any) -> Any:
    """A copy of a document in which no object takes keys that it does not name, to see what is left unsaid."""
    if isinstance(value, Mapping):
        copy = {key: closed(each) for key, each in value.items()}
        return {"additionalProperties": False, **copy} if "properties" in value and "type" in value else copy
    return [closed(each) for each in value] if isinstance(value, list) else value
