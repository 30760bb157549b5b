"""A disk without room, as a process sees it: whatever needs more is 503, everything else goes on, and room is enough.

`tests/serving/test_disk.py` fills a real file system, where it may mount one.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from io import BytesIO
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient
from werkzeug.datastructures import FileStorage
from werkzeug.test import TestResponse, encode_multipart

from app.core.database.engine import db
from app.models import Attachment, FormFill
from app.testing import Scene, push, sign_in
from tests.pages.browser import signed_in_browser
from tests.support.answers import json_of
from tests.support.pictures import jpeg


@pytest.fixture
def scene(app: Flask) -> Scene:
    return Scene(app)


@pytest.fixture
def technician(scene: Scene) -> FlaskClient:
    return sign_in(scene.app, scene.user("technician"))


@pytest.fixture
def form_fill(scene: Scene) -> FormFill:
    row: FormFill = scene.world.form_fill(scene.inspection)
    return row


@contextmanager
def no_room_for_files() -> Iterator[None]:
    """The system makes no file inside the block."""
    real = os.open

    def refuse(path: Any, flags: int, *arguments: Any, **options: Any) -> int:
        if flags & os.O_CREAT or flags & os.O_TMPFILE == os.O_TMPFILE:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), path)
        return real(path, flags, *arguments, **options)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "open", refuse)
        yield


@contextmanager
def no_room_for_rows(app: Flask) -> Iterator[None]:
    """SQLite gets no further page inside the block."""
    with app.app_context():
        _bound_pages(1)
        try:
            yield
        finally:
            _bound_pages(2**31)


def _bound_pages(most: int) -> None:
    connection: Any = db.engine.raw_connection()
    connection.execute(f"PRAGMA max_page_count = {most}")
    connection.close()


def upload_of(form_fill: FormFill, photo: bytes) -> Callable[[FlaskClient], TestResponse]:
    """Sends a photo. Werkzeug's client would need a file for it."""
    texts = {"form_fill_id": str(form_fill.id), "field_name": "a"}
    boundary, body = encode_multipart({**texts, "photo": FileStorage(BytesIO(photo), "a.jpg", "photo")})
    content_type = f"multipart/form-data; boundary={boundary}"
    return lambda client: client.post("/api/v1/sync/upload_photo", data=body, content_type=content_type)


@pytest.mark.database("sqlite")
def test_without_room_for_files_what_makes_one_is_503_and_pages_are_shown(
    scene: Scene, technician: FlaskClient, form_fill: FormFill
) -> None:
    office = signed_in_browser(scene.app, scene.user("admin"))
    # The second one does not stay in memory.
    uploads = [upload_of(form_fill, jpeg()), upload_of(form_fill, jpeg() + bytes(1_000_000))]
    files = [f"/console/inspections/{form_fill.inspection_id}/report.pdf", "/console/exports/inspections.xlsx"]
    with no_room_for_files():
        answers = [*(send(technician) for send in uploads), *map(office.get, files), technician.get("/readyz")]
        assert office.get("/console/inspections").status_code == 200
        assert office.get("/console/exports/inspections.csv").status_code == 200
    assert [answer.status_code for answer in answers] == [503] * 5
    assert all("Nothing was recorded" in answer.text for answer in answers[:4])
    assert scene.world.all(Attachment) == []
    assert [send(technician).status_code for send in uploads] == [200, 200]
    assert [office.get(file).status_code for file in files] == [200, 200]


@pytest.mark.database("sqlite")
def test_without_room_for_rows_a_batch_is_503_and_nothing_of_it_is_applied(
    scene: Scene, technician: FlaskClient, form_fill: FormFill
) -> None:
    items = [
        {
            "type": "form_fill",
            "local_id": str(index),
            "data": {"id": form_fill.id, "changes": {f"a{index}": "x" * 9000}},
        }
        for index in range(9)
    ]
    with no_room_for_rows(scene.app):
        answer = technician.post("/api/v1/sync", json={"sync_items": items})
        assert (answer.status_code, json_of(answer)["code"]) == (503, "try_again")
        assert technician.get("/api/v1/sync/changes").status_code == 200
        assert scene.world.get(FormFill, form_fill.id).data == form_fill.data
    assert len(push(technician, *items)["success"]) == 9
