"""A stranger's distribution from its installation to its removal: pip, a real server, two versions of its schema."""

from __future__ import annotations

import json
import os
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.outsider.conftest import EQUIPMENT, Environment
from tests.support.databases import SECRET_KEY
from tests.support.demo import add_demo
from tests.support.forks import Forked, Program, run
from tests.support.servers import demo_password, environment_of, stop

#: gunicorn's exit code for an application that cannot be loaded.
CANNOT_LOAD = 4

ADMIN = "admin@example.com"


class Site:
    """Fieldpost in a fresh environment, on one database."""

    def __init__(self, environment: Environment, directory: Path, database: str, **settings: str) -> None:
        self.environment = environment
        self.variables = environment_of(
            directory, DATABASE_URL=database, FIELDPOST_SECRET_KEY=SECRET_KEY, WEB_CONCURRENCY="1", **settings
        )

    def run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run a module where the environment's distributions are installed."""
        return run(self._program(*arguments), timeout=60)

    def flask(self, *arguments: str) -> str:
        """The output of a command that must succeed."""
        result = self.run("flask", "--app", "wsgi", *arguments)
        assert result.returncode == 0, result.stdout + result.stderr
        return result.stdout

    @contextmanager
    def server(self) -> Iterator[Client]:
        """A running server's client, signed in as administrator."""
        process = Forked(self._program("gunicorn", "--log-level=warning", "wsgi:app"))
        try:
            directory = Path(self.variables["FIELDPOST_DATA_DIR"])
            yield Client(process, int(self.variables["PORT"]), demo_password(directory, ADMIN))
        finally:
            stop(process)

    def _program(self, *arguments: str) -> Program:
        return Program(arguments, dict(self.variables), sites=[self.environment.site])


class Client:
    """A device's HTTP."""

    def __init__(self, process: subprocess.Popen[bytes], port: int, password: str) -> None:
        self.address = f"http://127.0.0.1:{port}"
        self.process = process
        self.token = ""
        self.wait()
        self.token = self.call("POST", "/api/v1/auth/login", {"email": ADMIN, "password": password})["access_token"]

    def wait(self) -> None:
        """Until the server answers."""
        for _ in range(300):
            assert self.process.poll() is None, f"gunicorn ended with {self.process.returncode}"
            try:
                self.call("GET", "/healthz")
                return
            except (urllib.error.URLError, ConnectionError):
                time.sleep(0.05)

    def call(self, method: str, path: str, body: Any = None) -> Any:
        """The JSON of an answer, whatever its status."""
        request = urllib.request.Request(self.address + path, method=method)
        request.add_header("Content-Type", "application/json")
        if self.token:
            request.add_header("Authorization", f"Bearer {self.token}")
        try:
            with urllib.request.urlopen(request, None if body is None else json.dumps(body).encode(), 30) as answer:
                return json.load(answer)
        except urllib.error.HTTPError as error:
            return json.load(error)

    def get(self, path: str) -> Any:
        """The `data` of an answer."""
        answer = self.call("GET", f"/api/v1{path}")
        assert answer["success"], answer
        return answer["data"]

    def sync(self, *items: tuple[str, str, dict[str, Any]]) -> Any:
        """The results of a batch of (type, local_id, payload)."""
        sent = [{"type": kind, "local_id": local_id, "data": data} for kind, local_id, data in items]
        return self.call("POST", "/api/v1/sync", {"sync_items": sent})["results"]


@pytest.fixture
def site(fresh: Environment, database: str, tmp_path: Path) -> Site:
    journal = {"FIELDPOST_EQUIPMENT_JOURNAL": str(tmp_path / "journal"), "FIELDPOST_EQUIPMENT_MOST_DETAILS": "2"}
    found = Site(fresh, tmp_path, database, **journal)
    add_demo(found.variables)
    return found


@pytest.mark.database("postgresql")
def test_a_distribution_is_installed_upgraded_and_uninstalled(
    site: Site, first_wheel: Path, second_wheel: Path, tmp_path: Path
) -> None:
    """One test for the whole life, since each step stands on the one before."""
    site.environment.install(first_wheel)
    refuses_to_start_without_its_migrations(site, "equipment", "none", "0001")
    assert "equipment: at migration 0001" in site.flask("db", "upgrade")
    checked = site.flask("plugins", "check")
    assert checked == ("10 types and 4 plugins are all right.\nOpen to everybody: GET /api/v1/equipment/about\n")
    with site.server() as client:
        works_from_end_to_end(client, tmp_path / "journal")
    assert site.flask("equipment", "count") == "2 pieces\n"
    assert "equipment: removed 0" in site.flask("storage", "gc")
    assert "FIELDPOST_EQUIPMENT_MOST_DETAILS=2" in site.flask("config")

    site.environment.install(second_wheel)
    refuses_to_start_without_its_migrations(site, "equipment", "0001", "0002")
    assert "equipment: at migration 0002" in site.flask("db", "upgrade")
    with site.server() as client:
        serves_apps_of_both_versions(client)

    told = site.flask("plugins", "remove", "equipment")
    assert "Table equipment_items: 3 rows. Stays" in told
    assert "pip uninstall fieldpost-equipment" in told
    site.environment.pip("uninstall", "--yes", "fieldpost-equipment")
    assert "equipment" not in site.flask("db", "upgrade")
    with site.server() as client:
        goes_on_without_it(client)


