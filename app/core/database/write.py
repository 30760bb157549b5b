"""Many rows in one statement.

PostgreSQL gets everything in one message there and back: the rows travel as JSON (`json_to_recordset`), the tables as
parts of one `WITH`. SQLite is in the process and quickest with one prepared statement a table that runs for each row.
Used by `app.core.ledger.record` alone; nobody else writes rows. `among` and what belongs
to it is for all who look many rows up.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, NamedTuple

import orjson
from sqlalchemy import (
    JSON,
    Column,
    ColumnElement,
    Connection,
    Select,
    Table,
    any_,
    bindparam,
    cast,
    func,
    select,
)
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.dialects.postgresql import dialect as postgresql_dialect
from sqlalchemy.engine import Dialect
from sqlalchemy.types import TypeEngine

from app.core.database.types import UTCDateTime

#: Turns a Python value into what the database is sent.
Encode = Callable[[Any], Any]

POSTGRESQL = postgresql_dialect()  # type: ignore[no-untyped-call]


class Values(NamedTuple):
    """Values that are sent as one parameter: a statement has the same text for 2 and for 1000 of them.

    For a single one, which most requests have, it has a plainer one.
    """

    name: str
    is_single: bool

    @classmethod
    def of(cls, name: str, values: Collection[Any]) -> Values:
        """For these values, which the parameter `name` will hold as `sent` makes it of them."""
        return cls(name, len(values) == 1)


def among(dialect: str, column: Any, values: Values) -> ColumnElement[bool]:
    """`column IN` the values."""
    found: ColumnElement[bool]
    if values.is_single:
        found = column == bindparam(values.name, type_=column.type)
    elif dialect == "postgresql":
        # Not in a subquery: beside another condition, joined by OR, PostgreSQL would then read the whole table.
        found = column == any_(array_of(column.type, values))
    else:
        found = column.in_(listed(dialect, column, values))
    return found


def listed(dialect: str, column: Any, values: Values) -> Select[Any]:
    """`SELECT` of the values, as `column` has them."""
    if values.is_single:
        return select(bindparam(values.name, type_=column.type))
    if dialect == "postgresql":
        return select(func.unnest(array_of(column.type, values)))
    rows = func.json_each(bindparam(values.name)).table_valued("value")
    return select(rows.c.value)


def array_of(kind: TypeEngine[Any], values: Values) -> ColumnElement[Any]:
    """The values as an array of PostgreSQL's, which sees it only when it runs the statement.

    Else it would make a plan for each array anew: for one that it does not know it reckons with ten values, and takes a
    plan for fewer to be so much better.
    """
    return cast(select(bindparam(values.name, type_=ARRAY(kind))).scalar_subquery(), ARRAY(kind))


def sent(dialect: str, values: Collection[Any]) -> Any:
    """The values as the parameter of `among` and `listed`."""
    if len(values) == 1:
        return next(iter(values))
    return list(values) if dialect == "postgresql" else orjson.dumps(list(values)).decode()


@dataclass(frozen=True, kw_only=True, slots=True)
class Write:
    """Rows of one table to insert, to update or to delete."""

    #: `insert`, `put` (insert, or update where the key is there already), `update` or `delete`.
    kind: str
    table: Table
    #: The columns to write; for a delete none.
    names: tuple[str, ...]
    #: Column name -> value, the primary key included.
    rows: Sequence[Mapping[str, Any]]
    #: Further columns of an insert, with one value for all rows: it travels once.
    shared: Mapping[str, Any] = field(default_factory=dict)
    #: Of an update: the column of which keys are set and none removed, and for each row the keys that are set.
    #: PostgreSQL merges them into what is stored; SQLite is in the process and gets the whole.
    document: str | None = None
    additions: Sequence[Mapping[str, Any]] = ()


def write_rows(connection: Connection, writes: Sequence[Write]) -> None:
    """Write everything: on PostgreSQL in one statement, whose parts see the state before it."""
    if not writes:
        return
    if connection.dialect.name == "sqlite":
        for write in writes:
            statement = _sqlite_statement(write.kind, write.table, write.names, tuple(write.shared))
            connection.exec_driver_sql(statement, _tuples(write, connection.dialect))
    else:
        shapes = tuple(_shape(each) for each in writes)
        parameters = [value for each in writes for value in _parameters(each, connection.dialect)]
        connection.exec_driver_sql(_postgresql_statement(shapes), tuple(parameters))


def _columns(write_kind: str, table: Table, names: tuple[str, ...]) -> tuple[str, ...]:
    """The columns that travel with each row: a key that is looked for comes last."""
    return (*names, _primary_key(table)) if write_kind in {"update", "delete"} else names


def _tuples(write: Write, dialect: Dialect) -> list[tuple[Any, ...]]:
    """The rows as SQLite's statement takes them."""
    names = _columns(write.kind, write.table, write.names)
    columns = [(name, _encoder(write.table.c[name], dialect)) for name in names]
    shared = tuple(_shared(write, dialect))
    return [(*[encode(row[name]) if encode else row[name] for name, encode in columns], *shared) for row in write.rows]


