"""The manifest of a form fill, and the proof that photos arrived (contract, section 7)."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from io import BytesIO
from typing import Any

import pytest
from flask.testing import FlaskClient

from app.models import FormFill, User
from app.testing import push
from tests.api.conftest import API
from tests.conftest import SignIn, World
from tests.support.answers import json_of
from tests.support.cases import cases
from tests.support.pictures import jpeg

CLIENT_ID = "6b1f3c1e-3d0c-4c52-8a52-0d5f4e1f0003"
VERIFY = f"{API}/sync/verify_attachments"


@pytest.fixture
def form_fill(world: World, tech: User) -> FormFill:
    return world.form_fill(world.inspection(tech), client_id=CLIENT_ID)


def upload(client: FlaskClient, form_fill: FormFill, content: bytes, field_name: str = "Riser_Photo") -> str:
    form = {"form_fill_id": str(form_fill.id), "field_name": field_name, "photo": (BytesIO(content), "p.jpg")}
    answer = client.post(f"{API}/sync/upload_photo", data=form)
    assert answer.status_code == 200, answer.text
    return str(json_of(answer)["photo_attachment_id"])


def asked(form_fill_id: Any, content: bytes, field_name: str = "Riser_Photo") -> dict[str, Any]:
    return {"form_fill_id": form_fill_id, "field_name": field_name, "sha256": hashlib.sha256(content).hexdigest()}


def statuses(client: FlaskClient, *photos: dict[str, Any]) -> list[str]:
    answer = client.post(VERIFY, json=list(photos))
    assert answer.status_code == 200, answer.text
    found: Any = answer.json
    echoed = zip(found["data"]["attachments"], photos, strict=True)
    assert all(each.items() >= photo.items() for each, photo in echoed)
    return [each["status"] for each in found["data"]["attachments"]]


def delete(client: FlaskClient, form_fill: FormFill, attachment_id: str) -> None:
    data = {"form_fill_id": form_fill.id, "field_name": "Riser_Photo", "photo_attachment_id": attachment_id}
    assert push(client, {"type": "photo_delete", "local_id": attachment_id, "data": data})["success"]


def test_the_manifest_lists_what_proves_that_all_photos_arrived(device: FlaskClient, form_fill: FormFill) -> None:
    photos = [jpeg(colour=colour) for colour in ("red", "green", "blue")]
    ids = [upload(device, form_fill, each) for each in photos]
    delete(device, form_fill, ids[1])
    for key in (form_fill.id, CLIENT_ID, CLIENT_ID.upper()):
        found: Any = device.get(f"{API}/form_fills/{key}/attachments").json
        listed = found["data"]["attachments"]
        assert [each["id"] for each in listed] == [ids[0], ids[2]]
        assert [each["sha256"] for each in listed] == [hashlib.sha256(photos[each]).hexdigest() for each in (0, 2)]
        assert [each["byte_size"] for each in listed] == [len(photos[0]), len(photos[2])]


@cases("key", ["4711", "0", "6b1f3c1e-3d0c-4c52-8a52-0d5f4e1f9999"])
def test_no_manifest_of_what_is_not_there(device: FlaskClient, key: str) -> None:
    assert device.get(f"{API}/form_fills/{key}/attachments").status_code == 404


@cases("address", ["form_fills/x/attachments", f"form_fills/{'9' * 40}/attachments", "attachments/%00"])
def test_what_is_no_id_is_invalid(device: FlaskClient, address: str) -> None:
    answer: Any = device.get(f"{API}/{address}").json
    assert (answer["code"], list(answer["details"].values())) == ("invalid", [["Not a valid id."]])


def test_a_field_is_one_field_in_nfc_and_nfd(device: FlaskClient, form_fill: FormFill) -> None:
    upload(device, form_fill, photo := jpeg(colour="red"), "Gro\u0308\u00dfe")
    names = ("Gr\u00f6\u00dfe", "Gro\u0308\u00dfe")
    assert statuses(device, *(asked(form_fill.id, photo, name) for name in names)) == ["stored"] * 2
    shown: Any = device.get(f"{API}/form_fills/{form_fill.id}").json
    assert "Gr\u00f6\u00dfe_photo_attachment_id" in shown["data"]["form_fill"]["data"]


def test_an_id_may_be_a_number_of_any_kind_or_its_text(device: FlaskClient, form_fill: FormFill) -> None:
    upload(device, form_fill, photo := jpeg(colour="red"))
    keys = (form_fill.id, float(form_fill.id), str(form_fill.id), f"{form_fill.id}.0")
    answer: Any = device.post(VERIFY, json=[{**asked(form_fill.id, photo), "form_fill_id": key} for key in keys]).json
    assert [entry["status"] for entry in answer["data"]["attachments"]] == ["stored"] * 4
    assert device.get(f"{API}/form_fills/{form_fill.id}.0/attachments").status_code == 200


def test_each_photo_is_stored_missing_or_deleted(device: FlaskClient, form_fill: FormFill) -> None:
    kept, gone, never = (jpeg(colour=colour) for colour in ("red", "green", "blue"))
    upload(device, form_fill, kept)
    delete(device, form_fill, upload(device, form_fill, gone))
    photos = [asked(form_fill.id, each) for each in (kept, gone, never)]
    assert statuses(device, *photos) == ["stored", "deleted", "missing"]
    assert statuses(device, asked(CLIENT_ID, kept), asked(CLIENT_ID.upper(), gone)) == ["stored", "deleted"]
    assert statuses(device, asked(form_fill.id, kept, "Other_Photo")) == ["missing"]
    assert statuses(device, {**photos[0], "sha256": photos[0]["sha256"].upper()}) == ["stored"]
    upload(device, form_fill, gone)
    assert statuses(device, photos[1]) == ["stored"]
    assert statuses(device) == []


def test_what_one_may_not_see_is_missing(
    device: FlaskClient, form_fill: FormFill, sign_in: SignIn, stranger: User
) -> None:
    photo = jpeg()
    upload(device, form_fill, photo)
    assert statuses(sign_in(stranger), asked(form_fill.id, photo), asked(CLIENT_ID, photo)) == ["missing"] * 2


def test_any_number_of_photos_is_one_query(
    device: FlaskClient, form_fill: FormFill, count_statements: Callable[[Callable[[], Any]], int]
) -> None:
    photos = [asked(form_fill.id, str(each).encode()) for each in range(1000)]
    counts = [count_statements(lambda: statuses(device, *photos[:number])) for number in (1, 1000)]  # noqa: B023
    assert counts[0] == counts[1]


@cases(
    "body",
    [
        {}, "x", 1, [1], [[]], [{}], [{"form_fill_id": 1}],
        [{"form_fill_id": True, "field_name": "a", "sha256": "0" * 64}],
        [{"form_fill_id": 2**63, "field_name": "a", "sha256": "0" * 64}],
        [{"form_fill_id": 1, "field_name": "", "sha256": "0" * 64}],
        [{"form_fill_id": 1, "field_name": "a", "sha256": "0" * 63}],
        [{"form_fill_id": 1, "field_name": "a", "sha256": "0" * 64, "more": 1}],
    ],
)  # fmt: skip
def test_what_is_no_list_of_photos_is_refused(device: FlaskClient, body: Any) -> None:
    answer = device.post(VERIFY, json=body)
    assert answer.status_code == 400
    assert json_of(answer)["code"] in ("invalid", "bad_json")


def test_too_many_at_once_are_refused_with_the_limit(device: FlaskClient, form_fill: FormFill) -> None:
    answer = device.post(VERIFY, json=[asked(form_fill.id, b"x")] * 1001)
    assert (answer.status_code, json_of(answer)["code"]) == (413, "too_many_items")
    assert json_of(answer)["limit"] == 1000
