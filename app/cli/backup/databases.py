"""Snapshots of the database: by SQLite's backup function, or PostgreSQL's `pg_dump`. Others may write meanwhile."""

from __future__ import annotations

import os
import secrets
import shutil
import sqlite3
import subprocess
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Protocol

from psycopg.conninfo import make_conninfo
from sqlalchemy import Connection, Engine, inspect, text

from app.cli.backup.archives import BackupError
from app.core.database import database_of
from app.core.database.transactions import writing
from app.core.private_files import create_before_sqlite

#: The step by which every id sequence is moved on: more ids than can have been given since the backup. A batch reserves
#: an id for each of its up to a thousand items, so a thousand batches would use up a million.
GAP = 1_000_000_000


class Tools(Protocol):
    """How one kind of database is saved, restored and watched."""

    def save(self, engine: Engine, snapshot: Path) -> None:
        """Write the database as of one moment to a file."""

    def load(self, engine: Engine, snapshot: Path) -> None:
        """Put a snapshot in place of the database."""

    def count_others(self, engine: Engine) -> int:
        """How many others are connected, at least."""

    def skip_ids(self, connection: Connection) -> None:
        """Move every id sequence on by `GAP`."""


class PostgreSQLTools:
    """`pg_dump` and `pg_restore`."""

    def save(self, engine: Engine, snapshot: Path) -> None:
        """In the custom format: compressed, and read by `pg_restore`."""
        _run("pg_dump", engine, "--format=custom", "--no-owner", "--no-privileges", f"--file={snapshot}")

    def load(self, engine: Engine, snapshot: Path) -> None:
        """Drop all tables, then restore. A file that cannot be read is found before anything is dropped."""
        _run("pg_restore", None, "--list", str(snapshot))
        tables = inspect(engine).get_table_names()
        if tables:
            preparer = engine.dialect.identifier_preparer
            with writing(engine) as connection:
                names = ", ".join(preparer.quote(table) for table in tables)
                connection.execute(text(f"DROP TABLE {names} CASCADE"))
        engine.dispose()
        options = ("--no-owner", "--no-privileges", "--single-transaction", "--exit-on-error")
        _run("pg_restore", engine, *options, str(snapshot))

    def count_others(self, engine: Engine) -> int:
        """The other clients of the same database."""
        statement = text(
            "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() "
            "AND pid <> pg_backend_pid() AND backend_type = 'client backend'"
        )
        with engine.connect() as connection:
            return int(connection.execute(statement).scalar_one())

    def skip_ids(self, connection: Connection) -> None:
        """All sequences of the schema."""
        sequences = text(
            "SELECT setval(format('%I.%I', schemaname, sequencename)::regclass, coalesce(last_value, 0) + :gap) "
            "FROM pg_sequences WHERE schemaname = current_schema()"
        )
        connection.execute(sequences, {"gap": GAP})


class SQLiteTools:
    """SQLite's own backup, on connections outside the pool and without its listeners."""

    def save(self, engine: Engine, snapshot: Path) -> None:
        """A copy that is one file."""
        with _opened(engine) as source, closing(sqlite3.connect(snapshot)) as copy:
            source.backup(copy)
            # The copy says of itself that it has a log beside it; as one file it is easier to move.
            copy.execute("PRAGMA journal_mode=DELETE")

    def load(self, engine: Engine, snapshot: Path) -> None:
        """Over all pages of the file."""
        with closing(sqlite3.connect(snapshot)) as source, _opened(engine) as target:
            source.backup(target)

    def count_others(self, engine: Engine) -> int:
        """Everybody who has the database open keeps a share lock on it as long as there is a log."""
        with _opened(engine) as connection:
            connection.execute("PRAGMA busy_timeout = 0")
            connection.execute("PRAGMA locking_mode = EXCLUSIVE")
            try:
                connection.execute("BEGIN EXCLUSIVE")
                connection.execute("ROLLBACK")
            except sqlite3.OperationalError as error:
                if error.sqlite_errorcode != sqlite3.SQLITE_BUSY:
                    raise
                return 1
        return 0

    def skip_ids(self, connection: Connection) -> None:
        """A table from which no id was given has no sequence yet."""
        missing = text(
            "INSERT INTO sqlite_sequence (name, seq) SELECT name, 0 FROM sqlite_master WHERE type = 'table' "
            "AND sql LIKE '%AUTOINCREMENT%' AND name NOT IN (SELECT name FROM sqlite_sequence)"
        )
        connection.execute(missing)
        connection.execute(text("UPDATE sqlite_sequence SET seq = seq + :gap"), {"gap": GAP})


