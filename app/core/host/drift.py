"""Where the models differ from the tables that their migrations have made.

A column that is in a model and in no migration fails every query for the model's rows, the core's own included: the
offline package and the deletion of an inspection. Alembic finds the differences, as it does for a new migration;
CHECK constraints and types it does not compare.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from flask import Flask, current_app
from sqlalchemy import Connection
from sqlalchemy.exc import DBAPIError

from app.core.database.engine import db
from app.core.host.migrations import CORE, Chain, all_chains
from app.errors import TryAgainError

logger = logging.getLogger(__name__)

#: Where an application keeps the differences, beside the versions of the tables that they are about.
FOUND = "fieldpost.drift"

#: How Alembic names a part that the database lacks, and one that it has besides.
LACKS, HAS = "add_", "remove_"


@dataclass(frozen=True, kw_only=True)
class Drift:
    """One difference between a model and its table."""

    #: `fieldpost`, or the name of the plugin that the table belongs to.
    owner: str
    #: A sentence without its full stop.
    what: str
    #: Whether every query for the model's rows fails.
    is_fatal: bool = False

    def __str__(self) -> str:
        cure = "Somebody has changed the tables by hand; take that back."
        if self.owner != CORE:
            cure = f"Write the missing migration: `fieldpost plugins revision {self.owner} --message '…'`."
        return f"The models of {self.owner} differ from their migrations: {self.what}. {cure}"


def find_drift(connection: Connection) -> list[Drift]:
    """All differences, of the chains whose migrations have all run.

    They are kept until the database is at other migrations, because the tables are looked at one by one.
    """
    chains = [(chain, chain.present(connection)) for chain in all_chains()]
    versions = [sorted(present) for _, present in chains]
    kept = current_app.extensions.get(FOUND)
    if kept is None or kept[0] != versions:
        complete = [chain for chain, present in chains if present and present == chain.needed()]
        kept = current_app.extensions[FOUND] = versions, _compare(connection, complete)
    found: list[Drift] = kept[1]
    return found


def tell_drift(app: Flask) -> None:
    """Log a warning for each difference; at a start."""
    with app.app_context():
        try:
            with db.engine.connect() as connection:
                found = find_drift(connection)
        except (DBAPIError, TryAgainError) as error:
            logger.warning(
                "the database does not answer, so its tables are not compared: %s", getattr(error, "orig", error)
            )
            return
    for drift in found:
        logger.warning("%s", drift)


def _compare(connection: Connection, chains: Iterable[Chain]) -> list[Drift]:
    owners = {table: chain.name for chain in chains for table in chain.tables()}
    options = {
        "compare_type": False,
        "include_name": lambda name, kind, _parents: kind != "table" or name in owners,
        "include_object": lambda _found, name, kind, _reflected, _other: kind != "table" or name in owners,
    }
    differences = compare_metadata(MigrationContext.configure(connection, opts=options), db.metadata)
    return [drift for difference in differences for drift in _drifts(owners, difference)]


def _drifts(owners: dict[str, str], difference: Any) -> Iterator[Drift]:
    """The differences in one of Alembic's: `(kind, …)`, or a list of such about one column."""
    if isinstance(difference, list):
        for _, _, table, column, _, present, wanted in (part for part in difference if part[0] == "modify_nullable"):
            sides = f"{_nullable(present)} in the database, and {_nullable(wanted)} in its model"
            yield Drift(owner=owners[table], what=f"the column {table}.{column} is {sides}")
        return
    kind, part = difference[0], difference[-1]
    name = part.name if kind.endswith("_table") else part.table.name
    noun = _noun(kind, part)
    if noun and kind.startswith(LACKS):
        is_fatal = kind in {"add_table", "add_column"}
        yield Drift(owner=owners[name], what=f"the database lacks the {noun}", is_fatal=is_fatal)
    elif noun and kind.startswith(HAS):
        yield Drift(owner=owners[name], what=f"the database has the {noun}, which its model lacks")


def _noun(kind: str, part: Any) -> str:
    """Names the part that is there on one side only; empty for one without which everything works as before."""
    if kind.endswith("_table"):
        return f"table {part.name}"
    if kind.endswith("_column"):
        return f"column {part.table.name}.{part.name}"
    if kind.endswith("_index") and not part.unique:
        return ""
    columns = ", ".join(column.name for column in part.columns)
    return f"constraint {part.name} on {part.table.name} ({columns})"


def _nullable(may_be_null: bool) -> str:
    return "nullable" if may_be_null else "NOT NULL"
