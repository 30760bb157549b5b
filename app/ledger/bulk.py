"""Many rows in one statement.

PostgreSQL gets everything in one message there and back: the rows travel as JSON (`json_to_recordset`), the tables as
parts of one `WITH`. SQLite is in the process and quickest with one prepared statement a table that runs for each row.
Used by `app.ledger.record` alone; nobody else writes rows. `among` and what belongs
to it is for all who look many rows up.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
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
    bindparam,
    func,
    select,
)
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.dialects.postgresql import dialect as postgresql_dialect
from sqlalchemy.engine import Dialect

from app.models import UTCDateTime

#: Turns a Python value into what the database is sent.
Encode = Callable[[Any], Any]

POSTGRESQL = postgresql_dialect()  # type: ignore[no-untyped-call]


def among(dialect: str, column: Any, name: str) -> ColumnElement[bool]:
    """`column IN` the values that are sent as the one parameter `name`: the same text for 1 and for 1000 values."""
    found: ColumnElement[bool] = column.in_(listed(dialect, column, name))
    return found


def listed(dialect: str, column: Any, name: str) -> Select[Any]:
    """`SELECT` of the values that are sent as the parameter `name`, as `column` has them."""
    if dialect == "postgresql":
        return select(func.unnest(bindparam(name, type_=ARRAY(column.type))))
    rows = func.json_each(bindparam(name)).table_valued("value")
    return select(rows.c.value)


def sent(dialect: str, values: Iterable[Any]) -> Any:
    """The values as the parameter of `among` and `listed`."""
    return list(values) if dialect == "postgresql" else orjson.dumps(list(values)).decode()


@dataclass(frozen=True, kw_only=True, slots=True)
class Write:
    """Rows of one table to insert, to update or to delete."""

    #: `insert`, `update` or `delete`.
    kind: str
    table: Table
    #: The columns to write; for a delete none.
    names: tuple[str, ...]
    #: Column name -> value, the primary key included.
    rows: Sequence[Mapping[str, Any]]


def write_rows(connection: Connection, writes: Sequence[Write]) -> None:
    """Write everything: on PostgreSQL in one statement, whose parts see the state before it."""
    if not writes:
        return
    packed = [_pack(each, connection.dialect) for each in writes]
    if connection.dialect.name == "sqlite":
        for write, rows in zip(writes, packed, strict=True):
            connection.exec_driver_sql(_sqlite_statement(write.kind, write.table, write.names), rows)
    else:
        statement = _postgresql_statement(tuple((each.kind, each.table, each.names) for each in writes))
        connection.exec_driver_sql(statement, tuple(orjson.dumps(rows, default=str).decode() for rows in packed))


def _columns(write_kind: str, table: Table, names: tuple[str, ...]) -> tuple[str, ...]:
    """The columns that travel: a key that is looked for comes last."""
    return names if write_kind == "insert" else (*names, _primary_key(table))


def _pack(write: Write, dialect: Dialect) -> list[Any]:
    """The rows as the statement takes them: tuples on SQLite, JSON objects on PostgreSQL."""
    names = _columns(write.kind, write.table, write.names)
    columns = [(name, _encoder(write.table.c[name], dialect)) for name in names]
    if dialect.name == "sqlite":
        return [tuple([encode(row[name]) if encode else row[name] for name, encode in columns]) for row in write.rows]
    return [{name: encode(row[name]) if encode else row[name] for name, encode in columns} for row in write.rows]


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


@lru_cache(maxsize=512)
def _sqlite_statement(kind: str, table: Table, names: tuple[str, ...]) -> str:
    target, key = _quoted(table.name), _quoted(_primary_key(table))
    if kind == "insert":
        return f"INSERT INTO {target} ({', '.join(map(_quoted, names))}) VALUES ({', '.join('?' * len(names))})"
    if kind == "update":
        return f"UPDATE {target} SET {', '.join(f'{_quoted(name)} = ?' for name in names)} WHERE {key} = ?"
    return f"DELETE FROM {target} WHERE {key} = ?"


@lru_cache(maxsize=512)
def _postgresql_statement(shapes: tuple[tuple[str, Table, tuple[str, ...]], ...]) -> str:
    *others, last = [_postgresql_part(*shape) for shape in shapes]
    steps = ", ".join(f"step_{index} AS ({part})" for index, part in enumerate(others))
    return f"WITH {steps} {last}" if steps else last


def _postgresql_part(kind: str, table: Table, names: tuple[str, ...]) -> str:
    target, key = _quoted(table.name), _quoted(_primary_key(table))
    types = [f"{_quoted(name)} {table.c[name].type.compile(POSTGRESQL)}" for name in _columns(kind, table, names)]
    source = f"json_to_recordset(%s::json) AS source({', '.join(types)})"
    if kind == "insert":
        columns = ", ".join(map(_quoted, names))
        return f"INSERT INTO {target} ({columns}) SELECT {columns} FROM {source}"
    if kind == "update":
        assignments = ", ".join(f"{_quoted(name)} = source.{_quoted(name)}" for name in names)
        return f"UPDATE {target} SET {assignments} FROM {source} WHERE {target}.{key} = source.{key}"
    return f"DELETE FROM {target} USING {source} WHERE {target}.{key} = source.{key}"
