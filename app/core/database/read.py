"""What every request reads: rows as columns, several queries in one message, made into the session's objects.

An ORM query takes longer to begin than to load a row, and a batch of one operation locks rows of three models. What it
would do besides is not needed here: models have one table and no `load` events.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache, lru_cache
from typing import Any

import psycopg
from sqlalchemy import ColumnElement, Connection, Select, inspect
from sqlalchemy.engine import Dialect
from sqlalchemy.orm import Mapper, Session
from sqlalchemy.orm.attributes import instance_state, manager_of_class

from app.core.database.engine import TOGETHER
from app.core.database.rows import set_in_memory, table_of
from app.plugin_api import Row

#: Turns what the driver found into a value.
Decode = Callable[[Any], Any]


def columns_of(model: type) -> Sequence[ColumnElement[Any]]:
    """What to select, before anything else, so that `adopt` can make rows of `model` of it."""
    return [*table_of(model).c]


@dataclass(kw_only=True, slots=True)
class Read:
    """A query, and what it found."""

    statement: Select[Any]
    #: As the driver takes them; there may be more than it needs.
    parameters: Mapping[str, Any]
    #: Its rows, once it has been sent.
    found: Sequence[Sequence[Any]] = ()

    def text(self, dialect: Dialect) -> str:
        """The statement as PostgreSQL is sent it."""
        return _compiled(self.statement, dialect)[0]

    def send(self, connection: psycopg.Connection[Any], dialect: Dialect) -> psycopg.Cursor[Any]:
        """Hand it to PostgreSQL."""
        text, constants = _compiled(self.statement, dialect)
        return connection.execute(text, {**constants, **self.parameters})

    def take(self, cursor: psycopg.Cursor[Any], dialect: Dialect) -> None:
        """Take what PostgreSQL has found."""
        rows = cursor.fetchall()
        sent = cursor.pgresult
        assert sent is not None
        decoders = _decoders(self.statement, dialect, tuple(map(sent.ftype, range(sent.nfields))))
        self.found = [
            [decode(value) if decode else value for decode, value in zip(decoders, row, strict=True)] for row in rows
        ]


@dataclass(kw_only=True, slots=True)
class Lock(Read):
    """A query that locks rows of a model, for `adopt`: columns first, as `columns_of` has them."""

    model: type


def read(connection: Connection, *reads: Read) -> None:
    """Do them one after the other: each sees all that was committed before those ahead of it had their locks.

    To PostgreSQL all of them travel in one message (`app.core.database.engine.send_together`).
    """
    dialect = connection.dialect
    if dialect.name == "postgresql":
        connection.exec_driver_sql(reads[-1].text(dialect), execution_options={TOGETHER: reads})
        return
    for each in reads:
        each.found = connection.execute(each.statement, each.parameters).all()


@lru_cache(maxsize=512)
def _compiled(statement: Select[Any], dialect: Dialect) -> tuple[str, Mapping[str, Any]]:
    """A statement as the driver takes it, and the parameters that have a value of their own."""
    compiled = statement.compile(dialect=dialect)
    return str(compiled), {name: each.effective_value for name, each in compiled.binds.items() if not each.required}


@lru_cache(maxsize=512)
def _decoders(statement: Select[Any], dialect: Dialect, codes: Sequence[int]) -> Sequence[Decode | None]:
    """What makes values of the columns that PostgreSQL sent, each with the number of its type."""
    types = [each.type.dialect_impl(dialect) for each in statement.selected_columns]
    return [each.result_processor(dialect, code) for each, code in zip(types, codes, strict=True)]


def adopt(session: Session, model: type, values: Sequence[Any]) -> Row:
    """The session's object for a row with these values, in the order of `columns_of`; more values are left out."""
    names, place, mapper = _form_of(model)
    known: Row | None = session.identity_map.get(mapper.identity_key_from_primary_key((values[place],)))
    if known is not None:
        set_in_memory(known, dict(zip(names, values, strict=False)))
        return known
    row = detached(model, values)
    session.add(row)
    return row


def detached(model: type, values: Sequence[Any]) -> Row:
    """A stored row with these values, in the order of `columns_of`, that belongs to no session."""
    names, place, mapper = _form_of(model)
    row: Row = manager_of_class(model).new_instance()
    set_in_memory(row, dict(zip(names, values, strict=False)))
    instance_state(row).key = mapper.identity_key_from_primary_key((values[place],))
    return row


@cache
def _form_of(model: type) -> tuple[tuple[str, ...], int, Mapper[Any]]:
    """The names of a model's columns, the place of its key among them, and its mapper."""
    mapper: Mapper[Any] = inspect(model)
    names = tuple(each.key for each in table_of(model).c)
    return names, names.index(mapper.primary_key[0].key), mapper
