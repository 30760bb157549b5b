"""A line that breaks: a proxy that cuts the connection whenever so many bytes of requests have passed it."""

from __future__ import annotations

import itertools
import socket
import struct
import threading
from collections.abc import Sequence
from contextlib import suppress
from types import TracebackType

#: Makes closing a connection a reset: what is under way is lost, both ends notice.
RESET = struct.pack("ii", 1, 0)

PIECE = 16 * 1024


class BreakingLine:
    """Hands connections to the servers on `ports` in turn; breaks `times` times, each after `every` bytes more."""

    def __init__(self, ports: Sequence[int], every: int, times: int) -> None:
        #: How often it has broken, and how many bytes of requests it has carried.
        self.broken = self.carried = 0
        self._every, self._times = every, times
        self._ports = itertools.cycle(ports)
        self._lock = threading.Lock()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._thread = threading.Thread(target=self._serve, daemon=True)

    @property
    def port(self) -> int:
        """Where it listens."""
        return int(self._listener.getsockname()[1])

    def __enter__(self) -> BreakingLine:
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        # Closing alone would not wake who waits in accept().
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._thread.join(timeout=10)

    def _serve(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            server = socket.create_connection(("127.0.0.1", next(self._ports)), timeout=60)
            threading.Thread(target=self._carry, args=(client, server), daemon=True).start()

    def _carry(self, client: socket.socket, server: socket.socket) -> None:
        with client, server:
            back = threading.Thread(target=_copy, args=(server, client), daemon=True)
            back.start()
            with suppress(OSError):
                while piece := client.recv(PIECE):
                    server.sendall(piece)
                    if self._breaks(len(piece)):
                        self._cut(client, server)
                        break
                else:
                    server.shutdown(socket.SHUT_WR)
            back.join(timeout=60)

    def _breaks(self, size: int) -> bool:
        with self._lock:
            self.carried += size
            is_due = self.broken < self._times and self.carried >= (self.broken + 1) * self._every
            self.broken += is_due
            return is_due

    def _cut(self, client: socket.socket, server: socket.socket) -> None:
        """By turns a reset, as when a device vanishes, and an orderly end of half a request."""
        for each in (client, server):
            if self.broken % 2:
                each.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
            with suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)


def _copy(source: socket.socket, target: socket.socket) -> None:
    with suppress(OSError):
        while piece := source.recv(PIECE):
            target.sendall(piece)
    with suppress(OSError):
        target.shutdown(socket.SHUT_WR)
