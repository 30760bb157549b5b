"""Bounded queues: a request that waits too long for its turn gets 503, and no longer holds its thread."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from threading import BoundedSemaphore

from app.errors import TryAgainError

#: How long a request waits for its turns in all, in seconds (contract, section 4).
LONGEST_WAIT = 10.0


class Turns:
    """Work that `places` threads of a process may do at once."""

    def __init__(self, places: int) -> None:
        self._free = BoundedSemaphore(places)

    @contextmanager
    def turn(self, wait: float = LONGEST_WAIT) -> Iterator[float]:
        """Hold a place. Gives what is left of `wait`, in seconds, for the next queue. Raises `TryAgainError`."""
        began = time.monotonic()
        if not self._free.acquire(timeout=max(0.0, wait)):
            raise TryAgainError("Too many pictures are being read at the moment")
        try:
            yield wait - (time.monotonic() - began)
        finally:
            self._free.release()
