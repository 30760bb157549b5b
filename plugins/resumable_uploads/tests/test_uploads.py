"""An upload becomes the attachment that `upload_photo` would have made, exactly once, in spite of any failures."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial
from hashlib import sha256
from io import BytesIO
from types import SimpleNamespace
from typing import Any
from uuid import uuid4

import pytest
from conftest import Clock, Device, objects, photo
from fieldpost_resumable_uploads import uploads
from fieldpost_resumable_uploads.models import Part, ResumableUpload
from flask import Flask

from app.models import Attachment, LedgerOperation, db
from app.web import unit_of_work


def attachments(device: Device) -> list[Any]:
    """The live attachments of the device's form fill, as stored."""
    found = [each for each in device.world.all(Attachment) if each.form_fill_id == device.form_fill.id]
    return sorted((each for each in found if each.deleted_at is None), key=lambda each: each.position)


def parts(device: Device, url: str) -> list[Any]:
    return [each for each in device.world.all(Part) if each.upload_id == url.rpartition("/")[2]]


def columns(row: Any) -> dict[str, Any]:
    """A row without the values that always differ."""
    own = {"id", "storage_key", "position", "field_name"}
    return {each.name: getattr(row, each.name) for each in row.__table__.columns if each.name not in own}


def test_pieces_become_the_attachment_that_upload_photo_would_have_made(device: Device, app: Flask) -> None:
    data, before = photo(), objects(app)
    resumed = device.upload(data).headers["Fieldpost-Attachment-Id"]
    other = device.upload_photo(data, field="Other_Photo").json["photo_attachment_id"]
    rows = {each.id: each for each in attachments(device)}
    assert columns(rows[resumed]) == columns(rows[other])
    assert rows[resumed].sha256 == sha256(data).hexdigest()
    assert device.client.get(f"/api/v1/attachments/{resumed}").data == data
    assert objects(app) - before == {each.storage_key for each in rows.values()}, "no part is left behind"
    heads = {each.entity_id: each for each in device.world.all(LedgerOperation)}
    assert [(heads[each].type, heads[each].door) for each in (resumed, other)] == 2 * [("photo_upload", "upload")]


def test_without_room_nothing_is_announced_and_the_last_bytes_wait(
    device: Device, app: Flask, monkeypatch: pytest.MonkeyPatch
) -> None:
    data, settings = photo(), app.extensions["fieldpost.settings"]
    url = device.start(len(data))
    few = replace(settings, user_storage_bytes=len(data) - 1)
    monkeypatch.setitem(app.extensions, "fieldpost.settings", few)
    for answer in (device.create(len(data)), device.add(url, 0, data)):
        assert (answer.status_code, answer.json["code"]) == (507, "storage_full")
    assert device.offset(url) == 0
    enough = replace(settings, user_storage_bytes=len(data))
    monkeypatch.setitem(app.extensions, "fieldpost.settings", enough)
    assert device.add(url, 0, data).status_code == 204
    assert len(attachments(device)) == 1


def test_the_same_bytes_for_the_same_field_are_one_photo_whichever_way_they_came(device: Device) -> None:
    data = photo()
    first = device.upload_photo(data).json["photo_attachment_id"]
    assert device.upload(data).headers["Fieldpost-Attachment-Id"] == first
    assert device.upload(data).headers["Fieldpost-Attachment-Id"] == first
    assert len(attachments(device)) == 1


def test_a_local_id_means_the_same_upload_whichever_way_it_came_and_revives_nothing(device: Device) -> None:
    data, local_id = photo(), "6b1f3c1e-3d0c-4c52-8a52-0d5f4e1f0009"
    first = device.upload(data, local_id=local_id).headers["Fieldpost-Attachment-Id"]
    again = device.upload_photo(data, local_id=local_id).json
    assert (again["photo_attachment_id"], again["replayed"]) == (first, True)
    payload = {"form_fill_id": device.form_fill.id, "field_name": "Riser_Photo", "photo_attachment_id": first}
    item = {"type": "photo_delete", "local_id": "gone", "data": payload}
    assert device.client.post("/api/v1/sync", json={"sync_items": [item]}).json["results"]["success"]
    url = device.start(len(data), local_id=local_id)
    assert device.add(url, 0, data).headers["Fieldpost-Attachment-Id"] == first
    assert device.call("GET", url).json["deleted"] is True
    assert attachments(device) == []


