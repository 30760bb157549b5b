"""The file of a SQLite database while a server has it open: replaced, removed, damaged, and the size of its log.

SQLite goes on in a file that has lost its name, and acknowledges changes that nobody will find again. A unit of work
therefore compares the file at the path with the opened one before it begins. This module never opens the file itself:
closing it again would drop SQLite's locks.
"""

from __future__ import annotations

import logging
import os
import signal
import sqlite3
import threading
import time
from contextlib import closing
from typing import Any

from sqlalchemy import Engine, event
from sqlalchemy.engine import ExceptionContext
from sqlalchemy.pool import ConnectionPoolEntry

from app.errors import StartError, TryAgainError

logger = logging.getLogger(__name__)

#: Device and inode.
Identity = tuple[int, int]

#: The key of an `SQLiteFile` in a connection's `info`.
FILE = "fieldpost_file"

#: SQLite's codes for a file that has become unreadable.
DAMAGED = frozenset({sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB})

#: How long a look for damage may take, in seconds. A small file is read whole in this time.
LOOK_SECONDS = 0.5

#: From this size on, in bytes, the log is emptied before a unit begins.
LARGE_LOG = 64 * 1024 * 1024
#: How long to wait for readers of an older state, and for how long to leave a log alone that could not be emptied.
EMPTY_SECONDS, PAUSE_SECONDS = 0.2, 1.0
#: When to look again at a log that another connection copies, in seconds.
MOMENT = 0.005


class DamagedError(StartError):
    """The database's file cannot be read as a database."""


class ReplacedError(TryAgainError):
    """The file at the path is not the one that is open, so a change would be lost."""


class SQLiteFile:
    """The file that an engine's connections have open."""

    #: Whether this process may be ended because somebody starts it again: `app/serving/start.py` says so for workers.
    ends_worker = False

    #: Whether a file that is not there is made. Not by workers of a server at work: theirs has been moved away.
    makes_file = True

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._opened: Identity | None = None
        self._opened_log: Identity | None = None
        self._is_damaged = False
        #: When the log may be emptied, on the monotonic clock.
        self._next_emptying = 0.0
        event.listen(engine, "do_connect", self._before_opening)
        event.listen(engine, "engine_disposed", self._forget)
        event.listen(engine, "handle_error", self._note_damage)

    @property
    def path(self) -> str:
        """The database's path; tests move an engine."""
        return self._engine.url.database or ""

    @property
    def log_path(self) -> str:
        """The path of SQLite's log, in which changes are until a checkpoint copies them into the file."""
        return f"{self.path}-wal"

    def _before_opening(self, *_: Any) -> None:
        # SQLite would make an empty file, or read the former file's log with this one.
        if self._opened is None:
            self._opened = _identity(self.path)
        if self._opened is not None or not self.makes_file:
            self.check()

    def note_opened(self, connection: sqlite3.Connection, record: ConnectionPoolEntry) -> None:
        """Remember the file of a new connection. Raises `ReplacedError` if it is another one than the engine's."""
        if self._opened is None:
            self._opened = _identity(self.path)
        try:
            self.check()
        except ReplacedError:
            connection.close()
            raise
        self._opened_log = _identity(self.log_path)
        record.info[FILE] = self

    def _forget(self, _engine: Engine) -> None:
        self._opened = self._opened_log = None
        self._next_emptying = 0.0

    def check(self) -> None:
        """Raise `ReplacedError` unless the file at the path is the one that is open."""
        present = _identity(self.path)
        if present is not None and present == self._opened:
            return
        if present is None:
            logger.error("the database's file is gone: nothing is taken until %s is there again", self.path)
            raise ReplacedError("The database's file is gone")
        logger.error("the database's file was replaced, and is opened anew: %s", self.path)
        self._set_log_aside()
        if self.ends_worker:
            os.kill(os.getpid(), signal.SIGTERM)
        raise ReplacedError("The database's file was replaced")

    def _set_log_aside(self) -> None:
        """SQLite would take the log of the former file for that of the new one, and mix the two."""
        if self._opened_log is None or _identity(self.log_path) != self._opened_log:
            return
        kept = f"{self.log_path}-of-replaced-file"
        # Another worker may be doing the same.
        try:
            os.replace(self.log_path, kept)
            os.unlink(f"{self.path}-shm")
        except FileNotFoundError:
            return
        logger.error("the log of the replaced file is kept as %s", kept)

    def _note_damage(self, context: ExceptionContext) -> None:
        if primary_code(context.original_exception) in DAMAGED:
            self._is_damaged = True

    def check_damage(self, connection: sqlite3.Connection) -> None:
        """Raise `DamagedError` if a statement has met damage that is still there."""
        if self._is_damaged:
            finding = damage(connection)
            if finding is not None:
                raise DamagedError(finding)
            self._is_damaged = False

    def require_undamaged(self, connection: sqlite3.Connection) -> None:
        """Raise `TryAgainError` if a statement has met damage that is still there.

        Pages that are in the log or in memory can still be read, so that some changes would seem to be kept.
        """
        try:
            self.check_damage(connection)
        except DamagedError as error:
            logger.error("the database's file is damaged, and nothing more is taken: %s", error)
            raise TryAgainError("The database's file is damaged") from None

    def bound_log(self, connection: sqlite3.Connection) -> None:
        """Copy a large log into the file, and empty it. Under a steady load SQLite would not come to it.

        All units that are about to begin wait here meanwhile, so that the one that empties the log soon is the only
        writer. If somebody reads an older state for longer than `EMPTY_SECONDS`, the log grows on until a later unit.
        """
        start = time.monotonic()
        while _size(self.log_path) > LARGE_LOG and time.monotonic() >= self._next_emptying:
            if _empty_log(connection):
                return
            if time.monotonic() >= start + EMPTY_SECONDS:
                self._next_emptying = time.monotonic() + PAUSE_SECONDS
                return
            time.sleep(MOMENT)


