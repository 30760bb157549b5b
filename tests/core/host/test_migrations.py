"""The version of the tables at the start: older stops it, newer does not; and upgrades one after another."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from flask import Flask
from flask_migrate import downgrade
from sqlalchemy import text

from app import create_app
from app.core.database import MigrationError
from app.core.database.engine import db
from app.core.database.transactions import writing
from app.core.host.migrations import UPGRADE, NotMigratedError, require_migrations, upgrade
from tests.core.sync.racers import waiting_for_a_row
from tests.support.databases import SECRET_KEY, postgresql_database
from tests.support.servers import environment_of, flask, gunicorn


def version(app: Flask, number: str) -> None:
    """Let the database say that it is at this migration."""
    with app.app_context(), writing(db.engine) as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = :number"), {"number": number})


def test_a_database_without_tables_stops_the_start_with_the_command_to_run(app: Flask) -> None:
    with app.app_context(), writing(db.engine) as connection:
        connection.execute(text("DELETE FROM alembic_version"))
    with pytest.raises(NotMigratedError) as refused:
        require_migrations(app)
    assert f"Run `{UPGRADE}`, then start again." in str(refused.value)


def test_a_newer_database_is_warned_about_and_served(app: Flask, caplog: pytest.LogCaptureFixture) -> None:
    version(app, "9999")
    with caplog.at_level(logging.WARNING):
        require_migrations(app)
    assert "the database is that of a newer release: The tables of fieldpost are at migration 9999" in caplog.text


def test_a_database_of_this_release_is_served_in_silence(app: Flask, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        require_migrations(app)
    assert caplog.text == ""


@pytest.mark.database("postgresql")
def test_a_database_that_does_not_answer_stops_no_start(environment: dict[str, str]) -> None:
    app = create_app({**environment, "DATABASE_URL": "postgresql://joe:sesame@127.0.0.1:1/none"})
    require_migrations(app)


def test_gunicorn_ends_with_a_sentence_where_the_tables_are_missing(tmp_path: Path) -> None:
    result = gunicorn(environment_of(tmp_path))
    assert result.returncode == 4
    assert "Fieldpost cannot start. The tables of fieldpost are at migration none, and" in result.stderr
    assert f"Run `{UPGRADE}`" in result.stderr
    assert "Traceback" not in result.stderr


@pytest.mark.database("postgresql")
def test_an_upgrade_beside_a_server_at_work_waits_for_its_requests(app: Flask) -> None:
    """A request has written operations and goes on to entries, as all do; who upgrades comes between."""
    with app.app_context():
        downgrade(revision="0001")

    def upgraded() -> None:
        with app.app_context():
            upgrade()

    request = waiting_to_write(app, ("ledger_operations", "ledger_entries"))
    next(request)
    waiting_for_a_row(app, upgraded, lambda: next(request, None))
    require_migrations(app)


@pytest.mark.database("postgresql")
def test_an_upgrade_that_is_given_up_for_a_request_says_to_run_it_again(app: Flask) -> None:
    with app.app_context():
        downgrade(revision="0001")

    def refused() -> str:
        with app.app_context(), pytest.raises(MigrationError) as error:
            upgrade()
        return str(error.value)

    request = waiting_to_write(app, ("ledger_entries", "ledger_operations"))
    next(request)
    sentence, _ = waiting_for_a_row(app, refused, lambda: next(request, None))
    assert "deadlock detected" in sentence
    assert "nothing has changed. Run it again" in sentence
    with pytest.raises(NotMigratedError):
        require_migrations(app)


def waiting_to_write(app: Flask, tables: tuple[str, str]) -> Iterator[None]:
    """A transaction that is about to write both tables: it has the first, and is asked for the second."""
    with app.app_context(), writing(db.engine) as connection:
        # Not the one that notices, and is given up, where each waits for the other.
        connection.execute(text("SET LOCAL deadlock_timeout = '60s'"))
        connection.execute(text(f"LOCK TABLE {tables[0]} IN ROW EXCLUSIVE MODE"))
        yield
        connection.execute(text(f"LOCK TABLE {tables[1]} IN ROW EXCLUSIVE MODE"))


@pytest.fixture
def empty(database: str, tmp_path: Path) -> Iterator[str]:
    """The address of a database without tables; empty for the SQLite file in a directory of its own."""
    if not database:
        yield ""
        return
    with postgresql_database("template0") as url:
        yield url


@pytest.mark.database("postgresql")
def test_a_database_in_another_encoding_than_utf8_is_refused(environment: dict[str, str]) -> None:
    with postgresql_database("template0", "ENCODING 'SQL_ASCII' LOCALE 'C'") as url:
        result = create_app({**environment, "DATABASE_URL": url}).test_cli_runner().invoke(args=["db", "upgrade"])
    assert result.exit_code == 1
    assert "Nothing was migrated. The database's encoding is SQL_ASCII, and Fieldpost needs UTF8." in result.output


def test_upgrades_at_the_same_time_wait_for_one_another(empty: str, tmp_path: Path) -> None:
    environment = environment_of(tmp_path / "new", DATABASE_URL=empty, FIELDPOST_SECRET_KEY=SECRET_KEY)
    with ThreadPoolExecutor() as pool:
        results = list(pool.map(lambda _: flask(environment, "db", "upgrade"), range(2)))
    assert [(each.returncode, each.stderr) for each in results if each.returncode] == []
    require_migrations(create_app(environment))
