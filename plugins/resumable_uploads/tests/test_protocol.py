"""The requirements of tus 1.0.0, header by header."""

from __future__ import annotations

import hashlib
from base64 import b64encode
from email.utils import parsedate_to_datetime
from typing import Any

import pytest
from conftest import UPLOADS, Clock, Device, photo
from flask import Flask

METHODS = ("HEAD", "GET", "PATCH", "DELETE")


def test_options_tell_what_is_spoken(device: Device) -> None:
    for url in (UPLOADS, device.start(10)):
        answer = device.call("OPTIONS", url, Tus_Resumable=None)
        assert answer.status_code == 204
        assert answer.headers["Tus-Resumable"] == answer.headers["Tus-Version"] == "1.0.0"
        assert answer.headers["Tus-Extension"] == "creation,creation-with-upload,expiration,checksum,termination"
        assert answer.headers["Tus-Max-Size"] == "10485760"
        assert answer.headers["Tus-Checksum-Algorithm"] == "sha1,sha256"


def test_clients_learn_of_it_before_they_sign_in(app: Flask) -> None:
    answer: Any = app.test_client().get("/api/v1/").json
    assert answer["abilities"]["resumable_uploads"] is True


def test_an_upload_is_created_and_asked_for(device: Device, clock: Clock) -> None:
    answer = device.create(1000)
    assert answer.status_code == 201
    assert answer.headers["Location"].startswith(f"{UPLOADS}/")
    assert answer.headers["Upload-Offset"] == "0"
    lifetime = parsedate_to_datetime(answer.headers["Upload-Expires"]) - clock()
    assert lifetime.total_seconds() == 48 * 3600
    answer = device.call("HEAD", answer.headers["Location"])
    assert answer.status_code == 200
    assert answer.headers["Upload-Offset"] == "0"
    assert answer.headers["Upload-Length"] == "1000"
    assert answer.headers["Upload-Metadata"] == device.metadata()
    assert answer.headers["Cache-Control"] == "no-store"
    assert "Fieldpost-Attachment-Id" not in answer.headers


def test_what_is_under_way_is_told_as_json_too(device: Device) -> None:
    url = device.start(1000)
    device.add(url, 0, b"abc")
    data = device.call("GET", url, Tus_Resumable=None).json["data"]
    assert data == {
        "id": url.rpartition("/")[2],
        "byte_size": 1000,
        "offset": 3,
        "expires_at": data["expires_at"],
    }


@pytest.mark.parametrize("method", ["POST", "HEAD", "PATCH", "DELETE"])
@pytest.mark.parametrize("version", [None, "0.2.2", "2.0.0"])
def test_another_version_of_tus_is_412_and_this_one_is_named(device: Device, method: str, version: str | None) -> None:
    url = UPLOADS if method == "POST" else device.start(10)
    answer = device.call(method, url, Tus_Resumable=version, Upload_Length=10, Upload_Metadata=device.metadata())
    assert answer.status_code == 412
    assert answer.headers["Tus-Version"] == "1.0.0"
    if method != "HEAD":
        assert answer.json["code"] == "wrong_tus_version"


@pytest.mark.parametrize("method", METHODS)
def test_somebody_elses_upload_is_not_there(device: Device, stranger: Device, method: str) -> None:
    url = device.start(10)
    headers = {"Content_Type": "application/offset+octet-stream", "Upload_Offset": 0} if method == "PATCH" else {}
    assert stranger.call(method, url, b"abc" if method == "PATCH" else b"", **headers).status_code == 404
    assert device.offset(url) == 0


@pytest.mark.parametrize("method", ["POST", "OPTIONS", *METHODS])
def test_nobody_gets_anywhere_without_a_token(device: Device, method: str) -> None:
    url = UPLOADS if method == "POST" else device.start(10)
    device.client.environ_base.pop("HTTP_AUTHORIZATION")
    answer = device.call(method, url, Upload_Length=10, Upload_Metadata=device.metadata())
    assert answer.status_code == 401
    if method != "HEAD":
        assert answer.json["code"] == "token_missing"


