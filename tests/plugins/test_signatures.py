"""`signature_delete`: the contract of every handler, then this handler's own behaviour (contract, section 3.3)."""

from __future__ import annotations

from typing import Any, ClassVar

from flask.testing import FlaskClient

from app.models import Attachment, FormFill, Inspection
from app.plugin_api import Row, SyncHandler
from app.testing import HandlerContract, push
from plugins.signatures import handler
from tests.conftest import World


class TestSignatureDelete(HandlerContract):
    handler: ClassVar[SyncHandler] = handler

    def target(self, world: World, inspection: Inspection) -> Row:
        form_fill = world.form_fill(inspection)
        world.attachment(form_fill, "Field_0", "signature")
        return form_fill

    def payload(self, target: Row, number: int) -> dict[str, Any]:
        return {"form_fill_id": target.id, "field_name": f"Field_{number}"}


def item(form_fill: FormFill, field_name: str = "Signature", **payload: Any) -> dict[str, Any]:
    data = {"form_fill_id": form_fill.id, "field_name": field_name, **payload}
    return {"type": "signature_delete", "local_id": str(data), "data": data}


def alive(world: World) -> set[str]:
    return {each.id for each in world.all(Attachment) if each.deleted_at is None}


def test_the_signature_of_the_field_is_deleted(world: World, device: FlaskClient, form_fill: FormFill) -> None:
    signature = world.attachment(form_fill, "Signature", "signature").id
    other = world.attachment(form_fill, "Signature_Annex", "signature").id
    photo = world.attachment(form_fill, "Signature", "photo").id
    (entry,) = push(device, item(form_fill))["success"]
    assert (entry["message"], entry["server_id"]) == ("Signature deleted", form_fill.id)
    assert entry["result"] == {"deleted": 1}
    assert "updated_at" not in entry
    assert alive(world) == {other, photo}
    assert world.get(Attachment, signature).deleted_at is not None


def test_nothing_there_to_delete_is_a_success(device: FlaskClient, form_fill: FormFill) -> None:
    assert push(device, item(form_fill))["success"][0]["message"] == "Signature deleted"


def test_the_payload_may_be_called_payload(world: World, device: FlaskClient, form_fill: FormFill) -> None:
    world.attachment(form_fill, "Signature", "signature")
    sent = item(form_fill)
    sent["payload"] = sent.pop("data")
    assert push(device, sent)["success"]
    assert alive(world) == set()


def test_a_retry_does_not_take_a_signature_that_was_given_since(
    world: World, device: FlaskClient, form_fill: FormFill
) -> None:
    push(device, item(form_fill))
    signature = world.attachment(form_fill, "Signature", "signature").id
    assert push(device, item(form_fill))["success"][0]["replayed"] is True
    assert alive(world) == {signature}


def test_a_named_signature_is_deleted_and_one_made_since_is_left_alone(
    world: World, device: FlaskClient, form_fill: FormFill
) -> None:
    seen = world.attachment(form_fill, "Signature", "signature").id
    (entry,) = push(device, item(form_fill, signature_attachment_id=seen))["success"]
    assert (entry["result"], alive(world)) == ({"deleted": 1}, set())
    made_since = world.attachment(form_fill, "Signature", "signature").id
    (entry,) = push(device, {**item(form_fill, signature_attachment_id=seen), "local_id": "again"})["success"]
    assert (entry["result"], alive(world)) == ({"deleted": 0}, {made_since})


def test_the_id_of_a_photo_or_of_another_field_is_not_found(
    world: World, device: FlaskClient, form_fill: FormFill
) -> None:
    annex = world.attachment(form_fill, "Signature_Annex", "signature").id
    photo = world.attachment(form_fill, "Signature", "photo").id
    results = push(device, *(item(form_fill, signature_attachment_id=each) for each in (annex, photo)))
    assert [(entry["code"], entry["retryable"]) for entry in results["errors"]] == [("not_found", False)] * 2
    assert alive(world) == {annex, photo}
