"""Real S3 servers for tests, each a process of its own, and a proxy that brings them into trouble."""

from __future__ import annotations

import http.client
import os
import socket
import struct
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from tests.support.servers import free_port

BUCKET = "photos"

#: How many objects an answer of moto lists at most; Amazon lists 1000.
LISTED = 100

#: Settings for the servers, which boto3 finds in the environment, instead of the developer's own.
CREDENTIALS = {
    "AWS_ACCESS_KEY_ID": "fieldpost-tests",
    "AWS_SECRET_ACCESS_KEY": "a secret of the tests",
    "AWS_DEFAULT_REGION": "eu-central-1",
    "AWS_CONFIG_FILE": "/dev/null",
    "AWS_SHARED_CREDENTIALS_FILE": "/dev/null",
    "AWS_EC2_METADATA_DISABLED": "true",
}

#: Beside the interpreter, where pip puts the programs of packages.
PROGRAMS = Path(sys.executable).parent


@pytest.fixture
def _credentials(monkeypatch: pytest.MonkeyPatch) -> None:
    """boto3 finds the credentials in this process's environment, and no others."""
    for name in ("AWS_SESSION_TOKEN", "AWS_PROFILE", "AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_S3"):
        monkeypatch.delenv(name, raising=False)
    for name, value in CREDENTIALS.items():
        monkeypatch.setenv(name, value)


@contextmanager
def moto() -> Iterator[str]:
    """The address of a moto server with the bucket."""
    port = free_port()
    command = [str(PROGRAMS / "moto_server"), "--host", "127.0.0.1", "--port", str(port)]
    with _running(command, port) as endpoint:
        # It checks no signatures.
        urllib.request.urlopen(urllib.request.Request(f"{endpoint}/{BUCKET}", method="PUT")).close()
        yield endpoint


@contextmanager
def rclone(directory: Path) -> Iterator[str]:
    """The address of rclone's server, which keeps the bucket as a directory below `directory`."""
    (directory / BUCKET).mkdir()
    port = free_port()
    key = f"{CREDENTIALS['AWS_ACCESS_KEY_ID']},{CREDENTIALS['AWS_SECRET_ACCESS_KEY']}"
    options = ["--addr", f"127.0.0.1:{port}", "--auth-key", key, "--config", "/dev/null"]
    with _running([str(PROGRAMS / "rclone"), "serve", "s3", *options, str(directory)], port) as endpoint:
        yield endpoint


@contextmanager
def _running(command: list[str], port: int) -> Iterator[str]:
    environment = {**os.environ, "MOTO_S3_DEFAULT_MAX_KEYS": str(LISTED)}
    process = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        _wait_for(process, port)
        yield f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait(timeout=10)


def _wait_for(process: subprocess.Popen[bytes], port: int) -> None:
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        assert process.poll() is None, f"{process.args!r} ended with {process.returncode}"
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
        except OSError:
            time.sleep(0.02)
        else:
            return
    raise AssertionError(f"{process.args!r} did not answer within 30 seconds")


class Exchange(BaseHTTPRequestHandler):
    """One connection of a client to the proxy."""

    protocol_version = "HTTP/1.1"
    server: Proxy

    def forward(self) -> None:
        """Pass the request on, and the answer back."""
        status, headers, data = self.ask()
        self.answer(status, headers, data)

    def ask(self) -> tuple[int, list[tuple[str, str]], bytes]:
        """The server's answer to the request."""
        body = self.body()
        connection = http.client.HTTPConnection("127.0.0.1", self.server.target, timeout=10)
        connection.request(self.command, self.path, body, dict(self.headers.items()))
        response = connection.getresponse()
        data = response.read()
        connection.close()
        return response.status, response.getheaders(), data

    def body(self) -> bytes:
        """The client's request."""
        return self.rfile.read(int(self.headers.get("Content-Length") or 0))

    def answer(self, status: int, headers: list[tuple[str, str]], data: bytes) -> None:
        """Answer the client, on a connection that is then over."""
        self.send_response_only(status)
        for name, value in headers:
            if name.lower() not in {"connection", "transfer-encoding"}:
                self.send_header(name, value)
        self.send_header("Connection", "close")
        self.end_headers()
        self.wfile.write(data)

    def cut(self) -> None:
        """End the connection as a broken network does, with RST."""
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        # The handler's files hold the connection open as well.
        self.rfile.close()
        self.wfile.close()
        self.connection.close()
        self.close_connection = True

    def _exchange(self) -> None:
        self.close_connection = True
        self.server.asked.append(f"{self.command} {self.path.partition('?')[0]}")
        fault = self.server.fault if self.command in self.server.methods else None
        (fault or Exchange.forward)(self)

    do_GET = do_PUT = do_POST = do_DELETE = _exchange

    def finish(self) -> None:
        """Nothing is left to flush after a cut."""
        if not self.wfile.closed:
            super().finish()

    def log_message(self, format: str, *args: object) -> None:
        """Tests are silent."""


Fault = Callable[[Exchange], None]


class Proxy(ThreadingHTTPServer):
    """A proxy in front of an S3 server. It forwards everything, or lets `fault` handle requests of `methods`."""

    daemon_threads = True

    def __init__(self, target: int) -> None:
        super().__init__(("127.0.0.1", 0), Exchange)
        self.target = target
        self.asked: list[str] = []
        self.ended = threading.Event()
        self.break_with(None)

    @property
    def endpoint(self) -> str:
        """Its address."""
        return f"http://127.0.0.1:{self.server_address[1]}"

    def break_with(self, fault: Fault | None, methods: str = "GET PUT DELETE") -> None:
        """From now on do this with requests of these methods; None: hand them on."""
        self.fault, self.methods = fault, methods.split()

    def handle_error(self, request: object, client_address: object) -> None:
        """A client that gave up."""


@contextmanager
def proxy(endpoint: str) -> Iterator[Proxy]:
    """A proxy before the server at `endpoint`."""
    with Proxy(int(endpoint.rpartition(":")[2])) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.02,))
        thread.start()
        try:
            yield server
        finally:
            server.ended.set()
            server.shutdown()
            thread.join()


def refuse(status: int, code: str) -> Fault:
    """Answer as S3 does when it does not want to."""
    xml = f"<Error><Code>{code}</Code><Message>No.</Message></Error>".encode()

    def answer(exchange: Exchange) -> None:
        exchange.body()
        exchange.answer(status, [("Content-Type", "application/xml"), ("Content-Length", str(len(xml)))], xml)

    return answer


def nonsense(exchange: Exchange) -> None:
    """Answer without XML, as a proxy with a page of its own does."""
    exchange.body()
    exchange.answer(200, [("Content-Type", "text/html"), ("Content-Length", "7")], b"<p>Hm!<")


def hang(exchange: Exchange) -> None:
    """Take the request and never answer."""
    exchange.body()
    exchange.server.ended.wait(30)


def refuse_to_read(exchange: Exchange) -> None:
    """Take the head of the request, and nothing of its body."""
    exchange.server.ended.wait(30)


def cut_before(exchange: Exchange) -> None:
    """Break the connection before the server gets anything."""
    exchange.cut()


def cut_after(exchange: Exchange) -> None:
    """Break the connection after the server has performed the request and answered."""
    exchange.ask()
    exchange.cut()


def cut_within(exchange: Exchange) -> None:
    """Break the connection in the middle of the answer's body."""
    status, headers, data = exchange.ask()
    exchange.answer(status, headers, data[: len(data) // 2])
    exchange.wfile.flush()
    exchange.connection.shutdown(socket.SHUT_WR)
