"""`fieldpost move`: to the other kind of database, and to another storage. Devices notice a feed that starts over."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient
from sqlalchemy import create_engine, delete, insert, inspect, text

from app import create_app
from app.attachments.storage.local import LocalStorage
from app.core.database.engine import close_connections, db
from app.core.database.transactions import writing
from app.core.ledger.state import UnfinishedMoveError, require_whole
from app.models import FormFill, Inspection, InspectionTexts, User
from app.moving import commands
from app.moving import tables as copying
from app.testing import push
from tests.attachments.conftest import files_in, upload
from tests.conftest import SettableClock, World
from tests.core.sync.conftest import edit
from tests.support.answers import json_of
from tests.support.databases import postgresql_database, sqlite_file
from tests.support.pictures import jpeg


@pytest.fixture
def database(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """The address of a database that nobody else is connected to: below others' hands nothing is moved."""
    with sqlite_file(tmp_path) if request.param == "sqlite" else postgresql_database() as url:
        yield url


def run(app: Flask, *arguments: str) -> Any:
    result = app.test_cli_runner().invoke(args=["move", *arguments])
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exc_info
    return result


def moved(app: Flask, *arguments: str) -> str:
    result = run(app, *arguments)
    assert result.exit_code == 0, result.output
    return str(result.output)


def refused(app: Flask, *arguments: str) -> str:
    result = run(app, *arguments)
    assert result.exit_code == 1, result.output
    return str(result.output)


@pytest.fixture
def inspection(world: World, tech: User) -> Inspection:
    return world.inspection(tech)


@pytest.fixture
def form_fill(world: World, inspection: Inspection) -> FormFill:
    return world.form_fill(
        inspection, data={"a": 0, "n": None, "f": 1e16, "s": "東京 ö", "l": [1.0, -0.5, {"x": True}]}
    )


@pytest.fixture
def target(database: str, tmp_path: Path) -> Iterator[str]:
    """The address of an empty database of the other kind."""
    if database:
        yield f"sqlite:///{tmp_path}/moved.sqlite3"
        return
    with postgresql_database("template0") as url:
        yield url


@pytest.fixture
def elsewhere(app: Flask, target: str, environment: dict[str, str], clock: SettableClock) -> Iterator[Flask]:
    """The application on the target; a test asks for it when the data is there."""
    key = app.extensions["fieldpost.settings"].secret_key
    found = create_app({**environment, "DATABASE_URL": target, "FIELDPOST_SECRET_KEY": key}, clock)
    yield found
    with found.app_context():
        db.session.remove()
        db.engine.dispose()


def contents(app: Flask, model: Any) -> list[dict[str, Any]]:
    with app.app_context():
        rows = db.session.execute(db.select(model.__table__).order_by(model.__table__.c.id)).mappings()
        return [dict(row) for row in rows]


def test_devices_notice_nothing_but_a_feed_that_starts_over(
    app: Flask,
    elsewhere: Flask,
    world: World,
    device: FlaskClient,
    inspection: Inspection,
    form_fill: FormFill,
    target: str,
) -> None:
    push(device, {"type": "inspection", "local_id": "1", "data": {"id": inspection.id, "notes": "wharf"}})
    photo = upload(device, form_fill, jpeg()).json["photo_attachment_id"]
    item = edit(form_fill, a=1)
    push(device, item)
    cursor = json_of(device.get("/api/v1/sync/changes"))["data"]["cursor"]
    before = contents(app, FormFill)
    output = moved(app, "--to", target)
    assert "the same as the source" in output
    assert contents(elsewhere, FormFill) == before
    assert "wharf" in World(elsewhere).get(InspectionTexts, inspection.id).texts

    client = elsewhere.test_client()
    client.environ_base["HTTP_AUTHORIZATION"] = device.environ_base["HTTP_AUTHORIZATION"]
    answer = client.get(f"/api/v1/sync/changes?cursor={cursor}")
    assert (answer.status_code, json_of(answer)["code"]) == (410, "cursor_expired")
    assert json_of(client.get("/api/v1/sync/changes"))["success"]
    assert push(client, item)["success"][0]["replayed"] is True
    (entry,) = push(client, edit(form_fill, a=2))["success"]
    assert entry["updated_at"] > before[0]["updated_at"].isoformat()
    assert client.get(f"/api/v1/attachments/{photo}").data == jpeg()
    assert len(json_of(client.get(f"/api/v1/form_fills/{form_fill.id}/history"))["data"]["history"]) >= 2


def test_no_id_of_a_removed_row_is_given_again(
    app: Flask, elsewhere: Flask, world: World, inspection: Inspection, target: str
) -> None:
    with app.app_context(), writing(db.engine) as connection:
        connection.execute(delete(Inspection).where(Inspection.id == inspection.id))
    moved(app, "--to", target)
    there = World(elsewhere)
    (owner,) = there.all(User)
    assert there.inspection(owner).id > inspection.id


