"""A real server whose SQLite file is replaced, removed or damaged under it: nothing acknowledged is lost."""

from __future__ import annotations

import http.client
import shutil
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from uuid import uuid4

import pytest

from tests.serving.test_gunicorn import Device, demo, edit
from tests.support.databases import SECRET_KEY
from tests.support.servers import ROOT, environment_of, start, stop

__all__ = ["demo"]

WRITERS = 4


@dataclass
class Server:
    """A running server, its database's file, and a device."""

    path: Path
    environment: dict[str, str]
    device: Device
    process: subprocess.Popen[bytes]


@pytest.fixture(scope="module")
def server(demo: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    directory = shutil.copytree(demo, tmp_path_factory.mktemp("disk") / "data")
    environment = environment_of(directory, FIELDPOST_SECRET_KEY=SECRET_KEY)
    process = start(environment)
    yield Server(directory / "fieldpost.sqlite3", environment, Device(environment), process)
    if process.poll() is None:
        stop(process)


@dataclass
class Load:
    """What several devices have sent at full speed."""

    #: local_id -> when it was sent, of the acknowledged batches, on the monotonic clock.
    acknowledged: dict[str, float] = field(default_factory=dict)
    #: Every status that was answered; None: the connection was closed.
    statuses: set[int | None] = field(default_factory=set)

    def sent_after(self, moment: float) -> set[str]:
        """The acknowledged batches that were sent after a moment."""
        return {local_id for local_id, sent in self.acknowledged.items() if sent > moment}


def send_one(device: Device, load: Load) -> int | None:
    """Send one edit and note its answer."""
    local_id, sent = uuid4().hex, time.monotonic()
    status: int | None
    try:
        status, answer = device.call("/api/v1/sync", {"sync_items": [edit(local_id, local_id=local_id)]})
    except (OSError, http.client.HTTPException):
        status = None
    load.statuses.add(status)
    if status == 200 and answer["results"]["success"]:
        load.acknowledged[local_id] = sent
    return status


@contextmanager
def under_load(device: Device) -> Iterator[Load]:
    """Several writers, until the block ends."""
    load, is_over = Load(), threading.Event()

    def write() -> None:
        while not is_over.is_set():
            send_one(device, load)

    threads = [threading.Thread(target=write) for _ in range(WRITERS)]
    for thread in threads:
        thread.start()
    try:
        yield load
    finally:
        is_over.set()
        for thread in threads:
            thread.join(timeout=30)


def wait_for(condition: Callable[[], bool], sentence: str) -> None:
    deadline = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < deadline, sentence
        time.sleep(0.02)


def recorded(path: Path) -> set[str]:
    """The batches in the file, which must be sound."""
    with closing(sqlite3.connect(path)) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        return {local_id for (local_id,) in connection.execute("SELECT local_id FROM ledger_operations")}


def test_after_the_file_was_replaced_all_that_is_acknowledged_is_in_the_new_one(server: Server) -> None:
    copy = server.path.with_name("copy")
    with closing(sqlite3.connect(server.path)) as source, closing(sqlite3.connect(copy)) as target:
        source.backup(target)
    with under_load(server.device) as load:
        wait_for(lambda: len(load.acknowledged) > 20, "nothing is acknowledged")
        copy.replace(server.path)
        replaced = time.monotonic()
        wait_for(lambda: len(load.sent_after(replaced)) > 20, "the server does not come back")
    assert load.statuses <= {200, 503, None}
    assert load.sent_after(replaced) <= recorded(server.path)
    assert server.device.get("/readyz")[0] == 200


def test_while_the_file_is_away_nothing_is_taken(server: Server) -> None:
    with under_load(server.device) as load:
        wait_for(lambda: len(load.acknowledged) > 20, "nothing is acknowledged")
        away = server.path.rename(server.path.with_name("away"))
        removed = time.monotonic()
        wait_for(lambda: 503 in load.statuses, "work is taken for a file that is gone")
        status, answer = server.device.get("/readyz")
        assert (status, answer["checks"]["database"]) == (503, "failed")
        time.sleep(0.3)
        assert load.sent_after(removed) == set()
        away.rename(server.path)
        wait_for(lambda: bool(load.sent_after(removed)), "the server does not come back")
    assert load.statuses <= {200, 503}
    assert load.acknowledged.keys() <= recorded(server.path)


def test_a_damaged_file_takes_nothing_more_and_is_refused_at_the_next_start(server: Server) -> None:
    load = Load()
    with server.path.open("r+b") as file:
        file.write(b"\xff" * server.path.stat().st_size)
    wait_for(lambda: send_one(server.device, load) == 503, "damage is not noticed")
    assert load.statuses <= {200, 503}
    wait_for(lambda: server.device.get("/readyz")[0] == 503, "the server stays ready")
    stop(server.process)
    command = [sys.executable, "-m", "gunicorn", "--log-level=warning", "wsgi:app"]
    again = subprocess.run(command, cwd=ROOT, env=server.environment, capture_output=True, text=True, timeout=60)
    assert again.returncode != 0
    assert "restore a backup" in again.stderr
