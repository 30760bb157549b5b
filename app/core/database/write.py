"""Rows to write, many in one statement: `Database.write` sends them.

Used by `app.core.ledger.record`, through which all rows go that devices see, and for sign-ins by
`app.accounts.tokens`. The functions are for both databases.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, TypeAlias

from sqlalchemy import Column, Integer, Table
from sqlalchemy.engine import Dialect

from app.core.database.types import UTCDateTime
from app.core.values import Values

#: Turns a Python value into the driver's.
Encode = Callable[[Any], Any]


@dataclass(frozen=True, kw_only=True, slots=True)
class Rule:
    """How a `RuledPut` takes its rows: SQL that both databases read alike, in which `source` is a row as it was sent.

    A question mark is one of its `parameters`, first those of `beside`, then those of `condition`.
    """

    #: Values that may be sent and have no column of their own: name -> SQL type.
    extra: tuple[tuple[str, str], ...] = ()
    #: One row that is joined to all that are sent: a subquery with its name.
    beside: str
    #: Column -> the value to insert, in place of the one that was sent.
    values: tuple[tuple[str, str], ...] = ()
    #: Column -> its new value in a row that is there already; all others stay. `excluded` is the row to insert.
    updates: tuple[tuple[str, str], ...]
    #: Which rows that are there already are updated.
    condition: str

    def insert(self, table: Table, names: Sequence[str]) -> str:
        """The beginning of the statement. `names`: of all that is sent."""
        extra, values = dict(self.extra), dict(self.values)
        columns = [name for name in names if name not in extra]
        expressions = [values.get(name, f"source.{quoted(name)}") for name in columns]
        return f"INSERT INTO {quoted(table.name)} ({', '.join(map(quoted, columns))}) SELECT {', '.join(expressions)}"

    def on_conflict(self, table: Table) -> str:
        """The end of the statement."""
        assignments = ", ".join(f"{quoted(name)} = {value}" for name, value in self.updates)
        return f" ON CONFLICT ({quoted(primary_key(table))}) DO UPDATE SET {assignments} WHERE {self.condition}"


@dataclass(frozen=True, kw_only=True, slots=True)
class Write:
    """Rows of one table to insert, to update or to delete."""

    #: `insert`, `put` (insert, or update where the key is there already), `add` (insert, or add the whole numbers to
    #: those of the row whose key is there already), `update` or `delete`.
    kind: str
    table: Table
    #: The columns to write; for a delete none.
    names: tuple[str, ...]
    #: Column name -> value, the primary key included.
    rows: Sequence[Values]
    #: Further columns of an insert, with one value for all rows: it travels once.
    shared: Values = field(default_factory=dict)
    #: For an update: the column of which keys are set and none removed, and for each row the keys that are set.
    #: PostgreSQL merges them into the stored document; SQLite is in the process and gets the whole.
    document: str | None = None
    additions: Sequence[Values] = ()


class Columns:
    """The values of rows, column by column, as the driver takes them. Booleans stay as they are, and so does JSON, as
    bytes. What is the same in all rows travels once.
    """

    def __init__(self, shared: Values) -> None:
        #: The columns with one value for all rows.
        self.shared = dict(shared)
        #: The other ones, with the values of each row.
        self.own: dict[str, Iterable[Any]] = {}

    def add(self, names: Sequence[str], lines: Iterable[Sequence[Any]]) -> None:
        """Add columns with values of their own in each row. `lines`: those of each row."""
        self.own |= zip(names, zip(*lines, strict=True), strict=True)

    def add_common(self, names: Sequence[str], lines: Sequence[tuple[Any, ...]]) -> None:
        """Add columns that may be the same in all rows."""
        if lines.count(lines[0]) < len(lines):
            self.add(names, lines)
        else:
            self.shared |= zip(names, lines[0], strict=True)

    def names(self) -> tuple[tuple[str, ...], tuple[str, ...]]:
        """The columns with one value for all rows, and the others."""
        return tuple(self.shared), tuple(self.own)

    def once(self) -> list[Any]:
        """The values that all rows have in common, JSON as text."""
        return [value.decode() if isinstance(value, bytes) else value for value in self.shared.values()]

    def rows(self) -> list[tuple[Any, ...]]:
        """The other values, row by row: tuples, because a mapping of so many takes six times as long to make."""
        return [*zip(*self.own.values(), strict=True)]


@dataclass(frozen=True, kw_only=True, slots=True)
class RuledPut:
    """Rows of one table to insert, or to update where the key is there already, as a rule says."""

    table: Table
    #: The columns, and values of the rule's `extra`.
    columns: Columns
    rule: Rule
    #: The parameters of the rule's SQL.
    parameters: Sequence[Any]


#: One of the writes that a statement is made of.
AnyWrite: TypeAlias = Write | RuledPut


def columns_with_rows(kind: str, table: Table, names: tuple[str, ...]) -> tuple[str, ...]:
    """The columns that travel with each row: a key that is looked for comes last."""
    return (*names, primary_key(table)) if kind in {"update", "delete"} else names


@lru_cache(maxsize=512)
def encoder(column: Column[Any], dialect: Dialect) -> Encode | None:
    """The function that makes the driver's value of a column's; None: the driver takes it as it is."""
    encode = column.type.dialect_impl(dialect).bind_processor(dialect)
    # A batch has few moments, and each of them in many columns.
    return lru_cache(maxsize=1024)(encode) if encode and isinstance(column.type, UTCDateTime) else encode


def quoted(name: str) -> str:
    """An SQL identifier."""
    return '"' + name.replace('"', '""') + '"'


def primary_key(table: Table) -> str:
    """The name of a table's one key column."""
    (key,) = table.primary_key.columns
    return key.name


def on_conflict(kind: str, table: Table, names: tuple[str, ...]) -> str:
    """The end of an `insert`, a `put` or an `add`: the last two update the row whose key is there already."""
    if kind == "insert":
        return ""
    key = primary_key(table)
    values = (
        _sums(table, names) if kind == "add" else {name: f"excluded.{quoted(name)}" for name in names if name != key}
    )
    assignments = ", ".join(f"{quoted(name)} = {value}" for name, value in values.items())
    return f" ON CONFLICT ({quoted(key)}) DO UPDATE SET {assignments}"


def _sums(table: Table, names: tuple[str, ...]) -> dict[str, str]:
    """The columns of whole numbers, each with the sum of the stored and the new number."""
    numbers = [name for name in names if isinstance(table.c[name].type, Integer)]
    return {name: f"{quoted(table.name)}.{quoted(name)} + excluded.{quoted(name)}" for name in numbers}
