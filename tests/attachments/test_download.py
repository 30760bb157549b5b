"""`GET /attachments/:id` (contract, section 4; RFC 9110)."""

from __future__ import annotations

import time
import tracemalloc
from concurrent.futures import ThreadPoolExecutor
from io import BytesIO

import pytest
from flask import Flask
from flask.testing import FlaskClient
from PIL import Image
from sqlalchemy import update
from werkzeug.http import parse_options_header

from app.attachments import download
from app.attachments.storage.images import thumbnail
from app.core.database.engine import db
from app.core.database.transactions import writing
from app.models import Attachment, FormFill, Inspection, User
from tests.attachments.conftest import files_in, sync, upload
from tests.attachments.storage.test_shared import SECRETS, jpeg_with_location
from tests.conftest import SignIn, World
from tests.support.answers import json_of
from tests.support.cases import cases
from tests.support.pictures import jpeg, png

DATA = jpeg((800, 600))


@pytest.fixture
def environment(environment: dict[str, str], request: pytest.FixtureRequest) -> dict[str, str]:
    return environment | getattr(request, "param", {})


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
    assert answer.headers["Content-Security-Policy"] == "sandbox"
    assert device.get(f"{url}?variant=thumbnail").headers["Content-Security-Policy"] == "sandbox"
    assert answer.headers["Cache-Control"].startswith("private")
    assert "gr%C3%B6%C3%9Fe.jpg" in answer.headers["Content-Disposition"]
    head = device.head(url)
    assert (head.status_code, head.data, head.headers["ETag"]) == (200, b"", answer.headers["ETag"])
    assert head.content_length == len(DATA)


def test_an_etag_that_is_known_is_304(device: FlaskClient, url: str) -> None:
    tag = device.head(url).headers["ETag"]
    answer = device.get(url, headers={"If-None-Match": tag})
    assert (answer.status_code, answer.data) == (304, b"")
    for known in (f'"other", {tag}', "*", f"W/{tag}"):
        assert device.get(url, headers={"If-None-Match": known, "Range": "bytes=0-9"}).status_code == 304
    assert device.get(url, headers={"If-None-Match": '"other"'}).data == DATA
    answer = device.get(url, headers={"If-Match": '"other"'})
    assert (answer.status_code, json_of(answer)["code"]) == (412, "precondition_failed")


def test_a_range_is_206(device: FlaskClient, url: str) -> None:
    for sent, expected in (
        ("bytes=0-9", DATA[:10]), ("bytes=100-", DATA[100:]), ("bytes=-7", DATA[-7:]), ("bytes=5-999999", DATA[5:]),
        ("bytes=-999999", DATA), ("bytes=0-0", DATA[:1]),
    ):  # fmt: skip
        answer = device.get(url, headers={"Range": sent})
        assert answer.status_code == 206, sent
        assert answer.data == expected, sent
        assert answer.content_length == len(expected)
        assert answer.headers["Content-Range"].endswith(f"/{len(DATA)}")


def test_a_range_beyond_the_end_or_reversed_is_416_as_json(device: FlaskClient, url: str) -> None:
    for sent in (f"bytes={len(DATA)}-", "bytes=999999-1000000", "bytes=9-5", "bytes=-0"):
        answer = device.get(url, headers={"Range": sent})
        assert answer.status_code == 416, sent
        assert json_of(answer)["code"] == "range_not_satisfiable"
        assert answer.headers["Content-Range"] == f"bytes */{len(DATA)}"


def test_several_ranges_other_units_and_what_is_no_range_answer_the_whole(device: FlaskClient, url: str) -> None:
    for sent in (
        "bytes=0-5,3-9", "bytes=0-0,-1", "bytes=0-1," * 100, "items=0-5", "bytes=abc", "bytes=", "bytes=-", "x",
        "bytes=1-2-3", "bytes=1_0-20", "bytes=+1-5", "bytes=\xb2-5", f"bytes={'9' * 5000}-",
    ):  # fmt: skip
        answer = device.get(url, headers={"Range": sent})
        assert (answer.status_code, answer.data) == (200, DATA), sent


def test_a_head_tells_of_the_whole_whatever_range_it_names(device: FlaskClient, url: str) -> None:
    for sent in ("bytes=0-9", "bytes=999999-"):
        head = device.head(url, headers={"Range": sent})
        assert (head.status_code, head.content_length, head.data) == (200, len(DATA), b"")


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


