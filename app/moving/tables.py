"""Tables copied from one database to another, in batches, so that an interrupted move goes on where it ended.

The source is stopped, and rows are copied in the order of their keys. The rows of a table at the target are therefore
always the first ones of the source's, and their number says where to go on.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import orjson
from sqlalchemy import (
    JSON,
    Column,
    Connection,
    Engine,
    RowMapping,
    Select,
    Table,
    Text,
    cast,
    column,
    func,
    insert,
    select,
    table,
    tuple_,
)
from sqlalchemy.types import NullType

from app.core.database import database_of
from app.core.database.transactions import writing

#: Rows of one transaction.
BATCH = 2000

#: A column with numbers of the database's own transactions, which mean nothing elsewhere: 0 stands below them all.
TRANSACTION = "xid"

Told = Callable[[int], None]


class Summary(NamedTuple):
    """The contents of a table: the number of rows, and the sum of their SHA-256, which hangs on no order."""

    rows: int
    checksum: int


def copy_table(source: Engine, target: Engine, original: Table, told: Told) -> None:
    """Copy the rows that the target does not have yet. `told` is called with each number of rows that are there."""
    with target.connect() as connection:
        present = connection.execute(select(func.count()).select_from(original)).scalar_one()
    told(present)
    with source.connect() as connection:
        last = _key_at(connection, original, present)
        read = database_of(source).read_json_text
        for rows in _batches(connection, original, last):
            with writing(target) as writer:
                writer.execute(insert(_writable(original)), [_parameters(original, row, read) for row in rows])
            told(len(rows))


def summarize(engine: Engine, original: Table, told: Told) -> Summary:
    """Read a whole table. `told` is called with each number of rows that have been read."""
    read = database_of(engine).read_json_text
    count, total = 0, 0
    with engine.connect() as connection:
        for rows in _batches(connection, original, None):
            total += sum([_digest(original, row, read) for row in rows])
            count += len(rows)
            told(len(rows))
    return Summary(count, total % 2**256)


def count_rows(engine: Engine, tables: Sequence[Table]) -> dict[str, int]:
    """Table -> its number of rows."""
    with engine.connect() as connection:
        return {each.name: connection.execute(select(func.count()).select_from(each)).scalar_one() for each in tables}


def _key(original: Table) -> list[Column[Any]]:
    return list(original.primary_key.columns)


def _key_at(connection: Connection, original: Table, present: int) -> tuple[Any, ...] | None:
    """The key of the last row that the target has, in the source's order; None: it has none."""
    if not present:
        return None
    statement = select(*_key(original)).order_by(*_key(original)).offset(present - 1).limit(1)
    return tuple(connection.execute(statement).one())


def _batches(connection: Connection, original: Table, last: tuple[Any, ...] | None) -> Iterator[Sequence[RowMapping]]:
    """The rows after the key `last`, JSON values as their text: a null of JSON and one of SQL stay apart."""
    key = _key(original)
    statement = _readable(original).order_by(*key).limit(BATCH)
    while True:
        after = statement if last is None else statement.where(tuple_(*key) > tuple_(*last))
        rows = connection.execute(after).mappings().all()
        if not rows:
            return
        yield rows
        last = tuple(rows[-1][each.name] for each in key)


def _readable(original: Table) -> Select[Any]:
    return select(*(cast(each, Text).label(each.name) if _is_json(each) else each for each in original.columns))


def _writable(original: Table) -> Any:
    """The table, with columns for JSON that take its text."""
    return table(
        original.name,
        *(column(each.name, NullType() if _is_json(each) else each.type) for each in original.columns),
    )


def _parameters(original: Table, row: RowMapping, read: Callable[[bytes], Any]) -> dict[str, Any]:
    def value_of(each: Column[Any]) -> Any:
        if each.name == TRANSACTION:
            return 0
        value = row[each.name]
        return orjson.dumps(read(value.encode())).decode() if _is_json(each) and value is not None else value

    return {each.name: value_of(each) for each in original.columns}


def _digest(original: Table, row: RowMapping, read: Callable[[bytes], Any]) -> int:
    def value_of(each: Column[Any]) -> Any:
        value = row[each.name]
        if not _is_json(each) or value is None:
            return value
        return orjson.dumps(read(value.encode()), option=orjson.OPT_SORT_KEYS).decode()

    values = [value_of(each) for each in original.columns if each.name != TRANSACTION]
    return int.from_bytes(hashlib.sha256(orjson.dumps(values, default=str)).digest())


def _is_json(each: Column[Any]) -> bool:
    return isinstance(each.type, JSON)