def test_a_form_fill_may_be_named_by_its_client_id(device: Device) -> None:
    device.form_fill = device.world.form_fill(device.inspection, client_id=str(uuid4()))
    device.upload(photo(), form_fill_id=device.form_fill.client_id.upper())
    assert len(attachments(device)) == 1


def test_a_signature_replaces_the_fields_signature(device: Device) -> None:
    first, second = (device.upload(photo(), kind="signature", field_name="Signature") for _ in range(2))
    assert first.headers["Fieldpost-Attachment-Id"] != second.headers["Fieldpost-Attachment-Id"]
    (row,) = attachments(device)
    assert (row.id, row.kind) == (second.headers["Fieldpost-Attachment-Id"], "signature")


def test_the_answer_to_the_last_bytes_can_be_had_again(device: Device) -> None:
    data = photo()
    url = device.start(len(data))
    photo_id = device.add(url, 0, data).headers["Fieldpost-Attachment-Id"]
    answer = device.call("HEAD", url)
    assert answer.headers["Upload-Offset"] == answer.headers["Upload-Length"] == str(len(data))
    assert answer.headers["Fieldpost-Attachment-Id"] == photo_id
    # tuspy goes on with nothing at the end.
    answer = device.add(url, len(data), b"")
    assert (answer.status_code, answer.headers["Fieldpost-Attachment-Id"]) == (204, photo_id)
    body, direct = device.call("GET", url).json, device.upload_photo(data).json
    assert {name: body[name] for name in direct} == direct
    # And bytes sent twice are not taken twice.
    assert device.add(url, 0, data).status_code == 409
    assert len(attachments(device)) == 1


def test_what_arrived_before_a_break_is_kept_and_never_more_than_was_sent(device: Device) -> None:
    data = photo((640, 480))
    url, half = device.start(len(data)), len(data) // 2
    # As gunicorn hands on a body whose connection broke.
    broken = {"wsgi.input": BytesIO(data[:half]), "wsgi.input_terminated": True}
    headers = {"Tus-Resumable": "1.0.0", "Upload-Offset": "0", "Content-Type": "application/offset+octet-stream"}
    answer = device.client.patch(url, headers=headers, environ_overrides={**broken, "CONTENT_LENGTH": str(len(data))})
    assert (answer.status_code, answer.headers["Upload-Offset"]) == (204, str(half))
    assert device.add(url, half, data[half:]).headers["Fieldpost-Attachment-Id"]
    assert device.client.get(f"/api/v1/attachments/{attachments(device)[0].id}").data == data


def test_a_body_that_takes_too_long_is_answered_with_what_has_arrived(device: Device) -> None:
    url = device.start(10)
    headers = {"Tus-Resumable": "1.0.0", "Upload-Offset": "0", "Content-Type": "application/offset+octet-stream"}
    # As the server hands on the body of a client that it has given up.
    slow = {"gunicorn.socket": SimpleNamespace(is_too_slow=True), "wsgi.input_terminated": True, "CONTENT_LENGTH": "10"}
    some = {**slow, "wsgi.input": BytesIO(b"012345")}
    answer = device.client.patch(url, headers=headers, environ_overrides=some)
    assert (answer.status_code, answer.headers["Upload-Offset"]) == (204, "6")
    headers["Upload-Offset"] = "6"
    nothing = {**slow, "wsgi.input": BytesIO(b""), "CONTENT_LENGTH": "4"}
    answer = device.client.patch(url, headers=headers, environ_overrides=nothing)
    assert (answer.status_code, answer.json["code"]) == (408, "too_slow")
    assert device.offset(url) == 6


def test_of_a_broken_body_with_a_checksum_nothing_is_kept(device: Device) -> None:
    url = device.start(10)
    headers = {
        "Tus-Resumable": "1.0.0",
        "Upload-Offset": "0",
        "Content-Type": "application/offset+octet-stream",
        "Upload-Checksum": "sha1 qZk+NkcGgWq6PiVxeFDCbJzQ2J0=",
    }
    broken = {"wsgi.input": BytesIO(b"ab"), "wsgi.input_terminated": True, "CONTENT_LENGTH": "3"}
    answer = device.client.patch(url, headers=headers, environ_overrides=broken)
    assert (answer.status_code, answer.json["code"]) == (400, "bad_json")
    assert device.offset(url) == 0


