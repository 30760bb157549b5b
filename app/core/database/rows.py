"""Rows in memory and the tables of models, for the modules that read and write rows without the ORM."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sqlalchemy import Table, inspect

from app.plugin_api import Row


def set_in_memory(row: Row, values: Mapping[str, Any]) -> None:
    """Set attributes of a row without an assignment, so that the ORM does not believe that it has to write them."""
    row.__dict__.update(values)


def table_of(model: type) -> Table:
    """The table of a mapped class."""
    table: Table = inspect(model).local_table
    return table
