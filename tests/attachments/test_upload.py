"""Uploading photos and signatures, through HTTP as a device does (contract, section 4)."""

from __future__ import annotations

import errno
import hashlib
import os
import threading
from io import BytesIO
from types import SimpleNamespace
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient
from PIL import Image

from app.attachments import drafts, read_destination
from app.attachments import upload as module
from app.attachments.storage import images
from app.attachments.storage.images import verify
from app.attachments.storage.missing import END_IS_MISSING
from app.core.database.engine import db
from app.core.database.transactions import writing
from app.models import Attachment, FormFill, Inspection, LedgerEntry, LedgerOperation, User
from app.testing import statements_of
from tests.attachments.conftest import SIGNATURE, UPLOAD, files_in, sync, upload
from tests.conftest import SettableClock, SignIn, World
from tests.support.answers import json_of
from tests.support.cases import cases
from tests.support.pictures import encode, jpeg, picture, png


def test_a_photo_is_stored_exactly_as_sent_and_its_row_is_answered(
    app: Flask, world: World, device: FlaskClient, form_fill: FormFill, tech: User
) -> None:
    data = jpeg((640, 480))
    answer = upload(device, form_fill, data)
    assert answer.status_code == 200, answer.json
    body = answer.json
    assert body["success"] is True
    assert body["message"] == "Photo uploaded successfully"
    photo_id = body["photo_attachment_id"]
    assert body["data"] == {
        "id": photo_id,
        "form_fill_id": form_fill.id,
        "kind": "photo",
        "field_name": "Riser_Photo",
        "filename": "riser.jpg",
        "content_type": "image/jpeg",
        "byte_size": len(data),
        "width": 640,
        "height": 480,
        "sha256": hashlib.sha256(data).hexdigest(),
        "url": f"/api/v1/attachments/{photo_id}",
        "uploaded_by_id": tech.id,
        "created_at": "2024-03-15T10:30:00.000Z",
    }
    assert [each.read_bytes() for each in files_in(app)] == [data]
    row = world.get(Attachment, photo_id)
    assert row.storage_key == str(files_in(app)[0].relative_to(app.extensions["fieldpost.storage"].root))
    entry = world.all(LedgerEntry)[-1]
    assert (entry.entity, entry.entity_id, entry.action) == ("attachment", photo_id, "create")
    assert entry.inspection_id == form_fill.inspection_id
    assert world.all(LedgerOperation)[-1].type == "photo_upload"


def test_the_content_decides_and_not_the_name_or_the_type_that_is_claimed(
    device: FlaskClient, form_fill: FormFill
) -> None:
    claimed = (BytesIO(png()), "page.html", "text/html")
    form = {"form_fill_id": str(form_fill.id), "field_name": "Riser_Photo", "photo": claimed}
    photo = json_of(device.post(UPLOAD, data=form))["data"]
    assert (photo["filename"], photo["content_type"]) == ("page.html", "image/png")
    with device.get(photo["url"]) as download:
        assert download.content_type == "image/png"


def test_the_form_fill_shows_its_attachments_in_order_and_keeps_its_version(
    world: World, device: FlaskClient, form_fill: FormFill, clock: SettableClock
) -> None:
    clock.forward(minutes=1)
    ids = [upload(device, form_fill, jpeg(colour=each)).json["photo_attachment_id"] for each in ("red", "green")]
    signature = upload(device, form_fill, png(), "Signature", to=SIGNATURE, part="signature")
    assert signature.json["signature_attachment_id"]
    item = {"type": "form_fill", "local_id": "a", "data": {"id": form_fill.id, "changes": {"x": 1}}}
    data = sync(device, item)["success"][0]["data"]
    assert data == {
        "x": 1,
        "Riser_Photo_photo_attachment_id": ids,
        "Signature_signature_attachment_id": signature.json["signature_attachment_id"],
    }
    stored = world.get(FormFill, form_fill.id)
    assert stored.data == {"x": 1}, "the keys are a projection and never stored"


def test_an_upload_does_not_change_the_form_fills_version(
    world: World, device: FlaskClient, form_fill: FormFill, clock: SettableClock
) -> None:
    clock.forward(minutes=1)
    upload(device, form_fill)
    assert world.get(FormFill, form_fill.id).updated_at == form_fill.updated_at


