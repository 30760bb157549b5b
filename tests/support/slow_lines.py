"""A slow line to a server on this machine: a proxy that lets through so many bytes a second, and every reset."""

from __future__ import annotations

import socket
import struct
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress

#: Bytes on the line at a time. The kernel's own buffers would take a whole body at once.
PIECE = 16 * 1024


@contextmanager
def slow_line(port: int, rate: int) -> Iterator[int]:
    """The port of a line to `port` on which each client sends `rate` bytes a second at most."""
    with socket.socket() as listener, ThreadPoolExecutor(100) as pool:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, PIECE)
        listener.bind(("127.0.0.1", 0))
        listener.listen(100)
        pool.submit(_accept, listener, port, PIECE / rate, pool)
        yield listener.getsockname()[1]
        # It wakes the thread that accepts.
        listener.shutdown(socket.SHUT_RDWR)


def _accept(listener: socket.socket, port: int, pause: float, pool: ThreadPoolExecutor) -> None:
    with suppress(OSError):
        while True:
            client, _ = listener.accept()
            pool.submit(_connect, client, port, pause, pool)


def _connect(client: socket.socket, port: int, pause: float, pool: ThreadPoolExecutor) -> None:
    with client, socket.create_connection(("127.0.0.1", port)) as server:
        back = pool.submit(_carry, server, client, 0.0)
        _carry(client, server, pause)
        back.result()


def _carry(source: socket.socket, target: socket.socket, pause: float) -> None:
    """Carry bytes one way until they end; a connection that breaks breaks on the other side, too."""
    try:
        while piece := source.recv(PIECE):
            target.sendall(piece)
            time.sleep(pause)
        target.shutdown(socket.SHUT_WR)
    except OSError:
        for end in (source, target):
            with suppress(OSError):
                end.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                end.shutdown(socket.SHUT_RDWR)
