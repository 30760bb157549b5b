"""`GET /form_fills/:id` by id or client_id, for users who see the inspection (contract, section 8)."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient

from app.models import Attachment, FormFill, User
from tests.api.conftest import API, fault
from tests.conftest import STRUCTURE, SignIn, World
from tests.support.answers import json_of
from tests.support.cases import cases

CLIENT_ID = "6b1f3c1e-3d0c-4c52-8a52-0d5f4e1f0003"


@pytest.fixture
def form_fill(world: World, owner: User, tech: User) -> FormFill:
    inspection = world.inspection(owner, tech)
    return world.form_fill(inspection, client_id=CLIENT_ID, data={"Location_row_1": "Roof"})


def attach(world: World, form_fill: FormFill, position: int, **values: Any) -> Attachment:
    columns = {
        "form_fill_id": form_fill.id,
        "kind": "photo",
        "field_name": "Riser_Photo",
        "position": position,
        "content_type": "image/jpeg",
        "byte_size": 1,
        "width": 1,
        "height": 1,
        "sha256": "0" * 64,
        "storage_key": f"aa/{position}",
        "uploaded_by_id": 1,
    }
    attachment: Attachment = world.make(Attachment, form_fill.inspection_id, **{**columns, **values})
    return attachment


def test_a_form_fill_comes_with_its_structure_and_its_attachments(
    world: World, office: FlaskClient, form_fill: FormFill
) -> None:
    photos = [attach(world, form_fill, position).id for position in (1, 2)]
    attach(world, form_fill, 3, deleted_at=datetime(2024, 3, 15, tzinfo=UTC))
    signature = attach(world, form_fill, 4, kind="signature", field_name="Signature").id
    answer = office.get(f"{API}/form_fills/{form_fill.id}")
    assert answer.status_code == 200, answer.json
    assert json_of(answer)["data"]["form_fill"] == {
        "id": form_fill.id,
        "client_id": CLIENT_ID,
        "inspection_id": form_fill.inspection_id,
        "form_template_id": form_fill.form_template_id,
        "data": {
            "Location_row_1": "Roof",
            "Riser_Photo_photo_attachment_id": photos,
            "Signature_signature_attachment_id": signature,
        },
        "created_at": "2024-03-15T10:30:00.000Z",
        "updated_at": "2024-03-15T10:30:00.000Z",
        "form_structure": STRUCTURE,
    }


@cases("key", [CLIENT_ID, CLIENT_ID.upper()])
def test_a_client_id_names_it_in_any_case(office: FlaskClient, form_fill: FormFill, key: str) -> None:
    assert json_of(office.get(f"{API}/form_fills/{key}"))["data"]["form_fill"]["id"] == form_fill.id


@cases("key", ["0", "-1", CLIENT_ID[:-1] + "4", "9007199254740991"])
def test_what_names_no_form_fill_is_404(office: FlaskClient, form_fill: FormFill, key: str) -> None:
    assert fault(office.get(f"{API}/form_fills/{key}")) == (404, "not_found", "FormFill not found")


@cases(
    "key",
    ["9007199254740992", "9" * 5000, "1.5", "x", "%00", "1%00", "%F0%9F%98%80", "%D9%A1", "1e0", CLIENT_ID[:-1]],
)
def test_what_is_no_id_is_invalid(office: FlaskClient, form_fill: FormFill, key: str) -> None:
    assert fault(office.get(f"{API}/form_fills/{key}"))[:2] == (400, "invalid")


def test_a_number_with_a_point_is_the_same_id(office: FlaskClient, form_fill: FormFill) -> None:
    assert json_of(office.get(f"{API}/form_fills/{form_fill.id}.0"))["data"]["form_fill"]["id"] == form_fill.id


@cases(("who", "status"), [("admin", 200), ("owner", 200), ("tech", 200), ("stranger", 404), ("demoted", 404)])
def test_who_sees_a_form_fill(
    request: pytest.FixtureRequest,
    world: World,
    sign_in: SignIn,
    owner: User,
    form_fill: FormFill,
    who: str,
    status: int,
) -> None:
    if who == "demoted":
        # Assigned, but no technician any more.
        assigned = world.user("demoted@example.com", "user")
        keys: list[Any] = [world.form_fill(world.inspection(owner, assigned)).id]
        client = sign_in(assigned)
    else:
        keys = [form_fill.id, CLIENT_ID]
        client = sign_in(request.getfixturevalue(who))
    for key in keys:
        assert client.get(f"{API}/form_fills/{key}").status_code == status


def test_signed_out_it_is_401(app: Flask, form_fill: FormFill) -> None:
    assert fault(app.test_client().get(f"{API}/form_fills/{form_fill.id}"))[:2] == (401, "token_missing")


@cases("method", ["POST", "PUT", "PATCH", "DELETE"])
def test_form_fills_are_written_through_sync_alone(office: FlaskClient, form_fill: FormFill, method: str) -> None:
    answer = office.open(f"{API}/form_fills/{form_fill.id}", method=method, json={"data": {}})
    assert fault(answer)[:2] == (405, "method_not_allowed")


def test_attachments_cost_no_query_each(
    world: World,
    office: FlaskClient,
    form_fill: FormFill,
    count_statements: Callable[[Callable[[], Any]], int],
) -> None:
    def get() -> Any:
        return office.get(f"{API}/form_fills/{form_fill.id}")

    before = count_statements(get)
    for position in range(1, 6):
        attach(world, form_fill, position)
    assert count_statements(get) == before
