"""Watches plugins' code while it runs: how long it takes, and that it ends.

Python can interrupt a loop in Python code: that happens after `handler_seconds`, and only the loop's item fails. Python
cannot interrupt a call into C that does not return: after as long again the whole worker is ended, its transaction is
rolled back, the server makes a new worker, and devices send again. A call that never lets other threads run stops the
thread of the deadlines, too; such a worker is silent, and gunicorn's `timeout` ends it.

Anything may be raised in plugins' code. What leaves it is an `Exception` or a `HandlerTimeout`, so that a batch can
blame it on one item (`BUGS`).
"""

from __future__ import annotations

import ctypes
import logging
import math
import os
import sys
import threading
import time
import traceback
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from types import TracebackType

from app.core.host.endings import Marks, marks_of_process
from app.errors import RequestError
from app.http import metrics
from app.http.deadlines import deadlines
from app.plugin_api import SyncHandler

logger = logging.getLogger(__name__)

#: A handler that takes longer for one item is logged as slow, in seconds.
SLOW_SECONDS = 1.0

#: The exit code of a worker that was ended; gunicorn makes another after it.
EXIT_CODE = 70

#: How often the code of one type may run out of time in one batch; the rest of its items is then not tried.
MOST_STRIKES = 3

#: When to look again at code that ends at this very moment, in seconds.
MOMENT = 0.01


class HandlerTimeout(BaseException):
    """Raised in the middle of a plugin's code that does not end. No `Exception`, lest the code swallow it."""


class EscapeError(Exception):
    """A plugin's code raised what is no `Exception`, such as `asyncio.CancelledError`. It would end the worker."""


class MisplacedError(Exception):
    """A handler raised an error that answers a whole request; the other items are not its to refuse."""


#: Everything that leaves watched code, and must not harm anything but its own items.
BUGS = (Exception, HandlerTimeout)


class Watch:
    """Watches the plugins' code that one thread runs: `with watch(handler): …` around each piece of it."""

    def __init__(self, seconds: float, user_id: int | None = None, marks: Marks | None = None) -> None:
        """`seconds`: the time for each piece of code. `user_id`: whose batch it is; `marks`: where items are marked."""
        self._user_id = user_id
        self._marks = marks
        self._slot = marks.slot() if marks else None
        self._endings = marks.endings() if marks else Counter()
        self._item = ""
        self.thread = threading.get_ident()
        self._seconds = seconds
        self._lock = threading.Lock()
        self._type = ""
        self._started = 0.0
        #: When the code under way is out of time, on the monotonic clock; None: no code is under way.
        self._deadline: float | None = None
        self._is_interrupted = False
        #: Type -> how often its code was interrupted.
        self._strikes: Counter[str] = Counter()

    def has_given_up(self, handler: SyncHandler | None) -> bool:
        """Whether a handler's code has been interrupted so often that it is not tried again in this batch."""
        return handler is not None and self._strikes[handler.type] >= MOST_STRIKES

    def endings(self, item: str) -> int:
        """How many workers have ended while a plugin's code ran for this item (a fingerprint) of the user's."""
        return self._endings[self._mark(item)] if self._endings else 0

    def __call__(self, handler: SyncHandler | None, item: str = "") -> Watch:
        """Say whose code runs next, and for which item: its fingerprint."""
        self._type = "" if handler is None else handler.type
        self._item = item
        return self

    def __enter__(self) -> None:
        if self._slot is not None and self._item:
            self._slot.put(self._mark(self._item))
        self._started = time.monotonic()
        self._is_interrupted = False
        self._deadline = self._started + self._seconds

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        if self._slot is not None:
            self._slot.clear()
        with self._lock:
            self._deadline = None
        if self._is_interrupted:
            self._strikes[self._type] += 1
            # It may still be on its way, and must not arrive in the core's code.
            _send(self.thread, None)
            if kind is not HandlerTimeout:
                raise HandlerTimeout(f"{self._type} took longer than {self._seconds} s.")
        seconds = time.monotonic() - self._started
        if seconds > SLOW_SECONDS:
            metrics.slow_handlers.labels(self._type or metrics.UNKNOWN).inc()
            logger.warning("handler slow", extra={"type": self._type, "seconds": round(seconds, 3)})
        if error is not None:
            _contain(error)

    def check(self) -> float:
        """Interrupt code that is out of time, or end the worker if that was in vain. Called by the deadlines' thread.

        Returns after how many seconds to check again.
        """
        # This thread serves all deadlines of the process, so it must not wait for the one that it watches.
        if not self._lock.acquire(blocking=False):
            return MOMENT
        try:
            present = time.monotonic()
            if self._deadline is None:
                return self._seconds
            if present < self._deadline:
                return self._deadline - present
            self._interrupt(present)
            return self._seconds
        finally:
            self._lock.release()

    def _mark(self, item: str) -> str:
        return f"{self._user_id} {item}"

    def _interrupt(self, present: float) -> None:
        logger.error("handler out of time", extra={"type": self._type, "stack": _stack(self.thread)})
        if self._is_interrupted:
            if watchdog.ends_worker and self._marks is not None:
                self._marks.blame(self._slot)
            watchdog.end_worker()
        self._is_interrupted = True
        self._deadline = present + self._seconds
        _send(self.thread, HandlerTimeout)


class Watchdog:
    """Ends a worker of which a thread cannot be interrupted."""

    def __init__(self) -> None:
        #: Whether such a worker is ended. Set where a server makes a new one.
        self.ends_worker = False

    def end_worker(self) -> None:
        """End this process at once, without clean-up: a thread hangs in code that nothing else can stop."""
        if self.ends_worker:
            logger.critical("worker ended, since a handler cannot be interrupted")
            logging.shutdown()
            os._exit(EXIT_CODE)


watchdog = Watchdog()


@contextmanager
def watched(seconds: float, user_id: int | None = None) -> Iterator[Watch]:
    """A watch for the plugins' code of one batch of the user's, in this thread."""
    watch = Watch(seconds, user_id, marks_of_process())
    with deadlines.within(seconds, watch.check):
        yield watch


#: For code that runs while no batch waits for it: at the start, in tests.
UNWATCHED = Watch(math.inf)


def is_interrupt(error: BaseException) -> bool:
    """Whether somebody wants to stop the process: Python itself raises that in the main thread, and only there."""
    return isinstance(error, KeyboardInterrupt) and threading.current_thread() is threading.main_thread()


def _contain(error: BaseException) -> None:
    """Raise one of our exceptions in place of an error that would reach beyond the item of the code that raised it."""
    if isinstance(error, RequestError):
        raise MisplacedError(str(error)) from error
    if not isinstance(error, BUGS) and not is_interrupt(error):
        raise EscapeError(f"A plugin's code raised {type(error).__name__}, which is no Exception.") from error


def _send(thread: int, error: type[BaseException] | None) -> None:
    """Raise `error` in another thread as soon as it runs Python code again; None takes it back."""
    argument = None if error is None else ctypes.py_object(error)
    ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(thread), argument)


def _stack(thread: int) -> str:
    frame = sys._current_frames().get(thread)
    return "" if frame is None else "".join(traceback.format_stack(frame)[-5:])
