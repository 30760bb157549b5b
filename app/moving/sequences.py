"""The sequences of ids: at the target no id is given again that the source has given, not even of a removed row."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from sqlalchemy import Connection, Engine, Table, text

from app.core.database.transactions import writing


def copy_sequences(source: Engine, target: Engine, tables: Sequence[Table]) -> None:
    """Let each sequence of the target go on where the source's is."""
    counted = [table.name for table in tables if table.autoincrement_column is not None]
    with source.connect() as connection:
        last = READERS[source.dialect.name](connection, counted)
    with writing(target) as connection:
        WRITERS[target.dialect.name](connection, last)


def _read_sqlite(connection: Connection, tables: Sequence[str]) -> Mapping[str, int]:
    found = {row.name: row.seq for row in connection.execute(text("SELECT name, seq FROM sqlite_sequence"))}
    return {name: found[name] for name in tables if name in found}


def _read_postgresql(connection: Connection, tables: Sequence[str]) -> Mapping[str, int]:
    statement = text(
        "SELECT last_value FROM pg_sequences "
        "WHERE format('%I.%I', schemaname, sequencename)::regclass = pg_get_serial_sequence(:table, 'id')::regclass"
    )
    found = {name: connection.execute(statement, {"table": name}).scalar() for name in tables}
    return {name: last for name, last in found.items() if last is not None}


def _write_sqlite(connection: Connection, last: Mapping[str, int]) -> None:
    for name, value in last.items():
        connection.execute(text("DELETE FROM sqlite_sequence WHERE name = :name"), {"name": name})
        statement = text("INSERT INTO sqlite_sequence (name, seq) VALUES (:name, :value)")
        connection.execute(statement, {"name": name, "value": value})


def _write_postgresql(connection: Connection, last: Mapping[str, int]) -> None:
    statement = text("SELECT setval(pg_get_serial_sequence(:name, 'id'), :value)")
    for name, value in last.items():
        connection.execute(statement, {"name": name, "value": value})


READERS = {"sqlite": _read_sqlite, "postgresql": _read_postgresql}
WRITERS = {"sqlite": _write_sqlite, "postgresql": _write_postgresql}
