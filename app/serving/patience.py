"""How long a worker waits for a client, and how much of the worker waits meanwhile: one thread, and no permit.

Loads no library: gunicorn's master imports this module.
"""

from __future__ import annotations

import errno
import math
import select
import socket
import struct
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from queue import SimpleQueue
from typing import NoReturn, TypeAlias

from app.serving.held import SMALL, Held

#: Bytes that are received at a time. gunicorn asks for up to a mebibyte, and would hold that much for each connection.
PIECE = 256 * 1024

#: Unsent bytes that the kernel takes for a connection. With its own limit, of megabytes, a client that reads slowly
#: would look like one that does not read at all.
UNSENT = 128 * 1024

#: How often a client that holds much memory is asked whether others need it, in seconds.
LOOK_SECONDS = 0.5

#: How long the rest of a request is read and thrown away after its answer, in seconds (contract, section 0).
REST_SECONDS = 10


#: The permits to work that are free. A semaphore would take far longer.
Permits: TypeAlias = "SimpleQueue[None]"


def new_permits(count: int) -> Permits:
    """Make so many permits, all of them free."""
    permits: Permits = SimpleQueue()
    for _ in range(count):
        permits.put(None)
    return permits


@dataclass(frozen=True, kw_only=True)
class Patience:
    """How slow clients may be."""

    #: The time for the head of a request to arrive, in seconds.
    head_seconds: float = 10
    #: The longest silence within a body that arrives or an answer that is read, in seconds.
    silence_seconds: float = 30
    #: The least rate of either, in bytes a second on average over twice that time.
    least_rate: float = 1000
    #: Bytes that are read and thrown away after an answer.
    most_rest: int = 10 * 1024 * 1024
    #: Bytes of bodies and answers that slow clients hold in a worker.
    most_held: int = 256 * 1024 * 1024

    def with_head(self) -> Pace:
        """The pace at which the head of a request must arrive."""
        return _deadline(self.head_seconds)

    def with_transfer(self) -> Pace:
        """The pace at which a body must arrive and an answer must be read."""
        window = 2 * self.silence_seconds
        return Pace(self.silence_seconds, window, self.least_rate * window)


def _deadline(seconds: float) -> Pace:
    return Pace(seconds, seconds, math.inf)


def _with_rest() -> Pace:
    """The pace at which the rest of a request must arrive after its answer."""
    return _deadline(REST_SECONDS)


@dataclass(slots=True)
class Pace:
    """The waits for a client: how long each may be, and how many bytes must have moved when they come to a window.

    Only time that is spent waiting counts, because the client cannot help the server's own.
    """

    silence: float
    window: float
    least: float
    waited: float = 0.0
    moved: int = 0
    is_over: bool = False

    def next_wait(self) -> float:
        """The longest possible wait now, in seconds; 0 if the client is too slow."""
        if self.waited >= self.window:
            self.is_over = self.is_over or self.moved < self.least
            self.waited, self.moved = 0.0, 0
        return 0.0 if self.is_over else min(self.silence, self.window - self.waited)

    def note_wait(self, seconds: float, was_in_vain: bool) -> None:
        """Count a wait."""
        self.waited += seconds
        self.is_over = was_in_vain and seconds >= self.silence


