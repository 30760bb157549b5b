"""Snapshots of the database: by SQLite's backup function, or PostgreSQL's `pg_dump`. Others may write meanwhile."""

from __future__ import annotations

import os
import secrets
import shutil
import sqlite3
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any, Protocol

from psycopg.conninfo import make_conninfo
from sqlalchemy import URL, Connection, Engine, TextClause, inspect, text
from sqlalchemy.dialects.postgresql.psycopg import dialect as psycopg_dialect

from app.cli.backup.archives import BackupError
from app.core.database import database_of
from app.core.database.transactions import writing
from app.core.private_files import create_before_sqlite

#: The step by which every id sequence is moved on: more ids than can have been given since the backup. A batch reserves
#: an id for each of its up to a thousand items, so a thousand batches would use up a million.
GAP = 1_000_000_000


#: The tables whose rows are counted. Somebody who knows the server sees by their numbers whether a backup is of it.
COUNTED = ("users", "inspections", "form_fills", "attachments")


class Tools(Protocol):
    """How one kind of database is saved, restored and watched."""

    def save(self, engine: Engine, snapshot: Path) -> Mapping[str, int]:
        """Write the database as of one moment to a file; returns how many rows its main tables have."""

    def verify(self, snapshot: Path, rows: Mapping[str, int]) -> None:
        """Raise `BackupError` unless the snapshot is whole and has so many rows."""

    def load(self, engine: Engine, snapshot: Path) -> None:
        """Put a snapshot in place of the database."""

    def count_others(self, engine: Engine) -> int:
        """How many others are connected, at least."""

    def skip_ids(self, connection: Connection) -> None:
        """Move every id sequence on by `GAP`."""


#: The functions that triggers of the tables call. They do not go with the tables.
TRIGGER_FUNCTIONS = text("""
    SELECT DISTINCT tgfoid::regprocedure::text
    FROM pg_trigger JOIN pg_class ON pg_class.oid = tgrelid JOIN pg_proc ON pg_proc.oid = tgfoid
    WHERE NOT tgisinternal AND relnamespace = current_schema()::regnamespace AND pronamespace = relnamespace
        AND NOT EXISTS (SELECT FROM pg_depend WHERE objid = tgfoid AND deptype = 'e')
""")


class PostgreSQLTools:
    """`pg_dump` and `pg_restore`."""

    def save(self, engine: Engine, snapshot: Path) -> Mapping[str, int]:
        """In the custom format: compressed, and read by `pg_restore`. Rows are counted just before."""
        with engine.connect() as connection:
            rows = {table: connection.execute(_count(table)).scalar_one() for table in COUNTED}
        _run("pg_dump", engine, "--format=custom", "--no-owner", "--no-privileges", f"--file={snapshot}")
        return rows

    def verify(self, snapshot: Path, rows: Mapping[str, int]) -> None:
        """Its table of contents has the rows of all main tables."""
        contents = _run("pg_restore", None, "--list", str(snapshot))
        for table in COUNTED:
            if f" TABLE DATA public {table} " not in contents:
                raise BackupError(f"The database in this backup has no table {table}. Take another backup.")

    def load(self, engine: Engine, snapshot: Path) -> None:
        """Drop all tables with their triggers, then restore.

        A file that cannot be read is found before anything is dropped.
        """
        _run("pg_restore", None, "--list", str(snapshot))
        tables = inspect(engine).get_table_names()
        if tables:
            preparer = engine.dialect.identifier_preparer
            with writing(engine) as connection:
                functions = connection.execute(TRIGGER_FUNCTIONS).scalars().all()
                names = ", ".join(preparer.quote(table) for table in tables)
                connection.execute(text(f"DROP TABLE {names} CASCADE"))
                if functions:
                    connection.execute(text(f"DROP FUNCTION {', '.join(functions)}"))
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

    def save(self, engine: Engine, snapshot: Path) -> Mapping[str, int]:
        """A copy that is one file."""
        with _refusals(), _opened(engine) as source, closing(sqlite3.connect(snapshot)) as copy:
            source.backup(copy)
            # The copy says of itself that it has a log beside it; as one file it is easier to move.
            copy.execute("PRAGMA journal_mode=DELETE")
            return _rows_of(copy)

    def verify(self, snapshot: Path, rows: Mapping[str, int]) -> None:
        """SQLite finds no damage, and the tables have as many rows as when the backup was made."""
        with _refusals(), closing(sqlite3.connect(snapshot)) as copy:
            ((damage,), *_) = copy.execute("PRAGMA integrity_check")
            there = _rows_of(copy)
        if damage != "ok":
            raise BackupError(f"The database in this backup is damaged: {damage}. Take another backup.")
        if rows and there != rows:
            raise BackupError(f"The database in this backup has {there} rows, not {rows}. Take another backup.")

    def load(self, engine: Engine, snapshot: Path) -> None:
        """Over all pages of the file."""
        with _refusals(), closing(sqlite3.connect(snapshot)) as source, _opened(engine) as target:
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


POSTGRESQL = psycopg_dialect()  # type: ignore[no-untyped-call]

#: By SQLAlchemy's name for the database.
TOOLS: dict[str, Tools] = {"postgresql": PostgreSQLTools(), "sqlite": SQLiteTools()}


def save_snapshot(engine: Engine, snapshot: Path) -> Mapping[str, int]:
    """Write the database as of one moment to a file; others may go on writing. Returns the rows of its main tables."""
    return _tools(engine).save(engine, snapshot)


def verify_snapshot(kind: str, snapshot: Path, rows: Mapping[str, int]) -> None:
    """Raise `BackupError` unless a snapshot of this kind of database is whole and has so many rows."""
    TOOLS[kind].verify(snapshot, rows)


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


@contextmanager
def _refusals() -> Iterator[None]:
    """Turn an error of SQLite into a sentence."""
    try:
        yield
    except sqlite3.Error as error:
        raise BackupError(
            f"SQLite did not do this: {error}. If the disk is full, make room or name another place; if the backup is "
            "damaged, take another."
        ) from error


def _connection_values(url: URL) -> dict[str, Any]:
    """The address as libpq takes it; the dialect knows how one names several hosts."""
    values: dict[str, Any] = POSTGRESQL.create_connect_args(url)[1]  # type: ignore[no-untyped-call]
    # Of psycopg, not of libpq.
    values.pop("context", None)
    return values


def _count(table: str) -> TextClause:
    return text(f"SELECT count(*) FROM {table}")


def _rows_of(connection: sqlite3.Connection) -> dict[str, int]:
    return {table: connection.execute(str(_count(table))).fetchone()[0] for table in COUNTED}


def _run(program: str, engine: Engine | None, *arguments: str) -> str:
    """Run a program of PostgreSQL, on the engine's database if one is given; its output. Raises `BackupError`."""
    path = shutil.which(program)
    if path is None:
        raise BackupError(
            f"{program} is not on the PATH. Install PostgreSQL's client programs, of the server's version or newer."
        )
    environment, target = dict(os.environ), []
    if engine is not None:
        values = _connection_values(engine.url)
        # Every user of the machine can read the arguments of a process, so the password goes into the environment.
        password = values.pop("password", None)
        environment |= {"PGPASSWORD": str(password)} if password else {}
        target = [f"--dbname={make_conninfo(**values)}"]
    result = subprocess.run([path, *target, *arguments], env=environment, capture_output=True, text=True, check=False)
    if result.returncode:
        raise BackupError(f"{program} ended with {result.returncode}: {result.stderr.strip()[-2000:]}")
    return result.stdout
