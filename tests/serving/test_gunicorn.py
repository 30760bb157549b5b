"""A real server: what is acknowledged stays, what is broken on the way changes nothing, and it ends in good order.

Flask's test client never shows how a WSGI server reads a body, so these go over real sockets (traps 3, 4, 5, 14, 17).
"""

from __future__ import annotations

import http.client
import json
import os
import resource
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any
from unittest.mock import patch
from uuid import uuid4

import psutil
import pytest
from sqlalchemy import Engine, NullPool, create_engine, select, text
from werkzeug.datastructures import FileStorage
from werkzeug.test import encode_multipart

from app.core.host.endings import THREADS
from app.models import FormFill
from tests.support.databases import SECRET_KEY
from tests.support.demo import add_demo, copy_demo
from tests.support.pictures import jpeg
from tests.support.servers import ROOT, demo_password, environment_of, flask, running, start, stop

#: The database plays no part in these.
about_http = pytest.mark.database("sqlite")

LIMITS = {"FIELDPOST_MAX_BATCH_BYTES": "65536"}

TECHNICIAN = "technician@example.com"


@pytest.fixture
def environment(database: str, tmp_path: Path) -> dict[str, str]:
    """A server's environment, on a database with the demo data."""
    found = environment_of(tmp_path, DATABASE_URL=database, FIELDPOST_SECRET_KEY=SECRET_KEY, **LIMITS)
    if database:
        add_demo(found)
    else:
        copy_demo(tmp_path)
    return found


class Device:
    """A signed-in app."""

    def __init__(self, environment: dict[str, str]) -> None:
        self.port = int(environment["PORT"])
        password = demo_password(Path(environment["FIELDPOST_DATA_DIR"]), TECHNICIAN)
        body = {"email": TECHNICIAN, "password": password}
        self.token = self.call("/api/v1/auth/login", body)[1]["access_token"]

    def call(self, path: str, body: Any) -> tuple[int, Any]:
        """Status and JSON of a POST."""
        return self._request("POST", path, json.dumps(body).encode(), self.headers())

    def get(self, path: str) -> tuple[int, Any]:
        """Status and JSON of a GET."""
        return self._request("GET", path, b"", self.headers())

    def send(self, parts: dict[str, Any]) -> tuple[int, Any]:
        """Status and JSON of the upload of a photo."""
        file = FileStorage(BytesIO(parts["photo"]), "riser.jpg", "photo")
        boundary, body = encode_multipart({**parts, "photo": file})
        headers = {**self.headers(), "Content-Type": f"multipart/form-data; boundary={boundary}"}
        return self._request("POST", "/api/v1/sync/upload_photo", body, headers)

    def _request(self, method: str, path: str, body: bytes, headers: dict[str, str]) -> tuple[int, Any]:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        try:
            connection.request(method, path, body, headers)
            response = connection.getresponse()
            return response.status, json.loads(response.read())
        finally:
            connection.close()

    def headers(self) -> dict[str, str]:
        token = {"Authorization": f"Bearer {self.token}"} if hasattr(self, "token") else {}
        return {"Content-Type": "application/json", **token}

    def sync(self, *items: dict[str, Any]) -> Any:
        """The results of a batch."""
        status, answer = self.call("/api/v1/sync", {"sync_items": items})
        assert status == 200, answer
        return answer["results"]

    def open(self, *headers: str) -> socket.socket:
        """A connection on which the head of a `POST /sync` has been sent."""
        connection = socket.create_connection(("127.0.0.1", self.port), timeout=20)
        lines = ["POST /api/v1/sync HTTP/1.1", "Host: x", *(f"{k}: {v}" for k, v in self.headers().items()), *headers]
        connection.sendall("\r\n".join([*lines, "", ""]).encode())
        return connection


def edit(value: str, form_fill: int = 1, local_id: str | None = None) -> dict[str, Any]:
    """An item that sets a field."""
    data = {"id": form_fill, "changes": {"Location_row_1": value}}
    return {"type": "form_fill", "local_id": local_id or f"edit-{value}", "data": data}


def batch(*items: dict[str, Any]) -> bytes:
    return json.dumps({"sync_items": items}).encode()


def answer_of(connection: socket.socket) -> tuple[int, Any] | None:
    """Status and JSON of the answer, the connection closed; None where the server just closed it."""
    response = http.client.HTTPResponse(connection, method="POST")
    try:
        response.begin()
        assert response.headers["Content-Type"] == "application/json"
        return response.status, json.loads(response.read())
    except (http.client.BadStatusLine, ConnectionError):
        return None
    finally:
        response.close()
        connection.close()


