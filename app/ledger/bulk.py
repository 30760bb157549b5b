"""Many rows in one statement.

To PostgreSQL they travel as one JSON parameter (`UPDATE … FROM` and `INSERT … SELECT` over `json_to_recordset`), since
each statement is a message there and back. SQLite is in the process and quickest with one prepared statement that
runs for each row. Used by `app.ledger.record` alone; nobody else writes rows. `among` is for all who look many rows up.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from functools import lru_cache
from typing import Any

import orjson
from sqlalchemy import (
    JSON,
    Column,
    ColumnElement,
    Connection,
    Select,
    Table,
    func,
    literal,
    select,
)
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.dialects.postgresql import dialect as postgresql_dialect
from sqlalchemy.engine import Dialect
from sqlalchemy.orm import Session

from app.models import UTCDateTime

#: Turns a Python value into what the database is sent.
Encode = Callable[[Any], Any]

POSTGRESQL = postgresql_dialect()  # type: ignore[no-untyped-call]


def among(session: Session, column: Any, values: Collection[Any]) -> ColumnElement[bool]:
    """`column IN values` with one parameter, so that the statement is the same text for 1 and for 1000 values."""
    found: ColumnElement[bool] = column.in_(listed(session, column, values))
    return found


def listed(session: Session, column: Any, values: Collection[Any]) -> Select[Any]:
    """`SELECT` of these values, as `column` has them: one parameter, whatever their number."""
    if session.get_bind().dialect.name == "postgresql":
        return select(func.unnest(literal(list(values), ARRAY(column.type))))
    rows = func.json_each(orjson.dumps(list(values)).decode()).table_valued("value")
    return select(rows.c.value)


def insert_rows(connection: Connection, table: Table, rows: Sequence[Mapping[str, Any]]) -> None:
    """Insert `rows` (column name -> value; all with the same keys) in one statement, in their order."""
    names = tuple(rows[0])
    _execute(connection, table, names, rows, _insert_statement(table, names, connection.dialect.name))


def update_rows(connection: Connection, table: Table, names: Sequence[str], rows: Sequence[Mapping[str, Any]]) -> None:
    """Set the columns `names` of the rows with the given primary key, in one statement."""
    key = _primary_key(table)
    statement = _update_statement(table, key, tuple(names), connection.dialect.name)
    _execute(connection, table, (*names, key), rows, statement)


def delete_rows(connection: Connection, table: Table, ids: Iterable[Any]) -> None:
    """Delete the rows with these primary keys, in one statement."""
    key = _primary_key(table)
    statement = _delete_statement(table, key, connection.dialect.name)
    _execute(connection, table, (key,), [{key: each} for each in ids], statement)


def _execute(
    connection: Connection, table: Table, names: Sequence[str], rows: Sequence[Mapping[str, Any]], statement: str
) -> None:
    columns = [(name, _encoder(table.c[name], connection.dialect)) for name in names]
    if connection.dialect.name == "sqlite":
        values = [tuple([encode(row[name]) if encode else row[name] for name, encode in columns]) for row in rows]
        connection.exec_driver_sql(statement, values)
    else:
        packed = [{name: encode(row[name]) if encode else row[name] for name, encode in columns} for row in rows]
        connection.exec_driver_sql(statement, {"rows": orjson.dumps(packed, default=str).decode()})


@lru_cache(maxsize=512)
def _encoder(column: Column[Any], dialect: Dialect) -> Encode | None:
    if isinstance(column.type.dialect_impl(dialect), JSON):
        # PostgreSQL takes the document as it is; SQLite's column holds its text.
        return None if dialect.name == "postgresql" else _document_text
    encode = column.type.dialect_impl(dialect).bind_processor(dialect)
    # A batch has few moments, and each of them in many columns.
    return lru_cache(maxsize=1024)(encode) if encode and isinstance(column.type, UTCDateTime) else encode


def _document_text(value: Any) -> str | None:
    return None if value is None else orjson.dumps(value).decode()


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def _primary_key(table: Table) -> str:
    (key,) = table.primary_key.columns
    return key.name


def _source(table: Table, names: Sequence[str]) -> str:
    """PostgreSQL's JSON parameter as a derived table with the columns `names`."""
    types = ", ".join(f"{_quoted(name)} {table.c[name].type.compile(POSTGRESQL)}" for name in names)
    return f"json_to_recordset(%(rows)s::json) AS source({types})"


@lru_cache(maxsize=512)
def _insert_statement(table: Table, names: tuple[str, ...], dialect: str) -> str:
    columns = ", ".join(map(_quoted, names))
    start = f"INSERT INTO {_quoted(table.name)} ({columns})"
    if dialect == "sqlite":
        return f"{start} VALUES ({', '.join('?' * len(names))})"
    return f"{start} SELECT {columns} FROM {_source(table, names)}"


@lru_cache(maxsize=512)
def _update_statement(table: Table, key: str, names: tuple[str, ...], dialect: str) -> str:
    start = f"UPDATE {_quoted(table.name)} SET"
    if dialect == "sqlite":
        return f"{start} {', '.join(f'{_quoted(name)} = ?' for name in names)} WHERE {_quoted(key)} = ?"
    assignments = ", ".join(f"{_quoted(name)} = source.{_quoted(name)}" for name in names)
    return (
        f"{start} {assignments} FROM {_source(table, (*names, key))} "
        f"WHERE {_quoted(table.name)}.{_quoted(key)} = source.{_quoted(key)}"
    )


def _delete_statement(table: Table, key: str, dialect: str) -> str:
    start = f"DELETE FROM {_quoted(table.name)} WHERE {_quoted(key)}"
    if dialect == "sqlite":
        return f"{start} = ?"
    return f"{start} IN (SELECT {_quoted(key)} FROM {_source(table, (key,))})"
