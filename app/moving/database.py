"""A database moved to another: checked first, copied, compared, and made ready for servers at the very end.

Until then the target has no row in `ledger_state`, without which no server works on it, and a table that names the
history it is a copy of. Nothing at the source is changed.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractContextManager
from typing import Any

from flask import Flask
from sqlalchemy import Column, Engine, MetaData, String, Table, delete, insert, inspect, select
from sqlalchemy.orm import Session

from app.cli.backup.databases import require_alone
from app.core.database import database_of
from app.core.database.engine import db
from app.core.database.transactions import writing
from app.core.host.migrations import UPGRADE, missing, upgrade
from app.models import InspectionTexts, LedgerState
from app.moving.sequences import copy_sequences
from app.moving.tables import Summary, Told, copy_table, count_rows, summarize

#: The table that a target has while its move is not finished.
UNFINISHED = Table("unfinished_move", MetaData(), Column("generation", String(32), primary_key=True))

#: The tables that the target fills by itself: with its own history, and by triggers.
MADE_ANEW = {LedgerState.__tablename__, InspectionTexts.__tablename__}

#: Begins the bar of a step, with the number of its rows or files.
Bar = Callable[[str, int], AbstractContextManager[Told]]


class MoveError(Exception):
    """The data cannot be moved. The message gives the reason and the cure."""


def move_database(target: Flask, left: Iterable[str], bar: Bar) -> dict[str, int]:
    """Move the current application's database to that of the application `target`; returns table -> rows.

    `left`: tables of plugins that are not installed, to be left behind. Raises `MoveError`, and does nothing at the
    source; a move that has broken off goes on when it is called again.
    """
    source = db.engine
    tables = _tables(source, set(left))
    generation = _generation(source)
    with target.app_context():
        engine = db.engine
        if engine.url == source.url:
            raise MoveError("The target is the database that is to be moved. Name another one.")
        _begin(engine, tables, generation)
    counts = count_rows(source, tables)
    with bar("copying", sum(counts.values())) as told:
        for table in tables:
            copy_table(source, engine, table, told)
    copy_sequences(source, engine, tables)
    _compare(source, engine, tables, bar, sum(counts.values()))
    _finish(engine)
    return counts


def _tables(source: Engine, left: set[str]) -> list[Table]:
    """All tables to be copied, parents first."""
    require_alone(source)
    with source.connect() as connection:
        behind = missing(connection)
    if behind:
        raise MoveError(f"{' '.join(behind)} Run `{UPGRADE}` first.")
    there = set(inspect(source).get_table_names())
    known = [table for table in db.metadata.sorted_tables if table.name in there - MADE_ANEW]
    others = {name for name in there if not name.startswith("alembic_version")} - MADE_ANEW - {"sqlite_sequence"}
    strange = sorted(others - {table.name for table in known} - left)
    if strange:
        raise MoveError(
            f"No installed plugin knows these tables: {', '.join(strange)}. Install the plugins, or leave the tables "
            f"behind: {' '.join(f'--leave {name}' for name in strange)}."
        )
    return known


def _generation(engine: Engine) -> str:
    with engine.connect() as connection:
        return str(connection.execute(select(LedgerState.generation)).scalar_one())


def _begin(engine: Engine, tables: Sequence[Table], generation: str) -> None:
    """Make the tables, or find those of a move of the same history that has broken off."""
    if not inspect(engine).has_table(UNFINISHED.name):
        upgrade()
        filled = [name for name, count in count_rows(engine, tables).items() if count]
        if filled:
            raise MoveError(f"The target is not empty: it has rows in {', '.join(filled)}. Name an empty database.")
        with writing(engine) as connection:
            UNFINISHED.create(connection)
            connection.execute(insert(UNFINISHED).values(generation=generation))
            connection.execute(delete(LedgerState))
    require_alone(engine)
    with engine.connect() as connection:
        begun = connection.execute(select(UNFINISHED.c.generation)).scalar_one()
    if begun != generation:
        raise MoveError(
            "The target has a part of another database: its move has not ended, or a server has worked on the source "
            "since. Name an empty database."
        )


def _compare(source: Engine, target: Engine, tables: Sequence[Table], bar: Bar, rows: int) -> None:
    with bar("comparing", 2 * rows) as told:
        for table in tables:
            _require_equal(table, summarize(source, table, told), summarize(target, table, told))


def _require_equal(table: Table, there: Summary, here: Summary) -> None:
    if there != here:
        raise MoveError(
            f"The table {table.name} has {there.rows} rows at the source and {here.rows} at the target, or their "
            "contents differ. Somebody has written to one of them. Start again with an empty database."
        )


def _finish(engine: Engine) -> None:
    """Begin a new history, so that all cursors expire, and let servers work."""
    with Session(engine) as session:
        cluster = database_of(engine).cluster(session)
    state: dict[str, Any] = {"id": 1, "generation": secrets.token_hex(16), "cluster": cluster}
    with writing(engine) as connection:
        connection.execute(insert(LedgerState).values(**state, pruned_xid=0, pruned_id=0))
        UNFINISHED.drop(connection)