def engine_of(environment: dict[str, str]) -> Engine:
    """The server's database, read beside it."""
    url = environment["DATABASE_URL"].replace("postgresql://", "postgresql+psycopg://")
    path = Path(environment["FIELDPOST_DATA_DIR"]) / "fieldpost.sqlite3"
    return create_engine(url or f"sqlite:///{path}", poolclass=NullPool)


def query(environment: dict[str, str], statement: str) -> list[Any]:
    """Rows of the server's database."""
    with engine_of(environment).connect() as connection:
        return [tuple(row) for row in connection.execute(text(statement))]


def locations(environment: dict[str, str]) -> dict[int, str | None]:
    """The location that each form fill has."""
    with engine_of(environment).connect() as connection:
        found = connection.execute(select(FormFill.id, FormFill.data)).all()
    return {row_id: data.get("Location_row_1") for row_id, data in found}


@pytest.fixture
def _two_workers(environment: dict[str, str]) -> None:
    """Let the server have a worker more than the one that most tests need."""
    environment["WEB_CONCURRENCY"] = "2"


@pytest.fixture
def server(environment: dict[str, str]) -> Iterator[subprocess.Popen[bytes]]:
    process = start(environment)
    yield process
    if process.poll() is None:
        stop(process)


@pytest.fixture
def device(server: object, environment: dict[str, str]) -> Device:
    return Device(environment)


@dataclass(frozen=True)
class Running:
    """A server that runs for several tests, which leave it as good as before."""

    process: subprocess.Popen[bytes]
    environment: dict[str, str]


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """A server on SQLite, for tests about HTTP, of which the database knows nothing."""
    directory = tmp_path_factory.mktemp("shared")
    copy_demo(directory)
    environment = environment_of(directory, FIELDPOST_SECRET_KEY=SECRET_KEY, WEB_CONCURRENCY="2", **LIMITS)
    process = start(environment)
    yield Running(process, environment)
    assert process.poll() is None, "no test has ended it"
    stop(process)


@pytest.fixture
def phone(shared: Running) -> Device:
    """A device of the shared server."""
    return Device(shared.environment)


def new_edit() -> dict[str, Any]:
    """An edit of the first form fill that nobody has sent before."""
    return edit(f"Attic {uuid4()}")


def value_of(item: dict[str, Any]) -> str:
    """The location that an edit sets."""
    value: str = item["data"]["changes"]["Location_row_1"]
    return value


def test_what_was_synced_is_there_after_a_restart(environment: dict[str, str]) -> None:
    process = start(environment)
    first = Device(environment).sync(edit("Basement"))["success"][0]
    assert stop(process) == 0
    # The application is then made in the master, and connections that it has opened there would be shared.
    with running({**environment, "GUNICORN_CMD_ARGS": "--preload", "WEB_CONCURRENCY": "2"}):
        device = Device(environment)
        again = device.sync(edit("Basement"))["success"][0]
        photo = {"form_fill_id": "1", "field_name": "Riser_Photo", "photo": jpeg()}
        assert {device.send(photo)[0] for _ in range(8)} == {200}
    assert (first["message"], again["replayed"]) == ("FormFill updated successfully", True)
    assert again["updated_at"] == first["updated_at"]
    assert locations(environment)[1] == "Basement"


def test_a_batch_under_way_is_finished_and_answered_before_the_server_ends(
    server: subprocess.Popen[bytes], device: Device, environment: dict[str, str]
) -> None:
    # Another writer holds the row, so the batch is under way for as long as the test likes.
    holder = engine_of(environment).connect()
    holder.execute(text("UPDATE form_fills SET inspection_id = inspection_id WHERE id = 1"))
    body = batch(edit("Roof"))
    connection = device.open(f"Content-Length: {len(body)}")
    connection.sendall(body)
    time.sleep(1)
    server.send_signal(signal.SIGTERM)
    time.sleep(1)
    assert server.poll() is None
    holder.close()
    status, answer = answer_of(connection) or (None, {})
    assert status == 200
    assert [each["local_id"] for each in answer["results"]["success"]] == ["edit-Roof"]
    assert server.wait(timeout=30) == 0
    assert locations(environment)[1] == "Roof"


