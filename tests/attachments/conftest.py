"""A technician with a form fill to upload to, and the calls that a device makes."""

from __future__ import annotations

from io import BytesIO
from pathlib import Path
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient
from werkzeug.datastructures import FileStorage
from werkzeug.test import encode_multipart

from app.models import FormFill, Inspection
from tests.conftest import World
from tests.support.answers import json_of
from tests.support.pictures import jpeg

UPLOAD, SIGNATURE = "/api/v1/sync/upload_photo", "/api/v1/sync/upload_signature"


@pytest.fixture
def form_fill(world: World, inspection: Inspection) -> FormFill:
    return world.form_fill(inspection, client_id="6b1f3c1e-3d0c-4c52-8a52-0d5f4e1f0003")


def upload(
    client: FlaskClient, form_fill: Any, data: bytes | None = None, field: str = "Riser_Photo", **more: Any
) -> Any:
    url, part = more.pop("to", UPLOAD), more.pop("part", "photo")
    file = FileStorage(BytesIO(jpeg() if data is None else data), more.pop("filename", "riser.jpg"), part)
    form = {"form_fill_id": str(getattr(form_fill, "id", form_fill)), "field_name": field, part: file, **more}
    boundary, body = encode_multipart(form)
    return client.post(url, data=body, content_type=f"multipart/form-data; boundary={boundary}")


def sync(client: FlaskClient, *items: dict[str, Any]) -> Any:
    return json_of(client.post("/api/v1/sync", json={"sync_items": list(items)}))["results"]


def files_in(app: Flask) -> list[Path]:
    root = app.extensions["fieldpost.storage"].root
    return [each for each in root.rglob("*") if each.is_file()] if root.exists() else []
