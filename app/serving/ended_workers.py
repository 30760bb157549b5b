"""Workers that end: one that was ready is replaced, whatever its exit code is.

gunicorn takes the exit codes 3 and 4 for workers that cannot start, and ends the whole server. A plugin's `os._exit(3)`
at an item would do the same, to everybody. Loads no library: gunicorn's master imports this.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from gunicorn.errors import HaltServer

from app.serving.shared import was_ready


def reap_workers(server: Any, usual: Callable[[], None]) -> None:
    """Do what gunicorn does about workers that have ended (`usual`), and end the server for none that was ready."""
    while True:
        workers = {**server.WORKERS}
        try:
            return usual()
        except HaltServer:
            # All others have been closed already.
            ready = [worker for key, worker in workers.items() if key not in server.WORKERS and was_ready(key)]
            if not ready:
                raise
            for worker in ready:
                worker.tmp.close()
                server.cfg.child_exit(server, worker)
