"""gunicorn's thread worker with some methods changed. Loads only gunicorn: its master imports this module.

The methods of `BalancedWorker`, `nr_conns` and `conn.sock` are gunicorn's own and not documented; `tests/serving/`
shows that they still behave as this module needs.
"""

from __future__ import annotations

import errno
import select
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from socket import socket
from typing import Any, ClassVar, Protocol

from gunicorn.workers.gthread import ThreadWorker

from app.serving import refusals
from app.serving.held import Held
from app.serving.patience import Patience, PatientSocket, new_permits

#: A worker's pause before it takes another connection: seconds for each one that it has, and the most that count.
PAUSE, MOST_PAUSES = 0.0005, 4

#: The wait of an idle thread for the next request of its connection, in milliseconds.
STAY = 20


class Connection(Protocol):
    """The part of gunicorn's connection that is used here."""

    sock: socket


class BalancedWorker(ThreadWorker):  # type: ignore[misc]
    """gunicorn's `gthread`, but connections are spread evenly, keep their threads, and wait without holding others up.

    `cfg.threads` threads work at the same time. Beside them each connection may have one that waits for its client.
    """

    #: Set by `gunicorn_conf.py`.
    patience: ClassVar[Patience] = Patience()

    @classmethod
    def check_config(cls, cfg: Any, log: Any) -> None:
        """Refuse to start with certificates: an encrypted connection has other waits."""
        if cfg.is_ssl:
            sys.exit(
                "Fieldpost cannot start. Leave certfile and keyfile to a proxy in front: docs/operating.md has one."
            )
        super().check_config(cfg, log)

    def init_process(self) -> None:
        """Serve until the worker ends. Runs in the worker's process."""
        self.permits = new_permits(self.cfg.threads)
        self.held = Held(self.patience.most_held)
        super().init_process()

    def get_thread_pool(self) -> ThreadPoolExecutor:
        """A thread for each connection that has one to answer, or to wait for."""
        return ThreadPoolExecutor(self.worker_connections)

    def accept(self, listener: socket) -> None:
        """Take a connection unless another worker has in the meantime: the one that has the fewest gets it.

        Connections are kept open, and the worker that wakes up first would take them. At times one worker would have
        all of them, and the others, with their processors, none.
        """
        if self.cfg.workers > 1:
            time.sleep(PAUSE * min(self.nr_conns, MOST_PAUSES))
        try:
            super().accept(listener)
        except OSError as error:
            # The master has closed the ports, and is about to end this worker.
            if error.errno != errno.EINVAL:
                raise
            self.set_accept_enabled(False)

    def handle(self, conn: Connection) -> object:
        """Answer requests of a connection in a thread; True if the connection is kept open.

        After each request gunicorn gives a connection back to the main thread, which waits for the next one and gives
        it to a thread again. For small requests that is a good part of their time.
        """
        line = self._made_patient(conn)
        is_kept = self._answer(conn, line)
        while is_kept is True and self.alive and self.nr_conns <= self.cfg.threads and can_be_read(line):
            is_kept = self._answer(conn, line)
        if is_kept is False:
            line.linger()
        return is_kept

    def _made_patient(self, conn: Connection) -> PatientSocket:
        if not isinstance(conn.sock, PatientSocket):
            conn.sock = PatientSocket(conn.sock, self.patience, self.permits, self.held)
        return conn.sock

    def _answer(self, conn: Connection, line: PatientSocket) -> object:
        line.expect_head()
        is_kept: object = super().handle(conn)
        # The rest of its body would be taken for the next request.
        return False if line.is_too_slow else is_kept

    def handle_error(self, req: object, client: socket, addr: tuple[str, int] | None, exc: Exception) -> None:
        """Answer a request that cannot be read, or that failed outside of the application; the connection ends."""
        if refusals.is_refusal(exc):
            self.log.warning("Invalid request from ip=%s: %s", addr[0] if addr else "", exc)
        else:
            self.log.error("Error handling request", exc_info=exc)
        with suppress(OSError):
            client.sendall(refusals.answer_of(exc))

    def handle_request(self, req: refusals.Head, conn: Connection) -> object:
        """Answer a request whose head has arrived; False if the connection ends with it."""
        refusals.check_head(req)
        line = self._made_patient(conn)
        line.begin_work()
        try:
            is_kept: object = super().handle_request(req, conn)
        finally:
            line.end_work()
        return is_kept


def can_be_read(connection: socket) -> bool:
    """Whether bytes of a connection arrive soon, or its end does."""
    waiting = select.poll()
    waiting.register(connection, select.POLLIN)
    return bool(waiting.poll(STAY))
