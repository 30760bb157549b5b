"""`fieldpost privacy archive`: everything about one customer, and nothing about another, in one ZIP file."""

from __future__ import annotations

import json
import stat
from io import BytesIO
from pathlib import Path
from typing import Any
from zipfile import ZipFile

import pytest
from flask import Flask
from flask.testing import FlaskClient

from app.administration import customer_archive
from app.models import FormFill, Inspection, User
from app.testing import push
from tests.conftest import World
from tests.core.sync.conftest import edit
from tests.support.answers import json_of
from tests.support.pictures import jpeg

ACME, OTHER = "Acme Größe GmbH", "Umbrella"


@pytest.fixture
def inspection(world: World, owner: User, tech: User) -> Inspection:
    return world.inspection(owner, tech, customer={"name": ACME, "email": "office@acme.example"})


@pytest.fixture
def form_fill(world: World, inspection: Inspection) -> FormFill:
    return world.form_fill(inspection, data={"a": 0})


def archive(app: Flask, target: Path, *options: str) -> Any:
    return app.test_cli_runner().invoke(args=["privacy", "archive", str(target), *options])


def lines(zip_file: ZipFile, name: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in zip_file.read(f"{name}.jsonl").splitlines()]


def upload(device: FlaskClient, form_fill: FormFill, picture: bytes) -> str:
    parts = {"form_fill_id": str(form_fill.id), "field_name": "Riser_Photo", "photo": (BytesIO(picture), "a.jpg")}
    return str(json_of(device.post("/api/v1/sync/upload_photo", data=parts))["photo_attachment_id"])


def test_it_has_rows_history_and_photos_of_the_customer_alone(
    app: Flask,
    world: World,
    form_fill: FormFill,
    owner: User,
    device: FlaskClient,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(customer_archive, "PIECE", 2)
    for number in range(4):
        world.form_fill(world.get(Inspection, form_fill.inspection_id), data={"n": number})
    other = world.form_fill(world.inspection(owner, customer={"name": OTHER}), data={"secret": "of Umbrella"})
    picture = jpeg()
    photo = upload(device, form_fill, picture)
    bare = world.attachment(form_fill)
    push(device, edit(form_fill, a=1))
    push(device, edit(form_fill, version="2024-03-15T10:29:00.000Z", a=2))
    target = tmp_path / "acme.zip"
    result = archive(app, target, "--customer", ACME)
    assert result.exit_code == 0, result.output
    assert f"The bytes of attachment {bare.id} are missing" in result.output
    assert stat.S_IMODE(target.stat().st_mode) == 0o600
    with ZipFile(target) as zip_file:
        assert zip_file.testzip() is None
        assert zip_file.read(f"files/{form_fill.inspection_id}/{photo}.jpg") == picture
        assert [row["id"] for row in lines(zip_file, "inspections")] == [form_fill.inspection_id]
        forms = {row["id"]: row["data"] for row in lines(zip_file, "form_fills")}
        assert len(forms) == 5
        assert other.id not in forms
        assert forms[form_fill.id]["a"] == 1
        changes = [row["changes"] for row in lines(zip_file, "history") if row["type"] == "form_fill"]
        assert changes == [{"a": {"old": 0, "new": 1}}]
        assert len(lines(zip_file, "form_templates")) == 5
        assert {row["name"] for row in lines(zip_file, "people")} == {"Owner", "Tech"}
        assert [row["code"] for row in lines(zip_file, "not_applied")] == ["conflict"]
        manifest = json.loads(zip_file.read("manifest.json"))
        assert (manifest["files"], manifest["missing_files"]) == (1, [bare.id])
        assert not any(b"Umbrella" in zip_file.read(name) for name in zip_file.namelist())


def test_a_customer_is_found_by_an_address_too(app: Flask, form_fill: FormFill, tmp_path: Path) -> None:
    result = archive(app, tmp_path / "acme.zip", "--email", "office@acme.example")
    assert "1 inspections, 1 form fills" in result.output


def test_nobody_and_a_file_that_is_there_are_told(app: Flask, form_fill: FormFill, tmp_path: Path) -> None:
    target = tmp_path / "acme.zip"
    result = archive(app, target, "--customer", "größe")
    assert result.exit_code == 1
    assert "No inspection has this customer" in result.output
    assert not target.exists()
    assert ACME in archive(app, target, "--customer", "Acme").output
    assert "Name the customer with --customer or --email" in archive(app, target).output
    target.write_bytes(b"somebody's")
    assert "is there already" in archive(app, target, "--customer", ACME).output
    assert target.read_bytes() == b"somebody's"
    assert "cannot be written" in archive(app, tmp_path / "no" / "a.zip", "--customer", ACME).output
