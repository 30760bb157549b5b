"""The requests of docs/clients.md, sent one after the other to a server, and its answers compared with those shown."""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Iterator
from io import BytesIO
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient
from werkzeug.datastructures import FileStorage
from werkzeug.test import encode_multipart

from app.models import Attachment, FormFill
from tests.conftest import SettableClock, SignIn, World
from tests.support.servers import ROOT

PAGE = (ROOT / "docs" / "clients.md").read_text().split("\n## The requests, one after the other\n")[1]

#: Title -> the fenced blocks of that sequence, each with its language.
SEQUENCES = {
    part.partition("\n")[0]: re.findall(r"```(\w+)\n(.*?)```", part, re.DOTALL) for part in PAGE.split("\n### ")[1:]
}

#: What a request sends as `@riser.png`.
RISER = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mP8z8BQDwAEhQGAhKmMIQAAAABJRU5ErkJggg=="
)


@pytest.fixture
def clients(world: World, sign_in: SignIn) -> dict[str, FlaskClient]:
    """Who sends, on a server as the page says that it is in the beginning."""
    owner, technician = world.user("owner@example.com", "user"), world.user("technician@example.com")
    data = {"Location_row_1": "Entrance", "Pressure_row_1": 80}
    world.form_fill(world.inspection(owner, technician), data=data)
    return {"owner": sign_in(owner), "": sign_in(technician)}


def send(clients: dict[str, FlaskClient], block: str, cursor: str) -> Any:
    """The answer to a request as the page shows it: method and address, perhaps a header, body."""
    head, _, body = block.partition("\n\n")
    line, _, header = head.strip().partition("\n")
    method, address = line.replace("…", cursor).split(" ")
    name = re.fullmatch(r"Authorization: Bearer <(\w+)>", header)
    client = clients[name[1] if name else ""]
    if "=@" not in body:
        return client.open(address, method=method, json=json.loads(body) if body else None)
    form: dict[str, Any] = dict(each.split("=", 1) for each in body.split())
    form["photo"] = FileStorage(BytesIO(RISER), form["photo"].removeprefix("@"), "photo")
    boundary, content = encode_multipart(form)
    return client.open(address, method=method, data=content, content_type=f"multipart/form-data; boundary={boundary}")


def differences(shown: Any, found: Any, place: str = "") -> Iterator[str]:
    """Where an answer is not as shown; the page leaves out keys, and writes `…` for what is another each time."""
    if shown == "…":
        return
    if isinstance(shown, dict) and isinstance(found, dict):
        for name, value in shown.items():
            yield from differences(value, found.get(name, "absent"), f"{place}.{name}")
    elif isinstance(shown, list) and isinstance(found, list) and len(shown) == len(found):
        for index, value in enumerate(shown):
            yield from differences(value, found[index], f"{place}[{index}]")
    elif shown != found or isinstance(shown, bool) != isinstance(found, bool):
        yield f"{place}: {shown!r} is shown, {found!r} is answered"


@pytest.mark.parametrize("title", SEQUENCES)
def test_the_requests_that_the_page_shows_are_answered_as_it_shows(
    app: Flask, world: World, clients: dict[str, FlaskClient], clock: SettableClock, title: str
) -> None:
    answer: Any = {}
    cursor = ""
    for language, text in SEQUENCES[title]:
        if language == "http":
            clock.forward(minutes=1)
            response = send(clients, text, cursor)
            answer = response.json
            assert response.status_code == 200, answer
            # The next request's, whether it came with a page or with a package.
            found = re.search(r'"cursor": ?"([^"]+)"', json.dumps(answer))
            cursor = found[1] if found else cursor
        else:
            assert list(differences(json.loads(text), answer)) == []
    rows = [each.data for each in world.all(FormFill)]
    assert rows == AFTERWARDS.get(title, [{"Location_row_1": "Entrance", "Pressure_row_1": 80}])
    assert len(world.all(Attachment)) == (title == "Created, edited and photographed offline")


#: What is stored after a sequence, where it changes something.
AFTERWARDS = {
    "Offline edits": [{"Location_row_1": "Basement, north", "Pressure_row_1": 90}],
    "A lost answer": [{"Location_row_1": "Basement", "Pressure_row_1": 85}],
    "Conflict and merge": [{"Location_row_1": "Entrance, right, behind the door", "Pressure_row_1": 86}],
    "Created, edited and photographed offline": [
        {"Location_row_1": "Entrance", "Pressure_row_1": 80}, {"Location_row_1": "Roof", "Pressure_row_1": 85}
    ],
}  # fmt: skip


def test_every_sequence_is_on_the_page() -> None:
    assert list(SEQUENCES) == ["First download", *AFTERWARDS]
    assert all(len(blocks) >= 3 for blocks in SEQUENCES.values())


def test_a_difference_would_be_told() -> None:
    answer = {"a": [{"b": 1}], "c": True}
    assert list(differences({"a": [{"b": 1}]}, answer)) == []
    assert len(list(differences({"a": [{"b": 2}], "c": 1, "d": None}, answer))) == 3
    assert len(list(differences({"a": []}, answer))) == 1
