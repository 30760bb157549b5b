"""A day's calls, each answer held against the document: it has what is promised, and nothing that is left unsaid."""

from __future__ import annotations

import re
from collections.abc import Callable
from io import BytesIO
from typing import Any
from uuid import uuid4

import pytest
from flask import Flask

from app.models import User
from app.testing import PASSWORD, World
from tests.api.conftest import API
from tests.api.documents import Document, answers_of, closed, faults_in, operations_of
from tests.conftest import SettableClock
from tests.support.answers import json_of
from tests.support.pictures import png

pytestmark = pytest.mark.database("sqlite")

Call = Callable[..., Any]

FIELDS = [
    {"name": "Riser_Photo", "type": "Photo", "label_name": None, "section_name": "Riser", "options": ["a", 1]},
    {"name": "Signature", "type": "Signature"},
]


@pytest.fixture
def seen() -> set[tuple[str, str, int]]:
    """Method, address and status of all that was answered."""
    return set()


@pytest.fixture
def call(app: Flask, seen: set[tuple[str, str, int]]) -> Call:
    """`call("GET", "/users", token, json=…)` → the answer's JSON, after it was held against the document."""
    document: Document = json_of(app.test_client().get(f"{API}/openapi.json"))
    strict = closed(document)
    addresses = {(method, address): re.sub(r"{\w+}", "[^/]+", address) for method, address in operations_of(document)}

    def send(method: str, path: str, token: str | None = None, **options: Any) -> Any:
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        answer = app.test_client().open(f"{API}{path}", method=method, headers=headers, **options)
        plain = f"{API}{path}".partition("?")[0]
        # `/sync/status` is no `/sync/{…}`: the one without arguments comes first.
        fitting = sorted(
            address for (known, address), form in addresses.items() if known == method and re.fullmatch(form, plain)
        )
        address = plain if plain in fitting else fitting[0]
        answers = answers_of(strict, strict["paths"][address][method.lower()])
        assert str(answer.status_code) in answers, (method, address, answer.status_code, answer.text)
        schema = answers[str(answer.status_code)]["content"]["application/json"]["schema"]
        assert faults_in(strict, schema, answer.json) == [], (method, address)
        seen.add((method, address, answer.status_code))
        return answer.json

    return send


def test_every_answer_of_a_day_is_as_described(
    app: Flask, call: Call, seen: set[tuple[str, str, int]], world: World, admin: User, clock: SettableClock
) -> None:
    signed_in = call("POST", "/auth/login", json={"email": admin.email, "password": PASSWORD})
    call("POST", "/auth/login", json={"email": admin.email, "password": "wrong"})
    call("POST", "/auth/login", json={"email": 1})
    token = call("POST", "/auth/refresh", signed_in["refresh_token"])["access_token"]
    call("GET", "/auth/me", token)
    inspection, form_fill = in_the_office(call, token, clock)
    on_the_device(call, token, inspection, form_fill, clock)
    decisions(call, token)
    item = {"type": "form_fill", "local_id": "rescued", "data": {"id": form_fill, "changes": {"a": 1}}}
    sender = {"id": admin.id, "email": admin.email}
    document = {"fieldpost_rescue": 1, "user": sender, "device_id": None, "sync_items": [item, {"type": "unheard_of"}]}
    call("POST", "/rescue", token, json=document)
    call("POST", "/rescue", token, json={**document, "user": {**sender, "id": 4711}})
    attachments(call, token, form_fill)
    for path in ("/", f"/inspections/{inspection}/offline_data", "/sync/changes", "/sync/status", "/sync/types"):
        call("GET", path, token)
    for path in (f"/form_fills/{form_fill}/history", f"/inspections/{inspection}/history?per_page=1"):
        call("GET", path, token)
    call("GET", f"/entities/form_fill/{form_fill}/history", token)
    call("GET", "/sync/changes?cursor=made-up", token)
    call("DELETE", f"/inspections/{inspection}", token)
    call("GET", "/sync/changes", token)
    call("GET", f"/inspections/{inspection}/offline_data", token)
    other = {"current_password": PASSWORD, "new_password": "another horse on another battery"}
    call("POST", "/auth/password", token, json=other)
    call("POST", "/auth/password", token, json=other)
    for sign_in in call("GET", "/auth/sign_ins", token)["data"]["sign_ins"]:
        assert sign_in["is_current"]
    own = call("POST", "/auth/login", json={"email": admin.email, "password": other["new_password"]})["access_token"]
    (key,) = [each["id"] for each in call("GET", "/auth/sign_ins", own)["data"]["sign_ins"] if each["is_current"]]
    for _ in range(2):
        call("DELETE", f"/auth/sign_ins/{key}", token)
    devices_of(call, admin, other["new_password"])
    call("POST", "/auth/logout", token)
    call("GET", "/auth/me", token)
    called = {(method, address) for method, address, status in seen if status < 300}
    known = operations_of(json_of(app.test_client().get(f"{API}/openapi.json")))
    left_out = {address for method, address in set(known) - called}
    assert left_out == {
        "/healthz", "/readyz", "/metrics", f"{API}/docs", f"{API}/docs/{{name}}", f"{API}/openapi.json",
        f"{API}/attachments/{{attachment_id}}",
    }  # fmt: skip


def devices_of(call: Call, user: User, password: str) -> None:
    """A device reports itself, alone and beside a batch, and is signed out."""
    credentials = {"email": user.email, "password": password, "device_id": str(uuid4())}
    token = call("POST", "/auth/login", json=credentials)["access_token"]
    call("POST", "/sync/device", token, json={"app": "A", "waiting_items": 1, "clock": "2024-03-15T10:30:00Z"})
    call("POST", "/sync/device", token, json={"app": 1})
    call("POST", "/sync/device", token, json=[])
    call("POST", "/sync", token, json={"sync_items": [], "device": {"app": "A", "persisted": 1}})
    (device,) = call("GET", "/devices", token)["data"]["devices"]
    call("DELETE", f"/devices/{uuid4()}/sign_ins", token)
    call("DELETE", f"/devices/{device['id']}/sign_ins", token)


