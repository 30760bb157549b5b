"""`fieldpost check`: a good server is told so, and each fault comes with what to do."""

from __future__ import annotations

import os
import shutil
import time
from collections import namedtuple
from pathlib import Path

import pytest
from flask import Flask
from sqlalchemy import create_engine, text

from app import create_app
from app.cli.data import described
from app.core.database.engine import db
from app.core.database.transactions import writing
from app.core.done import note_done
from tests.conftest import World


def lines_of(app: Flask, exit_code: int = 0) -> dict[str, tuple[str, str]]:
    """Part -> how it is, and the sentence."""
    result = app.test_cli_runner().invoke(args=["check"])
    assert result.exit_code == exit_code, result.output
    found = {}
    for line in result.output.splitlines():
        name, _, sentence = line[8:].partition(": ")
        found[name] = (line[:8].strip(), sentence)
    return found


def disk_with(monkeypatch: pytest.MonkeyPatch, percent: int) -> None:
    """Let every disk have 100 GiB, of which a part is free."""
    usage = namedtuple("usage", ["total", "used", "free"])
    monkeypatch.setattr(
        shutil, "disk_usage", lambda path: usage(*(each * 2**30 for each in (100, 100 - percent, percent)))
    )


@pytest.fixture(autouse=True)
def _roomy_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    disk_with(monkeypatch, 90)


def test_a_good_server_fails_nothing(app: Flask, tmp_path: Path) -> None:
    tmp_path.chmod(0o700)
    for task in ("backup", "maintenance"):
        note_done(tmp_path, task)
    lines = lines_of(app)
    lines.pop("backup", None)
    assert {kind for kind, _ in lines.values()} == {"ok"}, lines
    assert {"database", "migrations", "tables", "plugins", "storage", "clock", "disk"} <= lines.keys()


def test_jobs_that_nobody_does_are_told(app: Flask, tmp_path: Path) -> None:
    note_done(tmp_path, "backup")
    os.utime(tmp_path / "last_backup", (time.time() - 5 * 86400,) * 2)
    lines = lines_of(app)
    assert lines["last backup"] == ("look at", "5 days ago on this node. Look why the timer does not run it.")
    assert lines["last maintenance"][1].startswith("never on this node.")


def test_missing_migrations_are_a_fault_with_its_command(app: Flask) -> None:
    with app.app_context(), writing(db.engine) as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = '0001'"))
    kind, sentence = lines_of(app, 1)["migrations"]
    assert kind == "FAILED"
    assert sentence.endswith("Run `fieldpost db upgrade`.")


def test_a_table_without_a_column_is_a_fault(app: Flask) -> None:
    with app.app_context(), writing(db.engine) as connection:
        connection.execute(text("ALTER TABLE sign_ins RENAME COLUMN device_id TO phone_id"))
    assert lines_of(app, 1)["tables"][0] == "FAILED"


def test_a_clock_that_is_behind_the_newest_change_is_a_fault(app: Flask, world: World) -> None:
    world.user()
    with app.app_context(), writing(db.engine) as connection:
        connection.execute(text("UPDATE ledger_entries SET recorded_at = '2990-01-01 00:00:00.000000'"))
    kind, sentence = lines_of(app, 1)["clock"]
    assert kind == "FAILED"
    assert "which is not yet. Keep the clock by NTP." in sentence


@pytest.mark.database("sqlite")
def test_without_a_database_what_hangs_on_it_is_not_looked_at(tmp_path: Path) -> None:
    app = create_app({"FIELDPOST_DATA_DIR": str(tmp_path / "none"), "DATABASE_URL": ""}, makes_data=False)
    lines = lines_of(app, 1)
    assert lines["data directory"][0] == lines["database"][0] == "FAILED"
    assert "There is no SQLite database" in lines["database"][1]
    assert not {"migrations", "tables", "clock", "storage", "disk"} & lines.keys()
    assert not (tmp_path / "none").exists()


