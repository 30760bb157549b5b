"""Administrators add form templates, everybody signed in reads them, nobody changes one (contract, section 8)."""

from __future__ import annotations

from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient

from app.models import FormTemplate, User
from tests.api.conftest import API, details, entries, fault
from tests.conftest import SignIn, World
from tests.support.answers import json_of
from tests.support.cases import cases

TEMPLATES = f"{API}/form_templates"

STRUCTURE = [
    {"name": "Valve", "type": "select", "label_name": "Valve open?", "section_name": "Riser", "options": ["yes", "no"]},
    {"name": "Pressure", "type": "number", "unit": "psi"},
    {"name": "Contact", "type": "text", "unit": None, "private": True},
]

NEW: dict[str, Any] = {"name": "Sprinkler", "form_structure": STRUCTURE}


def test_an_administrator_adds_a_form_template(world: World, office: FlaskClient, admin: User) -> None:
    answer = office.post(TEMPLATES, json=NEW)
    assert answer.status_code == 201, answer.json
    template = json_of(answer)["data"]["form_template"]
    stored = world.get(FormTemplate, template["id"])
    assert (stored.name, stored.form_structure) == ("Sprinkler", STRUCTURE)
    assert template["form_structure"] == STRUCTURE
    (entry,) = entries(world, "form_template")
    assert entry.changes == {"name": {"new": "Sprinkler"}, "form_structure": {"new": STRUCTURE}}


@pytest.mark.parametrize("role", ["admin", "technician", "user"])
def test_everybody_signed_in_reads_form_templates(world: World, sign_in: SignIn, role: str) -> None:
    first, second = world.template(), world.template(name="Hydrant")
    client = sign_in(world.user(f"{role}@example.com", role))
    data = json_of(client.get(TEMPLATES))["data"]
    assert [each["id"] for each in data["form_templates"]] == [second.id, first.id]
    assert (data["total"], data["page"], data["per_page"], data["pages"]) == (2, 1, 50, 1)
    one = json_of(client.get(f"{TEMPLATES}/{first.id}"))["data"]["form_template"]
    assert one["form_structure"] == first.form_structure
    assert fault(client.get(f"{TEMPLATES}/{second.id + 1}")) == (404, "not_found", "FormTemplate not found")
    assert "sort" in details(client.get(f"{TEMPLATES}?sort=name"))


def test_names_are_kept_in_nfc_and_so_are_unique(world: World, office: FlaskClient) -> None:
    fields = [{"name": "Gro\u0308\u00dfe", "type": "text", "label_name": "Gro\u0308\u00dfe"}]
    assert office.post(TEMPLATES, json={"name": "Ru\u0308ckblick", "form_structure": fields}).status_code == 201
    (template,) = world.all(FormTemplate)
    assert template.name == "R\u00fcckblick"
    assert template.form_structure == [{**fields[0], "name": "Gr\u00f6\u00dfe"}], "a label is kept as sent"
    twice = [*fields, {"name": "Gr\u00f6\u00dfe", "type": "text"}]
    assert list(details(office.post(TEMPLATES, json={"name": "x", "form_structure": twice}))) == ["form_structure"]


def test_signed_out_nobody_reads_them(app: Flask, world: World) -> None:
    template = world.template()
    for path in (TEMPLATES, f"{TEMPLATES}/{template.id}"):
        assert fault(app.test_client().get(path))[:2] == (401, "token_missing")


@cases("role", ["technician", "user"])
def test_only_administrators_add_them(world: World, sign_in: SignIn, role: str) -> None:
    client = sign_in(world.user(f"{role}@example.com", role))
    for body in (NEW, {"nonsense": 1}):
        assert fault(client.post(TEMPLATES, json=body))[:2] == (403, "forbidden")
    assert world.all(FormTemplate) == []


