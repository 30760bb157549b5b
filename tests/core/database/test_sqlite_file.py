"""The file of a SQLite database that is replaced, removed or damaged while it is open, and the bound of its log."""

from __future__ import annotations

import os
import shutil
import signal
import sqlite3
import time
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError

from app.core.database import sqlite_file
from app.core.database.engine import close_connections, db, require_sound
from app.core.database.sqlite_file import DamagedError, SQLiteFile
from app.core.ledger.unit import is_repeatable
from app.models import FormFill, User
from tests.conftest import World
from tests.support.cases import cases

pytestmark = pytest.mark.database("sqlite")


@pytest.fixture
def environment(environment: dict[str, str]) -> dict[str, str]:
    return environment | {"FIELDPOST_DATABASE_SECONDS": "1"}


@pytest.fixture
def form_fill(world: World, tech: User) -> FormFill:
    return world.form_fill(world.inspection(tech), data={"a": 0})


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """The database's file."""
    return tmp_path / "fieldpost.sqlite3"


@pytest.fixture
def ended(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The signals that the process has sent itself, as gunicorn's worker would."""
    signals: list[int] = []
    monkeypatch.setattr(SQLiteFile, "ends_worker", True)
    monkeypatch.setattr("app.core.database.sqlite_file.os.kill", lambda _pid, sign: signals.append(sign))
    return signals


def edit(device: FlaskClient, form_fill: FormFill, value: Any) -> Any:
    """The answer to a batch that changes one field."""
    item = {"type": "form_fill", "local_id": str(value), "data": {"id": form_fill.id, "changes": {"a": value}}}
    return device.post("/api/v1/sync", json={"sync_items": [item]})


def assert_try_again(answer: Any) -> None:
    assert (answer.status_code, answer.json["code"]) == (503, "try_again")
    assert answer.headers["Retry-After"]


def assert_not_ready(app: Flask) -> None:
    answer: Any = app.test_client().get("/readyz")
    assert (answer.status_code, answer.json["checks"]["database"]) == (503, "failed")


def copy_of(path: Path) -> Path:
    """A consistent copy of a database, as a backup is."""
    copy = path.with_name("copy")
    with closing(sqlite3.connect(path)) as source, closing(sqlite3.connect(copy)) as target:
        source.backup(target)
    return copy


def test_nothing_is_taken_after_the_file_was_replaced_and_the_worker_ends(
    app: Flask, device: FlaskClient, form_fill: FormFill, path: Path, ended: list[int]
) -> None:
    assert edit(device, form_fill, 1).status_code == 200
    copy = copy_of(path)
    assert edit(device, form_fill, 2).status_code == 200
    copy.replace(path)
    assert_try_again(edit(device, form_fill, 3))
    assert_not_ready(app)
    assert set(ended) == {signal.SIGTERM}
    # A new process finds the new file, without the changes of the other one, and works on it.
    close_connections(app)
    assert edit(device, form_fill, 4).status_code == 200
    with closing(sqlite3.connect(path)) as connection:
        sent = connection.execute("SELECT local_id FROM ledger_operations WHERE door = 'sync' ORDER BY id").fetchall()
        assert sent == [("1",), ("4",)]
        assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
    assert path.with_name(f"{path.name}-wal-of-replaced-file").stat().st_size > 0


def test_a_removed_file_is_waited_for_and_not_made_anew(
    app: Flask, device: FlaskClient, form_fill: FormFill, path: Path, ended: list[int]
) -> None:
    assert edit(device, form_fill, 1).status_code == 200
    away = path.rename(path.with_name("away"))
    assert_try_again(edit(device, form_fill, 2))
    assert_not_ready(app)
    # A connection beside those that are open would make an empty file.
    with app.app_context(), db.engine.connect():
        assert_try_again(edit(device, form_fill, 2))
    assert not path.exists()
    away.rename(path)
    assert edit(device, form_fill, 2).status_code == 200
    assert app.test_client().get("/readyz").status_code == 200
    assert ended == []


def test_damage_is_503_the_server_is_not_ready_and_goes_on_when_it_is_mended(
    app: Flask, device: FlaskClient, form_fill: FormFill, path: Path
) -> None:
    close_connections(app)
    sound = path.read_bytes()
    with path.open("r+b") as file:
        file.seek(4096)
        file.write(b"\xff" * (len(sound) - 4096))
    assert_try_again(edit(device, form_fill, 1))
    assert_not_ready(app)
    with pytest.raises(DamagedError, match="restore a backup"):
        require_sound(app)
    close_connections(app)
    path.write_bytes(sound)
    assert edit(device, form_fill, 1).status_code == 200
    assert app.test_client().get("/readyz").status_code == 200
    require_sound(app)


def test_once_damage_was_met_nothing_is_taken_although_much_can_still_be_read(
    app: Flask, device: FlaskClient, form_fill: FormFill, path: Path
) -> None:
    assert edit(device, form_fill, 1).status_code == 200
    with path.open("r+b") as file:
        file.seek(4096)
        file.write(b"\xff" * (path.stat().st_size - 4096))
    # The connection so far has the pages in its memory; a new one has not.
    with app.app_context(), db.engine.connect(), pytest.raises(DBAPIError), db.engine.connect() as new:
        new.execute(text("SELECT * FROM users"))
    for number in range(2, 6):
        assert_try_again(edit(device, form_fill, number))


def test_who_holds_the_lock_is_waited_for_once(
    device: FlaskClient, form_fill: FormFill, path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with closing(sqlite3.connect(path, isolation_level=None)) as holder:
        holder.execute("BEGIN IMMEDIATE")
        began = time.monotonic()
        assert_try_again(edit(device, form_fill, 1))
        assert 1 <= time.monotonic() - began < 2
    assert [record.message for record in caplog.records] == ["unit given up"]
    assert edit(device, form_fill, 1).status_code == 200


def test_a_file_that_is_no_database_is_503_and_refused_at_the_start(
    app: Flask, device: FlaskClient, form_fill: FormFill, path: Path
) -> None:
    close_connections(app)
    path.write_bytes(b"no database " * 1000)
    assert_try_again(edit(device, form_fill, 1))
    assert_not_ready(app)
    with pytest.raises(DamagedError, match="not a database"):
        require_sound(app)


def test_a_look_for_damage_ends_in_time(path: Path, database: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sqlite_file, "LOOK_SECONDS", 0.0)
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("CREATE TABLE large AS SELECT 1 AS x")
        connection.execute("WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 200000) "
                           "INSERT INTO large SELECT i FROM n")  # fmt: skip
        assert sqlite_file.damage(connection) is None


@cases(
    ("code", "is_expected"),
    [
        (sqlite3.SQLITE_CORRUPT_VTAB, True),
        (sqlite3.SQLITE_NOTADB, True),
        (sqlite3.SQLITE_IOERR_FSYNC, True),
        (sqlite3.SQLITE_FULL, True),
        (sqlite3.SQLITE_READONLY_DBMOVED, True),
        (sqlite3.SQLITE_ERROR, False),
        (sqlite3.SQLITE_CONSTRAINT_CHECK, False),
    ],
)
def test_which_errors_of_sqlite_may_pass(code: int, is_expected: bool) -> None:
    error = sqlite3.DatabaseError("some sentence")
    error.sqlite_errorcode = code
    assert is_repeatable(DBAPIError("SELECT 1", None, error)) is is_expected


def test_a_large_log_is_emptied_before_a_unit_and_a_reader_does_not_break_it(
    app: Flask, device: FlaskClient, form_fill: FormFill, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = path.with_name(f"{path.name}-wal")
    monkeypatch.setattr(sqlite_file, "LARGE_LOG", 100_000)
    monkeypatch.setattr(sqlite_file, "PAUSE_SECONDS", 0.0)
    monkeypatch.setattr(sqlite_file, "EMPTY_SECONDS", 0.001)
    sizes = []
    for number in range(30):
        assert edit(device, form_fill, number).status_code == 200
        sizes.append(log.stat().st_size)
    assert max(sizes) < 200_000
    assert min(sizes[10:]) < 60_000
    with closing(sqlite3.connect(path, isolation_level=None)) as reader:
        reader.execute("BEGIN")
        seen = reader.execute("SELECT count(*) FROM ledger_operations").fetchone()
        for number in range(30, 60):
            assert edit(device, form_fill, number).status_code == 200
        assert log.stat().st_size > 200_000
        assert reader.execute("SELECT count(*) FROM ledger_operations").fetchone() == seen
    assert edit(device, form_fill, 60).status_code == 200
    assert log.stat().st_size < 100_000


def test_after_a_failed_emptying_the_log_is_left_alone_for_a_while(
    app: Flask, device: FlaskClient, form_fill: FormFill, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sqlite_file, "LARGE_LOG", 0)
    monkeypatch.setattr(sqlite_file, "EMPTY_SECONDS", 0.001)
    assert edit(device, form_fill, 0).status_code == 200
    with closing(sqlite3.connect(path, isolation_level=None)) as reader:
        reader.execute("BEGIN")
        reader.execute("SELECT count(*) FROM ledger_operations").fetchone()
        assert edit(device, form_fill, 1).status_code == 200
        statements: list[str] = []
        with app.app_context(), db.engine.connect() as connection:
            driver: Any = connection.connection.driver_connection
            driver.set_trace_callback(statements.append)
        assert edit(device, form_fill, 2).status_code == 200
    assert any("BEGIN IMMEDIATE" in statement for statement in statements)
    assert not any("wal_checkpoint" in statement for statement in statements)


def test_a_unit_asks_again_while_another_connection_copies_the_log(
    app: Flask, device: FlaskClient, form_fill: FormFill, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert edit(device, form_fill, 0).status_code == 200
    # The other connection has the log to itself at the first question.
    answers = iter([lambda _driver: False, sqlite_file._empty_log])
    monkeypatch.setattr(sqlite_file, "LARGE_LOG", 0)
    monkeypatch.setattr(sqlite_file, "EMPTY_SECONDS", 60)
    monkeypatch.setattr(sqlite_file, "_empty_log", lambda driver: next(answers)(driver))
    assert edit(device, form_fill, 1).status_code == 200
    assert next(answers, None) is None
    assert path.with_name(f"{path.name}-wal").stat().st_size < 60_000


def test_a_stopped_data_directory_has_the_database_in_one_file(
    app: Flask, device: FlaskClient, form_fill: FormFill, path: Path
) -> None:
    assert edit(device, form_fill, 1).status_code == 200
    close_connections(app)
    assert {each.name for each in path.parent.glob("fieldpost.sqlite3*")} == {path.name}


def test_a_replaced_file_with_a_log_of_its_own_keeps_it(
    app: Flask, device: FlaskClient, form_fill: FormFill, path: Path
) -> None:
    assert edit(device, form_fill, 1).status_code == 200
    parts = {each: each.with_name(f"moved-{each.name}") for each in path.parent.glob("fieldpost.sqlite3*")}
    for part, copy in parts.items():
        shutil.copyfile(part, copy)
    for part, copy in parts.items():
        os.replace(copy, part)
    assert_try_again(edit(device, form_fill, 2))
    close_connections(app)
    assert edit(device, form_fill, 1).json["results"]["success"][0]["replayed"] is True
