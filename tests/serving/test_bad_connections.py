"""Clients that are slow, send before they read, or send what is no request: a real server serves the others meanwhile.

Its deadlines are shortened; `test_patience.py` has each of them in detail.
"""

from __future__ import annotations

import http.client
import json
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from io import BytesIO
from typing import Any
from uuid import uuid4

import pytest
from werkzeug.datastructures import FileStorage
from werkzeug.test import encode_multipart

from tests.support.databases import SECRET_KEY
from tests.support.demo import copy_demo
from tests.support.node import NODE
from tests.support.pictures import jpeg
from tests.support.servers import demo_password, environment_of, start, stop
from tests.support.slow_lines import slow_line

#: The database plays no part in these.
pytestmark = pytest.mark.database("sqlite")

SETTINGS = {
    "FIELDPOST_HEAD_SECONDS": "2",
    "FIELDPOST_SILENCE_SECONDS": "2",
    "FIELDPOST_SECRET_KEY": SECRET_KEY,
    "FIELDPOST_MAX_BATCH_BYTES": "1048576",
    "FIELDPOST_MAX_HELD_BYTES": "10485760",
    # The least that a server has: two workers of four threads.
    "WEB_CONCURRENCY": "2",
}

MANY = 64

TECHNICIAN = "technician@example.com"


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
    copy_demo(directory)
    environment = environment_of(directory, **SETTINGS)
    process = start(environment)
    found = Server(int(environment["PORT"]))
    credentials = {"email": TECHNICIAN, "password": demo_password(directory, TECHNICIAN)}
    found.token = found.call("POST", "/api/v1/auth/login", json.dumps(credentials).encode())[1]["access_token"]
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


#: Of these the answers are not read.
UNREAD = [many_files_unread, a_photo_unread]

KINDS = [half_head, half_request_line, *UNREAD, half_body]


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


def large_body(server: Server) -> bytes:
    return server.head("POST /api/v1/sync", **{"Content-Length": "1000000"}) + b" " * 900_000


def test_slow_bodies_beyond_what_a_worker_may_hold_are_sent_again_later(server: Server) -> None:
    # Eleven of them have room in each of the two workers.
    with bad_connections(server, large_body, 40) as opened:
        assert server.sync()["success"]
        time.sleep(0.7)
        trickle(opened)
        ends = [end_of(connection) for connection in opened]
    crowded_out = [end for end in ends if '"code":"try_again"' in end]
    assert len(crowded_out) >= 40 - 22
    assert all('"retryable":true' in end for end in crowded_out)
    assert all('"code":"too_slow"' in end for end in ends if end not in crowded_out)


def test_answers_that_nobody_reads_are_held_for_some_alone(server: Server) -> None:
    with bad_connections(server, a_photo_unread, 5) as opened:
        time.sleep(0.7)
        lengths = [length_of(connection) for connection in opened]
    assert sum(length > 8_000_000 for length in lengths) <= 2, "each worker has room for one"
    assert server.sync()["success"]


def length_of(connection: socket.socket) -> int:
    """The bytes that still come."""
    length = 0
    with suppress(ConnectionResetError):
        while piece := connection.recv(1_000_000):
            length += len(piece)
    return length


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
        ends = {kind: end_of(connection) for kind, connection in opened.items() if kind not in UNREAD}
        lengths = [length_of(opened[kind]) for kind in UNREAD]
        assert time.monotonic() - started < 2, "they had ended before"
    assert ends[half_head] == ends[half_request_line] == ""
    assert '"code":"too_slow"' in ends[half_body]
    assert max(lengths) < 8_000_000, "the answers have broken off, although they are read in the end"


# What is no request


HOST_LINE = "Host: x"


def refusal(server: Server, head: str) -> tuple[int, Any]:
    """Status and JSON of the answer to a head, which is checked for the shape of all errors."""
    with server.open(head.replace("\n", "\r\n").encode("latin-1")) as connection:
        response = http.client.HTTPResponse(connection)
        response.begin()
        answer = json.loads(response.read())
    assert {"success", "error", "code", "message", "request_id"} <= answer.keys()
    assert answer["success"] is False
    headers = response.headers
    assert (headers["Content-Type"], headers["X-Content-Type-Options"]) == ("application/json", "nosniff")
    assert (headers["Cache-Control"], headers["X-Request-ID"]) == ("no-store", answer["request_id"])
    return response.status, answer["code"]