@pytest.mark.usefixtures("_two_workers")
def test_nothing_acknowledged_is_lost_by_kill_9_and_a_retry_applies_each_change_once(
    server: subprocess.Popen[bytes], device: Device, environment: dict[str, str]
) -> None:
    sent: list[dict[str, Any]] = []
    acknowledged: set[str] = set()

    def push(form_fill: int) -> None:
        for number in range(10_000):
            item = edit(str(number), form_fill, f"{form_fill}-{number}")
            sent.append(item)
            try:
                results = device.sync(item)
            except (OSError, http.client.HTTPException):
                return
            acknowledged.update(each["local_id"] for each in results["success"])

    threads = [threading.Thread(target=push, args=[form_fill]) for form_fill in (1, 2, 3)]
    for each in threads:
        each.start()
    while len(acknowledged) < 30:
        time.sleep(0.01)
    children = Path(f"/proc/{server.pid}/task/{server.pid}/children").read_text().split()
    for process in (server.pid, *map(int, children)):
        os.kill(process, signal.SIGKILL)
    for each in threads:
        each.join(timeout=30)
    server.wait()

    kept = {local_id for (local_id,) in query(environment, "SELECT local_id FROM ledger_operations")}
    assert acknowledged <= kept
    with running(environment):
        for form_fill in (1, 2, 3):
            queue = [each for each in sent if each["data"]["id"] == form_fill]
            results = device.sync(*queue[-5:])
            assert len(results["success"]) == min(5, len(queue)), results
    repeated = "SELECT local_id, count(*) FROM ledger_operations WHERE door = 'sync' GROUP BY 1 HAVING count(*) > 1"
    assert query(environment, repeated) == []
    assert locations(environment) == {
        form_fill: str(sum(each["data"]["id"] == form_fill for each in sent) - 1) for form_fill in (1, 2, 3)
    }


def room(server: subprocess.Popen[bytes], size: int) -> None:
    """From now on the kernel lets the workers write files up to this size, and refuses more, as a full disk does."""
    for pid in Path(f"/proc/{server.pid}/task/{server.pid}/children").read_text().split():
        resource.prlimit(int(pid), resource.RLIMIT_FSIZE, (size, resource.RLIM_INFINITY))


@about_http
def test_on_a_full_disk_nothing_is_recorded_the_server_is_not_ready_and_goes_on_afterwards(
    server: subprocess.Popen[bytes], device: Device, environment: dict[str, str]
) -> None:
    large = [edit("x" * 500, local_id=f"{number}-" + "x" * 200) for number in range(60)]
    ((stored,),) = query(environment, "SELECT count(*) FROM attachments")
    room(server, 32 * 1024)
    status, answer = device.call("/api/v1/sync", {"sync_items": large})
    assert (status, answer["code"]) == (503, "try_again")
    photo = {"form_fill_id": "1", "field_name": "Riser_Photo", "photo": jpeg() + bytes(50_000)}
    status, answer = device.send(photo)
    assert (status, answer["code"]) == (503, "try_again")
    # One can still look.
    assert device.get("/api/v1/sync/status")[0] == 200
    status, answer = device.get("/readyz")
    assert (status, answer["checks"]) == (
        503,
        {"database": "failed", "migrations": "ok", "models": "ok", "storage": "failed"},
    )
    assert locations(environment)[1] is None
    assert query(environment, "SELECT count(*) FROM attachments") == [(stored,)]

    room(server, resource.RLIM_INFINITY)
    assert len(device.sync(*large)["success"]) == 60
    assert device.send(photo)[0] == 200
    # A failure is kept for a second, by each worker.
    deadline = time.monotonic() + 10
    while device.get("/readyz")[0] != 200:
        assert time.monotonic() < deadline
        time.sleep(0.1)
    assert query(environment, "PRAGMA integrity_check") == [("ok",)]
    assert flask(environment, "storage", "check").stdout == f"{stored + 1} objects, {stored + 1} attachments\n"


def test_a_chunked_body_within_the_limit_is_read_whole(shared: Running, phone: Device) -> None:
    item = new_edit()
    connection = phone.open("Transfer-Encoding: chunked")
    body = batch(item)
    for piece in (body[:10], body[10:]):
        connection.sendall(b"%x\r\n%s\r\n" % (len(piece), piece))
    connection.sendall(b"0\r\n\r\n")
    status, _ = answer_of(connection) or (None, None)
    assert status == 200
    assert locations(shared.environment)[1] == value_of(item)


