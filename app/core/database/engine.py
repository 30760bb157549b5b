"""The Flask extensions, made here and bound to an application in `create_app`. Imports only
`app.config` and `app.core.database.session`.

Also what every connection is told when it opens: how SQLite begins a transaction (traps 1, 20 and 25),
how long a statement may take, how JSON is read and written.
"""

from __future__ import annotations

import math
import sqlite3
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from functools import partial
from typing import Any, cast

import orjson
import psycopg
from flask import Flask
from flask_compress import Compress
from flask_jwt_extended import JWTManager
from flask_login import LoginManager
from flask_migrate import Migrate
from flask_smorest import Api
from flask_sqlalchemy import SQLAlchemy
from psycopg.pq import TransactionStatus
from sqlalchemy import Connection, Engine, MetaData, event
from sqlalchemy.exc import DisconnectionError
from sqlalchemy.orm import DeclarativeBase
from sqlalchemy.pool import ConnectionPoolEntry

from app.config import Settings
from app.core.database.session import LendableSession, refuse_writing

#: One name for each constraint on both databases, so that migrations and plugins can name them.
NAMING = {
    "ix": "ix_%(table_name)s_%(column_0_N_name)s",
    "uq": "uq_%(table_name)s_%(column_0_N_name)s",
    "ck": "ck_%(table_name)s_%(constraint_name)s",
    "fk": "fk_%(table_name)s_%(column_0_name)s_%(referred_table_name)s",
    "pk": "pk_%(table_name)s",
}

#: Execution option of a connection that is going to write: SQLite takes the write lock at BEGIN.
WRITES = "fieldpost_writes"


#: Execution option of a connection to PostgreSQL that sends one query: it begins no transaction.
ONCE = "fieldpost_once"

#: Execution option of a statement: the reads that go to PostgreSQL in its place.
TOGETHER = "fieldpost_together"

#: Execution option of a connection that is going to read: on PostgreSQL, all its queries see the same state.
SNAPSHOT = "fieldpost_snapshot"

#: In the `record_info` of a connection to PostgreSQL: what has still to be sent, with the first statement, to begin.
BEGINS = "fieldpost_begins"

#: In the same: whether the transaction is one that only reads.
READS = "fieldpost_reads"


class Base(DeclarativeBase):
    """The declarative base of the core's models and the plugins'."""

    metadata = MetaData(naming_convention=NAMING)


#: For how long a connection that was just used is taken to be alive.
REST_SECONDS = 1.0

#: After how long a writer asks SQLite again whether it is its turn. SQLite's own waiting doubles its pauses up to
#: 0.1 s, in which nobody may be writing, and those who waited longest ask least.
TURN_SECONDS = 0.001
#: And one that has just come: those that have waited for some time ask more often, and mostly come first.
NEWCOMER_SECONDS = 0.003

db = SQLAlchemy(
    model_class=Base, session_options={"class_": LendableSession, "expire_on_commit": False, "autoflush": False}
)
migrate = Migrate()
jwt = JWTManager()
login_manager = LoginManager()
compress = Compress()
api = Api()


def write_json(value: Any) -> str:
    """JSON text for a database column."""
    return orjson.dumps(value).decode()


def engine_options(settings: Settings) -> dict[str, Any]:
    """What SQLAlchemy needs to know to open connections to the configured database."""
    options: dict[str, Any] = {
        "json_serializer": write_json,
        "json_deserializer": orjson.loads,
        # An error's text goes to the log, where no data belong.
        "hide_parameters": True,
    }
    if settings.is_sqlite:
        return options | {"connect_args": {"timeout": settings.database_seconds}}
    milliseconds = settings.database_seconds * 1000
    timeouts = {
        "statement_timeout": milliseconds * 6,
        "lock_timeout": milliseconds,
        "idle_in_transaction_session_timeout": milliseconds * 6,
    }
    return options | {
        # Else the driver would send BEGIN by itself, in a message of its own. We send it (`send_together`).
        "isolation_level": "AUTOCOMMIT",
        "pool_timeout": settings.database_seconds,
        "connect_args": {
            "connect_timeout": settings.database_seconds,
            "options": " ".join(f"-c {name}={value}" for name, value in timeouts.items()),
        },
    }


@contextmanager
def reading_once() -> Iterator[Connection]:
    """A connection for one query, which on PostgreSQL is no transaction.

    BEGIN and ROLLBACK would be two more messages there and back, and psycopg forgets at a ROLLBACK all statements that
    it has prepared, so that every statement of every request would be planned anew.
    """
    with db.engine.connect() as connection:
        yield connection.execution_options(**{ONCE: True})


def prepare_engine(app: Flask) -> None:
    """Attach our listeners to the application's engine."""
    with app.app_context():
        engine: Engine = db.engine
    event.listen(engine, "before_cursor_execute", refuse_writing)
    if engine.dialect.name == "postgresql":
        event.listen(engine, "begin", _begin_postgresql)
        event.listen(engine, "rollback", _end_reading)
        for name, send in SENDERS.items():
            event.listen(engine, name, send)
        event.listen(engine, "checkin", _note_return)
        event.listen(engine, "checkout", _ping_after_rest)
    if engine.dialect.name == "sqlite":
        event.listen(engine, "connect", _open_sqlite)
        event.listen(engine, "begin", _begin_sqlite)