REFUSED = {
    "a long address": (f"GET /{'x' * 5000} HTTP/1.1\n{HOST_LINE}\n\n", 414, "uri_too_long"),
    "a long header": (f"GET / HTTP/1.1\n{HOST_LINE}\nX-A: {'x' * 9000}\n\n", 431, "headers_too_large"),
    "many headers": (f"GET / HTTP/1.1\n{HOST_LINE}\n" + "X-A: 1\n" * 200 + "\n", 431, "headers_too_large"),
    "a header without a name": (f"GET / HTTP/1.1\n{HOST_LINE}\nnonsense\n\n", 400, "bad_request"),
    "NUL in a header": (f"GET / HTTP/1.1\n{HOST_LINE}\nX-A: \0\n\n", 400, "bad_request"),
    "no HTTP": ("hello\n\n", 400, "bad_request"),
    "two lengths": (
        f"POST / HTTP/1.1\n{HOST_LINE}\nContent-Length: 1\nContent-Length: 2\n\nxx",
        400,
        "bad_request",
    ),
    "a signed length": (f"POST / HTTP/1.1\n{HOST_LINE}\nContent-Length: +5\n\nxxxxx", 400, "bad_request"),
    "gzip and chunked": (
        f"POST /healthz HTTP/1.1\n{HOST_LINE}\nTransfer-Encoding: gzip, chunked\n\n0\n\n",
        501,
        "bad_request",
    ),
    "gzip": (f"POST / HTTP/1.1\n{HOST_LINE}\nTransfer-Encoding: gzip\n\n", 400, "bad_request"),
    "an unknown coding": (f"POST / HTTP/1.1\n{HOST_LINE}\nTransfer-Encoding: br\n\n", 501, "bad_request"),
    "no Host": ("GET /healthz HTTP/1.1\n\n", 400, "bad_request"),
    "two Hosts": (f"GET /healthz HTTP/1.1\n{HOST_LINE}\n{HOST_LINE}\n\n", 400, "bad_request"),
    "an empty Host": ("GET /healthz HTTP/1.1\nHost:\n\n", 400, "bad_request"),
    "a Host with a path": ("GET /healthz HTTP/1.1\nHost: evil.example/x?\n\n", 400, "bad_request"),
    "a Host with a blank": ("GET /healthz HTTP/1.1\nHost: a b\n\n", 400, "bad_request"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_no_request_is_refused_as_json(server: Server, name: str) -> None:
    head, status, code = REFUSED[name]
    assert refusal(server, head) == (status, code)


@pytest.mark.parametrize("host", ["x", "fieldpost.example:8000", "127.0.0.1", "[::1]:8000", "my_host", "xn--bcher-kva"])
def test_hosts_of_all_kinds_are_taken(server: Server, host: str) -> None:
    assert server.call("GET", "/healthz", Host=host)[0] == 200


def test_an_old_client_needs_no_host(server: Server) -> None:
    with server.open(b"GET /healthz HTTP/1.0\r\n\r\n") as connection:
        assert "alive" in end_of(connection)


def test_a_client_that_asks_before_it_sends_its_body_is_told_to_go_on(server: Server) -> None:
    """`Expect: 100-continue` (RFC 9110, section 10.1.1), as curl and .NET send it."""
    body = b'{"sync_items":[]}'
    asking = {"Expect": "100-continue", "Content-Length": str(len(body)), "Connection": "close"}
    with server.open(server.head("POST /api/v1/sync", **asking)) as connection:
        assert connection.recv(4096) == b"HTTP/1.1 100 Continue\r\n\r\n"
        connection.sendall(body)
        assert "Sync completed" in end_of(connection)


# Clients that send everything before they read


#: More than the kernel takes from a client at once.
BODY = b" " * 6_000_000

#: Method, path, changed headers and the status of the answer, which is given before the body was read.
EARLY = {
    "401": ("POST", "/api/v1/sync", {"Authorization": "Bearer x"}),
    "404": ("POST", "/api/v1/nowhere", {}),
    "405": ("PUT", "/api/v1/sync", {}),
    "413": ("POST", "/api/v1/sync", {}),
    "415": ("POST", "/api/v1/sync", {"Content-Type": "text/plain"}),
}

CURL = ["curl", "-s", "-o", "/dev/null", "-w", "%{http_code}", "-H", "Expect:", "--data-binary", "@-"]

FETCH = """
const [url, method, headers, size] = JSON.parse(process.argv[1]);
fetch(url, {method, headers, body: Buffer.alloc(size, " ")}).then(async (answer) => {
  await answer.json();
  console.log(answer.status);
});
"""


def by_python(port: int, method: str, path: str, headers: dict[str, str]) -> str:
    return str(Server(port).call(method, path, BODY, **headers)[0])


def by_curl(port: int, method: str, path: str, headers: dict[str, str]) -> str:
    lines = [part for name, value in headers.items() for part in ("-H", f"{name}: {value}")]
    command = [*CURL, "-X", method, *lines, f"http://127.0.0.1:{port}{path}"]
    return subprocess.run(command, input=BODY, capture_output=True, check=False).stdout.decode()


def by_node(port: int, method: str, path: str, headers: dict[str, str]) -> str:
    call = json.dumps([f"http://127.0.0.1:{port}{path}", method, headers, len(BODY)])
    result = subprocess.run([NODE, "-e", FETCH, call], capture_output=True, check=False)
    return result.stdout.decode().strip() or result.stderr.decode()


CLIENTS = {"python": by_python, "curl": by_curl, "node": by_node}


def test_an_answer_before_the_body_was_read_arrives_over_a_slow_line(server: Server) -> None:
    calls = {(name, status): (client, *EARLY[status]) for name, client in CLIENTS.items() for status in EARLY}
    with slow_line(server.port, 1_000_000) as port, ThreadPoolExecutor(len(calls)) as pool:
        answers = {
            key: pool.submit(client, port, method, path, {**server.headers, **headers})
            for key, (client, method, path, headers) in calls.items()
        }
    assert {key: answer.result() for key, answer in answers.items()} == {key: key[1] for key in calls}
