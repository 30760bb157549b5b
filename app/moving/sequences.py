"""The sequences of ids: at the target no id is given again that the source has given, not even of a removed row."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import Engine, Table

from app.core.database import database_of
from app.core.database.transactions import writing


def copy_sequences(source: Engine, target: Engine, tables: Sequence[Table]) -> None:
    """Let each sequence of the target go on where the source's is."""
    counted = [table.name for table in tables if table.autoincrement_column is not None]
    with source.connect() as connection:
        last = database_of(source).last_ids(connection, counted)
    with writing(target) as connection:
        database_of(target).go_on_after(connection, last)
