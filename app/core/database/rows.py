"""Rows in memory and the tables of models, for the modules that read and write rows without the ORM.

An ORM query takes longer to begin than to load a row, and a batch of one operation locks rows of three models. The rest
of its work is not needed here: models have one table and no `load` events. This module relies on SQLAlchemy's
ways to keep a row: the attributes in `__dict__`, and the key in the row's state.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import Any

from sqlalchemy import ColumnElement, Table, inspect
from sqlalchemy.orm import Mapper, Session
from sqlalchemy.orm.attributes import instance_state, manager_of_class

from app.core.values import Values
from app.plugin_api import Row


def set_in_memory(row: Row, values: Values) -> None:
    """Set attributes of a row without an assignment, so that the ORM does not believe that it has to write them."""
    row.__dict__.update(values)


def table_of(model: type) -> Table:
    """The table of a mapped class."""
    table: Table = inspect(model).local_table
    return table


def row_columns(model: type) -> Sequence[ColumnElement[Any]]:
    """The columns to select, before any others, so that `adopt` can make rows of `model` of them."""
    return [*table_of(model).c]


def adopt(session: Session, model: type, values: Sequence[Any]) -> Row:
    """The session's object for a row with these values, in the order of `row_columns`; more values are left out."""
    names, place, mapper = _form_of(model)
    known: Row | None = session.identity_map.get(mapper.identity_key_from_primary_key((values[place],)))
    if known is not None:
        set_in_memory(known, dict(zip(names, values, strict=False)))
        return known
    row = detached(model, values)
    session.add(row)
    return row


def detached(model: type, values: Sequence[Any]) -> Row:
    """A stored row with these values, in the order of `row_columns`, that belongs to no session."""
    names, place, mapper = _form_of(model)
    row: Row = manager_of_class(model).new_instance()
    set_in_memory(row, dict(zip(names, values, strict=False)))
    instance_state(row).key = mapper.identity_key_from_primary_key((values[place],))
    return row


@cache
def _form_of(model: type) -> tuple[tuple[str, ...], int, Mapper[Any]]:
    """The names of a model's columns, the place of its key among them, and its mapper."""
    mapper: Mapper[Any] = inspect(model)
    names = tuple(column.key for column in table_of(model).c)
    return names, names.index(mapper.primary_key[0].key), mapper
