"""Calls that are made when a time is over, unless the block that they belong to has ended: one thread for a process.

A `threading.Timer` for each would be a thread for each request.
"""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager


class Deadlines:
    """`with deadlines.within(seconds, call): …`; `call` must be quick, because it keeps all others waiting.

    A call that returns a number of seconds is made again after that time.
    """

    def __init__(self) -> None:
        self._changed = threading.Condition()
        #: When each call is due, on the monotonic clock, and the call.
        self._calls: dict[object, tuple[float, Callable[[], float | None]]] = {}
        #: Until when the thread sleeps, at most.
        self._alarm = math.inf
        self._thread: threading.Thread | None = None

    @contextmanager
    def within(self, seconds: float, call: Callable[[], float | None]) -> Iterator[None]:
        """Make the call if the block takes longer than `seconds`; never after the block has ended."""
        key, end = object(), time.monotonic() + seconds
        with self._changed:
            self._calls[key] = end, call
            self._require_thread()
            if end < self._alarm:
                self._changed.notify()
        try:
            yield
        finally:
            with self._changed:
                self._calls.pop(key, None)

    def _require_thread(self) -> None:
        # A process that was forked has the object, but not the thread.
        if self._thread is None or not self._thread.is_alive():
            self._thread = threading.Thread(target=self._run, name="deadlines", daemon=True)
            self._thread.start()

    def _run(self) -> None:
        with self._changed:
            while True:
                self._make_calls()
                # A block that ends in time does not wake the thread, which finds nothing to do then, and sleeps on.
                self._alarm = min((end for end, _ in self._calls.values()), default=math.inf)
                self._changed.wait(None if self._alarm == math.inf else self._alarm - time.monotonic())

    def _make_calls(self) -> None:
        """Make the calls that are due."""
        for key, (end, call) in [*self._calls.items()]:
            if end <= time.monotonic():
                del self._calls[key]
                again = call()
                if again is not None:
                    self._calls[key] = time.monotonic() + again, call


#: Those of this process.
deadlines = Deadlines()
