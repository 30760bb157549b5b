"""Clients that are slow, send before they read, or send what is no request: a real server serves the others meanwhile.

Its deadlines are shortened; `test_patience.py` has each of them in detail.
"""

from __future__ import annotations

import http.client
import json
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from io import BytesIO
from typing import Any
from uuid import uuid4

import pytest
from werkzeug.datastructures import FileStorage
from werkzeug.test import encode_multipart

from tests.support.databases import SECRET_KEY, sqlite_file
from tests.support.pictures import jpeg
from tests.support.servers import environment_of, flask, start, stop

#: The database plays no part in these.
pytestmark = pytest.mark.database("sqlite")

SETTINGS = {
    "FIELDPOST_HEAD_SECONDS": "2",
    "FIELDPOST_SILENCE_SECONDS": "2",
    "FIELDPOST_SECRET_KEY": SECRET_KEY,
    "FIELDPOST_MAX_BATCH_BYTES": "1048576",
    # The least that a server has: two workers of four threads.
    "WEB_CONCURRENCY": "2",
}

MANY = 64

TECHNICIAN = {"email": "technician@example.com", "password": "fieldpost-demo"}


@dataclass
class Server:
    """A running server, as a signed-in app sees it."""

    port: int
    token: str = ""
    photo: str = ""

    @property
    def headers(self) -> dict[str, str]:
        token = {"Authorization": f"Bearer {self.token}"} if self.token else {}
        return {"Content-Type": "application/json", **token}

    def call(self, method: str, path: str, body: bytes = b"", **headers: str) -> tuple[int, Any]:
        """Status and JSON of an answer."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=20)
        try:
            connection.request(method, path, body, {**self.headers, **headers})
            response = connection.getresponse()
            return response.status, json.loads(response.read())
        finally:
            connection.close()

    def sync(self) -> Any:
        """The results of a batch that nobody has sent before."""
        data = {"id": 1, "changes": {"Location_row_1": f"Attic {uuid4()}"}}
        items = [{"type": "form_fill", "local_id": str(uuid4()), "data": data}]
        return self.call("POST", "/api/v1/sync", json.dumps({"sync_items": items}).encode())[1]["results"]

    def upload(self, photo: bytes) -> str:
        """The id of a new photo."""
        file = FileStorage(BytesIO(photo), "riser.jpg", "photo")
        boundary, body = encode_multipart({"form_fill_id": "1", "field_name": "Riser_Photo", "photo": file})
        kind = f"multipart/form-data; boundary={boundary}"
        status, answer = self.call("POST", "/api/v1/sync/upload_photo", body, **{"Content-Type": kind})
        assert status == 200, answer
        found: str = answer["photo_attachment_id"]
        return found

    def open(self, sent: bytes) -> socket.socket:
        """A connection on which these bytes have been sent, of a client that has little room for answers."""
        connection = socket.socket()
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        connection.settimeout(20)
        connection.connect(("127.0.0.1", self.port))
        connection.sendall(sent)
        return connection

    def head(self, line: str, **headers: str) -> bytes:
        """The head of a request of the app."""
        lines = [f"{line} HTTP/1.1", "Host: x", *(f"{k}: {v}" for k, v in {**self.headers, **headers}.items())]
        return "\r\n".join([*lines, "", ""]).encode()


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server with the demo data and a large photo."""
    directory = tmp_path_factory.mktemp("server")
    with sqlite_file(directory):
        environment = environment_of(directory, **SETTINGS)
        result = flask(environment, "demo")
        assert result.returncode == 0, result.stderr
    process = start(environment)
    found = Server(int(environment["PORT"]))
    found.token = found.call("POST", "/api/v1/auth/login", json.dumps(TECHNICIAN).encode())[1]["access_token"]
    found.photo = found.upload(jpeg() + bytes(8_000_000))
    yield found
    assert process.poll() is None, "no test has ended it"
    assert stop(process) == 0


def half_head(_: Server) -> bytes:
    return b"GET /healthz HTTP/1.1\r\nHost: x\r\nX-A: "


def half_request_line(_: Server) -> bytes:
    return b"GET /hea"


def many_files_unread(_: Server) -> bytes:
    return b"GET /api/v1/docs/swagger-ui-bundle.js HTTP/1.1\r\nHost: x\r\n\r\n" * 30


def a_photo_unread(server: Server) -> bytes:
    return server.head(f"GET /api/v1/attachments/{server.photo}")


def half_body(server: Server) -> bytes:
    return server.head("POST /api/v1/sync", **{"Content-Length": "60000"}) + b'{"sync_items": ['


KINDS = [half_head, half_request_line, many_files_unread, a_photo_unread, half_body]


def name_of(kind: Callable[[Server], bytes]) -> str:
    return kind.__name__.replace("_", " ")


@contextmanager
def bad_connections(server: Server, kind: Callable[[Server], bytes], count: int) -> Iterator[list[socket.socket]]:
    """Bad connections of a kind, of which the server has had time to notice each."""
    sent = kind(server)
    with ExitStack() as stack:
        opened = [stack.enter_context(server.open(sent)) for _ in range(count)]
        time.sleep(0.5)
        yield opened


def trickle(connections: list[socket.socket]) -> None:
    for connection in connections:
        with suppress(OSError):
            connection.sendall(b" ")


@pytest.mark.parametrize("kind", KINDS, ids=name_of)
def test_many_bad_connections_keep_nobody_from_working(server: Server, kind: Callable[[Server], bytes]) -> None:
    with bad_connections(server, kind, MANY) as opened:
        for _ in range(3):
            started = time.monotonic()
            assert server.sync()["success"]
            assert time.monotonic() - started < 3
            if kind is half_body:
                trickle(opened)


def end_of(connection: socket.socket) -> str:
    """What the client reads at the end, at most a few hundred characters."""
    found = b""
    with suppress(ConnectionResetError):
        while piece := connection.recv(1_000_000):
            found = (found + piece)[-500:]
    return found.decode("latin-1")


def test_bad_connections_are_ended(server: Server) -> None:
    with ExitStack() as stack:
        opened = {kind: stack.enter_context(bad_connections(server, kind, 1))[0] for kind in KINDS}
        # Meanwhile one body goes on to drip.
        for _ in range(11):
            time.sleep(0.5)
            trickle([opened[half_body]])
        started = time.monotonic()
        ends = {kind: end_of(connection) for kind, connection in opened.items()}
        assert time.monotonic() - started < 2, "they had ended before"
    assert ends[half_head] == ends[half_request_line] == ""
    assert '"code":"too_slow"' in ends[half_body]
