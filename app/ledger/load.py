"""Locked rows, read as columns and made into the session's objects.

An ORM query takes longer to begin than to load a row, and a batch of one operation locks rows of three models. What it
would do besides is not needed here: models have one table and no `load` events.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any

from sqlalchemy import ColumnElement, Select, inspect
from sqlalchemy.orm import Mapper, Session
from sqlalchemy.orm.attributes import instance_state, manager_of_class

from app.plugin_api import Row


def columns_of(model: type) -> Sequence[ColumnElement[Any]]:
    """What to select, before anything else, so that `load` can make rows of `model` of it."""
    return [*inspect(model).local_table.c]


def load(session: Session, model: type, statement: Select[Any], parameters: Mapping[str, Any]) -> list[Row]:
    """The rows that the statement finds, as objects of the session; one that it knows already gets the values found."""
    found = session.connection().execute(statement, parameters)
    return [adopt(session, model, values) for values in found]


def adopt(session: Session, model: type, values: Sequence[Any]) -> Row:
    """The session's object for a row with these values, in the order of `columns_of`; more values are left out."""
    names, place, mapper = _form_of(model)
    key = mapper.identity_key_from_primary_key((values[place],))
    known: Row | None = session.identity_map.get(key)
    row: Row = manager_of_class(model).new_instance() if known is None else known
    row.__dict__.update(zip(names, values, strict=False))
    if known is None:
        instance_state(row).key = key
        session.add(row)
    return row


@cache
def _form_of(model: type) -> tuple[tuple[str, ...], int, Mapper[Any]]:
    """The names of a model's columns, the place of its key among them, and its mapper."""
    mapper: Mapper[Any] = inspect(model)
    names = tuple(each.key for each in mapper.local_table.c)
    return names, names.index(mapper.primary_key[0].key), mapper