def test_a_chunked_body_over_the_limit_is_413(shared: Running, phone: Device) -> None:
    before = locations(shared.environment)
    # Cut at the limit it would be a whole document: the batch, then blanks (trap 3). More than the buffers hold, all of
    # it sent before the answer is read.
    body = batch(new_edit()) + b" " * 8_000_000
    connection = phone.open("Transfer-Encoding: chunked")
    connection.sendall(b"%x\r\n%s\r\n0\r\n\r\n" % (len(body), body))
    status, answer = answer_of(connection) or (None, {})
    assert (status, answer["code"], answer["limit"]) == (413, "too_large", 65536)
    assert locations(shared.environment) == before


def test_a_body_shorter_than_announced_changes_nothing(shared: Running, phone: Device) -> None:
    before = locations(shared.environment)
    body = batch(new_edit())
    connection = phone.open(f"Content-Length: {len(body) + 100}")
    connection.sendall(body)
    connection.shutdown(socket.SHUT_WR)
    status, answer = answer_of(connection) or (None, {})
    assert (status, answer["code"]) == (400, "bad_json")
    assert locations(shared.environment) == before


@pytest.mark.parametrize("size", [b"zz", b"-5", b"", b"1" * 40])
def test_a_malformed_chunk_size_changes_nothing_and_stops_nobody(shared: Running, phone: Device, size: bytes) -> None:
    before = locations(shared.environment)
    body = batch(new_edit())
    connection = phone.open("Transfer-Encoding: chunked")
    connection.sendall(size + b"\r\n" + body + b"\r\n0\r\n\r\n")
    connection.shutdown(socket.SHUT_WR)
    status, answer = answer_of(connection) or (None, {})
    assert (status, answer["code"]) == (400, "bad_json")
    assert locations(shared.environment) == before
    assert phone.sync(new_edit())["success"]


