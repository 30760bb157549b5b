"""Calls that are made when a time is over, unless what they wait for has ended: one thread for all of a process.

A `threading.Timer` for each would be a thread for each request.
"""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager


class Deadlines:
    """`with deadlines.within(seconds, call): …`; `call` must be quick: it keeps all others waiting."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        #: When each is over, and what is called then.
        self._calls: dict[object, tuple[float, Callable[[], None]]] = {}
        #: Until when the thread sleeps, at most.
        self._alarm = math.inf
        self._thread: threading.Thread | None = None

    @contextmanager
    def within(self, seconds: float, call: Callable[[], None]) -> Iterator[None]:
        """Call `call` if the block takes longer than that; never after it has ended."""
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
                present = time.monotonic()
                for key, (end, call) in [*self._calls.items()]:
                    if end <= present:
                        del self._calls[key]
                        call()
                # It is not woken for those that end before their time: it finds nothing then, and sleeps on.
                self._alarm = min((end for end, _ in self._calls.values()), default=math.inf)
                self._changed.wait(None if self._alarm == math.inf else self._alarm - present)