#: By SQLAlchemy's name for the database.
TOOLS: dict[str, Tools] = {"postgresql": PostgreSQLTools(), "sqlite": SQLiteTools()}


def save_snapshot(engine: Engine, snapshot: Path) -> None:
    """Write the database as of one moment to a file; others may go on writing."""
    _tools(engine).save(engine, snapshot)


def load_snapshot(engine: Engine, snapshot: Path) -> None:
    """Put a snapshot in place of the database's contents."""
    _tools(engine).load(engine, snapshot)


def require_empty(engine: Engine) -> None:
    """Raise `BackupError` if the database has users, and so possibly their work."""
    if not inspect(engine).has_table("users"):
        return
    with engine.connect() as connection:
        if connection.execute(text("SELECT 1 FROM users LIMIT 1")).first() is not None:
            raise BackupError(
                "The database is not empty; nothing was changed. Restore into an empty one, or lose what it holds "
                "with --replace."
            )


def require_alone(engine: Engine) -> None:
    """Raise `BackupError` if somebody else is connected: a server would mix both histories."""
    # Our own idle connections must not be counted.
    engine.dispose()
    count = _tools(engine).count_others(engine)
    engine.dispose()
    if count:
        raise BackupError("Somebody else is connected to the database; nothing was changed. Stop all servers first.")


def begin_new_history(engine: Engine) -> None:
    """Expire all feed cursors, and skip the ids that may have been given after the backup (contract, section 6).

    The statements are plain SQL, because the tables may be those of an older release, and are migrated afterwards.
    """
    with writing(engine) as connection:
        statement = text("UPDATE ledger_state SET generation = :generation")
        connection.execute(statement, {"generation": secrets.token_hex(16)})
        _tools(engine).skip_ids(connection)


def _tools(engine: Engine) -> Tools:
    return TOOLS[database_of(engine).name]


@contextmanager
def _opened(engine: Engine) -> Iterator[sqlite3.Connection]:
    """A connection of its own, outside the pool and without its listeners."""
    assert engine.url.database is not None
    create_before_sqlite(Path(engine.url.database))
    with closing(sqlite3.connect(engine.url.database, isolation_level=None)) as connection:
        yield connection


def _run(program: str, engine: Engine | None, *arguments: str) -> None:
    """Run a program of PostgreSQL, on the engine's database if one is given. Raises `BackupError`."""
    path = shutil.which(program)
    if path is None:
        raise BackupError(
            f"{program} is not on the PATH. Install PostgreSQL's client programs, of the server's version or newer."
        )
    environment, target = dict(os.environ), []
    if engine is not None:
        url = engine.url
        values = {**url.translate_connect_args(username="user", database="dbname"), **url.query}
        # Every user of the machine can read the arguments of a process, so the password goes into the environment.
        password = values.pop("password", None)
        environment |= {"PGPASSWORD": str(password)} if password else {}
        target = [f"--dbname={make_conninfo(**values)}"]
    result = subprocess.run([path, *target, *arguments], env=environment, capture_output=True, text=True, check=False)
    if result.returncode:
        raise BackupError(f"{program} ended with {result.returncode}: {result.stderr.strip()[-2000:]}")