def send_together(cursor: Any, statement: str, parameters: Any, context: Any) -> bool:
    """For the engine: send BEGIN, if it is due, and the statement, or the reads in its place, in one message.

    Each begins when the one before it has ended, as if they were sent one by one: what it sees is not older than the
    locks that were taken before it.
    """
    reads = context.execution_options.get(TOGETHER)
    # Without parameters, it may be several statements in one text, which cannot be sent with others.
    if reads is None and (not parameters or isinstance(cursor, psycopg.ServerCursor)):
        return _begin_first(cursor, context)
    connection, dialect = cursor.connection, context.dialect
    begin = _take_begin(context)
    sends: list[Callable[[], Any]] = [partial(connection.execute, begin)] if begin else []
    if reads is None:
        _send_in_one_message(connection, [*sends, partial(cursor.execute, statement, parameters)])
        return True
    sends += [partial(each.send, connection, dialect) for each in reads]
    for each, found in zip(reads, _send_in_one_message(connection, sends)[-len(reads) :], strict=True):
        each.take(found, dialect)
    return True


def _send_in_one_message(connection: psycopg.Connection[Any], sends: Sequence[Callable[[], Any]]) -> list[Any]:
    """What each returns. Raises what went wrong first."""
    if len(sends) == 1:
        return [sends[0]()]
    try:
        with connection.pipeline():
            return [send() for send in sends]
    except psycopg.errors.PipelineAborted as error:
        # Of a statement that was given up for an earlier one, whose error is what is to be told.
        raise error.__context__ or error from None


def _begin_postgresql(connection: Connection) -> None:
    options, info = connection.get_execution_options(), cast("dict[str, Any]", connection.connection.record_info)
    # With an isolation level of its own, a connection has no transaction, or one that the driver begins.
    info[BEGINS] = "BEGIN" if ONCE not in options and "isolation_level" not in options else None
    info[READS] = False


@event.listens_for(LendableSession, "after_begin")
def _begin_reading(_session: object, _transaction: object, connection: Connection) -> None:
    """What a session does outside a unit of work is to read."""
    info, options = cast("dict[str, Any]", connection.connection.record_info), connection.get_execution_options()
    if info.get(BEGINS) and WRITES not in options:
        level = "ISOLATION LEVEL REPEATABLE READ " if SNAPSHOT in options else ""
        info[BEGINS], info[READS] = f"BEGIN {level}READ ONLY", True


def _end_reading(connection: Connection) -> None:
    """Before a transaction that only reads is rolled back: commit it, so that there is nothing to roll back.

    At a ROLLBACK psycopg forgets all statements that it has prepared, those of other requests included.
    """
    if connection.invalidated or not cast("dict[str, Any]", connection.connection.record_info).get(READS):
        return
    raw = cast("psycopg.Connection[Any]", connection.connection.driver_connection)
    if raw.info.transaction_status == TransactionStatus.INTRANS:
        # What is in the way, the rollback runs into as well.
        with suppress(psycopg.Error):
            raw.commit()


def _take_begin(context: Any) -> str | None:
    """What has still to be sent to begin; whoever asks sends it."""
    found: str | None = context.root_connection.connection.record_info.pop(BEGINS, None)
    return found


def _begin_first(cursor: Any, *arguments: Any) -> bool:
    """For the engine: send BEGIN before a statement that cannot go with it."""
    begin = _take_begin(arguments[-1])
    if begin:
        cursor.connection.execute(begin)
    return False


#: How statements are sent to PostgreSQL: what is called in place of the driver, by the name of SQLAlchemy's event.
SENDERS = {"do_execute": send_together, "do_executemany": _begin_first, "do_execute_no_params": _begin_first}


def _note_return(_connection: object, record: ConnectionPoolEntry) -> None:
    record.info["returned"] = time.monotonic()


def _ping_after_rest(connection: Any, record: ConnectionPoolEntry, _proxy: object) -> None:
    """Pre-ping of a connection that has not been used for a moment.

    SQLAlchemy's own asks before every use: twice a request. What breaks within the moment is noticed by the statement,
    and the unit of work repeated.
    """
    if time.monotonic() - record.info.get("returned", math.inf) < REST_SECONDS:
        return
    try:
        connection.execute("")
    except psycopg.Error as error:
        # The pool makes another one.
        raise DisconnectionError() from error


def _open_sqlite(connection: sqlite3.Connection, _record: object) -> None:
    # The driver would open a transaction only before the first write, so that two read-modify-writes
    # lose one of them without an error (trap 1). We send BEGIN ourselves.
    connection.isolation_level = None
    for pragma in ("journal_mode=WAL", "synchronous=FULL", "foreign_keys=ON"):
        connection.execute(f"PRAGMA {pragma}")


def _begin_sqlite(connection: Connection) -> None:
    # A transaction that began with a read cannot be upgraded once another has committed (trap 25).
    if not connection.get_execution_options().get(WRITES):
        connection.exec_driver_sql("BEGIN")
        return
    raw: Any = connection.connection.driver_connection
    (patience,) = raw.execute("PRAGMA busy_timeout").fetchone()
    raw.execute("PRAGMA busy_timeout = 0")
    try:
        _wait_for_turn(raw, patience / 1000)
        if not raw.in_transaction:
            # Whatever is in the way is raised as SQLAlchemy's own error.
            connection.exec_driver_sql("BEGIN IMMEDIATE")
    finally:
        raw.execute(f"PRAGMA busy_timeout = {patience}")


def _wait_for_turn(raw: sqlite3.Connection, seconds: float) -> None:
    """Become the one writer, or give up after some seconds, or when something else is in the way."""
    start = time.monotonic()
    while True:
        try:
            raw.execute("BEGIN IMMEDIATE")
            return
        except sqlite3.OperationalError as error:
            waited = time.monotonic() - start
            if error.sqlite_errorcode != sqlite3.SQLITE_BUSY or waited > seconds:
                return
        time.sleep(max(TURN_SECONDS, NEWCOMER_SECONDS - waited / 10))