def test_a_device_that_is_gone_half_way_changes_nothing(shared: Running, phone: Device) -> None:
    body, item = batch(new_edit()), new_edit()
    connection = phone.open(f"Content-Length: {len(body)}")
    connection.sendall(body[: len(body) // 2])
    connection.close()
    assert phone.sync(item)["success"]
    assert locations(shared.environment)[1] == value_of(item)


def test_no_socket_for_controlling_the_server_is_open(shared: Running) -> None:
    """gunicorn 27 opens one unless it is told not to (trap 16)."""
    inodes = {
        target[len("socket:[") : -1]
        for link in Path(f"/proc/{shared.process.pid}/fd").iterdir()
        if (target := os.readlink(link)).startswith("socket:[")
    }
    unix = {line.split()[6]: line.split()[7:] for line in Path("/proc/net/unix").read_text().splitlines()[1:]}
    assert [unix[inode] for inode in inodes & set(unix) if unix[inode]] == []


def configuration() -> dict[str, Any]:
    """Everything that gunicorn reads from its file."""
    source = (ROOT / "gunicorn.conf.py").read_text()
    settings: dict[str, Any] = {}
    # The file drops our modules from its process.
    with patch.dict(sys.modules):
        # Another test may have imported it with other settings.
        sys.modules.pop("app.serving.gunicorn_conf", None)
        exec(compile(source, "gunicorn.conf.py", "exec"), settings)
    return settings


def test_connections_are_spread_evenly_over_the_workers(shared: Running) -> None:
    port = int(shared.environment["PORT"])
    workers = psutil.Process(shared.process.pid).children()

    def spread(count: int) -> list[int]:
        """Open connections, one after the other, and count each worker's."""
        opened = [http.client.HTTPConnection("127.0.0.1", port, timeout=30) for _ in range(count)]
        for each in opened:
            each.request("GET", "/healthz")
            each.getresponse().read()
        found = [counted(each) for each in workers]
        for each in opened:
            each.close()
        while sum(map(counted, workers)):
            time.sleep(0.01)
        return found

    def counted(worker: psutil.Process) -> int:
        connections = worker.net_connections("tcp")
        return sum(each.status == psutil.CONN_ESTABLISHED and each.laddr.port == port for each in connections)

    deadline = time.monotonic() + 60
    while 0 in spread(8):
        assert time.monotonic() < deadline, "one worker takes all connections"
    # By chance they come to some ten; on a machine that is busy, one or the other may be taken by the wrong worker.
    series = [sum(abs(left - right) for left, right in (spread(8) for _ in range(5))) for _ in range(3)]
    assert min(series) <= 4, series


#: A server whose worker counts how often a connection is handed to a thread, and an application that tells.
COUNTING = """
from pathlib import Path
settings = {}
exec(Path("gunicorn.conf.py").read_text(), settings)

class worker_class(settings["worker_class"]):
    handed = 0

    def enqueue_req(self, conn):
        worker_class.handed += 1
        super().enqueue_req(conn)

def application(environ, start_response):
    body = str(worker_class.handed).encode()
    start_response("200 OK", [("Content-Length", str(len(body)))])
    return [body]

bind, workers, threads, keepalive = settings["bind"], 1, 2, 60
"""


def test_a_connection_keeps_its_thread_as_long_as_there_are_enough(tmp_path: Path) -> None:
    environment = environment_of(tmp_path, PYTHONPATH=str(tmp_path))
    (tmp_path / "counting.py").write_text(COUNTING)

    connections = [http.client.HTTPConnection("127.0.0.1", int(environment["PORT"]), timeout=30) for _ in range(3)]
    first, second, third = connections

    def handed(through: http.client.HTTPConnection) -> int:
        through.request("GET", "/")
        return int(through.getresponse().read())

    server = start(environment, "--config=python:counting", "counting:application")
    try:
        # A client on a busy machine does not always send its next request in time.
        assert handed(first) + 50 > [handed(first) for _ in range(60)][-1]
        handed(second)
        before = handed(third)
        assert [handed(third) for _ in range(10)] == [*range(before + 1, before + 11)], "there are two threads"
        assert min(handed(first), handed(second)) > before
        for each in connections:
            each.close()
    finally:
        assert stop(server) == 0


#: Executes gunicorn's file, and prints what has been imported and stays.
LOADED = """
import sys
import gunicorn.app.wsgiapp, gunicorn.workers.gthread
before = set(sys.modules)
exec(open("gunicorn.conf.py").read(), {})
print(*{name.partition(".")[0] for name in sys.modules.keys() - before} - sys.stdlib_module_names)
"""


def test_the_master_keeps_no_module_that_an_upgrade_replaces(tmp_path: Path) -> None:
    """Workers that are started later would run part of the old release, or of its libraries."""
    command = [sys.executable, "-c", LOADED]
    result = subprocess.run(command, cwd=ROOT, env=environment_of(tmp_path), capture_output=True, text=True, check=True)
    assert result.stdout == "\n"


@pytest.mark.parametrize(
    ("settings", "bind"),
    [
        ({}, ["127.0.0.1:8000"]),
        ({"HOST": "0.0.0.0", "PORT": "80"}, ["0.0.0.0:80"]),
        ({"HOST": "::1", "FIELDPOST_METRICS_PORT": "9000"}, ["[::1]:8000", "[::1]:9000"]),
    ],
)
def test_the_server_listens_where_the_settings_say(
    monkeypatch: pytest.MonkeyPatch, settings: dict[str, str], bind: list[str]
) -> None:
    for name in ("HOST", "PORT", "FIELDPOST_METRICS_PORT", "WEB_CONCURRENCY"):
        monkeypatch.setenv(name, settings.get(name, ""))
    found = configuration()
    assert (found["bind"], found["workers"]) == (bind, 2)


def test_the_server_believes_nobody_about_the_scheme(shared: Running) -> None:
    """By default gunicorn believes X-Forwarded-Proto from localhost (trap 16)."""
    connection = http.client.HTTPConnection("127.0.0.1", int(shared.environment["PORT"]), timeout=20)
    forged = {"X-Forwarded-Proto": "https", "X-Forwarded-Ssl": "on", "X-Forwarded-Protocol": "ssl"}
    connection.request("GET", "/sign-in", headers={"Accept": "text/html", **forged})
    cookie = connection.getresponse().headers["Set-Cookie"]
    connection.close()
    assert cookie.startswith("fieldpost=")
    assert "Secure" not in cookie


def test_the_items_of_every_thread_that_a_worker_can_have_are_marked() -> None:
    """Each connection may have one. An item in a thread without a mark would end workers again and again."""
    assert configuration()["worker_connections"] <= THREADS


def test_the_server_ends_in_peace_and_has_no_second_door() -> None:
    settings = configuration()
    assert settings["control_socket_disable"] is True
    assert settings["graceful_timeout"] >= 10