@pytest.mark.parametrize("kind", [None, "application/octet-stream", "image/jpeg", "multipart/form-data"])
def test_bytes_of_another_type_are_415(device: Device, kind: str | None) -> None:
    url = device.start(10)
    answer = device.call("PATCH", url, b"abc", Upload_Offset=0, Content_Type=kind)
    assert answer.status_code == 415
    assert answer.json["code"] == "unsupported_media_type"
    assert device.add(url, 0, b"abc", Content_Encoding="gzip").status_code == 415
    assert device.offset(url) == 0


def test_bytes_from_another_offset_are_409_and_not_kept(device: Device) -> None:
    url = device.start(10)
    device.add(url, 0, b"abc")
    for offset in (0, 2, 4, 10):
        answer = device.add(url, offset, b"xyz")
        assert answer.status_code == 409
        assert answer.json["code"] == "offset_conflict"
    assert device.offset(url) == 3


def test_more_than_was_announced_is_413(device: Device) -> None:
    url = device.start(10)
    answer = device.add(url, 0, bytes(11))
    assert answer.status_code == 413
    assert answer.json["limit"] == 10
    assert device.offset(url) == 0


@pytest.mark.parametrize(
    ("headers", "status", "code"),
    [
        ({"Upload_Length": None}, 400, "invalid"),
        ({"Upload_Length": "-1"}, 400, "invalid"),
        ({"Upload_Length": "many"}, 400, "invalid"),
        ({"Upload_Length": "0"}, 400, "invalid"),
        ({"Upload_Length": None, "Upload_Defer_Length": "1"}, 400, "invalid"),
        ({"Upload_Length": 10 * 1024 * 1024 + 1}, 413, "too_large"),
        ({"Upload_Metadata": None}, 400, "invalid"),
        ({"Upload_Metadata": "form_fill_id ???"}, 400, "invalid"),
        ({"Upload_Metadata": "form_fill_id MQ==,form_fill_id MQ=="}, 400, "invalid"),
        ({"Upload_Metadata": "form_fill_id MQ=="}, 400, "invalid"),
        ({"Upload_Metadata": "note " + 5000 * "A"}, 400, "invalid"),
        ({"Upload_Metadata": "form_fill_id MQ==,field_name eA==,kind dmlkZW8="}, 400, "invalid"),
        ({"Upload_Metadata": "form_fill_id OTk5OTk5,field_name eA=="}, 404, "not_found"),
    ],
)
def test_an_announcement_that_cannot_be_is_refused_with_a_sentence(
    device: Device, headers: dict[str, Any], status: int, code: str
) -> None:
    answer = device.call("POST", UPLOADS, **{"Upload_Length": 10, "Upload_Metadata": device.metadata(), **headers})
    assert (answer.status_code, answer.json["code"]) == (status, code), answer.text
    assert answer.json.keys() >= {"success", "error", "message", "request_id"}


@pytest.mark.parametrize("offset", [None, "", "-1", "1.5", "9" * 16])
def test_an_offset_that_is_none_is_400(device: Device, offset: str | None) -> None:
    assert device.add(device.start(10), 0, b"abc", Upload_Offset=offset).status_code == 400


@pytest.mark.parametrize("algorithm", ["sha1", "sha256"])
def test_bytes_with_the_right_checksum_are_kept_and_with_a_wrong_one_they_are_not(
    device: Device, algorithm: str
) -> None:
    url = device.start(10)
    right = b64encode(hashlib.new(algorithm, b"abc").digest()).decode()
    answer = device.add(url, 0, b"abd", Upload_Checksum=f"{algorithm} {right}")
    assert answer.status_code == 460
    assert (answer.json["code"], answer.json["retryable"]) == ("checksum_mismatch", True)
    assert device.offset(url) == 0
    assert device.add(url, 0, b"abc", Upload_Checksum=f"{algorithm} {right}").headers["Upload-Offset"] == "3"


