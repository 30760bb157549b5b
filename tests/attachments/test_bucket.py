"""Uploads and downloads with a bucket: what devices notice if S3 is slow, refuses, or breaks off."""

from __future__ import annotations

import urllib.request
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from flask import Flask
from flask.testing import FlaskClient

from app.attachments import upkeep
from app.models import Attachment, FormFill
from tests.attachments.conftest import upload
from tests.attachments.storage import s3_servers
from tests.attachments.storage.s3_servers import BUCKET, Proxy
from tests.attachments.storage.test_shared import SECRETS, jpeg_with_location
from tests.conftest import SettableClock, World
from tests.support.answers import json_of
from tests.support.pictures import jpeg

pytestmark = [pytest.mark.database("sqlite"), pytest.mark.usefixtures("_credentials")]
_credentials = s3_servers._credentials


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with s3_servers.rclone(tmp_path_factory.mktemp("rclone")) as endpoint:
        yield endpoint


@pytest.fixture
def proxy(server: str) -> Iterator[Proxy]:
    with s3_servers.proxy(server) as found:
        yield found


@pytest.fixture
def environment(environment: dict[str, str], proxy: Proxy, request: pytest.FixtureRequest) -> dict[str, str]:
    """A bucket instead of files; a test's parameter is further settings."""
    return {
        **environment,
        "FIELDPOST_STORAGE": f"s3://{BUCKET}/{uuid4().hex}",
        "FIELDPOST_S3_ENDPOINT": proxy.endpoint,
        "FIELDPOST_S3_SECONDS": "1",
        "FIELDPOST_SECRET_KEY": "for tests only, and long enough to be accepted",
        **getattr(request, "param", {}),
    }


@pytest.fixture
def clock() -> SettableClock:
    """Set to the present: the server of the bucket has a clock of its own."""
    found = SettableClock()
    found.time = datetime.now(UTC)
    return found


def keys(app: Flask) -> list[str]:
    return [each.key for each in app.extensions["fieldpost.storage"].list()]


def photo_of(answer: Any) -> dict[str, Any]:
    assert answer.status_code == 200, answer.json
    data: dict[str, Any] = answer.json["data"]
    return data


FAULTS = {
    "403": s3_servers.refuse(403, "AccessDenied"),
    "404": s3_servers.refuse(404, "NoSuchBucket"),
    "503": s3_servers.refuse(503, "SlowDown"),
    "silence": s3_servers.hang,
    "cut before": s3_servers.cut_before,
    "cut after": s3_servers.cut_after,
}


@pytest.mark.parametrize("fault", FAULTS)
def test_an_upload_that_the_bucket_did_not_acknowledge_is_503_without_a_row_and_can_be_sent_again(
    fault: str,
    app: Flask,
    world: World,
    device: FlaskClient,
    form_fill: FormFill,
    proxy: Proxy,
    clock: SettableClock,
) -> None:
    proxy.break_with(FAULTS[fault])
    answer = upload(device, form_fill)
    assert (answer.status_code, answer.json["code"]) == (503, "try_again")
    assert int(answer.headers["Retry-After"]) > 0
    assert world.all(Attachment) == []

    proxy.break_with(None)
    left_over = keys(app)
    assert bool(left_over) == (fault == "cut after")
    photo = photo_of(upload(device, form_fill))
    assert device.get(photo["url"]).data == jpeg()

    # The object behind the lost answer is reported, and collected once it is old enough.
    with app.app_context():
        assert upkeep.check().orphans == left_over
        assert upkeep.collect() == []
        clock.forward(hours=25)
        assert upkeep.collect() == left_over
        assert upkeep.check() == upkeep.Findings(objects=1, attachments=1)


def test_a_download_comes_whole_in_parts_and_small(device: FlaskClient, form_fill: FormFill) -> None:
    data = jpeg((1600, 1200))
    url = photo_of(upload(device, form_fill, data))["url"]
    assert device.get(url).data == data
    part = device.get(url, headers={"Range": "bytes=10-19"})
    assert (part.status_code, part.data) == (206, data[10:20])
    for _ in range(2):
        small = device.get(url, query_string={"variant": "thumbnail"})
        assert (small.status_code, small.content_type) == (200, "image/jpeg")


