"""The OpenAPI document names every route, and flask-smorest leaves our errors alone (contract, sections 0 and 9)."""

from __future__ import annotations

import re

from flask import Flask

from tests.api.conftest import API, fault


def test_the_document_is_public_and_names_every_route_of_the_api(app: Flask) -> None:
    document = app.test_client().get(f"{API}/openapi.json").json
    assert document["openapi"].startswith("3.")
    assert (document["info"]["title"], document["info"]["version"]) == ("Fieldpost", "v1")
    for rule in app.url_map.iter_rules():
        if rule.rule.startswith(API):
            path = document["paths"][re.sub(r"<(?:[^:<>]+:)?([^<>]+)>", r"{\1}", rule.rule)]
            methods = {each.lower() for each in (rule.methods or set()) - {"HEAD", "OPTIONS"}}
            assert methods <= set(path)


def test_bodies_parameters_and_rights_are_described(app: Flask) -> None:
    paths = app.test_client().get(f"{API}/openapi.json").json["paths"]
    posted = paths[f"{API}/users"]["post"]
    assert posted["requestBody"]["content"]["application/json"]["schema"] == {"$ref": "#/components/schemas/NewUser"}
    assert posted["security"] == [{"bearer": []}]
    assert paths[f"{API}/auth/login"]["post"]["security"] == []
    assert {each["name"] for each in paths[f"{API}/inspections"]["get"]["parameters"]} == {
        "page",
        "per_page",
        "status",
        "assignee_id",
        "q",
    }
    assert "422" not in str(paths)


def test_every_reference_in_the_document_leads_somewhere(app: Flask) -> None:
    document = app.test_client().get(f"{API}/openapi.json").json
    references = set(re.findall(r"'#/components/(\w+)/(\w+)'", str(document)))
    assert references
    assert all(name in document["components"][kind] for kind, name in references)


def test_errors_keep_our_shape(app: Flask) -> None:
    client = app.test_client()
    assert fault(client.get("/nowhere"))[:2] == (404, "not_found")
    assert fault(client.put(f"{API}/openapi.json"))[:2] == (405, "method_not_allowed")
