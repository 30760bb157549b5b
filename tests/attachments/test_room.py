"""Quotas of storage, for a user and for the whole site (contract, section 4)."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from app.attachments.parts import OTHER_PARTS_BYTES
from app.models import Attachment, FormFill, User
from app.testing import push, statements_of
from tests.attachments.conftest import files_in, upload
from tests.conftest import SettableClock, SignIn, World
from tests.support.answers import json_of
from tests.support.pictures import jpeg

#: Four photos of different bytes, each of the size of the first, or a little less.
RED, GREEN, BLUE, WHITE = (jpeg(colour=colour) for colour in ("red", "green", "blue", "white"))
LARGEST = max(map(len, (RED, GREEN, BLUE, WHITE)))


def limit(app: Flask, **settings: Any) -> None:
    """Set quotas of this test's application."""
    app.extensions["fieldpost.settings"] = replace(app.extensions["fieldpost.settings"], **settings)


def assert_full(answer: TestResponse, limit: int, words: str) -> None:
    assert answer.status_code == 507, answer.text
    body = json_of(answer)
    assert (body["code"], body["retryable"], body["limit"]) == ("storage_full", True, limit)
    assert words in body["error"]
    assert "send the same request again" in body["message"]


def test_without_a_quota_nothing_is_asked(app: Flask, device: FlaskClient, form_fill: FormFill) -> None:
    upload(device, form_fill, RED)
    with statements_of(app) as statements:
        upload(device, form_fill, GREEN)
    assert not [each for each in statements if "sum(" in each.lower()]


def test_a_user_s_quota_refuses_what_goes_beyond_it_and_no_one_else(
    app: Flask, world: World, device: FlaskClient, other: FlaskClient, form_fill: FormFill
) -> None:
    most = 2 * LARGEST
    limit(app, user_storage_bytes=most)
    assert [upload(device, form_fill, data).status_code for data in (RED, GREEN)] == [200, 200]
    assert_full(upload(device, form_fill, BLUE), most, "Your photos")
    assert len(world.all(Attachment)) == len(files_in(app)) == 2
    assert upload(other, form_fill, WHITE).status_code == 200


def test_what_is_stored_already_is_answered_as_before(app: Flask, device: FlaskClient, form_fill: FormFill) -> None:
    limit(app, user_storage_bytes=LARGEST)
    first = json_of(upload(device, form_fill, RED, local_id="1"))
    assert_full(upload(device, form_fill, GREEN, local_id="2"), LARGEST, "Your photos")
    again = json_of(upload(device, form_fill, RED, local_id="1"))
    assert (again["replayed"], again["photo_attachment_id"]) == (True, first["photo_attachment_id"])
    assert json_of(upload(device, form_fill, RED))["photo_attachment_id"] == first["photo_attachment_id"]


def test_the_site_s_quota_is_everybody_s(
    app: Flask, device: FlaskClient, other: FlaskClient, form_fill: FormFill
) -> None:
    most = 2 * LARGEST
    limit(app, site_storage_bytes=most)
    assert upload(device, form_fill, RED).status_code == 200
    assert upload(other, form_fill, GREEN).status_code == 200
    assert_full(upload(device, form_fill, BLUE), most, "Photos take all the room")


def test_a_deleted_photo_gives_its_room_back_once_its_bytes_may_be_collected(
    app: Flask, device: FlaskClient, form_fill: FormFill, tech: User, sign_in: SignIn, clock: SettableClock
) -> None:
    limit(app, user_storage_bytes=LARGEST, site_storage_bytes=LARGEST, deleted_attachment_days=30)
    assert upload(device, form_fill, RED).status_code == 200
    data = {"form_fill_id": form_fill.id, "field_name": "Riser_Photo"}
    assert push(device, {"type": "photo_delete", "local_id": "d", "data": data})["success"]
    assert upload(device, form_fill, GREEN).status_code == 507
    clock.forward(days=30)
    assert upload(sign_in(tech), form_fill, GREEN).status_code == 200


def test_a_body_for_which_there_is_no_room_is_not_read(
    app: Flask, device: FlaskClient, form_fill: FormFill, monkeypatch: pytest.MonkeyPatch
) -> None:
    limit(app, user_storage_bytes=LARGEST)
    monkeypatch.setattr("app.attachments.upload.received_upload", _read)
    answer = upload(device, form_fill, RED + bytes(OTHER_PARTS_BYTES))
    assert_full(answer, LARGEST, "Your photos")


@pytest.mark.parametrize("name", ["user_storage_bytes", "site_storage_bytes"])
def test_the_statements_of_an_upload_do_not_depend_on_how_much_there_is(
    app: Flask, device: FlaskClient, form_fill: FormFill, clock: SettableClock, name: str
) -> None:
    limit(app, **{name: 100 * LARGEST})
    taken = []
    for data in (RED, GREEN, BLUE):
        clock.forward(minutes=2)
        with statements_of(app) as statements:
            assert upload(device, form_fill, data).status_code == 200
        taken.append(len(statements))
    assert taken[1] == taken[2]


@pytest.mark.database("sqlite")
def test_the_command_line_and_the_metrics_tell_how_much_room_is_taken(
    app: Flask, device: FlaskClient, form_fill: FormFill, tech: User
) -> None:
    limit(app, user_storage_bytes=2**20, site_storage_bytes=2 * LARGEST, metrics_token="t" * 32)
    for data in (RED, GREEN):
        upload(device, form_fill, data)
    runner = app.test_cli_runner()
    used = runner.invoke(args=["storage", "use"])
    assert used.exit_code == 0, used.exc_info
    assert used.output.splitlines() == [
        f"{tech.email}: 0.0 MiB of 1.0 MiB in 2 images",
        "all users: 0.0 MiB of 0.0 MiB in 2 images",
    ]
    taken = (len(RED) + len(GREEN)) / (2 * LARGEST)
    checked = runner.invoke(args=["check"]).output
    assert f"look at room for photos: {taken:.0%} of FIELDPOST_SITE_STORAGE_BYTES is used" in checked
    told = app.test_client().get("/metrics", headers={"Authorization": f"Bearer {'t' * 32}"}).text
    (line,) = [line for line in told.splitlines() if line.startswith("fieldpost_site_storage_used_ratio ")]
    assert float(line.split()[1]) == pytest.approx(taken)


def _read(*_: object) -> Any:
    raise AssertionError("the body was read")
