"""`GET /attachments/:id` (contract, section 4; RFC 9110)."""

from __future__ import annotations

from io import BytesIO

import pytest
from flask import Flask
from flask.testing import FlaskClient
from PIL import Image

from app.models import FormFill, Inspection
from tests.attachments.conftest import files_in, sync, upload
from tests.conftest import SignIn, World
from tests.pictures import jpeg, png

DATA = jpeg((800, 600))


@pytest.fixture
def url(device: FlaskClient, form_fill: FormFill) -> str:
    answer = upload(device, form_fill, DATA, filename="Steigleitung größe.jpg")
    return str(answer.json["data"]["url"])


def test_the_bytes_come_back_exactly_with_the_headers_of_the_contract(device: FlaskClient, url: str) -> None:
    answer = device.get(url)
    assert answer.status_code == 200
    assert answer.data == DATA
    assert answer.content_type == "image/jpeg"
    assert answer.content_length == len(DATA)
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    assert answer.headers["Cache-Control"].startswith("private")
    assert "gr%C3%B6%C3%9Fe.jpg" in answer.headers["Content-Disposition"]
    head = device.head(url)
    assert (head.status_code, head.data, head.headers["ETag"]) == (200, b"", answer.headers["ETag"])
    assert head.content_length == len(DATA)


def test_an_etag_that_is_known_is_304(device: FlaskClient, url: str) -> None:
    tag = device.head(url).headers["ETag"]
    answer = device.get(url, headers={"If-None-Match": tag})
    assert (answer.status_code, answer.data) == (304, b"")


@pytest.mark.parametrize(
    ("sent", "expected"),
    [("bytes=0-9", DATA[:10]), ("bytes=100-", DATA[100:]), ("bytes=-7", DATA[-7:]), ("bytes=5-999999", DATA[5:])],
)
def test_a_range_is_206(device: FlaskClient, url: str, sent: str, expected: bytes) -> None:
    answer = device.get(url, headers={"Range": sent})
    assert answer.status_code == 206
    assert answer.data == expected
    assert answer.content_length == len(expected)
    assert answer.headers["Content-Range"].endswith(f"/{len(DATA)}")


def test_a_range_beyond_the_end_is_416_as_json(device: FlaskClient, url: str) -> None:
    answer = device.get(url, headers={"Range": f"bytes={len(DATA)}-"})
    assert answer.status_code == 416
    assert answer.json["code"] == "range_not_satisfiable"


def test_a_range_of_another_version_answers_the_whole(device: FlaskClient, url: str) -> None:
    answer = device.get(url, headers={"Range": "bytes=0-9", "If-Range": '"other"'})
    assert (answer.status_code, answer.data) == (200, DATA)


def test_a_thumbnail_is_a_small_jpeg_and_is_kept(app: Flask, device: FlaskClient, form_fill: FormFill) -> None:
    url = upload(device, form_fill, png((3000, 1500))).json["data"]["url"]
    answers = [device.get(url, query_string={"variant": "thumbnail"}) for _ in range(2)]
    assert answers[0].data == answers[1].data
    assert answers[0].content_type == "image/jpeg"
    with Image.open(BytesIO(answers[0].data)) as image:
        assert (image.format, image.size) == ("JPEG", (1024, 512))
    assert answers[0].headers["ETag"] != device.head(url).headers["ETag"]
    assert len(files_in(app)) == 2
    again = device.get(f"{url}?variant=thumbnail", headers={"If-None-Match": answers[0].headers["ETag"]})
    assert again.status_code == 304


def test_an_unknown_variant_is_400(device: FlaskClient, url: str) -> None:
    answer = device.get(f"{url}?variant=huge")
    assert (answer.status_code, answer.json["code"]) == (400, "invalid")


def test_only_who_sees_the_inspection_gets_the_bytes(
    world: World, sign_in: SignIn, device: FlaskClient, url: str, inspection: Inspection
) -> None:
    def status(client: FlaskClient) -> int:
        with client.get(url) as answer:
            return int(answer.status_code)

    assert status(device) == 200
    assert status(sign_in(world.user("admin@example.com", "admin"))) == 200
    assert status(sign_in(world.user("other@example.com"))) == 404
    assert status(sign_in(world.user("user@example.com", "user"))) == 404
    device.environ_base.pop("HTTP_AUTHORIZATION")
    assert status(device) == 401


def test_a_deleted_attachment_is_404(device: FlaskClient, form_fill: FormFill, url: str) -> None:
    data = {"form_fill_id": form_fill.id, "field_name": "Riser_Photo"}
    assert sync(device, {"type": "photo_delete", "local_id": "d", "data": data})["success"]
    assert device.get(url).status_code == 404


@pytest.mark.parametrize("name", ["nothing", "a%00b", "1", "..%2F..%2Fetc%2Fpasswd"])
def test_an_unknown_id_is_404_as_json(device: FlaskClient, name: str) -> None:
    answer = device.get(f"/api/v1/attachments/{name}")
    assert (answer.status_code, answer.json["code"]) == (404, "not_found")


def test_bytes_that_are_missing_are_told(app: Flask, device: FlaskClient, url: str) -> None:
    files_in(app)[0].unlink()
    for each in (url, f"{url}?variant=thumbnail"):
        answer = device.get(each)
        assert (answer.status_code, answer.json["error"]) == (404, "The attachment's bytes are missing")
