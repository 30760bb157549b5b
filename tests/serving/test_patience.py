"""Waiting for a client: how long, how slow it may be, and that others work meanwhile. Over a pair of sockets."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

import pytest

from app.serving import patience
from app.serving.held import Held
from app.serving.patience import PIECE, Pace, Patience, PatientSocket, Permits, new_permits

#: 0.4 seconds of silence, and 800 bytes in twice that time.
PATIENCE = Patience(head_seconds=0.3, silence_seconds=0.4, least_rate=1000, most_rest=100_000)


@pytest.fixture
def permits() -> Permits:
    """One thread may work at a time."""
    return new_permits(1)


@pytest.fixture
def held() -> Held:
    return Held(1_000_000)


@pytest.fixture
def ends(permits: Permits, held: Held) -> Iterator[tuple[PatientSocket, socket.socket]]:
    """The server's end of a connection, and the client's."""
    plain, client = socket.socketpair()
    server = PatientSocket(plain, PATIENCE, permits, held)
    with server, client:
        yield server, client


@pytest.fixture
def server(ends: tuple[PatientSocket, socket.socket]) -> PatientSocket:
    return ends[0]


@pytest.fixture
def client(ends: tuple[PatientSocket, socket.socket]) -> socket.socket:
    return ends[1]


@contextmanager
def at_work(server: PatientSocket) -> Iterator[None]:
    """A request in work."""
    server.begin_work()
    try:
        yield
    finally:
        server.end_work()


@pytest.fixture
def beside(client: socket.socket) -> Iterator[Callable[[Callable[[], object]], None]]:
    """Do something in a thread of its own while the test waits."""
    threads: list[threading.Thread] = []

    def start(deed: Callable[[], object]) -> None:
        threads.append(threading.Thread(target=deed))
        threads[-1].start()

    yield start
    with suppress(OSError):
        client.shutdown(socket.SHUT_RDWR)
    for thread in threads:
        thread.join(timeout=30)


def seconds_of(deed: Callable[[], object]) -> float:
    started = time.monotonic()
    deed()
    return time.monotonic() - started


def drip(client: socket.socket, size: int, pause: float, times: int) -> None:
    """Send `size` bytes after each pause, as long as the server takes them."""
    for _ in range(times):
        time.sleep(pause)
        try:
            client.sendall(bytes(size))
        except OSError:
            return


def test_what_is_there_is_received_at_once(server: PatientSocket, client: socket.socket) -> None:
    client.sendall(b"GET /")
    assert server.recv(8192) == b"GET /"
    client.close()
    assert server.recv(8192) == b""
    assert not server.is_too_slow


def test_a_head_has_one_deadline_however_it_drips(server: PatientSocket, client: socket.socket, beside: Any) -> None:
    beside(lambda: drip(client, 1000, 0.05, 20))

    def read() -> None:
        while server.recv(8192):
            pass

    assert 0.2 < seconds_of(read) < 0.9
    assert server.is_too_slow


def test_the_next_head_has_its_own_deadline(server: PatientSocket, client: socket.socket, beside: Any) -> None:
    beside(lambda: drip(client, 5, 0.2, 2))
    assert server.recv(5)
    server.expect_head()
    assert server.recv(5)


def test_a_body_ends_where_the_client_is_silent(server: PatientSocket, client: socket.socket) -> None:
    with at_work(server):
        client.sendall(b"half")
        assert server.recv(8192) == b"half"
        assert 0.3 < seconds_of(lambda: server.recv(8192)) < 2
        assert server.is_too_slow
        assert seconds_of(lambda: server.recv(8192)) < 0.3, "it is not waited for again"


def test_a_body_below_the_least_rate_ends(server: PatientSocket, client: socket.socket, beside: Any) -> None:
    beside(lambda: drip(client, 1, 0.1, 30))
    with at_work(server):
        started = time.monotonic()
        while server.recv(8192):
            pass
        assert 0.6 < time.monotonic() - started < 2.5
        assert server.is_too_slow


def test_a_body_may_take_as_long_as_it_likes_while_it_comes(
    server: PatientSocket, client: socket.socket, beside: Any
) -> None:
    beside(lambda: drip(client, 250, 0.1, 15))
    with at_work(server):
        received = 0
        while received < 15 * 250:
            received += len(server.recv(8192))
    assert not server.is_too_slow


def test_time_that_the_server_takes_for_itself_is_not_the_clients() -> None:
    pace = Pace(silence=30, window=60, least=60_000)
    pace.note_wait(29, was_in_vain=False)
    assert pace.next_wait() == 30
    pace.note_wait(29, was_in_vain=False)
    assert pace.next_wait() == 2


def test_an_answer_that_nobody_reads_ends(server: PatientSocket) -> None:
    with at_work(server), pytest.raises(ConnectionResetError, match="does not read"):
        server.sendall(bytes(50_000_000))
    assert server.is_too_slow


def test_an_answer_may_take_as_long_as_it_likes_while_it_is_read(
    server: PatientSocket, client: socket.socket, beside: Any
) -> None:
    received = 0

    def read() -> None:
        nonlocal received
        while received < 1_500_000:
            received += len(client.recv(100_000))
            time.sleep(0.1)

    beside(read)
    with at_work(server):
        assert seconds_of(lambda: server.sendall(bytes(1_500_000))) > 1
    assert not server.is_too_slow


def test_large_pieces_are_received_in_parts(server: PatientSocket, client: socket.socket, beside: Any) -> None:
    beside(lambda: client.sendall(bytes(3 * PIECE)))
    with at_work(server):
        received = [len(server.recv(3 * PIECE))]
        while sum(received) < 3 * PIECE:
            received.append(len(server.recv(3 * PIECE)))
    assert max(received) <= PIECE


@pytest.mark.parametrize("deed", ["recv", "sendall"])
def test_others_work_while_a_thread_waits_for_its_client(
    server: PatientSocket, client: socket.socket, beside: Any, permits: Permits, deed: str
) -> None:
    waits: dict[str, Callable[[], object]] = {
        "recv": lambda: server.recv(8192),
        "sendall": lambda: server.sendall(bytes(3_000_000)),
    }
    worked = threading.Event()

    def other() -> None:
        permits.get()
        worked.set()
        permits.put(None)
        client.sendall(b"x")
        while client.recv(1_000_000):
            pass

    with at_work(server):
        beside(other)
        waits[deed]()
        assert worked.is_set()
        assert permits.empty(), "it is at work again"
    server.shutdown(socket.SHUT_RDWR)


def test_the_rest_of_a_request_is_read_so_that_its_answer_arrives(
    server: PatientSocket, client: socket.socket, beside: Any
) -> None:
    answers: list[bytes] = []

    def send_all_then_read() -> None:
        client.sendall(bytes(90_000))
        answers.append(client.recv(100))
        client.close()

    with at_work(server):
        server.sendall(b"413")
    beside(send_all_then_read)
    server.linger()
    assert server.recv(1) == b""
    time.sleep(0.1)
    assert answers == [b"413"]


def test_no_more_than_the_limit_is_read_after_an_answer(
    server: PatientSocket, client: socket.socket, beside: Any
) -> None:
    beside(lambda: drip(client, 20_000, 0.01, 1000))
    with at_work(server):
        server.sendall(b"413")
    assert seconds_of(server.linger) < 5


def test_the_rest_of_a_request_has_a_deadline_however_it_drips(
    server: PatientSocket, client: socket.socket, beside: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert patience.REST_SECONDS == 10
    monkeypatch.setattr(patience, "REST_SECONDS", 0.1)

    def drip_and_end() -> None:
        drip(client, 1, 0.01, 2000)
        client.close()

    with at_work(server):
        server.sendall(b"413")
    beside(drip_and_end)
    assert seconds_of(server.linger) < 10
    assert server.is_too_slow


def test_gunicorns_main_thread_does_not_wait_once_more(server: PatientSocket, client: socket.socket) -> None:
    with at_work(server):
        pass
    client.shutdown(socket.SHUT_WR)
    server.linger()
    assert seconds_of(lambda: server.recv(4096)) < 0.3


# The memory that slow clients hold


def test_those_that_have_been_slow_for_longest_go_first() -> None:
    held = Held(100)
    for client in "abc":
        held.note(client, 30)
    held.note("a", 40)
    assert not any(map(held.has_to_go, "abc"))
    held.note("d", 50)
    assert [*map(held.has_to_go, "abcd")] == [True, True, False, False]
    held.note("a", 40)
    assert not held.has_to_go("c"), "one that has to go is not counted again"
    for client in "abcd":
        held.forget(client)
    held.note("a", 1000)
    assert not held.has_to_go("a"), "nobody else needs room"


def test_a_body_whose_memory_others_need_ends_and_its_answer_is_sent(
    server: PatientSocket, client: socket.socket, held: Held, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("app.serving.patience.LOOK_SECONDS", 0.02)
    with at_work(server):
        client.sendall(bytes(100_000))
        while server._received < 100_000:
            server.recv(PIECE)
        threading.Timer(0.05, held.note, ("another", 950_000)).start()
        assert seconds_of(lambda: server.recv(PIECE)) < 0.3, "long before it is too slow"
        assert (server.is_crowded_out, server.is_too_slow) == (True, True)
        server.sendall(b"503")
    assert client.recv(10) == b"503"
    held.note("a third", 50_000)
    assert not held.has_to_go("another"), "what it held is free"


def test_an_answer_whose_memory_others_need_breaks_off(
    server: PatientSocket, held: Held, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("app.serving.patience.LOOK_SECONDS", 0.02)
    threading.Timer(0.05, held.note, ("another", 950_000)).start()
    with at_work(server), pytest.raises(ConnectionResetError):
        server.sendall(bytes(900_000))
    held.note("a third", 50_000)
    assert not held.has_to_go("another")


def test_small_bodies_are_not_counted(server: PatientSocket, client: socket.socket, held: Held) -> None:
    with at_work(server):
        client.sendall(bytes(60_000))
        while server._received < 60_000:
            server.recv(PIECE)
        held.note("another", 1_000_000)
        threading.Timer(0.05, client.sendall, (b"the rest",)).start()
        assert server.recv(PIECE) == b"the rest"