def _parameters(write: Write, dialect: Dialect) -> Iterator[Any]:
    """What one part of PostgreSQL's statement takes: what the rows share, and the rows as a JSON array."""
    names = _columns(write.kind, write.table, write.names)
    encoders = [(name, encode) for name in names if (encode := _encoder(write.table.c[name], dialect))]
    rows = [{**row, **{name: encode(row[name]) for name, encode in encoders}} for row in write.rows]
    if write.document is not None:
        for row, added in zip(rows, write.additions, strict=True):
            row[write.document] = added
    yield from _shared(write, dialect)
    yield orjson.dumps(rows, default=str).decode()


def _shared(write: Write, dialect: Dialect) -> Iterator[Any]:
    for name, value in write.shared.items():
        encode = _encoder(write.table.c[name], dialect)
        yield encode(value) if encode else value


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
def _sqlite_statement(kind: str, table: Table, names: tuple[str, ...], shared: tuple[str, ...]) -> str:
    target, key = _quoted(table.name), _quoted(_primary_key(table))
    if kind in {"insert", "put"}:
        columns = (*names, *shared)
        values = f"VALUES ({', '.join('?' * len(columns))})"
        return f"INSERT INTO {target} ({', '.join(map(_quoted, columns))}) {values}{_instead(kind, table, names)}"
    if kind == "update":
        return f"UPDATE {target} SET {', '.join(f'{_quoted(name)} = ?' for name in names)} WHERE {key} = ?"
    return f"DELETE FROM {target} WHERE {key} = ?"


#: Of a part of PostgreSQL's statement: kind, table, columns that travel with each row, shared ones, document, and
#: whether one row is looked for.
_Shape = tuple[str, Table, tuple[str, ...], tuple[str, ...], str | None, bool]


def _shape(write: Write) -> _Shape:
    is_single = write.kind in {"update", "delete"} and len(write.rows) == 1
    return write.kind, write.table, write.names, tuple(write.shared), write.document, is_single


@lru_cache(maxsize=512)
def _postgresql_statement(shapes: tuple[_Shape, ...]) -> str:
    *others, last = [_postgresql_part(*shape) for shape in shapes]
    steps = ", ".join(f"step_{index} AS ({part})" for index, part in enumerate(others))
    return f"WITH {steps} {last}" if steps else last


def _postgresql_part(
    kind: str, table: Table, names: tuple[str, ...], shared: tuple[str, ...], document: str | None, is_single: bool
) -> str:
    target, key = _quoted(table.name), _quoted(_primary_key(table))
    types = [f"{_quoted(name)} {_type(table, name)}" for name in _columns(kind, table, names)]
    source = f"json_to_recordset(%s::json) AS source({', '.join(types)})"
    if is_single:
        # PostgreSQL takes it for a hundred rows, and would rather read all of a small table than look one up.
        source = f"(SELECT * FROM {source} LIMIT 1) AS source"
    if kind in {"insert", "put"}:
        columns = ", ".join(map(_quoted, (*shared, *names)))
        values = ", ".join([*(f"%s::{_type(table, name)}" for name in shared), *map(_quoted, names)])
        return f"INSERT INTO {target} ({columns}) SELECT {values} FROM {source}{_instead(kind, table, names)}"
    if kind == "update":
        assignments = ", ".join(f"{_quoted(name)} = {_new_value(target, name, document)}" for name in names)
        return f"UPDATE {target} SET {assignments} FROM {source} WHERE {target}.{key} = source.{key}"
    return f"DELETE FROM {target} USING {source} WHERE {target}.{key} = source.{key}"


def _instead(kind: str, table: Table, names: tuple[str, ...]) -> str:
    """What an insert does where the key is there already; both databases say it alike."""
    if kind == "insert":
        return ""
    key = _primary_key(table)
    assignments = ", ".join(f"{_quoted(name)} = excluded.{_quoted(name)}" for name in names if name != key)
    return f" ON CONFLICT ({_quoted(key)}) DO UPDATE SET {assignments}"


def _type(table: Table, name: str) -> str:
    found: str = table.c[name].type.compile(POSTGRESQL)
    return found


def _new_value(target: str, name: str, document: str | None) -> str:
    value = f"source.{_quoted(name)}"
    return f"{target}.{_quoted(name)} || {value}" if name == document else value
