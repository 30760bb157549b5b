"""Code that does not end, on a real server: interrupted where Python can be, else ended with its worker."""

from __future__ import annotations

import http.client
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from typing import Any

import pytest

from tests.outsider.conftest import Environment
from tests.outsider.test_installed import Client, Site
from tests.support.databases import postgresql_database, sqlite_file
from tests.support.demo import add_demo

#: A handler that does whatever its payload says, and does not come back.
STUCK = """
import ctypes
import os
import signal
import time

from app import policies
from app.models import FormFill
from app.plugin_api import SyncHandler, by_id, edit
from marshmallow import Schema, fields


def read(way):
    if way == "exit early":
        os._exit(4)


class StuckSchema(Schema):
    way = fields.String(required=True, validate=read)


def spin():
    while True:
        pass


def lock():
    # Waits in C for itself, and lets no other thread of Python run.
    mutex, take = ctypes.create_string_buffer(64), ctypes.PyDLL(None).pthread_mutex_lock
    take(mutex)
    take(mutex)


WAYS = {
    "no": lambda: None,
    "spin": spin,
    "sleep": lambda: time.sleep(600),
    "lock": lock,
    # Exit codes by which gunicorn's workers say that they cannot start.
    "exit": lambda: os._exit(3),
    "exit early": lambda: None,
    # As the system does for want of memory.
    "killed": lambda: os.kill(os.getpid(), signal.SIGKILL),
}


def apply(operation, context):
    outcome = edit(operation, context)
    WAYS[operation.data["way"]]()
    return outcome


handler = SyncHandler(
    type="stuck", schema=StuckSchema, target=by_id(FormFill), policy=policies.change, apply=apply
)
"""


@pytest.fixture(scope="module")
def database(request: pytest.FixtureRequest) -> Iterator[str]:
    """The address of a database that all tests here share; empty for a SQLite file."""
    with postgresql_database() if request.param == "postgresql" else nullcontext("") as url:
        yield url


@pytest.fixture(scope="module")
def server(database: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Client]:
    """A server that gives handlers one second, and silent workers four."""
    directory = tmp_path_factory.mktemp("stuck")
    environment = Environment(directory / "environment")
    (environment.site / "stuck.py").write_text(STUCK)
    metadata = environment.site / "fieldpost_stuck-1.0.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: fieldpost-stuck\nVersion: 1.0\n")
    (metadata / "entry_points.txt").write_text("[fieldpost.sync_handlers]\nstuck = stuck:handler\n")
    found = Site(environment, directory, database)
    found.variables |= {"FIELDPOST_HANDLER_SECONDS": "1", "GUNICORN_CMD_ARGS": "--timeout 4"}
    with nullcontext() if database else sqlite_file(directory):
        add_demo(found.variables)
    with found.server() as client:
        yield client


@pytest.fixture
def client(server: Client) -> Client:
    """The server's client, once the server answers again after the test before."""
    server.wait()
    return server


@pytest.fixture
def batch(client: Client, request: pytest.FixtureRequest) -> Callable[[str], Any]:
    """Sends a change, and behind it an operation that gets stuck in a way. No other test sends them."""
    test = request.node.name

    def send(way: str) -> Any:
        before = ("form_fill", f"before {way} in {test}", {"id": 1, "changes": {"Location_row_1": way}})
        return client.sync(before, ("stuck", f"{way} in {test}", {"id": 1, "way": way}))

    return send


def location(client: Client) -> str | None:
    (form_fill,) = client.get("/inspections/1/offline_data")["form_fills"]
    found: str | None = form_fill["data"].get("Location_row_1")
    return found


def test_a_loop_in_python_fails_alone_and_its_worker_stays(batch: Callable[[str], Any]) -> None:
    results = batch("spin")
    assert [each["index"] for each in results["success"]] == [0]
    assert [(each["code"], each["retryable"]) for each in results["errors"]] == [("handler_failed", True)]
    assert batch("no")["errors"] == []


@pytest.mark.parametrize("way", ["sleep", "lock"])
def test_what_cannot_be_interrupted_ends_with_its_worker_and_nothing_is_applied(
    client: Client, batch: Callable[[str], Any], way: str
) -> None:
    """`sleep` lets the watchdog run, `lock` does not, and is left to gunicorn."""
    batch("no")
    with pytest.raises((http.client.RemoteDisconnected, ConnectionError)):
        batch(way)
    client.wait()
    assert location(client) == "no", "the batch was rolled back"
    assert batch("no")["success"][0]["replayed"] is True
    assert client.sync(("form_fill", f"after {way}", {"id": 1, "changes": {"Location_row_1": "again"}}))["success"]


@pytest.mark.database("sqlite")
def test_an_item_that_ends_workers_is_not_tried_a_third_time(client: Client) -> None:
    """Otherwise the device would send the batch again for ever, and nothing behind the item would ever arrive.

    Of two such items in a batch the second one is met when the first one is not tried any more.
    """
    for ways in (("exit", "killed"), ("exit early",), ("sleep",)):
        name = ways[0]
        items: list[tuple[str, str, dict[str, Any]]] = [
            ("form_fill", f"before {name}", {"id": 1, "changes": {"Location_row_1": name}}),
            ("stuck", f"harmless {name}", {"id": 1, "way": "no"}),
            # Of another row than in the tests before, one of which has ended a worker with the same.
            *(("stuck", way, {"id": 2, "way": way}) for way in ways),
            ("form_fill", f"behind {name}", {"id": 1, "changes": {"Remarks": name}}),
        ]
        for _ in range(2 * len(ways)):
            with pytest.raises((http.client.RemoteDisconnected, ConnectionError)):
                client.sync(*items)
            client.wait()
        results = client.sync(*items)
        errors = [(entry["index"], entry["code"], entry["retryable"]) for entry in results["errors"]]
        assert errors == [(index, "handler_failed", True) for index in range(2, 2 + len(ways))]
        assert [entry["index"] for entry in results["success"]] == [0, 1, 2 + len(ways)]
    # Whoever else sends the same has not ended a worker yet; this device goes on with what is behind.
    assert client.sync(("stuck", "later", {"id": 1, "way": "no"}))["success"]
