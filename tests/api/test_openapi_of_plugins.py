"""What the OpenAPI document says of types and routes that others bring, in whatever way they say it."""

from __future__ import annotations

import json
from functools import cache
from types import ModuleType
from typing import Any

import pytest
from flask import Blueprint, Flask
from jsonschema import Draft202012Validator
from marshmallow import Schema, fields, validate
from openapi_spec_validator import OpenAPIV31SpecValidator

from app import policies
from app.config import API_PREFIX
from app.core.host.load import load_plugins
from app.core.host.mount import mount_blueprints
from app.core.host.registry import Registry
from app.models import FormFill, Inspection
from app.plugin_api import Plugin, SyncHandler, by_id, edit
from app.testing import World, sign_in
from app.web import ErrorCode, RestBlueprint, answer, described, public
from tests.api.conftest import API
from tests.api.documents import Document, answers_of, faults_in, item_schema_of
from tests.core.host.test_registry import entry, stranger
from tests.support.answers import json_of

__all__ = ["stranger"]

pytestmark = pytest.mark.database("sqlite")


class PartSchema(Schema):
    """A part, made of parts."""

    name = fields.String(required=True, validate=validate.Length(1, 9))
    parts = fields.List(fields.Nested(lambda: PartSchema()))


class MachineSchema(Schema):
    """What a machine is made of."""

    parts = fields.List(fields.Nested(PartSchema), required=True)


class TagsSchema(Schema):
    tags = fields.List(fields.String(), required=True)


class ErrorSchema(Schema):
    """An error of a machine, whose name is that of the server's own errors."""

    machine = fields.Integer(required=True)


class SearchSchema(Schema):
    q = fields.String(required=True)


EXAMPLE = {
    "type": "machine",
    "local_id": "1",
    "data": {"inspection_id": 1, "parts": [{"name": "axle", "parts": [{"name": "nut"}]}]},
}

machine = SyncHandler(
    type="machine",
    aliases=("apparatus",),
    schema=MachineSchema,
    target=by_id(FormFill, parent=by_id(Inspection, "inspection_id")),
    policy=policies.change,
    apply=edit,
    data_keys=("data", "payload"),
    examples=(EXAMPLE,),
)

rest = RestBlueprint("machines", "stranger", url_prefix="/machines", description="Machines and their parts")


@rest.get("/tags")
@described(data=TagsSchema, errors=("not_found", ErrorCode("machine_sealed", 409, "Sealed", "ask the office")))
@rest.query(SearchSchema)
def tags(query: Any) -> Any:
    """All tags.

    Of the machines that the user may see.
    """
    return answer({"tags": [query["q"]]}, "Tags retrieved successfully")


@rest.post("/tags")
@described(data=TagsSchema, status=201)
@rest.body(TagsSchema)
def add_tags(body: Any) -> Any:
    """New tags."""
    return answer(body, "Tags added", 201)


plain = Blueprint("plain", "stranger", url_prefix="/plain")


@plain.get("/<int:number>/<name>")
@public
def look(number: int, name: str) -> Any:
    """Look at something."""
    return {"number": number, "name": name}


@plain.get("/tags")
@described(data=TagsSchema, query=SearchSchema)
def plain_tags() -> Any:
    """Tags of a blueprint that reads its query itself."""
    return answer({"tags": ["a"]}, "Tags retrieved successfully")


@plain.get("/errors")
@described(data=ErrorSchema)
def plain_errors() -> Any:
    """The latest error of the machines."""
    return answer({"machine": 1}, "Error retrieved successfully")


@pytest.fixture
def document(app: Flask, stranger: ModuleType) -> Document:
    """The document of a server where the stranger's distribution is installed."""
    entries = [entry(stranger, "machine", machine)]
    for each in (rest, plain):
        entries.append(entry(stranger, each.name, Plugin(name=each.name, api_version=1, blueprint=each)))
    own = Registry()
    assert list(load_plugins(own, entries)) == []
    assert list(mount_blueprints(app, own, API_PREFIX)) == []
    assert load_plugins(app.extensions["fieldpost.registry"], entries) == []
    answer = app.test_client().get(f"{API}/openapi.json")
    assert faults_of(answer.data) == []
    found: Document = json_of(answer)
    return found


@cache
def faults_of(text: bytes) -> list[str]:
    """What is wrong with a document, which is looked at once: it is the same for each test."""
    return [str(each) for each in OpenAPIV31SpecValidator(json.loads(text)).iter_errors()]


def test_a_strangers_type_is_one_of_the_items(document: Document) -> None:
    mapping = item_schema_of(document)["discriminator"]["mapping"]
    assert mapping["machine"] == mapping["apparatus"] == "#/components/schemas/SyncItem_machine"
    item = document["components"]["schemas"]["SyncItem_machine"]
    assert item["examples"] == [EXAMPLE]
    assert "Brought by fieldpost-stranger 1.5." in item["description"]
    assert "`payload` means the same as `data`." in item["description"]