def test_the_same_bytes_for_the_same_field_are_the_same_photo(
    app: Flask, world: World, device: FlaskClient, form_fill: FormFill
) -> None:
    first, second = (upload(device, form_fill).json for _ in range(2))
    assert first["photo_attachment_id"] == second["photo_attachment_id"]
    assert len(world.all(Attachment)) == 1
    assert len(files_in(app)) == 1, "the second copy of the bytes is dropped"
    assert len([each for each in world.all(LedgerOperation) if each.type == "photo_upload"]) == 1
    other = upload(device, form_fill, field="Other").json["photo_attachment_id"]
    assert other != first["photo_attachment_id"]


def test_a_form_fill_is_found_by_its_client_id_in_any_case(device: FlaskClient, form_fill: FormFill) -> None:
    assert form_fill.client_id is not None
    for each in (form_fill.client_id, form_fill.client_id.upper()):
        answer = upload(device, each)
        assert answer.status_code == 200
        assert answer.json["data"]["form_fill_id"] == form_fill.id


def test_a_new_signature_replaces_the_old(app: Flask, world: World, device: FlaskClient, form_fill: FormFill) -> None:
    for colour in ("red", "green"):
        assert upload(device, form_fill, png(colour=colour), "Signature", to=SIGNATURE, part="signature").json
    old, new = sorted(world.all(Attachment), key=lambda row: row.position)
    assert old.deleted_at is not None
    assert new.deleted_at is None
    assert len(files_in(app)) == 2, "bytes are kept until they are collected"
    assert [each.action for each in world.all(LedgerEntry)[-2:]] == ["delete", "create"]


@pytest.mark.parametrize(
    "called", [{"name": "Signature_Annex", "type": "image"}, {"name": "Inspector", "type": "Signature_Field"}]
)
def test_a_photo_for_a_signature_field_is_its_signature(
    world: World, device: FlaskClient, inspection: Inspection, called: dict[str, str]
) -> None:
    form_fill = world.form_fill(inspection, world.template(form_structure=[called]))
    for colour in ("red", "green"):
        answer = upload(device, form_fill, jpeg(colour=colour), called["name"])
        assert answer.status_code == 200
    live = [each for each in world.all(Attachment) if each.deleted_at is None]
    assert [(each.id, each.kind) for each in live] == [(answer.json["photo_attachment_id"], "signature")]


def test_a_retry_with_a_local_id_is_answered_again_and_revives_nothing(
    world: World, device: FlaskClient, form_fill: FormFill
) -> None:
    first = upload(device, form_fill, local_id="up-1").json
    again = upload(device, form_fill, local_id="up-1").json
    assert again == {**first, "replayed": True}
    delete = {
        "type": "photo_delete",
        "local_id": "d",
        "data": {"form_fill_id": form_fill.id, "field_name": "Riser_Photo"},
    }
    assert sync(device, delete)["success"]
    late = upload(device, form_fill, local_id="up-1").json
    assert late["photo_attachment_id"] == first["photo_attachment_id"]
    assert late["replayed"] is True
    assert late["deleted"] is True
    assert all(each.deleted_at for each in world.all(Attachment))
    new = upload(device, form_fill, local_id="up-2").json
    assert new["photo_attachment_id"] != first["photo_attachment_id"]


def test_one_local_id_for_two_fields_with_the_same_bytes_stores_both(
    world: World, device: FlaskClient, form_fill: FormFill
) -> None:
    """The field is part of the fingerprint, so the second upload is no retry of the first."""
    data = jpeg()
    first = upload(device, form_fill, data, "Riser_Photo", local_id="photo-1").json
    second = upload(device, form_fill, data, "Valve_Photo", local_id="photo-1").json
    assert "replayed" not in second
    assert first["photo_attachment_id"] != second["photo_attachment_id"]
    assert sorted(row.field_name for row in world.all(Attachment)) == ["Riser_Photo", "Valve_Photo"]
    retry = upload(device, form_fill, data, "Valve_Photo", local_id="photo-1").json
    assert (retry["replayed"], retry["photo_attachment_id"]) == (True, second["photo_attachment_id"])


def test_one_local_id_for_two_form_fills_with_the_same_bytes_stores_both(
    world: World, device: FlaskClient, inspection: Inspection, form_fill: FormFill
) -> None:
    other = world.form_fill(inspection)
    data = jpeg()
    assert "replayed" not in upload(device, form_fill, data, local_id="photo-1").json
    assert "replayed" not in upload(device, other, data, local_id="photo-1").json
    assert {row.form_fill_id for row in world.all(Attachment)} == {form_fill.id, other.id}


