"""Backups in a bucket: whole or not there, kept in the number that was said, verified and restored from there."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from flask import Flask

from app import create_app
from app.attachments.storage import current_storage
from app.attachments.storage.s3 import client
from app.cli.backup.bucket import LARGE
from app.core.database.engine import db
from app.models import Inspection, User
from tests.attachments.conftest import files_in
from tests.attachments.storage import s3_servers
from tests.attachments.storage.s3_servers import BUCKET, Exchange, Fault, Proxy
from tests.cli.test_backup import done, refused
from tests.conftest import SettableClock, World

pytestmark = [pytest.mark.database("sqlite"), pytest.mark.usefixtures("_credentials")]

_credentials = s3_servers._credentials


@pytest.fixture(scope="module")
def moto() -> Iterator[str]:
    with s3_servers.moto() as endpoint:
        yield endpoint


@pytest.fixture
def proxy(moto: str) -> Iterator[Proxy]:
    with s3_servers.proxy(moto) as server:
        yield server


@pytest.fixture
def app(environment: dict[str, str], clock: SettableClock, proxy: Proxy) -> Flask:
    return create_app({**environment, "FIELDPOST_S3_ENDPOINT": proxy.endpoint, "FIELDPOST_S3_SECONDS": "1"}, clock)


@pytest.fixture
def bucket(moto: str) -> Iterator[Bucket]:
    """The bucket, past the proxy; emptied at the end."""
    found = Bucket(moto)
    yield found
    for name in found.names():
        found.client.delete_object(Bucket=BUCKET, Key=name)


class Bucket:
    """What is in the bucket."""

    def __init__(self, endpoint: str) -> None:
        self.client: Any = client(0, endpoint, 5)

    def names(self) -> list[str]:
        return [content["Key"] for content in self.client.list_objects_v2(Bucket=BUCKET).get("Contents", ())]

    def put(self, name: str, data: bytes) -> None:
        self.client.put_object(Bucket=BUCKET, Key=name, Body=data)


def test_a_backup_in_a_bucket_is_verified_and_restored_from_there(
    app: Flask, world: World, tech: User, bucket: Bucket
) -> None:
    kept, address = world.inspection(tech), f"s3://{BUCKET}/nightly/one.tar"
    assert done(app, "backup", address).startswith(f"{address}: the SQLite database ")
    assert bucket.names() == ["nightly/one.tar"]
    assert "1 inspections" in done(app, "backup", "verify", address)
    lost = world.inspection(tech).id
    done(app, "restore", address, "--replace")
    with app.app_context():
        assert (db.session.get(Inspection, kept.id) is not None, db.session.get(Inspection, lost)) == (True, None)


def test_only_so_many_backups_in_a_bucket_are_kept_and_nothing_else_is_removed(
    app: Flask, tech: User, bucket: Bucket, clock: SettableClock
) -> None:
    for name in ("b/fieldpost-notes.tar", "fieldpost-20200101T000000Z.tar", "bb/fieldpost-20200101T000000Z.tar"):
        bucket.put(name, b"somebody's")
    strangers = bucket.names()
    for _ in range(3):
        told = done(app, "backup", "--keep", "2", f"s3://{BUCKET}/b")
        clock.forward(minutes=1)
    made = [name for name in bucket.names() if name not in strangers]
    assert len(made) == 2
    assert f"Removed s3://{BUCKET}/b/fieldpost-" in told
    assert set(strangers) < set(bucket.names())


@pytest.mark.parametrize("methods", ["PUT", "GET PUT"])
def test_a_backup_that_does_not_arrive_is_no_backup_and_removes_none(
    app: Flask, tech: User, bucket: Bucket, proxy: Proxy, clock: SettableClock, tmp_path: Path, methods: str
) -> None:
    done(app, "backup", "--keep", "1", f"s3://{BUCKET}/b")
    before = bucket.names()
    last = (Path(app.extensions["fieldpost.settings"].data_dir) / "last_backup").stat().st_mtime_ns
    clock.forward(minutes=1)
    proxy.break_with(s3_servers.cut_before, methods)
    assert "could not be" in refused(app, "backup", "--keep", "1", f"s3://{BUCKET}/b")
    assert bucket.names() == before
    assert (Path(app.extensions["fieldpost.settings"].data_dir) / "last_backup").stat().st_mtime_ns == last


@pytest.fixture
def large(app: Flask) -> str:
    """The key of a stored file that makes a backup too large for one request."""
    with app.app_context():
        current_storage().put("aa/large", b"x" * (LARGE + 1))
    return "aa/large"


def test_a_large_backup_is_sent_in_parts_verified_and_restored(
    app: Flask, tech: User, large: str, bucket: Bucket, proxy: Proxy
) -> None:
    bucket.put("b/fieldpost-20200101T000000Z.tar", b"an older one")
    done(app, "backup", "--keep", "1", f"s3://{BUCKET}/b")
    (name,) = bucket.names()
    assert sum(asked == f"PUT /{BUCKET}/{name}" for asked in proxy.asked) == 2
    assert "1 files" in done(app, "backup", "verify", f"s3://{BUCKET}/{name}")
    (file,) = files_in(app)
    file.unlink()
    done(app, "restore", f"s3://{BUCKET}/{name}", "--replace")
    assert file.stat().st_size == LARGE + 1


def stop_me(exchange: Exchange) -> None:
    """End the command as systemd does, and keep it waiting."""
    exchange.server.break_with(None)
    os.kill(os.getpid(), signal.SIGTERM)
    s3_servers.hang(exchange)


@pytest.mark.parametrize(
    ("fault", "sentence"), [(s3_servers.cut_before, "incomplete multipart"), (stop_me, "Aborted!")]
)
def test_of_a_large_backup_that_ends_in_the_middle_no_part_is_left(
    app: Flask, tech: User, large: str, bucket: Bucket, proxy: Proxy, fault: Fault, sentence: str
) -> None:
    proxy.break_with(lambda exchange: (fault if "partNumber=2" in exchange.path else Exchange.forward)(exchange), "PUT")
    assert sentence in refused(app, "backup", f"s3://{BUCKET}/one.tar")
    assert {f"PUT /{BUCKET}/one.tar", f"DELETE /{BUCKET}/one.tar"} < {*proxy.asked}
    assert bucket.names() == []
    assert "Uploads" not in bucket.client.list_multipart_uploads(Bucket=BUCKET)


def test_an_address_in_a_bucket_that_cannot_be_a_backup_is_refused(app: Flask, tech: User, bucket: Bucket) -> None:
    bucket.put("taken.tar", b"somebody's")
    assert "is there already" in refused(app, "backup", f"s3://{BUCKET}/taken.tar")
    assert "does not end in .tar" in refused(app, "backup", f"s3://{BUCKET}/nightly")
    assert "is not the address of a backup" in refused(app, "backup", "s3://x")
    assert "is not there" in refused(app, "backup", "verify", f"s3://{BUCKET}/missing.tar")
    assert "is no backup, or a damaged one" in refused(app, "backup", "verify", f"s3://{BUCKET}/taken.tar")
    assert bucket.names() == ["taken.tar"]
