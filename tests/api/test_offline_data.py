"""`GET /inspections/:id/offline_data`: one package, a fixed number of queries, a checksum, a cursor (section 6)."""

from __future__ import annotations

import hashlib
import threading
import time
from collections.abc import Callable
from typing import Any
from urllib.parse import quote

import pytest
import rfc8785
from flask import Flask
from flask.testing import FlaskClient
from sqlalchemy import event

from app.core.database.engine import db
from app.models import FormFill, Inspection, User
from app.testing import push
from tests.api.conftest import API, fault
from tests.conftest import STRUCTURE, SignIn, World
from tests.support.cases import cases


@pytest.fixture
def inspection(world: World, owner: User, tech: User) -> Inspection:
    return world.inspection(owner, tech, notes="Gate 3")


def package(client: FlaskClient, inspection: Inspection) -> Any:
    answer = client.get(f"{API}/inspections/{inspection.id}/offline_data")
    assert answer.status_code == 200, answer.text
    assert answer.json is not None
    assert answer.json["message"] == "Offline data retrieved successfully"
    return answer.json["data"]


def test_the_package_has_everything_to_work_on_an_inspection(
    world: World, sign_in: SignIn, tech: User, inspection: Inspection
) -> None:
    form_fill = world.form_fill(inspection, data={"Location_row_1": "Roof"})
    photo = world.attachment(form_fill)
    gone = world.attachment(form_fill)
    world.form_fill(world.inspection(tech))
    device = sign_in(tech)
    data = {"form_fill_id": form_fill.id, "field_name": "Riser_Photo", "photo_attachment_id": gone.id}
    push(device, {"type": "photo_delete", "local_id": "x", "data": data})
    found = package(device, inspection)
    assert found["inspection"].keys() >= {
        "id", "date", "notes", "status", "system_category", "interval_category", "job", "created_at", "updated_at",
        "property", "customer", "form_template",
    }  # fmt: skip
    (form,) = found["form_fills"]
    assert form.keys() >= {
        "id", "client_id", "inspection_id", "form_template_id", "data", "created_at", "updated_at", "form_structure",
        "photos",
    }  # fmt: skip
    assert form["form_structure"] == STRUCTURE
    assert form["data"] == {"Location_row_1": "Roof", "Riser_Photo_photo_attachment_id": [photo.id]}
    assert [each["id"] for each in form["photos"]] == [photo.id]
    assert form["photos"][0].keys() >= {
        "id", "kind", "field_name", "filename", "content_type", "byte_size", "sha256", "url",
    }  # fmt: skip
    assert found["sync_metadata"].keys() == {"downloaded_at", "version", "checksum", "cursor"}
    assert found["sync_metadata"]["version"] == 1


def test_the_checksum_is_that_of_the_canonical_json(sign_in: SignIn, tech: User, world: World) -> None:
    inspection = world.inspection(tech, notes="é \u2028 😀")
    world.form_fill(inspection, data={"b": 1.5, "a": [1e21, 0.1, None, {"ü": "€"}]})
    found = package(sign_in(tech), inspection)
    content = {"inspection": found["inspection"], "form_fills": found["form_fills"]}
    assert found["sync_metadata"]["checksum"] == hashlib.sha256(rfc8785.dumps(content)).hexdigest()


def test_the_number_of_queries_is_the_same_for_1_and_for_200_form_fills(
    world: World, sign_in: SignIn, tech: User, count_statements: Callable[[Callable[[], Any]], int]
) -> None:
    device, template, counts = sign_in(tech), world.template(), []
    for number in (1, 200):
        inspection = world.inspection(tech)
        items = [
            {
                "type": "form_fill",
                "local_id": f"{number}-{each}",
                "data": {"inspection_id": inspection.id, "form_template_id": template.id, "data": {"a": each}},
            }
            for each in range(number)
        ]
        push(device, *items)
        for form_fill in [each for each in world.all(FormFill) if each.inspection_id == inspection.id][:3]:
            world.attachment(form_fill)
        counts.append(count_statements(lambda: package(device, inspection)))  # noqa: B023
        assert len(package(device, inspection)["form_fills"]) == number
    assert counts[0] == counts[1]


@cases("key", ["4711", "0", "-1"])
def test_what_is_not_there_is_not_found(sign_in: SignIn, tech: User, key: str) -> None:
    answer = sign_in(tech).get(f"{API}/inspections/{key}/offline_data")
    assert fault(answer) == (404, "not_found", "InspectionNotFound")


@cases("key", ["x", "9" * 30, "1.5", "%00"])
def test_what_is_no_id_is_invalid(sign_in: SignIn, tech: User, key: str) -> None:
    assert fault(sign_in(tech).get(f"{API}/inspections/{key}/offline_data"))[:2] == (400, "invalid")


def test_another_ones_is_not_found(sign_in: SignIn, stranger: User, inspection: Inspection) -> None:
    answer = sign_in(stranger).get(f"{API}/inspections/{inspection.id}/offline_data")
    assert fault(answer) == (404, "not_found", "InspectionNotFound")


def test_package_and_feed_leave_no_gap(
    app: Flask, world: World, sign_in: SignIn, tech: User, owner: User, inspection: Inspection
) -> None:
    """A change that is committed between two of the package's queries is in the package, or in the feed after it."""
    form_fill = world.form_fill(inspection, data={"a": "before"})
    device, other = sign_in(tech), sign_in(owner)
    queries: list[str] = []

    def change() -> None:
        item = {"type": "form_fill", "local_id": "x", "data": {"id": form_fill.id, "changes": {"a": "meanwhile"}}}
        assert push(other, item)["success"]

    def interrupt(_connection: Any, _cursor: Any, statement: str, *_: Any) -> None:
        if threading.current_thread() is threading.main_thread() and "FROM form_fills" in statement and not queries:
            queries.append(statement)
            thread = threading.Thread(target=change)
            thread.start()
            thread.join()

    with app.app_context():
        engine = db.engine
    event.listen(engine, "before_cursor_execute", interrupt)
    found = package(device, inspection)
    event.remove(engine, "before_cursor_execute", interrupt)
    assert queries
    (form,) = found["form_fills"]
    assert form["data"] == {"a": "before"}, "one snapshot"
    # Other transactions of the server may hold the feed back for a moment; what came before may come again.
    url, fed = f"{API}/sync/changes?cursor={quote(found['sync_metadata']['cursor'])}", []
    for _ in range(200):
        answer: Any = device.get(url).json
        fed = [each["record"]["data"] for each in answer["data"]["changes"] if each["entity"] == "form_fill"]
        if {"a": "meanwhile"} in fed:
            return
        time.sleep(0.05)
    raise AssertionError(f"the feed tells {fed}")
