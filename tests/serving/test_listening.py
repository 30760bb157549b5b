"""A server that is told to end, or to reload, in the second after it has replaced another one."""

from __future__ import annotations

import logging
import os
import socket
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace
from unittest.mock import patch

import pytest
from gunicorn.arbiter import Arbiter

from app.serving import listening, reloading


@pytest.fixture
def listener() -> Iterator[socket.socket]:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield listener


@pytest.fixture
def successor(listener: socket.socket, monkeypatch: pytest.MonkeyPatch) -> Arbiter:
    """A master whose former master has ended, which it has not seen yet."""
    monkeypatch.setenv("GUNICORN_PID", "4711")
    server = Arbiter.__new__(Arbiter)
    server.LISTENERS = [listener]
    server.log = logging.getLogger("successor")
    server.cfg = SimpleNamespace(proc_name="test", env_orig={})
    server.master_pid, server.reexec_pid, server.systemd, server.pidfile = os.getpid(), 0, False, None
    return server


def is_open(listener: socket.socket) -> bool:
    try:
        with socket.create_connection(listener.getsockname(), timeout=5):
            return True
    except ConnectionRefusedError:
        return False


def test_at_its_end_it_closes_its_ports(successor: Arbiter, listener: socket.socket) -> None:
    assert is_open(listener)
    listening.close_ports(successor)
    assert not is_open(listener)


def test_while_the_former_master_lives_the_ports_stay_open(successor: Arbiter, listener: socket.socket) -> None:
    successor.master_pid = os.getppid()
    listening.close_ports(successor)
    assert is_open(listener)


def test_it_is_reloaded_at_once(successor: Arbiter) -> None:
    with patch.object(successor, "reexec") as reexec:
        reloading.reload(successor)
    reexec.assert_called_once_with()


def test_a_container_whose_first_process_it_is_goes_on(successor: Arbiter, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "getpid", lambda: 1)
    with patch.object(successor, "reexec") as reexec:
        reloading.reload(successor)
    reexec.assert_not_called()


def test_connections_that_wait_for_a_worker_are_answered(successor: Arbiter, listener: socket.socket) -> None:
    clients = [socket.create_connection(listener.getsockname(), timeout=30) for _ in range(5)]
    with ThreadPoolExecutor() as pool:
        end = pool.submit(listening.close_ports, successor)
        for client in clients:
            with client, listener.accept()[0] as connection:
                client.sendall(b"x")
                assert connection.recv(1) == b"x"
        end.result()
    assert not is_open(listener)
