"""What fails at the N-th call: a statement, a COMMIT, a write to the storage. Each as it fails in earnest."""

from __future__ import annotations

import errno
import os
import socket
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from flask import Flask
from sqlalchemy import event

from app.attachments.storage.local import FileDraft
from app.core.database.engine import db
from app.core.database.messages import SENDERS
from app.core.database.sqlite import send_reads
from app.errors import StorageError

#: What the database's statements may be sent as.
EXECUTIONS = ("do_execute", "do_executemany", "do_execute_no_params")


class Fuse:
    """Blows at the N-th call that comes while it is armed: then alone, or from then on."""

    def __init__(self) -> None:
        self.is_armed, self.is_for_good = False, False
        self.number, self.count = 1, 0

    def set(self, number: int, *, for_good: bool) -> None:
        """Count anew, up to `number`."""
        self.number, self.count, self.is_for_good = number, 0, for_good

    @property
    def has_blown(self) -> bool:
        """Whether the N-th call has come."""
        return self.count >= self.number

    def blows(self) -> bool:
        """To be asked at each call: whether this one fails."""
        self.count += self.is_armed
        return self.is_armed and (self.count == self.number or (self.is_for_good and self.has_blown))


#: What happens to a connection.
Failure = Callable[[Any], None]

#: A context manager in which calls fail when the fuse blows.
Fault = Callable[[Flask, Fuse, pytest.MonkeyPatch], Any]


def break_connection(connection: Any) -> None:
    """Pull the plug between us and PostgreSQL, or let SQLite's file refuse; raises what the driver then raises."""
    if isinstance(connection, sqlite3.Connection):
        error = sqlite3.OperationalError("disk I/O error")
        error.sqlite_errorcode = sqlite3.SQLITE_IOERR_FSYNC
        raise error
    with socket.socket(fileno=os.dup(connection.fileno())) as line:
        line.shutdown(socket.SHUT_RDWR)
    connection.execute("SELECT 1")
    raise AssertionError("the connection is still there")


def raise_a_bug(_connection: Any) -> None:
    """Nothing that anybody has foreseen."""
    raise RuntimeError("nobody thought of this")


@contextmanager
def at_each_statement(app: Flask, act: Callable[[Any], None]) -> Iterator[None]:
    """Before any SQL statement is sent, `act(connection)`; what it raises counts as the driver's."""

    def execute(cursor: Any, *_: Any) -> None:
        act(cursor.connection)

    with app.app_context():
        engine = db.engine
    # The application's own, which send statements themselves, must be called later: `insert=True` counts for nothing
    # with these events.
    own = SENDERS if engine.dialect.name == "postgresql" else {"do_execute": send_reads}
    for name, send in own.items():
        event.remove(engine, name, send)
    for name in EXECUTIONS:
        event.listen(engine, name, execute)
    for name, send in own.items():
        event.listen(engine, name, send)
    try:
        yield
    finally:
        for name in EXECUTIONS:
            event.remove(engine, name, execute)


def statement(failure: Failure) -> Fault:
    """The N-th SQL statement fails so; it never arrives."""

    @contextmanager
    def fault(app: Flask, fuse: Fuse, _patch: pytest.MonkeyPatch) -> Iterator[None]:
        def act(connection: Any) -> None:
            if fuse.blows():
                failure(connection)

        with at_each_statement(app, act):
            yield

    return fault


def commit(failure: Failure, *, comes_through: bool = False) -> Fault:
    """The N-th COMMIT fails so: before it arrives, or, where it `comes_through`, before its answer does.

    For good: what did not come through never does; after what did, nothing more is answered.
    """

    @contextmanager
    def fault(app: Flask, fuse: Fuse, patch: pytest.MonkeyPatch) -> Iterator[None]:
        with app.app_context():
            dialect = db.engine.dialect
        real = dialect.do_commit

        def do_commit(connection: Any) -> None:
            if not fuse.blows():
                real(connection)
                return
            if comes_through:
                real(connection)
            failure(connection.driver_connection)

        def act(connection: Any) -> None:
            if comes_through and fuse.is_armed and fuse.is_for_good and fuse.has_blown:
                failure(connection)

        with patch.context() as here, at_each_statement(app, act):
            here.setattr(dialect, "do_commit", do_commit)
            yield

    return fault


def keep(*, comes_through: bool = False) -> Fault:
    """The N-th draft is not kept; or, where it `comes_through`, is kept without an answer."""

    @contextmanager
    def fault(_app: Flask, fuse: Fuse, patch: pytest.MonkeyPatch) -> Iterator[None]:
        real = FileDraft.keep

        def fail(*arguments: Any) -> None:
            is_failing = fuse.blows()
            if not is_failing or comes_through:
                real(*arguments)
            if is_failing:
                raise StorageError("the storage does not answer")

        with patch.context() as here:
            here.setattr(FileDraft, "keep", fail)
            yield

    return fault


def write() -> Fault:
    """The N-th piece cannot be written, as on a full disk."""

    @contextmanager
    def fault(_app: Flask, fuse: Fuse, patch: pytest.MonkeyPatch) -> Iterator[None]:
        real = FileDraft.write

        def fail(draft: FileDraft, piece: bytes | memoryview) -> None:
            if fuse.blows():
                raise StorageError("no space left on device")
            real(draft, piece)

        with patch.context() as here:
            here.setattr(FileDraft, "write", fail)
            yield

    return fault


def system(name: str) -> Fault:
    """The N-th call of this function of `os` is refused."""

    @contextmanager
    def fault(_app: Flask, fuse: Fuse, patch: pytest.MonkeyPatch) -> Iterator[None]:
        real = getattr(os, name)

        def refuse(*arguments: Any, **named: Any) -> Any:
            if fuse.blows():
                raise OSError(errno.EIO, os.strerror(errno.EIO))
            return real(*arguments, **named)

        with patch.context() as here:
            here.setattr(os, name, refuse)
            yield

    return fault
