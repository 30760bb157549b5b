"""What stands in front of several servers: it hands every connection to the next one that takes it."""

from __future__ import annotations

import itertools
import socket
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress


@contextmanager
def front(ports: Sequence[int]) -> Iterator[int]:
    """The port of a proxy before the servers on `ports`; one that is gone is passed over."""
    turns = itertools.cycle(range(len(ports)))
    listener = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        while True:
            try:
                client, _ = listener.accept()
            except OSError:
                return
            threading.Thread(target=_hand_over, args=(client, ports, next(turns)), daemon=True).start()

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    try:
        yield listener.getsockname()[1]
    finally:
        # Closing alone would not wake who waits in accept().
        with suppress(OSError):
            listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        thread.join(timeout=10)


def _hand_over(client: socket.socket, ports: Sequence[int], first: int) -> None:
    with client:
        for port in (*ports[first:], *ports[:first]):
            try:
                server = socket.create_connection(("127.0.0.1", port), timeout=30)
            except OSError:
                continue
            with server:
                back = threading.Thread(target=_pump, args=(server, client), daemon=True)
                back.start()
                _pump(client, server)
                back.join(timeout=60)
            return


def _pump(source: socket.socket, target: socket.socket) -> None:
    """Copy until the source ends; then tell the target so."""
    with suppress(OSError):
        while piece := source.recv(64 * 1024):
            target.sendall(piece)
    with suppress(OSError):
        target.shutdown(socket.SHUT_WR)