def in_the_office(call: Call, token: str, clock: SettableClock) -> tuple[int, int]:
    """Everything that administrators do; ids of an inspection and its form fill."""
    new = {"email": "new@example.com", "name": "New", "role": "technician", "password": PASSWORD}
    user = call("POST", "/users", token, json=new)["data"]["user"]
    call("POST", "/users", token, json=new)
    clock.forward(seconds=1)
    call("PATCH", f"/users/{user['id']}", token, json={"name": "Newer"})
    call("PATCH", f"/users/{user['id']}", token, json={"name": "Newest", "updated_at": user["updated_at"]})
    call("GET", f"/users/{user['id']}", token)
    call("GET", "/users/404", token)
    call("GET", "/users", token)
    call("GET", "/audit?per_page=1", token)
    call("GET", "/audit?action=none", token)
    template = call("POST", "/form_templates", token, json={"name": "Riser", "form_structure": FIELDS})
    template_id = template["data"]["form_template"]["id"]
    call("GET", "/form_templates", token)
    call("GET", f"/form_templates/{template_id}", token)
    body = {"date": "2024-03-20", "form_template_ids": [template_id], "assignee_id": user["id"]}
    made = call("POST", "/inspections", token, json={**body, "property": {"city": "Bern"}, "customer": {"name": "A"}})
    call("POST", "/inspections", token, json={**body, "assignee_id": 404})
    inspection, form_fill = made["data"]["inspection"]["id"], made["data"]["form_fills"][0]["id"]
    call("PATCH", f"/inspections/{inspection}", token, json={"notes": "On the roof", "assignee_id": None})
    call("GET", f"/inspections/{inspection}", token)
    call("GET", "/inspections?assignee_id=none&q=roof", token)
    call("GET", "/inspections?colour=red", token)
    call("GET", f"/form_fills/{form_fill}", token)
    return inspection, form_fill


def on_the_device(call: Call, token: str, inspection: int, form_fill: int, clock: SettableClock) -> None:
    """A batch with one of everything, sent twice."""
    first = call("GET", f"/form_fills/{form_fill}", token)["data"]["form_fill"]["updated_at"]
    clock.forward(seconds=1)

    def change(local_id: str, value: str, **more: Any) -> dict[str, Any]:
        return {"type": "form_fill", "local_id": local_id, "data": {"id": form_fill, "changes": {"a": value}, **more}}

    items = [
        change("1", "x", updated_at=first),
        {"type": "inspection", "local_id": "2", "data": {"id": inspection, "status": "completed"}},
        {"type": "photo_delete", "local_id": "3", "payload": {"form_fill_id": form_fill, "field_name": "Riser_Photo"}},
        {"type": "unheard_of", "local_id": "4", "data": {}},
        {"type": "form_fill", "local_id": "5", "data": {"id": form_fill, "colour": "red"}},
        17,
    ]
    for _ in range(2):
        results = call("POST", "/sync", token, json={"sync_items": items})["results"]
        assert [len(results[each]) for each in ("success", "errors")] == [3, 3]
    late = call("POST", "/sync", token, json={"sync_items": [change("6", "y", updated_at=first)]})
    assert len(late["results"]["conflicts"]) == 1
    call("POST", "/sync", token, json={"sync_items": "none"})
    call("POST", "/sync", token, data=b"{", content_type="application/json")


def decisions(call: Call, token: str) -> None:
    """What the office does with the items that were not applied."""
    call("GET", "/set_aside?group=cause", token)
    call("GET", "/set_aside?per_page=1", token)
    call("GET", "/set_aside?state=lost", token)
    rows = call("GET", "/set_aside", token)["data"]["set_aside"]
    keys = {row["code"]: row["id"] for row in rows}
    for key in keys.values():
        call("GET", f"/set_aside/{key}", token)
    call("GET", "/set_aside/none", token)
    for body in (
        {"decision": "apply", "updated_at": "2024-01-01T00:00:00Z"},
        {"decision": "apply"},
        {"decision": "discard"},
    ):
        call("POST", f"/set_aside/{keys['conflict']}/decision", token, json=body)
    call("POST", f"/set_aside/{keys['invalid_type']}/decision", token, json={"decision": "apply"})
    call("POST", "/set_aside/decisions", token, json={"decision": "discard", "filter": {}, "count": 1})
    call("POST", "/set_aside/decisions", token, json={"decision": "apply", "ids": [row["id"] for row in rows]})


def attachments(call: Call, token: str, form_fill: int) -> None:
    """A photo and a signature, and what is asked about them."""
    for part, field in (("photo", "Riser_Photo"), ("signature", "Signature")):
        for _ in range(2):
            form = {"form_fill_id": form_fill, "field_name": field, "local_id": part, part: (BytesIO(png()), "a.png")}
            call("POST", f"/sync/upload_{part}", token, data=form)
    call("POST", "/sync/upload_photo", token, data={"form_fill_id": form_fill})
    (photo, _) = call("GET", f"/form_fills/{form_fill}/attachments", token)["data"]["attachments"]
    asked = {"form_fill_id": form_fill, "field_name": "Riser_Photo", "sha256": photo["sha256"]}
    call("POST", "/sync/verify_attachments", token, json=[asked, {**asked, "field_name": "Other"}])
    call("POST", "/sync/verify_attachments", token, json=[{}])
    call("GET", "/attachments/404", token)
