"""Models that differ from their tables are told about by `plugins check`, at the start and by `readyz`."""

from __future__ import annotations

import logging
from threading import Thread

import pytest
from flask import Flask
from sqlalchemy import Table, text

from app.core.database.engine import db
from app.core.database.rows import table_of
from app.core.database.sqlite_file import SQLiteFile
from app.core.database.transactions import writing
from app.core.host.drift import Drift, find_drift, tell_drift
from app.core.host.watch import watchdog
from app.models import FormFill, Inspection
from app.serving import start
from app.testing import HandlerContract
from tests.support.answers import json_of


class InPlace(Thread):
    """A thread whose work is done by the thread that starts it."""

    def start(self) -> None:
        self.run()


def change_tables(app: Flask, *statements: str) -> None:
    with app.app_context(), writing(db.engine) as connection:
        for statement in statements:
            connection.execute(text(statement))


def differences(app: Flask) -> list[str]:
    with app.app_context(), db.engine.connect() as connection:
        return [drift.what for drift in find_drift(connection)]


def test_the_tables_that_the_migrations_make_are_those_of_the_models(app: Flask) -> None:
    assert differences(app) == []
    assert json_of(app.test_client().get("/readyz"))["checks"]["models"] == "ok"


@pytest.mark.database("sqlite")
def test_a_column_that_no_migration_makes_is_told_before_rows_are_missed(
    app: Flask, caplog: pytest.LogCaptureFixture
) -> None:
    change_tables(app, "ALTER TABLE inspections DROP COLUMN system_category")
    what = "the database lacks the column inspections.system_category"
    sentence = f"The models of fieldpost differ from their migrations: {what}."
    answer = app.test_client().get("/readyz")
    assert answer.status_code == 503
    assert json_of(answer)["checks"]["models"] == "not migrated"
    result = app.test_cli_runner().invoke(args=["plugins", "check"])
    assert (result.exit_code, sentence in result.output) == (1, True)
    with caplog.at_level(logging.WARNING):
        tell_drift(app)
    assert sentence in caplog.text
    with pytest.raises(AssertionError):
        HandlerContract().test_its_tables_are_those_of_its_models(app)


@pytest.mark.database("sqlite")
def test_a_server_tells_it_at_its_start(
    app: Flask, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    change_tables(app, "ALTER TABLE inspections DROP COLUMN system_category")
    # Put back after the test: a start changes them for the whole process.
    for owner, name in ((SQLiteFile, "makes_file"), (SQLiteFile, "ends_worker"), (watchdog, "ends_worker")):
        monkeypatch.setattr(owner, name, getattr(owner, name))
    monkeypatch.setattr(start, "Thread", InPlace)
    start._prepare_to_serve(app)
    assert "the database lacks the column inspections.system_category" in caplog.text


@pytest.mark.database("sqlite")
def test_a_difference_that_fails_a_plugins_own_items_does_not_keep_the_server_from_being_ready(app: Flask) -> None:
    change_tables(app, "ALTER TABLE inspections ADD COLUMN more TEXT NOT NULL DEFAULT ''")
    answer = app.test_client().get("/readyz")
    assert (answer.status_code, json_of(answer)["checks"]["models"]) == (200, "differ")
    assert app.test_cli_runner().invoke(args=["plugins", "check"]).exit_code == 1


@pytest.mark.database("sqlite")
def test_tables_and_constraints_are_compared_too(app: Flask, monkeypatch: pytest.MonkeyPatch) -> None:
    table: Table = table_of(FormFill)
    constraint = next(each for each in table.constraints if each.name == "uq_form_fills_client_id")
    monkeypatch.setattr(table, "constraints", table.constraints - {constraint})
    monkeypatch.setattr(table_of(Inspection).c.status, "nullable", True)
    change_tables(
        app,
        "DROP TABLE user_syncs",
        "CREATE INDEX somebodys_own ON inspections (job)",
        "CREATE UNIQUE INDEX uq_inspections_job ON inspections (job)",
    )
    assert sorted(differences(app)) == [
        "the column inspections.status is NOT NULL in the database, and nullable in its model",
        "the database has the constraint uq_form_fills_client_id on form_fills (client_id), which its model lacks",
        "the database has the constraint uq_inspections_job on inspections (job), which its model lacks",
        "the database lacks the table user_syncs",
    ]


def test_the_author_of_a_plugin_is_told_the_command_that_writes_what_is_missing() -> None:
    drift = Drift(owner="meter", what="the database lacks the column meter.extra")
    assert str(drift) == (
        "The models of meter differ from their migrations: the database lacks the column meter.extra. "
        "Write the missing migration: `fieldpost plugins revision meter --message '…'`."
    )


@pytest.mark.database("sqlite")
def test_tables_of_a_newer_release_are_not_compared(app: Flask) -> None:
    """During an upgrade the nodes of the release before go on, with tables that have more than they know."""
    change_tables(
        app,
        "ALTER TABLE inspections ADD COLUMN more TEXT NOT NULL DEFAULT ''",
        "UPDATE alembic_version SET version_num = 'newer'",
    )
    assert differences(app) == []