@pytest.mark.parametrize("fault", ["403", "404", "503"])
def test_a_download_that_the_bucket_refuses_is_503_and_not_the_photos_end(
    fault: str, device: FlaskClient, form_fill: FormFill, proxy: Proxy
) -> None:
    url = photo_of(upload(device, form_fill))["url"]
    proxy.break_with(FAULTS[fault])
    for variant in ({}, {"variant": "thumbnail"}):
        answer = device.get(url, query_string=variant)
        assert (answer.status_code, json_of(answer)["code"]) == (503, "try_again")
        assert answer.headers["Retry-After"]


def test_without_the_bucket_one_can_sync_but_the_server_is_not_ready(
    app: Flask, device: FlaskClient, form_fill: FormFill, proxy: Proxy
) -> None:
    proxy.break_with(FAULTS["503"])
    item = {"type": "form_fill", "local_id": "a", "data": {"id": form_fill.id, "changes": {"Location_row_1": "Roof"}}}
    assert len(json_of(device.post("/api/v1/sync", json={"sync_items": [item]}))["results"]["success"]) == 1
    answer = app.test_client().get("/readyz")
    assert (answer.status_code, json_of(answer)["checks"]) == (
        503,
        {"database": "ok", "migrations": "ok", "models": "ok", "storage": "failed"},
    )


@pytest.mark.parametrize("environment", [{"FIELDPOST_S3_REDIRECT": "1"}], indirect=True)
def test_where_redirects_are_set_a_device_is_sent_to_the_bucket_for_the_photo_alone(
    app: Flask, device: FlaskClient, form_fill: FormFill
) -> None:
    photo = photo_of(upload(device, form_fill))
    answer = device.get(photo["url"])
    assert (answer.status_code, answer.headers["Cache-Control"]) == (302, "private, no-store")
    with urllib.request.urlopen(answer.headers["Location"]) as fetched:
        assert fetched.read() == jpeg()
        assert fetched.headers["Content-Type"] == "image/jpeg"
    # Who asks is judged here, not there.
    assert app.test_client().get(photo["url"]).status_code == 401
    assert device.get(photo["url"], headers={"If-None-Match": f'"{photo["sha256"]}"'}).status_code == 304
    assert device.get(photo["url"], query_string={"variant": "thumbnail"}).status_code == 200


@pytest.mark.parametrize(
    "environment", [{"FIELDPOST_S3_REDIRECT": "1", "FIELDPOST_STRIP_METADATA": "1"}], indirect=True
)
def test_a_photo_without_its_metadata_is_sent_from_here(
    device: FlaskClient, other: FlaskClient, form_fill: FormFill
) -> None:
    sent = jpeg_with_location()
    url = photo_of(upload(device, form_fill, sent))["url"]
    assert device.get(url).status_code == 302
    shown = other.get(url)
    assert (shown.status_code, shown.content_length) == (200, len(shown.data))
    assert [secret for secret in SECRETS if secret in sent and secret in shown.data] == []


def test_a_backup_has_the_photos_of_the_bucket_and_puts_lost_ones_back(
    app: Flask, device: FlaskClient, form_fill: FormFill, tmp_path: Path
) -> None:
    photo = photo_of(upload(device, form_fill))
    run = app.test_cli_runner().invoke
    assert "1 files" in run(args=["backup", str(tmp_path / "b.tar")]).output
    app.extensions["fieldpost.storage"].delete(keys(app)[0])
    assert device.get(photo["url"]).status_code == 404
    restored = run(args=["restore", "--replace", str(tmp_path / "b.tar")])
    assert restored.exit_code == 0, restored.output
    with app.app_context():
        assert upkeep.check() == upkeep.Findings(objects=1, attachments=1)
