"""`GET /sync/types` and `GET /sync/status` (contract, sections 3.4 and 5)."""

from __future__ import annotations

from typing import Any
from uuid import uuid4

import pytest
from flask import Flask
from flask.testing import FlaskClient

from app import create_app
from app.core.database.engine import db
from app.models import FormFill, Inspection, User
from app.testing import push, statements_of
from tests.conftest import SettableClock, SignIn, World
from tests.core.sync.conftest import edit
from tests.support.answers import json_of

STATUS, TYPES = "/api/v1/sync/status", "/api/v1/sync/types"


def types(client: FlaskClient) -> dict[str, dict[str, Any]]:
    found: Any = client.get(TYPES).json
    return {each["type"]: each for each in found["data"]["types"]}


def status(client: FlaskClient) -> dict[str, Any]:
    found: Any = client.get(STATUS).json
    data: dict[str, Any] = found["data"]
    return data


def test_the_types_that_ship_are_listed_with_their_aliases(device: FlaskClient) -> None:
    found = types(device)
    assert {name: each["aliases"] for name, each in found.items()} == {
        "form_fill": ["form_fill_update"],
        "inspection": [],
        "photo_delete": [],
        "signature_delete": [],
    }
    assert list(found) == sorted(found)
    for each in found.values():
        assert each.keys() >= {"type", "aliases", "plugin", "distribution", "version", "schema"}
        assert each["distribution"] == "fieldpost"


def test_a_schema_tells_the_cores_keys_and_the_handlers(device: FlaskClient) -> None:
    schemas = {name: each["schema"] for name, each in types(device).items()}
    for way in schemas["form_fill"]["oneOf"]:
        assert way["properties"].keys() == {
            "id", "form_fill_id", "inspection_id", "form_template_id", "client_id", "updated_at", "resolve_strategy",
            "data", "changes",
        }  # fmt: skip
    change, new = schemas["inspection"]["oneOf"]
    assert change["required"] == ["id"]
    assert new["required"] == ["client_id", "date", "form_template_ids"]
    assert schemas["photo_delete"]["properties"].keys() >= {"form_fill_id", "field_name", "photo_attachment_id"}
    assert schemas["signature_delete"]["properties"].keys() >= {"form_fill_id", "field_name"}
    for way in (change, new):
        assert set(way["properties"]["status"]["enum"]) == {"pending", "in_progress", "completed", "canceled"}


@pytest.fixture
def several(world: World, owner: User, tech: User, inspection: Inspection, form_fill: FormFill) -> None:
    """Beside one pending with a form fill: one of each other status, one of somebody else's, and a few form fills."""
    for name in ("in_progress", "completed", "canceled"):
        world.form_fill(world.inspection(owner, tech, status=name))
    other = world.inspection(world.user("another@example.com", "user"), status="completed")
    world.form_fill(other)
    world.inspection(owner)


@pytest.mark.usefixtures("several")
def test_counts_are_over_what_the_user_sees(
    world: World, sign_in: SignIn, device: FlaskClient, other: FlaskClient, tech: User
) -> None:
    assert status(device) == {
        "user_id": tech.id,
        "total_inspections": 4,
        "pending_inspections": 2,
        "completed_inspections": 1,
        "total_form_fills": 4,
        "last_sync": None,
        "server_time": "2024-03-15T10:30:00.000Z",
    }
    office = status(other)
    assert (office["total_inspections"], office["pending_inspections"], office["total_form_fills"]) == (5, 3, 4)
    admin = status(sign_in(world.user("admin@example.com", "admin")))
    assert (admin["total_inspections"], admin["completed_inspections"], admin["total_form_fills"]) == (6, 2, 5)
    stranger = status(sign_in(world.user("stranger@example.com")))
    assert [stranger[name] for name in ("total_inspections", "pending_inspections", "total_form_fills")] == [0, 0, 0]


def test_it_takes_one_statement_beside_the_sign_ins(app: Flask, device: FlaskClient, form_fill: FormFill) -> None:
    status(device)
    with statements_of(app) as statements:
        status(device)
    assert sum(statement.startswith("SELECT") for statement in statements) == 2, statements


def test_the_answer_has_the_documented_frame(device: FlaskClient) -> None:
    body: Any = device.get(STATUS).json
    assert (body["success"], body["message"]) == (True, "Sync status retrieved successfully")


def test_last_sync_is_when_ones_last_batch_was_processed(
    device: FlaskClient, other: FlaskClient, form_fill: FormFill, clock: SettableClock
) -> None:
    clock.forward(minutes=1)
    push(device, edit(form_fill, a=1))
    assert status(device)["last_sync"] == "2024-03-15T10:31:00.000Z"
    clock.forward(minutes=1)
    push(device)
    assert status(device)["last_sync"] == "2024-03-15T10:32:00.000Z", "an empty batch is one too"
    push(device, edit(4711, a=1))
    assert status(other)["last_sync"] is None


def test_last_sync_is_that_of_all_ones_devices_and_survives_a_restart(
    environment: dict[str, str], app: Flask, sign_in: SignIn, tech: User, form_fill: FormFill, clock: SettableClock
) -> None:
    phone, tablet = (sign_in(tech, str(uuid4())) for _ in range(2))
    for minute, (device, other) in enumerate([(phone, tablet), (tablet, phone)], start=1):
        clock.forward(minutes=1)
        push(device, edit(form_fill, a=minute))
        assert status(device)["last_sync"] == status(other)["last_sync"] == f"2024-03-15T10:3{minute}:00.000Z"
    restarted = create_app(environment, clock)
    client = restarted.test_client()
    client.environ_base["HTTP_AUTHORIZATION"] = phone.environ_base["HTTP_AUTHORIZATION"]
    first = client.get(STATUS)
    assert json_of(first)["data"]["last_sync"] == "2024-03-15T10:32:00.000Z"
    assert first.headers["ETag"] == tablet.get(STATUS).headers["ETag"]
    with restarted.app_context():
        db.engine.dispose()


def test_an_unchanged_status_is_304_though_time_goes_on(
    world: World, device: FlaskClient, owner: User, tech: User, clock: SettableClock
) -> None:
    first = device.get(STATUS)
    tag = first.headers["ETag"]
    clock.forward(seconds=30)
    again = device.get(STATUS, headers={"If-None-Match": tag})
    assert (again.status_code, again.data, again.headers["ETag"]) == (304, b"", tag)
    world.inspection(owner, tech)
    changed = device.get(STATUS, headers={"If-None-Match": tag})
    assert changed.status_code == 200
    assert changed.headers["ETag"] != tag


def test_the_status_is_nobody_elses(device: FlaskClient, other: FlaskClient) -> None:
    first = device.get(STATUS)
    assert "private" in first.headers["Cache-Control"]
    assert other.get(STATUS, headers={"If-None-Match": first.headers["ETag"]}).status_code == 200