def test_many_small_pieces_are_joined(device: Device, app: Flask, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(uploads, "PART_BYTES", 1000)
    monkeypatch.setattr("fieldpost_resumable_uploads.routes.intake.PART_BYTES", 1000)
    data, before = photo((640, 480)), objects(app)
    url = device.start(len(data))
    for offset in range(0, 3000, 100):
        assert device.add(url, offset, data[offset : offset + 100]).status_code == 204
    assert [each.byte_size for each in parts(device, url)] == [1000, 1000, 1000]
    assert len(objects(app) - before) == 3
    # A long body is kept piece by piece as it arrives.
    assert device.add(url, 3000, data[3000:-1]).status_code == 204
    assert device.add(url, len(data) - 1, data[-1:]).headers["Fieldpost-Attachment-Id"]
    assert attachments(device)[0].sha256 == sha256(data).hexdigest()


def test_who_may_is_asked_at_the_beginning_and_again_at_the_end(device: Device, stranger: Device) -> None:
    data = photo()
    answer = stranger.create(len(data), form_fill_id=device.form_fill.id)
    assert (answer.status_code, answer.json["error"]) == (403, "Not authorized to update this form")
    url = device.start(len(data))
    device.add(url, 0, data[:100])
    assign(device, stranger.user.id)
    answer = device.add(url, 100, data[100:])
    assert (answer.status_code, answer.json["error"]) == (403, "Not authorized to update this form")
    assert attachments(device) == []
    # The bytes that had arrived are still there, in case the rights come back.
    assign(device, device.user.id)
    assert device.add(url, device.offset(url), data[100:]).headers["Fieldpost-Attachment-Id"]


def test_what_is_no_image_is_told_at_the_end_again_and_again(device: Device, app: Flask) -> None:
    data, before = photo()[:-2000], objects(app)
    url = device.start(len(data))
    device.add(url, 0, data[:100])
    for _ in range(2):
        answer = device.add(url, 100, data[100:])
        assert (answer.status_code, answer.json["error"]) == (415, "File must be an image")
        assert device.offset(url) == 100
    assert device.call("DELETE", url).status_code == 204
    assert device.call("HEAD", url).status_code == 404
    assert objects(app) == before
    assert attachments(device) == []


def test_deleting_a_complete_upload_leaves_the_attachment(device: Device) -> None:
    data = photo()
    url = device.start(len(data))
    device.add(url, 0, data)
    assert device.call("DELETE", url).status_code == 204
    assert len(attachments(device)) == 1


def test_only_so_much_may_be_pending(device: Device, clock: Clock) -> None:
    data = photo()
    urls = [device.start(10_000_000) for _ in range(2)]
    answer = device.create(2_000_000)
    assert (answer.status_code, answer.json["code"], answer.json["limit"]) == (429, "too_many_uploads", 21_000_000)
    assert answer.json["retryable"] is True
    assert int(answer.headers["Retry-After"]) > 0
    device.upload(data)
    device.upload(photo())
    device.call("DELETE", urls[0])
    device.start(10_000_000)
    clock.forward(hours=48)
    assert device.create(10_000_000).status_code == 201, "what has expired does not count"


def test_small_uploads_count_too(device: Device) -> None:
    device.start(10_000_000)
    device.start(10_000_000)
    statuses = [device.create(1).status_code for _ in range(16)]
    assert statuses == [201] * 15 + [429], "1 000 000 bytes are left, and each takes 65 536"


def test_an_abandoned_upload_expires_and_is_collected(device: Device, app: Flask, clock: Clock) -> None:
    before = objects(app)
    url, data = device.start(1000), photo()
    device.upload(data)
    clock.forward(hours=47)
    assert device.add(url, 0, b"abc").status_code == 204, "each piece lets it live on"
    clock.forward(hours=47)
    assert device.offset(url) == 3
    clock.forward(hours=1)
    for answer in (device.call("GET", url), device.add(url, 3, b"def")):
        assert (answer.status_code, answer.json["code"]) == (410, "upload_expired")
    output = app.test_cli_runner().invoke(args=["storage", "gc"]).output
    assert "resumable_uploads: removed " in output
    assert device.call("HEAD", url).status_code == 404
    assert device.world.all(ResumableUpload) == device.world.all(Part) == []
    assert objects(app) - before == {each.storage_key for each in attachments(device)}
    assert app.test_cli_runner().invoke(args=["maintenance"]).output.count("plugin resumable_uploads: removed 0") == 1


def test_the_uploads_of_an_erased_person_are_removed(device: Device, app: Flask) -> None:
    device.add(device.start(1000), 0, b"abc")
    runner, arguments = app.test_cli_runner(), ["privacy", "erase", device.user.email, "--yes"]
    assert "plugin resumable_uploads: removed 1\n" in runner.invoke(args=arguments).output
    assert device.world.all(ResumableUpload) == device.world.all(Part) == []


def test_the_parts_of_a_living_upload_are_no_orphans(
    device: Device, app: Flask, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = device.start(1000)
    device.add(url, 0, b"abc")
    (part,) = parts(device, url)
    runner = app.test_cli_runner()
    # Old enough to be collected, were it nobody's.
    monkeypatch.setattr("app.attachments.upkeep.now", lambda: datetime(2100, 1, 1, tzinfo=UTC))
    assert part.storage_key not in runner.invoke(args=["storage", "check"]).output
    assert part.storage_key not in runner.invoke(args=["storage", "gc"]).output
    assert device.offset(url) == 3
    with app.app_context():
        unit_of_work(lambda _: db.session.execute(db.delete(Part)))
    assert f"{part.storage_key}: without a row" in runner.invoke(args=["storage", "check"]).output
    assert f"removed {part.storage_key}" in runner.invoke(args=["storage", "gc"]).output


def test_an_upload_whose_parts_are_lost_has_expired(device: Device, app: Flask) -> None:
    data = photo()
    for rest in (data[100:], data[100:200]):
        url = device.start(len(data))
        device.add(url, 0, data[:100])
        app.extensions["fieldpost.storage"].delete(parts(device, url)[0].storage_key)
        answer = device.add(url, 100, rest)
        assert (answer.status_code, answer.json["code"]) == (410, "upload_expired")
        assert device.call("HEAD", url).status_code == 404


def test_two_requests_at_once_do_not_mix_their_bytes(device: Device, app: Flask) -> None:
    url, sent = device.start(1_000_000), [bytes([number]) * 300_000 for number in range(3)]
    answers = at_once([partial(device.add, url, 0, each) for each in sent])
    assert sorted(each.status_code for each in answers) == [204, 409, 409], [each.text for each in answers]
    won = next(each for each, answer in zip(sent, answers, strict=True) if answer.status_code == 204)
    (part,) = parts(device, url)
    assert b"".join(app.extensions["fieldpost.storage"].open(part.storage_key)) == won


def test_the_last_bytes_sent_many_times_at_once_make_one_attachment(device: Device) -> None:
    data = photo()
    url = device.start(len(data))
    device.add(url, 0, data[:-1])
    answers = at_once(4 * [lambda: device.add(url, len(data) - 1, data[-1:])])
    statuses = sorted(each.status_code for each in answers)
    assert statuses == [204, 409, 409, 409], [each.text for each in answers]
    (row,) = attachments(device)
    uploads_recorded = [each for each in device.world.all(LedgerOperation) if each.entity_id == row.id]
    assert len(uploads_recorded) == 1
    assert device.call("HEAD", url).headers["Fieldpost-Attachment-Id"] == row.id


def at_once(calls: Any) -> list[Any]:
    """The answers to calls that start together."""
    barrier = threading.Barrier(len(calls))

    def call(each: Any) -> Any:
        barrier.wait(timeout=30)
        return each()

    with ThreadPoolExecutor(len(calls)) as threads:
        return list(threads.map(call, calls))


def assign(device: Device, assignee_id: int) -> None:
    """The office gives the inspection to somebody."""
    with device.app.app_context():
        statement = (
            db.update(type(device.inspection))
            .where(type(device.inspection).id == device.inspection.id)
            .values(assignee_id=assignee_id)
        )
        unit_of_work(lambda _: db.session.execute(statement))