@pytest.mark.parametrize("checksum", ["crc32 AAAA", "sha1", "sha1 ???", "sha256 AAAA", ""])
def test_a_checksum_that_cannot_be_read_is_400(device: Device, checksum: str) -> None:
    url = device.start(10)
    assert device.add(url, 0, b"abc", Upload_Checksum=checksum).status_code == 400
    assert device.offset(url) == 0


def test_a_photo_may_come_with_its_announcement_whole_or_in_part(device: Device) -> None:
    data = photo()
    answer = device.create(len(data), data[:500])
    assert (answer.status_code, answer.headers["Upload-Offset"]) == (201, "500")
    assert device.add(answer.headers["Location"], 500, data[500:]).headers["Fieldpost-Attachment-Id"]
    data = photo()
    answer = device.create(len(data), data)
    assert (answer.status_code, answer.headers["Upload-Offset"]) == (201, str(len(data)))
    assert answer.headers["Fieldpost-Attachment-Id"]


def test_an_announcement_whose_bytes_are_refused_leaves_nothing(device: Device) -> None:
    answer = device.create(10, b"no image..")
    assert answer.status_code == 415
    assert "Location" not in answer.headers
    metadata = device.metadata()
    answer = device.call("POST", UPLOADS, b"abc", Upload_Length=10, Upload_Metadata=metadata, Content_Type="text/plain")
    assert answer.status_code == 415
    # All that may be pending is still free.
    for _ in range(2):
        assert device.create(10 * 1024 * 1024).status_code == 201


def test_clients_that_cannot_send_patch_send_post(device: Device) -> None:
    url, headers = device.start(10), {"Content_Type": "application/offset+octet-stream", "Upload_Offset": 0}
    answer = device.call("POST", url, b"abc", X_HTTP_Method_Override="PATCH", **headers)
    assert (answer.status_code, answer.headers["Upload-Offset"]) == (204, "3")
    assert device.call("POST", url, X_HTTP_Method_Override="PUT").status_code == 400
    assert device.call("POST", url, X_HTTP_Method_Override="DELETE").status_code == 204
    assert device.call("HEAD", url).status_code == 404


def test_a_page_of_a_named_origin_may_upload_and_read_the_answers(device: Device) -> None:
    origin = {"Origin": "https://app.example.com"}
    asked = {"Access-Control-Request-Method": "PATCH", "Access-Control-Request-Headers": "upload-offset,tus-resumable"}
    url = device.start(10)
    preflight = device.app.test_client().options(url, headers={**origin, **asked})
    assert preflight.status_code == 200
    assert "PATCH" in preflight.headers["Access-Control-Allow-Methods"]
    assert "upload-offset" in preflight.headers["Access-Control-Allow-Headers"].lower()
    answer = device.call("HEAD", url, **origin)
    assert answer.headers["Access-Control-Allow-Origin"] == "https://app.example.com"
    exposed = ",".join(answer.headers.getlist("Access-Control-Expose-Headers"))
    for name in ("Location", "Upload-Offset", "Fieldpost-Attachment-Id", "X-Request-ID"):
        assert name in exposed


def test_the_routes_stand_in_the_openapi_document(app: Flask) -> None:
    paths = app.test_client().get("/api/v1/openapi.json").json["paths"]  # type: ignore[index]
    assert paths[UPLOADS].keys() >= {"post"}
    found = paths[f"{UPLOADS}/{{upload_id}}"]
    assert found.keys() >= {"get", "patch", "delete"}
    assert found["patch"]["responses"].keys() >= {"204", "400", "409", "410", "412", "413", "415", "460"}
    assert {each["name"] for each in found["patch"]["parameters"]} >= {"Upload-Offset", "Tus-Resumable"}