def test_a_move_that_broke_off_goes_on_and_no_server_works_before_its_end(
    app: Flask, elsewhere: Flask, world: World, tech: User, target: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(5):
        world.inspection(tech, job=f"J-{number}")
    monkeypatch.setattr(copying, "BATCH", 2)
    original = insert
    calls = []

    def failing(table: Any) -> Any:
        calls.append(table.name)
        if calls.count("inspections") == 2:
            raise KeyboardInterrupt
        return original(table)

    monkeypatch.setattr(copying, "insert", failing)
    app.test_cli_runner().invoke(args=["move", "--to", target])
    with elsewhere.app_context(), db.engine.connect() as connection:
        assert connection.execute(text("SELECT count(*) FROM inspections")).scalar() == 2
        assert connection.execute(text("SELECT count(*) FROM ledger_state")).scalar() == 0
    with pytest.raises(UnfinishedMoveError):
        require_whole(elsewhere)
    for command in (["users", "list"], ["check"], ["backup", "x.tar"]):
        result = elsewhere.test_cli_runner().invoke(args=command)
        assert result.exit_code == 1
        assert "a `fieldpost move` to it has not ended. Run the same move again, with" in result.output
    assert "Not ready: migrations" in elsewhere.test_client().get("/readyz").text
    close_connections(elsewhere)
    monkeypatch.setattr(copying, "insert", original)
    moved(app, "--to", target)
    assert contents(elsewhere, Inspection) == contents(app, Inspection)
    with elsewhere.app_context():
        assert not inspect(db.engine).has_table("unfinished_move")


def test_a_target_with_rows_is_refused_and_so_is_the_source_itself(
    app: Flask, elsewhere: Flask, tech: User, target: str
) -> None:
    moved(app, "--to", target)
    assert "The target is not empty: it has rows in ledger_entries" in refused(app, "--to", target)
    with app.app_context():
        own = db.engine.url.render_as_string(hide_password=False).replace("+psycopg", "")
    assert "The target is the database that is to be moved" in refused(app, "--to", own)


def test_a_change_below_the_move_is_noticed(
    app: Flask, tech: User, target: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    original = copying.copy_table

    def meddled(source: Any, engine: Any, table: Any, told: Any) -> None:
        original(source, engine, table, told)
        if table.name == "users":
            with writing(engine) as connection:
                connection.execute(text("UPDATE users SET name = 'Somebody else'"))

    monkeypatch.setattr("app.moving.database.copy_table", meddled)
    assert "The table users has 1 rows at the source and 1 at the target, or their contents differ" in refused(
        app, "--to", target
    )


def test_nothing_is_moved_below_a_server_that_is_connected(app: Flask, tech: User, target: str) -> None:
    with app.app_context():
        server = create_engine(db.engine.url)
    with server.connect() as connection:
        connection.execute(text("SELECT count(*) FROM users"))
        assert "Somebody else is connected" in refused(app, "--to", target)
    server.dispose()


@pytest.mark.database("sqlite")
def test_a_table_that_no_plugin_knows_is_named_and_left_only_if_it_is_said(app: Flask, tech: User, target: str) -> None:
    with app.app_context(), writing(db.engine) as connection:
        connection.execute(text("CREATE TABLE meters (id INTEGER PRIMARY KEY)"))
    assert "No installed plugin knows these tables: meters. Install the plugins, or leave" in refused(
        app, "--to", target
    )
    moved(app, "--to", target, "--leave", "meters")


@pytest.mark.database("sqlite")
def test_files_are_moved_to_an_object_storage_and_back(
    app: Flask, device: FlaskClient, form_fill: FormFill, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    upload(device, form_fill, jpeg())
    (file,) = files_in(app)
    bucket = LocalStorage(tmp_path / "bucket")
    monkeypatch.setattr(commands, "open_storage", lambda settings: bucket)
    assert "Copied 1 files." in moved(app, "--files", "directory")
    assert [b"".join(bucket.open(stored.key)) for stored in bucket.list()] == [file.read_bytes()]
    monkeypatch.setattr(bucket, "put", None)
    moved(app, "--files", "directory")
    assert run(app).exit_code == 2


@pytest.mark.database("sqlite")
@pytest.mark.parametrize(
    ("url", "sentence"),
    [
        ("mysql://x/y", "The target cannot be used. DATABASE_URL names"),
        ("postgresql://127.0.0.1:1/x", "The target does not answer: connection failed"),
    ],
)
def test_a_target_that_cannot_be_is_told(app: Flask, tech: User, url: str, sentence: str) -> None:
    assert sentence in refused(app, "--to", url)