@pytest.mark.database("sqlite")
def test_a_redis_that_does_not_answer_is_a_fault(environment: dict[str, str]) -> None:
    url = "redis://127.0.0.1:1/0?socket_connect_timeout=1"
    kind, sentence = lines_of(create_app({**environment, "FIELDPOST_RATE_LIMIT_STORAGE": url}), 1)["failed sign-ins"]
    assert (kind, sentence[:9]) == ("FAILED", "the Redis")


@pytest.mark.database("sqlite")
def test_a_full_disk_and_an_open_directory_and_a_misspelt_setting_are_to_be_looked_at(
    environment: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    disk_with(monkeypatch, 5)
    tmp_path.chmod(0o755)
    lines = lines_of(create_app({**environment, "FIELDPOST_MISSPELT": "1"}))
    assert {lines[name][0] for name in ("disk", "data directory", "settings")} == {"look at"}
    assert "FIELDPOST_MISSPELT is no setting" in lines["settings"][1]


@pytest.mark.database("sqlite")
def test_a_disk_without_any_room_is_a_fault(app: Flask, monkeypatch: pytest.MonkeyPatch) -> None:
    disk_with(monkeypatch, 0)
    kind, sentence = lines_of(app, 1)["disk"]
    assert (kind, "nothing can be written. Make room" in sentence) == ("FAILED", True)


@pytest.mark.database("sqlite")
def test_a_database_that_cannot_be_used_comes_with_what_to_do(
    environment: dict[str, str], app: Flask, tmp_path: Path
) -> None:
    away = {**environment, "DATABASE_URL": "postgresql://joe:sesame@127.0.0.1:1/none", "FIELDPOST_SECRET_KEY": "k" * 48}
    sentence = lines_of(create_app(away), 1)["database"][1]
    assert sentence.endswith("Start PostgreSQL there, or correct host, port, name, user and password in DATABASE_URL.")
    (tmp_path / "rubbish.sqlite3").write_text("No database" * 100)
    sentence = lines_of(create_app({**environment, "DATABASE_URL": "sqlite:///rubbish.sqlite3"}), 1)["database"][1]
    assert "file is not a database. Move the file" in sentence


@pytest.mark.database("sqlite")
def test_a_storage_that_cannot_be_written_comes_with_what_to_do(
    environment: dict[str, str], app: Flask, tmp_path: Path
) -> None:
    (tmp_path / "attachments").write_text("in the way")
    assert lines_of(app, 1)["storage"][1].endswith("Make room, or run this as the server's user.")


@pytest.mark.database("sqlite")
def test_root_is_told_what_the_user_of_the_server_cannot_write(
    app: Flask, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "fieldpost.sqlite3"
    if os.geteuid() == 0:
        for path in (tmp_path, *tmp_path.iterdir()):
            os.chown(path, 4711, -1)
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    kind, sentence = lines_of(app)["files"]
    assert (kind, sentence[:20]) == ("look at", "root lacks no right,")
    assert {path.stat().st_uid for path in (tmp_path / "attachments").rglob("")} == {tmp_path.stat().st_uid}
    file.chmod(0o400)
    kind, sentence = lines_of(app, 1)["files"]
    assert (kind, sentence.partition(". ")[0]) == ("FAILED", f"{file} cannot be written by the server's user")


@pytest.mark.database("sqlite")
def test_a_database_file_that_can_only_be_read_is_a_fault(app: Flask, monkeypatch: pytest.MonkeyPatch) -> None:
    # Root may write every file.
    monkeypatch.setattr(os, "access", lambda path, mode: mode != os.W_OK)
    kind, sentence = lines_of(app, 1)["database"]
    assert (kind, "fieldpost.sqlite3 cannot be written. Run this as" in sentence) == ("FAILED", True)


def test_a_database_without_a_name_in_its_address_is_the_one_of_its_user() -> None:
    engine = create_engine("postgresql+psycopg://joe@db.example.com")
    assert described(engine) == "PostgreSQL database joe at db.example.com"
