"""`photo_delete`: the contract of every handler, then this handler's own behaviour (contract, section 3.3)."""

from __future__ import annotations

from typing import Any, ClassVar

import pytest
from flask.testing import FlaskClient

from app.models import Attachment, FormFill, Inspection, LedgerEntry
from app.plugin_api import Row, SyncHandler
from app.testing import HandlerContract, push
from plugins.photos import handler
from tests.conftest import SettableClock, World
from tests.support.cases import cases


class TestPhotoDelete(HandlerContract):
    handler: ClassVar[SyncHandler] = handler

    def target(self, world: World, inspection: Inspection) -> Row:
        form_fill = world.form_fill(inspection)
        world.attachment(form_fill, "Field_0")
        world.attachment(form_fill, "Field_1")
        return form_fill

    def payload(self, target: Row, number: int) -> dict[str, Any]:
        return {"form_fill_id": target.id, "field_name": f"Field_{number}"}


def item(form_fill: FormFill, field_name: str = "Riser_Photo", **payload: Any) -> dict[str, Any]:
    data = {"form_fill_id": form_fill.id, "field_name": field_name, **payload}
    return {"type": "photo_delete", "local_id": str(data), "data": data}


def alive(world: World) -> set[str]:
    return {each.id for each in world.all(Attachment) if each.deleted_at is None}


@pytest.fixture
def photos(world: World, form_fill: FormFill) -> list[str]:
    """Two photos of one field."""
    return [world.attachment(form_fill).id for _ in range(2)]


def test_the_named_photo_is_deleted(
    world: World, device: FlaskClient, form_fill: FormFill, photos: list[str], clock: SettableClock
) -> None:
    clock.forward(minutes=1)
    (entry,) = push(device, item(form_fill, photo_attachment_id=photos[0]))["success"]
    assert entry == {
        "index": 0,
        "local_id": entry["local_id"],
        "type": "photo_delete",
        "server_id": form_fill.id,
        "message": "Photo deleted",
        "result": {"deleted": 1},
    }
    assert alive(world) == {photos[1]}
    assert world.get(Attachment, photos[0]).deleted_at == clock.time, "the row is marked, the bytes are kept"
    assert world.get(FormFill, form_fill.id).updated_at == form_fill.updated_at


def test_without_a_photo_all_of_the_field_are_deleted(
    world: World, device: FlaskClient, form_fill: FormFill, photos: list[str]
) -> None:
    other_field = world.attachment(form_fill, "Other_Photo").id
    other_form = world.attachment(world.form_fill(world.get(Inspection, form_fill.inspection_id))).id
    signature = world.attachment(form_fill, "Riser_Photo", "signature").id
    (entry,) = push(device, item(form_fill))["success"]
    assert entry["result"] == {"deleted": len(photos)}
    assert alive(world) == {other_field, other_form, signature}


def test_nothing_there_to_delete_is_a_success(
    world: World, device: FlaskClient, form_fill: FormFill, photos: list[str]
) -> None:
    recorded = len(world.all(LedgerEntry))
    sent = [
        item(form_fill, "No_Such_Field"),
        item(form_fill, photo_attachment_id="no such photo"),
    ]
    results = push(device, *sent)
    assert [(entry["message"], entry["result"]) for entry in results["success"]] == [
        ("Photo deleted", {"deleted": 0})
    ] * 2
    assert alive(world) == set(photos)
    assert len(world.all(LedgerEntry)) == recorded


def test_the_id_of_another_fields_photo_is_not_found(
    world: World, device: FlaskClient, form_fill: FormFill, photos: list[str]
) -> None:
    (entry,) = push(device, item(form_fill, "Other_Photo", photo_attachment_id=photos[0]))["errors"]
    assert (entry["code"], entry["error"], entry["retryable"]) == ("not_found", "Attachment not found", False)
    assert alive(world) == set(photos)


def test_a_field_is_one_field_in_nfc_and_nfd(world: World, device: FlaskClient, form_fill: FormFill) -> None:
    world.attachment(form_fill, "Gr\u00f6\u00dfe")
    (entry,) = push(device, item(form_fill, "Gro\u0308\u00dfe"))["success"]
    assert (entry["result"], alive(world)) == ({"deleted": 1}, set())


def test_a_photo_is_deleted_only_through_its_own_form_fill(
    world: World, device: FlaskClient, form_fill: FormFill, photos: list[str]
) -> None:
    other = world.form_fill(world.get(Inspection, form_fill.inspection_id))
    push(device, item(other, photo_attachment_id=photos[0]))
    assert alive(world) == set(photos)


def test_deleting_twice_marks_once(
    world: World, device: FlaskClient, form_fill: FormFill, photos: list[str], clock: SettableClock
) -> None:
    push(device, item(form_fill, photo_attachment_id=photos[0]))
    first = world.get(Attachment, photos[0])
    clock.forward(minutes=5)
    assert push(device, item(form_fill))["success"]
    again = world.get(Attachment, photos[0])
    assert (again.deleted_at, again.updated_at) == (first.deleted_at, first.updated_at)
    assert alive(world) == set()


def test_a_retry_does_not_take_a_photo_that_was_added_since(
    world: World, device: FlaskClient, form_fill: FormFill, photos: list[str]
) -> None:
    push(device, item(form_fill))
    added = world.attachment(form_fill).id
    (entry,) = push(device, item(form_fill))["success"]
    assert entry["replayed"] is True
    assert "updated_at" not in entry
    assert alive(world) == {added}


@cases("missing", ["form_fill_id", "field_name"])
def test_what_is_missing_is_invalid_and_named(device: FlaskClient, form_fill: FormFill, missing: str) -> None:
    sent = item(form_fill)
    del sent["data"][missing]
    (entry,) = push(device, sent)["errors"]
    assert (entry["code"], list(entry["details"])) == ("invalid", [missing])


def test_the_payload_may_be_called_payload(
    world: World, device: FlaskClient, form_fill: FormFill, photos: list[str]
) -> None:
    sent = item(form_fill)
    sent["payload"] = sent.pop("data")
    assert push(device, sent)["success"]
    assert alive(world) == set()


def test_a_deleted_photo_leaves_the_form_fills_data(
    world: World, device: FlaskClient, form_fill: FormFill, photos: list[str]
) -> None:
    edit = {"type": "form_fill", "local_id": "edit", "data": {"id": form_fill.id, "changes": {"Pressure": 6}}}
    results = push(device, item(form_fill, photo_attachment_id=photos[0]), edit)
    assert results["success"][1]["data"]["Riser_Photo_photo_attachment_id"] == [photos[1]]


def test_a_form_fill_is_found_by_its_client_id(world: World, device: FlaskClient, inspection: Inspection) -> None:
    client_id = "6b1f3c1e-3d0c-4c52-8a52-0d5f4e1f0003"
    form_fill = world.form_fill(inspection, client_id=client_id)
    world.attachment(form_fill)
    (entry,) = push(device, item(form_fill, form_fill_id=client_id.upper()))["success"]
    assert entry["server_id"] == form_fill.id
    assert alive(world) == set()