def require_sound(engine: Engine) -> None:
    """Raise `DamagedError` if the file is no sound database, as far as a short look can tell."""
    path = engine.url.database or ""
    if _identity(path) is None:
        return
    try:
        with closing(sqlite3.connect(path)) as connection:
            finding = damage(connection)
    except sqlite3.OperationalError:
        # It cannot be opened now, and perhaps later.
        return
    if finding is not None:
        raise DamagedError(
            f"The database {path} is damaged ({finding}). Move it and the files beside it whose names begin with its "
            "own out of the way, and restore a backup."
        )


def damage(connection: sqlite3.Connection) -> str | None:
    """The first damage that is found within `LOOK_SECONDS`; None: there is none in what was read."""
    timer = threading.Timer(LOOK_SECONDS, connection.interrupt)
    timer.start()
    try:
        (finding,) = connection.execute("PRAGMA quick_check(1)").fetchone()
    except sqlite3.DatabaseError as error:
        return str(error) if primary_code(error) in DAMAGED else None
    finally:
        timer.cancel()
        timer.join()
    return None if finding == "ok" else str(finding)


def primary_code(error: BaseException | None) -> int | None:
    """SQLite's code for an error, without its details; None: it is no error of SQLite's."""
    code = getattr(error, "sqlite_errorcode", None)
    return None if code is None else int(code) & 0xFF


def _empty_log(connection: sqlite3.Connection) -> bool:
    """Whether the log could be emptied: no other connection copies it, and nobody reads an older state for long."""
    connection.execute(f"PRAGMA busy_timeout = {EMPTY_SECONDS * 1000:.0f}")
    (is_busy, *_) = connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
    return not is_busy


def _identity(path: str) -> Identity | None:
    """None: there is no file, or the path does not lead to it."""
    try:
        found = os.stat(path)
    except OSError:
        return None
    return found.st_dev, found.st_ino


def _size(path: str) -> int:
    try:
        return os.stat(path).st_size
    except OSError:
        return 0
