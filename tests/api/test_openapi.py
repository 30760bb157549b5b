"""The OpenAPI document: valid, complete, and true of what is answered; the page that shows it (contract, section 9)."""

from __future__ import annotations

import re
from typing import Any

import pytest
from flask import Flask
from openapi_spec_validator import OpenAPIV31SpecValidator

from app.core.host.registry import current_registry
from app.openapi.error_codes import ERROR_CODES
from app.pages.addresses import OWN
from app.testing import World, push, sign_in
from tests.api.conftest import API, fault
from tests.api.documents import Document, answers_of, faults_in, item_schema_of, operations_of
from tests.guards.sources import ROOT
from tests.support.answers import json_of
from tests.support.cases import cases

pytestmark = pytest.mark.database("sqlite")


@pytest.fixture
def document(app: Flask) -> Document:
    found: Document = json_of(app.test_client().get(f"{API}/openapi.json"))
    return found


def test_the_document_is_valid_openapi(document: Document) -> None:
    assert document["openapi"] == "3.1.0"
    assert (document["info"]["title"], document["info"]["version"]) == ("Fieldpost", "v1")
    # Without the identifier, or an address, openapi-generator refuses the document.
    assert document["info"]["license"] == {"name": "Apache-2.0", "identifier": "Apache-2.0"}
    assert [str(each) for each in OpenAPIV31SpecValidator(document).iter_errors()] == []


def test_the_document_names_every_route_with_a_name_of_its_own(app: Flask, document: Document) -> None:
    with app.app_context():
        pages = OWN | current_registry().pages
    routes = {
        (method, re.sub(r"<(?:[^:<>]+:)?([^<>]+)>", r"{\1}", rule.rule))
        for rule in app.url_map.iter_rules()
        if rule.endpoint.partition(".")[0] not in pages
        for method in (rule.methods or set()) - {"HEAD", "OPTIONS"}
    }
    operations = operations_of(document)
    assert operations.keys() == routes
    assert len({each["operationId"] for each in operations.values()}) == len(operations)


def test_every_operation_says_what_it_answers(document: Document) -> None:
    for called, operation in operations_of(document).items():
        good = [each for status, each in operation["responses"].items() if status.startswith("2")]
        assert good, called
        assert all(each["content"] for each in good), called
        assert operation["summary"], called
        assert ("401" in operation["responses"]) or not operation["security"], called


def test_only_open_routes_need_no_token(document: Document) -> None:
    security = {called: operation["security"] for called, operation in operations_of(document).items()}
    assert security["POST", f"{API}/users"] == [{"bearer": []}]
    assert security["POST", f"{API}/auth/refresh"] == [{"refresh_token": []}]
    assert {address for (_, address), each in security.items() if not each} == {
        f"{API}/",
        f"{API}/auth/login",
        f"{API}/openapi.json",
        f"{API}/docs",
        f"{API}/docs/{{name}}",
        "/healthz",
        "/readyz",
    }


def test_bodies_and_parameters_are_described(document: Document) -> None:
    posted = document["paths"][f"{API}/users"]["post"]
    assert posted["requestBody"]["content"]["application/json"]["schema"] == {"$ref": "#/components/schemas/NewUser"}
    listed = document["paths"][f"{API}/inspections"]["get"]["parameters"]
    filters = {"status", "assignee_id", "date_from", "date_to", "template_id", "customer", "q"}
    assert {each["name"] for each in listed} == {"page", "per_page", "sort", *filters}
    uploaded = document["paths"][f"{API}/sync/upload_photo"]["post"]["requestBody"]["content"]["multipart/form-data"]
    assert set(uploaded["schema"]["properties"]) == {"form_fill_id", "field_name", "photo", "local_id"}


def test_items_are_told_apart_by_type_over_all_types_and_aliases(app: Flask, document: Document) -> None:
    items = item_schema_of(document)
    with app.app_context():
        registry = current_registry()
    assert items["discriminator"]["propertyName"] == "type"
    assert sorted(items["discriminator"]["mapping"]) == registry.types
    assert {each["$ref"] for each in items["oneOf"]} == set(items["discriminator"]["mapping"].values())
    for name, place in items["discriminator"]["mapping"].items():
        schema = document["components"]["schemas"][place.rpartition("/")[2]]
        assert name in schema["properties"]["type"]["enum"]
        assert schema["examples"] == [dict(each) for each in registry.routes[name].examples]


def test_every_example_is_valid_by_its_schema(document: Document) -> None:
    shown = 0
    for called, operation in operations_of(document).items():
        for each in [operation.get("requestBody", {}), *answers_of(document, operation).values()]:
            for content in each.get("content", {}).values():
                for example in content.get("examples", {}).values():
                    assert faults_in(document, content["schema"], example["value"]) == [], called
                    shown += 1
    assert shown > 100


def test_no_property_of_a_body_has_a_default(document: Document) -> None:
    """Generators for TypeScript take a property with a default for one that is always there."""
    schemas = document["components"]["schemas"]
    properties = {(name, key): each for name in schemas for key, each in schemas[name].get("properties", {}).items()}
    assert [place for place, each in properties.items() if "default" in each] == []
    assert properties["NewUser", "active"] == {"type": "boolean", "description": "`true` unless sent."}
    assert properties["Credentials", "device_id"] == {"type": ["string", "null"], "format": "uuid"}


TEXT_ID, VERSION = "0b5c0f2e", "2024-03-15T10:30:00.000Z"


