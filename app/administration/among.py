"""The condition that a column has one of many values, for the queries of pages."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from sqlalchemy import ColumnElement, false

from app.core.database import database_of
from app.core.database.engine import db
from app.core.database.values import ColumnLike, ValueSet


def among(column: ColumnLike, values: Collection[Any]) -> ColumnElement[bool]:
    """The condition that the column has one of these values, which travel as one parameter.

    `column.in_(values)` has a parameter for each of them, so that it is another statement for another number of values,
    which the database has not prepared.
    """
    if not values:
        return false()
    database = database_of(db.session())
    given = ValueSet.of("values", values)._replace(value=database.parameter_of(values))
    return database.among(column, given)
