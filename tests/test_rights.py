"""Every endpoint × role × what the inspection is to them (contract, section 2); tests/sync asks the same of types."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from io import BytesIO
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from app.config import API_PREFIX
from app.models import Attachment, FormFill, Inspection, User
from tests.conftest import SignIn, World
from tests.support.answers import json_of
from tests.support.pictures import jpeg

ROLES = ("admin", "technician", "user")
RELATIONS = ("own", "assigned", "other's", "missing")

#: Who reads and syncs: what is one's own, whatever the role; what is assigned, as a technician; all, as an admin.
ALLOWED = {
    ("technician", "assigned"),
    *((role, "own") for role in ROLES),
    *(("admin", relation) for relation in RELATIONS if relation != "missing"),
}

MISSING = 4711


@dataclass(frozen=True, kw_only=True)
class Ids:
    """What the addresses name."""

    inspection: int
    form_fill: int
    attachment: str
    user: int
    template: int


Call = Callable[[FlaskClient, Ids], TestResponse]


def get(path: str) -> Call:
    return lambda client, ids: client.get(API_PREFIX + path.format(ids=ids), buffered=True)


def send(method: str, path: str, body: Mapping[str, Any] | Callable[[Ids], Any]) -> Call:
    def call(client: FlaskClient, ids: Ids) -> TestResponse:
        sent = body(ids) if callable(body) else body
        return client.open(API_PREFIX + path.format(ids=ids), method=method, json=sent)

    return call


def upload(name: str, field: str) -> Call:
    def call(client: FlaskClient, ids: Ids) -> TestResponse:
        form = {"form_fill_id": str(ids.form_fill), "field_name": field, name: (BytesIO(jpeg()), "p.jpg")}
        return client.post(f"{API_PREFIX}/sync/upload_{name}", data=form)

    return call


#: What shows a row to whoever may read it; to everybody else it is not there.
READS: dict[str, Call] = {
    "GET /inspections/<row_id:inspection_id>": get("/inspections/{ids.inspection}"),
    "GET /inspections/<row_id:key>/offline_data": get("/inspections/{ids.inspection}/offline_data"),
    "GET /inspections/<row_id:key>/history": get("/inspections/{ids.inspection}/history"),
    "GET /form_fills/<row_key:key>": get("/form_fills/{ids.form_fill}"),
    "GET /form_fills/<row_key:key>/history": get("/form_fills/{ids.form_fill}/history"),
    "GET /form_fills/<row_key:key>/attachments": get("/form_fills/{ids.form_fill}/attachments"),
    "GET /attachments/<attachment_id>": get("/attachments/{ids.attachment}"),
    "GET /entities/<name>/<key>/history": get("/entities/attachment/{ids.attachment}/history"),
}

#: What changes a row for whoever may sync; 403 where it is there and is somebody else's.
CHANGES: dict[str, Call] = {
    "POST /sync/upload_photo": upload("photo", "Riser_Photo"),
    "POST /sync/upload_signature": upload("signature", "Signature"),
}

NEW_INSPECTION = {"date": "2024-03-20"}

#: Administrators' alone. Status for an administrator where the row is there, and where it is not.
ADMINISTRATION: dict[str, tuple[Call, int, int]] = {
    "PATCH /inspections/<row_id:inspection_id>": (
        send("PATCH", "/inspections/{ids.inspection}", {"notes": "x"}), 200, 404),
    "DELETE /inspections/<row_id:inspection_id>": (send("DELETE", "/inspections/{ids.inspection}", {}), 200, 404),
    "POST /inspections": (
        send("POST", "/inspections", lambda ids: {**NEW_INSPECTION, "form_template_ids": [ids.template]}), 201, 400),
    "POST /form_templates": (
        send("POST", "/form_templates", {"name": "T", "form_structure": [{"name": "a", "type": "text"}]}), 201, 201),
    "GET /users": (get("/users"), 200, 200),
    "GET /users/<row_id:user_id>": (get("/users/{ids.user}"), 200, 404),
    "PATCH /users/<row_id:user_id>": (send("PATCH", "/users/{ids.user}", {"name": "X"}), 200, 404),
    "POST /users": (
        send("POST", "/users", {"email": "n@example.com", "name": "N", "role": "user", "password": "long enough pw"}),
        201, 201),
}  # fmt: skip

#: Whoever is signed in; what they show is tested beside each.
EVERYBODY = {
    "GET /auth/me", "POST /auth/logout", "POST /auth/password", "GET /auth/sign_ins",
    "DELETE /auth/sign_ins/<sign_in_id>", "GET /form_templates", "GET /form_templates/<row_id:form_template_id>",
    "GET /inspections", "POST /sync", "GET /sync/changes", "GET /sync/status", "GET /sync/types",
    "POST /sync/verify_attachments",
}  # fmt: skip

#: Without signing in; tests/guards/test_routes.py says that nothing else is.
OPEN = {"GET /", "POST /auth/login", "POST /auth/refresh", "GET /openapi.json", "GET /docs", "GET /docs/<name>"}


@dataclass(frozen=True)
class Scene:
    client: FlaskClient
    ids: Ids
    form_fill: FormFill
    me: User


def scene(world: World, sign_in: SignIn, role: str, relation: str) -> Scene:
    somebody, me = world.user("somebody@example.com"), world.user("me@example.com", role)
    owner, assignee = (me if relation == "own" else somebody), (me if relation == "assigned" else somebody)
    form_fill = world.form_fill(world.inspection(owner, assignee))
    client = sign_in(world.user("uploader@example.com", "admin"))
    # A real upload, so that there are bytes to read.
    ids = Ids(inspection=1, form_fill=form_fill.id, attachment="", user=1, template=form_fill.form_template_id)
    uploaded = upload("photo", "Riser_Photo")(client, ids)
    attachment = json_of(uploaded)["photo_attachment_id"]
    known = Ids(
        inspection=form_fill.inspection_id, form_fill=form_fill.id, attachment=attachment,
        user=somebody.id, template=form_fill.form_template_id,
    )  # fmt: skip
    missing = Ids(inspection=MISSING, form_fill=MISSING, attachment="none", user=MISSING, template=MISSING)
    return Scene(sign_in(me), missing if relation == "missing" else known, form_fill, me)


def rows(world: World) -> list[Any]:
    return [
        [(each.id, each.updated_at) for each in world.all(model)] for model in (Inspection, FormFill, Attachment, User)
    ]


@pytest.mark.parametrize("relation", RELATIONS)
@pytest.mark.parametrize("role", ROLES)
def test_every_endpoint_asks_who_may(world: World, sign_in: SignIn, role: str, relation: str) -> None:
    here = scene(world, sign_in, role, relation)
    may = (role, relation) in ALLOWED
    assert {name: call(here.client, here.ids).status_code for name, call in READS.items()} == dict.fromkeys(
        READS, 200 if may else 404
    )
    before = rows(world)
    refused = 404 if relation == "missing" else 403
    found = {name: call(here.client, here.ids).status_code for name, call in CHANGES.items()}
    if may:
        assert found == dict.fromkeys(CHANGES, 200)
    else:
        assert found == dict.fromkeys(CHANGES, refused)
        assert rows(world) == before


@pytest.mark.parametrize("relation", RELATIONS)
@pytest.mark.parametrize("role", ROLES)
@pytest.mark.parametrize("name", ADMINISTRATION)
def test_administration_is_administrators_alone(
    world: World, sign_in: SignIn, name: str, role: str, relation: str
) -> None:
    call, there, missing = ADMINISTRATION[name]
    here = scene(world, sign_in, role, relation)
    before = rows(world)
    answer = call(here.client, here.ids)
    if role == "admin":
        assert answer.status_code == (missing if relation == "missing" else there), answer.text
    else:
        assert (answer.status_code, json_of(answer)["code"]) == (403, "forbidden")
        assert rows(world) == before


def test_no_endpoint_is_forgotten(app: Flask) -> None:
    found = {
        f"{method} {rule.rule.removeprefix(API_PREFIX)}"
        for rule in app.url_map.iter_rules()
        for method in (rule.methods or set()) - {"HEAD", "OPTIONS"}
        if rule.rule.startswith(API_PREFIX)
    }
    assert found - {*READS, *CHANGES, *ADMINISTRATION, *EVERYBODY, *OPEN} == set()
