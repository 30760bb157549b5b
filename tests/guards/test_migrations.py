"""The migrations make the tables that the models describe, and can be taken back."""

from __future__ import annotations

from typing import Any

import pytest
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from flask import Flask
from flask_migrate import downgrade, upgrade
from sqlalchemy import inspect

from app.core.database.engine import db
from app.models import Inspection


def core_tables() -> set[str]:
    """The tables of `app.models`; plugins bring migrations of their own."""
    mappers = [each for each in Inspection.registry.mappers if each.class_.__module__.startswith("app.models")]
    return {str(table.name) for mapper in mappers for table in mapper.tables if hasattr(table, "name")}


def test_models_and_migrations_agree(app: Flask) -> None:
    core = core_tables()

    def include(name: str | None, kind: str, _parents: Any) -> bool:
        return kind != "table" or name in core

    with app.app_context(), db.engine.connect() as connection:
        options = {"compare_type": True, "include_name": include}
        differences = compare_metadata(MigrationContext.configure(connection, opts=options), db.metadata)
    assert differences == []


def test_migrations_can_be_taken_back_and_run_again(app: Flask) -> None:
    with app.app_context():
        before = set(inspect(db.engine).get_table_names())
        downgrade(revision="base")
        assert set(inspect(db.engine).get_table_names()) & core_tables() == set()
        upgrade()
        assert set(inspect(db.engine).get_table_names()) == before


def test_upgrading_twice_changes_nothing(app: Flask) -> None:
    with app.app_context():
        upgrade()
        assert core_tables() <= set(inspect(db.engine).get_table_names())


@pytest.mark.database("sqlite")
def test_ids_are_never_given_twice(app: Flask) -> None:
    """SQLite hands the highest deleted id out again unless a table says AUTOINCREMENT (trap 26)."""
    with app.app_context(), db.engine.connect() as connection:
        found = connection.exec_driver_sql("SELECT name, sql FROM sqlite_master WHERE type = 'table'").all()
    definitions = {name: definition for name, definition in found if name in core_tables()}
    # Keys that nobody hands out: random ones, those that follow from other values, and the single row of the state.
    exempt = {
        *(
            "attachments",
            "sign_ins",
            "refresh_tokens",
            "user_syncs",
            "ledger_state",
            "devices",
            "sync_hours",
            "set_aside",
            "notices",
            "inspection_texts",
        ),
    }
    assert {name for name, definition in definitions.items() if "AUTOINCREMENT" not in definition} <= exempt