@cases(
    ("is_valid", "change"),
    [
        (True, {"entity": "form_fill", "op": "remove", "id": 1, "updated_at": None}),
        (True, {"entity": "meter_reading", "op": "remove", "id": TEXT_ID, "updated_at": None}),
        (True, {"entity": "meter_reading", "op": "upsert", "id": 1, "updated_at": VERSION, "record": {"value": 1}}),
        (True, {"entity": "meter_reading", "op": "upsert", "id": TEXT_ID, "updated_at": VERSION, "record": {}}),
        (False, {"entity": "meter_reading", "op": "upsert", "id": 1, "updated_at": VERSION}),
        (False, {"entity": "meter_reading", "op": "upsert", "id": 1, "updated_at": None, "record": {}}),
        (False, {"entity": "meter_reading", "op": "change", "id": 1, "updated_at": VERSION, "record": {}}),
        (False, {"entity": "inspection", "op": "upsert", "id": 1, "updated_at": VERSION, "record": {}}),
        (False, {"entity": "inspection", "op": "upsert", "id": TEXT_ID, "updated_at": VERSION, "record": {}}),
        (False, {"entity": "attachment", "op": "upsert", "id": TEXT_ID, "updated_at": VERSION, "record": {"id": 1}}),
    ],
)
def test_a_change_has_what_its_op_and_its_entity_ask_for(
    document: Document, is_valid: bool, change: dict[str, Any]
) -> None:
    faults = faults_in(document, document["components"]["schemas"]["Change"], change)
    assert (faults == []) == is_valid, faults


@pytest.mark.parametrize(
    ("is_valid", "data"),
    [
        (True, {"inspection_id": 1, "form_template_id": 1}),
        (True, {"inspection_id": 1, "form_template_id": 1, "id": None, "form_fill_id": None}),
        (True, {"id": 1, "changes": {}}),
        (True, {"form_fill_id": "6b1f3c1e-3d0c-4c52-8a52-0d5f4e1f0003", "id": None, "form_template_id": None}),
        (False, {"inspection_id": 1}),
        (False, {"inspection_id": 1, "form_template_id": None}),
        (False, {"inspection_id": None, "form_template_id": 1}),
        (False, {"form_template_id": 1, "id": None}),
        (False, {"id": None, "changes": {}}),
    ],
)
def test_a_form_fill_is_changed_by_its_id_or_made_from_a_template(
    app: Flask, document: Document, world: World, is_valid: bool, data: dict[str, Any]
) -> None:
    """And the server says so too, whatever else it may find wrong with the rows."""
    item = {"type": "form_fill", "local_id": "1", "data": data}
    faults = faults_in(document, item_schema_of(document), item)
    assert (faults == []) == is_valid, faults
    (owner, technician) = (world.user("owner@example.com", "technician"), world.user())
    inspection = world.inspection(owner, technician)
    assert (inspection.id, world.form_fill(inspection).form_template_id) == (1, 1)
    (entry,) = [each for group in push(sign_in(app, technician), item).values() for each in group]
    if not is_valid:
        assert entry["code"] == "invalid"
        assert entry["details"].keys() <= {"inspection_id", "form_template_id", "id"}


def test_every_error_code_is_described_with_its_status(document: Document) -> None:
    section = (ROOT / "docs" / "api.md").read_text().partition("\n## Errors\n")[2].partition("\n## ")[0]
    table = re.findall(r"^\| (\d{3}) \| (.*?) \| .* \|$", section, re.MULTILINE)
    on_the_page = {(int(status), code) for status, codes in table for code in re.findall(r"`(\w+)`", codes)}
    assert {(each.status, each.code) for each in ERROR_CODES.values()} == on_the_page
    text = document["info"]["description"]
    assert [code for status, code in on_the_page if f"| `{code}` | {status} |" not in text] == []
    answered = {
        (int(status), code)
        for operation in operations_of(document).values()
        for status, each in answers_of(document, operation).items()
        for code in each.get("content", {}).get("application/json", {}).get("examples", {})
        if int(status) >= 400
    }
    # These are answered to requests that are no documented call at all, or before anybody looks which one it is.
    assert on_the_page - answered == {
        (400, "bad_request"),
        (405, "method_not_allowed"),
        (431, "headers_too_large"),
    }


def test_errors_keep_our_shape(app: Flask) -> None:
    client = app.test_client()
    assert fault(client.get("/nowhere"))[:2] == (404, "not_found")
    assert fault(client.put(f"{API}/openapi.json"))[:2] == (405, "method_not_allowed")


# The page


def test_the_page_takes_everything_from_this_server(app: Flask) -> None:
    client = app.test_client()
    page = client.get(f"{API}/docs")
    assert page.mimetype == "text/html"
    assert "default-src 'self'" in page.headers["Content-Security-Policy"]
    parts = re.findall(r'(?:src|href)="([^"]*)"', page.text)
    assert len(parts) == 4
    for each in parts:
        # As a browser reads it: relative to the page.
        with client.get(f"{API}/{each}") as part:
            assert part.status_code == 200, each
            assert part.headers["X-Content-Type-Options"] == "nosniff"
    assert '"openapi.json"' in client.get(f"{API}/docs/start.js").text


def test_nothing_else_is_handed_out_with_the_page(app: Flask) -> None:
    for name in ("nothing.js", "..%2f__init__.py", "../../__init__.py", "%2e%2e/__init__.py"):
        assert fault(app.test_client().get(f"{API}/docs/{name}"))[:2] == (404, "not_found")
