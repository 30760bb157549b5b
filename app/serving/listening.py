"""When the server's ports are open: from the moment when a worker can answer, until the server is told to end.

gunicorn's master opens the ports before its workers load the application. A proxy would send requests into those
seconds, in which nobody answers. And it leaves them open while workers finish their work at the end: connections that
nobody takes any more would be reset then. Linux stops listening on a socket that is shut down, and keeps it bound.
It resets connections that wait on it for a worker, so that a filter keeps new ones away until the workers have taken
those. Other systems refuse, and the ports stay open. Loads no library: gunicorn's master imports this.
"""

from __future__ import annotations

import ctypes
import select
import socket
import struct
import time
from collections.abc import Iterable
from contextlib import suppress
from typing import Any

#: The systems on which a socket that was shut down can listen again.
FAMILIES = (socket.AF_INET, socket.AF_INET6)

#: The socket option for a filter of packets (`<asm-generic/socket.h>`), and a filter that drops those which begin a
#: connection (`<linux/filter.h>`): load byte 13 of the TCP header, keep its bits SYN and ACK, and take nothing of the
#: packet if SYN is alone.
ATTACH_FILTER = 26
DROP_SYN = ((0x30, 0, 0, 13), (0x54, 0, 0, 0x12), (0x15, 0, 1, 0x02), (0x06, 0, 0, 0), (0x06, 0, 0, 0xFFFFFFFF))

#: Seconds for connections that are half open, and the most for those that wait for a worker.
HALF_OPEN, WAITING = 0.1, 2.0


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
        _drain(server.LISTENERS)
        _shut(server.LISTENERS)


def _drain(sockets: Iterable[Any]) -> None:
    """Keep new connections away, and wait until the workers have taken those that are there."""
    waiting = select.poll()
    for listener in sockets:
        if listener.family in FAMILIES and _is_filtered(listener):
            waiting.register(listener, select.POLLIN)
    deadline = time.monotonic() + WAITING
    time.sleep(HALF_OPEN)
    while waiting.poll(0) and time.monotonic() < deadline:
        time.sleep(0.01)


def _is_filtered(listener: socket.socket) -> bool:
    """Whether packets that begin a connection are dropped from now on; their senders try again after a second."""
    instructions = ctypes.create_string_buffer(b"".join(struct.pack("HBBI", *each) for each in DROP_SYN))
    program = struct.pack("HL", len(DROP_SYN), ctypes.addressof(instructions))
    try:
        listener.setsockopt(socket.SOL_SOCKET, ATTACH_FILTER, program)
    except OSError:
        return False
    return True


def _owns_ports(server: Any) -> bool:
    return server.reexec_pid == 0 and server.master_pid == 0 and not server.systemd


def _shut(sockets: Iterable[Any]) -> None:
    for listener in sockets:
        if listener.family in FAMILIES:
            with suppress(OSError):
                listener.shutdown(socket.SHUT_RDWR)
