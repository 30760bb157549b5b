"""Reloads and stops under load: nobody is refused, reset or kept waiting; a release that cannot start ends alone."""

from __future__ import annotations

import http.client
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import psutil
import pytest

from tests.support.databases import sqlite_file
from tests.support.forks import Forked, Program
from tests.support.servers import environment_of, start, stop

#: The tests' server loads its application from here, so that a broken release can be put in its place. A file tells of
#: each process that has loaded it.
APPLICATION = """
import os
from app.serving.wsgi import app
open(f"{__file__}.{os.getpid()}", "w").close()
"""
BROKEN = "import sys\nsys.exit(4)\n"


@pytest.fixture
def release(tmp_path: Path) -> Path:
    path = tmp_path / "release_of_test.py"
    path.write_text(APPLICATION)
    return path


@pytest.fixture
def environment(tmp_path: Path, release: Path) -> Iterator[dict[str, str]]:
    directory = tmp_path / "data"
    directory.mkdir()
    with sqlite_file(directory):
        yield environment_of(directory, PYTHONPATH=str(release.parent), WEB_CONCURRENCY="2")


@pytest.fixture
def server(environment: dict[str, str]) -> Iterator[subprocess.Popen[bytes]]:
    process = start(environment, "release_of_test:app")
    yield process
    for each in masters_of(environment):
        each.terminate()
        psutil.wait_procs([each], timeout=30)


def masters_of(environment: dict[str, str]) -> list[psutil.Process]:
    """The master processes with this data directory: those whose parent is none of them."""
    directory = environment["FIELDPOST_DATA_DIR"]
    own = {
        each.pid: each
        for each in psutil.process_iter(["environ", "ppid"])
        if (each.info["environ"] or {}).get("FIELDPOST_DATA_DIR") == directory
    }
    return [each for each in own.values() if each.info["ppid"] not in own]


class Load:
    """Clients that ask again and again, on new connections or on kept ones."""

    def __init__(self, port: int) -> None:
        self.port = port
        self.is_over = False
        self.answered = 0
        self.slowest = 0.0
        self.refused = 0
        self.faults: list[BaseException] = []

    def ask_on_new_connections(self) -> None:
        while not self.is_over:
            with closing(http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)) as connection:
                self._ask(connection, closes=True)
            time.sleep(0.05)

    def ask_on_one_connection(self) -> None:
        with closing(http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)) as connection:
            while not self.is_over:
                self._ask(connection, closes=False)
                time.sleep(0.05)

    def go_on(self) -> None:
        """Wait until every client has been answered some times more."""
        after = self.answered + 40
        wait_until(lambda: self.answered > after)

    def _ask(self, connection: http.client.HTTPConnection, *, closes: bool) -> None:
        began = time.monotonic()
        try:
            connection.request("GET", "/healthz", headers={"Connection": "close"} if closes else {})
            assert connection.getresponse().read()
        except ConnectionRefusedError:
            self.refused += 1
            connection.close()
        except (OSError, http.client.HTTPException, AssertionError) as error:
            self.faults.append(error)
            connection.close()
        else:
            self.answered += 1
            self.slowest = max(self.slowest, time.monotonic() - began)


@contextmanager
def load(environment: dict[str, str]) -> Iterator[Load]:
    found = Load(int(environment["PORT"]))
    threads = [threading.Thread(target=found.ask_on_new_connections) for _ in range(2)]
    threads += [threading.Thread(target=found.ask_on_one_connection) for _ in range(2)]
    for each in threads:
        each.start()
    try:
        yield found
    finally:
        found.is_over = True
        for each in threads:
            each.join()


def wait_until(is_so: object, seconds: float = 60) -> None:
    assert callable(is_so)
    deadline = time.monotonic() + seconds
    while not is_so():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_reloads_and_the_end_of_a_server_under_load(
    server: subprocess.Popen[bytes], environment: dict[str, str], release: Path
) -> None:
    with load(environment) as found:
        found.go_on()
        release.write_text(BROKEN)
        for each in (signal.SIGHUP, signal.SIGUSR2):
            try_broken_release(server, each)
            found.go_on()

        release.write_text(APPLICATION)
        rejected = started_beside(server, release)
        rejected.terminate()
        psutil.wait_procs([rejected], timeout=60)
        found.go_on()
        assert server.poll() is None, "the present release can be kept"

        server.send_signal(signal.SIGHUP)
        assert server.wait(timeout=60) == 0, "the next master has ended it"
        found.go_on()
        assert (found.faults, found.refused) == ([], 0)
        assert found.slowest < 5

        (successor,) = masters_of(environment)
        successor.terminate()
        psutil.wait_procs([successor], timeout=60)
    assert found.faults == [], "at its end a server resets nobody"
    assert found.refused > 0


def try_broken_release(server: subprocess.Popen[bytes], sign: signal.Signals) -> None:
    """Send the signal, see the new master come and end, and the former release serve on."""
    master = psutil.Process(server.pid)
    before = len(master.children())
    server.send_signal(sign)
    wait_until(lambda: len(master.children()) == before + 1)
    wait_until(lambda: len(master.children()) == before)
    assert server.poll() is None


def started_beside(server: subprocess.Popen[bytes], release: Path) -> psutil.Process:
    """Send USR2, and wait until both workers of the new master have loaded the release. Returns the new master."""
    loaded = len(list(release.parent.glob(f"{release.name}.*")))
    workers = psutil.Process(server.pid).children()
    server.send_signal(signal.SIGUSR2)
    wait_until(lambda: len(list(release.parent.glob(f"{release.name}.*"))) == loaded + 2)
    (master,) = [each for each in psutil.Process(server.pid).children() if each not in workers]
    return master


def test_nobody_is_connected_and_systemd_not_told_before_a_worker_can_answer(
    environment: dict[str, str], release: Path, tmp_path: Path
) -> None:
    gate = release.with_name("gate")
    waiting = f"import os, time\nwhile not os.path.exists({str(gate)!r}):\n    time.sleep(0.05)\n"
    release.write_text(waiting + APPLICATION)
    address = ("127.0.0.1", int(environment["PORT"]))
    path = tmp_path / "notify"
    program = ["gunicorn", "--log-level=warning", "release_of_test:app"]
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as heard:
        heard.bind(str(path))
        process = Forked(Program(program, {**environment, "NOTIFY_SOCKET": str(path)}))
        try:
            wait_until(lambda: len(psutil.Process(process.pid).children()) == 2)
            with pytest.raises(ConnectionRefusedError):
                socket.create_connection(address, timeout=5)
            heard.setblocking(False)
            with pytest.raises(BlockingIOError):
                heard.recv(1000)
            heard.settimeout(60)
            gate.touch()
            assert heard.recv(1000).splitlines()[:2] == [b"READY=1", f"MAINPID={process.pid}".encode()]
            assert _answers(address)
        finally:
            assert stop(process) == 0


def _answers(address: tuple[str, int]) -> bool:
    with closing(http.client.HTTPConnection(*address, timeout=30)) as connection:
        connection.request("GET", "/healthz")
        return connection.getresponse().status == 200