def refuses_to_start_without_its_migrations(site: Site, name: str, present: str, needed: str) -> None:
    result = site.run("gunicorn", "wsgi:app")
    assert result.returncode == CANNOT_LOAD
    assert (
        f"Fieldpost cannot start. The tables of {name} are at migration {present}, and {needed} is needed. "
        "Run `fieldpost db upgrade`, then start again."
    ) in result.stderr
    assert "Traceback" not in result.stderr


def works_from_end_to_end(client: Client, journal: Path) -> None:
    client_id = "6b1f3c1e-3d0c-4c52-8a52-0d5f4e1f0001"
    results = client.sync(
        ("equipment_room", "r1", {"inspection_id": 1, "name": "Boiler room"}),
        ("equipment_room", "r2", {"inspection_id": 1, "name": "Attic"}),
        ("equipment_item", "i1", {"inspection_id": 1, "room_id": 1, "tag": "A", "client_id": client_id}),
        ("equipment", "i2", {"inspection_id": 1, "tag": "B", "details": {"kW": 1}}),
    )
    assert [each["server_id"] for each in results["success"]] == [1, 2, 1, 2], results
    results = client.sync(
        ("equipment_item", "i1", {"inspection_id": 1, "room_id": 1, "tag": "A", "client_id": client_id}),
        ("equipment_move", "m1", {"equipment_id": client_id, "to_room_id": 2}),
        ("equipment", "e1", {"inspection_id": 1, "tag": "B"}),
        ("equipment", "e2", {"id": client_id, "details": {"a": 1, "b": 2, "c": 3}}),
    )
    assert [each["message"] for each in results["success"]] == ["Equipment created successfully", "Equipment moved"]
    assert [(each["code"], each["error"]) for each in results["errors"]] == [
        ("invalid", "This tag is on another piece of equipment"),
        ("too_many_details", "There are too many details"),
    ]
    noted = [line.split() for line in journal.read_text().splitlines()]
    assert [each[:2] + each[3:] for each in noted] == [
        ["admin@example.com", "None", "equipment", "2", "i1"],
        ["admin@example.com", "None", "equipment", "3", "i2"],
    ]
    shows_its_rows_everywhere(client)


def shows_its_rows_everywhere(client: Client) -> None:
    records = {(each["entity"], each["id"]): each["record"] for each in client.get("/sync/changes")["changes"]}
    assert [records["equipment_room", each]["item_count"] for each in (1, 2)] == [0, 1]
    entities = client.get("/inspections/1/offline_data")["entities"]
    assert [each["tag"] for each in entities["equipment"]] == ["A", "B"]
    assert client.get("/sync/status")["total_equipment"] == 2
    history = client.get("/entities/equipment/1/history")["history"]
    assert [each["action"] for each in history] == ["change", "change", "create"]
    assert "photo_annotate" in {each["type"] for each in client.get("/sync/types")["types"]}
    assert client.get("/equipment/tags") == {"tags": ["A", "B"]}
    document = client.call("GET", "/api/v1/openapi.json")
    assert "SyncItem_photo_annotate" in document["components"]["schemas"]
    told = document["paths"]["/api/v1/equipment/tags"]["get"]["responses"]["200"]["content"]["application/json"]
    assert "tags" in told["schema"]["properties"]["data"]["properties"]
    token, client.token = client.token, ""
    assert client.call("GET", "/api/v1/equipment/tags")["code"] == "token_missing"
    assert client.get("/equipment/about") == {"most_details": 2}
    client.token = token


def serves_apps_of_both_versions(client: Client) -> None:
    results = client.sync(
        ("equipment", "old", {"inspection_id": 2, "tag": "C"}),
        ("equipment", "new", {"id": 2, "label": "A2", "serial": "4711"}),
        ("equipment_retire", "gone", {"room_id": 2}),
    )
    assert [each["local_id"] for each in results["success"]] == ["old", "new"]
    assert results["success"][1]["data"]["serial"] == "4711"
    (entry,) = results["errors"]
    assert entry["code"] == "invalid_type"
    assert entry["message"].startswith("Rooms are retired in the office now: drop the item. This server knows: ")


def goes_on_without_it(client: Client) -> None:
    (entry,) = client.sync(("equipment", "late", {"inspection_id": 2, "tag": "D"}))["errors"]
    assert (entry["code"], entry["retryable"]) == ("invalid_type", False)
    (entry,) = client.sync(("equipment", "old", {"inspection_id": 2, "tag": "C"}))["success"]
    assert entry["replayed"] is True, "what was applied stays applied"
    assert not [each for each in client.get("/sync/changes")["changes"] if each["entity"].startswith("equipment")]
    assert client.get("/inspections/1/offline_data")["entities"] == {}
    assert "total_equipment" not in client.get("/sync/status")
    answer = client.call("DELETE", "/api/v1/inspections/1")
    assert answer["success"], "the rows that are left do not keep the core from deleting what they stand below"


@pytest.mark.database("sqlite")
def test_its_own_tests_pass_where_the_distribution_is_installed(site: Site, first_wheel: Path) -> None:
    site.environment.install(first_wheel)
    result = run(Program(["pytest", "-q", "tests"], dict(os.environ), EQUIPMENT, [site.environment.site]))
    assert result.returncode == 0, result.stdout