def test_schemas_within_schemas_are_followed_however_deep(document: Document) -> None:
    schema = item_schema_of(document)
    assert faults_in(document, schema, EXAMPLE) == []
    nameless = {**EXAMPLE, "data": {**EXAMPLE["data"], "parts": [{"name": "axle", "parts": [{}]}]}}  # type: ignore[dict-item]
    assert faults_in(document, schema, nameless) != []


def test_a_types_own_schema_is_complete_in_itself(app: Flask, document: Document, world: World) -> None:
    types = json_of(sign_in(app, world.user()).get(f"{API}/sync/types"))["data"]["types"]
    (schema,) = [each["schema"] for each in types if each["type"] == "machine"]
    Draft202012Validator.check_schema(schema)
    validator = Draft202012Validator(schema)
    assert validator.is_valid(EXAMPLE["data"])
    assert not validator.is_valid({"inspection_id": 1}), "a new row needs what the schema requires"
    assert validator.is_valid({"id": 1}), "a change needs an id alone"
    assert not validator.is_valid({"parts": []}), "neither a row to change nor a parent to create below"
    assert not validator.is_valid({"id": 1, "parts": [{"name": "a name that is too long"}]})
    assert not validator.is_valid({"id": 1, "colour": "red"})


def test_a_rest_blueprint_is_described_with_its_own_errors(app: Flask, document: Document, world: World) -> None:
    operation = document["paths"][f"{API}/machines/tags"]["get"]
    assert (operation["summary"], operation["description"]) == (
        "All tags.",
        "Of the machines that the user may see.",
    )
    assert operation["operationId"] == "machines_tags"
    assert [each["name"] for each in operation["parameters"]] == ["q"]
    assert operation["security"] == [{"bearer": []}]
    answers = answers_of(document, operation)
    assert list(answers["409"]["content"]["application/json"]["examples"]) == ["machine_sealed"]
    assert list(answers) == ["200", "400", "401", "404", "409", "500", "503"]
    schema = answers["200"]["content"]["application/json"]["schema"]
    found = json_of(sign_in(app, world.user()).get(f"{API}/machines/tags?q=red"))
    assert faults_in(document, schema, found) == []
    assert faults_in(document, schema, {**found, "data": {}}) != []
    assert {"name": "machines", "description": "Machines and their parts"} in document["tags"]


def test_bodies_of_a_rest_blueprint_come_through_the_gate(app: Flask, document: Document, world: World) -> None:
    operation = document["paths"][f"{API}/machines/tags"]["post"]
    assert {"201", "400", "408", "413", "415"} <= set(operation["responses"])
    client = sign_in(app, world.user())
    assert client.post(f"{API}/machines/tags", json={"tags": ["a"]}).status_code == 201
    assert json_of(client.post(f"{API}/machines/tags", json={"tags": ["\0"]}))["code"] == "bad_json"
    assert json_of(client.post(f"{API}/machines/tags", json={"tags": 1}))["details"] == {"tags": ["Not a valid list."]}


def test_a_route_of_which_nothing_is_said_is_in_the_document_too(document: Document) -> None:
    operation = document["paths"][f"{API}/plain/{{number}}/{{name}}"]["get"]
    assert operation["summary"] == "Look at something."
    assert [each["name"] for each in operation["parameters"]] == ["number", "name"]
    assert list(operation["responses"]) == ["2XX", "500", "503"]
    assert operation["security"] == []


def test_a_schema_leaves_a_component_of_the_same_name_alone(document: Document) -> None:
    answers = answers_of(document, document["paths"][f"{API}/plain/errors"]["get"])
    data, error = (answers[each]["content"]["application/json"]["schema"] for each in ("200", "500"))
    assert faults_in(document, data["properties"]["data"], {"machine": 1}) == []
    assert faults_in(document, data["properties"]["data"], {}) != []
    assert set(document["components"]["schemas"][error["$ref"].rpartition("/")[2]]["required"]) >= {"code", "message"}


def test_a_number_in_an_address_is_one_in_the_document(document: Document) -> None:
    number, name = document["paths"][f"{API}/plain/{{number}}/{{name}}"]["get"]["parameters"]
    assert (number["schema"], name["schema"]) == ({"type": "integer", "minimum": 0}, {"type": "string"})


def test_any_blueprint_is_described_by_marshmallow_schemas(document: Document) -> None:
    operation = document["paths"][f"{API}/plain/tags"]["get"]
    assert set(operation["responses"]) == {"200", "400", "401", "500", "503"}
    assert [(each["name"], each["required"]) for each in operation["parameters"]] == [("q", True)]
    shown = operation["responses"]["200"]["content"]["application/json"]["schema"]
    assert faults_in(document, shown["properties"]["data"], {"tags": ["a"]}) == []
    assert faults_in(document, shown["properties"]["data"], {"tags": 1}) != []
