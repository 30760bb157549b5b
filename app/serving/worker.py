"""gunicorn's thread worker with two methods changed. Loads only gunicorn: its master imports this module.

`accept`, `handle`, `nr_conns` and `conn.sock` are gunicorn's own and not documented; `tests/serving/test_gunicorn.py`
shows that they still behave as this module needs.
"""

from __future__ import annotations

import select
import time
from socket import socket
from typing import Protocol

from gunicorn.workers.gthread import ThreadWorker

#: A worker's pause before it takes another connection: seconds for each one that it has, and the most that count.
PAUSE, MOST_PAUSES = 0.0005, 4

#: The wait of an idle thread for the next request of its connection, in milliseconds.
STAY = 20


class Connection(Protocol):
    """The part of gunicorn's connection that is used here."""

    sock: socket


class BalancedWorker(ThreadWorker):  # type: ignore[misc]
    """gunicorn's `gthread`, but connections are spread evenly, and keep their threads as long as there are enough."""

    def accept(self, listener: socket) -> None:
        """Take a connection unless another worker has in the meantime: the one that has the fewest gets it.

        Connections are kept open, and the worker that wakes up first would take them. At times one worker would have
        all of them, and the others, with their processors, none.
        """
        if self.cfg.workers > 1:
            time.sleep(PAUSE * min(self.nr_conns, MOST_PAUSES))
        super().accept(listener)

    def handle(self, conn: Connection) -> object:
        """Answer requests of a connection in a thread; True if the connection is kept open.

        After each request gunicorn gives a connection back to the main thread, which waits for the next one and gives
        it to a thread again. For small requests that is a good part of their time.
        """
        is_kept: object = super().handle(conn)
        while is_kept is True and self.alive and self.nr_conns <= self.cfg.threads and can_be_read(conn.sock):
            is_kept = super().handle(conn)
        return is_kept


def can_be_read(connection: socket) -> bool:
    """Whether bytes of a connection arrive soon, or its end does."""
    waiting = select.poll()
    waiting.register(connection, select.POLLIN)
    return bool(waiting.poll(STAY))
