"""`storage check` and `storage gc`: orphans both ways, and nothing removed that is needed."""

from __future__ import annotations

import os
import secrets
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient

from app.attachments import upkeep
from app.core.host.registry import Installed
from app.models import Attachment, FormFill
from app.plugin_api import API_VERSION, Plugin
from tests.attachments.conftest import files_in, sync, upload
from tests.conftest import SettableClock, World
from tests.support.pictures import jpeg


@pytest.fixture
def photo(device: FlaskClient, form_fill: FormFill) -> dict[str, Any]:
    data: dict[str, Any] = upload(device, form_fill).json["data"]
    return data


def orphan(app: Flask, suffix: str = "") -> Path:
    """An object without a row, as a crash between the bytes and the row leaves it."""
    name = f"{secrets.token_hex(16)}{suffix}"
    path: Path = app.extensions["fieldpost.storage"].root / name[:2] / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"bytes")
    return path


def age(path: Path, clock: SettableClock, **period: float) -> None:
    moment = (clock() - timedelta(**period)).timestamp()
    os.utime(path, (moment, moment))


def check(app: Flask) -> upkeep.Findings:
    with app.app_context():
        return upkeep.check()


def collect(app: Flask) -> list[str]:
    with app.app_context():
        return upkeep.collect()


def test_a_storage_in_order_has_no_findings(app: Flask, photo: dict[str, Any], device: FlaskClient) -> None:
    assert device.get(photo["url"], query_string={"variant": "thumbnail"}).status_code == 200
    assert check(app) == upkeep.Findings(objects=2, attachments=1)


def test_check_reports_orphans_both_ways(app: Flask, photo: dict[str, Any]) -> None:
    (stored,) = files_in(app)
    lost = orphan(app)
    assert check(app).orphans == [f"{lost.parent.name}/{lost.name}"]
    stored.write_bytes(b"short")
    assert check(app).damaged == [photo["id"]]
    stored.unlink()
    assert check(app).missing == [photo["id"]]


def test_a_stored_photo_whose_bytes_changed_is_found_where_contents_are_read(app: Flask, photo: dict[str, Any]) -> None:
    (path,) = files_in(app)
    with app.app_context():
        assert upkeep.check(reads_content=True).altered == []
    data = bytearray(path.read_bytes())
    data[-10] ^= 1
    path.chmod(0o600)
    path.write_bytes(data)
    with app.app_context():
        assert upkeep.check().altered == []
        assert upkeep.check(reads_content=True).altered == [photo["id"]]
    sizes = app.test_cli_runner().invoke(args=["storage", "check"])
    assert (sizes.exit_code, sizes.output) == (0, "1 objects, 1 attachments\n")
    contents = app.test_cli_runner().invoke(args=["storage", "check", "--content"])
    assert contents.exit_code == 1
    assert f"{photo['id']}: whose bytes are not those that were sent" in contents.output


def test_collect_removes_only_old_orphans(app: Flask, clock: SettableClock, photo: dict[str, Any]) -> None:
    (stored,) = files_in(app)
    age(stored, clock, days=400)
    young, old, unfinished = orphan(app), orphan(app), orphan(app, ".0123456789abcdef.tmp")
    age(young, clock, hours=23.9)
    age(old, clock, hours=24.1)
    age(unfinished, clock, days=2)
    assert sorted(collect(app)) == sorted(f"{each.parent.name}/{each.name}" for each in (old, unfinished))
    assert sorted(files_in(app)) == sorted([stored, young])
    assert collect(app) == []


def test_a_thumbnail_is_kept_as_long_as_its_original(
    app: Flask, clock: SettableClock, photo: dict[str, Any], device: FlaskClient
) -> None:
    device.get(photo["url"], query_string={"variant": "thumbnail"})
    for each in files_in(app):
        age(each, clock, days=2)
    assert collect(app) == []


def test_the_bytes_of_a_deleted_photo_are_kept_thirty_days_and_its_row_for_ever(
    app: Flask, world: World, clock: SettableClock, photo: dict[str, Any], device: FlaskClient, form_fill: FormFill
) -> None:
    data = {"form_fill_id": form_fill.id, "field_name": photo["field_name"]}
    assert sync(device, {"type": "photo_delete", "local_id": "d", "data": data})["success"]
    (stored,) = files_in(app)
    age(stored, clock, days=2)
    clock.forward(days=29)
    assert collect(app) == []
    assert check(app).attachments == 1
    clock.forward(days=1)
    assert len(collect(app)) == 1
    assert files_in(app) == []
    assert world.get(Attachment, photo["id"]).deleted_at is not None
    assert check(app) == upkeep.Findings()


def test_the_database_is_asked_right_before_each_removal(
    app: Flask, clock: SettableClock, world: World, device: FlaskClient, form_fill: FormFill, monkeypatch: Any
) -> None:
    """A row that appears while the storage is being listed keeps its bytes."""
    storage = app.extensions["fieldpost.storage"]
    listed = list

    def list_then_upload() -> Any:
        upload(device, form_fill, jpeg(colour="green"))
        for each in files_in(app):
            age(each, clock, days=2)
        return iter(listed(real()))

    real = storage.list
    monkeypatch.setattr(storage, "list", list_then_upload)
    assert collect(app) == []


def test_a_photo_that_arrives_while_the_storage_is_listed_is_not_missing(
    app: Flask, device: FlaskClient, form_fill: FormFill, monkeypatch: pytest.MonkeyPatch
) -> None:
    storage = app.extensions["fieldpost.storage"]
    real = storage.list

    def list_then_upload() -> Any:
        listed = list(real())
        upload(device, form_fill)
        return iter(listed)

    monkeypatch.setattr(storage, "list", list_then_upload)
    assert check(app) == upkeep.Findings(objects=0, attachments=1)


def test_an_object_that_a_plugin_needs_is_no_orphan_and_stays(app: Flask, clock: SettableClock) -> None:
    needed, unneeded = orphan(app, ".part"), orphan(app)
    for path in (needed, unneeded):
        age(path, clock, days=2)
    plugin = Plugin(
        name="parts", api_version=API_VERSION, keeps=lambda keys: {key for key in keys if key.endswith(".part")}
    )
    installed = Installed(plugin=plugin, entry_point="parts:plugin", distribution="parts", version="1")
    app.extensions["fieldpost.registry"].installed["parts"] = installed
    assert check(app).orphans == [f"{unneeded.parent.name}/{unneeded.name}"]
    assert len(collect(app)) == 1
    assert files_in(app) == [needed]