def test_a_thumbnail_that_several_ask_for_at_once_is_made_once(
    app: Flask, sign_in: SignIn, device: FlaskClient, tech: User, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[bytes] = []

    def slowly(data: bytes, wait: float) -> bytes:
        time.sleep(0.2)
        made.append(thumbnail(data, wait))
        return made[-1]

    monkeypatch.setattr(download, "thumbnail", slowly)
    clients = [sign_in(tech) for _ in range(4)]
    with ThreadPoolExecutor(len(clients)) as pool:
        answers = list(pool.map(lambda client: client.get(f"{url}?variant=thumbnail").data, clients))
    assert len(made) == 1
    assert answers == made * 4


def test_any_name_comes_back_as_it_is(app: Flask, world: World, device: FlaskClient, form_fill: FormFill) -> None:
    attachment = world.attachment(form_fill)
    for name in (
        "riser.jpg", "two words.jpg", "größe (1).jpg", "😀.jpg", "日本.png", "a;b=c, d.jpg", "100%41.jpg", ".hidden",
        "it's é*.jpg", 'say "cheese".jpg', "back\\slash.jpg", "é" * 200 + ".jpg",
    ):  # fmt: skip
        with app.app_context(), writing(db.engine) as connection:
            connection.execute(update(Attachment).values(filename=name))
        sent = device.head(f"/api/v1/attachments/{attachment.id}").headers["Content-Disposition"]
        assert sent.isascii()
        assert sent.isprintable()
        kind, found = parse_options_header(sent)
        assert (kind, found["filename"]) == ("inline", name)


def test_a_download_of_ten_megabytes_is_not_held_in_memory(device: FlaskClient, form_fill: FormFill) -> None:
    size = 10 * 2**20
    url = upload(device, form_fill, DATA.ljust(size, b"\0")).json["data"]["url"]
    for headers in ({"Accept-Encoding": "gzip, br, zstd"}, {"Range": f"bytes=1-{size - 2}"}):
        tracemalloc.start()
        with device.get(url, headers=headers) as answer:
            received = sum(len(piece) for piece in answer.iter_encoded())
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        assert received == int(answer.headers["Content-Length"]) >= size - 2
        assert peak < 2 * 2**20


@cases("query", ["variant=huge", "variant=thumbnail&variant=thumbnail", "size=small"])
def test_an_unknown_variant_or_key_or_a_repeated_one_is_400(device: FlaskClient, url: str, query: str) -> None:
    answer = device.get(f"{url}?{query}")
    assert (answer.status_code, json_of(answer)["code"]) == (400, "invalid")
    assert set(json_of(answer)["details"]) == {query.partition("=")[0]}


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


@cases("name", ["nothing", "1", "..%2F..%2Fetc%2Fpasswd"])
def test_an_unknown_id_is_404_as_json(device: FlaskClient, name: str) -> None:
    answer = device.get(f"/api/v1/attachments/{name}")
    assert (answer.status_code, json_of(answer)["code"]) == (404, "not_found")


def test_an_id_that_is_none_is_invalid(device: FlaskClient) -> None:
    answer = device.get("/api/v1/attachments/a%00b")
    assert (answer.status_code, json_of(answer)["code"]) == (400, "invalid")


def test_bytes_that_are_missing_are_told(app: Flask, device: FlaskClient, url: str) -> None:
    files_in(app)[0].unlink()
    for each in (url, f"{url}?variant=thumbnail"):
        answer = device.get(each)
        assert (answer.status_code, json_of(answer)["error"]) == (404, "The attachment's bytes are missing")


@pytest.mark.parametrize("environment", [{"FIELDPOST_STRIP_METADATA": "1"}], indirect=True)
def test_others_than_the_uploader_get_no_location_where_the_operator_has_it_so(
    app: Flask, device: FlaskClient, other: FlaskClient, office: FlaskClient, form_fill: FormFill
) -> None:
    sent = jpeg_with_location()
    photo = upload(device, form_fill, sent).json["data"]
    own = device.get(photo["url"])
    assert (own.data, own.headers["ETag"]) == (sent, f'"{photo["sha256"]}"')
    shown = other.get(photo["url"])
    assert (shown.status_code, shown.content_type) == (200, "image/jpeg")
    assert [secret for secret in SECRETS if secret in shown.data] == []
    assert shown.content_length == len(shown.data) < photo["byte_size"]
    assert "Authorization" in shown.vary
    assert office.get(photo["url"]).data == shown.data
    # Another representation has another ETag, and ranges of its own.
    tag = shown.headers["ETag"]
    assert tag != own.headers["ETag"]
    assert other.get(photo["url"], headers={"If-None-Match": tag}).status_code == 304
    assert other.get(photo["url"], headers={"If-None-Match": own.headers["ETag"]}).status_code == 200
    part = other.get(photo["url"], headers={"Range": "bytes=10-299", "If-Range": tag})
    assert (part.status_code, part.data) == (206, shown.data[10:300])
    head = other.head(photo["url"])
    assert (head.content_length, head.data, head.headers["ETag"]) == (len(shown.data), b"", tag)
    files_in(app)[0].write_bytes(b"damaged")
    assert other.get(photo["url"]).status_code == 404


def test_everybody_gets_the_bytes_as_they_were_sent_otherwise(
    device: FlaskClient, other: FlaskClient, form_fill: FormFill
) -> None:
    sent = jpeg_with_location()
    answer = other.get(upload(device, form_fill, sent).json["data"]["url"])
    assert (answer.data, "Authorization" in answer.vary) == (sent, False)


def test_a_thumbnail_has_no_metadata(device: FlaskClient, form_fill: FormFill) -> None:
    url = upload(device, form_fill, jpeg_with_location()).json["data"]["url"]
    small = device.get(f"{url}?variant=thumbnail").data
    assert [secret for secret in SECRETS if secret in small] == []
    with Image.open(BytesIO(small)) as image:
        assert (dict(image.getexif()), set(image.info)) == ({}, {"jfif", "jfif_version", "jfif_unit", "jfif_density"})
