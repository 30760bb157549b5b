"""What clients in the field really send: their habits must work without a change on their side."""

from __future__ import annotations

from typing import Any

from flask.testing import FlaskClient

from app.clock import to_wire
from app.models import Attachment, FormFill, Inspection
from app.testing import push
from tests.conftest import SettableClock, World
from tests.core.sync.conftest import edit, stored


def test_one_item_a_request_with_the_whole_form_and_use_local(
    world: World, device: FlaskClient, other: FlaskClient, form_fill: FormFill, clock: SettableClock
) -> None:
    """The device's own clock as `updated_at`, older or newer than the server's, with `use_local`."""
    for number, device_clock in enumerate(
        [
            "2024-03-15T09:58:11.482Z",
            "2024-03-15T10:30:00.0001Z",
            "2026-01-01T00:00:00.000000Z",
            "2024-03-15T12:00:00+02:00",
        ]
    ):
        push(other, edit(form_fill, b=number))
        clock.forward(seconds=10)
        form = {"a": number, "Location_row_1": "Roof", "Riser_Photo_photo_attachment_id": None}
        data = {"id": form_fill.id, "updated_at": device_clock, "data": form, "resolve_strategy": "use_local"}
        (entry,) = push(device, {"type": "form_fill", "local_id": f"local_{number}", "data": data})["success"]
        assert entry["data"] == {"a": number, "b": number, "Location_row_1": "Roof"}
        assert stored(world, form_fill) == entry["data"]


def test_patches_by_form_fill_id(
    world: World, device: FlaskClient, form_fill: FormFill, inspection: Inspection
) -> None:
    held = to_wire(form_fill.updated_at)
    for number in range(3):
        data = {"form_fill_id": form_fill.id, "changes": {"a": number + 1}, "updated_at": held}
        item = {"type": "form_fill_update", "local_id": f"patch-{number}", "data": data}
        (entry,) = push(device, item)["success"]
        held = entry["updated_at"]
    assert stored(world, form_fill) == {"a": 3, "b": 0}


def test_deletes_with_payload(world: World, device: FlaskClient, form_fill: FormFill) -> None:
    photo, signature = world.attachment(form_fill), world.attachment(form_fill, "Signature", "signature")
    payload: dict[str, Any] = {"form_fill_id": form_fill.id, "field_name": "Riser_Photo"}
    results = push(
        device,
        {"type": "photo_delete", "local_id": "p", "payload": {**payload, "photo_attachment_id": photo.id}},
        {"type": "signature_delete", "local_id": "s", "payload": {**payload, "field_name": "Signature"}},
    )
    assert [entry["message"] for entry in results["success"]] == ["Photo deleted", "Signature deleted"]
    assert world.get(Attachment, photo.id).deleted_at is not None
    assert world.get(Attachment, signature.id).deleted_at is not None


def test_data_wins_where_both_data_and_payload_are_sent(world: World, device: FlaskClient, form_fill: FormFill) -> None:
    photo = world.attachment(form_fill)
    data = {"form_fill_id": form_fill.id, "field_name": "Other"}
    item = {"type": "photo_delete", "local_id": "p", "data": data, "payload": {**data, "field_name": "Riser_Photo"}}
    assert push(device, item)["success"]
    assert world.get(Attachment, photo.id).deleted_at is None


def test_a_made_up_local_id_is_echoed_exactly(device: FlaskClient, form_fill: FormFill) -> None:
    local_id = "ephemeral-456-1771610215123"
    item = {**edit(form_fill, a=1), "local_id": local_id}
    assert push(device, item)["success"][0]["local_id"] == local_id
    bad = {**edit(form_fill), "local_id": local_id}
    assert push(device, bad)["errors"][0]["local_id"] == local_id
    stale = {**edit(form_fill, "2024-03-15T10:00:00.000Z", a=2), "local_id": local_id}
    assert push(device, stale)["conflicts"][0]["local_id"] == local_id


def test_a_local_id_used_again_for_another_change_is_another_change(
    world: World, device: FlaskClient, form_fill: FormFill
) -> None:
    """Some number their queue from 1 at each start."""
    for number in range(3):
        (entry,) = push(device, {**edit(form_fill, a=number + 1), "local_id": "1"})["success"]
        assert "replayed" not in entry
    assert stored(world, form_fill)["a"] == 3


def test_a_form_as_it_was_downloaded_can_be_sent_back_whole(
    world: World, device: FlaskClient, form_fill: FormFill
) -> None:
    world.attachment(form_fill)
    (entry,) = push(device, edit(form_fill, a=1))["success"]
    data = {"id": form_fill.id, "updated_at": entry["updated_at"], "data": {**entry["data"], "b": 5}}
    (again,) = push(device, {"type": "form_fill", "local_id": "back", "data": data})["success"]
    assert "data" not in again
    assert stored(world, form_fill) == {"a": 1, "b": 5}
