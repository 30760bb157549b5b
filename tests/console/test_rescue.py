"""The page that reads in a rescue file: who may, what it shows, and files that are none."""

from __future__ import annotations

import json
from io import BytesIO
from typing import Any

import pytest
from flask import Flask

from app.models import FormFill
from tests.conftest import World
from tests.core.sync.conftest import edit
from tests.pages.browser import HEADERS, Browser
from tests.pages.reading import Reading

ADDRESS = "/console/rescue"


def send(browser: Browser, content: bytes) -> Any:
    token = browser.get(ADDRESS).text.split('name="csrf_token" value="')[1].split('"')[0]
    form = {"csrf_token": token, "file": (BytesIO(content), "queue.json")}
    return browser.client.post(ADDRESS, data=form, headers=HEADERS)


@pytest.mark.database("sqlite")
def test_a_file_is_read_in_and_the_page_tells_what_became_of_it(app: Flask, world: World) -> None:
    tech, admin = world.user("tech@example.com"), world.user("admin@example.com", "admin")
    form_fill = world.form_fill(world.inspection(admin, tech), data={})
    items = [edit(form_fill, a=1), {"type": "<i>unheard", "local_id": "1", "data": {}}]
    sender = {"id": tech.id, "email": tech.email}
    document = {"fieldpost_rescue": 1, "user": sender, "device_id": None, "sync_items": items}
    browser = Browser(app)
    browser.sign_in(admin)
    answer = send(browser, json.dumps(document).encode())
    assert answer.status_code == 200
    reading = Reading(answer.text)
    assert (reading.faults, reading.headings) == ([], 1)
    assert all(
        text in answer.text for text in ("applied now: 1", "refused: 1", "Invalid sync type", "&lt;i&gt;unheard")
    )
    assert world.get(FormFill, form_fill.id).data == {"a": 1}
    history = browser.get(f"/console/inspections/{form_fill.inspection_id}/history").text
    assert f"{tech.name} (read in by {admin.name})" in history
    assert "applied before: 1" in send(browser, json.dumps(document).encode()).text
    other = Browser(app)
    other.sign_in(world.user("other@example.com"))
    assert send(other, json.dumps(document).encode()).status_code == 403


@pytest.mark.database("sqlite")
@pytest.mark.parametrize(("content", "status"), [(b"", 422), (b"{", 400), (b"[]", 400), (b"\xff\xd8", 400)])
def test_what_is_no_file_is_told_on_the_page(app: Flask, world: World, content: bytes, status: int) -> None:
    browser = Browser(app)
    browser.sign_in(world.user("admin@example.com", "admin"))
    answer = send(browser, content)
    assert answer.status_code == status
    assert 'id="file-faults"' in answer.text
