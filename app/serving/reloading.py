"""`kill -HUP`: a new master with the present release starts beside the old one, and ends it once it can answer.

gunicorn's own reload ends the old workers while the new ones still load, and the whole server if they cannot. Here the
new release is loaded by other processes. If they cannot start, they end, and the old ones serve on.
Loads no library: gunicorn's master imports this.
"""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import Any

from gunicorn.systemd import sd_notify

from app.serving.shared import ALL_READY, READY, is_first

#: The environment variable with the process id of the master that a new one is to end.
REPLACES = "REPLACED_MASTER"

#: The id of the first process of a container, with which the others end.
FIRST = 1

#: The one with the name of the socket on which systemd is told about a service.
SOCKET = "NOTIFY_SOCKET"
_held: list[str] = []


def reload(server: Any) -> None:
    """Start a new master, which ends this one when all its workers are ready."""
    server.maybe_promote_master()
    if server.reexec_pid or server.master_pid:
        server.log.warning("Reload ignored: another one has not ended yet")
        return
    if os.getpid() == FIRST:
        server.log.warning("Reload refused: the container would end with its first process. Restart the container")
        return
    server.log.info("Reloading: a new master starts, and this one ends when it is ready")
    # gunicorn starts the new master with the environment that this one was started with.
    server.cfg.env_orig[REPLACES] = str(os.getpid())
    try:
        server.reexec()
    finally:
        del server.cfg.env_orig[REPLACES]


def hold_notification() -> None:
    """Hide systemd's socket: gunicorn would tell it that the server is ready before a worker is."""
    if SOCKET in os.environ:
        _held.append(os.environ.pop(SOCKET))


def release_notification() -> None:
    """Show systemd's socket to the workers, the last of which tells that the server is ready."""
    if _held:
        os.environ[SOCKET] = _held.pop()


def mend_command(server: Any) -> None:
    """Let a server that was started by `python -m gunicorn` be started so again.

    Started by the path of that module, Python would look for all modules in gunicorn's directory first.
    """
    arguments = server.START_CTX["args"]
    if arguments[1].endswith("gunicorn/__main__.py"):
        arguments[1:2] = ["-m", "gunicorn"]


def forget_a_stranger() -> None:
    """Forget the master to be replaced unless it is this process's parent: its number may be another process's now."""
    if os.environ.get(REPLACES) != str(os.getppid()):
        os.environ.pop(REPLACES, None)


def note_ready(worker: Any, directory: Path) -> None:
    """Note that a worker is ready. The last one tells systemd, and ends the master that is replaced."""
    (directory / f"{READY}{worker.pid}").touch()
    if len(list(directory.glob(f"{READY}*"))) < worker.cfg.workers or not is_first(directory / ALL_READY):
        return
    sd_notify(f"READY=1\nMAINPID={worker.ppid}\nSTATUS=Serving", worker.log)
    replaced = os.environ.get(REPLACES)
    if replaced is not None:
        worker.log.info("All workers are ready, and the former master %s ends", replaced)
        os.kill(int(replaced), signal.SIGTERM)
