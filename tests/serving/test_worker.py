"""gunicorn's worker with some methods changed, call by call; `test_gunicorn.py` has it in a real server."""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest
from gunicorn.workers.gthread import ThreadWorker

from app.serving.held import Held
from app.serving.patience import Patience, PatientSocket, new_permits
from app.serving.worker import MOST_PAUSES, PAUSE, STAY, BalancedWorker, can_be_read


@pytest.fixture
def worker() -> Any:
    """One of two workers of four threads, with one connection."""
    found = BalancedWorker.__new__(BalancedWorker)
    found.cfg = SimpleNamespace(workers=2, threads=4)
    found.alive, found.nr_conns = True, 1
    return found


@pytest.fixture
def ends() -> Iterator[tuple[PatientSocket, socket.socket]]:
    """The server's end of a connection, and the client's."""
    plain, client = socket.socketpair()
    server = PatientSocket(plain, Patience(head_seconds=0.1), new_permits(4), Held(1_000_000))
    with server, client:
        yield server, client


@pytest.mark.parametrize(
    ("workers", "connections", "pauses"), [(2, 0, 0), (2, 1, 1), (2, 3, 3), (2, 50, MOST_PAUSES), (1, 50, None)]
)
def test_the_more_connections_a_worker_has_the_later_it_takes_another(
    worker: Any, monkeypatch: pytest.MonkeyPatch, workers: int, connections: int, pauses: int | None
) -> None:
    done: list[Any] = []
    monkeypatch.setattr("app.serving.worker.time.sleep", done.append)
    monkeypatch.setattr(ThreadWorker, "accept", lambda _, listener: done.append(listener))
    worker.cfg.workers, worker.nr_conns = workers, connections
    worker.accept("listener")
    assert done == [*([] if pauses is None else [pauses * PAUSE]), "listener"]


@pytest.fixture
def answers(monkeypatch: pytest.MonkeyPatch, ends: tuple[socket.socket, socket.socket]) -> list[object]:
    """Requests that gunicorn has answered, each a byte; it says of `.` that the connection ends with it."""
    found: list[object] = []

    def answer(_: Any, conn: Any) -> bool:
        found.append(conn.sock.recv(1))
        return bool(found[-1] != b".")

    monkeypatch.setattr(ThreadWorker, "handle", answer)
    return found


def test_a_thread_answers_the_requests_of_its_connection_as_long_as_they_come(
    worker: Any, answers: list[object], ends: tuple[socket.socket, socket.socket]
) -> None:
    ends[1].sendall(b"abc")
    assert worker.handle(SimpleNamespace(sock=ends[0])) is True
    assert answers == [b"a", b"b", b"c"]


def test_a_connection_that_ends_gives_its_thread_back(
    worker: Any, answers: list[object], ends: tuple[socket.socket, socket.socket]
) -> None:
    ends[1].sendall(b"a.b")
    assert worker.handle(SimpleNamespace(sock=ends[0])) is False
    assert answers == [b"a", b"."]


@pytest.mark.parametrize("change", [{"nr_conns": 5}, {"alive": False}], ids=["others need it", "the server ends"])
def test_a_thread_that_is_needed_elsewhere_is_given_back_after_each_request(
    worker: Any, answers: list[object], ends: tuple[socket.socket, socket.socket], change: dict[str, Any]
) -> None:
    vars(worker).update(change)
    ends[1].sendall(b"ab")
    assert worker.handle(SimpleNamespace(sock=ends[0])) is True
    assert answers == [b"a"]


def test_certificates_stop_the_start() -> None:
    with pytest.raises(SystemExit, match="to a proxy in front"):
        BalancedWorker.check_config(SimpleNamespace(is_ssl=True), None)


def test_a_thread_waits_for_a_moment_and_no_longer(ends: tuple[socket.socket, socket.socket]) -> None:
    started = time.monotonic()
    assert not can_be_read(ends[0])
    assert STAY / 1000 <= time.monotonic() - started < 10
    ends[1].close()
    assert can_be_read(ends[0]), "its end can be read, too"