class PatientSocket(socket.socket):
    """A connection to a client that may be slow.

    Its waits are bounded by a pace. A thread that works on a request holds a permit, of which a worker has as many as
    threads may work at the same time; while it waits for its client, another thread has the permit. Slow clients so
    hold threads, of which there is one for each connection, but never keep others from working.

    All calls wait, whether the socket is in blocking mode or not. A client that is too slow is treated as one that has
    ended: a body that has arrived in part is a part of a body.
    """

    def __init__(self, plain: socket.socket, patience: Patience, permits: Permits, held: Held) -> None:
        super().__init__(plain.family, plain.type, plain.proto, fileno=plain.detach())
        self._patience = patience
        self._permits = permits
        self._held = held
        self._has_permit = False
        #: Bytes of the body that has arrived so far.
        self._received = 0
        # Made when the client is waited for: most requests are there at once.
        self._pace: Pace | None = None
        self._new_pace = patience.with_head
        #: Whether the client has been given up.
        self.is_too_slow = False
        #: Whether it was so for the memory that it held.
        self.is_crowded_out = False
        # A socket of another family, or another system, has no such limit.
        with suppress(OSError, AttributeError):
            self.setsockopt(socket.IPPROTO_TCP, socket.TCP_NOTSENT_LOWAT, UNSENT)

    def expect_head(self) -> None:
        """From now on the head of a request must arrive."""
        self._new_pace, self._pace = self._patience.with_head, None

    def begin_work(self) -> None:
        """Get a permit, and from now on a body must arrive and an answer be read."""
        self._permits.get()
        self._has_permit, self._received = True, 0
        self._new_pace, self._pace = self._patience.with_transfer, None

    def end_work(self) -> None:
        """Give the permit back, and from now on the rest of the request is read."""
        self._has_permit = False
        self._permits.put(None)
        self._held.forget(self)
        self._new_pace, self._pace = _with_rest, None

    def recv(self, size: int, flags: int = 0) -> bytes:
        """Up to `size` bytes; none if the client has ended or is too slow."""
        while True:
            try:
                data = super().recv(min(size, PIECE), flags | socket.MSG_DONTWAIT)
            except BlockingIOError:
                if not self._wait(select.POLLIN, self._received):
                    return b""
            else:
                self._note_move(len(data))
                self._received += len(data)
                return data

    def sendall(self, data: bytes, flags: int = 0) -> None:  # type: ignore[override]
        """Send all bytes. Raises `ConnectionResetError` if the client is too slow, and then the connection is dead."""
        rest: bytes | memoryview = data
        while rest:
            try:
                sent = super().send(rest, flags | socket.MSG_DONTWAIT)
            except BlockingIOError:
                if not self._wait(select.POLLOUT, len(rest)):
                    self._drop()
            else:
                self._note_move(sent)
                if sent == len(rest):
                    return
                rest = memoryview(rest)[sent:]

    def send(self, data: bytes, flags: int = 0) -> int:  # type: ignore[override]
        """As `sendall`."""
        self.sendall(data, flags)
        return len(data)

    def linger(self) -> None:
        """Read on and throw away until the client ends, so that it gets the answer (RFC 9112, section 9.6).

        If a connection with unread bytes were closed, the client would lose what it has not read yet.
        """
        most = self._patience.most_rest
        with suppress(OSError):
            self.shutdown(socket.SHUT_WR)
            while most > 0 and (data := self.recv(PIECE)):
                most -= len(data)
        # gunicorn's main thread closes the connection. It would wait for the client once more.
        with suppress(OSError):
            self.shutdown(socket.SHUT_RDWR)

    def _drop(self) -> NoReturn:
        """Let the kernel forget the bytes that nobody reads."""
        with suppress(OSError):
            self.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self.shutdown(socket.SHUT_RDWR)
        raise ConnectionResetError(errno.ECONNRESET, "the client does not read its answer")

    def _wait(self, event: int, size: int) -> bool:
        """Wait without a permit until the client has sent or read something; False if it is given up.

        `size`: the bytes that are held for it meanwhile.
        """
        pace = self._pace = self._pace or self._new_pace()
        seconds, began = pace.next_wait(), time.monotonic()
        if seconds:
            with self._permit_lent():
                is_ready = self._poll(event, seconds, size)
            pace.note_wait(time.monotonic() - began, not is_ready)
        is_crowded_out = self._held.has_to_go(self)
        if is_crowded_out:
            self._held.forget(self)
        self.is_crowded_out |= is_crowded_out
        self.is_too_slow |= pace.is_over or is_crowded_out
        return not (pace.is_over or is_crowded_out)

    def _poll(self, event: int, seconds: float, size: int) -> bool:
        """Whether the client has sent or read something; at the latest after so many seconds, or when it has to go."""
        if size <= SMALL or not self._has_permit:
            return _poll(self, event, seconds)
        self._held.note(self, size)
        end = time.monotonic() + seconds
        while not self._held.has_to_go(self) and (left := end - time.monotonic()) > 0:
            if _poll(self, event, min(left, LOOK_SECONDS)):
                return True
        return False

    def _note_move(self, size: int) -> None:
        if self._pace is not None:
            self._pace.moved += size

    @contextmanager
    def _permit_lent(self) -> Iterator[None]:
        if not self._has_permit:
            yield
            return
        self._permits.put(None)
        try:
            yield
        finally:
            self._permits.get()


def _poll(connection: socket.socket, event: int, seconds: float) -> bool:
    waiting = select.poll()
    waiting.register(connection, event)
    return bool(waiting.poll(math.ceil(seconds * 1000)))
