"""How gunicorn runs Fieldpost. `gunicorn wsgi:app` finds this file by itself."""

import ctypes
import gc
import os
import select
import shutil
import sys
import tempfile
import time
from contextlib import suppress
from pathlib import Path
from socket import socket
from typing import Any

from gunicorn.workers.gthread import ThreadWorker

#: Where the workers keep the numbers that `/metrics` answers; prometheus_client reads it when it is imported.
METRICS_DIRECTORY = "PROMETHEUS_MULTIPROC_DIR"

MAXIMUM_PORT = 65535

#: The parameter of glibc's mallopt(3), and how many bytes are large.
M_MMAP_THRESHOLD, LARGE = -3, 1024 * 1024

#: After how many new objects Python looks for garbage among them.
COLLECT_AFTER = 10_000


def _number(name: str, default: int, most: int) -> int:
    """A setting that is a number. gunicorn itself shows no more than a traceback, or starts no workers at all."""
    text = os.environ.get(name) or str(default)
    least = min(default, 1)
    if not text.isdecimal() or not least <= int(text) <= most:
        sys.exit(
            f"Fieldpost cannot start. {name}={text!r} is no number from {least} to {most}. Set it to one, or unset it."
        )
    return int(text)


_host = os.environ.get("HOST") or "127.0.0.1"
_host = f"[{_host}]" if ":" in _host else _host
bind = [f"{_host}:{_number('PORT', 8000, MAXIMUM_PORT)}"]
# The application answers `/metrics`, and nothing else, to whoever comes through this one.
_metrics_port = _number("FIELDPOST_METRICS_PORT", 0, MAXIMUM_PORT)
if _metrics_port:
    bind.append(f"{_host}:{_metrics_port}")

workers = _number("WEB_CONCURRENCY", 2, 1000)

#: How much longer a worker waits for each connection that it has before it takes another, in seconds, and for how
#: many of them at most.
PAUSE, MOST_PAUSES = 0.0005, 4


#: For how many milliseconds a thread that nobody else needs waits for the next request of its connection.
STAY = 20


class BalancedWorker(ThreadWorker):
    """gunicorn's `gthread`, but connections are spread evenly, and keep their thread as long as there are enough."""

    def accept(self, listener: socket) -> None:
        """Take a connection, if no other worker has in the meantime: the one that has the fewest gets it.

        Connections are kept open, and whichever worker wakes up first would take them: at times one has them all, and
        the others, with their processors, none.
        """
        if self.cfg.workers > 1:
            time.sleep(PAUSE * min(self.nr_conns, MOST_PAUSES))
        super().accept(listener)

    def handle(self, conn: Any) -> Any:
        """Answer requests of a connection; whether it is kept open. Runs in a thread.

        After each request gunicorn gives a connection back to the main thread, which waits for the next one and gives
        it to a thread again: for small requests that is a good part of their time.
        """
        is_kept = super().handle(conn)
        while is_kept is True and self.alive and self.nr_conns <= self.cfg.threads and _can_be_read(conn.sock):
            is_kept = super().handle(conn)
        return is_kept


def _can_be_read(connection: socket) -> bool:
    waiting = select.poll()
    waiting.register(connection, select.POLLIN)
    return bool(waiting.poll(STAY))


# Threads: a slow upload holds one, not a whole process.
worker_class = BalancedWorker
threads = 4

# A worker that is silent for this long is killed. Threads that are busy do not make it silent.
timeout = 60
# On SIGTERM the requests under way get this long to finish: a batch takes well under a second.
graceful_timeout = 30
# Idle connections of devices that sync in bursts; behind a proxy its own limit counts.
keepalive = 5

# Fieldpost writes one line for each request itself, with the request id and the user.
accesslog = None

# By default gunicorn believes X-Forwarded-Proto from localhost. Which proxies are believed is said in one place:
# FIELDPOST_TRUSTED_PROXIES.
forwarded_allow_ips = ""
# gunicorn 27 opens a socket for controlling it; nobody here uses it.
control_socket_disable = True


def on_starting(_server: Any) -> None:
    """Before the first worker: a fresh directory for the metrics, of this server alone."""
    os.environ[METRICS_DIRECTORY] = tempfile.mkdtemp(prefix="fieldpost-metrics-")


def post_fork(_server: Any, _worker: Any) -> None:
    """In each worker: large pieces of memory, such as photos and decoded pictures, go back to the system when freed.

    By itself glibc raises that limit to the largest piece that was ever freed, up to 32 MiB; from then on each thread
    keeps what it has freed for itself, and a worker the sum of what its threads ever took.
    """
    # Another C library may have no such call, and does not need it.
    with suppress(OSError, AttributeError):
        ctypes.CDLL(None).mallopt(M_MMAP_THRESHOLD, LARGE)


def post_worker_init(_worker: Any) -> None:
    """The application is loaded in a worker: what it consists of stays, and is not looked through for garbage again.

    Else every full collection goes through all of it, and holds up all threads of the worker for as long. And a batch
    makes many objects, next to none of them in cycles: to look at each 700 new ones is work for nothing.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(COLLECT_AFTER, 10, 10)


def worker_exit(server: Any, _worker: Any) -> None:
    """Let one worker alone report that the application cannot be loaded: at a second report, gunicorn falls over."""
    error = sys.exc_info()[1]
    if isinstance(error, SystemExit) and error.code == server.APP_LOAD_ERROR:
        try:
            (Path(os.environ[METRICS_DIRECTORY]) / "not-loaded").touch(exist_ok=False)
        except FileExistsError:
            # Its own exit code would be 4, whatever is raised here.
            os._exit(0)


def child_exit(_server: Any, worker: Any) -> None:
    """A worker has ended: what it had open is not open any more; what it counted stays."""
    # Not at the top: prometheus_client must find the directory named when it is imported.
    from prometheus_client.multiprocess import mark_process_dead  # noqa: PLC0415

    mark_process_dead(worker.pid)


def on_exit(_server: Any) -> None:
    """The server has ended."""
    shutil.rmtree(os.environ[METRICS_DIRECTORY], ignore_errors=True)
