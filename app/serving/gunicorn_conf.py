"""How gunicorn runs Fieldpost: its settings and hooks. `fieldpost serve` and `gunicorn.conf.py` read this module."""

import os
import sys
from functools import partial
from importlib import import_module
from typing import Any

from app.core.settings import parse_settings
from app.errors import ConfigurationError
from app.serving import ended_workers, listening, reloading, shared, tuning
from app.serving.patience import Patience
from app.serving.worker import BalancedWorker

try:
    settings = parse_settings()
except ConfigurationError as error:
    sys.exit(f"Fieldpost cannot start. {error}")

# The application answers `/metrics`, and nothing else, on the second address if there is one.
bind = settings.addresses
workers = settings.web_concurrency

worker_class = BalancedWorker
# Threads that work at the same time. A thread that waits for its client is not one of them.
threads = 4
# Connections of one worker. Each may have a thread that waits.
worker_connections = 512
# A file is sent as other answers are, without a permit while the client does not read.
sendfile = False
BalancedWorker.patience = Patience(
    head_seconds=settings.head_seconds,
    silence_seconds=settings.silence_seconds,
    least_rate=settings.least_bytes_per_second,
    most_rest=max(settings.max_batch_bytes, settings.max_photo_bytes),
    most_held=settings.max_held_bytes,
)

# A worker that is silent for this long is killed. Threads that are busy do not make it silent.
timeout = 60
# On SIGTERM the requests under way get this long to finish: a batch takes well under a second.
graceful_timeout = 30
# Idle connections of devices that sync in bursts; behind a proxy its own limit counts.
keepalive = 5

# Fieldpost writes one line for each request itself, with the request id and the user.
accesslog = None

# By default gunicorn believes X-Forwarded-Proto from localhost. Only FIELDPOST_TRUSTED_PROXIES says which proxies are
# believed.
forwarded_allow_ips = ""
# gunicorn 27 opens a socket for controlling it, which nobody uses here.
control_socket_disable = True


def on_starting(server: Any) -> None:
    """Run before the ports are open and the first worker starts."""
    shared.make_directory()
    reloading.mend_command(server)
    reloading.forget_a_stranger()
    server.handle_hup = partial(reloading.reload, server)
    server.handle_term = partial(_end, server)
    server.reap_workers = partial(ended_workers.reap_workers, server, server.reap_workers)
    reloading.hold_notification()


def _end(server: Any) -> None:
    """Handle SIGTERM."""
    listening.close_ports(server)
    raise StopIteration


def when_ready(server: Any) -> None:
    """Run when the ports are open, and before the first worker starts."""
    reloading.release_notification()
    listening.wait_for_workers(server)


def forget_modules() -> None:
    """Forget what was imported for these settings, once they are read.

    The master outlives upgrades: the workers that it starts later must import the new release.
    """
    for name in [name for name in sys.modules if name.partition(".")[0] == "app"]:
        del sys.modules[name]


def post_fork(_server: Any, _worker: Any) -> None:
    """Run in each worker before it loads the application."""
    tuning.return_large_memory()


def post_worker_init(worker: Any) -> None:
    """Run in each worker that has loaded the application."""
    tuning.spare_application()
    listening.open_ports(worker.sockets, worker.cfg.backlog)
    reloading.note_ready(worker, shared.directory())


def worker_exit(server: Any, worker: Any) -> None:
    """Close the database, and let one worker alone report that the application cannot be loaded.

    gunicorn falls over a second report.
    """
    application = getattr(worker, "wsgi", None)
    if application is not None:
        import_module("app.core.database.engine").close_connections(application)
    error = sys.exc_info()[1]
    if isinstance(error, SystemExit) and error.code == server.APP_LOAD_ERROR and not shared.is_first_to_fail():
        # Its own exit code would be 4, even if this hook raised an error.
        os._exit(0)


def child_exit(_server: Any, worker: Any) -> None:
    """Run in the master when a worker has ended."""
    shared.close_worker(worker.pid)


def on_exit(_server: Any) -> None:
    """Run when the server has ended."""
    shared.remove_directory()