@cases("method", ["PATCH", "PUT", "DELETE"])
def test_a_form_template_never_changes(world: World, office: FlaskClient, method: str) -> None:
    template = world.template()
    answer = office.open(f"{TEMPLATES}/{template.id}", method=method, json={"name": "Other"})
    assert fault(answer)[:2] == (405, "method_not_allowed")
    assert world.get(FormTemplate, template.id).name == template.name


@cases(
    "field",
    [
        {"name": "", "type": "text"},
        {"name": "n" * 256, "type": "text"},
        {"name": "n", "type": ""},
        {"name": " ", "type": "text"},
        {"name": "n", "type": "\u200b"},
        {"name": "n", "type": "t" * 65},
        {"name": "n"},
        {"type": "text"},
        {"name": 1, "type": "text"},
        {"name": "n", "type": "text", "required": True},
        {"name": "n", "type": "text", "options": "yes"},
        {"name": "n", "type": "text", "label_name": 5},
        {"name": "n", "type": "text", "unit": "u" * 65},
        {"name": "n", "type": "text", "private": 1},
        {"name": "Riser_photo_attachment_id", "type": "text"},
        {"name": "Riser_signature_attachment_id", "type": "text"},
        "n",
        None,
    ],
)
def test_a_bad_field_is_refused_and_its_place_named(world: World, office: FlaskClient, field: Any) -> None:
    structure = [{"name": "Good", "type": "text"}, field]
    found = details(office.post(TEMPLATES, json={"name": "T", "form_structure": structure}))
    assert set(found["form_structure"]) == {"1"}
    assert world.all(FormTemplate) == []


@cases(
    "body",
    [
        {"form_structure": []},
        {"form_structure": [{"name": f"f{n}", "type": "text"} for n in range(2001)]},
        {"form_structure": [{"name": "twice", "type": "text"}, {"name": "twice", "type": "photo"}]},
        {"form_structure": {}},
        {"form_structure": None},
        {"name": ""},
        {"name": " "},
        {"name": "n" * 256},
        {"name": None},
        {"id": 7},
        {"created_at": "2024-03-15T10:30:00.000Z"},
    ],
)
def test_a_bad_form_template_is_refused_and_its_key_named(world: World, office: FlaskClient, body: Any) -> None:
    assert set(details(office.post(TEMPLATES, json={**NEW, **body}))) == set(body)
    assert world.all(FormTemplate) == []


def test_the_largest_form_template_is_taken(office: FlaskClient) -> None:
    structure = [{"name": f"f{n}", "type": "t" * 64} for n in range(2000)]
    structure[0]["options"] = [*range(2000)]  # type: ignore[assignment]
    assert office.post(TEMPLATES, json={"name": "n" * 255, "form_structure": structure}).status_code == 201


class TestSmallTemplates:
    """With limits of three fields, and of two options a field."""

    @pytest.fixture
    def environment(self, environment: dict[str, str]) -> dict[str, str]:
        limits = {"FIELDPOST_MAX_TEMPLATE_FIELDS": "3", "FIELDPOST_MAX_TEMPLATE_OPTIONS": "2"}
        return environment | limits

    @cases(("count", "options", "refused"), [(3, 2, False), (4, 2, True), (3, 3, True)])
    def test_a_larger_template_is_refused_with_the_limit(
        self, office: FlaskClient, count: int, options: int, refused: bool
    ) -> None:
        structure = [{"name": f"f{n}", "type": "choice", "options": [*range(options)]} for n in range(count)]
        answer = office.post(TEMPLATES, json={"name": "T", "form_structure": structure})
        assert answer.status_code == (400 if refused else 201)
        assert not refused or "at most" in str(details(answer))


def test_a_repeated_name_is_told(office: FlaskClient) -> None:
    structure = [{"name": "twice", "type": "text"}] * 2
    found = details(office.post(TEMPLATES, json={"name": "T", "form_structure": structure}))
    assert found == {"form_structure": ["Field names must be unique; repeated: twice."]}