def test_one_local_id_for_a_photo_and_a_signature_with_the_same_bytes_stores_both(
    world: World, device: FlaskClient, form_fill: FormFill
) -> None:
    data = png()
    assert "replayed" not in upload(device, form_fill, data, "Remarks", local_id="1").json
    signed = upload(device, form_fill, data, "Remarks", to=SIGNATURE, part="signature", local_id="1").json
    assert "replayed" not in signed
    assert sorted(row.kind for row in world.all(Attachment)) == ["photo", "signature"]


def test_a_replaced_signature_is_not_revived_by_a_retry(device: FlaskClient, form_fill: FormFill) -> None:
    def sign(colour: str, local_id: str) -> Any:
        more = {"to": SIGNATURE, "part": "signature", "local_id": local_id}
        return upload(device, form_fill, png(colour=colour), "Signature", **more).json

    first, second = sign("red", "s-1"), sign("green", "s-2")
    late = sign("red", "s-1")
    assert late["signature_attachment_id"] == first["signature_attachment_id"]
    assert late["deleted"] is True
    assert sign("green", "s-2")["signature_attachment_id"] == second["signature_attachment_id"]


def test_a_duplicate_with_a_local_id_of_its_own_is_remembered_too(device: FlaskClient, form_fill: FormFill) -> None:
    first = upload(device, form_fill, local_id="up-1").json["photo_attachment_id"]
    assert upload(device, form_fill, local_id="up-2").json["photo_attachment_id"] == first
    assert upload(device, form_fill, local_id="up-2").json["replayed"] is True


def test_the_same_upload_on_many_connections_at_once_is_stored_once(
    app: Flask, world: World, sign_in: SignIn, tech: User, form_fill: FormFill
) -> None:
    clients, answers = [sign_in(tech) for _ in range(4)], []
    threads = [
        threading.Thread(target=lambda c=each: answers.append(upload(c, form_fill, local_id="up-1")))
        for each in clients
    ]
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    assert [each.status_code for each in answers] == [200] * 4
    assert len({each.json["photo_attachment_id"] for each in answers}) == 1
    assert len(world.all(Attachment)) == len(files_in(app)) == 1


@cases("form_fill_id", ["999999", "9007199254740991"])
def test_an_unknown_form_fill_is_404(device: FlaskClient, form_fill: FormFill, form_fill_id: str) -> None:
    answer = upload(device, form_fill_id)
    assert (answer.status_code, answer.json["error"]) == (404, "FormFill not found")
    assert "retryable" not in answer.json


def test_an_unknown_client_id_is_404_and_worth_a_retry_because_its_create_may_be_on_the_way(
    device: FlaskClient, form_fill: FormFill
) -> None:
    answer = upload(device, "6b1f3c1e-3d0c-4c52-8a52-0d5f4e1f0009")
    assert (answer.status_code, answer.json["error"]) == (404, "FormFill not found")
    assert answer.json["retryable"] is True


def test_a_deleted_form_fill_is_404_and_not_worth_a_retry_under_its_client_id_either(
    device: FlaskClient, office: FlaskClient, form_fill: FormFill
) -> None:
    assert office.delete(f"/api/v1/inspections/{form_fill.inspection_id}").status_code == 200
    for name in (form_fill.id, form_fill.client_id):
        answer = upload(device, name)
        assert (answer.status_code, answer.json["error"]) == (404, "FormFill not found")
        assert "retryable" not in answer.json


@cases("form_fill_id", ["abc", "1.5", "-1", "0", "9" * 30, "9007199254740992", "1e1", "\u0661"])
def test_an_id_that_is_none_is_400_with_its_own_sentence(
    device: FlaskClient, form_fill: FormFill, form_fill_id: str
) -> None:
    answer = upload(device, form_fill_id)
    assert (answer.status_code, answer.json["error"], answer.json["code"]) == (400, "Invalid parameters", "invalid")
    assert set(answer.json["details"]) == {"form_fill_id"}


def test_an_id_may_be_written_with_a_point(device: FlaskClient, form_fill: FormFill) -> None:
    assert upload(device, f"{form_fill.id}.0").json["data"]["form_fill_id"] == form_fill.id


def test_a_form_fill_of_somebody_else_is_403_and_nothing_is_stored(
    app: Flask, world: World, sign_in: SignIn, form_fill: FormFill
) -> None:
    for each in (world.user("a@example.com"), world.user("b@example.com", "user")):
        answer = upload(sign_in(each), form_fill)
        assert (answer.status_code, answer.json["error"]) == (403, "Not authorized to update this form")
    assert files_in(app) == []


