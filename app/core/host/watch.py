"""Watches plugins' code while it runs: how long it takes, and that it ends.

What Python can interrupt, a loop in Python code, is interrupted after `handler_seconds`, and only its item fails. What
it cannot, a call into C that does not return, ends the whole worker after as long again: the transaction is rolled
back, the server makes a new worker, devices send again. A call that never lets other threads run stops the watchdog
itself; such a worker is silent, and ended by gunicorn's `timeout`.
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

from app.http import metrics
from app.plugin_api import SyncHandler

logger = logging.getLogger(__name__)

#: How often it is looked whether anything has run out of time, in seconds.
INTERVAL = 0.1

#: A handler that takes longer for one item is logged as slow, in seconds.
SLOW_SECONDS = 1.0

#: The exit code of a worker that was ended; none that keeps gunicorn from making another.
EXIT_CODE = 70

#: How often the code of one type may run out of time in one batch; the rest of its items is then not tried.
MOST_STRIKES = 3


class HandlerTimeout(BaseException):
    """Raised in the middle of a plugin's code that does not end. No `Exception`: the code must not swallow it."""


#: All that a plugin's code may raise and that is its own fault only.
BUGS = (Exception, SystemExit, HandlerTimeout)


class Watch:
    """What plugins' code does in one thread: `with watch(handler): …` around each piece of it."""

    def __init__(self, seconds: float) -> None:
        self.thread = threading.get_ident()
        self._seconds = seconds
        self._lock = threading.Lock()
        self._type = ""
        self._started = 0.0
        #: When the code under way is out of time; None: none is under way.
        self._deadline: float | None = None
        self._is_interrupted = False
        #: Type -> how often its code was interrupted.
        self._strikes: Counter[str] = Counter()

    def has_given_up(self, handler: SyncHandler | None) -> bool:
        """Whether a handler's code has been interrupted so often that it is not tried again in this batch."""
        return handler is not None and self._strikes[handler.type] >= MOST_STRIKES

    def __call__(self, handler: SyncHandler | None) -> Watch:
        """Say whose code runs next."""
        self._type = "" if handler is None else handler.type
        return self

    def __enter__(self) -> None:
        self._started = time.monotonic()
        self._is_interrupted = False
        self._deadline = self._started + self._seconds

    def __exit__(self, kind: type[BaseException] | None, *_: BaseException | TracebackType | None) -> None:
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

    def check(self, moment: float) -> None:
        """Called by the watchdog's thread: interrupt what is out of time, or end the worker if that was in vain."""
        with self._lock:
            if self._deadline is None or moment < self._deadline:
                return
            logger.error("handler out of time", extra={"type": self._type, "stack": _stack(self.thread)})
            if self._is_interrupted:
                watchdog.end_worker()
            self._is_interrupted = True
            self._deadline = moment + self._seconds
            _send(self.thread, HandlerTimeout)


class Watchdog:
    """The thread that looks after all watches of this process. It sleeps while no batch is under way."""

    def __init__(self) -> None:
        #: Whether a worker that hangs is ended. Set where a server makes a new one.
        self.ends_worker = False
        self._watches: set[Watch] = set()
        self._process = 0
        self._condition = threading.Condition()

    def add(self, watch: Watch) -> None:
        """Look after a watch from now on."""
        with self._condition:
            if self._process != os.getpid():  # threads do not survive a fork
                self._process = os.getpid()
                threading.Thread(target=self._run, name="watchdog", daemon=True).start()
            self._watches.add(watch)
            self._condition.notify()

    def remove(self, watch: Watch) -> None:
        """Look after it no longer."""
        with self._condition:
            self._watches.discard(watch)

    def end_worker(self) -> None:
        """End this process at once, without clean-up: a thread hangs in code that nothing else can stop."""
        if self.ends_worker:
            logger.critical("worker ended, since a handler cannot be interrupted")
            logging.shutdown()
            os._exit(EXIT_CODE)

    def _run(self) -> None:
        while True:
            with self._condition:
                self._condition.wait_for(lambda: self._watches)
                watches = list(self._watches)
            for each in watches:
                each.check(time.monotonic())
            time.sleep(INTERVAL)


watchdog = Watchdog()


@contextmanager
def watched(seconds: float) -> Iterator[Watch]:
    """A watch for the plugins' code of one batch, in this thread."""
    watch = Watch(seconds)
    watchdog.add(watch)
    try:
        yield watch
    finally:
        watchdog.remove(watch)


#: For code that runs where no batch waits for it: at the start, in tests.
UNWATCHED = Watch(math.inf)


def _send(thread: int, error: type[BaseException] | None) -> None:
    """Raise `error` in another thread as soon as it runs Python code again; None takes it back."""
    argument = None if error is None else ctypes.py_object(error)
    ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(thread), argument)


def _stack(thread: int) -> str:
    frame = sys._current_frames().get(thread)
    return "" if frame is None else "".join(traceback.format_stack(frame)[-5:])
