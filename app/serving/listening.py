"""When the server's ports are open: from the moment when a worker can answer, until the server is told to end.

gunicorn's master opens the ports before its workers load the application. A proxy would send requests into those
seconds, in which nobody answers. And it leaves them open while workers finish their work at the end: connections that
nobody takes any more would be reset then. Linux stops listening on a socket that is shut down, and keeps it bound.
Other systems refuse, and the ports stay open. Loads no library: gunicorn's master imports this.
"""

from __future__ import annotations

import socket
from collections.abc import Iterable
from contextlib import suppress
from typing import Any

#: Only on these does a socket that was shut down listen again.
FAMILIES = (socket.AF_INET, socket.AF_INET6)


def wait_for_workers(server: Any) -> None:
    """Close the ports of a server that starts, until a worker opens them. Those of another server stay open."""
    if _owns_ports(server):
        _shut(server.LISTENERS)


def open_ports(sockets: Iterable[Any], backlog: int) -> None:
    """Take connections from now on. Harmless where another worker has done so."""
    for listener in sockets:
        if listener.family in FAMILIES:
            listener.listen(backlog)


def close_ports(server: Any) -> None:
    """Take no more connections: a client is refused at once and tries elsewhere, instead of waiting and being reset.

    A server that is being replaced shares its ports with its successor, and leaves them alone.
    """
    # gunicorn looks once a second whether the former master has ended, and a server may be stopped before that.
    server.maybe_promote_master()
    if _owns_ports(server):
        _shut(server.LISTENERS)


def _owns_ports(server: Any) -> bool:
    return server.reexec_pid == 0 and server.master_pid == 0 and not server.systemd


def _shut(sockets: Iterable[Any]) -> None:
    for listener in sockets:
        if listener.family in FAMILIES:
            with suppress(OSError):
                listener.shutdown(socket.SHUT_RDWR)