def test_a_photo_of_somebody_else_is_refused_before_it_is_decoded(
    sign_in: SignIn, world: World, form_fill: FormFill, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Decoding 50 megapixels costs seconds and memory: nobody gets that without the right to store the photo."""
    decoded: list[int] = []
    real = images.verify

    def count_and_verify(data: bytes, limit: int, wait: float) -> Any:
        decoded.append(len(data))
        return real(data, limit, wait)

    monkeypatch.setattr(module, "verify", count_and_verify)
    assert upload(sign_in(world.user("stranger@example.com")), form_fill).status_code == 403
    assert upload(sign_in(world.user("other@example.com")), 987654).status_code == 404
    assert decoded == []
    assert upload(sign_in(world.get(User, form_fill.inspection.assignee_id)), form_fill).status_code == 200
    assert len(decoded) == 1


def test_rights_are_read_by_one_statement_and_again_with_the_locks_by_one(
    app: Flask, world: World, device: FlaskClient, form_fill: FormFill
) -> None:
    user = world.get(User, form_fill.inspection.assignee_id)
    destination = read_destination("photo", {"form_fill_id": str(form_fill.id), "field_name": "F"})
    with app.app_context(), statements_of(app) as statements:
        module.check_destination(user, destination)
        assert not db.session.registry.has(), "no connection is held while the image is decoded"
    assert [each.split()[0] for each in statements if each != "BEGIN"] == ["SELECT"]
    with statements_of(app) as statements:
        assert upload(device, form_fill).status_code == 200
    # The token, the rights, and all that is locked: reads that travel together count as one.
    assert len([each for each in statements if each.startswith("SELECT")]) == 3


def test_the_bytes_are_hashed_while_no_rows_are_locked(
    device: FlaskClient, form_fill: FormFill, monkeypatch: pytest.MonkeyPatch
) -> None:
    data, hashed = jpeg(), []

    class Digest:
        def __init__(self) -> None:
            self.real = hashlib.sha256()

        def update(self, piece: bytes) -> None:
            hashed.append((bytes(piece), db.session().in_transaction()))
            self.real.update(piece)

        def hexdigest(self) -> str:
            return self.real.hexdigest()

    monkeypatch.setattr(drafts, "hashlib", SimpleNamespace(sha256=Digest))
    answer = upload(device, form_fill, data, local_id="one")
    assert answer.json["data"]["sha256"] == hashlib.sha256(data).hexdigest()
    assert b"".join(piece for piece, _ in hashed) == data
    assert not any(is_locked for _, is_locked in hashed)


@cases(("name", "value"), [("field_name", "x" * 256), ("field_name", "a\0b"), ("local_id", "x" * 256)])
def test_a_name_that_cannot_be_kept_is_400_and_named(
    device: FlaskClient, form_fill: FormFill, name: str, value: str
) -> None:
    form = {"form_fill_id": str(form_fill.id), "field_name": "F", "photo": (BytesIO(jpeg()), "a.jpg"), name: value}
    answer = device.post(UPLOAD, data=form, content_type="multipart/form-data")
    assert (answer.status_code, json_of(answer)["code"]) == (400, "invalid")
    assert set(json_of(answer)["details"]) == {name}


@cases(
    "data",
    [b"no image", jpeg((300, 200))[:-400], png((300, 200))[:-400], encode(picture(), "GIF"), encode(picture(), "TIFF")],
)
def test_what_is_no_whole_jpeg_or_png_is_415(app: Flask, device: FlaskClient, form_fill: FormFill, data: bytes) -> None:
    answer = upload(device, form_fill, data)
    assert (answer.status_code, answer.json["error"]) == (415, "File must be an image")
    assert answer.json["code"] == "unsupported_media_type"
    assert files_in(app) == []


@cases(
    ("data", "reason"),
    [
        (b"\0\0\0\x24ftypheic\0\0\0\0mif1heic", "it is HEIC. Set the camera to “Most Compatible” (JPEG)"),
        (png()[:60] + png()[70:], "it is truncated."),
        (jpeg().replace(b"\xff\xc0", b"\xff\xc9"), "it is an arithmetic-coded JPEG."),
    ],
)
def test_the_message_says_why_a_file_is_no_image_and_names_no_library(
    device: FlaskClient, form_fill: FormFill, data: bytes, reason: str
) -> None:
    answer = upload(device, form_fill, data)
    assert (answer.status_code, answer.json["error"]) == (415, "File must be an image")
    assert reason in answer.json["message"]


def test_a_photo_without_its_last_bytes_is_stored_with_a_warning(
    app: Flask, device: FlaskClient, form_fill: FormFill
) -> None:
    data = encode(Image.effect_noise((320, 240), 80))[:-60]
    for _ in range(2):
        answer = upload(device, form_fill, data, local_id="up-1")
        assert (answer.status_code, answer.json["warning"]) == (200, END_IS_MISSING)
    assert [file.read_bytes() for file in files_in(app)] == [data]
    assert "warning" not in upload(device, form_fill).json


class TestLimits:
    @pytest.fixture
    def environment(self, environment: dict[str, str]) -> dict[str, str]:
        return environment | {"FIELDPOST_MAX_PHOTO_BYTES": str(2 * 2**20), "FIELDPOST_MAX_PHOTO_PIXELS": "100000"}

    def test_a_photo_over_the_limit_is_413(self, app: Flask, device: FlaskClient, form_fill: FormFill) -> None:
        for size in (2 * 2**20 + 1, 3 * 2**20):
            answer = upload(device, form_fill, jpeg().ljust(size, b"\0"))
            assert (answer.status_code, answer.json["error"]) == (413, "File too large (max 2MB)")
            assert (answer.json["limit"], answer.json["code"]) == (2 * 2**20, "too_large")
        assert files_in(app) == []

    def test_a_photo_at_the_limit_is_taken(self, device: FlaskClient, form_fill: FormFill) -> None:
        assert upload(device, form_fill, jpeg().ljust(2 * 2**20, b"\0")).status_code == 200

    def test_too_many_pixels_are_413(self, device: FlaskClient, form_fill: FormFill) -> None:
        answer = upload(device, form_fill, jpeg((400, 300)))
        assert (answer.status_code, answer.json["error"]) == (413, "File too large (max 2MB)")
        assert "It has 400 × 300 pixels, and 100000 are allowed." in answer.json["message"]
        assert answer.json["limit"] == 100000


@pytest.mark.parametrize("filler", [b"\n", b"\r", b"\r\n", b"\r\n--", b"-"])
def test_bytes_that_may_begin_a_boundary_do_not_hold_a_photo_up(
    app: Flask, device: FlaskClient, form_fill: FormFill, filler: bytes
) -> None:
    """Werkzeug's parser keeps them until it has seen more, and counts them against its limit on text."""
    data = jpeg() + filler * (1_000_000 // len(filler))
    assert upload(device, form_fill, data).status_code == 200
    assert [each.read_bytes() for each in files_in(app)] == [data]


def test_the_limit_of_the_contract_is_the_default(device: FlaskClient, form_fill: FormFill) -> None:
    answer = upload(device, form_fill, jpeg().ljust(10_485_761, b"\0"))
    assert (answer.status_code, answer.json["error"]) == (413, "File too large (max 10MB)")


def test_a_full_disk_is_503_and_nothing_is_recorded(
    world: World, device: FlaskClient, form_fill: FormFill, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(_descriptor: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr("app.attachments.storage.local.os.fsync", full)
    answer = upload(device, form_fill)
    assert (answer.status_code, answer.json["code"]) == (503, "try_again")
    assert answer.headers["Retry-After"]
    assert world.all(Attachment) == []
    monkeypatch.undo()
    assert upload(device, form_fill).status_code == 200


def test_rights_lost_while_the_image_was_verified_are_noticed_under_the_lock(
    app: Flask,
    world: World,
    device: FlaskClient,
    form_fill: FormFill,
    inspection: Inspection,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    real = verify

    def verify_and_lose_rights(data: bytes, limit: int, wait: float) -> Any:
        with app.app_context(), writing(db.engine) as connection:
            connection.execute(db.update(Inspection).values(assignee_id=None))
        return real(data, limit, wait)

    monkeypatch.setattr(module, "verify", verify_and_lose_rights)
    assert upload(device, form_fill).status_code == 403
    assert files_in(app) == []


def test_a_retry_whose_rights_are_lost_meanwhile_shows_nothing_of_the_photo(
    app: Flask, device: FlaskClient, form_fill: FormFill, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = upload(device, form_fill, local_id="up-1").json
    real = verify

    def verify_and_lose_rights(data: bytes, limit: int, wait: float) -> Any:
        with app.app_context(), writing(db.engine) as connection:
            connection.execute(db.update(Inspection).values(assignee_id=None))
        return real(data, limit, wait)

    monkeypatch.setattr(module, "verify", verify_and_lose_rights)
    retry = upload(device, form_fill, local_id="up-1").json
    assert (retry["replayed"], retry["photo_attachment_id"]) == (True, first["photo_attachment_id"])
    assert retry["data"] is None
