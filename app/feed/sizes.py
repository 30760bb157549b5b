"""The bytes of rows, asked of the database before their content is read: a page must not be too large for memory."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from functools import lru_cache
from typing import Any

from sqlalchemy import (
    JSON,
    ColumnElement,
    CompoundSelect,
    Select,
    String,
    cast,
    func,
    inspect,
    literal,
    select,
    union_all,
)
from sqlalchemy import Text as SQLText
from sqlalchemy.orm import Session

from app.core.database import Database, database_of
from app.core.database.rows import table_of
from app.core.database.values import ValueSet
from app.feed.cursor import Key
from app.models import FormFill, FormTemplate
from app.models.entities import entity_of
from app.plugin_api import Model

#: Roughly the bytes that a row has besides: its other columns and the names of keys.
ROW_BYTES = 512


def sizes_of(
    session: Session, named: Mapping[Model, Collection[Key]], *, has_structures: bool
) -> dict[tuple[str, str], int]:
    """(entity, id) -> about how many bytes the row has as JSON; in one statement. Rows that are gone are left out."""
    database = database_of(session)
    keys = {model: ids for model, ids in named.items() if ids}
    if not keys:
        return {}
    sets = tuple((model, ValueSet.of(_parameter_of(model), ids)) for model, ids in keys.items())
    parameters = {_parameter_of(model): database.parameter_of(ids) for model, ids in keys.items()}
    sizes = session.execute(_statement(database, sets, has_structures), parameters)
    return {(entity, key): int(size) for entity, key, size in sizes}


# To build it anew takes longer than the database takes to answer it; most pages ask for form fills alone.
@lru_cache
def _statement(
    database: Database, sets: tuple[tuple[Model, ValueSet], ...], has_structures: bool
) -> CompoundSelect[Any]:
    return union_all(*(_sizes(database, model, keys, has_structures) for model, keys in sets))


def _sizes(database: Database, model: Model, keys: ValueSet, has_structures: bool) -> Select[str, str, int]:
    parts: list[ColumnElement[int]] = [
        func.coalesce(database.byte_length(column), 0) for column in _large_columns(model)
    ]
    if model is FormFill and has_structures:
        structure = select(database.byte_length(FormTemplate.form_structure))
        parts.append(structure.where(FormTemplate.id == FormFill.form_template_id).scalar_subquery())
    size = sum(parts, literal(ROW_BYTES))
    key = inspect(model).primary_key[0]
    return select(literal(entity_of(model).name), cast(key, String), size).where(database.among(key, keys))


def _parameter_of(model: Model) -> str:
    """The parameter that holds the ids of a model's rows."""
    return f"{table_of(model).name}_ids"


def _large_columns(model: Model) -> Iterator[ColumnElement[object]]:
    """The columns whose values may be of any length."""
    return (column for column in table_of(model).c if isinstance(column.type, JSON | SQLText))
