"""One query by itself: no unit of work decides on what it finds."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import Select
from sqlalchemy.exc import DBAPIError

from app.core.database import database_of
from app.core.database.engine import db
from app.core.database.read import Read
from app.core.values import Values


def read_alone(statement: Select[Any], parameters: Values) -> Sequence[Any] | None:
    """The row that a query finds, or None.

    No connection is held afterwards. The query is repeated if the connection had broken while it was idle.
    """
    query = Read(statement=statement, parameters=parameters)
    for is_last in (False, True):
        try:
            with db.engine.connect() as connection:
                database_of(connection).read(connection, [query])
            break
        except DBAPIError as error:
            if is_last or not error.connection_invalidated:
                raise
    return query.rows[0] if query.rows else None
